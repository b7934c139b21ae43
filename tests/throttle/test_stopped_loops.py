"""Tasks of a loop that was stopped, or closed with them in it, hold up nobody else."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import BitoProError, OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Sandbox, faults, serve
from tests.support import credentials_of
from tests.throttle.programs import ORDER_ID, PAIR, exchange, start, store

Tasks = list[asyncio.Task[CancelledOrder | None]]
#: Those in the stopped loop have more time than whoever comes after them.
PATIENT, DEADLINE = 30.0, 4.0


class Exchange:
    """The sandbox, and clients of one key for it."""

    def __init__(self, sandbox: Sandbox, shared: str | None, stack: ExitStack) -> None:
        self.sandbox, self.shared, self._stack = sandbox, shared, stack

    def client(self, seconds: float) -> OrdersClient:
        client = connect(
            credentials_of(self.sandbox),
            base_url=self.sandbox.base_url,
            shared=self.shared,
            policy=SendingPolicy(deadline_seconds=seconds),
        )
        return self._stack.enter_context(client)

    def arrivals(self) -> int:
        return len(self.sandbox.journal)


@pytest.fixture(params=["memory", "folder", "redis"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchange]:
    with serve(exchange()) as sandbox, store(request.param, tmp_path) as shared:
        with ExitStack() as stack:
            yield Exchange(sandbox, shared, stack)


def begin(loop: asyncio.AbstractEventLoop, world: Exchange, number: int) -> Tasks:
    """Let `number` tasks cancel in the loop, and stop it when the first of them is under way."""
    client = world.client(PATIENT)
    # Later than all the others want to leave: the second task and those after it wait.
    world.sandbox.faults.add(faults.delay(after_ms=400))
    call = cancel_order.asyncio
    tasks = [loop.create_task(call(PAIR, ORDER_ID, client=client)) for _ in range(number)]
    give_up = time.monotonic() + 10
    while not world.arrivals():
        assert time.monotonic() < give_up
        loop.run_until_complete(asyncio.sleep(0.001))
    return tasks


async def finished(tasks: Iterable[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def a_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that runs only when it is told to, and end with what is left in it."""
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(finished(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def cancels(world: Exchange, way: str, number: int) -> tuple[list[str], float]:
    """Cancel in turn from here; return what did not go well, and how long the longest took."""
    client, problems, longest = world.client(DEADLINE), list[str](), 0.0
    with asyncio.Runner() as runner:

        async def in_a_task() -> Any:
            return await cancel_order.asyncio(PAIR, ORDER_ID, client=client)

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
    return problems, longest


@pytest.mark.parametrize("way", ["sync", "async"])
def test_tasks_of_a_stopped_loop_block_nobody(world: Exchange, way: str) -> None:
    with a_loop() as loop:
        tasks = begin(loop, world, 4)
        before = world.arrivals()
        # The loop now does nothing at all; it is neither running nor closed.
        problems, longest = cancels(world, way, 10)
        assert problems == []
        assert longest < DEADLINE / 2
        assert world.arrivals() - before == 10
        assert not any(task.done() for task in tasks)


def test_tasks_of_a_stopped_loop_go_on_with_it(world: Exchange) -> None:
    with a_loop() as loop:
        tasks = begin(loop, world, 4)
        assert cancels(world, "sync", 3)[0] == []
        found = loop.run_until_complete(finished(tasks))
        assert [getattr(each, "order_id", each) for each in found] == [ORDER_ID] * 4
        assert cancels(world, "sync", 3)[0] == []


@pytest.mark.parametrize("way", ["sync", "async"])
def test_tasks_of_a_closed_loop_block_nobody(world: Exchange, way: str) -> None:
    # Later than all the others want to leave: the second task and those after it wait.
    world.sandbox.faults.add(faults.delay(after_ms=600))
    policy = {"deadline_seconds": DEADLINE}
    with start("lost_loops", world.sandbox, world.shared, way=way, policy=policy) as program:
        found = program.result()
    assert found["problems"] == []
    assert found["done"] < 4
    assert found["longest"] < DEADLINE / 2
    assert world.arrivals() >= 11
