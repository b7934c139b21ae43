"""What is read of a message, and what is not."""

import json
from typing import Any

import pytest

from bitopro_orders.changes import read_message
from tests.stream.server import message, wire_order


def test_the_clients_number_has_one_name() -> None:
    (order,) = read_message(message(wire_order(clientID=7))).orders
    assert order.client_id == 7
    assert "clientID" not in order.additional_properties


def test_what_is_unknown_is_kept() -> None:
    (order,) = read_message(message(wire_order(status=5, type="NEW", more=1))).orders
    assert (order.status, order.type_, order["more"]) == (5, "NEW", 1)


def test_no_number_becomes_a_float() -> None:
    text = message(wire_order(price="PRICE", fee="FEE"))
    text = text.replace('"PRICE"', "0.1000000000000000055511151231257827").replace('"FEE"', "1e-9")
    (order,) = read_message(text).orders
    assert (order.price, order.fee) == ("0.1000000000000000055511151231257827", "1e-9")


def test_whole_numbers_become_the_text_they_are() -> None:
    (order,) = read_message(message(wire_order(id=12, executedAmount=5))).orders
    assert (order.id, order.executed_amount) == ("12", "5")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{}", "it is binary"),
        ("Bad Gateway", "it is not JSON"),
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("9" * 10_000, "it is not JSON"),
        ("[]", "it has no data"),
        ("{}", "it has no data"),
        ('{"data": []}', "it has no data"),
        ('{"data": {"btc_twd": {"id": "1"}}}', "an order is not an object"),
        (message("order"), "an order is not an object"),
    ],
)
def test_what_cannot_be_read_is_told_and_not_raised(content: str | bytes, reason: str) -> None:
    read = read_message(content)
    assert (read.orders, read.faults) == ([], [reason])


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": ""},
        {"pair": ["btc_twd"]},
        {"status": "2"},
        {"status": True},
        {"status": 2.0},
        {"status": None},
        {"price": "cheap"},
        {"executedAmount": "NaN"},
        {"executedAmount": "Infinity"},
        {"executedAmount": True},
        {"remainingAmount": None},
        {"updatedTimestamp": "now"},
        {"updatedTimestamp": 1.5},
    ],
    ids=str,
)
def test_a_bad_order_leaves_the_good_ones(changes: dict[str, Any]) -> None:
    read = read_message(message(wire_order("1"), wire_order(**{"id": "2", **changes}), "?"))
    assert [order.id for order in read.orders] == ["1"]
    assert len(read.faults) == 2


def test_the_reason_does_not_quote_the_message() -> None:
    for content in ("CANARY", message(wire_order(price="CANARY")), message("CANARY")):
        assert "CANARY" not in str(read_message(content).faults)


@pytest.mark.parametrize("number", [json.loads("NaN"), float("inf")])
def test_a_number_that_json_does_not_have_spoils_one_order_at_most(number: float) -> None:
    read = read_message(message(wire_order("1"), wire_order("2", price=number)))
    assert [order.id for order in read.orders] == ["1"]
