"""The JSON forms: what is read is what was written, and nothing of the exchange's own making."""

import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from bitopro_client.models import Order
from bitopro_orders import CancelOutcome, InvalidArgumentError, OutcomeUnknownError, State

FIELDS: dict[str, Any] = {
    "id": "1", "pair": "btc_twd", "action": "BUY", "type": "LIMIT", "status": 3, "price": "2",
    "avgExecutionPrice": "2", "originalAmount": "1", "remainingAmount": "0.4",
    "executedAmount": "0.6", "updatedTimestamp": 1_700_000_000_000,
}  # fmt: skip
OUTCOME = CancelOutcome(
    state=State.PARTLY_FILLED,
    pair="BTC_TWD",
    order_id="1",
    executed=Decimal("0.60"),
    remaining=Decimal("1E-8"),
    average_price=None,
    at=datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC),
    attempts=2,
    evidence=Order.from_dict(FIELDS),
    seen_by="reading",
)


def unknown() -> OutcomeUnknownError:
    error = OutcomeUnknownError("no answer came", status=502)
    error.operation = "cancelOrder"
    error.arguments = {"pair": "BTC_TWD", "orderId": "1"}
    error.attempts, error.sent_ms, error.accepted = 2, 1_700_000_000_123, True
    error.last_seen = Order.from_dict(FIELDS)
    return error


def through_json(form: object) -> Any:
    return json.loads(json.dumps(form, allow_nan=False))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("bare", [False, True])
def test_an_outcome_comes_back_as_it_was(state: State, bare: bool) -> None:
    outcome = evolve(OUTCOME, state=state)
    if bare:
        outcome = evolve(outcome, executed=None, remaining=None, at=None, evidence=None)
    read = CancelOutcome.from_json(through_json(outcome.to_json()))
    assert read == outcome
    assert str(read.executed) == str(outcome.executed), "also its digits"
    assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_an_unknown_outcome_comes_back_as_it_was() -> None:
    error = unknown()
    for read in (
        OutcomeUnknownError.from_json(through_json(error.to_json())),
        pickle.loads(pickle.dumps(error)),
    ):
        assert type(read) is OutcomeUnknownError
        assert str(read) == str(error)
        assert read.__dict__ == error.__dict__


def test_the_form_is_the_documented_one() -> None:
    form = OUTCOME.to_json()
    assert (form["kind"], form["version"], form["state"]) == ("CancelOutcome", 1, "PARTLY_FILLED")
    assert (form["executed"], form["at"]) == ("0.60", "2026-01-02T03:04:05.678000+00:00")
    assert form["evidence"] == FIELDS


def test_what_the_exchange_adds_or_echoes_is_left_out() -> None:
    order = Order.from_dict({**FIELDS, "echo": {"X-BITOPRO-SIGNATURE": "secret"}})
    error = unknown()
    error.last_seen = order
    for form in (evolve(OUTCOME, evidence=order).to_json(), error.to_json()):
        assert "secret" not in json.dumps(form)


ODD: list[tuple[Any, dict[str, Any]]] = [
    (CancelOutcome, {"version": 2}),
    (CancelOutcome, {"kind": "OutcomeUnknownError"}),
    (CancelOutcome, {"state": "GONE"}),
    (CancelOutcome, {"state": None}),
    (CancelOutcome, {"executed": "much"}),
    (CancelOutcome, {"executed": {}}),
    (CancelOutcome, {"evidence": {"id": "1"}}),
    (CancelOutcome, {"evidence": 1}),
    (CancelOutcome, {"at": "yesterday"}),
    (OutcomeUnknownError, {"version": None}),
    (OutcomeUnknownError, {"arguments": None}),
    (OutcomeUnknownError, {"attempts": "x"}),
    (OutcomeUnknownError, {"last_seen": []}),
]


@pytest.mark.parametrize(("kind", "change"), ODD, ids=str)
def test_another_form_is_refused(kind: Any, change: dict[str, Any]) -> None:
    form = (OUTCOME if kind is CancelOutcome else unknown()).to_json()
    with pytest.raises(InvalidArgumentError, match="form must be"):
        kind.from_json({**form, **change})


@pytest.mark.parametrize("form", [None, [], "x", 1, {}])
@pytest.mark.parametrize("kind", [CancelOutcome, OutcomeUnknownError])
def test_what_is_no_form_is_refused(kind: Any, form: object) -> None:
    with pytest.raises(InvalidArgumentError):
        kind.from_json(form)


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    assert CancelOutcome.from_json({**OUTCOME.to_json(), "new": 1}) == OUTCOME
