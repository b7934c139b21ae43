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
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from bitopro_auth import BitoProAuth
    from bitopro_client import Client
    from bitopro_client.types import Operation
    from bitopro_orders import OrdersClient
    from bitopro_orders.throttle import Question
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


def connect_ours(base_url: str, in_flight: int = 1) -> "OrdersClient":
    """Open ours, with a limit that is counted in full and never reached.

    The exchange's own, 900 requests a minute, is less than any client here sends in a second. So
    the same stamps are kept in the same rings, and only the number that may leave is another.
    """
    from bitopro_auth import Credentials
    from bitopro_client.api.orders import cancel_order
    from bitopro_orders import SendingPolicy, connect

    def never_reached(question: "Question") -> "Question":
        windows = (window._replace(requests=10**9) for window in question.windows)
        return question._replace(windows=tuple(windows))

    credentials = Credentials(API_KEY, API_SECRET, IDENTITY)
    client = connect(credentials, base_url=base_url, policy=SendingPolicy(in_flight=in_flight))
    count_otherwise(client, cancel_order.OPERATION, never_reached)
    return client


def count_otherwise(
    client: "OrdersClient", operation: "Operation", change: "Callable[[Question], Question]"
) -> None:
    """Let a client count an operation by other numbers than the exchange's."""
    sender = client._sender  # noqa: SLF001 - nobody else is to count otherwise
    question, part = sender._question(operation)  # noqa: SLF001
    sender._questions[operation.name] = change(question), part  # noqa: SLF001


@contextmanager
def ours(base_url: str, in_flight: int = 1) -> Iterator[Cancel]:
    """`bitopro_orders.connect()`."""
    from bitopro_client.api.orders import cancel_order

    with connect_ours(base_url, in_flight) as client:
        yield lambda order_id: cancel_order.sync(PAIR, order_id, client=client).order_id


@asynccontextmanager
async def ours_async(base_url: str, in_flight: int = 1) -> AsyncIterator[CancelAsync]:
    """`bitopro_orders.connect()`."""
    from bitopro_client.api.orders import cancel_order

    async with connect_ours(base_url, in_flight) as client:

        async def cancel(order_id: str) -> str:
            return (await cancel_order.asyncio(PAIR, order_id, client=client)).order_id

        yield cancel


@contextmanager
def ours_without_policy(base_url: str) -> Iterator[Cancel]:
    """Ours, less policy and throttle: the call is built, signed, sent and read, once."""
    with connect_ours(base_url) as client:
        transport: Any = client._threads.transport  # type: ignore[union-attr]  # noqa: SLF001
        origin, written = client._routed().origin, _writer(client)  # noqa: SLF001

        def cancel(order_id: str) -> str:
            call, attempt, data = written(order_id)
            connection = transport.take(origin) or transport.connect(origin, attempt)
            answer = transport.exchange(connection, data, attempt)
            read = call.read(answer.status, answer.content, answer.headers)
            return str(read.parsed.order_id)

        yield cancel


@asynccontextmanager
async def ours_without_policy_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """Ours, less policy and throttle: the call is built, signed, sent and read, once."""
    async with connect_ours(base_url) as client:
        transport: Any = client._tasks.transport  # type: ignore[union-attr]  # noqa: SLF001
        origin, written = client._routed().origin, _writer(client)  # noqa: SLF001

        async def cancel(order_id: str) -> str:
            call, attempt, data = written(order_id)
            connection = transport.take(origin) or await transport.connect(origin, attempt)
            answer = await transport.exchange(connection, data, attempt)
            read = call.read(answer.status, answer.content, answer.headers)
            return str(read.parsed.order_id)

        yield cancel


@contextmanager
def generated_over_httpx(base_url: str) -> Iterator[Cancel]:
    """`bitopro_client.Client` with `BitoProAuth`, over httpx with its own settings."""
    from bitopro_client.api.orders import cancel_order

    with _plain_client(base_url) as client:
        yield lambda order_id: cancel_order.sync(PAIR, order_id, client=client).order_id


@asynccontextmanager
async def generated_over_httpx_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """`bitopro_client.Client` with `BitoProAuth`, over httpx with its own settings."""
    from bitopro_client.api.orders import cancel_order

    async with _plain_client(base_url) as client:

        async def cancel(order_id: str) -> str:
            return (await cancel_order.asyncio(PAIR, order_id, client=client)).order_id

        yield cancel


@contextmanager
def httpx_with_auth(base_url: str) -> Iterator[Cancel]:
    """`httpx.Client(auth=BitoProAuth(...))` with its own settings, without a model or a check."""
    httpx: Any = import_module("httpx")
    with httpx.Client(auth=_auth(base_url)) as client:

        def cancel(order_id: str) -> str:
            return str(client.delete(_url(base_url, order_id)).json()["orderId"])

        yield cancel


