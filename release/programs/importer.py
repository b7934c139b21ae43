"""A typical importer's program: strict checkers find nothing in it, and it runs."""

import asyncio
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from bitopro_client.api.orders import cancel_order, get_order, list_open_orders
from bitopro_client.models import CancelledOrder, Order
from bitopro_client.types import Unset
from bitopro_orders import (
    AttemptRecord,
    BitoProError,
    CancelOutcome,
    InvalidArgumentError,
    Journal,
    NotFoundError,
    NotSentError,
    OrderHistory,
    OrdersClient,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
    Scope,
    SendingPolicy,
    State,
    cancel_and_confirm_async,
    cancel_everything,
    cancel_many,
    connect,
    guard,
    order_history,
    resolve_many,
    unresolved,
)

PAIR, FIRST, SECOND = "BTC_TWD", "2959906694", "2959906695"


def advice(error: BitoProError) -> str:
    """Tell the errors apart."""
    match error:
        case InvalidArgumentError() | NotSentError():
            return f"not sent: {error}"
        case RateLimitedError():
            return f"wait {error.retry_after}"
        case RejectedError():
            return f"{error.status}: {error.message}"
        case OutcomeUnknownError():
            return f"{error.operation}: {error.advice}"
        case _:
            return str(error)


def executed(outcome: CancelOutcome) -> Decimal | None:
    """Tell the states apart."""
    match outcome.state:
        case State.CANCELLED:
            return Decimal(0)
        case State.FILLED | State.PARTLY_FILLED:
            return outcome.executed
        case State.OPEN | State.NOT_FOUND:
            return None


class Desk:
    """Counts the requests of its client."""

    def __init__(self) -> None:
        self.requests: int = 0
        self.client: OrdersClient = connect(
            policy=SendingPolicy(deadline_seconds=20), on_attempt=self.note
        )

    def note(self, record: AttemptRecord) -> None:
        """Count one."""
        self.requests += record.attempt > 0

    def open_orders(self) -> Iterator[str]:
        """List the open orders of a pair."""
        for order in list_open_orders.sync(client=self.client, pair=PAIR).data or []:
            yield order.id


def by_hand(desk: Desk) -> None:
    """Cancel one order."""
    cancelled: CancelledOrder = cancel_order.sync(PAIR, FIRST, client=desk.client)
    assert cancelled.order_id == FIRST
    order: Order = get_order.sync(pair=PAIR, order_id=FIRST, client=desk.client)
    assert order.status == 4
    assert isinstance(order.fee, Unset) or Decimal(order.fee) >= 0
    try:
        get_order.sync(PAIR, "1", client=desk.client)
    except NotFoundError as error:
        assert advice(error).startswith("404")


def many(desk: Desk, folder: Path) -> None:
    """Cancel what is open, and look into the journal."""
    with (
        Journal(folder / "cancels.jsonl") as journal,
        guard(desk.client, Scope(pair=PAIR), after=60, journal=journal) as armed,
        cancel_many(desk.client, [(PAIR, SECOND)], journal=journal) as outcomes,
    ):
        for end in outcomes:
            armed.beat()
            assert isinstance(end, CancelOutcome)
            assert executed(end) == 0
        assert list(resolve_many(desk.client, unresolved(journal), journal=journal)) == []
    with cancel_everything(desk.client) as rest:
        assert all(isinstance(end, CancelOutcome) for end in rest)
    assert list(desk.open_orders()) == []


async def by_stream() -> None:
    """Let the stream tell the outcome."""
    history: OrderHistory
    async with connect() as client, order_history(client=client) as history:
        outcome = await cancel_and_confirm_async(client, PAIR, FIRST, history=history)
        assert outcome.state is State.CANCELLED
        assert outcome.order_id == FIRST


def main() -> None:
    """Do all of it."""
    desk = Desk()
    with desk.client, tempfile.TemporaryDirectory() as folder:
        by_hand(desk)
        many(desk, Path(folder))
    asyncio.run(by_stream())
    assert desk.requests > 0


if __name__ == "__main__":
    main()
