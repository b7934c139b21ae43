"""The calls on many orders, as raw HTTP sees them, and what the documents leave open about them."""

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bitopro_sandbox import Fault, OrderStatus, Sandbox, Settings, faults, serve

NO_TLS = False  # as `verify`: loading certificates takes longer than most of the tests
OPEN = ["SL-9014867155", "2959906696", "12234566", "2959906695", "2959906694"]
FINAL = ("BTC_USDT", "2959906697")
BATCH = {"BTC_TWD": ["2959906694"], "bito_eth": ["12234566"], "ETH_TWD": ["2959906696"]}
_numbers = itertools.count()


def send(
    sandbox: Sandbox, method: str, path: str, body: Any = None, **options: Any
) -> httpx.Response:
    content = b"" if body is None else json.dumps(body).encode()
    nonce = time.time_ns() // 1_000_000 + next(_numbers)
    payload = base64.b64encode(content or json.dumps({"nonce": nonce}).encode())
    secret = sandbox.account.api_secret.encode()
    headers = {
        "X-BITOPRO-APIKEY": sandbox.account.api_key,
        "X-BITOPRO-PAYLOAD": payload.decode(),
        "X-BITOPRO-SIGNATURE": hmac.new(secret, payload, hashlib.sha384).hexdigest(),
    }
    return httpx.request(
        method, sandbox.base_url + path, headers=headers, content=content, verify=NO_TLS, **options
    )


def listed(sandbox: Sandbox, pair: str = "") -> list[str]:
    answer = send(sandbox, "GET", "/orders/open" + (f"?pair={pair}" if pair else ""))
    return [order["id"] for order in answer.json()["data"]]


def cancelled(sandbox: Sandbox) -> set[str]:
    return {
        order.id
        for order in sandbox.book.snapshot().values()
        if order.status in (OrderStatus.CANCELLED, OrderStatus.PARTLY_FILLED_CANCELLED)
    }


CALLS: dict[str, tuple[str, str, Any]] = {
    "open_orders": ("GET", "/orders/open", None),
    "cancel_batch": ("PUT", "/orders", BATCH),
    "cancel_pair": ("DELETE", "/orders/btc_twd", None),
    "cancel_all": ("DELETE", "/orders/all", None),
}
TOUCHED = {
    "open_orders": set(),
    "cancel_batch": {"2959906694", "12234566", "2959906696"},
    "cancel_pair": {"2959906694", "2959906695"},
    "cancel_all": set(OPEN),
}


@pytest.mark.parametrize(
    ("name", "limit", "shared"),
    [
        ("open_orders", 5, ()),
        ("cancel_batch", 2, ()),
        ("cancel_pair", 1, ("cancel_all",)),
        ("cancel_all", 1, ("cancel_pair",)),
    ],
)
def test_each_has_its_name_and_its_documented_limit(
    name: str, limit: int, shared: tuple[str, ...]
) -> None:
    at = time.time_ns() // 1_000_000
    with serve(Settings(clock=lambda: at, nonce_rule="none")) as sandbox:
        for _ in range(limit):
            assert send(sandbox, *CALLS[name]).status_code == 200
        assert send(sandbox, *CALLS[name]).status_code == 429
        assert {entry.call for entry in sandbox.journal} == {name}
        others = [each for each in CALLS if each not in (name, "cancel_all")]
        for each in ("cancel_all", others[0]):
            is_full = each in (name, *shared)
            assert (send(sandbox, *CALLS[each]).status_code == 429) is is_full


def test_a_path_that_is_none_of_them_has_no_name(bitopro_sandbox: Sandbox) -> None:
    for method, path in (("GET", "/orders"), ("PUT", "/orders/all"), ("DELETE", "/orders")):
        assert send(bitopro_sandbox, method, path).status_code == 405
    send(bitopro_sandbox, "GET", "/orders/BTC_TWD/2959906694")
    send(bitopro_sandbox, "DELETE", "/orders/BTC_TWD/2959906694")
    names = [entry.call for entry in bitopro_sandbox.journal]
    assert names == [None, None, None, "get_order", "cancel_order"]


# What is not documented about a batch


@pytest.mark.parametrize(
    ("rule", "status", "done", "named"),
    [
        ("refuse", 404, set(), None),
        ("stop", 404, {"2959906694"}, None),
        ("skip", 200, {"2959906694", "2959906695"}, ["2959906694", "2959906695"]),
        ("echo", 200, {"2959906694", "2959906695"}, ["2959906694", "77", "2959906695"]),
    ],
)
def test_an_unknown_id_in_a_batch(
    rule: Any, status: int, done: set[str], named: list[str] | None
) -> None:
    with serve(Settings(batch_unknown=rule)) as sandbox:
        answer = send(sandbox, "PUT", "/orders", {"BTC_TWD": ["2959906694", "77", "2959906695"]})
        assert answer.status_code == status
        assert cancelled(sandbox) == done
        assert answer.json().get("data") == ({"BTC_TWD": named} if named else None)


