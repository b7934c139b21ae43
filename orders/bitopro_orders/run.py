"""Many orders in one event loop: a bounded number of them, each in a task of its own."""

import asyncio
import contextlib
import logging
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
)
from functools import partial
from typing import Any, TypeVar, cast

from attrs import Factory, define, evolve, field, frozen

from bitopro_client.api.orders import cancel_order
from bitopro_client.errors import InvalidArgument

from .account import Account, End
from .connection import OrdersClient
from .errors import BitoProError, InvalidArgumentError, NotSentError, OutcomeUnknownError
from .gate import STOPPED, Gate
from .journal import PATIENCE_SECONDS, Journal, outcome_name, reason_of
from .outcomes import INTERRUPTED, Begun, CancelOutcome
from .reading import about_cancel
from .states import Key, key_of
from .steps import Step, TaskChannel, ThreadChannel
from .transport import Tally

T = TypeVar("T")
logger: logging.Logger = logging.getLogger("bitopro_orders")

#: So many orders at most are begun, or ended and not handed out: it bounds the memory. With fewer,
#: those that wait to be read would hold up those that are to be sent.
MOST_BEGUN = 10_000
#: With so many ends that are not handed out, no more orders are taken, and none is read any more.
MOST_ENDED = 1_000
ENDED = "the iteration was ended before anything was sent for this order"


@frozen
class Asked:
    """One order to cancel.

    Attributes:
        pair: The pair.
        order_id: The id.
        begun: A cancel that was sent before.
        attempts: How many requests to cancel it were sent before.
        call: The id of this cancel in the journal.
        error: The error to resolve, if it is not to be cancelled.
        tries: How many times it had an outcome that was held back.
        seconds: How much time it has left, in seconds; None if its time has not begun.
        key: The key of the order.
    """

    pair: str
    order_id: str
    begun: Begun | None = None
    attempts: int = 0
    call: str = field(factory=lambda: secrets.token_hex(8))
    error: OutcomeUnknownError | None = None
    tries: int = 0
    seconds: float | None = None
    key: Key = field(
        default=Factory(lambda own: key_of(own.pair, own.order_id), takes_self=True),
        init=False,
        repr=False,
    )

    def about(self, error: BitoProError, attempts: int) -> BitoProError:
        """Name the order in an error."""
        return about_cancel(error, self.pair, self.order_id, attempts)


