"""Follows many orders to their outcomes, with a progress bar, Ctrl-C and a summary at the end."""

import asyncio
import contextlib
import queue
import shlex
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Self

from attrs import define, field
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bitopro_client.api.orders import cancel_order
from bitopro_orders.account import Account, Book, End
from bitopro_orders.errors import (
    BitoProError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    order_named_by,
)
from bitopro_orders.forms import decimal_text
from bitopro_orders.journal import Journal
from bitopro_orders.many import AsyncManyOutcomes
from bitopro_orders.outcomes import CancelOutcome, State
from bitopro_orders.reading import about_cancel
from bitopro_orders.states import LAG_SECONDS
from bitopro_orders.timing import Timing

from . import codes
from .output import NOTHING, Output, envelope

#: How long a reader who takes nothing is waited for once nothing is under way and Ctrl-C comes.
PATIENCE_SECONDS = 1.0
#: How often the bar is drawn, in seconds.
TICK_SECONDS = 0.2
OFF_THE_BOOK = (State.CANCELLED, State.PARTLY_FILLED, State.FILLED)
#: From this width on there is room for a bar.
BAR_WIDTH = 70
#: Of the reasons for what did not come to an outcome, so many are told in words on a terminal.
MOST_REASONS = 5
COLUMNS = ("pair", "id", "outcome", "executed", "remaining", "average", "why")
BOOKS = {
    Book.CLEAN: f"The book is clean: it was listed as empty twice, {LAG_SECONDS:g} s apart.",
    Book.NOTHING_LISTED: (
        "Nothing is listed any more, but stop-limit orders that are not triggered may be open "
        "unlisted: look for them on the exchange's own page."
    ),
    Book.NOT_CLEAN: "The book is not known to be clean: look with  bitopro open",
}
STOPPING = "stopping: nothing more is sent, what has left is settled; Ctrl-C again ends it at once"


@define(eq=False)
class Stops:
    """Handles Ctrl-C: the first one stops sending, the second one ends everything at once.

    Attributes:
        many: The iteration that is stopped.
        out: Prints what happens.
        count: How many times it was pressed.
    """

    many: AsyncManyOutcomes
    out: Output
    count: int = 0
    _closing: "asyncio.Task[None] | None" = None
    _taken: list[signal.Signals] = field(factory=list)

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # As with nohup, and in the background.
            if signal.getsignal(name) is not signal.SIG_IGN:
                loop.add_signal_handler(name, self._stop)
                self._taken.append(name)
        return self

    def __exit__(self, *_: object) -> None:
        # What is left is to tell the account: one more hides it only from who does not read.
        for name in self._taken:
            asyncio.get_running_loop().add_signal_handler(name, _nothing)
            signal.signal(name, self._hurry)

    def _hurry(self, *_: object) -> None:
        self.out.patience = PATIENCE_SECONDS

    def _stop(self) -> None:
        self.count += 1
        if self.count == 1:
            self.many.stop()
            self.out.note(STOPPING, "bold yellow")
        elif self._closing is None:
            self._closing = asyncio.ensure_future(self.many.aclose())


