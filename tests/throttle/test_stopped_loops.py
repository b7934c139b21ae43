"""Tasks of a loop that was stopped, or closed with them in it, hold up nobody else."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Sandbox, faults, serve
from tests.support import credentials_of
from tests.throttle.programs import ORDER_ID, PAIR, exchange, start, store

#: Those in the stopped loop have more time than whoever comes after them.
PATIENT, DEADLINE = 30.0, 4.0


class Exchange:
    """The sandbox, and clients of one key for it."""

    def __init__(self, sandbox: Sandbox, shared: str | None) -> None:
        self.sandbox, self.shared = sandbox, shared

    def client(self, seconds: float) -> OrdersClient:
        return connect(
            credentials_of(self.sandbox),
            base_url=self.sandbox.base_url,
            shared=self.shared,
            policy=SendingPolicy(deadline_seconds=seconds),
        )

    def arrivals(self) -> int:
        return len(self.sandbox.journal)


IN_BOTH_WAYS = pytest.mark.parametrize(
    ("world", "way"),
    [("memory", "sync"), ("memory", "async"), ("folder", "sync"), ("redis", "async")],
    indirect=["world"],
)


@pytest.fixture(params=["memory", "folder", "redis"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchange]:
    with serve(exchange()) as sandbox, store(request.param, tmp_path) as shared:
        yield Exchange(sandbox, shared)


async def finished(tasks: Iterable[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def closed(client: OrdersClient) -> None:
    async with client:
        pass


@contextmanager
def stopped_loop(
    world: Exchange, number: int
) -> Iterator[tuple[asyncio.AbstractEventLoop, list[asyncio.Task[Any]]]]:
    """Let `number` tasks cancel in a loop, and stop it when the first of them is under way."""
    # Later than all the others want to leave: the second task and those after it wait.
    world.sandbox.faults.add(faults.delay(after_ms=400))
    client, call = world.client(PATIENT), cancel_order.asyncio
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        tasks = [loop.create_task(call(PAIR, ORDER_ID, client=client)) for _ in range(number)]
        give_up = time.monotonic() + 10
        while not world.arrivals():
            assert time.monotonic() < give_up
            loop.run_until_complete(asyncio.sleep(0.001))
        try:
            yield loop, tasks
        finally:
            for task in tasks:
                task.cancel()
            loop.run_until_complete(finished(tasks))
            loop.run_until_complete(closed(client))


def cancels(world: Exchange, way: str, number: int) -> tuple[list[str], float]:
    """Cancel in turn from here; return what did not go well, and how long the longest took."""
    client, problems, longest = world.client(DEADLINE), list[str](), 0.0

    async def in_a_task() -> None:
        await cancel_order.asyncio(PAIR, ORDER_ID, client=client)

    with asyncio.Runner() as runner:
        for _ in range(number):
            began = time.monotonic()
            try:
                if way == "sync":
                    cancel_order.sync(PAIR, ORDER_ID, client=client)
                else:
                    runner.run(in_a_task())
            except BitoProError as error:
                problems.append(f"{type(error).__name__}: {error}")
            longest = max(longest, time.monotonic() - began)
            if problems:
                break
        runner.run(closed(client))
    return problems, longest


@IN_BOTH_WAYS
def test_tasks_of_a_stopped_loop_block_nobody(world: Exchange, way: str) -> None:
    with stopped_loop(world, 4) as (_, tasks):
        before = world.arrivals()
        # The loop now does nothing at all; it is neither running nor closed.
        problems, longest = cancels(world, way, 10)
        assert problems == []
        assert longest < DEADLINE / 2
        assert world.arrivals() - before == 10
        assert not any(task.done() for task in tasks)


def test_tasks_of_a_stopped_loop_go_on_with_it(world: Exchange) -> None:
    with stopped_loop(world, 4) as (loop, tasks):
        assert cancels(world, "sync", 3)[0] == []
        found = loop.run_until_complete(finished(tasks))
        assert [getattr(each, "order_id", each) for each in found] == [ORDER_ID] * 4
        assert cancels(world, "sync", 3)[0] == []


@IN_BOTH_WAYS
def test_tasks_of_a_closed_loop_block_nobody(world: Exchange, way: str) -> None:
    # Later than all the others want to leave: the second task and those after it wait.
    world.sandbox.faults.add(faults.delay(after_ms=300))
    policy = {"deadline_seconds": DEADLINE}
    with start("lost_loops", world.sandbox, world.shared, way=way, policy=policy) as program:
        found = program.result()
    assert found["problems"] == []
    assert found["done"] < 4
    assert found["longest"] < DEADLINE / 2
    assert world.arrivals() >= 10
