"""What arrived and what became of it, without anything secret."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from typing import overload

import attrs

from bitopro_sandbox.settings import CallName


@attrs.frozen(kw_only=True)
class Entry:
    """One request. Holds no header's value: the three signed ones together are a secret.

    Attributes:
        sequence: Counts the sandbox's requests from 1, in order of arrival.
        at_ms: Server time of arrival in milliseconds since the epoch.
        method: HTTP method.
        path: Path as on the wire, undecoded.
        call: The documented call that it arrived as; None if as none.
        query: Query as on the wire, undecoded, without the ``?``.
        header_names: Lower-case and sorted.
        body_length: Bytes in the request's body.
        nonce: The payload's nonce, right or not; None without one.
        key_fingerprint: Tells API keys apart; None without the header.
        triple_fingerprint: Tells signed header triples apart: equal means they were used twice;
            None unless all three headers are there.
        http_connection: Counts the TCP connections from 1: equal means the connection was reused.
        fault: Name of the fault that fired, or None.
        status: HTTP status of the answer; None while there is none, and if it was dropped.
        processed: Whether the exchange did what was asked, whatever it then answered.
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
    """Return 16 hex digits that tell values apart and do not reveal them."""
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]


class Journal(Sequence[Entry]):
    """The requests so far, oldest first. Safe to use from any thread.

    An entry appears when its request has been read, and is replaced when its answer is decided,
    which is before the answer's first byte is sent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}

    def record(self, entry: Entry) -> None:
        """Add an entry, or replace the one with the same sequence number."""
        with self._lock:
            self._entries[entry.sequence] = entry

    def clear(self) -> None:
        """Forget all entries; the sequence goes on."""
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
