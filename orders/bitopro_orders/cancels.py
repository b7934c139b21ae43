"""Cancel many orders, and find out what became of each."""

import copy
import json
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from functools import partial
from typing import Any, cast

from attrs import evolve

from bitopro_client.types import BODY_NAME, UNSET, Unset

from .account import Account
from .batches import Batches
from .connection import OrdersClient
from .errors import (
    BitoProError,
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    order_named_by,
)
from .journal import Journal
from .listing import watch
from .many import AsyncManyOutcomes, Make, ManyOutcomes, many, many_async
from .outcomes import (
    UNDER_WAY_SECONDS,
    Begun,
    CancelOutcome,
    History,
    UnreadError,
    check_client,
    confirmation,
    confirmed,
    resolution,
)
from .policy import require_seconds, require_whole
from .reading import about_cancel
from .run import Asked, Escort, Run, Work, asked

BATCH_SIZE = 50
#: How many orders are sent, and read, at once by default: one batch is gathered while another is
#: under way. More wait longer and gain nothing, as requests of one key leave one after the other.
AT_ONCE = 2 * BATCH_SIZE
DUPLICATES_WITHIN = 10_000

Pairs = tuple[str, str]


def cancel_many(
    client: OrdersClient,
    orders: Iterable[Pairs],
    *,
    timeout: float = 30.0,
    is_all_strategy_canceled: bool | Unset = UNSET,
    at_once: int = AT_ONCE,
    batch_size: int = BATCH_SIZE,
    duplicates_within: int = DUPLICATES_WITHIN,
    journal: Journal | None = None,
    on_progress: Callable[[Account], object] | None = None,
) -> ManyOutcomes:
    """Cancel many orders and find out what became of each.

    The iteration yields the outcome of each order as soon as it is known: a `CancelOutcome`, or the
    `BitoProError` that `cancel_and_confirm` would have raised. Nothing is sent before the iteration
    begins. `stop()` sends no more cancels and lets the iteration go on until the orders already
    sent have an outcome.

    Memory is bounded, so `orders` may be endless: at most 10,000 orders are in progress, and no new
    order is begun while 1,000 outcomes wait for your loop. `orders` is read in a separate thread,
    so a slow iterable delays no cancel.

    Args:
        client: From `connect()`. If it has a `transport=`, that must be an async one.
        orders: The pair and the id of each order. For any other item, the loop gets an
            `InvalidArgumentError`; the other orders are not affected.
        timeout: How long each order may take, in seconds, from when its turn comes. The time that
            it waits for other orders to be read does not count.
        is_all_strategy_canceled: See `cancel_order`. If it is given, no batches are sent, because a
            batch has no such parameter.
        at_once: How many orders at most are sent, and how many are read, at the same time.
        batch_size: How many ids a batch may hold; the exchange's limit is not documented. Batches
            are sent when so many orders wait that a batch is faster than single cancels (8 at
            today's rate limits). A batch that is refused is split into smaller ones, and then into
            single cancels. 1 sends no batches.
        duplicates_within: Among how many of the last orders a repeated one is noticed. It is sent
            once, and counted in `account.duplicates`.
        journal: Where each decision is written before it is carried out; see `Journal`.
        on_progress: Called with the account after each outcome and after each listing, in the
            thread that cancels. An exception that it raises is logged.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
        Exception: While iterating, what `orders` has raised, after the outcomes of the orders
            before it.
    """
    work = cancelling(client, lambda: timeout, is_all_strategy_canceled, batch_size)
    make = running(
        client, asked, work, timeout, at_once, on_progress, journal, duplicates_within, watch
    )
    return many(make, orders)


def cancel_many_async(
    client: OrdersClient,
    orders: Iterable[Pairs] | AsyncIterable[Pairs],
    *,
    timeout: float = 30.0,
    is_all_strategy_canceled: bool | Unset = UNSET,
    history: History | None = None,
    at_once: int = AT_ONCE,
    batch_size: int = BATCH_SIZE,
    duplicates_within: int = DUPLICATES_WITHIN,
    journal: Journal | None = None,
    on_progress: Callable[[Account], object] | None = None,
) -> AsyncManyOutcomes:
    """Cancel many orders and find out what became of each; see `cancel_many`.

    If the task is cancelled while it waits for the next outcome, and this leaves orders unknown, it
    raises one `OutcomeUnknownError` that names them all, for `resolve_many_async`.

    Args:
        client: From `connect()`.
        orders: An iterable or an async iterable. One that is not async is read in the event loop:
            it must not block.
        timeout: See `cancel_many`.
        is_all_strategy_canceled: See `cancel_many`.
        history: An open `order_history()`, see `cancel_and_confirm_async`.
        at_once: See `cancel_many`.
        batch_size: See `cancel_many`.
        duplicates_within: See `cancel_many`.
        journal: See `cancel_many`.
        on_progress: See `cancel_many`; called in the event loop.

    Raises:
        InvalidArgumentError: See `cancel_many`.
        Exception: See `cancel_many`.
    """
    check_client(client, history)
    work = cancelling(client, lambda: timeout, is_all_strategy_canceled, batch_size, history)
    make = running(
        client, asked, work, timeout, at_once, on_progress, journal, duplicates_within, watch
    )
    return many_async(make, orders)


