"""The order streams, as a WebSocket client sees them."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidStatus

from bitopro_sandbox import (
    Account,
    Fault,
    OrderStatus,
    Sandbox,
    Settings,
    StreamFault,
    faults,
    serve,
)

ACTIVE = "/v1/pub/auth/orders"
DONE = "/v1/pub/auth/orders/histories"
CANCELLED = "2959906694"
OTHER = "2959906695"
NO_TLS = False  # as `verify`: loading certificates takes longer than most of the tests
LOG = logging.getLogger("test_sandbox_stream.client")
LOG.setLevel(logging.CRITICAL)  # as a client's own log shows its headers
_numbers = itertools.count()


def signed(account: Account, nonce: int | None = None) -> dict[str, str]:
    if nonce is None:
        # Close to the clock and larger than the last, also when several are drawn in a millisecond.
        nonce = time.time_ns() // 1_000_000 + next(_numbers)
    payload = base64.b64encode(json.dumps({"nonce": nonce}).encode())
    signature = hmac.new(account.api_secret.encode(), payload, hashlib.sha384).hexdigest()
    return {
        "X-BITOPRO-APIKEY": account.api_key,
        "X-BITOPRO-PAYLOAD": payload.decode(),
        "X-BITOPRO-SIGNATURE": signature,
    }


def stream(
    sandbox: Sandbox,
    path: str = ACTIVE,
    headers: dict[str, str] | None = None,
    account: Account | None = None,
    **options: Any,
) -> connect:
    return connect(
        sandbox.stream_url + path,
        additional_headers=signed(account or sandbox.account) if headers is None else headers,
        proxy=None,
        logger=LOG,
        **{"ping_interval": None, "close_timeout": 0.1, **options},
    )


async def read(client: ClientConnection, seconds: float = 2) -> Any:
    async with asyncio.timeout(seconds):
        return json.loads(await client.recv())


async def ids(client: ClientConnection) -> list[str]:
    data = (await read(client))["data"]
    return [order["id"] for orders in data.values() for order in orders]


async def is_quiet(client: ClientConnection) -> bool:
    with suppress(TimeoutError):
        await read(client, 0.05)
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110 - it is another thread's
            await asyncio.sleep(0.005)


async def refusal(connecting: connect) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        await connecting
    response = caught.value.response
    assert response.body is not None
    assert "date" in response.headers
    return response.status_code, json.loads(response.body)["error"]


# What is pushed


async def test_first_the_live_orders_then_what_changes(bitopro_sandbox: Sandbox) -> None:
    book = bitopro_sandbox.book
    async with stream(bitopro_sandbox) as client:
        first = await read(client)
        assert list(first) == ["event", "eventID", "timestamp", "datetime", "data"]
        assert first["event"] == "ACTIVE_ORDERS"
        assert {
            pair: [order["id"] for order in found] for pair, found in first["data"].items()
        } == {
            "btc_usdt": ["SL-9014867155"],
            "eth_twd": ["2959906696"],
            "bito_eth": ["12234566"],
            "btc_twd": ["2959906695", "2959906694"],
        }
        assert first["data"]["btc_twd"][1] == book.get(CANCELLED).to_json()

        book.fill(CANCELLED, "0.01")
        book.cancel(CANCELLED)
        placed = book.place("SOL_USDT", "BUY", amount="1", price="1", client_id=7)
        book.place("SOL_USDT", "BUY", amount="1", price="1", status=OrderStatus.CANCELLED)
        partly, final, new = [await read(client) for _ in range(3)]
        assert [message["data"]["btc_twd"][0]["status"] for message in (partly, final)] == [1, 3]
        (order,) = new["data"]["sol_usdt"]
        assert (order["id"], order["clientID"]) == (placed.id, 7)
        assert "clientId" not in order
        numbers = [int(message["eventID"]) for message in (first, partly, final, new)]
        assert numbers == sorted(set(numbers))
        assert await is_quiet(client)


async def test_first_the_final_orders_then_those_that_become_so(bitopro_sandbox: Sandbox) -> None:
    async with stream(bitopro_sandbox, DONE) as client:
        first = await read(client)
        assert first["event"] == "RECENT_HISTORY_ORDERS"
        assert [order["id"] for order in first["data"]["btc_usdt"]] == ["2959906697"]
        bitopro_sandbox.book.fill(OTHER, "0.001")
        bitopro_sandbox.book.cancel(OTHER)
        assert (await read(client))["data"]["btc_twd"][0]["status"] == 3
        assert await is_quiet(client)


async def test_the_time_is_the_servers() -> None:
    at = 1_504_262_258_007
    with serve(Settings(clock=lambda: at)) as sandbox:
        async with stream(sandbox, headers=signed(sandbox.account, at)) as client:
            assert client.response is not None
            assert client.response.headers["date"] == "Fri, 01 Sep 2017 10:37:38 GMT"
            message = await read(client)
    assert (message["timestamp"], message["datetime"]) == (at, "2017-09-01T10:37:38.007Z")
    assert datetime.fromisoformat(message["datetime"]).timestamp() * 1000 == at


@pytest.mark.parametrize("path", [ACTIVE, DONE])
async def test_a_cancel_is_pushed(bitopro_sandbox: Sandbox, path: str) -> None:
    async with stream(bitopro_sandbox, path) as client, httpx.AsyncClient(verify=NO_TLS) as rest:
        await read(client)
        url = f"{bitopro_sandbox.base_url}/orders/BTC_TWD/{CANCELLED}"
        assert (await rest.delete(url, headers=signed(bitopro_sandbox.account))).is_success
        (order,) = (await read(client))["data"]["btc_twd"]
        assert (order["id"], order["status"]) == (CANCELLED, 4)


async def test_a_message_may_come_before_the_answer(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=200), method="DELETE")
    async with stream(bitopro_sandbox, DONE) as client, httpx.AsyncClient(verify=NO_TLS) as rest:
        await read(client)
        url = f"{bitopro_sandbox.base_url}/orders/BTC_TWD/{CANCELLED}"
        answer = asyncio.create_task(rest.delete(url, headers=signed(bitopro_sandbox.account)))
        assert await ids(client) == [CANCELLED]
        assert not answer.done()
        assert (await answer).is_success


async def test_no_change_is_lost_or_old_while_a_client_connects(bitopro_sandbox: Sandbox) -> None:
    book = bitopro_sandbox.book
    order = book.place("BTC_TWD", "BUY", amount="1000000", price="1")
    enough = threading.Event()

    def fill() -> None:
        while not enough.wait(0.0001):
            book.fill(order.id, "1")

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        for _ in range(5):
            async with stream(bitopro_sandbox) as client:
                amounts = []
                for _ in range(50):
                    (changed, *_) = (await read(client))["data"]["btc_twd"]
                    amounts.append(int(changed["executedAmount"]))
            assert amounts == list(range(amounts[0], amounts[0] + 50))
    finally:
        enough.set()
        filling.join()


async def test_what_a_client_sends_is_ignored(bitopro_sandbox: Sandbox) -> None:
    async with stream(bitopro_sandbox) as client:
        await client.send("hello")
        await client.send(b"hello")
        await read(client)
        bitopro_sandbox.book.cancel(OTHER)
        assert await ids(client) == [OTHER]


# The handshake


async def test_a_handshake_is_checked_as_a_get(bitopro_sandbox: Sandbox) -> None:
    account = bitopro_sandbox.account
    headers = signed(account)
    async with stream(bitopro_sandbox, headers=headers):
        pass
    wrong = signed(account) | {"X-BITOPRO-SIGNATURE": "0" * 96}
    old = signed(account, 1_504_262_258_000)
    assert await refusal(stream(bitopro_sandbox, headers={})) == (
        401,
        "Missing header X-BITOPRO-APIKEY",
    )
    assert await refusal(stream(bitopro_sandbox, headers=wrong)) == (401, "Invalid Signature")
    for late in (headers, old):
        status, error = await refusal(stream(bitopro_sandbox, headers=late))
        assert (status, error[:13]) == (409, "Invalid nonce")
    assert await refusal(stream(bitopro_sandbox, "/v1/pub/auth")) == (404, "Not Found")
    await until(lambda: bitopro_sandbox.stream_count == 0)


async def test_a_stream_needs_the_permission_to_read() -> None:
    trader = Account("trader", permissions=frozenset({"trade"}))
    with serve(Settings(accounts=(trader,))) as sandbox:
        assert (await refusal(stream(sandbox)))[0] == 403


async def test_a_stream_is_not_to_be_had_over_http(bitopro_sandbox: Sandbox) -> None:
    async with httpx.AsyncClient(verify=NO_TLS) as rest:
        url = bitopro_sandbox.stream_url.replace("ws", "http", 1) + ACTIVE
        answer = await rest.get(url, headers=signed(bitopro_sandbox.account))
        assert answer.status_code == 404


async def test_handshakes_are_in_the_journal(bitopro_sandbox: Sandbox) -> None:
    headers = signed(bitopro_sandbox.account)
    async with stream(bitopro_sandbox, DONE + "?a=%20", headers=headers):
        pass
    await refusal(stream(bitopro_sandbox, headers=headers))
    first, second = bitopro_sandbox.journal
    assert (first.method, first.path, first.query) == ("GET", "/ws" + DONE, "a=%20")
    assert (first.status, first.processed) == (101, True)
    assert (second.status, second.processed) == (409, False)
    assert first.triple_fingerprint == second.triple_fingerprint is not None
    assert "x-bitopro-payload" in first.header_names
    assert (first.http_connection, second.http_connection) == (1, 2)


@pytest.mark.parametrize(
    ("fault", "expected", "nonce_spent"),
    [
        (faults.status(503), InvalidStatus, False),
        (faults.status(520, html=True, processed=True), InvalidStatus, True),
        (faults.html(), InvalidStatus, True),
        (faults.drop(), InvalidMessage, False),
        (faults.drop_answer(reset=True), (InvalidMessage, ConnectionResetError), True),
        (faults.delay(before_ms=200), TimeoutError, True),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
async def test_refused_handshakes(
    bitopro_sandbox: Sandbox, fault: Fault, expected: Any, nonce_spent: bool
) -> None:
    bitopro_sandbox.faults.add(fault, event="ACTIVE_ORDERS")
    async with stream(bitopro_sandbox, DONE) as client:
        await read(client)
    headers = signed(bitopro_sandbox.account)
    with pytest.raises(expected):
        await stream(bitopro_sandbox, headers=headers, open_timeout=0.1)
    assert bitopro_sandbox.journal[-1].fault == fault.name
    await until(lambda: bitopro_sandbox.journal[-1].processed is nonce_spent)


async def test_faults_of_requests_spare_handshakes(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.status(500))
    async with stream(bitopro_sandbox) as client:
        await read(client)
    bitopro_sandbox.faults.add(faults.status(501), method="STREAM")
    assert (await refusal(stream(bitopro_sandbox)))[0] == 501
    assert len(bitopro_sandbox.faults) == 1


# Faults of messages


async def changes(sandbox: Sandbox, client: ClientConnection, fault: StreamFault) -> None:
    """Read the first message, then change two orders, the first under a fault."""
    await read(client)
    sandbox.faults.add(fault)
    sandbox.book.cancel(CANCELLED)
    sandbox.book.cancel(OTHER)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_stream_is_dropped(bitopro_sandbox: Sandbox, reset: bool) -> None:
    async with stream(bitopro_sandbox) as client:
        await changes(bitopro_sandbox, client, faults.drop_stream(reset=reset))
        with pytest.raises(ConnectionClosedError) as caught:
            await read(client)
        assert caught.value.rcvd is None
        assert isinstance(caught.value.__cause__, ConnectionResetError) is reset
    await until(lambda: bitopro_sandbox.stream_count == 0)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.skip_message(), [OTHER]),
        (faults.repeat_message(), [CANCELLED, CANCELLED, OTHER]),
        (faults.late_message(50), [OTHER, CANCELLED]),
    ],
    ids=lambda value: value.name if isinstance(value, StreamFault) else None,
)
async def test_messages_are_lost_repeated_and_late(
    bitopro_sandbox: Sandbox, fault: StreamFault, expected: list[str]
) -> None:
    async with stream(bitopro_sandbox) as client:
        await changes(bitopro_sandbox, client, fault)
        messages = [await read(client) for _ in expected]
        assert [message["data"]["btc_twd"][0]["id"] for message in messages] == expected
        assert len({message["eventID"] for message in messages}) == len(set(expected))
        assert await is_quiet(client)


async def test_messages_are_malformed(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.malformed_message("not_json"))
    bitopro_sandbox.faults.add(faults.malformed_message("truncated"))
    bitopro_sandbox.faults.add(faults.malformed_message("binary"))
    bitopro_sandbox.faults.add(faults.malformed_message("no_data"))
    bitopro_sandbox.faults.add(faults.malformed_message("wrong_types"))
    async with stream(bitopro_sandbox) as client:
        for amount in ("0.001",) * 4:
            bitopro_sandbox.book.fill(OTHER, amount)
        assert await client.recv() == "Bad Gateway"
        truncated = await client.recv()
        assert isinstance(truncated, str)
        assert truncated.startswith('{"event":"ACTIVE_ORDERS","eventID":')
        with pytest.raises(json.JSONDecodeError):
            json.loads(truncated)
        binary = await client.recv()
        assert isinstance(binary, bytes)
        assert json.loads(binary)["data"]["btc_twd"][0]["id"] == OTHER
        assert list(await read(client)) == ["event", "eventID", "timestamp", "datetime"]
        assert (await read(client))["data"]["btc_twd"][0]["status"] == [1]


@pytest.mark.parametrize("pongs", [True, False])
async def test_a_stream_falls_silent(pongs: bool) -> None:
    with serve(Settings(ping_interval_ms=20, ping_timeout_ms=20)) as sandbox:
        async with stream(sandbox) as client:
            await changes(sandbox, client, faults.silence(pongs=pongs))
            sandbox.faults.add(faults.skip_message(), method="STREAM")
            assert await is_quiet(client)
            answered = asyncio.ensure_future(await client.ping())
            await asyncio.sleep(0.05)
            assert answered.done() is pongs
            answered.cancel()
            assert sandbox.stream_count == len(sandbox.faults) == 1


async def test_faults_choose_their_stream(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.skip_message(), event="RECENT_HISTORY_ORDERS", times=1)
    async with stream(bitopro_sandbox) as active, stream(bitopro_sandbox, DONE) as done:
        await read(active)
        assert await is_quiet(done)
        bitopro_sandbox.book.cancel(OTHER)
        assert await ids(active) == await ids(done) == [OTHER]


async def test_chances_are_repeatable(bitopro_sandbox: Sandbox) -> None:
    async def received(seed: int) -> list[str]:
        bitopro_sandbox.faults.clear()
        async with stream(bitopro_sandbox) as client:
            await read(client)
            bitopro_sandbox.faults.add(faults.skip_message(), probability=0.5, seed=seed)
            for _ in range(20):
                bitopro_sandbox.book.fill("12234566", "0.001")
            await asyncio.sleep(0.05)  # while the server draws its chances
            before = bitopro_sandbox.book.get("12234566").executed_amount
            bitopro_sandbox.faults.clear()
            bitopro_sandbox.book.cancel(
                bitopro_sandbox.book.place("A_B", "BUY", amount="1", price="1").id
            )
            amounts = []
            while "a_b" not in (data := (await read(client))["data"]):
                amounts.append(before - type(before)(data["bito_eth"][0]["executedAmount"]))
            return [str(amount) for amount in amounts]

    first = await received(7)
    assert first == await received(7) != await received(8)
    assert 3 < len(first) < 17


# Pings, closing, secrets


async def test_pings_and_the_end_of_a_client_that_does_not_answer() -> None:
    with serve(Settings(ping_interval_ms=30, ping_timeout_ms=60)) as sandbox:
        async with stream(sandbox) as client:
            await read(client)
            await asyncio.sleep(0.2)
            assert sandbox.stream_count == 1
            client.transport.pause_reading()
            await until(lambda: sandbox.stream_count == 0)


def test_the_documented_pings() -> None:
    settings = Settings()
    assert (settings.ping_interval_ms, settings.ping_timeout_ms) == (20_000, 5_000)


async def test_streams_are_closed_and_clients_come_back(bitopro_sandbox: Sandbox) -> None:
    async with stream(bitopro_sandbox) as first, stream(bitopro_sandbox, DONE) as second:
        assert bitopro_sandbox.stream_count == 2
        for client in (first, second):
            await read(client)
        bitopro_sandbox.close_streams()
        bitopro_sandbox.book.cancel(CANCELLED)  # too late to be pushed
        assert bitopro_sandbox.stream_count == 0
        for client in (first, second):
            with pytest.raises(ConnectionClosedError):
                await read(client)
    bitopro_sandbox.book.cancel(OTHER)
    async with stream(bitopro_sandbox) as client:
        assert OTHER not in await ids(client)
        assert bitopro_sandbox.stream_count == 1


async def test_a_stop_does_not_wait_for_streams(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with serve() as sandbox:
        sandbox.faults.add(faults.late_message(60_000))
        sandbox.faults.add(faults.silence(pongs=False))
        sandbox.faults.add(faults.delay(before_ms=60_000), method="STREAM")
        with pytest.raises(TimeoutError):
            await stream(sandbox, open_timeout=0.05)
        clients = [await stream(sandbox, path) for path in (ACTIVE, DONE, ACTIVE)]
        start = time.monotonic()
    assert time.monotonic() - start < 0.5
    assert sandbox.stream_count == 0
    sandbox.book.cancel(OTHER)  # of which nobody is told any more
    for client in clients:
        await client.close()
    assert (capfd.readouterr().err, caplog.text) == ("", "")


async def test_no_secret_is_ever_shown(
    bitopro_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("uvicorn.error", "websockets.server", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    headers = signed(bitopro_sandbox.account)
    async with stream(bitopro_sandbox, headers=headers) as client:
        await read(client)
        client.transport.write(b"\xff\xff no frame")
        with pytest.raises(ConnectionClosedError):
            await read(client)
    await refusal(stream(bitopro_sandbox, headers=headers))
    shown = f"{bitopro_sandbox!r} {bitopro_sandbox.journal!r} {caplog.text}"
    for secret in (bitopro_sandbox.account.api_secret, *headers.values()):
        assert secret not in shown
    assert all(record.levelno < logging.WARNING for record in caplog.records)
