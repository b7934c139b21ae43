"""What each failure of an attempt means, and whether it may be tried again: decided here, once.

`docs/outcomes.md` prints this table.
"""

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen


class Outcome(StrEnum):
    """What an attempt came to."""

    ACCEPTED = "accepted"
    NOT_SENT = "not sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


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
    "an argument breaks its rule, a request must not be signed",
    Outcome.NOT_SENT,
    Retry.NO,
    "nothing was built or signed; the same call fails again",
)
LIMIT = Failure(
    "the limit, a cool-down or the requests before it leave no time before the deadline",
    Outcome.NOT_SENT,
    Retry.NO,
    "nothing was signed; the time is used up",
)
NO_CONNECTION = Failure(
    "no connection: refused, unreachable, TLS, timeout while connecting, none free",
    Outcome.NOT_SENT,
    Retry.BACKOFF,
    "no byte of the request left this machine",
)
FOREIGN = Failure(
    "an exception that is not the connection's before a byte left, such as a signal handler's",
    Outcome.NOT_SENT,
    Retry.NO,
    "somebody wants the call to end",
)
NONCE = Failure(
    "409 to what carries a nonce (GET, DELETE)",
    Outcome.REFUSED,
    Retry.FRESH_NONCE,
    "a refused call was not processed; either the clock is off or the nonce came out of order",
)
REPEATED = Failure(
    "409 to what carries no nonce (POST, PUT)",
    Outcome.UNKNOWN,
    Retry.NO,
    "its signed bytes are the same each time, so they may have been taken before",
)
RATE = Failure(
    "429",
    Outcome.REFUSED,
    Retry.AS_TOLD,
    "a refused call was not processed; all who share the limit wait",
)
REFUSAL = Failure(
    "any other 4xx but 408, a 404 only in the exchange's own JSON",
    Outcome.REFUSED,
    Retry.NO,
    "the exchange said no to this attempt; after an earlier attempt of unknown outcome, that one "
    "may have worked",
)
SILENCE = Failure(
    "timeout or deadline after the first byte left, also when the answer drips",
    Outcome.UNKNOWN,
    Retry.READS,
    "it may be processed already, or later",
)
BROKEN = Failure(
    "the connection broke after the first byte left, or the answer is longer than 8 MiB",
    Outcome.UNKNOWN,
    Retry.READS,
    "it may be processed",
)
SERVER = Failure(
    "408, 5xx, a CDN's own status",
    Outcome.UNKNOWN,
    Retry.READS,
    "the answer comes from something before or beside the order book",
)
STRANGER = Failure(
    "a 404 that is not the exchange's own JSON",
    Outcome.UNKNOWN,
    Retry.READS,
    "something before the exchange does not know the path, or `base_url` is wrong",
)
REDIRECT = Failure(
    "a redirect, or any other status",
    Outcome.UNKNOWN,
    Retry.NO,
    "it is not followed: the signature would go along",
)
GARBLED = Failure(
    "a 2xx that is not JSON, or does not name the order asked for",
    Outcome.UNKNOWN,
    Retry.READS,
    "the cancel may have happened; the answer does not prove it",
)
CANCELLED = Failure(
    "the task was cancelled after the first byte left, or an exception came then that is not the "
    "connection's",
    Outcome.UNKNOWN,
    Retry.NO,
    "the caller must learn that the request is out",
)

TABLE: Mapping[str, Failure] = {
    name: value for name, value in vars().items() if isinstance(value, Failure)
}
