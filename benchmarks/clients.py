"""The clients that are measured, each as a function that cancels one order and returns its id.

A client's library is imported where the client is opened: a missing one is missing alone, and a
cold start pays for its own imports only. All sign, all verify the server's certificate, and all
but ours have the settings that they come with; ccxt's rate limit alone is off.
"""

import base64
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from bitopro_client import Client
    from bitopro_orders import OrdersClient
    from bitopro_orders.message import Message
    from bitopro_orders.transport import Attempt

API_KEY, API_SECRET, IDENTITY = "benchmark-key", "benchmark-secret", "benchmark@example.com"
PAIR, SYMBOL = "BTC_TWD", "BTC/TWD"

Cancel = Callable[[str], str]
CancelAsync = Callable[[str], Awaitable[str]]
Open = Callable[[str], AbstractContextManager[Cancel]]
OpenAsync = Callable[[str], AbstractAsyncContextManager[CancelAsync]]


def trust(bundle: str) -> None:
    """Trust the certificates of a file, in this process and in every client.

    All of them ask certifi where their certificates are, so none has to be configured, and each
    verifies the server the way it does in production. The variables of the environment that would
    lead some of them elsewhere go. Call it before any client is imported.

    Args:
        bundle: The file, in PEM.
    """
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    certifi: Any = import_module("certifi")
    certifi.where = lambda: bundle


def connect_ours(base_url: str) -> "OrdersClient":
    """Open ours, with a limit that is counted in full and never reached.

    The exchange's own, 900 requests a minute, is less than any client here sends in a second. So
    that no more is remembered than in earnest, the window is a microsecond.
    """
    from bitopro_auth import Credentials
    from bitopro_client.api.orders import cancel_order
    from bitopro_orders import connect

    client = connect(Credentials(API_KEY, API_SECRET, IDENTITY), base_url=base_url)
    sender = client._sender  # noqa: SLF001 - for this measurement alone
    asked = sender._question(cancel_order.OPERATION)  # noqa: SLF001
    windows = tuple(window._replace(period=1) for window in asked.windows)
    sender._questions[cancel_order.OPERATION.name] = asked._replace(windows=windows)  # noqa: SLF001
    return client


@contextmanager
def ours(base_url: str) -> Iterator[Cancel]:
    """`bitopro_orders.connect()`."""
    from bitopro_client.api.orders import cancel_order

    with connect_ours(base_url) as client:
        yield lambda order_id: cancel_order.sync(PAIR, order_id, client=client).order_id


@asynccontextmanager
async def ours_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """`bitopro_orders.connect()`."""
    from bitopro_client.api.orders import cancel_order

    async with connect_ours(base_url) as client:

        async def cancel(order_id: str) -> str:
            return (await cancel_order.asyncio(PAIR, order_id, client=client)).order_id

        yield cancel


@contextmanager
def ours_without_policy(base_url: str) -> Iterator[Cancel]:
    """Ours, less policy and throttle: the call is built, signed, sent and read, once."""
    from bitopro_auth import NonceSource
    from bitopro_client.api.orders import cancel_order
    from bitopro_orders.message import Message
    from bitopro_orders.steps import Connect, Send

    nonce = NonceSource()
    with connect_ours(base_url) as client:
        channel, route = client._threads, client._routed()  # noqa: SLF001
        assert channel is not None

        def cancel(order_id: str) -> str:
            call, attempt = cancel_order.call(PAIR, order_id), _attempt(client)
            connection = channel.transport.take(route.origin)
            connection = connection or Connect(route.origin, attempt).run(channel)
            data = _written(client, Message.of(call, route), nonce(), attempt)
            answer = Send(connection, data, attempt).run(channel)
            return call.read(answer.status, answer.content, answer.headers).parsed.order_id

        yield cancel


@asynccontextmanager
async def ours_without_policy_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """Ours, less policy and throttle: the call is built, signed, sent and read, once."""
    from bitopro_auth import NonceSource
    from bitopro_client.api.orders import cancel_order
    from bitopro_orders.message import Message
    from bitopro_orders.steps import Connect, Send

    nonce = NonceSource()
    async with connect_ours(base_url) as client:
        channel, route = client._tasks, client._routed()  # noqa: SLF001
        assert channel is not None

        async def cancel(order_id: str) -> str:
            call, attempt = cancel_order.call(PAIR, order_id), _attempt(client)
            connection = channel.transport.take(route.origin)
            connection = connection or await Connect(route.origin, attempt).run_async(channel)
            data = _written(client, Message.of(call, route), nonce(), attempt)
            answer = await Send(connection, data, attempt).run_async(channel)
            return call.read(answer.status, answer.content, answer.headers).parsed.order_id

        yield cancel


@contextmanager
def httpx_as_it_comes(base_url: str) -> Iterator[Cancel]:
    """The generated client and the signing plugin over httpx with its own settings."""
    from bitopro_client.api.orders import cancel_order

    with _plain_client(base_url) as client:
        yield lambda order_id: cancel_order.sync(PAIR, order_id, client=client).order_id


@asynccontextmanager
async def httpx_as_it_comes_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """The generated client and the signing plugin over httpx with its own settings."""
    from bitopro_client.api.orders import cancel_order

    async with _plain_client(base_url) as client:

        async def cancel(order_id: str) -> str:
            return (await cancel_order.asyncio(PAIR, order_id, client=client)).order_id

        yield cancel


@contextmanager
def httpx_by_hand(base_url: str) -> Iterator[Cancel]:
    """Httpx with its own settings, without a model or a check."""
    httpx: Any = import_module("httpx")
    with httpx.Client() as client:

        def cancel(order_id: str) -> str:
            answer = client.delete(_url(base_url, order_id), headers=_signed())
            return str(answer.json()["orderId"])

        yield cancel


