"""A trading desk's script, written for 0.1.0: cancels in threads, with every error told apart."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import assert_never

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.models import CancelledOrder, Order
from bitopro_client.types import UNSET, Response, Unset
from bitopro_orders import (
    AttemptRecord,
    AuthenticationError,
    BadRequestError,
    BitoProError,
    CancelOutcome,
    ClockMismatchError,
    InvalidArgumentError,
    NotFoundError,
    NotSentError,
    OrdersClient,
    Outcome,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RejectedError,
    SendingPolicy,
    State,
    Timing,
    cancel_and_confirm,
    connect,
    resolve,
)

records: list[AttemptRecord] = []


def note(record: AttemptRecord) -> None:
    records.append(record)


def verdict(error: BitoProError) -> str:
    if isinstance(error, InvalidArgumentError):
        return f"mend it: {error}"
    if isinstance(error, NotSentError):
        return "not sent"
    if isinstance(error, RateLimitedError):
        wait: float | None = error.retry_after
        return f"wait {wait}"
    if isinstance(error, ClockMismatchError):
        difference: int | None = error.difference_ms
        return f"clock {difference}"
    if isinstance(error, BadRequestError | AuthenticationError | PermissionDeniedError | NotFoundError):
        return f"no: {error.status} {error.message}"
    if isinstance(error, RejectedError):
        status: int = error.status
        return str(status)
    if isinstance(error, OutcomeUnknownError):
        seen: Order | None = error.last_seen
        return f"unknown since {error.sent_ms}, {seen}, {error.status}"
    return f"{error.operation} {dict(error.arguments)} {error.attempts}"


def filled(outcome: CancelOutcome) -> Decimal:
    match outcome.state:
        case State.CANCELLED:
            return Decimal(0)
        case State.FILLED | State.PARTLY_FILLED:
            return outcome.executed or Decimal(0)
        case State.OPEN | State.NOT_FOUND:
            return Decimal(-1)
        case never:
            assert_never(never)


def cancel(client: OrdersClient, pair: str, order_id: str) -> CancelledOrder:
    keep: bool | Unset = UNSET
    answer: Response[CancelledOrder] = cancel_order.sync_detailed(
        pair, order_id, client=client, is_all_strategy_canceled=keep
    )
    assert answer.status_code == 200
    return answer.parsed


def main() -> None:
    credentials = Credentials.from_env()
    policy = SendingPolicy(
        deadline_seconds=10.0, attempts=4, backoff_seconds=0.1, limit_share=1.0, in_flight=1
    )
    with connect(
        credentials, timeout=10.0, policy=policy, on_attempt=note, timing=Timing()
    ) as client:
        before: Order = get_order.sync("BTC_TWD", "2959906694", client=client)
        price: str = before.price
        fee: str | Unset = before.fee
        extra: object = before.additional_properties.get("nothing")
        assert (before.id, before.pair.upper(), before.type_) == ("2959906694", "BTC_TWD", "LIMIT")
        assert Decimal(price) > 0 and (fee is UNSET or fee) and extra is None

        with ThreadPoolExecutor(2) as pool:
            jobs = [("BTC_TWD", "2959906694"), ("ETH_TWD", "2959906696")]
            done = list(pool.map(lambda job: cancel(client, *job), jobs))
        assert [each.order_id for each in done] == ["2959906694", "2959906696"]
        assert done[0].action in ("BUY", "SELL") and Decimal(done[0].amount) > 0
        assert CancelledOrder.from_dict(done[0].to_dict()) == done[0]

        outcome = cancel_and_confirm(client, "BTC_TWD", "2959906694", timeout=30)
        assert outcome.state is State.CANCELLED and filled(outcome) == 0
        assert outcome.remaining is not None and outcome.attempts > 0 and outcome.seen_by
        assert outcome.evidence is not None and outcome.evidence.status == 4
        assert outcome.at is None or outcome.at.tzinfo is not None

        try:
            cancel_order.sync("BTC_TWD", "../all", client=client)
        except ValueError as error:
            assert isinstance(error, InvalidArgumentError) and verdict(error).startswith("mend")
        else:
            raise AssertionError("a path went through")
        try:
            get_order.sync(pair="BTC_TWD", order_id="1", client=client)
        except NotFoundError as error:
            assert verdict(error).startswith("no: 404")

        lost = OutcomeUnknownError("the answer was lost", status=None)
        lost.operation, lost.attempts = "cancelOrder", 1
        lost.arguments = {"pair": "ETH_TWD", "orderId": "2959906696"}
        again: OutcomeUnknownError = pickle.loads(pickle.dumps(lost))
        assert verdict(again).startswith("unknown")
        end = resolve(client, again, timeout=30.0)
        assert end.state is State.PARTLY_FILLED and filled(end) > 0 and end.average_price
    assert {record.outcome for record in records} >= {Outcome.ACCEPTED}
    assert all(record.milliseconds >= 0 and record.attempt >= 1 for record in records)
    assert {record.operation for record in records} == {"getOrder", "cancelOrder"}


if __name__ == "__main__":
    main()
    sys.exit(0)
