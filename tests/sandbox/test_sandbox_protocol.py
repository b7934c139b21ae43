"""The protocol's rules, as raw HTTP sees them."""

import base64
import gc
import hashlib
import hmac
import itertools
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import attrs
import httpx
import pytest

from bitopro_sandbox import Account, OrderStatus, Sandbox, Settings, serve
from bitopro_sandbox.verify import (
    ApiError,
    Limit,
    Nonces,
    RateLimiter,
    SignedRequest,
    decode_payload,
    sign,
    verify,
)

ORDER = "/orders/BTC_TWD/2959906694"
NO_TLS = False  # as `verify`: loading certificates takes longer than most of the tests
_numbers = itertools.count()


def next_nonce() -> int:
    # Close to the clock and larger than the last, also when several are drawn in a millisecond.
    return time.time_ns() // 1_000_000 + next(_numbers)


def signed(account: Account, content: Any = None, payload: bytes | None = None) -> dict[str, str]:
    if content is None:
        content = {"identity": account.identity, "nonce": next_nonce()}
    if payload is None:
        payload = base64.b64encode(json.dumps(content).encode())
    signature = hmac.new(account.api_secret.encode(), payload, hashlib.sha384).hexdigest()
    return {
        "X-BITOPRO-APIKEY": account.api_key,
        "X-BITOPRO-PAYLOAD": payload.decode(),
        "X-BITOPRO-SIGNATURE": signature,
    }


def call(
    sandbox: Sandbox,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    account: Account | None = None,
    **options: Any,
) -> httpx.Response:
    if headers is None:
        headers = signed(account or sandbox.account)
    return httpx.request(method, sandbox.base_url + path, headers=headers, verify=NO_TLS, **options)


