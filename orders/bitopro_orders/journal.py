"""The journal: a file of JSON lines, to which each decision is written before it is carried out.

Only complete lines count. If a line is incomplete, its request was not sent. docs/outcomes.md lists
the fields.
"""

import contextlib
import json
import logging
import os
import queue
import stat
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from . import forms
from .account import End
from .errors import (
    BitoProError,
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
)
from .failures import Outcome
from .outcomes import CancelOutcome, State
from .reading import about_cancel
from .states import Key, key_of

logger: logging.Logger = logging.getLogger("bitopro_orders")

VERSION = 1
#: Each line begins with its version.
BEGINNING = b'{"v":'
#: Ends a line that is torn, so that it does not count, not even if only its end was missing.
TORN = b"~\n"
#: So long a cancel waits for its line to be on the disk before it goes out all the same.
PATIENCE_SECONDS = 5.0
#: So many lines that could not be written are kept for when there is room again.
MOST_MISSED = 10_000
FINAL_NAMES = {State.CANCELLED.name, State.PARTLY_FILLED.name, State.FILLED.name}
#: What a resolution ends as that could not read the order: it says nothing of it.
NOT_READ = {Outcome.NOT_SENT, Outcome.REFUSED}
DEAD = "whoever sent the cancel ended before its outcome was written down"

Line = dict[str, Any]


def outcome_name(end: End | BaseException | None) -> str:
    """Return the `outcome` of a line: what became of a request or of an order."""
    match end:
        case None:
            return Outcome.ACCEPTED
        case CancelOutcome():
            return end.state.name
        case NotSentError():
            return Outcome.NOT_SENT
        case RejectedError():
            return Outcome.REFUSED
    # Also what cut the request off: it may have left.
    return Outcome.UNKNOWN


def reason_of(end: End | BaseException | None) -> str:
    """Return the reason in words, for the `why` of a line."""
    match end:
        case None:
            return "the exchange accepted it"
        case CancelOutcome():
            return f"{end.state}, seen by {end.seen_by}"
        case OutcomeUnknownError():
            return end.reason
        case BitoProError():
            return f"{end}"
    return type(end).__name__


@define
class _Call:
    """What a journal says of one cancel that has no end that is proved.

    Attributes:
        pair: The order's pair.
        order_id: The order's id.
        attempts: How many requests to cancel may have left.
        sent_ms: When the last one left at the latest, in milliseconds since the epoch.
        accepted: Whether the exchange has accepted one.
        told: What it ended as, if it ended.
    """

    pair: str
    order_id: str
    attempts: int = 0
    sent_ms: int = 0
    accepted: bool = False
    told: OutcomeUnknownError | None = None

    def error(self) -> OutcomeUnknownError:
        """Return it as the error that `resolve()` takes."""
        error = OutcomeUnknownError(DEAD)
        if self.told is not None:
            error = OutcomeUnknownError(self.told.reason, status=self.told.status)
            error.last_seen = self.told.last_seen
        error.sent_ms, error.accepted = self.sent_ms, self.accepted
        return about_cancel(error, self.pair, self.order_id, self.attempts)


@define
class Ledger:
    """What the lines of a journal say in total.

    Attributes:
        orders: The cancels without a proved outcome: by order, and then by the id of the cancel.
    """

    orders: dict[Key, dict[str, _Call]] = field(factory=dict)

    @classmethod
    def read(cls, lines: Iterable[bytes]) -> "Ledger":
        """Read lines; an incomplete line does not count.

        Raises:
            InvalidArgumentError: If a line has an unknown version, or if there are lines and none
                of them is a journal's: the file may be the list of the orders.
        """
        ledger, others, strange, ours = cls(), 0, 0, 0
        for text in lines:
            is_torn = not text.endswith(b"\n")
            if text.startswith(BEGINNING) or (is_torn and BEGINNING.startswith(text)):
                ours += 1
            elif text.strip():
                strange += 1
            if is_torn:
                break
            # A torn line in the middle was followed by others when there was room again.
            with contextlib.suppress(*forms.WRONG, RecursionError):
                line = json.loads(text)
                if line["v"] == VERSION:
                    ledger.take(line)
                else:
                    others += 1
        if others:
            raise InvalidArgumentError(
                f"journal must be of version {VERSION}: it has lines of another one"
            )
        if strange and not ours:
            raise InvalidArgumentError(
                "journal must be one that a Journal has written, such as 'cancels.jsonl': no line "
                "of this file is one of a journal"
            )
        return ledger

    def take(self, line: Mapping[str, Any]) -> None:
        """Add a line. A repeated line counts once. A line without an order settles none."""
        if "order_id" not in line:
            return
        key = key_of(line["pair"], line["order_id"])
        event, name = line["event"], line["call"]
        if name is None and line["outcome"] in NOT_READ:
            return
        if event == "end" and self._is_settled(line):
            if name is None or line["outcome"] in FINAL_NAMES:
                self.orders.pop(key, None)
            else:
                self.orders.get(key, {}).pop(name, None)
            if not self.orders.get(key):
                self.orders.pop(key, None)
            return
        call = self.orders.setdefault(key, {}).setdefault(
            name or "", _Call(line["pair"], line["order_id"])
        )
        call.attempts = max(call.attempts, int(line["attempt"]))
        if event == "cancel":
            call.sent_ms = max(call.sent_ms, int(line["until_ms"]))
        elif event == "answer":
            call.sent_ms = int(line["sent_ms"])
            call.accepted = call.accepted or line["outcome"] == Outcome.ACCEPTED
        else:
            call.told = OutcomeUnknownError.from_json(line["form"])
            call.accepted = call.accepted or call.told.accepted
            call.sent_ms = call.told.sent_ms

    @staticmethod
    def _is_settled(line: Mapping[str, Any]) -> bool:
        return str(line["outcome"]) != Outcome.UNKNOWN

    def unresolved(self) -> list[tuple[str, OutcomeUnknownError]]:
        """Return an error to resolve, and its cancel's id, for each order without an outcome."""
        found = []
        for calls in list(self.orders.values()):
            name, last = max(list(calls.items()), key=lambda each: each[1].sent_ms)
            error = last.error()
            error.accepted = any(call.accepted for call in calls.values())
            found.append((name, error))
        return found