@pytest.mark.parametrize(
    ("rule", "status", "data"),
    [
        ("refuse", 400, None),
        ("stop", 400, None),
        ("skip", 200, {}),
        ("echo", 200, {"BTC_USDT": ["2959906697"]}),
    ],
)
def test_a_final_order_in_a_batch(rule: Any, status: int, data: object) -> None:
    with serve(Settings(batch_final=rule)) as sandbox:
        answer = send(sandbox, "PUT", "/orders", {FINAL[0]: [FINAL[1]]})
        assert (answer.status_code, answer.json().get("data")) == (status, data)
        assert sandbox.book.get(FINAL[1]).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("rule", "status", "data"),
    [
        ("refuse", 422, None),
        ("skip", 200, {"BTC_TWD": ["2959906694"]}),
        ("echo", 200, {"BTC_TWD": ["2959906695", "2959906694"]}),
    ],
)
def test_a_live_order_that_is_refused(rule: Any, status: int, data: object) -> None:
    with serve(Settings(many_locked=rule)) as sandbox:
        sandbox.book.lock("2959906695")
        answer = send(sandbox, "DELETE", "/orders/BTC_TWD")
        assert (answer.status_code, answer.json().get("data")) == (status, data)
        assert send(sandbox, "DELETE", "/orders/BTC_TWD/2959906695").status_code == 422
        assert sandbox.book.get("2959906695").status is OrderStatus.OPEN
        sandbox.book.lock("2959906695", locked=False)
        assert send(sandbox, "DELETE", "/orders/BTC_TWD/2959906695").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"BTC_TWD": "1"}, {"BTC_TWD": [1]}, {"BTC_TWD": ["x"]}, {"BTC": ["1"]}, {"a_b": None},
        {}, {"BTC_TWD": []}, {"BTC_TWD": ["2959906694", "2959906694"]},
    ],
)  # fmt: skip
def test_a_body_that_is_none(body: Any) -> None:
    with serve(Settings(batch_unknown="skip")) as sandbox:
        assert send(sandbox, "PUT", "/orders", body).status_code == 400
        assert cancelled(sandbox) == set()


def test_a_batch_may_have_a_size() -> None:
    with serve(Settings(batch_at_most=2)) as sandbox:
        assert send(sandbox, "PUT", "/orders", BATCH).status_code == 400
        assert cancelled(sandbox) == set()
        fewer = {pair: ids for pair, ids in BATCH.items() if pair != "ETH_TWD"}
        assert send(sandbox, "PUT", "/orders", fewer).status_code == 200


@pytest.mark.parametrize(("again", "status"), [(False, 409), (True, 200)])
def test_the_same_body_again(again: bool, status: int) -> None:
    with serve(Settings(same_body_again=again)) as sandbox:
        assert send(sandbox, *CALLS["cancel_batch"]).status_code == 200
        assert send(sandbox, *CALLS["cancel_batch"]).status_code == status


def test_a_body_may_match_in_its_meaning_only() -> None:
    body = {"BTC_TWD": ["2959906694"]}
    payload = base64.b64encode(json.dumps(body).encode())
    with serve(Settings(body_match="json")) as sandbox:
        secret = sandbox.account.api_secret.encode()
        headers = {
            "X-BITOPRO-APIKEY": sandbox.account.api_key,
            "X-BITOPRO-PAYLOAD": payload.decode(),
            "X-BITOPRO-SIGNATURE": hmac.new(secret, payload, hashlib.sha384).hexdigest(),
        }
        content = json.dumps(body, indent=1)
        url = f"{sandbox.base_url}/orders"
        assert httpx.put(url, headers=headers, content=content, verify=NO_TLS).status_code == 200


# What is not documented about the listing and the cancels of all


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("cancels", [False, True])
def test_stop_limit_orders_that_are_not_triggered(lists: bool, cancels: bool) -> None:
    settings = Settings(
        lists_untriggered=lists, cancels_untriggered=cancels, cancel_all_per_second=1000
    )
    with serve(settings) as sandbox:
        assert listed(sandbox) == (OPEN if lists else OPEN[1:])
        send(sandbox, "DELETE", "/orders/btc_usdt")
        send(sandbox, "DELETE", "/orders/all")
        assert cancelled(sandbox) == set(OPEN if cancels else OPEN[1:])
        if not cancels:
            sandbox.book.trigger("SL-9014867155")
            assert listed(sandbox) == ["SL-9014867155"]
            named = send(sandbox, "DELETE", "/orders/all").json()["data"]
            assert named == {"BTC_USDT": ["SL-9014867155"]}


def test_a_listing_may_have_an_end() -> None:
    with serve(Settings(open_orders_at_most=2)) as sandbox:
        assert listed(sandbox) == OPEN[:2]


