"""A task that is cancelled, or runs out of time, says whether a cancel is out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import Order
from bitopro_orders import (
    CancelOutcome,
    OrdersClient,
    OutcomeUnknownError,
    State,
    cancel_and_confirm_async,
    resolve_async,
)
from bitopro_sandbox import OrderStatus, Sandbox, Settings, faults, serve
from tests.outcomes.support import ORDER, PARTLY_FILLED, client_of, requests_for


class NoNews:
    """A history in which nothing happens."""

    async def final(self, pair: str, order_id: str) -> Order:
        await asyncio.Event().wait()
        raise AssertionError


@asynccontextmanager
async def patient_client(sandbox: Sandbox) -> AsyncIterator[OrdersClient]:
    async with client_of(sandbox, timeout=10, policy=None) as client:
        yield client


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the journal has no event
            await asyncio.sleep(0.002)


@pytest.fixture(params=[None, NoNews()], ids=["reading", "stream"])
def history(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def client(bitopro_sandbox: Sandbox) -> AsyncIterator[OrdersClient]:
    async with patient_client(bitopro_sandbox) as client:
        yield client


def confirming(
    client: OrdersClient, history: Any = None, order: tuple[str, str] = ORDER
) -> asyncio.Task[CancelOutcome]:
    return asyncio.create_task(cancel_and_confirm_async(client, *order, history=history))


async def test_a_task_cancelled_before_it_began_sends_nothing(
    bitopro_sandbox: Sandbox, client: OrdersClient, history: Any
) -> None:
    task = confirming(client, history)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(bitopro_sandbox.journal) == 0


async def test_a_task_cancelled_while_it_waits_for_its_turn_sends_nothing(
    bitopro_sandbox: Sandbox, client: OrdersClient, history: Any
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=200), method="DELETE")
    first = asyncio.create_task(cancel_order.asyncio(*PARTLY_FILLED, client=client))
    await asyncio.sleep(0.01)
    second = confirming(client, history)
    await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await first
    assert requests_for(bitopro_sandbox, ORDER[1]) == []


async def test_a_task_cancelled_after_the_request_left_ends_as_unknown_and_is_settled(
    bitopro_sandbox: Sandbox, client: OrdersClient, history: Any
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=5000), method="DELETE")
    task = confirming(client, history)
    await until(lambda: len(bitopro_sandbox.journal))
    task.cancel()
    with pytest.raises(OutcomeUnknownError, match="the task was cancelled") as caught:
        async with asyncio.timeout(1):
            await task
    assert caught.value.attempts == 1
    assert [entry.method for entry in bitopro_sandbox.journal] == ["DELETE"]
    outcome = await resolve_async(client, caught.value)
    assert (outcome.state, outcome.attempts) == (State.CANCELLED, 1)


async def test_a_task_cancelled_while_an_accepted_cancel_is_read_ends_as_unknown(
    history: Any,
) -> None:
    with serve(Settings(cancel_takes_ms=400)) as sandbox:
        async with patient_client(sandbox) as client:
            task = confirming(client, history)
            await until(lambda: len(requests_for(sandbox, ORDER[1], "GET")) > 1)
            task.cancel()
            with pytest.raises(OutcomeUnknownError, match="the task was cancelled") as caught:
                await task
            assert sandbox.book.get(ORDER[1]).status is OrderStatus.OPEN
            assert caught.value.last_seen is not None
            assert caught.value.last_seen.status == 0
            assert dict(caught.value.arguments) == {"pair": ORDER[0], "orderId": ORDER[1]}
            assert (caught.value.attempts, caught.value.operation) == (1, "cancelOrder")
            assert (await resolve_async(client, caught.value)).state is State.CANCELLED


async def test_a_task_cancelled_after_nothing_but_refusals_is_cancelled(
    bitopro_sandbox: Sandbox, client: OrdersClient, history: Any
) -> None:
    bitopro_sandbox.faults.add(faults.status(400), method="DELETE")
    bitopro_sandbox.faults.add(faults.delay(before_ms=5000), method="GET")
    task = confirming(client, history)
    await until(lambda: len(bitopro_sandbox.journal) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bitopro_sandbox.book.get(ORDER[1]).status is OrderStatus.OPEN


async def with_timeout(client: OrdersClient, history: Any) -> CancelOutcome:
    async with asyncio.timeout(0.15):
        return await cancel_and_confirm_async(client, *ORDER, history=history)


async def with_wait_for(client: OrdersClient, history: Any) -> CancelOutcome:
    return await asyncio.wait_for(cancel_and_confirm_async(client, *ORDER, history=history), 0.15)


@pytest.mark.parametrize("limited", [with_timeout, with_wait_for])
@pytest.mark.parametrize("silent", [True, False])
async def test_a_limit_around_the_call_holds_and_does_not_hide_the_request(
    limited: Callable[..., Any], silent: bool, history: Any
) -> None:
    with serve(Settings(cancel_takes_ms=60_000)) as sandbox:
        if silent:
            sandbox.faults.add(faults.delay(after_ms=5000), method="DELETE")
        async with patient_client(sandbox) as client:
            began = asyncio.get_running_loop().time()
            with pytest.raises(OutcomeUnknownError) as caught:
                await limited(client, history)
            assert asyncio.get_running_loop().time() - began < 0.6
    assert caught.value.attempts == 1


async def test_a_limit_that_passes_before_anything_left_is_a_timeout(
    bitopro_sandbox: Sandbox, client: OrdersClient, history: Any
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=100), method="DELETE")
    first = asyncio.create_task(cancel_order.asyncio(*PARTLY_FILLED, client=client))
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await cancel_and_confirm_async(client, *ORDER, history=history)
    await first
    assert requests_for(bitopro_sandbox, ORDER[1]) == []


async def test_a_group_that_fails_reports_the_request_that_is_out(
    bitopro_sandbox: Sandbox, client: OrdersClient, history: Any
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=5000), method="DELETE")

    async def fail() -> None:
        await until(lambda: len(bitopro_sandbox.journal))
        raise KeyError("sibling")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(cancel_and_confirm_async(client, *ORDER, history=history))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await both()
    assert {type(error) for error in caught.value.exceptions} == {OutcomeUnknownError, KeyError}


async def test_a_group_of_confirmations(bitopro_sandbox: Sandbox, client: OrdersClient) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(cancel_and_confirm_async(client, *order))
            for order in (ORDER, PARTLY_FILLED)
        ]
    assert [task.result().state for task in tasks] == [State.CANCELLED, State.PARTLY_FILLED]