def outcome(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json().get("error", "")


# The documents' own examples


def test_the_documented_signature() -> None:
    payload = "eyJpZGVudGl0eSI6ImhjbWxpbmpAZ21haWwuY29tIiwibm9uY2UiOjE1NTQzODA5MDkxMzF9"
    assert sign("bitopro", payload) == (
        "01a85a9083db47c20da7196380598f3feacd3c76a9077aaf7ffaf08ce0091abf"
        "65b61778792607b010921adfe1c2941a"
    )
    account = Account("key", "bitopro", "hcmlinj@gmail.com")
    headers = {
        "x-bitopro-apikey": "key",
        "x-bitopro-payload": payload,
        "x-bitopro-signature": sign("bitopro", payload),
    }
    assert verify("GET", headers, b"", {"key": account}).nonce == 1554380909131


def test_the_documented_payload() -> None:
    payload = "eyJpZGVudGl0eSI6InN1cHBvcnRAYml0b2V4LmNvbSIsIm5vbmNlIjoxNTU0MzgwOTA5MTMxfQ=="
    assert decode_payload(payload) == {"identity": "support@bitoex.com", "nonce": 1554380909131}


def test_the_documented_answer() -> None:
    at = 1_504_262_258_000
    with serve(Settings(clock=lambda: at)) as sandbox:
        headers = signed(sandbox.account, {"nonce": at})
        response = call(sandbox, "DELETE", "/orders/bito_eth/12234566", headers=headers)
        assert response.status_code == 200
        assert response.json() == {
            "action": "BUY",
            "amount": "2.3",
            "orderId": "12234566",
            "price": "1.2",
            "timestamp": at,
        }
        assert response.headers["date"] == "Fri, 01 Sep 2017 10:37:38 GMT"
        assert "server" not in response.headers
        assert sandbox.book.get("12234566").status is OrderStatus.CANCELLED
        assert sandbox.book.changes[-1].at_ms == at


# Headers, signature, payload


@pytest.mark.parametrize("name", ["X-BITOPRO-APIKEY", "X-BITOPRO-PAYLOAD", "X-BITOPRO-SIGNATURE"])
def test_all_three_headers_are_needed(bitopro_sandbox: Sandbox, name: str) -> None:
    headers = signed(bitopro_sandbox.account)
    del headers[name]
    response = call(bitopro_sandbox, "DELETE", ORDER, headers=headers)
    assert outcome(response) == (401, f"Missing header {name}")
    assert "date" in response.headers


@pytest.mark.parametrize(
    "change",
    [
        {"X-BITOPRO-APIKEY": "another"},
        {"X-BITOPRO-PAYLOAD": "e30="},
        {"X-BITOPRO-SIGNATURE": "0" * 96},
        {"X-BITOPRO-SIGNATURE": "\xe9"},
    ],
)
def test_a_wrong_signature(bitopro_sandbox: Sandbox, change: dict[str, str]) -> None:
    headers = httpx.Headers(signed(bitopro_sandbox.account) | change, encoding="latin-1")
    before = bitopro_sandbox.book.snapshot()
    response = httpx.delete(bitopro_sandbox.base_url + ORDER, headers=headers)
    assert outcome(response) == (401, "Invalid Signature")
    assert bitopro_sandbox.book.snapshot() == before


def test_an_upper_case_signature_is_wrong(bitopro_sandbox: Sandbox) -> None:
    headers = signed(bitopro_sandbox.account)
    headers["X-BITOPRO-SIGNATURE"] = headers["X-BITOPRO-SIGNATURE"].upper()
    assert outcome(call(bitopro_sandbox, "GET", ORDER, headers=headers))[0] == 401


@pytest.mark.parametrize("payload", [b"%", b"e30", b"/w==", b"bm8=", b"W10=", b"W1tb" * 9000])
def test_a_payload_is_base64_of_a_json_object(bitopro_sandbox: Sandbox, payload: bytes) -> None:
    headers = signed(bitopro_sandbox.account, payload=payload)
    assert outcome(call(bitopro_sandbox, "GET", ORDER, headers=headers)) == (400, "Invalid payload")


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_base64_alphabets(bitopro_sandbox: Sandbox, encode: Callable[[bytes], bytes]) -> None:
    text = json.dumps({"nonce": next_nonce(), "é": "???>>>~~~"}, ensure_ascii=False)
    payload = encode(text.encode())
    assert set(payload) & set(b"+/-_")
    headers = signed(bitopro_sandbox.account, payload=payload)
    assert call(bitopro_sandbox, "GET", ORDER, headers=headers).status_code == 200


@pytest.mark.parametrize("nonce", [None, True, "1", 1.5])
def test_a_nonce_is_an_integer(bitopro_sandbox: Sandbox, nonce: object) -> None:
    headers = signed(bitopro_sandbox.account, {"nonce": nonce})
    expected = (400, "Wrong parameter: nonce")
    assert outcome(call(bitopro_sandbox, "GET", ORDER, headers=headers)) == expected


@pytest.mark.parametrize(
    ("identity", "status"),
    [({}, 200), ({"identity": ""}, 200), ({"identity": "somebody@example.com"}, 400)],
)
def test_the_identity_is_optional_but_not_wrong(
    bitopro_sandbox: Sandbox, identity: dict[str, str], status: int
) -> None:
    headers = signed(bitopro_sandbox.account, identity | {"nonce": next_nonce()})
    assert call(bitopro_sandbox, "GET", ORDER, headers=headers).status_code == status


def test_the_signature_covers_neither_method_nor_path(bitopro_sandbox: Sandbox) -> None:
    headers = signed(bitopro_sandbox.account)
    accounts = {bitopro_sandbox.account.api_key: bitopro_sandbox.account}
    lower = {name.lower(): value for name, value in headers.items()}
    assert verify("GET", lower, b"", accounts) == verify("DELETE", lower, b"", accounts)


# Nonces and limits


def test_a_nonce_must_increase(bitopro_sandbox: Sandbox) -> None:
    headers = signed(bitopro_sandbox.account)
    newer = signed(bitopro_sandbox.account)
    assert call(bitopro_sandbox, "GET", ORDER, headers=newer).status_code == 200
    for late in (headers, newer):
        assert call(bitopro_sandbox, "DELETE", ORDER, headers=late).status_code == 409
    first, second, third = bitopro_sandbox.journal
    assert first.triple_fingerprint == third.triple_fingerprint != second.triple_fingerprint
    assert [entry.processed for entry in bitopro_sandbox.journal] == [True, False, False]


def test_a_wrong_signature_does_not_spend_the_nonce(bitopro_sandbox: Sandbox) -> None:
    headers = signed(bitopro_sandbox.account)
    wrong = headers | {"X-BITOPRO-SIGNATURE": "0" * 96}
    assert call(bitopro_sandbox, "GET", ORDER, headers=wrong).status_code == 401
    assert call(bitopro_sandbox, "GET", ORDER, headers=headers).status_code == 200


def request_with(nonce: int | None, key: str = "key", payload: str = "") -> SignedRequest:
    return SignedRequest(Account(key), payload, {}, nonce)


def refused(action: Callable[[], None]) -> int | None:
    try:
        action()
    except ApiError as error:
        return error.status
    return None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("increasing", [None, 409, 409]), ("unique", [None, None, 409]), ("none", [None, None, None])],
)
def test_nonce_rules(rule: Any, expected: list[int | None]) -> None:
    nonces = Nonces(rule, window_ms=1000)
    assert [
        refused(lambda n=n: nonces.spend(request_with(n), 1000))  # type: ignore[misc]
        for n in (1000, 999, 1000)
    ] == expected
    assert refused(lambda: nonces.spend(request_with(999, key="other"), 1000)) is None