def test_a_listing_may_lag_behind() -> None:
    now = [time.time_ns() // 1_000_000]
    settings = Settings(clock=lambda: now[0], listing_lag_ms=300, nonce_rule="none")
    with serve(settings) as sandbox:
        now[0] += 1000
        send(sandbox, "DELETE", "/orders/BTC_TWD")
        placed = sandbox.book.place("BTC_TWD", "BUY", amount="1", price="1")
        assert listed(sandbox, "btc_twd") == ["2959906695", "2959906694"]
        now[0] += 300
        assert listed(sandbox, "btc_twd") == [placed.id]


def test_orders_come_while_it_serves(bitopro_sandbox: Sandbox) -> None:
    placed = []

    def place() -> None:
        placed.append(bitopro_sandbox.book.place("BTC_TWD", "SELL", amount="1", price="2").id)

    bitopro_sandbox.faults.add(faults.meanwhile(before=place, after=place), call="cancel_pair")
    named = send(bitopro_sandbox, "DELETE", "/orders/BTC_TWD").json()["data"]
    assert named == {"BTC_TWD": [placed[0], "2959906695", "2959906694"]}
    assert listed(bitopro_sandbox, "BTC_TWD") == [placed[1]]


# Faults


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "fault",
    [
        faults.delay(before_ms=5, after_ms=5),
        faults.drop(),
        faults.drop_answer(reset=True),
        faults.truncate(),
        faults.drip(20_000),
        faults.close_after_answer(),
        faults.status(429),
        faults.status(502, processed=True, html=True),
        faults.redirect("https://elsewhere.example/"),
        faults.html(),
        faults.invalid_json(),
        faults.empty_object(),
        faults.gzip_bomb(1),
        faults.wrong_order_id(),
        faults.extra_fields(),
        faults.unknown_action(),
        faults.numbers(),
    ],
    ids=lambda fault: fault.name,
)
def test_every_fault_is_one_of_theirs_too(
    bitopro_sandbox: Sandbox, name: Any, fault: Fault
) -> None:
    bitopro_sandbox.faults.add(fault, call=name)
    if name == "open_orders" and fault.name == "drip":
        bitopro_sandbox.book.fill(OPEN[0])  # a byte takes a millisecond
        for order_id in OPEN[2:]:
            bitopro_sandbox.book.fill(order_id)
    send(bitopro_sandbox, "GET", "/orders/BTC_TWD/2959906694")
    assert len(bitopro_sandbox.faults) == 1, "it is aimed at one call"
    try:
        answer = send(bitopro_sandbox, *CALLS[name]).status_code
    except httpx.TransportError:
        answer = None
    entry = bitopro_sandbox.journal[-1]
    assert (entry.call, entry.fault) == (name, fault.name)
    assert len(bitopro_sandbox.faults) == 0
    assert cancelled(bitopro_sandbox) == (TOUCHED[name] if fault.processed else set())
    assert (answer is None) is (fault.name in {"drop", "drop_answer", "truncate"})


@pytest.mark.parametrize(
    ("name", "fault", "read", "expected"),
    [
        ("open_orders", faults.wrong_order_id(), lambda d: d[0]["id"], "99999999"),
        ("open_orders", faults.unknown_action(), lambda d: {o["action"] for o in d}, {"BORROW"}),
        ("open_orders", faults.extra_fields(), lambda d: {o["isNew"] for o in d}, {True}),
        ("open_orders", faults.numbers(), lambda d: d[1]["id"], 2959906696),
        ("open_orders", faults.leave_out("2959906696"), len, len(OPEN) - 1),
        ("cancel_pair", faults.wrong_order_id("7"), lambda d: d["BTC_TWD"][0], "7"),
        ("cancel_pair", faults.numbers(), lambda d: d, {"BTC_TWD": [2959906695, 2959906694]}),
        ("cancel_pair", faults.leave_out("2959906695"), lambda d: d, {"BTC_TWD": ["2959906694"]}),
        ("cancel_pair", faults.name_also("ETH_TWD", "1"), lambda d: d["ETH_TWD"], ["1"]),
        ("cancel_all", faults.other_data(None), lambda d: d, None),
    ],
)  # fmt: skip
def test_what_answers_about_many_say_wrongly(
    bitopro_sandbox: Sandbox, name: str, fault: Fault, read: Callable[[Any], Any], expected: Any
) -> None:
    bitopro_sandbox.faults.add(fault)
    assert read(send(bitopro_sandbox, *CALLS[name]).json()["data"]) == expected
    assert cancelled(bitopro_sandbox) == TOUCHED[name]


@pytest.mark.parametrize("name", ["cancel_batch", "cancel_pair", "cancel_all"])
@pytest.mark.parametrize("code", [None, 500])
def test_a_cancel_of_many_may_stop_in_the_middle(
    bitopro_sandbox: Sandbox, name: str, code: int | None
) -> None:
    bitopro_sandbox.faults.add(faults.partly(1, code))
    answer = send(bitopro_sandbox, *CALLS[name])
    assert answer.status_code == (code or 200)
    assert len(cancelled(bitopro_sandbox)) == 1
    if code is None:
        assert {i for ids in answer.json()["data"].values() for i in ids} == cancelled(
            bitopro_sandbox
        )
