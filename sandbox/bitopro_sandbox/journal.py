"""The requests that arrived and what became of them, without secrets."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from typing import overload

import attrs

from bitopro_sandbox.settings import CallName


@attrs.frozen(kw_only=True)
class Entry:
    """One request. It holds no values of headers, because the three signed headers are a secret.

    Attributes:
        sequence: The number of the request, counted from 1 in order of arrival.
        at_ms: The server's time of arrival, in milliseconds since the epoch.
        method: The HTTP method.
        path: The path as it was sent, not decoded.
        call: The name of the documented call; None if the request is not one.
        query: The query as it was sent, not decoded, without the ``?``.
        header_names: The names of the headers, in lower case and sorted.
        body_length: The length of the body, in bytes.
        nonce: The nonce of the payload, valid or not; None if there is none.
        key_fingerprint: A hash that tells API keys apart; None without that header.
        triple_fingerprint: A hash of the three signed headers: if two requests have the same one,
            the same headers were sent twice. None unless all three headers are there.
        http_connection: The number of the TCP connection, counted from 1: if two requests have the
            same one, the connection was reused.
        fault: The name of the fault that was injected, or None.
        status: The HTTP status of the answer; None while there is no answer, and if it was dropped.
        processed: Whether the exchange carried out the request, whatever it answered.
    """

    sequence: int
    at_ms: int
    method: str
    path: str
    call: CallName | None
    query: str
    header_names: tuple[str, ...]
    body_length: int
    nonce: int | None
    key_fingerprint: str | None
    triple_fingerprint: str | None
    http_connection: int
    fault: str | None
    status: int | None = None
    processed: bool = False


def fingerprint(*values: str) -> str:
    """Return a hash of 16 hex digits, which tells values apart and does not reveal them."""
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]


class Journal(Sequence[Entry]):
    """The requests so far, the oldest first. Any thread may use it.

    A request is added when it has been read. Its entry is replaced when its answer is decided,
    before the first byte of the answer is sent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}

    def record(self, entry: Entry) -> None:
        """Add an entry, or replace the one with the same sequence number."""
        with self._lock:
            self._entries[entry.sequence] = entry

    def clear(self) -> None:
        """Remove all entries; the sequence numbers go on."""
        with self._lock:
            self._entries.clear()

    def _copy(self) -> tuple[Entry, ...]:
        with self._lock:
            return tuple(self._entries.values())

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        return self._copy()[index]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._copy())

    def __len__(self) -> int:
        return len(self._copy())

    def __repr__(self) -> str:
        return f"Journal({list(self._copy())!r})"
