"""What each failure of an attempt means, and whether it may be tried again: decided here, once.

`docs/outcomes.md` prints this table.
"""

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen


class Outcome(StrEnum):
    """The result of one attempt."""

    ACCEPTED = "accepted"
    """The exchange accepted the request."""
    NOT_SENT = "not sent"
    """Nothing was sent."""
    REFUSED = "refused"
    """The exchange refused the request, so it was not processed."""
    UNKNOWN = "unknown"
    """The request was sent, and may or may not have been processed."""


class Retry(StrEnum):
    """Whether the policy sends the call again by itself; always signed afresh."""

    NO = "no"
    BACKOFF = "after a backoff"
    AS_TOLD = "after the wait that the answer asks for, or a backoff"
    FRESH_NONCE = "at once with a fresh nonce, the clock corrected"
    READS = "a GET after a backoff, anything else never"


@frozen
class Failure:
    """A way for an attempt to fail.

    Attributes:
        when: What was seen.
        outcome: What is known of the call then.
        retry: Whether it is tried again.
        because: Why.
    """

    when: str
    outcome: Outcome
    retry: Retry
    because: str


ARGUMENT = Failure(
    "an argument breaks its rule, or the request must not be signed",
    Outcome.NOT_SENT,
    Retry.NO,
    "nothing was built or signed; the same call fails again",
)
LIMIT = Failure(
    "the rate limit, the wait after a 429 or the requests queued before it leave no time before "
    "the deadline",
    Outcome.NOT_SENT,
    Retry.NO,
    "nothing was signed; the time is used up",
)
NO_CONNECTION = Failure(
    "no connection: refused, unreachable, TLS error, timeout while connecting, no free connection "
    "in the pool",
    Outcome.NOT_SENT,
    Retry.BACKOFF,
    "no byte of the request left this machine",
)
FOREIGN = Failure(
    "before a byte was sent, an exception that does not come from the connection, such as one "
    "from a signal handler",
    Outcome.NOT_SENT,
    Retry.NO,
    "the program wants the call to end",
)
NONCE = Failure(
    "409 to a request that carries a nonce (GET, DELETE)",
    Outcome.REFUSED,
    Retry.FRESH_NONCE,
    "a refused request was not processed; either the clock is off or the nonce came out of order",
)
REPEATED = Failure(
    "409 to a request that carries no nonce (POST, PUT)",
    Outcome.UNKNOWN,
    Retry.NO,
    "its signed bytes are the same each time, so the exchange may have accepted them before",
)
RATE = Failure(
    "429",
    Outcome.REFUSED,
    Retry.AS_TOLD,
    "a refused request was not processed; every call under the same rate limit waits",
)
REFUSAL = Failure(
    "any other 4xx except 408; a 404 only in the exchange's own JSON",
    Outcome.REFUSED,
    Retry.NO,
    "the exchange refused this attempt; an earlier attempt of unknown outcome may have worked",
)
SILENCE = Failure(
    "timeout or deadline after the first byte was sent, also while an answer arrives slowly",
    Outcome.UNKNOWN,
    Retry.READS,
    "it may have been processed, or may be processed later",
)
BROKEN = Failure(
    "the connection broke after the first byte was sent, or the answer is longer than 8 MiB",
    Outcome.UNKNOWN,
    Retry.READS,
    "it may have been processed",
)
SERVER = Failure(
    "408, 5xx, a CDN's own status",
    Outcome.UNKNOWN,
    Retry.READS,
    "the answer may come from a server in front of the exchange, or from a part of it other than "
    "the order book",
)
STRANGER = Failure(
    "a 404 that is not the exchange's own JSON",
    Outcome.UNKNOWN,
    Retry.READS,
    "a server in front of the exchange does not know the path, or `base_url` is wrong",
)
REDIRECT = Failure(
    "a redirect, or any other status",
    Outcome.UNKNOWN,
    Retry.NO,
    "it is not followed, because the signature would be sent to another host",
)
GARBLED = Failure(
    "a 2xx that is not JSON, or does not name the order asked for",
    Outcome.UNKNOWN,
    Retry.READS,
    "the cancel may have happened; the answer does not prove it",
)
CANCELLED = Failure(
    "after the first byte was sent, the task was cancelled, or an exception was raised that "
    "does not come from the connection",
    Outcome.UNKNOWN,
    Retry.NO,
    "the caller must know that the request was sent",
)

TABLE: Mapping[str, Failure] = {
    name: value for name, value in vars().items() if isinstance(value, Failure)
}