@asynccontextmanager
async def httpx_by_hand_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """Httpx with its own settings, without a model or a check."""
    httpx: Any = import_module("httpx")
    async with httpx.AsyncClient() as client:

        async def cancel(order_id: str) -> str:
            answer = await client.delete(_url(base_url, order_id), headers=_signed())
            return str(answer.json()["orderId"])

        yield cancel


@contextmanager
def ccxt(base_url: str) -> Iterator[Cancel]:
    """ccxt, its rate limit off."""
    exchange: Any = import_module("ccxt").bitopro(_ccxt_settings(base_url))
    exchange.set_markets([_CCXT_MARKET])
    try:
        yield lambda order_id: str(exchange.cancel_order(order_id, SYMBOL)["id"])
    finally:
        exchange.session.close()


@asynccontextmanager
async def ccxt_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """Ccxt's asynchronous half, its rate limit off."""
    exchange: Any = import_module("ccxt.async_support").bitopro(_ccxt_settings(base_url))
    exchange.set_markets([_CCXT_MARKET])

    async def cancel(order_id: str) -> str:
        return str((await exchange.cancel_order(order_id, SYMBOL))["id"])

    try:
        yield cancel
    finally:
        await exchange.close()


@contextmanager
def official(base_url: str) -> Iterator[Cancel]:
    """The exchange's own bitopro-client, which opens a connection for every call."""
    module: Any = import_module("bitoproClient.bitopro_restful_client")
    client = module.BitoproRestfulClient(API_KEY, API_SECRET)
    client.baseUrl = base_url
    yield lambda order_id: str(client.cancel_an_order(order_id, PAIR)["orderId"])


@contextmanager
def standard_library_by_hand(base_url: str) -> Iterator[Cancel]:
    """The floor: http.client, one connection a thread, without a model or a check."""
    import http.client
    import ssl

    certifi: Any = import_module("certifi")
    context = ssl.create_default_context(cafile=certifi.where())
    address = urlsplit(base_url)
    mine = threading.local()
    opened: list[http.client.HTTPSConnection] = []

    def cancel(order_id: str) -> str:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPSConnection(address.netloc, context=context)
            opened.append(mine.connection)
        path = f"{address.path}/orders/{PAIR}/{order_id}"
        mine.connection.request("DELETE", path, headers=_signed())
        return str(json.loads(mine.connection.getresponse().read())["orderId"])

    try:
        yield cancel
    finally:
        for connection in opened:
            connection.close()


@asynccontextmanager
async def aiohttp_by_hand(base_url: str) -> AsyncIterator[CancelAsync]:
    """The floor: aiohttp with its own settings, without a model or a check."""
    import ssl

    certifi: Any = import_module("certifi")
    aiohttp: Any = import_module("aiohttp")
    context = ssl.create_default_context(cafile=certifi.where())
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def cancel(order_id: str) -> str:
            async with session.delete(_url(base_url, order_id), headers=_signed()) as answer:
                return str((await answer.json())["orderId"])

        yield cancel


OURS, BARE, BASELINE = "bitopro-orders", "the same without policy", "httpx as it comes"
SYNC: dict[str, Open] = {
    OURS: ours,
    BARE: ours_without_policy,
    BASELINE: httpx_as_it_comes,
    "httpx by hand": httpx_by_hand,
    "ccxt": ccxt,
    "bitopro-client (official)": official,
    "floor: http.client / aiohttp by hand": standard_library_by_hand,
}
ASYNC: dict[str, OpenAsync] = {
    OURS: ours_async,
    BARE: ours_without_policy_async,
    BASELINE: httpx_as_it_comes_async,
    "httpx by hand": httpx_by_hand_async,
    "ccxt": ccxt_async,
    "floor: http.client / aiohttp by hand": aiohttp_by_hand,
}

_CCXT_MARKET = {
    "id": PAIR,
    "symbol": SYMBOL,
    "base": "BTC",
    "quote": "TWD",
    "baseId": "btc",
    "quoteId": "twd",
    "type": "spot",
    "spot": True,
    "active": True,
}


def _ccxt_settings(base_url: str) -> dict[str, Any]:
    return {
        "apiKey": API_KEY,
        "secret": API_SECRET,
        "enableRateLimit": False,
        "urls": {"api": {"rest": base_url}},
    }


def _plain_client(base_url: str) -> "Client":
    from bitopro_auth import BitoProAuth, Credentials
    from bitopro_client import Client

    host = urlsplit(base_url).hostname or ""
    auth = BitoProAuth(Credentials(API_KEY, API_SECRET, IDENTITY), hosts={host})
    return Client(base_url, httpx_args={"auth": auth})


def _attempt(client: "OrdersClient") -> "Attempt":
    from bitopro_orders.transport import Attempt

    monotonic = client.timing.monotonic
    return Attempt(monotonic() + 10, monotonic, 10)


def _written(client: "OrdersClient", message: "Message", nonce: int, attempt: "Attempt") -> bytes:
    return client._sender._written(message, nonce, attempt)  # noqa: SLF001


def _url(base_url: str, order_id: str) -> str:
    return f"{base_url}/orders/{PAIR}/{order_id}"


def _signed() -> dict[str, str]:
    text = json.dumps({"identity": IDENTITY, "nonce": time.time_ns() // 1_000_000})
    payload = base64.b64encode(text.encode())
    return {
        "X-BITOPRO-APIKEY": API_KEY,
        "X-BITOPRO-PAYLOAD": payload.decode(),
        "X-BITOPRO-SIGNATURE": hmac.digest(API_SECRET.encode(), payload, hashlib.sha384).hex(),
    }
