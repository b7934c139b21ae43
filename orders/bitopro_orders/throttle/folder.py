"""Keeps the throttle's state in files, for the processes of one machine.

One file is locked. It holds two copies of the state, and its first byte says which copy is valid:
if a process is killed while it writes, nothing has changed. The stamps of each counter are in a
file of their own, which is written first: a stamp that was written but not counted is overwritten
by the next one.
"""

import contextlib
import fcntl
import os
import struct
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .memory import Everything, Part
from .rules import SECOND, State
from .shared import StoreError

R = TypeVar("R")

#: How long another process may hold the file before it counts as stuck, and how often it is tried.
PATIENCE_SECONDS = 0.5
TRY_SECONDS = 0.0005
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LENGTH = struct.Struct("<II")  # of the state's text, and its checksum
_PLACES, _PLACE = (4096, 4096 + 2**20), 2**20


class FolderStore:
    """Keeps the state in a locked file.

    Args:
        file: The file; it is created if it does not exist.
        clock: Returns microseconds since the machine was started.
        sleep: Sleeps for a number of seconds.

    Raises:
        StoreError: If the file cannot be used.
    """

    def __init__(
        self, file: Path, clock: Callable[[], int], sleep: Callable[[float], None]
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._path = file
        self._stamps: dict[str, int] = {}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # It is not closed: closing any descriptor of a file gives up the process's locks.
            self._file = self._opened(file)
            # What an earlier start of the machine has left there is of another clock.
            self._boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        except OSError as error:
            raise StoreError(f"{file.parent} cannot be used: {error.strerror}") from error

    @staticmethod
    def _opened(file: Path) -> int:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def transact(
        self, part: Part, change: Callable[[State, int, str], tuple[State, R]], wall_ms: int
    ) -> tuple[R, State, int]:
        """See `shared.Backend`."""
        with contextlib.suppress(FileNotFoundError):
            # If the folder is deleted meanwhile, nobody else has seen what was written to it.
            return self._transact(part, change, wall_ms)
        return self._transact(part, change, wall_ms)

    def _transact(
        self, part: Part, change: Callable[[State, int, str], tuple[State, R]], wall_ms: int
    ) -> tuple[R, State, int]:
        self._lock()
        try:
            which, everything = self._read()
            seen, now = everything.part(part), self._clock()
            changed, result = change(seen, now, everything.epoch)
            if changed is not seen:
                everything = everything.changed(part, changed, now, wall_ms)
                for name, old in zip(part.counters, seen.counters, strict=True):
                    if written := everything.counters[name].written_since(old):
                        os.pwrite(self._stamps_file(name), written[1], written[0])
                self._write(1 - which, everything)
            return result, changed, now
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _lock(self) -> None:
        # Tried, not waited for: a process that was stopped with it must hold nobody for ever.
        give_up = self._clock() + round(PATIENCE_SECONDS * SECOND)
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                if self._clock() > give_up:
                    raise StoreError("another process holds the file") from None
                self._sleep(TRY_SECONDS)
            else:
                if _is_still_there(self._path, self._file):
                    return
                # The folder was deleted: what was in it is nobody's any more, nor is the lock.
                self._path.parent.mkdir(parents=True, exist_ok=True)
                deleted, self._file = self._file, self._opened(self._path)
                os.close(deleted)

    def _read(self) -> tuple[int, Everything]:
        which = (os.pread(self._file, 1, 0) or b"\0")[0] & 1
        head = os.pread(self._file, _LENGTH.size, _PLACES[which])
        if len(head) == _LENGTH.size:
            length, checksum = _LENGTH.unpack(head)
            text = os.pread(self._file, length, _PLACES[which] + _LENGTH.size)
            if text and zlib.crc32(text) == checksum:
                everything = Everything.decoded(text, self._read_stamps)
                everything = everything.without_lost(everything.counters)
                if everything.epoch.startswith(self._boot):
                    return which, everything
        return which, Everything(epoch=f"{self._boot} {uuid.uuid4().hex}")

    def _write(self, which: int, everything: Everything) -> None:
        text = everything.encoded().encode()
        if len(text) > _PLACE - _LENGTH.size:
            raise StoreError("too many keys share the folder")
        os.pwrite(self._file, _LENGTH.pack(len(text), zlib.crc32(text)) + text, _PLACES[which])
        os.pwrite(self._file, bytes([which]), 0)

    def _stamps_file(self, name: str) -> int:
        path = self._path.with_name(f"{self._path.stem}-{name}")
        known = self._stamps.get(name)
        if known is not None and _is_still_there(path, known):
            return known
        self._stamps[name] = self._opened(path)
        if known is not None:
            os.close(known)
        return self._stamps[name]

    def _read_stamps(self, name: str, capacity: int) -> bytes:
        return os.pread(self._stamps_file(name), capacity * 8, 0).ljust(capacity * 8, b"\0")


def _is_still_there(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