def asked(item: object) -> Asked:
    """Return the order that an item names.

    Raises:
        InvalidArgumentError: If the item is not a pair and an id.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InvalidArgumentError(
            "each of orders must be a pair and an id, such as ('BTC_TWD', '2959906694'), not "
            f"{type(item).__name__}"
        )
    pair, order_id = item
    call = cancel_order.call(pair=pair, order_id=order_id)
    try:
        call.request_kwargs()
    except InvalidArgument as broken:
        error = InvalidArgumentError(str(broken))
        error.operation = cancel_order.OPERATION.name
        error.arguments = {k: v for k, v in call.arguments.items() if isinstance(v, str)}
        raise error from None
    return Asked(pair, order_id)


@define
class Do:
    """A step that awaits something in a task."""

    what: Callable[[], Awaitable[object]]

    def run(self, channel: ThreadChannel) -> None:  # noqa: ARG002 - a step's
        """Raise: a thread cannot await."""
        raise TypeError("this is for tasks")

    async def run_async(self, channel: TaskChannel) -> None:  # noqa: ARG002 - a step's
        """Await it."""
        await self.what()


@define(eq=False)
class Escort:
    """Accompanies one order, and knows which of the places for sending and reading it holds.

    Attributes:
        run: The run that it belongs to.
        asked: The order.
        tally: Counts the requests to cancel it.
        why: The reason of the next request to cancel, for the journal, if it is not one of the
            usual ones.
    """

    run: "Run"
    asked: Asked
    tally: Tally
    why: str = ""
    _sends: bool = True
    _reads: bool = False
    _attempt: int = 0

    @property
    def is_sent(self) -> bool:
        """Whether a cancel was sent, and the order waits to be read."""
        return not self._sends

    @property
    def is_held(self) -> bool:
        """Whether no more requests to cancel may be sent."""
        return self.run.gate.is_closed

    @property
    def puts_off(self) -> bool:
        """Whether reading the order is postponed, because it cannot be read at once."""
        return not self._reads and self.run.reading.are_taken

    def before(self, seconds: float) -> Generator[Step, Any, None]:
        """Write to the journal that a request to cancel is sent within this time.

        Raises:
            NotSentError: If no more requests may be sent.
        """
        self.run.gate.check()
        if self.run.journal is not None:
            yield Do(partial(self._write_before, seconds))

    async def before_batch(self, batch: str, seconds: float) -> None:
        """Write to the journal that a batch with the order is sent within this time."""
        if self.run.journal is not None:
            await self._write_before(seconds, batch=batch)

    async def _write_before(self, seconds: float, **fields: object) -> None:
        why = self.why or ("it was read as live" if self.tally.sent else "it was asked for")
        self.why, self._attempt = "", self.tally.sent + 1
        until_ms = self.run.client.timing.now_ms() + round(seconds * 1000)
        line = self._line("cancel", self._attempt, until_ms=until_ms, why=why, **fields)
        await on_disk(cast("Journal", self.run.journal), line)

    def guard(self, steps: Generator[Step, Any, T]) -> Generator[Step, Any, T]:
        """Return the steps of a cancel request. It is given up once none may be sent any more."""
        return self.run.gate.guard(steps)

    def after(self, error: BaseException | None, sent_ms: int) -> None:
        """Write the result of a request to the journal, and let the next order be sent."""
        if self._sends:
            self._sends = False
            self.run.sending.release()
        self.note(error, sent_ms)

    def note(self, error: BaseException | None, sent_ms: int) -> None:
        """Write the result of a request to the journal."""
        if self.run.journal is not None:
            outcome, why = outcome_name(error), reason_of(error)
            attempt = max(self._attempt, self.tally.sent)
            self.run.journal.put(
                self._line("answer", attempt, sent_ms=sent_ms, outcome=outcome, why=why)
            )

    def end(self, end: End) -> None:
        """Write the outcome of the order to the journal."""
        if self.run.journal is not None:
            form = end.to_json() if isinstance(end, CancelOutcome | OutcomeUnknownError) else None
            outcome, why = outcome_name(end), reason_of(end)
            self.run.journal.put(
                self._line("end", self.tally.sent, outcome=outcome, why=why, form=form)
            )

    def _line(self, event: str, attempt: int, **fields: object) -> dict[str, Any]:
        return {
            "event": event,
            "at_ms": self.run.client.timing.now_ms(),
            # A resolution is about every cancel of the order.
            "call": None if self.asked.error else self.asked.call,
            "operation": cancel_order.OPERATION.name,
            "pair": self.asked.pair,
            "order_id": self.asked.order_id,
            "attempt": attempt,
            **fields,
        }

    def turn(self) -> Generator[Step, Any, None]:
        """Wait until the order may be read."""
        if not self._reads:
            yield Do(partial(self.run.reading.acquire, self.asked.key))
            self._reads = True

    def resume(self) -> None:
        """Take over a place for reading."""
        self._reads = True

    def leave(self) -> None:
        """Give back the places that it holds."""
        if self._sends:
            self.run.sending.release()
        if self._reads:
            self.run.reading.release()
        self._sends = self._reads = False


async def on_disk(journal: Journal, line: dict[str, Any]) -> None:
    """Wait until a line is on the disk, but not longer than `PATIENCE_SECONDS`."""
    written = asyncio.wrap_future(journal.put(line))
    try:
        await asyncio.wait({written}, timeout=PATIENCE_SECONDS)
        if not written.done():
            logger.warning("the journal is slow; a cancel goes out before its line is on the disk")
    finally:
        written.cancel()


@define(eq=False)
class Kept:
    """An order whose outcome is held back, because another try may give a better one.

    Attributes:
        escort: The escort of the order.
        end: The outcome.
        since: When it had this outcome, on the monotonic clock, in seconds.
    """

    escort: Escort
    end: End
    since: float

    def again(self) -> Asked:
        """Return the order for another try."""
        begun = None
        if isinstance(self.end, OutcomeUnknownError):
            begun = Begun(self.end.accepted, self.end.sent_ms)
        order, sent = self.escort.asked, self.escort.tally.sent
        return evolve(order, begun=begun, attempts=sent, tries=order.tries + 1, seconds=None)


@define(eq=False)
class Turns:
    """Limits how many orders are read at the same time.

    Args:
        free: How many more may be read.

    Attributes:
        first: The orders that go before all others.
    """

    _free: int
    first: set[Key] = field(factory=set, init=False)
    _waiting: "dict[asyncio.Future[None], Key | None]" = field(factory=dict, init=False)

    @property
    def are_taken(self) -> bool:
        """Whether an order would have to wait for its turn."""
        return not self._free

    async def acquire(self, key: Key | None = None) -> None:
        """Wait until the order may be read."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = key
        try:
            await turn
        except asyncio.CancelledError:
            if turn not in self._waiting:  # its turn had come
                self.release()
            self._waiting.pop(turn, None)
            raise

    def release(self) -> None:
        """Let the next order be read."""
        waiting = [turn for turn in self._waiting if not turn.done()]
        if not waiting:
            self._free += 1
            return
        among = (turn for turn in waiting if self._waiting[turn] in self.first)
        turn = next(among, waiting[0])
        del self._waiting[turn]
        turn.set_result(None)


