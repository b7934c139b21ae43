"""The stream against the sandbox, with orders that change by REST calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bitopro_auth import NonceSource
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.models import Order
from bitopro_orders import NotSentError, OrdersClient, PermissionDeniedError, Timing, connect
from bitopro_orders.stream import OrderHistory, order_history
from bitopro_sandbox import Sandbox, Settings, StreamFault, faults, serve
from tests.support import credentials_of

ORDER = ("BTC_TWD", "2959906694")


@asynccontextmanager
async def history_of(sandbox: Sandbox, **options: Any) -> AsyncIterator[OrderHistory]:
    options = {"first_backoff_seconds": 0.02, "nonce": NonceSource(), **options}
    credentials = credentials_of(sandbox)
    async with connect(credentials, base_url=sandbox.base_url) as client:
        async with order_history(
            credentials, stream_url=sandbox.stream_url, client=client, **options
        ) as history:
            yield history


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def handshakes(sandbox: Sandbox) -> int:
    return sum("/ws/" in entry.path and entry.status == 101 for entry in sandbox.journal)


async def cancelled(sandbox: Sandbox, history: OrderHistory) -> Order:
    async with asyncio.timeout(5):
        async with connect(credentials_of(sandbox), base_url=sandbox.base_url) as client:
            await cancel_order.asyncio(*ORDER, client=client)
        return await history.final(*ORDER)


async def test_a_cancel_is_seen(bitopro_sandbox: Sandbox) -> None:
    async with history_of(bitopro_sandbox, snapshot=False) as history:
        order = await cancelled(bitopro_sandbox, history)
        assert (order.id, order.status, await anext(history)) == (ORDER[1], 4, order)
        assert history.malformed == 0


@pytest.mark.parametrize(
    "fault",
    [faults.skip_message(), faults.drop_stream(), faults.drop_stream(reset=True), faults.silence(),
     faults.silence(pongs=False), faults.malformed_message("not_json")],
    ids=lambda fault: fault.name,
)  # fmt: skip
async def test_a_cancel_is_seen_whatever_becomes_of_its_message(fault: StreamFault) -> None:
    with serve(Settings(ping_interval_ms=50)) as sandbox:
        async with history_of(sandbox, silence_seconds=0.2) as history:
            await anext(history)  # the snapshot has come
            sandbox.faults.add(fault, event="RECENT_HISTORY_ORDERS")
            lost = fault.name == "skip_message"
            waiting = asyncio.create_task(cancelled(sandbox, history))
            if lost:
                async with asyncio.timeout(5):
                    while sandbox.book.get(ORDER[1]).status != 4:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                assert not waiting.done()
                sandbox.close_streams()
            assert (await waiting).status == 4


async def test_repeats_are_seen_once(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.repeat_message(), times=10, event="RECENT_HISTORY_ORDERS")
    async with history_of(bitopro_sandbox) as history:
        await cancelled(bitopro_sandbox, history)
        bitopro_sandbox.close_streams()
        await until(lambda: history.connected and handshakes(bitopro_sandbox) == 2)
        await asyncio.sleep(0.05)  # what a connection begins with has come
        await history.aclose()
        ids = [order.id for order in history._waiting]
    assert ORDER[1] in ids
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("status", [409, 500, 503])
async def test_a_refused_handshake_is_tried_again(bitopro_sandbox: Sandbox, status: int) -> None:
    bitopro_sandbox.faults.add(faults.status(status), times=2, method="STREAM")
    async with history_of(bitopro_sandbox, snapshot=False) as history:
        assert (await cancelled(bitopro_sandbox, history)).status == 4


async def test_after_a_refused_handshake_all_who_share_the_limit_wait(
    bitopro_sandbox: Sandbox,
) -> None:
    refusal = faults.status(429, headers={"Retry-After": "60"})
    bitopro_sandbox.faults.add(refusal, method="STREAM")
    async with history_of(bitopro_sandbox) as history:
        assert not history.connected
        async with connect(
            credentials_of(bitopro_sandbox), base_url=bitopro_sandbox.base_url
        ) as client:
            with pytest.raises(NotSentError, match=r"the limit has room again in [56]\d\.\d s"):
                await get_order.asyncio(*ORDER, client=client)
            await cancel_order.asyncio(*ORDER, client=client)


async def test_a_handshake_without_permission_is_raised(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.status(403), method="STREAM")
    with pytest.raises(PermissionDeniedError):
        async with history_of(bitopro_sandbox):
            pytest.fail("entered")


def test_a_history_without_a_client_knows_the_nonces_of_this_process_for_its_key(
    bitopro_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BITOPRO_BASE_URL", "BITOPRO_STREAM_URL"):
        monkeypatch.delenv(name, raising=False)
    credentials, timing = credentials_of(bitopro_sandbox), Timing()

    def throttle_of(client: OrdersClient | None) -> object:
        assert client is not None
        return client._sender.throttle

    beside = order_history(credentials, stream_url=bitopro_sandbox.stream_url, timing=timing)
    here = connect(credentials, base_url=bitopro_sandbox.base_url, timing=timing)
    assert throttle_of(beside._ours) is throttle_of(here)
    exchange = connect(credentials, timing=timing)
    assert throttle_of(order_history(credentials, timing=timing)._ours) is throttle_of(exchange)
    monkeypatch.setenv("BITOPRO_BASE_URL", bitopro_sandbox.base_url)
    monkeypatch.setenv("BITOPRO_STREAM_URL", bitopro_sandbox.stream_url)
    assert throttle_of(order_history(credentials, timing=timing)._ours) is throttle_of(here)
