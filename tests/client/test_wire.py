"""The bytes that a cancel puts on the wire, sync and async."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from bitopro_auth import Credentials
from bitopro_client import Client
from bitopro_client.models import CancelledOrder
from bitopro_orders import connect
from tests.support import wire

ANSWER = (
    b'{"action":"BUY","amount":"2.3","orderId":"2959906694","price":"1.2",'
    b'"timestamp":1504262258000}'
)
CREDENTIALS = Credentials("the-key", "the-secret", "trader@example.com")
CancelAt = Callable[..., CancelledOrder]


def parsed(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    headers = dict(text.split(": ", 1) for text in lines)
    return line, {name.lower(): value for name, value in headers.items()}, body


def test_a_cancel_on_the_wire(cancel_at: CancelAt) -> None:
    with wire(ANSWER) as server:
        cancelled = cancel_at(
            lambda: connect(CREDENTIALS, base_url=server.base_url), "BTC_TWD", "2959906694"
        )
    (request,) = server.requests
    line, headers, body = parsed(request)
    assert line == "DELETE /v3/orders/BTC_TWD/2959906694 HTTP/1.1"
    assert body == b""
    assert "content-length" not in headers
    payload = headers.pop("x-bitopro-payload")
    signature = headers.pop("x-bitopro-signature")
    assert headers.pop("x-bitopro-apikey") == "the-key"
    assert set(headers) <= {"host", "accept", "accept-encoding", "connection", "user-agent"}
    assert json.loads(base64.b64decode(payload)).keys() == {"identity", "nonce"}
    assert signature == hmac.new(b"the-secret", payload.encode(), hashlib.sha384).hexdigest()
    assert cancelled == CancelledOrder(
        action="BUY",
        amount="2.3",
        order_id="2959906694",
        price="1.2",
        timestamp=1504262258000,
    )


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({}, "/v3/orders/bito_eth/SL-2959906694"),
        (
            {"is_all_strategy_canceled": True},
            "/v3/orders/bito_eth/SL-2959906694?isAllStrategyCanceled=true",
        ),
        (
            {"is_all_strategy_canceled": False},
            "/v3/orders/bito_eth/SL-2959906694?isAllStrategyCanceled=false",
        ),
    ],
)
def test_the_query_is_there_only_when_asked_for(
    cancel_at: CancelAt, options: dict[str, Any], target: str
) -> None:
    with wire(ANSWER.replace(b"2959906694", b"SL-2959906694")) as server:
        cancel_at(
            lambda: connect(CREDENTIALS, base_url=server.base_url),
            "bito_eth",
            "SL-2959906694",
            **options,
        )
    assert parsed(server.requests[0])[0] == f"DELETE {target} HTTP/1.1"


def test_a_cookie_of_the_answer_is_not_sent_back(cancel_at: CancelAt) -> None:
    with wire(ANSWER, headers="Set-Cookie: session=abc; Path=/\r\n") as server:
        client = connect(CREDENTIALS, base_url=server.base_url)
        for _ in range(2):
            cancel_at(lambda: client.with_headers({}), "BTC_TWD", "2959906694")
    assert [b"cookie" in request.lower() for request in server.requests] == [False, False]


def test_proxies_of_the_environment_are_not_used(
    cancel_at: CancelAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wire(ANSWER) as server, wire(b"proxy") as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        cancel_at(lambda: connect(CREDENTIALS, base_url=server.base_url), "BTC_TWD", "2959906694")
    assert len(server.requests) == 1
    assert not proxy.requests


def test_the_generated_client_alone_sends_no_credential(cancel_at: CancelAt) -> None:
    with wire(ANSWER) as server:
        cancel_at(lambda: Client(server.base_url), "BTC_TWD", "2959906694")
    assert b"x-bitopro" not in server.requests[0].lower()
    assert b"authorization" not in server.requests[0].lower()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ANSWER.replace(b'"2.3"', b"2.30000000000000000001"), "2.30000000000000000001"),
        (ANSWER.replace(b'"2.3"', b"1e-7"), "1e-7"),
    ],
)
def test_an_amount_sent_as_a_number_is_never_a_float(
    cancel_at: CancelAt, body: bytes, text: str
) -> None:
    with wire(body) as server:
        cancelled = cancel_at(
            lambda: connect(CREDENTIALS, base_url=server.base_url), "BTC_TWD", "2959906694"
        )
    assert cancelled.amount == text