#: Brings an order to its end, or returns it as one that has been sent and is to be read later.
Work = Callable[[Asked, Escort], Coroutine[Any, Any, CancelOutcome | Asked]]


@define(eq=False)
class Run:
    """Many orders in one event loop.

    Attributes:
        client: Sends the requests.
        items: The items that the caller gave.
        take: Returns the order of an item, or raises the error to yield instead.
        work: Cancels or resolves one order and returns its outcome.
        account: What became of the orders.
        at_once: How many orders at most are sent, and how many are read, at the same time.
        duplicates_within: Among how many of the last orders a repeated one is noticed.
        on_progress: Called with the account after each outcome.
        journal: The journal, if there is one.
        is_drained: Whether the items end by themselves after a stop, so that the rest of them is
            taken. Otherwise no more items are taken.
        beside: Runs beside the orders until they end.
        keeps: Says whether an outcome is held back, so that the items may give the order again.
        kept: The orders whose outcomes are held back. They count as in progress, and are yielded
            when the items end.
        gate: Closed by a stop.
        reading: Limits how many orders are read at the same time.
        escorts: The escorts of the orders in progress.
        cut: The orders that are unknown because the iteration was ended early.
    """

    client: OrdersClient
    items: AsyncIterator[object]
    take: Callable[[Any], Asked]
    work: Work
    account: Account
    at_once: int
    duplicates_within: int
    on_progress: Callable[[Account], object] | None
    journal: Journal | None
    is_drained: bool = field(default=False, init=False)
    beside: "Callable[[Run], Coroutine[Any, Any, None]] | None" = field(default=None, init=False)
    keeps: Callable[[End], bool] | None = field(default=None, init=False)
    kept: dict[Key, Kept] = field(factory=dict, init=False)
    gate: Gate = field(factory=Gate, init=False)
    escorts: dict[Key, Escort] = field(factory=dict, init=False)
    sending: asyncio.Semaphore = field(init=False)
    reading: Turns = field(init=False)
    cut: list[OutcomeUnknownError] = field(factory=list, init=False)
    _room: asyncio.Semaphore = field(init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    _handed_out: asyncio.Event = field(factory=asyncio.Event, init=False)
    _ends: deque[End] = field(factory=deque, init=False)
    _known: OrderedDict[Key, None] = field(factory=OrderedDict, init=False)
    _tasks: "set[asyncio.Task[CancelOutcome | Asked]]" = field(factory=set, init=False)
    #: Orders that were sent and wait to be read: thousands, so they are no tasks.
    _unread: dict[Key, Escort] = field(factory=dict, init=False)
    _put_off: asyncio.Semaphore = field(init=False)
    _resuming: "asyncio.Task[None] | None" = field(default=None, init=False)
    _feeding: "asyncio.Task[None] | None" = field(default=None, init=False)
    _beside: "asyncio.Task[None] | None" = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _is_to_stop: bool = field(default=False, init=False)
    _counting: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the places."""
        self.sending = asyncio.Semaphore(self.at_once)
        self.reading = Turns(self.at_once)
        self._room = asyncio.Semaphore(MOST_BEGUN)
        self._put_off = asyncio.Semaphore(0)

    async def next_end(self) -> End | None:
        """Return the next outcome as soon as there is one; None after the last.

        Raises:
            Exception: What the given iterable has raised, after the outcomes of the orders before
                it.
        """
        if self._feeding is None:
            self._loop = asyncio.get_running_loop()
            if self._is_to_stop:
                self._stop()
            self._feeding = asyncio.create_task(self._feed())
            self._resuming = asyncio.create_task(self._resume())
            if self.beside is not None:
                self._beside = asyncio.create_task(self.beside(self))
        while not self._ends:
            is_fed = self._feeding.done() or (self.gate.is_closed and not self.is_drained)
            is_over = is_fed and not self._tasks and not self._unread
            if self._error is not None and (is_over or not isinstance(self._error, Exception)):
                raise self._error
            if is_over or self._is_over:
                return None
            self._news.clear()
            await self._news.wait()
        self._room.release()
        self._handed_out.set()
        return self._ends.popleft()

    def stop(self) -> None:
        """Send no more cancels, take no more items, finish what was sent.

        Any thread may call it.
        """
        self._is_to_stop = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self.gate.close()
        self._news.set()

    async def end(self) -> None:
        """Abort what is in progress and complete the account.

        Raises:
            CancelledError: If it was cancelled meanwhile; the account is complete in this case,
                too.
        """
        self._is_over = True
        tasks = {*self._tasks, *filter(None, [self._feeding, self._resuming, self._beside])}
        for task in tasks:
            task.cancel()
        is_cancelled = False
        while any(not task.done() for task in tasks) or self._tasks:
            try:
                # Also for the callbacks of the last ones.
                await asyncio.wait(tasks)
                await self.client.timing.sleep_async(0)
            except asyncio.CancelledError:
                is_cancelled = True
        for escort in list(self._unread.values()):
            self._settle_unread(escort)
        if self.is_drained:
            self.gate.close()
            async for item in self.items:
                self._begin(item)
        self.account.rest += tuple(self._ends)
        self._ends.clear()
        self._news.set()
        if is_cancelled:
            raise asyncio.CancelledError

    async def _feed(self) -> None:
        try:
            while not self._is_over:
                await self._room.acquire()
                await self._room_for_ends()
                await self.sending.acquire()
                if self.gate.is_closed and not self.is_drained:
                    return
                try:
                    item = await anext(self.items)
                except StopAsyncIteration:
                    return
                self._begin(item)
                # An endless source of what needs no waiting must let others in.
                await self.client.timing.sleep_async(0)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it is for whoever iterates
            self._error = error
        finally:
            for kept in list(self.kept.values()):
                self._settle(kept)
            self._news.set()

    async def _room_for_ends(self) -> None:
        while len(self._ends) >= MOST_ENDED:
            self._handed_out.clear()
            await self._handed_out.wait()

    async def _resume(self) -> None:
        """Go on with the orders that were put off, each when it may be read."""
        while True:
            await self._put_off.acquire()
            await self._room_for_ends()
            await self.reading.acquire()
            among = (key for key in self.reading.first if key in self._unread)
            escort = self._unread.pop(next(among, next(iter(self._unread))))
            escort.resume()
            self._work_on(escort)

    def late(self, item: object) -> None:
        """Record an item that came after the end; any thread may call it."""
        with self._counting:
            self.account.taken += 1
            try:
                end = self._untouched(self.take(item), ENDED)
            except BitoProError as error:
                end = error
            self.account.note(end)

    def _begin(self, item: object) -> None:
        if isinstance(item, Kept):
            if self._is_over or self.gate.is_closed:
                self.sending.release()
                self._settle(item)
                return
            order = item.again()
            del self.kept[order.key]
            self._start(order, why="" if order.begun else "it is still listed")
            return
        with self._counting:
            self.account.taken += 1
        try:
            order = self.take(item)
            if self._is_over or (self.gate.is_closed and order.begun is None):
                raise self._untouched(order, ENDED if self._is_over else STOPPED)
        except BitoProError as error:
            self.sending.release()
            self._tell(error)
            return
        if order.key in self._known:
            self.account.duplicates += 1
            self.sending.release()
            self._room.release()
            return
        self._known[order.key] = None
        if len(self._known) > self.duplicates_within:
            self._known.popitem(last=False)
        self.account.under_way += 1
        self._start(order)

    def _start(self, order: Asked, why: str = "") -> None:
        escort = Escort(self, order, Tally(order.attempts), why)
        self.escorts[order.key] = escort
        self._work_on(escort)

    def _work_on(self, escort: Escort) -> None:
        task = asyncio.create_task(self.work(escort.asked, escort))
        self._tasks.add(task)
        task.add_done_callback(partial(self._finish, escort))

    def _finish(self, escort: Escort, task: "asyncio.Task[CancelOutcome | Asked]") -> None:
        self._tasks.discard(task)
        escort.leave()
        end = self._end_of(escort, task)
        if isinstance(end, Asked):
            escort.asked = end
            self._unread[end.key] = escort
            self._put_off.release()
            return
        if self.escorts.get(escort.asked.key) is escort:
            del self.escorts[escort.asked.key]
        kept = Kept(escort, end, self.client.timing.monotonic())
        is_fed = self._is_over or self._feeding is None or self._feeding.done()
        if self.keeps is None or is_fed or not self.keeps(kept.end):
            self._settle(kept)
        else:
            self.kept[escort.asked.key] = kept
            self._room.release()

    def _settle_unread(self, escort: Escort) -> None:
        del self._unread[escort.asked.key]
        self.escorts.pop(escort.asked.key, None)
        end = self._undone(escort.asked, escort.tally.sent, "")
        self._settle(Kept(escort, end, self.client.timing.monotonic()))

    def _settle(self, kept: Kept) -> None:
        """Tell what an order came to in the end."""
        escort, end = kept.escort, kept.end
        self.kept.pop(escort.asked.key, None)
        self.account.under_way -= 1
        if self._is_over and isinstance(end, OutcomeUnknownError):
            self.cut.append(end)
        try:
            escort.end(end)
        finally:  # or whoever iterates would wait for ever
            self._tell(end)

    def _end_of(self, escort: Escort, task: "asyncio.Task[CancelOutcome | Asked]") -> End | Asked:
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            return task.result()
        if isinstance(error, BitoProError):
            return error
        why = "" if error is None else f"it ended in a {type(error).__name__}"
        return self._undone(escort.asked, escort.tally.sent, why)

    def _untouched(self, order: Asked, why: str) -> BitoProError:
        """Return what is told of an order that nothing was done for here."""
        if order.error is not None:
            return order.error
        return self._undone(order, order.attempts, why if order.begun is None else "")

    def _undone(self, order: Asked, sent: int, why: str) -> BitoProError:
        """Return what is told of an order that was not brought to its end."""
        if not sent and order.begun is None:
            return order.about(NotSentError(why or ENDED), sent)
        unknown = OutcomeUnknownError(why or INTERRUPTED)
        unknown.sent_ms = self.client.timing.now_ms()
        if order.begun is not None and sent == order.attempts:
            unknown.accepted, unknown.sent_ms = order.begun.accepted, order.begun.sent_ms
        return order.about(unknown, sent)

    def _tell(self, end: End) -> None:
        with self._counting:
            self.account.note(end)
        self._ends.append(end)
        self._news.set()
        self.progress()

    def progress(self) -> None:
        """Call `on_progress`; an exception that it raises changes no outcome."""
        if self.on_progress is not None:
            try:
                self.on_progress(self.account)
            except Exception:
                logger.warning("the on_progress hook failed", exc_info=True)
