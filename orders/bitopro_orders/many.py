"""The iterations over the outcomes of many orders, in a task and in a thread.

Orders are worked on in the caller's event loop, or, for a caller without one, in an event loop in a
thread of its own. There, requests in progress can be aborted at any moment, which is not possible
in a thread that waits for a socket.
"""

import asyncio
import contextlib
import json
import queue
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from attrs import define

from bitopro_client.api.orders import cancel_order
from bitopro_client.types import BODY_NAME

from .account import Account, End
from .errors import InvalidArgumentError, OutcomeUnknownError, order_named_by
from .outcomes import INTERRUPTED
from .run import Run

T = TypeVar("T")

#: How long a thread that is told to end is waited for: cutting requests off takes no time.
LONGEST_END_SECONDS = 10.0


def error_of_many(errors: list[OutcomeUnknownError]) -> OutcomeUnknownError:
    """Return one error that names all the orders that were cut off; `resolve_many` takes it."""
    if len(errors) == 1:
        return errors[0]
    orders: dict[str, list[str]] = {}
    for each in errors:
        if (named := order_named_by(each.arguments)) is not None:
            orders.setdefault(named[0], []).append(named[1])
    error = OutcomeUnknownError(f"{INTERRUPTED}, for {len(errors)} orders")
    error.operation = cancel_order.OPERATION.name
    error.arguments = {BODY_NAME: json.dumps(orders)}
    error.attempts = sum(each.attempts for each in errors)
    error.sent_ms = max(each.sent_ms for each in errors)
    return error