def _nothing() -> None:
    pass


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return how many a second."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@define(eq=False)
class Bar:
    """A progress bar on stderr, if stderr is a terminal.

    Attributes:
        out: Prints.
        account: What became of the orders so far.
        total: How many orders there are; None if that is not known before.
    """

    out: Output
    account: Account
    total: int | None
    _progress: Progress = field(init=False)
    _task: TaskID = field(init=False)
    _ticking: "asyncio.Task[None]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the bar, as wide as there is room."""
        columns: list[str | ProgressColumn] = [MofNCompleteColumn(), _Rate(), TimeRemainingColumn()]
        if self.out.notes.width >= BAR_WIDTH:
            columns.insert(0, BarColumn(bar_width=20))
        is_shown = self.out.notes.is_terminal and not (
            self.out.is_json and self.out.console.is_terminal
        )
        self._progress = Progress(
            *columns,
            TextColumn("{task.fields[off]} off the book"),
            console=self.out.notes,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not is_shown,
        )
        self._task = self._progress.add_task("", total=self.total, off=0)

    async def __aenter__(self) -> Self:
        if self.out.is_taken:
            with self.out.kept(sys.stderr):
                self._progress.start()
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._ticking
        self._show()
        if self.out.is_taken:
            with self.out.kept(sys.stderr):
                self._progress.stop()

    async def _tick(self) -> None:
        while True:
            self._show()
            await Timing().sleep_async(TICK_SECONDS)

    def _show(self) -> None:
        account = self.account
        ends = sum(account.done.values()) + sum(account.counts.values())
        off = sum(account.done[state] for state in OFF_THE_BOOK)
        if account.listed is not None:
            live = account.listed + account.done[State.OPEN] + sum(account.counts.values())
            off = max(off, account.taken - account.duplicates - live)
        total = account.taken if self.total is None else self.total - account.duplicates
        if not self.out.is_taken:
            return
        with self.out.kept(sys.stderr):
            self._progress.update(self._task, completed=ends, total=total, off=off, refresh=True)


@define
class Followed:
    """What became of many orders, for the summary at the end.

    Attributes:
        account: The account of the library.
        is_stopped: Whether it was stopped by Ctrl-C.
        not_begun: How many orders were not begun.
        failure: The error that ended it early.
    """

    account: Account
    is_stopped: bool
    not_begun: int = 0
    failure: Exception | None = None

    def code(self, *, proves_book: bool = False) -> int:
        """Return the exit code."""
        code = codes.code_of(self.account, proves_book=proves_book, is_stopped=self.is_stopped)
        also = [codes.NOT_SENT] if self.not_begun and not self.is_stopped else []
        if self.failure is not None:
            also.append(codes.word_and_code(self.failure)[1])
        return codes.worst([code, *also])