@asynccontextmanager
async def httpx_with_auth_async(base_url: str) -> AsyncIterator[CancelAsync]:
    """`httpx.AsyncClient(auth=BitoProAuth(...))` likewise."""
    httpx: Any = import_module("httpx")
    async with httpx.AsyncClient(auth=_auth(base_url)) as client:

        async def cancel(order_id: str) -> str:
            return str((await client.delete(_url(base_url, order_id))).json()["orderId"])

        yield cancel


def connect_ccxt(base_url: str, *, limited: bool = False) -> Any:  # noqa: ANN401 - it is untyped
    """Open ccxt, with its rate limit on or off."""
    settings = {**_ccxt_settings(base_url), "enableRateLimit": limited}
    exchange: Any = import_module("ccxt").bitopro(settings)
    exchange.set_markets([_CCXT_MARKET])
    return exchange


@contextmanager
def ccxt(base_url: str) -> Iterator[Cancel]:
    """ccxt, its rate limit off."""
    exchange = connect_ccxt(base_url)
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
    """`http.client`, one connection a thread, without a model or a check."""
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
        mine.connection.request("DELETE", path, headers=signed())
        return str(json.loads(mine.connection.getresponse().read())["orderId"])

    try:
        yield cancel
    finally:
        for connection in opened:
            connection.close()


@asynccontextmanager
async def aiohttp_by_hand(base_url: str) -> AsyncIterator[CancelAsync]:
    """Aiohttp with its own settings, without a model or a check."""
    import ssl

    certifi: Any = import_module("certifi")
    aiohttp: Any = import_module("aiohttp")
    context = ssl.create_default_context(cafile=certifi.where())
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def cancel(order_id: str) -> str:
            async with session.delete(_url(base_url, order_id), headers=signed()) as answer:
                return str((await answer.json())["orderId"])

        yield cancel


THREADS, TASKS = 16, 50
OURS, BARE = "bitopro-orders", "the same without policy"
OURS_IN_THREADS, OURS_IN_TASKS = f"{OURS}, in_flight={THREADS}", f"{OURS}, in_flight={TASKS}"
HTTPX, GENERATED = "httpx with BitoProAuth", "the generated client over httpx"
CCXT, AIOHTTP = "ccxt", "aiohttp by hand"
SYNC: dict[str, Open] = {
    OURS: ours,
    OURS_IN_THREADS: partial(ours, in_flight=THREADS),
    BARE: ours_without_policy,
    HTTPX: httpx_with_auth,
    GENERATED: generated_over_httpx,
    CCXT: ccxt,
    "bitopro-client (official)": official,
    "http.client by hand": standard_library_by_hand,
}
ASYNC: dict[str, OpenAsync] = {
    OURS: ours_async,
    OURS_IN_TASKS: partial(ours_async, in_flight=TASKS),
    BARE: ours_without_policy_async,
    HTTPX: httpx_with_auth_async,
    GENERATED: generated_over_httpx_async,
    CCXT: ccxt_async,
    AIOHTTP: aiohttp_by_hand,
}

_CCXT_MARKET = {
    "id": PAIR,
    "uppercaseId": PAIR,
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


def _auth(base_url: str) -> "BitoProAuth":
    from bitopro_auth import BitoProAuth, Credentials

    host = urlsplit(base_url).hostname or ""
    return BitoProAuth(Credentials(API_KEY, API_SECRET, IDENTITY), hosts={host})


def _plain_client(base_url: str) -> "Client":
    from bitopro_client import Client

    return Client(base_url, httpx_args={"auth": _auth(base_url)})


def _writer(client: "OrdersClient") -> Callable[[str], tuple[Any, "Attempt", bytes]]:
    """Return what makes of an order's id the call, an attempt, and the signed request."""
    from bitopro_auth import NonceSource
    from bitopro_client.api.orders import cancel_order
    from bitopro_orders.message import Message
    from bitopro_orders.transport import Attempt
    from bitopro_orders.transport.http1 import request_bytes

    nonce, clock, route = NonceSource(), client.timing.monotonic, client._routed()  # noqa: SLF001
    signer = client._sender._signer  # noqa: SLF001

    def written(order_id: str) -> tuple[Any, Attempt, bytes]:
        call = cancel_order.call(PAIR, order_id)
        message = Message.of(call, route)
        signed = signer.headers(message.method, message.body, nonce())
        headers = {**message.headers, **signed}
        data = request_bytes(message.method, message.target, headers, message.body)
        return call, Attempt(clock() + 10, clock, 10), data

    return written


def _url(base_url: str, order_id: str) -> str:
    return f"{base_url}/orders/{PAIR}/{order_id}"


def signed() -> dict[str, str]:
    """Return the headers of a request that carries a nonce."""
    text = json.dumps({"identity": IDENTITY, "nonce": time.time_ns() // 1_000_000})
    payload = base64.b64encode(text.encode())
    return {
        "X-BITOPRO-APIKEY": API_KEY,
        "X-BITOPRO-PAYLOAD": payload.decode(),
        "X-BITOPRO-SIGNATURE": hmac.digest(API_SECRET.encode(), payload, hashlib.sha384).hex(),
    }
