"""Many orders in one loop: each in a task of its own, a bounded number of them."""

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
)
from functools import partial
from typing import Any, cast

from attrs import define, field, frozen

from bitopro_client.api.orders import cancel_order
from bitopro_client.errors import InvalidArgument

from .account import Account, End
from .connection import OrdersClient
from .errors import BitoProError, InvalidArgumentError, NotSentError, OutcomeUnknownError
from .journal import PATIENCE_SECONDS, Journal, outcome_name, reason_of
from .outcomes import INTERRUPTED, Begun, CancelOutcome
from .reading import about_cancel
from .steps import Step, TaskChannel, ThreadChannel
from .transport import Tally

logger = logging.getLogger("bitopro_orders")

#: So many orders at most are begun, or ended and not handed out. It bounds the memory.
MOST_BEGUN = 1000
ENDED = "the iteration was ended before anything was sent for this order"


@frozen
class Asked:
    """One order to cancel.

    Attributes:
        pair: Its pair.
        order_id: Its id.
        begun: A cancel that was sent before.
        attempts: How many requests to cancel it have left before.
        call: What the journal calls this cancel.
        error: The error to resolve, if it is not to be cancelled.
    """

    pair: str
    order_id: str
    begun: Begun | None = None
    attempts: int = 0
    call: str = field(factory=lambda: secrets.token_hex(8))
    error: OutcomeUnknownError | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What the order is known by: the documents write pairs in both cases."""
        return self.pair.lower(), self.order_id

    def about(self, error: BitoProError, attempts: int) -> BitoProError:
        """Say in an error which order it is about."""
        return about_cancel(error, self.pair, self.order_id, attempts)


def asked(item: object) -> Asked:
    """Return the order that an item names.

    Raises:
        InvalidArgumentError: If it names none.
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
    """Wait for something in a task."""

    what: Callable[[], Awaitable[object]]

    def run(self, channel: ThreadChannel) -> None:  # noqa: ARG002 - a step's
        """Refuse: there is no thread here that may wait."""
        raise TypeError("this is for tasks")

    async def run_async(self, channel: TaskChannel) -> None:  # noqa: ARG002 - a step's
        """Wait."""
        await self.what()


@define(eq=False)
class Escort:
    """Goes with one order: knows which of the bounded places it holds.

    Attributes:
        run: Whose it is.
        asked: The order.
        tally: Counts its requests to cancel.
        why: Why the next request to cancel leaves, if not for the usual reasons.
    """

    run: "Run"
    asked: Asked
    tally: Tally
    why: str = ""
    _sends: bool = True
    _reads: bool = False
    _attempt: int = 0

    def before(self, seconds: float) -> Generator[Step, Any, None]:
        """Write down that a request to cancel leaves within so long."""
        if self.run.journal is not None:
            yield Do(partial(self._write_before, seconds))

    async def before_batch(self, batch: str, seconds: float) -> None:
        """Write down that a batch with the order leaves within so long."""
        if self.run.journal is not None:
            await self._write_before(seconds, batch=batch)

    async def _write_before(self, seconds: float, **fields: object) -> None:
        why = self.why or ("it was read as live" if self.tally.sent else "it was asked for")
        self.why, self._attempt = "", self.tally.sent + 1
        until_ms = self.run.client.timing.now_ms() + round(seconds * 1000)
        line = self._line("cancel", self._attempt, until_ms=until_ms, why=why, **fields)
        await on_disk(cast("Journal", self.run.journal), line)

    def after(self, error: BaseException | None, sent_ms: int) -> None:
        """Write down what it came to, and let the next order be sent."""
        if self._sends:
            self._sends = False
            self.run.sending.release()
        self.note(error, sent_ms)

    def note(self, error: BaseException | None, sent_ms: int) -> None:
        """Write down what a request came to."""
        if self.run.journal is not None:
            outcome, why = outcome_name(error), reason_of(error)
            self.run.journal.put(
                self._line("answer", self._attempt, sent_ms=sent_ms, outcome=outcome, why=why)
            )

    def end(self, end: End) -> None:
        """Write down what the order came to."""
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
        """Wait until it may be read."""
        if not self._reads:
            yield Do(self.run.reading.acquire)
            self._reads = True

    def leave(self) -> None:
        """Give back what it holds."""
        if self._sends:
            self.run.sending.release()
        if self._reads:
            self.run.reading.release()
        self._sends = self._reads = False


async def on_disk(journal: Journal, line: dict[str, Any]) -> None:
    """Wait until a line is on the disk, or the patience is over."""
    written = asyncio.wrap_future(journal.put(line))
    try:
        await asyncio.wait({written}, timeout=PATIENCE_SECONDS)
        if not written.done():
            logger.warning("the journal is slow; a cancel goes out before its line is on the disk")
    finally:
        written.cancel()


