"""`BitoProAuth` in an httpx client, sync and async: what it signs, and what it refuses to."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import pickle
from collections.abc import Callable

import httpx
import pytest

from bitopro_auth import BitoProAuth, Credentials, UnsignableRequestError

CREDENTIALS = Credentials("the-key", "the-secret", "trader@example.com")
Send = Callable[[httpx.Request], list[httpx.Request]]


def written(request: httpx.Request) -> dict[str, str]:
    """Return the headers as they go on the wire."""
    return {name.decode().lower(): text.decode() for name, text in request.headers.raw}


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Send a request with auth through httpx and return the requests that reach the transport."""
    auth = BitoProAuth(
        CREDENTIALS, hosts={"api.bitopro.com", "127.0.0.1"}, nonce=itertools.count(7).__next__
    )
    arrived: list[httpx.Request] = []

    def transport(received: httpx.Request) -> httpx.Response:
        arrived.append(received)
        return httpx.Response(200)

    def sync(outgoing: httpx.Request) -> list[httpx.Request]:
        with httpx.Client(transport=httpx.MockTransport(transport), auth=auth) as client:
            client.send(outgoing)
        return arrived

    def run_async(outgoing: httpx.Request) -> list[httpx.Request]:
        async def main() -> None:
            mock = httpx.MockTransport(transport)
            async with httpx.AsyncClient(transport=mock, auth=auth) as client:
                await client.send(outgoing)

        asyncio.run(main())
        return arrived

    return sync if request.param == "sync" else run_async


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_get_and_delete_sign_identity_and_nonce(send: Send, method: str) -> None:
    (request,) = send(httpx.Request(method, "https://api.bitopro.com/v3/x"))
    headers = written(request)
    payload = headers["x-bitopro-payload"]
    assert base64.b64decode(payload) == b'{"identity":"trader@example.com","nonce":7}'
    assert headers["x-bitopro-apikey"] == "the-key"
    expected = hmac.new(b"the-secret", payload.encode(), hashlib.sha384).hexdigest()
    assert headers["x-bitopro-signature"] == expected


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_post_and_put_sign_the_body_as_it_is_sent(send: Send, method: str) -> None:
    body = {"BTC_USDT": ["1", "2"], "名": "值"}
    (request,) = send(httpx.Request(method, "https://api.bitopro.com/v3/orders", json=body))
    assert base64.b64decode(written(request)["x-bitopro-payload"]) == request.content
    assert json.loads(request.content) == body


def test_each_attempt_has_its_own_nonce_and_signature(send: Send) -> None:
    request = httpx.Request("DELETE", "https://api.bitopro.com/v3/x")
    first = written(send(request)[0])
    second = written(send(request)[1])
    assert first["x-bitopro-payload"] != second["x-bitopro-payload"]
    assert first["x-bitopro-signature"] != second["x-bitopro-signature"]


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "https://api.bitopro.com.evil.example/v3"),
        ("GET", "https://evil.example/v3"),
        ("GET", "https://bitopro.com/v3"),
        ("GET", "https://api.bitopro.com@evil.example/v3"),
        ("GET", "http://api.bitopro.com/v3"),
        ("GET", "ws://api.bitopro.com/v3"),
        ("POST", "https://api.bitopro.com/v3"),
        ("PUT", "https://api.bitopro.com/v3"),
        ("PATCH", "https://api.bitopro.com/v3"),
        ("HEAD", "https://api.bitopro.com/v3"),
    ],
)
def test_what_must_not_be_signed_is_not_sent(send: Send, method: str, url: str) -> None:
    request = httpx.Request(method, url)
    with pytest.raises(UnsignableRequestError):
        send(request)
    assert not [name for name in request.headers if name.startswith("x-bitopro")]


def test_http_is_signed_for_this_machine_alone(send: Send) -> None:
    assert send(httpx.Request("GET", "http://127.0.0.1:8787/v3"))


def test_by_default_only_the_exchange_is_signed_for() -> None:
    auth = BitoProAuth(CREDENTIALS)
    flow = auth.auth_flow(httpx.Request("GET", "http://127.0.0.1:8787/v3"))
    with pytest.raises(UnsignableRequestError, match=r"127\.0\.0\.1"):
        next(flow)


# Where httpx does not ask again


def redirected(way: str, status: int, location: str) -> list[dict[str, str]]:
    """Send to the exchange, which redirects; return what each request had on the wire."""
    arrived: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        arrived.append(written(request))
        headers = {"Location": location} if len(arrived) == 1 else {}
        return httpx.Response(status if headers else 200, headers=headers)

    auth = BitoProAuth(CREDENTIALS)
    mock, url = httpx.MockTransport(answer), "https://api.bitopro.com/v3/orders/a/1"

    async def main() -> None:
        async with httpx.AsyncClient(transport=mock, auth=auth, follow_redirects=True) as client:
            await client.delete(url)

    if way == "async":
        asyncio.run(main())
    else:
        with httpx.Client(transport=mock, auth=auth, follow_redirects=True) as client:
            client.delete(url)
    return arrived


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["https://evil.example/x", "https://api.bitopro.com:444/x", "/v3/orders/all"]
)
def test_no_signature_follows_a_redirect(way: str, status: int, location: str) -> None:
    first, second = redirected(way, status, location)
    assert {name for name in first if "bitopro" in name} == {
        "x-bitopro-apikey",
        "x-bitopro-payload",
        "x-bitopro-signature",
    }
    assert not [name for name in second if "bitopro" in name]


def test_what_shows_or_keeps_a_signed_request_has_no_signature(send: Send) -> None:
    (request,) = send(httpx.Request("DELETE", "https://api.bitopro.com/v3/x"))
    secrets = [text for name, text in written(request).items() if "bitopro" in name]
    assert len(secrets) == 3
    copies = [request.headers.copy(), httpx.Headers(request.headers), dict(request.headers)]
    shown = [repr(request.headers), str(copies), repr(request)]
    kept = [pickle.dumps(request.headers), pickle.dumps(request)]
    for secret in secrets:
        assert not any(secret in text for text in shown)
        assert not any(secret.encode() in data for data in kept)
    assert pickle.loads(kept[0]) == httpx.Headers({"Host": "api.bitopro.com"})
