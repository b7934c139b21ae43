"""Cancel many orders, and know what became of each."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from functools import partial

from bitopro_client.types import UNSET, Unset

from .account import Account
from .connection import OrdersClient
from .errors import InvalidArgumentError
from .many import (
    Asked,
    AsyncManyOutcomes,
    Escort,
    Make,
    ManyOutcomes,
    Run,
    Work,
    asked,
    many,
    many_async,
)
from .outcomes import CancelOutcome, History, check_client, confirmation, confirmed
from .policy import require_seconds, require_whole

#: How many orders are sent, and read, at once by default: more wait longer and gain nothing, as
#: requests of one key leave one after the other.
AT_ONCE = 50
DUPLICATES_WITHIN = 10_000

Pairs = tuple[str, str]


def cancel_many(
    client: OrdersClient,
    orders: Iterable[Pairs],
    *,
    timeout: float = 30.0,
    is_all_strategy_canceled: bool | Unset = UNSET,
    at_once: int = AT_ONCE,
    duplicates_within: int = DUPLICATES_WITHIN,
    on_progress: Callable[[Account], object] | None = None,
) -> ManyOutcomes:
    """Cancel many orders and find out what became of each.

    Each order's end is handed out as soon as it is known, in no order: a `CancelOutcome`, or the
    `BitoProError` that `cancel_and_confirm` would have raised for it. Nothing is sent before the
    iteration begins. Memory is bounded, so `orders` may be endless: 1,000 orders at most are begun,
    or ended and not handed out. `orders` is asked in a thread of its own, so that one that is slow
    holds nobody up.

    Args:
        client: From `connect()`. A `transport=` given to it must be one for tasks.
        orders: The pair and the id of each. An item that is none of these is handed out as an
            `InvalidArgumentError`, and costs the others nothing.
        timeout: How long each order may take, in seconds, from its turn on; waiting for others to
            be read does not count.
        is_all_strategy_canceled: See `cancel_order`.
        at_once: How many orders at most are sent, and how many are read, at once.
        duplicates_within: An order that is named again among so many is sent once; the account
            counts it.
        on_progress: Called with the account after the end of each order, by the thread that
            cancels. What it raises is logged.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
        Exception: While iterating, what `orders` has raised, after the end of each order before it.
    """
    make = _cancelling(
        client, timeout, is_all_strategy_canceled, at_once, duplicates_within, on_progress, None
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
    duplicates_within: int = DUPLICATES_WITHIN,
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
        duplicates_within: See `cancel_many`.
        on_progress: See `cancel_many`; called in the loop.

    Raises:
        InvalidArgumentError: See `cancel_many`.
        Exception: See `cancel_many`.
    """
    make = _cancelling(
        client, timeout, is_all_strategy_canceled, at_once, duplicates_within, on_progress, history
    )
    return many_async(make, orders)


def _cancelling(
    client: OrdersClient,
    timeout: float,
    is_all_strategy_canceled: bool | Unset,
    at_once: int,
    duplicates_within: int,
    on_progress: Callable[[Account], object] | None,
    history: History | None,
) -> Make:
    require_whole("duplicates_within", duplicates_within)

    async def work(order: Asked, escort: Escort) -> CancelOutcome:
        steps = partial(
            confirmation, client, order.pair, order.order_id, timeout, is_all_strategy_canceled,
            escort=escort, begun=order.begun,
        )  # fmt: skip
        return await confirmed(client, order.pair, order.order_id, steps, escort.tally, history)

    return _running(client, asked, work, timeout, at_once, duplicates_within, on_progress, history)


def _running(
    client: OrdersClient,
    take: Callable[[object], Asked],
    work: Work,
    timeout: float,
    at_once: int,
    duplicates_within: int,
    on_progress: Callable[[Account], object] | None,
    history: History | None = None,
) -> Make:
    """Check what all have in common, and return what makes the run of some items."""
    check_client(client, history)
    require_seconds("timeout", timeout)
    require_whole("at_once", at_once)
    if not client.has_tasks:
        raise InvalidArgumentError(
            "the transport of client must be one for tasks, such as httpx.AsyncHTTPTransport()"
        )

    def make(items: AsyncIterator[object]) -> Run:
        return Run(client, items, take, work, Account(), at_once, duplicates_within, on_progress)

    return make