Work = Callable[[Asked, Escort], Coroutine[Any, Any, CancelOutcome]]


@define(eq=False)
class Run:
    """Many orders, in one loop.

    Attributes:
        client: Who cancels.
        items: What is given.
        take: Makes an order of an item, or raises what is told in its place.
        work: Brings an order to its end.
        account: What has become of them.
        at_once: How many orders at most are sent, and read, at once.
        duplicates_within: Among how many of the last orders one that is there twice is noticed.
        on_progress: Called with the account whenever an order is at its end.
        journal: Where it is written down.
        cut: The orders whose outcome is unknown because the iteration was ended.
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
    sending: asyncio.Semaphore = field(init=False)
    reading: asyncio.Semaphore = field(init=False)
    cut: list[OutcomeUnknownError] = field(factory=list, init=False)
    _room: asyncio.Semaphore = field(init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    _ends: deque[End] = field(factory=deque, init=False)
    _known: OrderedDict[tuple[str, str], None] = field(factory=OrderedDict, init=False)
    _tasks: "set[asyncio.Task[CancelOutcome]]" = field(factory=set, init=False)
    _feeding: "asyncio.Task[None] | None" = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the places."""
        self.sending = asyncio.Semaphore(self.at_once)
        self.reading = asyncio.Semaphore(self.at_once)
        self._room = asyncio.Semaphore(MOST_BEGUN)

    async def next_end(self) -> End | None:
        """Return what an order came to, as soon as the next one is at its end; None after the last.

        Raises:
            Exception: What the given iterable has raised; after the end of each order before it.
        """
        if self._feeding is None:
            self._feeding = asyncio.create_task(self._feed())
        while not self._ends:
            is_over = self._feeding.done() and not self._tasks
            if self._error is not None and (is_over or not isinstance(self._error, Exception)):
                raise self._error
            if is_over or self._is_over:
                return None
            self._news.clear()
            await self._news.wait()
        self._room.release()
        return self._ends.popleft()

    async def end(self) -> None:
        """Cut off what is under way and complete the account.

        Raises:
            CancelledError: If it was cancelled meanwhile; the account is complete then, too.
        """
        self._is_over = True
        tasks = {*self._tasks, *filter(None, [self._feeding])}
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
        self.account.rest += tuple(self._ends)
        self._ends.clear()
        self._news.set()
        if is_cancelled:
            raise asyncio.CancelledError

    async def _feed(self) -> None:
        try:
            while not self._is_over:
                await self._room.acquire()
                await self.sending.acquire()
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
            self._news.set()

    def _begin(self, item: object) -> None:
        self.account.taken += 1
        try:
            order = self.take(item)
        except BitoProError as error:
            self.sending.release()
            self._tell(error)
            return
        if self._is_over:
            self._tell(order.about(NotSentError(ENDED), 0))
            return
        if order.key in self._known:
            self.account.duplicates += 1
            self.sending.release()
            self._room.release()
            return
        self._known[order.key] = None
        if len(self._known) > self.duplicates_within:
            self._known.popitem(last=False)
        escort = Escort(self, order, Tally(order.attempts))
        self.account.under_way += 1
        task = asyncio.create_task(self.work(order, escort))
        self._tasks.add(task)
        task.add_done_callback(partial(self._finish, escort))

    def _finish(self, escort: Escort, task: "asyncio.Task[CancelOutcome]") -> None:
        self._tasks.discard(task)
        escort.leave()
        self.account.under_way -= 1
        end = self._end_of(escort, task)
        if self._is_over and isinstance(end, OutcomeUnknownError):
            self.cut.append(end)
        escort.end(end)
        self._tell(end)

    def _end_of(self, escort: Escort, task: "asyncio.Task[CancelOutcome]") -> End:
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            return task.result()
        if isinstance(error, BitoProError):
            return error
        order, sent = escort.asked, escort.tally.sent
        why = "" if error is None else f"it ended in a {type(error).__name__}"
        if not sent and order.begun is None:
            return order.about(NotSentError(why or ENDED), sent)
        unknown = OutcomeUnknownError(why or INTERRUPTED)
        unknown.sent_ms = self.client.timing.now_ms()
        if order.begun is not None and sent == order.attempts:
            unknown.accepted, unknown.sent_ms = order.begun.accepted, order.begun.sent_ms
        return order.about(unknown, sent)

    def _tell(self, end: End) -> None:
        self.account.note(end)
        self._ends.append(end)
        self._news.set()
        self.progress()

    def progress(self) -> None:
        """Tell the hook that something has changed; whatever ails it changes no outcome."""
        if self.on_progress is not None:
            try:
                self.on_progress(self.account)
            except Exception:
                logger.warning("the on_progress hook failed", exc_info=True)