class _Teller:
    """Prints ends from a thread of its own: who reads slowly holds up no cancel.

    Args:
        out: What prints.
        rows: For a table, which needs all of them to know how wide it is, they are kept here.
    """

    def __init__(self, out: Output, rows: list[list[str]]) -> None:
        self._out, self._rows = out, rows
        self._ends: queue.SimpleQueue[End | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._print, name="printing", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.put(None)
        self._thread.join()

    def __call__(self, end: End) -> None:
        if self._out.is_table:
            self._rows.append(_row(end))
        else:
            self._ends.put(end)

    def _print(self) -> None:
        while (end := self._ends.get()) is not None:
            show(self._out, end)


async def follow(
    out: Output,
    many: AsyncManyOutcomes,
    given: Sequence[tuple[str, str]] | None = None,
) -> Followed:
    """Follow many orders to their outcomes, and print each outcome.

    Args:
        out: Prints.
        many: The iteration over the orders.
        given: The orders, if they were named and not listed.
    """
    rows: list[list[str]] = []
    failure: Exception | None = None
    total = None if given is None else len(given)
    out.has_sent = out.is_busy = True
    async with many:
        with _Teller(out, rows) as tell, Stops(many, out) as stops:
            async with Bar(out, many.account, total):
                try:
                    async for end in many:
                        tell(end)
                except Exception as error:  # noqa: BLE001 - told after the account
                    failure = error
                    await many.aclose()
                out.is_busy = False
            for end in many.account.rest:
                tell(end)
            left = [] if given is None else given[many.account.taken :]
            for order in left:
                tell(about_cancel(NotSentError("it ended before the turn of this order"), *order))
    out.table(COLUMNS[:-1], [row[:-1] for row in rows])
    # A sentence in each row would hide the others.
    reasons = Counter((what, why) for _, _, what, *_, why in rows if why)
    for (what, why), number in reasons.most_common(MOST_REASONS):
        out.say(f"{number} {what}: {why}")
    return Followed(many.account, stops.count > 0, len(left), failure)


def show(out: Output, end: End) -> None:
    """Print the outcome of an order."""
    if isinstance(end, CancelOutcome):
        out.object(end.to_json())
    else:
        out.object(envelope(codes.word_and_code(end)[0], end))
    out.table(COLUMNS, [_row(end)])


def named_in(error: BitoProError) -> tuple[str, str]:
    """Return the pair and the id of the order that an error is about."""
    names, arguments = cancel_order.Names, error.arguments
    return arguments.get(names.pair, NOTHING), arguments.get(names.order_id, NOTHING)


def _row(end: End) -> list[str]:
    if isinstance(end, CancelOutcome):
        amounts = map(decimal_text, (end.executed, end.remaining, end.average_price))
        return [end.pair, end.order_id, end.state, *(text or NOTHING for text in amounts), ""]
    what = {NotSentError: "not sent", OutcomeUnknownError: "unknown", RejectedError: "refused"}
    name = next(name for kind, name in what.items() if isinstance(end, kind))
    why = end.reason if isinstance(end, OutcomeUnknownError) else f"{end}"
    return [*named_in(end), name, *[NOTHING] * 3, " ".join(why.split())]


def conclude(
    out: Output,
    followed: Followed,
    journals: Sequence[Journal],
    *,
    proves_book: bool = False,
    leaves_none_listed: bool = False,
) -> int:
    """Print the summary, what to do next and where the journal is; return the exit code.

    Args:
        out: Prints.
        followed: What became of the orders.
        journals: The journals of the run.
        proves_book: Whether the command promises a clean book.
        leaves_none_listed: Whether the command promises that none of the orders is listed any more.
    """
    account, code = followed.account, followed.code(proves_book=proves_book)
    counted = {
        "taken": account.taken,
        "duplicates": account.duplicates,
        "not_begun": followed.not_begun,
        **{state.name.lower(): account.done[state] for state in State},
        "not_sent": account.counts["not sent"],
        "refused": account.counts["refused"],
        "unknown": account.counts["unknown"],
    }
    before = out.summary.get("account", {})
    out.summary["account"] = {name: n + before.get(name, 0) for name, n in counted.items()}
    out.summary["stopped"] = followed.is_stopped
    out.summary.setdefault("journals", []).extend(f"{journal.path}" for journal in journals)
    out.say(_account_text(followed), "bold")
    if proves_book:
        out.summary["book"] = account.book.name
        out.say(BOOKS[account.book], "" if account.book is Book.CLEAN else "bold yellow")
    if leaves_none_listed and not followed.is_stopped:
        if account.listed != 0:
            code = codes.worst([code, codes.UNKNOWN])
        if not proves_book and account.listed == 0:
            out.say("None of them is listed any more; the book may hold others.")
        elif not proves_book:
            out.say("Some may still be listed: look with  bitopro open", "bold yellow")
    # The exchange's own cancel of all orders names none.
    named = [error for error in account.unknown if order_named_by(error.arguments)]
    if named:
        out.say(f"What is unknown is settled by:  {_command(named, journals)}", "bold red")
    if len(named) < len(account.unknown):
        out.say("Whether the rest was cancelled is unknown: look with  bitopro open", "bold red")
    for journal in journals:
        if journal.problem is not None:
            out.say(f"The journal lacks lines: {journal.problem}", "bold red")
        out.say(f"Journal: {journal.path}")
    if followed.failure is not None:
        out.fail(followed.failure)
    return code


def _account_text(followed: Followed) -> str:
    text = f"{followed.account}" if followed.account.taken else "there was nothing to do"
    if followed.not_begun:
        text += f"; {followed.not_begun} not begun"
    return text


def _command(errors: Sequence[OutcomeUnknownError], journals: Sequence[Journal]) -> str:
    if journals:
        return f"bitopro resolve {' '.join(shlex.quote(f'{each.path}') for each in journals)}"
    return f"bitopro status {' '.join(named_in(errors[0]))}, and so on"