class Journal:
    """A file with one JSON line for each decision about a cancel.

    Before a request may be sent, its line is on the disk; another line is written after the answer.
    A thread of the journal writes the lines, many at once where it can. Only one process at a time
    can open a journal.

    If the disk is full, or takes longer than 5 seconds, cancels are sent all the same: a warning is
    logged, and `problem` gives the reason. Up to 10,000 lines that could not be written are written
    when there is space again.

    The journal holds pairs, order ids and outcomes, but no secrets. Only its owner may read it.

    Args:
        path: The file; it is created if it does not exist.

    Raises:
        InvalidArgumentError: If the file cannot be opened, has an unknown version, or is open
            already.

    Attributes:
        path: The file.
        problem: Why the last lines are not on the disk; None if they are.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self.problem: str | None = None
        self._file, self._ledger, self._is_torn = _opened(self.path)
        self._lines: queue.SimpleQueue[tuple[bytes, Future[bool]] | None] = queue.SimpleQueue()
        self._missed: deque[bytes] = deque(maxlen=MOST_MISSED)
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()
        _journals.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether lines can be written."""
        return self._file >= 0

    def close(self) -> None:
        """Write the lines that wait to be written, and close the file."""
        if self.is_open:
            self._lines.put(None)
            self._thread.join()
            self.forget()

    def forget(self) -> None:
        """Close the file and write nothing: in a forked child, the lock is the parent's."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def put(self, line: Line) -> "Future[bool]":
        """Queue a line to be written; it never waits.

        Args:
            line: The fields of the line, without its version.

        Returns:
            A future: True when the line is on the disk, False if it could not be written.
        """
        line = {"v": VERSION, **line}
        written: Future[bool] = Future()
        self._ledger.take(line)
        if not self.is_open:
            self._say_lost("it is closed")
            written.set_result(False)
        else:
            # In ASCII, as half a surrogate pair of the exchange's has no other form.
            text = json.dumps(line, separators=(",", ":"))
            self._lines.put((text.encode() + b"\n", written))
        return written

    def unresolved(self) -> list[tuple[str, OutcomeUnknownError]]:
        """Return an error to resolve, and its cancel's id, for each order without an outcome."""
        return self._ledger.unresolved()

    def _write_all(self) -> None:
        is_open = True
        while is_open:
            group = [self._lines.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    group.append(self._lines.get_nowait())
            is_open = None not in group
            lines = [each for each in group if each is not None]
            is_written = self._write([text for text, _ in lines])
            for _, written in lines:
                if written.set_running_or_notify_cancel():
                    written.set_result(is_written)

    def _write(self, lines: list[bytes]) -> bool:
        """Write lines, with those that were missed before them; say whether they are on disk."""
        lines = [*self._missed, *lines]
        if not lines:
            return True
        rest = memoryview(TORN * self._is_torn + b"".join(lines))
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
                self._is_torn = True
            self._is_torn = False
            os.fsync(self._file)
        except OSError as error:
            self._say_lost(f"{type(error).__name__}: {error.strerror}")
            self._missed = deque(lines, maxlen=MOST_MISSED)
            return False
        self.problem = None
        self._missed.clear()
        return True

    def _say_lost(self, reason: str) -> None:
        if self.problem is None:
            logger.warning("the journal cannot be written (%s); cancels go out", reason)
        self.problem = reason


def _opened(path: Path) -> tuple[int, Ledger, bool]:
    """Open and lock a journal; return it, what it says, and whether its last line is torn."""
    try:
        import fcntl
    except ModuleNotFoundError:
        raise InvalidArgumentError("journal needs a system with POSIX locks") from None
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:  # such as a path with a null byte
        raise InvalidArgumentError(f"journal cannot be opened: {error}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return file, Ledger(), False
        _keep_name(path)
        with open(file, "rb", closefd=False) as lines:
            ledger = Ledger.read(lines)
            size = os.fstat(file).st_size
            is_torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
    except OSError as error:
        os.close(file)
        raise InvalidArgumentError(
            f"journal must be a file that nobody else has open: {error.strerror}"
        ) from None
    except BaseException:
        os.close(file)
        raise
    return file, ledger, is_torn


def _keep_name(path: Path) -> None:
    """See to it that a new file is found again after the power has failed."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


_journals: "weakref.WeakSet[Journal]" = weakref.WeakSet()


def _forget_all() -> None:
    for each in list(_journals):
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def unresolved(journal: Journal | str | os.PathLike[str]) -> list[OutcomeUnknownError]:
    """Return the cancels in a journal whose outcome is not proved, for `resolve_many`.

    These are the cancels that ended as unknown, and those whose process ended before it wrote down
    their outcome. Cancels that ended as not sent or refused are not returned, because nothing was
    done.

    Args:
        journal: An open journal, or the path of one, which another process may have open.

    Raises:
        InvalidArgumentError: If the file cannot be read, or has an unknown version.
    """
    if not isinstance(journal, Journal):
        try:
            with Path(journal).open("rb") as lines:
                return [error for _, error in Ledger.read(lines).unresolved()]
        except InvalidArgumentError:
            raise
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(f"journal cannot be read: {error}") from None
    return [error for _, error in journal.unresolved()]