def resume(
    client: OrdersClient,
    journal: Journal,
    *,
    timeout: float = 30.0,
    at_once: int = AT_ONCE,
    on_progress: Callable[[Account], object] | None = None,
) -> ManyOutcomes:
    """Finish the cancels that a process had begun when it died.

    Each order in the journal without a proved outcome is read, and cancelled again only if it is
    live. The iteration yields outcomes like that of `cancel_many`, and they are written to the same
    journal. Orders that the process had not begun to cancel are not in its journal.

    Args:
        client: From `connect()`, for the same account.
        journal: The journal of the process that died.
        timeout: See `cancel_many`.
        at_once: See `cancel_many`.
        on_progress: See `cancel_many`.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
    """
    _check_given(journal)
    work = cancelling(client, lambda: timeout, UNSET, 1)
    make = running(client, _same, work, timeout, at_once, on_progress, journal)
    return many(make, _left_behind(journal))


def resume_async(
    client: OrdersClient,
    journal: Journal,
    *,
    timeout: float = 30.0,
    history: History | None = None,
    at_once: int = AT_ONCE,
    on_progress: Callable[[Account], object] | None = None,
) -> AsyncManyOutcomes:
    """Finish the cancels that a process had begun when it died; see `resume`."""
    _check_given(journal)
    check_client(client, history)
    work = cancelling(client, lambda: timeout, UNSET, 1, history)
    make = running(client, _same, work, timeout, at_once, on_progress, journal)
    return many_async(make, _left_behind(journal))


def resolve_many(
    client: OrdersClient,
    errors: Iterable[OutcomeUnknownError],
    *,
    timeout: float = 30.0,
    under_way_seconds: float = UNDER_WAY_SECONDS,
    at_once: int = AT_ONCE,
    journal: Journal | None = None,
    on_progress: Callable[[Account], object] | None = None,
) -> ManyOutcomes:
    """Find out what became of many cancels whose outcome was unknown; nothing is cancelled.

    Args:
        client: From `connect()`, for the same account.
        errors: The errors that were caught, such as `account.unknown`, or `unresolved(journal)`.
            The error of a batch stands for each of its orders.
        timeout: How long each order may take, in seconds.
        under_way_seconds: See `resolve`.
        at_once: How many orders at most are read at the same time.
        journal: Where the outcomes are written.
        on_progress: See `cancel_many`.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
    """
    work = _resolving(client, timeout, under_way_seconds)
    make = running(client, _unknown, work, timeout, at_once, on_progress, journal)
    return many(make, _each_order(errors) if isinstance(errors, Iterable) else errors)


def resolve_many_async(
    client: OrdersClient,
    errors: Iterable[OutcomeUnknownError],
    *,
    timeout: float = 30.0,
    under_way_seconds: float = UNDER_WAY_SECONDS,
    at_once: int = AT_ONCE,
    journal: Journal | None = None,
    on_progress: Callable[[Account], object] | None = None,
) -> AsyncManyOutcomes:
    """Find out what became of many cancels whose outcome was unknown; see `resolve_many`."""
    work = _resolving(client, timeout, under_way_seconds)
    make = running(client, _unknown, work, timeout, at_once, on_progress, journal)
    return many_async(make, _each_order(errors) if isinstance(errors, Iterable) else errors)


