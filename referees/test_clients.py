"""Other clients and the sandbox agree on every call, by what they return and the book after it."""

import socket
from importlib import import_module
from typing import Any

import pytest

from bitopro_auth import Credentials
from bitopro_client.api.orders import get_order, list_open_orders
from bitopro_orders import connect
from bitopro_sandbox import Account, OrderStatus, Sandbox, Settings, faults, serve
from referees.clients import ASYNC, SYNC, Accepted, Ccxt, Official, Seen

LIVE = {"2959906694", "2959906695", "12234566", "2959906696", "SL-9014867155"}


def in_book(sandbox: Sandbox, order_id: str) -> Seen:
    """Return what the book says of an order."""
    order = sandbox.book.get(order_id)
    return Seen(
        pair=order.pair,
        id=order.id,
        side=order.action,
        price=order.price,
        amount=order.original_amount,
        filled=order.executed_amount,
        remaining=order.remaining_amount,
        type=order.type,
        created_ms=order.created_ms,
    )


def cancelled(sandbox: Sandbox) -> set[str]:
    """Return the orders that were cancelled; the others are as they were."""
    gone = {each.order_id for each in sandbox.book.changes if each.cause == "cancel"}
    assert LIVE - gone == {order.id for order in sandbox.book.open_orders()}
    return gone


def test_nothing_leaves_this_machine() -> None:
    for address in (("192.0.2.1", 443), ("api.bitopro.com", 443)):
        with pytest.raises(PermissionError, match="is not this machine"):
            socket.create_connection(address, timeout=1)


# What all agree on


@pytest.mark.parametrize("order_id", sorted({*LIVE, "2959906697"}))
def test_read(referee: Official | Ccxt, bitopro_sandbox: Sandbox, order_id: str) -> None:
    order = in_book(bitopro_sandbox, order_id)
    assert referee.read(order.pair, order_id) == order
    assert cancelled(bitopro_sandbox) == set()


def test_list(referee: Official | Ccxt, bitopro_sandbox: Sandbox) -> None:
    found = referee.listed()
    assert {each.id: each for each in found} == {i: in_book(bitopro_sandbox, i) for i in LIVE}
    of_pair = referee.listed("BTC_TWD")
    assert {each.id for each in of_pair} == {"2959906694", "2959906695"}
    assert cancelled(bitopro_sandbox) == set()


@pytest.mark.parametrize("order_id", sorted(LIVE))
def test_cancel(referee: Official | Ccxt, bitopro_sandbox: Sandbox, order_id: str) -> None:
    order = in_book(bitopro_sandbox, order_id)
    accepted = referee.cancel(order.pair, order_id)
    assert accepted == Accepted(order_id, order.side, order.price, order.amount)
    assert cancelled(bitopro_sandbox) == {order_id}
    [entry] = bitopro_sandbox.journal
    assert (entry.call, entry.status, entry.query) == ("cancel_order", 200, "")


def test_cancel_a_batch(referee: Official | Ccxt, bitopro_sandbox: Sandbox) -> None:
    asked = {"2959906694", "2959906695"}
    named = referee.cancel_batch("BTC_TWD", *asked)
    assert named == {("BTC_TWD", each) for each in asked}
    assert cancelled(bitopro_sandbox) == asked
    assert [(e.call, e.status) for e in bitopro_sandbox.journal] == [("cancel_batch", 200)]


def test_cancel_all_of_a_pair(referee: Official | Ccxt, bitopro_sandbox: Sandbox) -> None:
    assert referee.cancel_pair("BITO_ETH") == {("BITO_ETH", "12234566")}
    assert cancelled(bitopro_sandbox) == {"12234566"}
    assert [(e.call, e.status) for e in bitopro_sandbox.journal] == [("cancel_pair", 200)]


def test_cancel_all(referee: Official | Ccxt, bitopro_sandbox: Sandbox) -> None:
    named = referee.cancel_all()
    assert named == {(in_book(bitopro_sandbox, each).pair, each) for each in LIVE}
    assert cancelled(bitopro_sandbox) == LIVE
    assert [(e.call, e.status) for e in bitopro_sandbox.journal] == [("cancel_all", 200)]


# How each says no


def test_what_the_official_client_says_of_an_error(
    official: Official, bitopro_sandbox: Sandbox
) -> None:
    say = official.call
    assert say("cancel_an_order", "1", "BTC_TWD") == '{"error":"Order not found"}'
    assert say("cancel_an_order", "2959906697", "BTC_USDT") == '{"error":"Invalid order status"}'
    assert say("get_an_order", "BTC", "1") == '{"error":"Wrong parameter: pair"}'
    stranger = Official(bitopro_sandbox, "another secret")
    assert stranger.call("get_open_orders") == '{"error":"Invalid Signature"}'
    assert [e.status for e in bitopro_sandbox.journal] == [404, 400, 400, 401]
    assert cancelled(bitopro_sandbox) == set()


def test_what_ccxt_says_of_an_error(ccxt: Ccxt, bitopro_sandbox: Sandbox) -> None:
    errors: Any = import_module("ccxt")
    with pytest.raises(errors.BadRequest, match="Invalid order status"):
        ccxt.cancel("BTC_USDT", "2959906697")
    # It knows the error by its text, and this text is the sandbox's: it is documented nowhere.
    with pytest.raises(errors.ExchangeError, match="Order not found") as raised:
        ccxt.cancel("BTC_TWD", "1")
    assert type(raised.value) is errors.ExchangeError
    assert [e.status for e in bitopro_sandbox.journal] == [400, 404]
    assert cancelled(bitopro_sandbox) == set()


