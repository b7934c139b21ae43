"""Cancel every open order, or those that a predicate selects, until the book is clean."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Self

from attrs import define, evolve, field

from bitopro_client.api.orders import (
    cancel_all_orders_of_all_pairs,
    cancel_all_orders_of_pair,
)
from bitopro_client.errors import InvalidArgument
from bitopro_client.models import CancelledOrders, Order
from bitopro_client.types import UNSET, Call

from .account import Account, End
from .cancels import AT_ONCE, BATCH_SIZE, cancelling, running
from .connection import OrdersClient
from .errors import BitoProError, InvalidArgumentError, NotSentError, OutcomeUnknownError
from .journal import Journal, outcome_name, reason_of
from .listing import Listings, first
from .many import AsyncManyOutcomes, Make, ManyOutcomes
from .outcomes import Begun, CancelOutcome, History, State, check_client
from .policy import require_seconds
from .refusals import is_about_key
from .run import Asked, Escort, Kept, Run, asked, on_disk
from .states import LAG_SECONDS, Key, key_of
from .transport import Tally

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 1.0
#: How long the cancel of all orders may take: others wait for it.
LONGEST_SWEEP_SECONDS = 10.0
#: To prove that an order is open takes twice the lag.
OPEN_AGAIN_SECONDS = 3 * LAG_SECONDS

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

    The iteration yields one outcome for each order, like that of `cancel_many`, also for orders
    that were filled meanwhile and orders that appeared after it began. An order that was not sent,
    is unknown or is still open is tried again, with a growing delay, if it is still listed. If that
    does not help, its outcome is yielded with the last orders.

    It ends when two listings in a row, 5 seconds apart, were empty, or when `timeout` is over.
    `account.book` then says what is proved. Orders are cancelled by their ids, one by one or in
    batches. If `only` is not given, and nothing is listed any more but the listing may omit orders,
    the exchange's own cancel-all call is sent once; the orders that its answer names get an outcome
    too.

    Args:
        client: From `connect()`. If it has a `transport=`, that must be an async one.
        pair: The pair whose orders are cancelled; by default those of all pairs.
        only: Called with each listed order; says whether to cancel it. By default all are
            cancelled. If other orders stay listed, the book is never proved clean: it then ends
            when two listings in a row, 5 seconds apart, contain no order to cancel. An exception
            that it raises ends the listing, and is raised after the outcomes of the orders before
            it.
        timeout: How long it may take as a whole, in seconds.
        lists_untriggered: Pass True if you know that the exchange's listing contains stop-limit
            orders that are not triggered, which is not documented. Otherwise the book is called
            clean only if such an order was listed since the start.
        at_once: See `cancel_many`.
        batch_size: See `cancel_many`.
        journal: See `cancel_many`.
        on_progress: See `cancel_many`; also called after each listing.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
        RejectedError: While iterating, if the key is not allowed to list the orders (401, 403).
    """
    finder = _Finder(Listings(client, pair, lists_untriggered), only, timeout)
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
    finder = _Finder(Listings(client, pair, lists_untriggered), only, timeout)
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
    client = finder.listings.client
    check_client(client, history)
    finder.check()
    work = cancelling(client, finder.seconds_left, UNSET, batch_size, history)
    make = running(client, _taken, work, finder.timeout, at_once, on_progress, journal)

    def making(items: AsyncIterator[object]) -> Run:
        run = finder.run = make(items)
        run.is_drained, run.keeps = True, finder.keeps
        return run

    return making


@define(eq=False)
class _Finder:
    """Lists the open orders again and again: an iteration over those that are new."""

    listings: Listings
    only: Only | None
    timeout: float
    run: Run = field(init=False)
    _deadline: float | None = field(default=None, init=False)
    _pause: float = field(default=0.0, init=False)
    _found: deque[Asked | Kept | tuple[str, str] | BitoProError] = field(factory=deque, init=False)
    _known: set[Key] = field(factory=set, init=False)
    _quiet_since: float | None = field(default=None, init=False)
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
            self.listings.call.request_kwargs()
        except InvalidArgument as error:
            raise InvalidArgumentError(str(error)) from None

    def seconds_left(self) -> float:
        """Return how much time is left."""
        now = self.listings.client.timing.monotonic()
        if self._deadline is None:
            self._deadline = now + self.timeout
        return self._deadline - now

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "Asked | Kept | tuple[str, str] | BitoProError":
        gate = self.run.gate
        while not self._found:
            if self._is_over or gate.is_closed or self.seconds_left() <= self._pause:
                raise StopAsyncIteration
            with contextlib.suppress(NotSentError):  # it was stopped
                await gate.wait(self.listings.client.timing.sleep_async(self._pause))
                self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2 or FIRST_PAUSE_SECONDS)
                await self._look()
        return self._found.popleft()

    async def _look(self) -> None:
        try:
            listed = await self.run.gate.wait(self.listings.look(self.seconds_left()))
        except BitoProError as error:
            self._quiet_since = None
            if is_about_key(error):
                raise
            return
        wanted = [order for order in listed if self.only is None or self.only(order)]
        still = {key_of(order.pair, order.id): order for order in wanted}
        for key, order in still.items():
            if key not in self._known:
                self._known.add(key)
                self._found.append((order.pair.upper(), order.id))
                self._pause = 0.0
        began = self.listings.began
        self._found += [
            kept
            for key, kept in self.run.kept.items()
            if key in still and self._is_worth_another_try(kept)
        ]
        self._quiet_since = None if wanted else first(self._quiet_since, began)
        account = self.run.account
        account.listed = len(wanted)
        account.proved = self.listings.proved()
        self._is_over = self._quiet_since is not None and began - self._quiet_since >= LAG_SECONDS
        self.run.progress()
        is_known = self.listings.lists_untriggered or self._has_swept
        if self.only is None and not (listed or is_known or self.run.gate.is_closed):
            self._has_swept = True
            await self._sweep()

    @staticmethod
    def keeps(end: End) -> bool:
        """Say whether an order that came to this end is tried again if it is still listed."""
        if isinstance(end, CancelOutcome):
            return end.state is State.OPEN
        return isinstance(end, NotSentError | OutcomeUnknownError)

    def _is_worth_another_try(self, kept: Kept) -> bool:
        """Say whether the last listing is newer than an end by enough, and there is time."""
        waited = self.listings.began - kept.since
        # An order that is open still is not proved to be so again in less.
        least = OPEN_AGAIN_SECONDS if isinstance(kept.end, CancelOutcome) else 0.0
        return waited >= 2**kept.escort.asked.tries and self.seconds_left() > least

    async def _sweep(self) -> None:
        """Send the exchange's own cancel of all orders, once, for what the listing may hide."""
        call: Call[CancelledOrders] = (
            cancel_all_orders_of_all_pairs.call()
            if self.listings.pair is None
            else cancel_all_orders_of_pair.call(pair=self.listings.pair)
        )
        client, journal = self.listings.client, self.run.journal
        timing = client.timing
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
            steps = self.run.gate.guard(client.steps(call, seconds=seconds))
            answer = await client.run_async(steps)
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
                key = key_of(pair, order_id)
                if key not in self._known:
                    self._known.add(key)
                    begun = Begun(accepted=True, sent_ms=now_ms)
                    order = evolve(asked((pair, order_id)), begun=begun, attempts=1)
                    self._found.append(order)
                    Escort(self.run, order, Tally(1)).note(None, now_ms)


def _taken(item: object) -> Asked:
    if isinstance(item, BitoProError):
        raise item
    return item if isinstance(item, Asked) else asked(item)
