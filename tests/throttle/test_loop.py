"""The event loop goes on whatever the throttle waits for: a slow Redis, a lock, an executor."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Sandbox, Settings, serve
from tests.support import credentials_of
from tests.throttle.member import ORDER_ID, PAIR
from tests.throttle.stores import locked, redis_server, slow_redis

BIG = 100_000
EXCHANGE = Settings(requests_per_minute=BIG, general_requests_per_minute=BIG, second_cancel=200)
#: How long the loop may stand still, in seconds, beyond what a thread beside it stands still: the
#: machine may be busy with something else.
LONGEST_GAP = 0.25
TASKS = 4


class Gaps:
    """How long somebody stood still at most, in seconds."""

    longest = 0.0


@asynccontextmanager
async def measured() -> AsyncIterator[Gaps]:
    """Measure how long the loop stands still meanwhile."""
    gaps, beside, is_over = Gaps(), Gaps(), threading.Event()

    def tick_beside() -> None:
        before = time.monotonic()
        while not is_over.wait(0.01):
            now = time.monotonic()
            beside.longest, before = max(beside.longest, now - before - 0.01), now

    async def tick() -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            gaps.longest, before = max(gaps.longest, now - before - 0.01), now

    thread, ticker = threading.Thread(target=tick_beside), asyncio.create_task(tick())
    thread.start()
    await asyncio.sleep(0)
    try:
        yield gaps
        await asyncio.sleep(0.02)  # the last gap ends with a tick
    finally:
        ticker.cancel()
        is_over.set()
        thread.join()
    gaps.longest -= beside.longest


def client_of(
    sandbox: Sandbox, shared: str | None, seconds: float, base_url: str | None = None
) -> OrdersClient:
    return connect(
        credentials_of(sandbox),
        base_url=base_url or sandbox.base_url,
        shared=shared,
        policy=SendingPolicy(deadline_seconds=seconds),
    )


async def cancel(client: OrdersClient) -> None:
    await cancel_order.asyncio(PAIR, ORDER_ID, client=client)


async def test_the_loop_goes_on_while_redis_answers_slowly(tmp_path: Path) -> None:
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as redis:
        with slow_redis(redis, 0.15) as url:
            async with client_of(sandbox, url, 20) as client, measured() as gaps:
                await asyncio.gather(*(cancel(client) for _ in range(TASKS)))
        assert [entry.status for entry in sandbox.journal] == [200] * TASKS
        assert gaps.longest < LONGEST_GAP


async def test_the_loop_goes_on_while_another_process_holds_the_files(tmp_path: Path) -> None:
    async def keep_cancelling(client: OrdersClient, until: float) -> int:
        done = 0
        while time.monotonic() < until:
            await cancel(client)
            await asyncio.sleep(0.05)
            done += 1
        return done

    with serve(EXCHANGE) as sandbox:
        async with client_of(sandbox, str(tmp_path), 10) as client:
            await cancel(client)
            with locked(tmp_path, hold=1, pause=1):
                async with measured() as gaps:
                    until = time.monotonic() + 2.5
                    done = await asyncio.gather(
                        *(keep_cancelling(client, until) for _ in range(TASKS))
                    )
        # Whatever was begun has ended well.
        assert min(done) > 0
        assert [entry.status for entry in sandbox.journal] == [200] * (1 + sum(done))
        assert gaps.longest < LONGEST_GAP


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("localhost", "memory"),
        ("127.0.0.1", "folder"),
        ("127.0.0.1", "redis"),
        ("localhost", "redis"),
    ],
)
async def test_a_call_needs_no_place_in_the_loops_executor(
    host: str, kind: str, tmp_path: Path
) -> None:
    with serve(EXCHANGE) as sandbox, ExitStack() as stack:
        shared = str(tmp_path / "shared") if kind == "folder" else None
        if kind == "redis":
            shared = stack.enter_context(redis_server(tmp_path)).url
        port = urlsplit(sandbox.base_url).port
        base_url = f"http://{host}:{port}/v3"
        free = threading.Event()
        stack.callback(free.set)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocker = loop.run_in_executor(None, free.wait, 5)
        async with client_of(sandbox, shared, 2, base_url) as client, measured() as gaps:
            started = time.monotonic()
            # The error, if there is one: how long it took is the first question.
            [error] = await asyncio.gather(cancel(client), return_exceptions=True)
            elapsed = time.monotonic() - started
        free.set()
        await blocker
        assert elapsed < 1.5, error
        assert error is None
        assert gaps.longest < LONGEST_GAP
        assert [entry.status for entry in sandbox.journal] == [200]