@pytest.mark.parametrize("half", [SYNC, ASYNC])
def test_ccxt_knows_a_wrong_signature(bitopro_sandbox: Sandbox, half: str) -> None:
    errors: Any = import_module("ccxt")
    wrong = pytest.raises(errors.AuthenticationError, match="Invalid Signature")
    with Ccxt(bitopro_sandbox, half, "another secret") as stranger, wrong:
        stranger.listed()


# What they cannot, or see otherwise: docs/referees.md


def test_the_official_client_cancels_none_without_a_pair(
    official: Official, bitopro_sandbox: Sandbox
) -> None:
    # Its default is None, which it sends: DELETE /orders/None.
    assert official.call("cancel_all_orders") == '{"error":"Wrong parameter: pair"}'
    assert bitopro_sandbox.journal[-1].path == "/v3/orders/None"
    assert cancelled(bitopro_sandbox) == set()


def test_the_official_client_cancels_of_several_pairs_at_once(
    official: Official, bitopro_sandbox: Sandbox
) -> None:
    asked = {"BTC_TWD": ["2959906694"], "bito_eth": ["12234566"]}
    said = official.call("cancel_multiple_orders", asked)
    assert said == {"data": {"BTC_TWD": ["2959906694"], "BITO_ETH": ["12234566"]}}
    assert cancelled(bitopro_sandbox) == {"2959906694", "12234566"}


def test_the_official_client_does_not_tell_an_unknown_end(
    official: Official, bitopro_sandbox: Sandbox
) -> None:
    for fault in (faults.drop(), faults.drop_answer()):
        bitopro_sandbox.faults.add(fault, method="DELETE")
        # It is returned, as an answer is.
        assert isinstance(official.call("cancel_an_order", "2959906694", "BTC_TWD"), OSError)
    assert cancelled(bitopro_sandbox) == {"2959906694"}


def test_ccxt_does_not_tell_an_unknown_end(bitopro_sandbox: Sandbox) -> None:
    errors: Any = import_module("ccxt")
    with Ccxt(bitopro_sandbox, SYNC) as ccxt:
        for fault in (faults.drop(), faults.drop_answer()):
            bitopro_sandbox.faults.add(fault, method="DELETE")
            with pytest.raises(errors.NetworkError) as raised:
                ccxt.cancel("BTC_TWD", "2959906694")
            assert type(raised.value) is errors.NetworkError
    assert cancelled(bitopro_sandbox) == {"2959906694"}


def test_ccxt_in_tasks_sends_a_cancel_twice_and_calls_it_refused(bitopro_sandbox: Sandbox) -> None:
    # aiohttp does so with what HTTP calls idempotent, once; the signature is the same.
    errors: Any = import_module("ccxt")
    bitopro_sandbox.faults.add(faults.drop_answer(), method="DELETE")
    with pytest.raises(errors.BadRequest, match="Invalid nonce"):
        Ccxt(bitopro_sandbox, ASYNC).cancel("BTC_TWD", "2959906694")
    first, second = bitopro_sandbox.journal
    assert first.triple_fingerprint == second.triple_fingerprint
    assert (first.processed, second.status) == (True, 409)
    assert cancelled(bitopro_sandbox) == {"2959906694"}


def test_ccxt_calls_closed_what_was_partly_filled_and_then_cancelled(
    ccxt: Ccxt, bitopro_sandbox: Sandbox
) -> None:
    ccxt.cancel("ETH_TWD", "2959906696")
    assert bitopro_sandbox.book.get("2959906696").status is OrderStatus.PARTLY_FILLED_CANCELLED
    assert ccxt.call("fetch_order", "2959906696", "ETH/TWD")["status"] == "closed"
    ccxt.cancel("BTC_TWD", "2959906694")
    assert ccxt.call("fetch_order", "2959906694", "BTC/TWD")["status"] == "canceled"


def test_ccxt_does_not_tell_the_price_that_triggers(ccxt: Ccxt) -> None:
    order = ccxt.call("fetch_order", "SL-9014867155", "BTC/USDT")
    assert (order["triggerPrice"], order["info"]["stopPrice"]) == (None, "88500")


def test_calls_that_are_not_in_the_spec_have_no_path(
    official: Official, ccxt: Ccxt, bitopro_sandbox: Sandbox
) -> None:
    for name in ("get_all_orders", "get_trades_list"):
        assert official.call(name, "BTC_TWD") == '{"error":"Not Found"}'
    errors: Any = import_module("ccxt")
    for name in ("fetch_orders", "fetch_my_trades"):
        with pytest.raises(errors.ExchangeError, match="Not Found"):
            ccxt.call(name, "BTC/TWD")
    assert {e.status for e in bitopro_sandbox.journal} == {404}


# And ours


def test_they_read_what_this_package_reads() -> None:
    # Each with a key of its own: two who count nonces apart cannot share one.
    key = Account("key of ours", "secret of ours")
    with serve(Settings(accounts=(Account(), key))) as sandbox:
        official, orders = Official(sandbox), sandbox.book.snapshot().values()
        us = Credentials(key.api_key, key.api_secret, key.identity)
        with connect(us, base_url=sandbox.base_url) as client:
            for each in orders:
                ours = get_order.sync(each.pair, each.id, client=client)
                assert official.call("get_an_order", each.pair, each.id) == ours.to_dict()
            listed = list_open_orders.sync(client=client)
        assert official.call("get_open_orders") == listed.to_dict()
