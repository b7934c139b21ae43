"""A cancel ends in what the order is, or in the admission that it is not known."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest
from attrs import asdict, evolve

from bitopro_auth import Credentials
from bitopro_orders import (
    AttemptRecord,
    AuthenticationError,
    CancelOutcome,
    InvalidArgumentError,
    NotSentError,
    OrdersClient,
    OutcomeUnknownError,
    PermissionDeniedError,
    RejectedError,
    State,
    connect,
)
from bitopro_sandbox import Account, Fault, OrderStatus, Sandbox, Settings, faults, serve
from tests.outcomes.support import (
    FILLED,
    NOT_TRIGGERED,
    NOWHERE,
    ORDER,
    PARTLY_FILLED,
    QUICK,
    client_of,
    edited,
    hasty_client_of,
    order_in,
    requests_for,
)
from tests.support import credentials_of, leaping, wire

Confirm = Callable[..., CancelOutcome]
ConfirmAt = Callable[..., CancelOutcome]
OFTEN = 1000
JUNK: list[object] = ["", "abc", "NaN", "sNaN", "-Infinity", True, None, [], {}]


def deletes(sandbox: Sandbox, order_id: str = ORDER[1]) -> int:
    return len(requests_for(sandbox, order_id, "DELETE"))


@pytest.mark.parametrize(
    ("order", "state", "executed", "remaining", "average"),
    [
        (ORDER, State.CANCELLED, "0", "0.05", "0"),
        (NOT_TRIGGERED, State.CANCELLED, "0", "0.02", "0"),
        (PARTLY_FILLED, State.PARTLY_FILLED, "0.6", "0.9", "110000"),
        (FILLED, State.FILLED, "0.03", "0", "91000.5"),
    ],
)
def test_the_outcome_is_what_the_book_says(
    bitopro_sandbox: Sandbox,
    confirm: Confirm,
    order: tuple[str, str],
    state: State,
    executed: str,
    remaining: str,
    average: str,
) -> None:
    before = bitopro_sandbox.book.snapshot()
    outcome = confirm(bitopro_sandbox, *order)
    after = bitopro_sandbox.book.snapshot()
    assert {each for each in after if after[each] != before[each]} <= {order[1]}
    assert not after[order[1]].status.is_live
    assert outcome == CancelOutcome(
        state=state,
        pair=order[0],
        order_id=order[1],
        executed=Decimal(executed),
        remaining=Decimal(remaining),
        average_price=Decimal(average),
        at=datetime.fromtimestamp(after[order[1]].updated_ms / 1000, UTC),
        attempts=1,
        evidence=order_in(bitopro_sandbox, order[1]),
        seen_by="reading",
    )


def test_the_mean_price_is_over_all_fills(bitopro_sandbox: Sandbox, confirm: Confirm) -> None:
    bitopro_sandbox.book.fill(ORDER[1], "0.01", "2800000")
    bitopro_sandbox.book.fill(ORDER[1], "0.02", "2799999.1")
    outcome = confirm(bitopro_sandbox, *ORDER)
    assert outcome.state is State.PARTLY_FILLED
    assert outcome.executed == Decimal("0.03")
    assert outcome.average_price == Decimal("2799999.4")


@pytest.mark.parametrize(
    ("order", "status"),
    [
        *((ORDER, status) for status in (400, 404, 409, 418, 422, 429)),
        *((order, 400) for order in (NOT_TRIGGERED, PARTLY_FILLED)),
    ],
)
def test_an_order_is_still_open_when_every_cancel_is_refused(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt, order: tuple[str, str], status: int
) -> None:
    bitopro_sandbox.faults.add(faults.status(status), method="DELETE", times=OFTEN)
    before = bitopro_sandbox.book.snapshot()
    # A limit or a clock says nothing of the order: the cancel is tried until the time is over, and
    # the last reading must not be old then.
    outcome = confirm_at(lambda: client_of(bitopro_sandbox, timing=leaping()), *order, timeout=100)
    assert outcome.state is State.OPEN
    assert outcome.evidence == order_in(bitopro_sandbox, order[1])
    assert outcome.attempts == deletes(bitopro_sandbox, order[1]) >= 3
    assert bitopro_sandbox.book.snapshot() == before


def test_an_order_whose_cancel_is_refused_once_is_cancelled(
    bitopro_sandbox: Sandbox, confirm: Confirm
) -> None:
    bitopro_sandbox.faults.add(faults.status(400), method="DELETE")
    outcome = confirm(bitopro_sandbox, *ORDER)
    assert (outcome.state, outcome.attempts) == (State.CANCELLED, 2)
    assert bitopro_sandbox.book.get(ORDER[1]).status is OrderStatus.CANCELLED


@pytest.mark.parametrize("order", [NOWHERE, ("ETH_TWD", ORDER[1])])
def test_an_order_that_is_not_there_is_not_found(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt, order: tuple[str, str]
) -> None:
    before = bitopro_sandbox.book.snapshot()
    outcome = confirm_at(lambda: hasty_client_of(bitopro_sandbox), *order)
    assert outcome == CancelOutcome(
        state=State.NOT_FOUND,
        pair=order[0],
        order_id=order[1],
        executed=None,
        remaining=None,
        average_price=None,
        at=None,
        attempts=1,
        evidence=None,
        seen_by="reading",
    )
    assert bitopro_sandbox.book.snapshot() == before


@pytest.mark.parametrize(
    "fault",
    [faults.extra_fields(), faults.drop_answer(), faults.status(502, processed=True)],
    ids=lambda fault: fault.name,
)
def test_an_order_that_cannot_be_found_after_a_cancel_that_may_have_worked_is_unknown(
    bitopro_sandbox: Sandbox, confirm: Confirm, fault: Fault
) -> None:
    bitopro_sandbox.faults.add(fault, method="DELETE")
    bitopro_sandbox.faults.add(faults.status(404), method="GET", times=OFTEN)
    with pytest.raises(OutcomeUnknownError) as caught:
        confirm(bitopro_sandbox, *ORDER, timeout=0.3)
    assert caught.value.last_seen is None
    assert deletes(bitopro_sandbox) == 1


def test_a_404_to_the_cancel_alone_says_nothing(bitopro_sandbox: Sandbox, confirm: Confirm) -> None:
    bitopro_sandbox.faults.add(faults.status(404, processed=True), method="DELETE")
    assert confirm(bitopro_sandbox, *ORDER).state is State.CANCELLED


@pytest.mark.parametrize("status", [200, 400, 404, 409, 422])
@pytest.mark.parametrize(
    ("order", "state"),
    [(ORDER, State.CANCELLED), (PARTLY_FILLED, State.PARTLY_FILLED), (FILLED, State.FILLED)],
)
def test_a_final_order_is_told_as_it_is_whatever_a_second_cancel_answers(
    confirm: Confirm,
    status: Literal[200, 400, 404, 409, 422],
    order: tuple[str, str],
    state: State,
) -> None:
    with serve(Settings(second_cancel=status)) as sandbox:
        if state is not State.FILLED:
            sandbox.book.cancel(order[1])
        before = sandbox.book.snapshot()
        outcome = confirm(sandbox, *order)
        assert sandbox.book.snapshot() == before
        assert outcome.attempts == deletes(sandbox, order[1])
    assert outcome.state is state


def test_an_accepted_cancel_is_waited_for_and_not_repeated_at_once(confirm: Confirm) -> None:
    with serve(Settings(cancel_takes_ms=300)) as sandbox:
        outcome = confirm(sandbox, *ORDER)
        assert sandbox.book.get(ORDER[1]).status is OrderStatus.CANCELLED
        assert deletes(sandbox) == outcome.attempts == 1
        assert len(requests_for(sandbox, ORDER[1], "GET")) > 2
    assert outcome.state is State.CANCELLED


@pytest.mark.parametrize(("amount", "state"), [(None, State.FILLED), ("0.02", State.PARTLY_FILLED)])
def test_an_order_filled_while_the_cancel_is_under_way(
    confirm_at: ConfirmAt, amount: str | None, state: State
) -> None:
    with serve(Settings(cancel_takes_ms=200)) as sandbox:

        def fill(record: AttemptRecord) -> None:
            if record.operation == "cancelOrder":
                sandbox.book.fill(ORDER[1], amount)

        outcome = confirm_at(lambda: client_of(sandbox, on_attempt=fill), *ORDER)
        assert outcome.evidence == order_in(sandbox, ORDER[1])
    assert outcome.state is state
    assert outcome.executed == Decimal(amount or "0.05")


@pytest.mark.parametrize(
    "fault",
    [
        faults.drop_answer(),
        faults.drop_answer(reset=True),
        faults.truncate(),
        faults.html(),
        faults.invalid_json(),
        faults.empty_object(),
        faults.wrong_order_id(),
        faults.gzip_bomb(2),
        faults.status(502, processed=True, html=True),
        faults.status(408, processed=True),
        faults.delay(after_ms=600),
    ],
    ids=lambda fault: fault.name,
)
def test_a_lost_answer_is_found_again_without_a_second_cancel(
    bitopro_sandbox: Sandbox, confirm: Confirm, fault: Fault
) -> None:
    bitopro_sandbox.faults.add(fault, method="DELETE")
    outcome = confirm(bitopro_sandbox, *ORDER)
    assert outcome.state is State.CANCELLED
    assert outcome.attempts == deletes(bitopro_sandbox) == 1


def test_an_open_order_may_still_be_cancelled_by_the_lost_request(confirm: Confirm) -> None:
    # In this order: the first cancel is lost on the way and arrives late, all others are lost.
    with serve(Settings(nonce_rule="unique")) as sandbox:
        sandbox.faults.add(faults.delay(before_ms=700), method="DELETE")
        sandbox.faults.add(faults.drop(), method="DELETE", times=OFTEN)
        outcome = confirm(sandbox, *ORDER)
        first, *others = requests_for(sandbox, ORDER[1], "DELETE")
        reads = requests_for(sandbox, ORDER[1], "GET")
        (change,) = [each for each in sandbox.book.changes if each.cause == "cancel"]
        assert sum(read.at_ms < change.at_ms for read in reads) >= 1, "it was read as open first"
    assert outcome.state is State.CANCELLED
    assert outcome.attempts == 1 + len(others)
    assert first.processed
    assert not any(entry.processed for entry in others)


def test_a_refusal_after_a_lost_cancel_is_not_believed(confirm: Confirm) -> None:
    with serve(Settings(cancel_takes_ms=400)) as sandbox:
        sandbox.faults.add(faults.drop_answer(), method="DELETE")
        sandbox.faults.add(faults.status(400), method="DELETE", times=OFTEN)
        outcome = confirm(sandbox, *ORDER)
        assert deletes(sandbox) == outcome.attempts > 3
    assert outcome.state is State.CANCELLED


def test_a_refusal_of_the_key_after_a_lost_cancel_is_not_believed(confirm: Confirm) -> None:
    with serve(Settings(cancel_takes_ms=300)) as sandbox:
        sandbox.faults.add(faults.drop_answer(), method="DELETE")
        sandbox.faults.add(faults.status(401), method="DELETE", times=OFTEN)
        sandbox.faults.add(faults.status(403), method="GET")
        assert confirm(sandbox, *ORDER).state is State.CANCELLED


def test_the_cancel_is_repeated_only_after_the_order_was_read_as_live(
    bitopro_sandbox: Sandbox, confirm: Confirm
) -> None:
    bitopro_sandbox.faults.add(faults.drop(), method="DELETE", times=2)
    bitopro_sandbox.faults.add(faults.status(502), method="GET", times=3)
    bitopro_sandbox.faults.add(edited(status=5), method="GET", times=3)
    outcome = confirm(bitopro_sandbox, *ORDER)
    assert outcome.state is State.CANCELLED
    methods = [entry.method[0] for entry in requests_for(bitopro_sandbox, ORDER[1])]
    assert "".join(methods) == "D" + "G" * 7 + "D" + "G" + "D" + "G"


@pytest.mark.parametrize("status", [5, 7, -2, 10**30, "4", "2.0", None, True, [4], {"a": 4}])
def test_a_status_that_nobody_has_documented_is_never_final_and_never_live(
    bitopro_sandbox: Sandbox, confirm: Confirm, status: object
) -> None:
    bitopro_sandbox.faults.add(edited(status=status), method="GET", times=OFTEN)
    with pytest.raises(OutcomeUnknownError) as caught:
        confirm(bitopro_sandbox, *ORDER, timeout=0.12)
    seen = caught.value.last_seen
    # What is no whole number is no status: such an answer is not understood.
    assert (seen.status if seen else None) == (status if type(status) is int else None)
    assert deletes(bitopro_sandbox) == 1


@pytest.mark.parametrize("status", [5, "0"])
def test_a_refused_cancel_is_not_repeated_on_a_status_that_nobody_has_documented(
    bitopro_sandbox: Sandbox, confirm: Confirm, status: object
) -> None:
    bitopro_sandbox.faults.add(faults.status(400), method="DELETE", times=OFTEN)
    bitopro_sandbox.faults.add(edited(status=status), method="GET", times=OFTEN)
    with pytest.raises(OutcomeUnknownError) as caught:
        confirm(bitopro_sandbox, *ORDER, timeout=0.25)
    assert isinstance(caught.value.__cause__, RejectedError)
    assert deletes(bitopro_sandbox) == 1


@pytest.mark.parametrize(
    ("status", "executed", "state"),
    [
        (2, "0.05", State.FILLED),
        (3, "0.01", State.PARTLY_FILLED),
        (3, "?", State.PARTLY_FILLED),
        (4, "0", State.CANCELLED),
        (4, "0.000", State.CANCELLED),
        (4, "0.01", State.PARTLY_FILLED),
        (6, "0", State.CANCELLED),
    ],
)
def test_each_final_status(
    bitopro_sandbox: Sandbox, confirm: Confirm, status: int, executed: str, state: State
) -> None:
    fault = edited(status=status, executedAmount=executed)
    bitopro_sandbox.faults.add(fault, method="GET", times=OFTEN)
    assert confirm(bitopro_sandbox, *ORDER).state is state


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("0.10000000000000000001", "0.10000000000000000001"),
        (0.1, "0.1"),
        (7, "7"),
        ("1e3", "1000"),
        *((junk, None) for junk in JUNK),
    ],
)
def test_an_amount_is_exact_or_none(
    bitopro_sandbox: Sandbox, confirm: Confirm, value: object, amount: str | None
) -> None:
    fault = edited(executedAmount=value, remainingAmount=value, avgExecutionPrice=value)
    bitopro_sandbox.faults.add(fault, method="GET", times=OFTEN)
    outcome = confirm(bitopro_sandbox, *PARTLY_FILLED)
    expected = None if amount is None else Decimal(amount)
    assert outcome.executed == outcome.remaining == outcome.average_price == expected
    assert outcome.state is State.PARTLY_FILLED


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        (1_700_000_000_123, datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)),
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, 0, UTC)),
        *((junk, None) for junk in (..., None, 0, -1, True, "soon", "1.7", 10**18, 10**400, [1])),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_time_is_in_utc_whether_told_in_milliseconds_or_seconds(
    bitopro_sandbox: Sandbox, confirm: Confirm, stamp: object, at: datetime | None
) -> None:
    bitopro_sandbox.faults.add(edited(updatedTimestamp=stamp), method="GET", times=OFTEN)
    outcome = confirm(bitopro_sandbox, *ORDER)
    assert (outcome.state, outcome.at) == (State.CANCELLED, at)


def test_there_is_no_float_anywhere(bitopro_sandbox: Sandbox, confirm: Confirm) -> None:
    def floats(value: object) -> list[float]:
        if isinstance(value, dict):
            return [found for each in value.values() for found in floats(each)]
        return [value] if isinstance(value, float) else []

    bitopro_sandbox.faults.add(faults.numbers(), times=OFTEN)
    outcome = confirm(bitopro_sandbox, *PARTLY_FILLED)
    assert outcome.executed == Decimal("0.6")
    assert not floats(asdict(outcome))


@pytest.mark.parametrize("timeout", [0.05, 0.4])
@pytest.mark.parametrize(
    "fault", [faults.drop(), faults.status(503), faults.delay(after_ms=5000)], ids=lambda f: f.name
)
def test_a_deadline_that_passes_is_unknown_and_soon(
    confirm_at: ConfirmAt, fault: Fault, timeout: float
) -> None:
    with serve(Settings(cancel_takes_ms=60_000)) as sandbox:
        sandbox.faults.add(fault, method="DELETE", times=OFTEN)
        began, before_ms = time.monotonic(), time.time_ns() // 1_000_000
        with pytest.raises(OutcomeUnknownError) as caught:
            confirm_at(lambda: client_of(sandbox, timeout=0.1), *ORDER, timeout=timeout)
        assert time.monotonic() - began < timeout + 0.4
        error = caught.value
        # What was given up at once may have left without being read.
        assert 1 <= deletes(sandbox) <= error.attempts
    assert error.operation == "cancelOrder"
    assert dict(error.arguments) == {"pair": ORDER[0], "orderId": ORDER[1]}
    assert before_ms <= error.sent_ms <= before_ms + timeout * 1000 + 400
    if timeout > 0.1:
        assert error.last_seen is not None
        assert (error.last_seen.id, error.last_seen.status) == (ORDER[1], 0)


def test_an_accepted_cancel_that_takes_too_long_is_unknown(confirm: Confirm) -> None:
    with serve(Settings(cancel_takes_ms=60_000)) as sandbox:
        with pytest.raises(OutcomeUnknownError) as caught:
            confirm(sandbox, *ORDER, timeout=0.2)
        assert sandbox.book.get(ORDER[1]).status is OrderStatus.OPEN
    assert caught.value.last_seen is not None
    assert caught.value.last_seen.status == 0


def test_a_refused_cancel_that_cannot_be_settled_is_unknown_with_its_refusal(
    bitopro_sandbox: Sandbox, confirm: Confirm
) -> None:
    # Whether a refused cancel was the first to arrive, or the order final before, is not known.
    bitopro_sandbox.faults.add(faults.status(400, processed=True), method="DELETE")
    bitopro_sandbox.faults.add(faults.status(503), method="GET", times=OFTEN)
    with pytest.raises(OutcomeUnknownError) as caught:
        confirm(bitopro_sandbox, *ORDER, timeout=0.25)
    assert isinstance(caught.value.__cause__, RejectedError)
    assert caught.value.__cause__.status == 400
    assert caught.value.attempts == 1


def test_a_key_that_may_not_cancel(confirm: Confirm) -> None:
    with serve(Settings(accounts=(Account(permissions=frozenset({"read"})),))) as sandbox:
        with pytest.raises(PermissionDeniedError) as caught:
            confirm(sandbox, *ORDER)
        assert (caught.value.operation, len(sandbox.journal)) == ("cancelOrder", 1)
        assert sandbox.book.get(ORDER[1]).status is OrderStatus.OPEN


def test_a_key_that_may_not_read_cannot_tell(confirm: Confirm) -> None:
    with serve(Settings(accounts=(Account(permissions=frozenset({"trade"})),))) as sandbox:
        with pytest.raises(OutcomeUnknownError) as caught:
            confirm(sandbox, *ORDER, timeout=0.3)
        assert caught.value.attempts == deletes(sandbox) == 1
        assert sandbox.book.get(ORDER[1]).status is OrderStatus.CANCELLED


def test_a_key_that_may_not_read_is_told_of_when_its_cancel_was_refused(confirm: Confirm) -> None:
    with serve(Settings(accounts=(Account(permissions=frozenset({"trade"})),))) as sandbox:
        with pytest.raises(PermissionDeniedError):
            confirm(sandbox, *FILLED)


def test_a_wrong_secret(bitopro_sandbox: Sandbox, confirm_at: ConfirmAt) -> None:
    wrong = Credentials(bitopro_sandbox.account.api_key, "wrong", "demo@example.com")
    with pytest.raises(AuthenticationError):
        confirm_at(lambda: connect(wrong, base_url=bitopro_sandbox.base_url), *ORDER)
    assert len(bitopro_sandbox.journal) == 1


def test_nothing_listens(confirm_at: ConfirmAt) -> None:
    with wire(b"") as server:
        base_url = server.base_url
    began = time.monotonic()
    with pytest.raises(NotSentError) as caught:
        confirm_at(lambda: connect(Credentials("k", "s", "i"), base_url=base_url), *ORDER)
    assert (caught.value.attempts, caught.value.operation) == (0, "cancelOrder")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("order", "options"),
    [
        *(((pair, ORDER[1]), {}) for pair in ("", "BTC", "BTC/TWD", "..", "BTC_TWD/", None, 1)),
        *((("BTC_TWD", order_id), {}) for order_id in ("", ".", "..", "all", "1/2", "-1", None, 1)),
        *((ORDER, {"timeout": t}) for t in (0, -1, float("nan"), float("inf"), "5", None, True)),
        *((ORDER, {"is_all_strategy_canceled": value}) for value in ("false", 0, None)),
    ],
    ids=repr,
)
def test_bad_arguments_are_refused_before_anything_is_sent(
    bitopro_sandbox: Sandbox, confirm: Confirm, order: Any, options: Any
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        confirm(bitopro_sandbox, *order, **options)
    assert isinstance(caught.value, NotSentError | ValueError)
    assert len(bitopro_sandbox.journal) == 0


@pytest.mark.parametrize(
    ("options", "query", "kept"),
    [
        ({}, "", False),
        ({"is_all_strategy_canceled": True}, "isAllStrategyCanceled=true", False),
        ({"is_all_strategy_canceled": False}, "isAllStrategyCanceled=false", True),
    ],
)
def test_what_becomes_of_the_strategy_is_passed_on_with_every_cancel(
    bitopro_sandbox: Sandbox, confirm: Confirm, options: Any, query: str, kept: bool
) -> None:
    bitopro_sandbox.faults.add(faults.drop(), method="DELETE", times=2)
    confirm(bitopro_sandbox, *ORDER, **options)
    sent = [entry.query for entry in requests_for(bitopro_sandbox, ORDER[1], "DELETE")]
    assert sent == [query] * 3
    assert bitopro_sandbox.book.get(ORDER[1]).strategy is kept


def test_a_cancel_that_cannot_be_repeated_does_not_hide_the_first(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt
) -> None:
    # After a refusal and a live reading there is no room in the limit for a second cancel.
    bitopro_sandbox.faults.add(faults.status(400), method="DELETE", times=OFTEN)
    policy = evolve(QUICK, limit_share=1 / 900)

    def make() -> OrdersClient:
        credentials = credentials_of(bitopro_sandbox)
        return connect(credentials, base_url=bitopro_sandbox.base_url, policy=policy)

    with pytest.raises(OutcomeUnknownError) as caught:
        confirm_at(make, *ORDER, timeout=0.3)
    assert caught.value.attempts == deletes(bitopro_sandbox) == 1
    assert isinstance(caught.value.__cause__, RejectedError)