@pytest.mark.parametrize(("nonce", "expected"), [(0, 409), (1, None), (2001, None), (2002, 409)])
def test_the_window_has_two_ends(nonce: int, expected: int | None) -> None:
    nonces = Nonces("increasing", window_ms=1000)
    assert refused(lambda: nonces.spend(request_with(nonce), 1001)) == expected


def test_limits_slide_and_count_every_caller() -> None:
    limiter = RateLimiter()
    limit = Limit("cancel", 2, 60_000)
    assert refused(lambda: limiter.spend(limit, ("key a", "ip"), 0)) is None
    assert refused(lambda: limiter.spend(limit, ("key b", "ip"), 1)) is None
    assert refused(lambda: limiter.spend(limit, ("key a", "ip"), 59_999)) == 429
    assert refused(lambda: limiter.spend(limit, ("key a", "ip"), 60_000)) is None
    assert refused(lambda: limiter.spend(limit, ("key a", "ip"), 60_000)) == 429
    assert refused(lambda: limiter.spend(limit, ("key a", "ip"), 60_001)) is None
    assert refused(lambda: limiter.spend(attrs.evolve(limit, name="b"), ("ip",), 60_001)) is None


@pytest.mark.parametrize("retry_after", [None, 3])
def test_too_many_cancels(retry_after: int | None) -> None:
    with serve(Settings(requests_per_minute=1, retry_after=retry_after)) as sandbox:
        assert call(sandbox, "DELETE", ORDER).status_code == 200
        response = call(sandbox, "DELETE", "/orders/BTC_TWD/2959906695")
        assert outcome(response) == (429, "Too many requests")
        assert response.headers.get("retry-after") == (retry_after and str(retry_after))
        assert sandbox.book.get("2959906695").status.is_live
        assert call(sandbox, "GET", ORDER).status_code == 200


def test_permissions() -> None:
    reader = Account("reader", permissions=frozenset({"read"}))
    trader = Account("trader", permissions=frozenset({"trade"}))
    with serve(Settings(accounts=(reader, trader))) as sandbox:
        assert sandbox.account is reader
        assert call(sandbox, "DELETE", ORDER, account=reader).status_code == 403
        assert call(sandbox, "GET", ORDER, account=trader).status_code == 403
        assert call(sandbox, "GET", ORDER, account=reader).json()["status"] == 0
        assert call(sandbox, "DELETE", ORDER, account=trader).status_code == 200


