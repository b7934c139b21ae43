"""Bytes out, one whole answer back, and exactly whether a byte has left.

`http1` writes the request and reads the answer, without IO; `threads` and `tasks` do the IO;
`through_httpx` puts any transport of httpx in their place.
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
    """An attempt failed. No text of the other side is in the message."""


class NotConnectedError(TransportError):
    """There is no connection, so no byte has left."""


class SilenceError(TransportError):
    """No whole answer came in time."""


class BrokenError(TransportError):
    """The connection ended, or what came back is no answer of HTTP."""


class Origin(NamedTuple):
    """Where connections lead."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of a URL that was checked."""
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
    """Counts requests over several calls.

    Attributes:
        sent: How many have left this machine.
        is_under_way: Whether one has left and is not answered yet.
        is_interrupted: Whether the task was cancelled just when an answer was whole.
    """

    sent: int = 0
    is_under_way: bool = False
    is_interrupted: bool = False


@define
class Attempt:
    """One request on its way.

    Attributes:
        deadline: When it must be over, on the monotonic clock, in seconds.
        monotonic: That clock.
        phase_seconds: How long connecting, writing and each reading may take.
        tally: Counts it when it leaves.
        has_left: Whether a byte may have left.
        sent_ms: When it was handed to the transport, in milliseconds since the epoch.
        left_at: When the first byte left, on the monotonic clock, in seconds.
        answer: The answer, should the task be cancelled between its last byte and its return.
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
        """Note that from now on a byte may have left."""
        self.has_left, self.left_at = True, self.monotonic()
        self.tally.sent += 1
        self.tally.is_under_way = True

    def take_back(self) -> None:
        """Note that no byte has left after all."""
        self.has_left, self.left_at = False, None
        self.tally.sent -= 1

    def phase_end(self) -> float:
        """Return when the phase that begins now must be over."""
        return min(self.deadline, self.monotonic() + self.phase_seconds)

    def seconds_left(self) -> float:
        """Return how long the next phase may take.

        Raises:
            TimeoutError: If the deadline has passed.
        """
        left = min(self.phase_seconds, self.deadline - self.monotonic())
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class Headers(Mapping[str, str]):
    """An answer's headers, by names in any case.

    They have no printable form: a server may echo what it was sent, and tracebacks show variables.
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
    """What came back, whole: status, headers, and the body as it was sent."""

    status: int
    # Not shown: a server may echo what it was sent, and tracebacks show local variables.
    headers: Headers = field(repr=False)
    content: bytes = field(repr=False)