class AsyncManyOutcomes:
    """The outcomes of many orders, each as soon as it is known: iterate with `async for`, once.

    With `async with`, everything ends at once when the block ends. Without it, when you leave the
    iteration early, the event loop ends it a moment later. To end it without aborting requests,
    call `stop()` and go on iterating.

    Attributes:
        account: What became of the orders; complete when the iteration has ended.
    """

    def __init__(self, make: Callable[[AsyncIterator[object]], Run], items: Any) -> None:  # noqa: ANN401
        self._run = make(_walked(items))
        self._is_begun = False

    @property
    def account(self) -> Account:
        """What became of the orders; complete when the iteration has ended."""
        return self._run.account

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End at once: take no more orders, abort requests in progress, complete the account."""
        self._is_begun = True
        await self._run.end()

    def stop(self) -> None:
        """Send no more cancels; the iteration goes on until each order sent has an outcome.

        No more orders are taken. Orders that were taken and not sent end as `NotSentError`. Orders
        whose cancel may have worked are read, within the timeout of each, and not cancelled again.
        It never waits; any thread and any signal handler may call it, also more than once. If it is
        called before the iteration begins, the iteration is empty.
        """
        self._run.stop()

    def __aiter__(self) -> AsyncGenerator[End, None]:
        _check_once(self._is_begun)
        self._is_begun = True
        return self._iterate()

    async def _iterate(self) -> AsyncGenerator[End, None]:
        try:
            while (end := await self._run.next_end()) is not None:
                yield end
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.CancelledError):
                await self._run.end()
            if self._run.cut:
                # As with one order: the caller must learn that requests are out.
                raise error_of_many(self._run.cut) from None
            raise
        finally:
            await self._run.end()


class ManyOutcomes:
    """The outcomes of many orders, each as soon as it is known: iterate with `for`, once.

    When the iteration is left, also by Ctrl-C, everything ends at once. To end it without aborting
    requests, call `stop()` and go on iterating.

    Attributes:
        account: What became of the orders; complete when the iteration has ended.
    """

    def __init__(self, make: Callable[[AsyncIterator[object]], Run], items: Any) -> None:  # noqa: ANN401
        self._feeder = None if isinstance(items, AsyncIterator) else _Feeder(iter(items))
        self._run = make(self._feeder or items)
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._is_begun = False

    @property
    def account(self) -> Account:
        """What became of the orders; complete when the iteration has ended."""
        return self._run.account

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End at once: take no more orders, abort requests in progress, complete the account."""
        self._is_begun = True
        if self._thread is None or self._thread.ident is None:
            return
        if self._feeder is not None:
            self._feeder.end(self._run)
        if self._loop.exception() is None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.result().call_soon_threadsafe(self._stop.set)
        self._thread.join(LONGEST_END_SECONDS)

    def stop(self) -> None:
        """Send no more cancels; the iteration goes on until each order sent has an outcome.

        See `AsyncManyOutcomes.stop`.
        """
        self._run.stop()

    def __iter__(self) -> Generator[End, None, None]:
        _check_once(self._is_begun)
        self._is_begun = True
        return self._iterate()

    def _iterate(self) -> Generator[End, None, None]:
        self._thread = threading.Thread(target=self._work_in_loop, name="many orders", daemon=True)
        try:
            self._thread.start()
            while (end := self._next_end()) is not None:
                yield end
        finally:
            self.close()

    def _next_end(self) -> End | None:
        loop = self._loop.result()
        if self._thread is None or not self._thread.is_alive():
            # A forked child has none of the parent's threads, and would wait for ever.
            raise RuntimeError("many outcomes are iterated in the process that began it")
        return _waited(self._run.next_end(), loop)

    def _work_in_loop(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:
            if self._loop.done():
                raise
            # There is no loop, such as without a file descriptor left: whoever waits must know.
            self._loop.set_exception(error)

    async def _work(self) -> None:
        self._loop.set_result(asyncio.get_running_loop())
        try:
            await self._stop.wait()
        finally:
            await self._run.end()


def _waited(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _check_once(is_begun: bool) -> None:
    if is_begun:
        raise RuntimeError("many outcomes are iterated once, and not after they were closed")


def _walked(items: Any) -> AsyncIterator[object]:  # noqa: ANN401 - checked by whoever calls
    if isinstance(items, AsyncIterable):
        return aiter(items)
    return _InLoop(iter(items))


@define
class _InLoop:
    """An iterable, asked in the loop."""

    _items: Iterator[object]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        for item in self._items:
            return item
        raise StopAsyncIteration


_NO_MORE = object()


class _Feeder:
    """An iterable, asked in a thread of its own: one that is slow holds nobody up.

    The thread cannot be ended while the iterable makes it wait. What comes after the end is noted
    as not sent.
    """

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items
        self._wanted: queue.SimpleQueue[Future[object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._run: Run | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        if self._thread is None:
            self._thread = threading.Thread(target=self._ask, name="orders to cancel", daemon=True)
            self._thread.start()
        future: Future[object] = Future()
        self._wanted.put(future)
        try:
            item = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            # It may have come just now.
            if future.done() and not future.cancelled() and future.exception() is None:
                self._note(future.result())
            raise
        if item is _NO_MORE:
            raise StopAsyncIteration
        return item

    def end(self, run: Run) -> None:
        """Take no more; tell the run what comes all the same."""
        self._run = run
        self._wanted.put(None)

    def _ask(self) -> None:
        while (future := self._wanted.get()) is not None:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                item = next(self._items, _NO_MORE)
            except BaseException as error:  # noqa: BLE001 - it is for whoever iterates
                future.set_exception(error)
                continue
            if self._run is not None:
                self._note(item)
                item = _NO_MORE
            future.set_result(item)

    def _note(self, item: object) -> None:
        if self._run is not None and item is not _NO_MORE:
            self._run.late(item)


Make = Callable[[AsyncIterator[object]], Run]


def many(make: Make, items: Any) -> ManyOutcomes:  # noqa: ANN401 - anything may be given
    """Return the iteration over an iterable.

    Raises:
        InvalidArgumentError: If it is not an iterable.
    """
    if not isinstance(items, Iterable):
        raise InvalidArgumentError(
            f"orders must be an iterable of pairs and ids, not {type(items).__name__}"
        )
    return ManyOutcomes(make, items)


def many_async(make: Make, items: Any) -> AsyncManyOutcomes:  # noqa: ANN401 - anything may be given
    """Return the iteration over an iterable, sync or async.

    Raises:
        InvalidArgumentError: If it is neither.
    """
    if not isinstance(items, Iterable | AsyncIterable):
        raise InvalidArgumentError(
            f"orders must be an iterable of pairs and ids, not {type(items).__name__}"
        )
    return AsyncManyOutcomes(make, items)