# Orders


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/orders/BTC_TWD/1", (404, "Order not found")),
        ("/orders/ETH_TWD/2959906694", (404, "Order not found")),
        ("/orders/BTC_TWD/29x", (400, "Invalid order id")),
        ("/orders/BTC_TWD/%D9%A1", (400, "Invalid order id")),
        ("/orders/BTCTWD/2959906694", (400, "Wrong parameter: pair")),
        (ORDER + "?isAllStrategyCanceled=True", (400, "Wrong parameter: isAllStrategyCanceled")),
        (ORDER + "?isAllStrategyCanceled=", (400, "Wrong parameter: isAllStrategyCanceled")),
        ("/nowhere", (404, "Not Found")),
        ("/orders/BTC_TWD/2959906694/x", (404, "Not Found")),
        ("/orders/all/BTC_TWD", (404, "Not Found")),
        ("/orders/trades/BTC_TWD", (404, "Not Found")),
        ("/orders/batch", (404, "Not Found")),
        (f"/orders/{21 * 'B'}_TWD", (400, "Wrong parameter: pair")),
        (f"/orders/BTC_TWD/{21 * '1'}", (400, "Invalid order id")),
        ("/orders/open", (405, "Method Not Allowed")),
    ],
)
def test_refused_cancels(bitopro_sandbox: Sandbox, path: str, expected: tuple[int, str]) -> None:
    before = bitopro_sandbox.book.snapshot()
    response = call(bitopro_sandbox, "DELETE", path)
    assert outcome(response) == expected
    assert "date" in response.headers
    assert bitopro_sandbox.book.snapshot() == before


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/orders", "PUT"),
        ("/orders/all", "DELETE"),
        ("/orders/open", "GET"),
        ("/orders/BTC_TWD", "DELETE"),
        (ORDER, "DELETE, GET"),
    ],
)
def test_a_method_that_is_not_allowed(bitopro_sandbox: Sandbox, path: str, allow: str) -> None:
    response = call(bitopro_sandbox, "PATCH", path)
    assert outcome(response) == (405, "Method Not Allowed")
    assert response.headers.get_list("allow") == [allow]
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("value", "kept"), [(None, False), ("true", False), ("false", True)])
def test_strategies(bitopro_sandbox: Sandbox, value: str | None, kept: bool) -> None:
    assert bitopro_sandbox.book.get("2959906694").strategy
    params = {"isAllStrategyCanceled": value} if value else {}
    call(bitopro_sandbox, "DELETE", ORDER, params=params)
    assert bitopro_sandbox.book.get("2959906694").strategy is kept


@pytest.mark.parametrize("status", [200, 400, 404, 409, 422])
def test_a_second_cancel(status: Any) -> None:
    with serve(Settings(second_cancel=status)) as sandbox:
        assert call(sandbox, "DELETE", ORDER).status_code == 200
        assert call(sandbox, "DELETE", ORDER).status_code == status
        assert len(sandbox.book.changes) == 9


def test_an_accepted_cancel_may_take_its_time() -> None:
    with serve(Settings(cancel_takes_ms=50)) as sandbox:
        cancelled = threading.Event()
        sandbox.book.subscribe(lambda change: cancelled.set())
        assert call(sandbox, "DELETE", ORDER).status_code == 200
        assert sandbox.book.get("2959906694").status is OrderStatus.OPEN
        assert cancelled.wait(5)
        assert sandbox.book.get("2959906694").status is OrderStatus.CANCELLED


def test_a_fill_may_come_before_the_cancel() -> None:
    with serve(Settings(cancel_takes_ms=20)) as sandbox:
        assert call(sandbox, "DELETE", ORDER).status_code == 200
        sandbox.book.fill("2959906694")
        time.sleep(0.04)
        assert sandbox.book.get("2959906694").status is OrderStatus.FILLED


def test_open_orders(bitopro_sandbox: Sandbox) -> None:
    def ids(path: str) -> list[str]:
        return [order["id"] for order in call(bitopro_sandbox, "GET", path).json()["data"]]

    every = ["SL-9014867155", "2959906696", "12234566", "2959906695", "2959906694"]
    assert ids("/orders/open") == every
    assert ids("/orders/open?pair=btc_twd") == ["2959906695", "2959906694"]
    assert call(bitopro_sandbox, "GET", "/orders/open?pair=").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/orders/btc_twd",
        "/orders/btc_twd/",
        "/orders/btc_twd/%2E",
        "/orders/all/%2e%2E/BTC_TWD",
        "/orders/x/..%2FBTC_TWD",
    ],
)
def test_a_stray_cancel_hits_the_pair(bitopro_sandbox: Sandbox, path: str) -> None:
    response = call(bitopro_sandbox, "DELETE", path)
    assert response.json() == {"data": {"BTC_TWD": ["2959906695", "2959906694"]}}
    assert bitopro_sandbox.journal[-1].path == "/v3" + path
    assert len(bitopro_sandbox.book.open_orders()) == 3


def test_cancel_all(bitopro_sandbox: Sandbox) -> None:
    assert call(bitopro_sandbox, "DELETE", "/orders/all").json() == {
        "data": {
            "BTC_USDT": ["SL-9014867155"],
            "ETH_TWD": ["2959906696"],
            "BITO_ETH": ["12234566"],
            "BTC_TWD": ["2959906695", "2959906694"],
        }
    }
    assert bitopro_sandbox.book.open_orders() == []


