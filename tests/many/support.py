"""What the tests of many orders share."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bitopro_orders import (
    Account,
    BitoProError,
    CancelOutcome,
    OrdersClient,
    SendingPolicy,
    connect,
)
from bitopro_sandbox import Sandbox, Settings, serve
from tests.support import credentials_of

PAIR = "BTC_TWD"
End = CancelOutcome | BitoProError
#: Leaves the exchange's limits to the sandbox, and many requests under way at once.
FAST = SendingPolicy(limit_share=None, in_flight=8, backoff_seconds=0.01)
LIMITS = {
    "requests_per_minute": 100_000,
    "general_requests_per_minute": 100_000,
    "open_orders_per_second": 1000,
    "cancel_batch_per_second": 1000,
    "cancel_all_per_second": 1000,
    "nonce_rule": "none",
}


@contextmanager
def exchange(**settings: Any) -> Iterator[Sandbox]:
    """Serve an exchange whose limits nobody reaches."""
    with serve(Settings(**{**LIMITS, **settings})) as sandbox:
        yield sandbox


def client_of(sandbox: Sandbox, **options: Any) -> OrdersClient:
    """Return a client of the exchange's account that does not wait."""
    return connect(
        credentials_of(sandbox), **{"base_url": sandbox.base_url, "policy": FAST, **options}
    )


def place(sandbox: Sandbox, number: int) -> list[tuple[str, str]]:
    """Place so many orders and return their pairs and ids."""
    order = sandbox.book.place
    return [(PAIR, order(PAIR, "BUY", amount="1", price="1").id) for _ in range(number)]


def named(end: End) -> str:
    """Return the id of the order that an end is of."""
    return end.order_id if isinstance(end, CancelOutcome) else end.arguments.get("orderId", "")


def cancels_of(sandbox: Sandbox, order_id: str) -> int:
    """Return how many requests to cancel an order alone have arrived."""
    return sum(
        entry.call == "cancel_order" and entry.path.endswith(f"/{order_id}")
        for entry in sandbox.journal
    )


Collected = tuple[list[End], Account]


def collect(mode: str, function: Callable[..., Any], twin: Callable[..., Any]) -> Any:
    """Return what runs a function, or its twin in a task, to its end with a client of its own."""

    def run(sandbox: Sandbox, *args: Any, client: Any = None, **options: Any) -> Collected:
        made = client or client_of(sandbox)
        if mode == "sync":
            with made:
                many = function(made, *args, **options)
                return list(many), many.account

        async def main() -> Collected:
            async with made:
                many = twin(made, *args, **options)
                return [end async for end in many], many.account

        return asyncio.run(main())

    return run


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait until something holds."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it did not come to that"
        time.sleep(0.002)


async def until_async(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the journal has no event
            await asyncio.sleep(0.002)


def ids(orders: Iterable[tuple[str, str]]) -> set[str]:
    """Return the ids of orders."""
    return {order_id for _, order_id in orders}
