"""Cancel every open order, or those that a predicate picks, until the book is seen to be clean."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Self

from attrs import define, evolve, field

from bitopro_client.api.orders import (
    cancel_all_orders_of_all_pairs,
    cancel_all_orders_of_pair,
    list_open_orders,
)
from bitopro_client.errors import InvalidArgument
from bitopro_client.models import CancelledOrders, Order
from bitopro_client.types import UNSET, Call

from .account import Account, Book
from .cancels import AT_ONCE, BATCH_SIZE, cancelling, running
from .connection import OrdersClient
from .errors import BitoProError, InvalidArgumentError, OutcomeUnknownError
from .journal import Journal, outcome_name, reason_of
from .many import AsyncManyOutcomes, Make, ManyOutcomes
from .outcomes import Begun, History, check_client
from .policy import require_seconds
from .refusals import is_about_key
from .run import Asked, Run, asked, on_disk
from .states import LAG_SECONDS

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 1.0
NOT_TRIGGERED = -1
#: How long the cancel of all orders may take: others wait for it.
LONGEST_SWEEP_SECONDS = 10.0

Only = Callable[[Order], bool]


def cancel_everything(
    client: OrdersClient,
    *,
    pair: str | None = None,
    only: Only | None = None,
    timeout: float = 60.0,
    lists_untriggered: bool = False,
    at_once: int = AT_ONCE,
    batch_size: int = BATCH_SIZE,
    journal: Journal | None = None,
    on_progress: Callable[[Account], object] | None = None,
) -> ManyOutcomes:
    """List the open orders, cancel them, and list again until the book is clean.

    Each order's end is handed out like those of `cancel_many`, also of orders that were filled
    meanwhile and of those that appeared after it began. Then `account.book` says what is proved:
    only empty listings prove a clean book, two in a row, `LAG_SECONDS` apart. It goes on until
    then, or until the time is over. Orders are cancelled by their ids, one by one or in batches.
    When nothing is listed any more, the exchange's own cancel of all orders is sent once, if `only`
    is not given and the listing may hide some: what it names is handed out too.

    Args:
        client: From `connect()`. A `transport=` given to it must be one for tasks.
        pair: The pair whose orders are to be cancelled; by default those of all pairs.
        only: Says of an order as it was listed whether it is to be cancelled; by default each is.
            What it raises ends the listing, and is raised after the ends of the orders before it.
            Listings that hold other orders prove no clean book: then it ends when two in a row,
            `LAG_SECONDS` apart, have no order to cancel.
        timeout: How long it may take, in seconds.
        lists_untriggered: Whether you know that the exchange's listing contains stop-limit orders
            that are not triggered, which is not documented. Without this, the book is called clean
            only if one was listed since it began.
        at_once: See `cancel_many`.
        batch_size: See `cancel_many`.
        journal: See `cancel_many`.
        on_progress: See `cancel_many`; also called after each listing.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
        RejectedError: While iterating, if the orders may not be listed (401, 403).
    """
    finder = _Finder(client, pair, only, timeout, lists_untriggered)
    return ManyOutcomes(_making(finder, at_once, batch_size, journal, on_progress, None), finder)


def cancel_everything_async(
    client: OrdersClient,
    *,
    pair: str | None = None,
    only: Only | None = None,
    timeout: float = 60.0,
    lists_untriggered: bool = False,
    history: History | None = None,
    at_once: int = AT_ONCE,
    batch_size: int = BATCH_SIZE,
    journal: Journal | None = None,
    on_progress: Callable[[Account], object] | None = None,
) -> AsyncManyOutcomes:
    """List the open orders, cancel them, and list again; see `cancel_everything`.

    Args:
        client: From `connect()`.
        pair: See `cancel_everything`.
        only: See `cancel_everything`.
        timeout: See `cancel_everything`.
        lists_untriggered: See `cancel_everything`.
        history: An open `order_history()`, see `cancel_and_confirm_async`.
        at_once: See `cancel_many`.
        batch_size: See `cancel_many`.
        journal: See `cancel_many`.
        on_progress: See `cancel_everything`.

    Raises:
        InvalidArgumentError: See `cancel_everything`.
        RejectedError: See `cancel_everything`.
    """
    finder = _Finder(client, pair, only, timeout, lists_untriggered)
    making = _making(finder, at_once, batch_size, journal, on_progress, history)
    return AsyncManyOutcomes(making, finder)


def _making(
    finder: "_Finder",
    at_once: int,
    batch_size: int,
    journal: Journal | None,
    on_progress: Callable[[Account], object] | None,
    history: History | None,
) -> Make:
    client = finder.client
    check_client(client, history)
    finder.check()
    work = cancelling(client, finder.seconds_left, UNSET, batch_size, history)
    make = running(client, _taken, work, finder.timeout, at_once, on_progress, journal)

    def making(items: AsyncIterator[object]) -> Run:
        finder.run = make(items)
        return finder.run

    return making


@define(eq=False)
class _Finder:
    """Lists the open orders again and again: an iteration over those that are new."""

    client: OrdersClient
    pair: str | None
    only: Only | None
    timeout: float
    lists_untriggered: bool
    run: Run = field(init=False)
    _deadline: float | None = field(default=None, init=False)
    _pause: float = field(default=0.0, init=False)
    _found: deque[Asked | tuple[str, str] | BitoProError] = field(factory=deque, init=False)
    _known: set[tuple[str, str]] = field(factory=set, init=False)
    _quiet_since: float | None = field(default=None, init=False)
    _empty_since: float | None = field(default=None, init=False)
    _has_swept: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)

    def check(self) -> None:
        """Raise unless the arguments keep their rules."""
        require_seconds("timeout", self.timeout)
        if self.only is not None and not callable(self.only):
            raise InvalidArgumentError(
                f"only must be a function of a listed order, not {type(self.only).__name__}"
            )
        try:
            list_open_orders.call(pair=UNSET if self.pair is None else self.pair).request_kwargs()
        except InvalidArgument as error:
            raise InvalidArgumentError(str(error)) from None

    def seconds_left(self) -> float:
        """Return how much time is left."""
        now = self.client.timing.monotonic()
        if self._deadline is None:
            self._deadline = now + self.timeout
        return self._deadline - now

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "Asked | tuple[str, str] | BitoProError":
        while not self._found:
            if self._is_over or self.seconds_left() <= self._pause:
                raise StopAsyncIteration
            await self.client.timing.sleep_async(self._pause)
            self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2 or FIRST_PAUSE_SECONDS)
            await self._look()
        return self._found.popleft()

    async def _look(self) -> None:
        began = self.client.timing.monotonic()
        call = list_open_orders.call(pair=UNSET if self.pair is None else self.pair)
        try:
            steps = self.client.steps(call, seconds=self.seconds_left())
            listed = (await self.client.run_async(steps)).parsed.data
        except BitoProError as error:
            self._quiet_since = self._empty_since = None
            if is_about_key(error):
                raise
            return
        wanted = [order for order in listed if self.only is None or self.only(order)]
        self.lists_untriggered |= any(order.status == NOT_TRIGGERED for order in listed)
        for order in wanted:
            key = (order.pair.lower(), order.id)
            if key not in self._known:
                self._known.add(key)
                self._found.append((order.pair.upper(), order.id))
                self._pause = 0.0
        self._quiet_since = None if wanted else _first(self._quiet_since, began)
        self._empty_since = None if listed else _first(self._empty_since, began)
        account = self.run.account
        account.listed = len(wanted)
        if self._empty_since is not None and began - self._empty_since >= LAG_SECONDS:
            account.proved = Book.CLEAN if self.lists_untriggered else Book.NOTHING_LISTED
        self._is_over = self._quiet_since is not None and began - self._quiet_since >= LAG_SECONDS
        self.run.progress()
        if not (listed or self.only or self.lists_untriggered or self._has_swept):
            self._has_swept = True
            await self._sweep()

    async def _sweep(self) -> None:
        """Send the exchange's own cancel of all orders, once, for what the listing may hide."""
        call: Call[CancelledOrders] = (
            cancel_all_orders_of_all_pairs.call()
            if self.pair is None
            else cancel_all_orders_of_pair.call(pair=self.pair)
        )
        timing, journal = self.client.timing, self.run.journal
        seconds = min(self.seconds_left(), LONGEST_SWEEP_SECONDS)
        line = {"operation": call.operation.name, "arguments": dict(call.arguments)}
        now_ms = timing.now_ms()
        if journal is not None:
            until_ms = now_ms + round(seconds * 1000)
            why = "nothing is listed any more, and the listing may hide orders"
            await on_disk(
                journal,
                {"event": "cancel", "at_ms": now_ms, **line, "until_ms": until_ms, "why": why},
            )
        failure: BitoProError | None = None
        named: dict[str, list[str]] = {}
        try:
            answer = await self.client.run_async(self.client.steps(call, seconds=seconds))
            named = answer.parsed.data.to_dict()
        except BitoProError as error:
            failure = error
        now_ms = timing.now_ms()
        if journal is not None:
            outcome, why = outcome_name(failure), reason_of(failure)
            journal.put(
                {"event": "answer", "at_ms": now_ms, **line, "outcome": outcome, "why": why}
            )
        if isinstance(failure, OutcomeUnknownError):
            self._found.append(failure)
        for pair, order_ids in named.items():
            for order_id in order_ids:
                key = (pair.lower(), order_id)
                if key not in self._known:
                    self._known.add(key)
                    begun = Begun(accepted=True, sent_ms=now_ms)
                    self._found.append(evolve(asked((pair, order_id)), begun=begun, attempts=1))


def _taken(item: object) -> Asked:
    if isinstance(item, BitoProError):
        raise item
    return item if isinstance(item, Asked) else asked(item)


def _first(since: float | None, now: float) -> float:
    return now if since is None else since