def test_cancel_a_batch_whose_body_is_signed(bitopro_sandbox: Sandbox) -> None:
    body = b'{"BTC_TWD":["2959906694"], "BTC_USDT":["2959906697"]}'
    headers = signed(bitopro_sandbox.account, payload=base64.b64encode(body))

    def put(sent: bytes) -> httpx.Response:
        return call(bitopro_sandbox, "PUT", "/orders", headers=headers, content=sent)

    for other in (b"{}", b"", body.replace(b" ", b""), body + b"\n"):
        assert outcome(put(other)) == (400, "Invalid body")
    assert put(body).json() == {"data": {"BTC_TWD": ["2959906694"]}}
    assert put(body).status_code == 409


# Journal, secrets, server


def test_the_journal(bitopro_sandbox: Sandbox) -> None:
    content = {"nonce": next_nonce()}
    with httpx.Client(verify=NO_TLS) as client:
        for headers in (signed(bitopro_sandbox.account, content), {}):
            client.get(f"{bitopro_sandbox.base_url}{ORDER}?a=%20b", headers=headers)
    call(bitopro_sandbox, "GET", ORDER)
    first, second, third = bitopro_sandbox.journal
    assert (first.sequence, first.method, first.status, first.processed) == (1, "GET", 200, True)
    assert (first.path, first.query) == ("/v3/orders/BTC_TWD/2959906694", "a=%20b")
    assert first.nonce == content["nonce"]
    assert "x-bitopro-signature" in first.header_names
    assert list(first.header_names) == sorted(first.header_names)
    assert first.key_fingerprint == third.key_fingerprint != second.key_fingerprint
    assert (second.key_fingerprint, second.triple_fingerprint) == (None, None)
    assert (second.nonce, second.status, second.processed) == (None, 401, False)
    assert first.http_connection == second.http_connection != third.http_connection
    bitopro_sandbox.journal.clear()
    assert not bitopro_sandbox.journal


def test_no_secret_is_ever_shown(
    bitopro_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = signed(bitopro_sandbox.account)
    call(bitopro_sandbox, "DELETE", ORDER, headers=headers)
    call(bitopro_sandbox, "DELETE", ORDER, headers=headers)
    shown = f"{bitopro_sandbox!r} {bitopro_sandbox.journal!r} {caplog.text}"
    for secret in (bitopro_sandbox.account.api_secret, *headers.values()):
        assert secret not in shown


def test_many_sandboxes_stop_at_once() -> None:
    with serve() as first, serve() as second, httpx.Client(verify=NO_TLS) as client:
        assert first.base_url != second.base_url
        assert client.get(first.base_url).status_code == 404
        assert len(second.journal) == 0
        with pytest.raises(OSError, match="in use"), serve(port=int(first.base_url[17:-3])):
            pass
        start = time.monotonic()
    assert time.monotonic() - start < 0.5


def test_a_stop_while_clients_connect_leaks_nothing() -> None:
    with ExitStack() as clients:
        with serve() as sandbox:
            address = ("127.0.0.1", int(sandbox.base_url[17:-3]))
            for _ in range(10):
                client = clients.enter_context(socket.create_connection(address))
                client.sendall(b"GET /v3/orders/open HTTP/1.1\r\nHost: x\r\n")
        gc.collect()  # in which a leaked socket warns


def test_the_plugin_imports_nothing_of_the_extra() -> None:
    code = (
        "import sys, bitopro_sandbox.pytest_plugin;"
        "sys.exit(bool({'starlette', 'uvicorn', 'attrs', 'httpx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_plugin_names_the_missing_extra(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "bitopro_sandbox.serving", raising=False)
    with pytest.raises(pytest.fail.Exception, match=r"pip install 'bitopro-orders\[sandbox\]'"):
        request.getfixturevalue("bitopro_sandbox")


def test_the_command_line() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "bitopro_sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        line = process.stdout.readline()
        assert line.startswith("export BITOPRO_BASE_URL=http://127.0.0.1:")
        assert httpx.get(line.partition("=")[2].strip()).status_code == 404
        stream = line.replace("BASE_URL=http", "STREAM_URL=ws").replace("/v3", "/ws")
        assert process.stdout.readline() == stream
        process.terminate()
        assert process.wait(5) == 0
