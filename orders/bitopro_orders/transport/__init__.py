"""Sends a request, reads its whole answer, and knows exactly whether a byte was sent.

`http1` writes requests and reads answers, without IO; `threads` and `tasks` do the IO;
`through_httpx` uses any httpx transport instead.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from attrs import define, field

#: Some ten thousand open orders, listed.
LONGEST_ANSWER = 2**23
#: What an answer may have in headers and framing besides its body.
LONGEST_HEAD = 2**17


class TransportError(Exception):
    """An attempt failed. The message contains no text from the other side."""


class NotConnectedError(TransportError):
    """There is no connection, so no byte was sent."""


class SilenceError(TransportError):
    """The answer was not complete in time."""


class BrokenError(TransportError):
    """The connection ended, or what was received is not an HTTP answer."""


class Origin(NamedTuple):
    """The scheme, host and port that connections lead to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of a URL that was checked before."""
        parts = urlsplit(url)
        return cls(
            parts.scheme, parts.hostname or "", parts.port or {"http": 80}.get(parts.scheme, 443)
        )

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}.get(self.scheme)
        return host if self.port == default else f"{host}:{self.port}"


@define
class Tally:
    """Counts the requests of several calls.

    Attributes:
        sent: How many requests were sent.
        is_under_way: Whether a request was sent and is not answered yet.
        is_interrupted: Whether the task was cancelled just when an answer was complete.
    """

    sent: int = 0
    is_under_way: bool = False
    is_interrupted: bool = False


@define
class Attempt:
    """One attempt to send a request.

    Attributes:
        deadline: When it must be over, on the monotonic clock, in seconds.
        monotonic: Returns the time of that clock.
        phase_seconds: How long connecting, writing and each read may take, in seconds.
        tally: Counts the request when it is sent.
        has_left: Whether a byte may have been sent.
        sent_ms: When it was passed to the transport, in milliseconds since the epoch.
        left_at: When the first byte was sent, on the monotonic clock, in seconds.
        answer: The answer, in case the task is cancelled between its last byte and its return.
    """

    deadline: float
    monotonic: Callable[[], float]
    phase_seconds: float
    tally: Tally = field(factory=Tally)
    has_left: bool = False
    sent_ms: int = 0
    left_at: float | None = None
    answer: "Answer | None" = field(default=None, repr=False)

    def leave(self) -> None:
        """Record that from now on a byte may have been sent."""
        self.has_left, self.left_at = True, self.monotonic()
        self.tally.sent += 1
        self.tally.is_under_way = True

    def take_back(self) -> None:
        """Record that no byte was sent after all."""
        self.has_left, self.left_at = False, None
        self.tally.sent -= 1

    def phase_end(self) -> float:
        """Return the time limit of the phase that begins now."""
        return min(self.deadline, self.monotonic() + self.phase_seconds)

    def seconds_left(self) -> float:
        """Return how long the next phase may take, in seconds.

        Raises:
            TimeoutError: If the deadline has passed.
        """
        left = min(self.phase_seconds, self.deadline - self.monotonic())
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class Headers(Mapping[str, str]):
    """The headers of an answer; upper and lower case in names do not matter.

    They cannot be printed: a server may repeat what it was sent, and tracebacks show variables.
    """

    __slots__ = ("_values",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        values = {name.lower(): text for name, text in raw}
        if len(values) < len(raw):
            for name in values:
                values[name] = b", ".join(text for each, text in raw if each.lower() == name)
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower().encode("latin-1", "replace")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"


@define
class Answer:
    """A complete answer: status, headers, and the body as it was sent."""

    status: int
    # Not shown: a server may echo what it was sent, and tracebacks show local variables.
    headers: Headers = field(repr=False)
    content: bytes = field(repr=False)
