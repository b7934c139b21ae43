"""One client, one pool: whatever threads and tasks do."""

import asyncio
import gc
import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Sandbox, faults
from tests.support import TIMELESS, credentials_of

FREE = SendingPolicy(limit_share=None)


def test_threads_that_start_cold_share_one_pool(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient]
) -> None:
    start = threading.Barrier(16)

    def read(client: OrdersClient) -> None:
        start.wait()
        get_order.sync("BTC_TWD", "2959906694", client=client)

    with make_client(timing=TIMELESS) as client:
        threads = [threading.Thread(target=read, args=(client,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # One request of the key is under way at a time, so one connection is all that it takes.
    assert {entry.http_connection for entry in bitopro_sandbox.journal} == {1}
    assert len(bitopro_sandbox.journal) == 16


async def test_tasks_that_start_cold_share_one_pool(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient]
) -> None:
    async with asyncio.timeout(30), make_client(timing=TIMELESS) as client:
        calls = [get_order.asyncio("BTC_TWD", "2959906694", client=client) for _ in range(50)]
        await asyncio.gather(*calls)
    assert {entry.http_connection for entry in bitopro_sandbox.journal} == {1}


def test_memory_stays_flat(bitopro_sandbox: Sandbox) -> None:
    credentials, base_url = credentials_of(bitopro_sandbox), bitopro_sandbox.base_url
    bitopro_sandbox.faults.add(  # a refusal that leaves nothing behind in the book
        faults.status(422), probability=1.0
    )
    with connect(credentials, base_url=base_url, policy=FREE) as client:

        def cancel(times: int) -> None:
            for _ in range(times):
                with pytest.raises(Exception, match="422"):
                    cancel_order.sync("BTC_TWD", "2959906694", client=client)

        cancel(100)
        tracemalloc.start()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        cancel(200)
        bitopro_sandbox.journal.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 100_000


def test_a_loop_closed_with_a_waiting_task_spoils_nobody_elses_cancel(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient]
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=300), method="DELETE")
    cancelled: list[str] = []
    with make_client() as client:

        def cancel() -> None:
            answer = cancel_order.sync("BTC_TWD", "2959906694", client=client)
            cancelled.append(answer.order_id)

        thread = threading.Thread(target=cancel)
        thread.start()
        while not len(bitopro_sandbox.journal):  # so that the task finds it under way
            time.sleep(0.001)
        loop = asyncio.new_event_loop()
        waiting = get_order.asyncio("BTC_TWD", "2959906695", client=client)
        task = loop.create_task(waiting)
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it is what is tested
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()
        thread.join()
        assert cancelled == ["2959906694"]
        assert get_order.sync("BTC_TWD", "2959906695", client=client).id == "2959906695"
        waiting.close()