def cancelling(
    client: OrdersClient,
    seconds: Callable[[], float],
    is_all_strategy_canceled: bool | Unset,
    batch_size: int,
    history: History | None = None,
) -> Work:
    """Return the work on one order: cancel it and find out what became of it.

    Args:
        client: Sends the cancels and reads the orders.
        seconds: Returns how long an order may take when its turn has come.
        is_all_strategy_canceled: See `cancel_order`.
        batch_size: How many ids a batch may hold.
        history: An open `order_history()`, or None.
    """
    require_whole("batch_size", batch_size)
    # A batch has no word for it.
    size = batch_size if isinstance(is_all_strategy_canceled, Unset) else 1
    batches = Batches(client, size, lambda: seconds() / 2)

    async def work(order: Asked, escort: Escort) -> CancelOutcome | Asked:
        try:
            return await ended(order, escort)
        except UnreadError as unread:
            return evolve(
                order, begun=unread.begun, attempts=escort.tally.sent, seconds=unread.seconds_left
            )

    async def ended(order: Asked, escort: Escort) -> CancelOutcome:
        began, timeout = client.timing.monotonic(), order.seconds
        if timeout is None:
            timeout = seconds()
        begun = order.begun or await batches.join(order, escort)
        if history is None and not order.begun and begun and escort.puts_off:
            raise UnreadError(begun, timeout - (client.timing.monotonic() - began))
        in_batches = escort.tally.sent - order.attempts
        try:
            left = timeout - (client.timing.monotonic() - began)
            return await confirm(order, escort, begun, left)
        except NotSentError as error:
            if not in_batches:
                if not error.operation:
                    order.about(error, escort.tally.sent)
                raise
        # What is refused as a whole may have been done in part: the order itself tells.
        begun = Begun(accepted=False, sent_ms=client.timing.now_ms())
        left = timeout - (client.timing.monotonic() - began)
        return await confirm(order, escort, begun, left)

    async def confirm(
        order: Asked, escort: Escort, begun: Begun | None, left: float
    ) -> CancelOutcome:
        if left <= 0:
            raise _too_late(order, escort, begun)
        steps = partial(
            confirmation, client, order.pair, order.order_id, left, is_all_strategy_canceled,
            escort=escort, begun=begun,
        )  # fmt: skip
        return await confirmed(client, order.pair, order.order_id, steps, escort.tally, history)

    return work


def _too_late(order: Asked, escort: Escort, begun: Begun | None) -> BitoProError:
    """Return what is told of an order for which no time is left."""
    reason = "the time was over before its turn"
    if begun is None and not escort.tally.sent:
        return order.about(NotSentError(reason), 0)
    unknown = OutcomeUnknownError(reason)
    if begun is not None:
        unknown.accepted, unknown.sent_ms = begun.accepted, begun.sent_ms
    return order.about(unknown, escort.tally.sent)


def _resolving(client: OrdersClient, timeout: float, under_way_seconds: float) -> Work:
    require_seconds("under_way_seconds", under_way_seconds)

    async def work(order: Asked, escort: Escort) -> CancelOutcome:  # noqa: ARG001 - a work's
        error = cast("OutcomeUnknownError", order.error)
        return await client.run_async(resolution(client, error, timeout, under_way_seconds))

    return work


def _same(item: Asked) -> Asked:
    return item


def _unknown(item: object) -> Asked:
    """Return the order that an error is about."""
    named = order_named_by(item.arguments) if isinstance(item, OutcomeUnknownError) else None
    if not isinstance(item, OutcomeUnknownError) or named is None:
        raise InvalidArgumentError(
            f"each of errors must be an OutcomeUnknownError about orders, not {type(item).__name__}"
        )
    begun = Begun(item.accepted, item.sent_ms)
    return Asked(*named, begun, item.attempts, error=item)


def _left_behind(journal: Journal) -> list[Asked]:
    return [
        Asked(*named, Begun(error.accepted, error.sent_ms), error.attempts, call)
        for call, error in journal.unresolved()
        if (named := order_named_by(error.arguments))
    ]


def _each_order(errors: Iterable[object]) -> Iterator[object]:
    """Return the errors, and in place of one about a batch one for each of its orders."""
    for error in errors:
        if not isinstance(error, OutcomeUnknownError) or BODY_NAME not in error.arguments:
            yield error
            continue
        for pair, order_ids in json.loads(error.arguments[BODY_NAME]).items():
            for order_id in order_ids:
                yield about_cancel(copy.copy(error), pair, order_id, error.attempts)


def _check_given(journal: object) -> None:
    if not isinstance(journal, Journal):
        raise InvalidArgumentError(
            f"journal must be a Journal, such as Journal('cancels.jsonl'), not "
            f"{type(journal).__name__}"
        )
    if not journal.is_open:
        raise InvalidArgumentError(
            f"journal must be open, such as within `with Journal(...)`: {journal.path} was closed, "
            "or opened before this process was forked"
        )


def running(
    client: OrdersClient,
    take: Callable[[Any], Asked],
    work: Work,
    timeout: float,
    at_once: int,
    on_progress: Callable[[Account], object] | None,
    journal: Journal | None,
    duplicates_within: int = DUPLICATES_WITHIN,
    beside: Callable[[Run], Coroutine[Any, Any, None]] | None = None,
) -> Make:
    """Check the arguments that all functions share, and return what makes the run of some items."""
    check_client(client)
    require_seconds("timeout", timeout)
    require_whole("at_once", at_once)
    require_whole("duplicates_within", duplicates_within)
    if journal is not None:
        _check_given(journal)
    if not client.has_tasks:
        raise InvalidArgumentError(
            "the transport of client must be one for tasks, such as httpx.AsyncHTTPTransport()"
        )

    def make(items: AsyncIterator[object]) -> Run:
        run = Run(
            client, items, take, work, Account(), at_once, duplicates_within, on_progress, journal
        )
        run.beside = beside
        return run

    return make
