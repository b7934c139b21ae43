"""Cancel many orders, and know what became of each."""

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

    Each order's end is handed out as soon as it is known, in no order: a `CancelOutcome`, or the
    `BitoProError` that `cancel_and_confirm` would have raised for it. Nothing is sent before the
    iteration begins; its `stop()` sends no more, and lets what was sent be settled. Memory is
    bounded, so `orders` may be endless: 10,000 orders at most are begun, and no more are while
    1,000 have ended and are not handed out. `orders` is asked in a thread of its own, so that one
    that is slow holds nobody up.

    Args:
        client: From `connect()`. A `transport=` given to it must be one for tasks.
        orders: The pair and the id of each. An item that is none of these is handed out as an
            `InvalidArgumentError`, and costs the others nothing.
        timeout: How long each order may take, in seconds, from its turn on; waiting for others to
            be read does not count.
        is_all_strategy_canceled: See `cancel_order`.
        at_once: How many orders at most are sent, and how many are read, at once.
        batch_size: How many ids a batch may hold, which is not documented. A batch is sent when so
            many orders wait that it takes them off the book sooner (`WORTH_A_BATCH`); one that is
            refused is sent in smaller ones, and then one by one. 1 sends no batches; so does
            `is_all_strategy_canceled`, which a batch has no word for.
        duplicates_within: An order that is named again among so many is sent once; the account
            counts it.
        journal: Where each decision is written down before it is done; see `Journal`.
        on_progress: Called with the account after the end of each order and after each listing, by
            the thread that cancels. What it raises is logged.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
        Exception: While iterating, what `orders` has raised, after the end of each order before it.
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

    If the task is cancelled while it waits for the next outcome, and the outcome of orders is
    unknown by that, it ends in an `OutcomeUnknownError` that names them, for `resolve_many_async`.

    Args:
        client: From `connect()`.
        orders: Also an async iterable. One that is not is asked in the loop: it must not wait.
        timeout: See `cancel_many`.
        is_all_strategy_canceled: See `cancel_order`.
        history: An open `order_history()`, see `cancel_and_confirm_async`.
        at_once: See `cancel_many`.
        batch_size: See `cancel_many`.
        duplicates_within: See `cancel_many`.
        journal: See `cancel_many`.
        on_progress: See `cancel_many`; called in the loop.

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
    """Finish what a process has begun that has died since.

    Each order of the journal without a proved end is read, and cancelled again only if it is read
    as live. It is handed out like those of `cancel_many`, and written down in the same journal.
    Orders that the dead process had not begun with are not in its journal.

    Args:
        client: From `connect()`, for the same account.
        journal: The one of the dead process.
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
    """Finish what a process has begun that has died since; see `resume`."""
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
        errors: What was caught, such as `account.unknown`, or `unresolved(journal)`. One that is
            about a batch stands for each of its orders.
        timeout: How long each order may take, in seconds.
        under_way_seconds: See `resolve`.
        at_once: How many orders at most are read at once.
        journal: Where it is written down what they came to.
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
    """Return what cancels an order and finds out what became of it.

    Args:
        client: Who cancels and reads.
        seconds: Returns how long an order may take whose turn has come.
        is_all_strategy_canceled: See `cancel_order`.
        batch_size: How many ids a batch may hold.
        history: What tells of orders that became final.
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
    """Check what all have in common, and return what makes the run of some items."""
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
