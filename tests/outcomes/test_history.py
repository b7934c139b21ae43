"""What the stream tells counts like a reading, and whichever comes first."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from bitopro_client.models import Order
from bitopro_orders import (
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    State,
    cancel_and_confirm_async,
    outcomes,
)
from bitopro_orders.outcomes import CancelOutcome
from bitopro_sandbox import Sandbox, faults
from tests.outcomes.support import ORDER, client_of, edited, order_in, requests_for


class Told:
    """A history that tells what a function returns."""

    def __init__(self, tell: Callable[[], Awaitable[Order]]) -> None:
        self._tell = tell
        self.ended = False

    async def final(self, pair: str, order_id: str) -> Order:
        assert (pair, order_id) == ORDER
        try:
            return await self._tell()
        finally:
            self.ended = True


async def confirm(sandbox: Sandbox, history: Told, seconds: float = 5) -> CancelOutcome:
    before = asyncio.all_tasks()
    try:
        async with client_of(sandbox, timeout=2, policy=None) as client:
            return await cancel_and_confirm_async(client, *ORDER, history=history, timeout=seconds)
    finally:
        assert asyncio.all_tasks() == before, "nothing is left behind"


def when_final(sandbox: Sandbox) -> Told:
    async def tell() -> Order:
        while sandbox.book.get(ORDER[1]).status.is_live:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        return order_in(sandbox, ORDER[1])

    return Told(tell)


async def test_the_stream_settles_a_cancel_whose_answer_does_not_come(
    bitopro_sandbox: Sandbox,
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=5000), method="DELETE")
    history = when_final(bitopro_sandbox)
    async with asyncio.timeout(1):
        outcome = await confirm(bitopro_sandbox, history)
    assert (outcome.state, outcome.seen_by) == (State.CANCELLED, "stream")
    assert outcome.attempts == len(bitopro_sandbox.journal) == 1, "the one under way counts"
    assert outcome.evidence == order_in(bitopro_sandbox, ORDER[1])


async def test_the_stream_settles_an_order_that_cannot_be_read(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.status(503), method="GET", times=1000)
    outcome = await confirm(bitopro_sandbox, when_final(bitopro_sandbox))
    assert (outcome.state, outcome.seen_by, outcome.attempts) == (State.CANCELLED, "stream", 1)


async def test_both_give_the_same_outcome(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.book.fill(ORDER[1], "0.02", "2799999.5")
    bitopro_sandbox.faults.add(faults.status(503), method="GET", times=1000)
    told = await confirm(bitopro_sandbox, when_final(bitopro_sandbox))
    bitopro_sandbox.faults.clear()
    history = Told(asyncio.Event().wait)  # type: ignore[arg-type] # it tells nothing
    read = await confirm(bitopro_sandbox, history)
    assert history.ended
    assert (told.seen_by, read.seen_by) == ("stream", "reading")
    assert evolve(told, seen_by="reading") == read
    assert (read.state, read.executed) == (State.PARTLY_FILLED, Decimal("0.02"))


async def test_an_order_that_the_stream_knows_as_final_needs_no_cancel(
    bitopro_sandbox: Sandbox,
) -> None:
    bitopro_sandbox.book.fill(ORDER[1])
    outcome = await confirm(bitopro_sandbox, when_final(bitopro_sandbox))
    assert outcome.state is State.FILLED
    assert outcome.attempts == len(requests_for(bitopro_sandbox, ORDER[1], "DELETE"))


@pytest.mark.parametrize("error", [OutcomeUnknownError("x"), ValueError("x"), RuntimeError("x")])
async def test_a_stream_that_fails_leaves_the_reading(
    bitopro_sandbox: Sandbox, error: Exception
) -> None:
    async def tell() -> Order:
        raise error

    outcome = await confirm(bitopro_sandbox, Told(tell))
    assert (outcome.state, outcome.seen_by) == (State.CANCELLED, "reading")


@pytest.mark.parametrize("status", [0, 1, -1, 5, "4"])
async def test_a_stream_that_tells_of_an_order_that_is_not_final_proves_nothing(
    bitopro_sandbox: Sandbox, status: int
) -> None:
    async def tell() -> Order:
        order = order_in(bitopro_sandbox, ORDER[1])
        order.status = status
        return order

    outcome = await confirm(bitopro_sandbox, Told(tell))
    assert (outcome.state, outcome.seen_by) == (State.CANCELLED, "reading")


async def test_the_stream_does_not_extend_the_deadline(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.status(503), times=1000)
    history = when_final(bitopro_sandbox)
    with pytest.raises(OutcomeUnknownError):
        async with asyncio.timeout(1):
            await confirm(bitopro_sandbox, history, seconds=0.2)
    assert history.ended


async def test_bad_arguments_and_a_dead_exchange_are_raised_as_without_a_stream(
    bitopro_sandbox: Sandbox,
) -> None:
    history = when_final(bitopro_sandbox)
    with pytest.raises(InvalidArgumentError):
        await confirm(bitopro_sandbox, history, seconds=float("nan"))
    async with client_of(bitopro_sandbox, base_url="http://127.0.0.1:1/v3") as client:
        with pytest.raises(NotSentError):
            await cancel_and_confirm_async(client, *ORDER, history=history)
    assert len(bitopro_sandbox.journal) == 0


async def untangled(before: set[asyncio.Task[Any]]) -> None:
    async with asyncio.timeout(5):
        while asyncio.all_tasks() != before:  # noqa: ASYNC110 - tasks end by themselves
            await asyncio.sleep(0.002)


async def test_a_request_that_is_let_in_ends_with_its_client(bitopro_sandbox: Sandbox) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=5000), method="DELETE")
    before = asyncio.all_tasks()
    async with client_of(bitopro_sandbox, timeout=10, policy=None) as client:
        history = when_final(bitopro_sandbox)
        outcome = await cancel_and_confirm_async(client, *ORDER, history=history)
        assert outcome.seen_by == "stream"
        assert len(asyncio.all_tasks() - before) >= 1, "its answer is let in"
        leaving = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - leaving < 1
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_closing_its_client_ends_it_too(bitopro_sandbox: Sandbox, elsewhere: bool) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=5000), method="DELETE")
    before = asyncio.all_tasks()
    client = client_of(bitopro_sandbox, timeout=10, policy=None)
    await cancel_and_confirm_async(client, *ORDER, history=when_final(bitopro_sandbox))
    if elsewhere:
        await asyncio.to_thread(client.close)
    else:
        client.close()
    began = asyncio.get_running_loop().time()
    await untangled(before)
    assert asyncio.get_running_loop().time() - began < 1


async def test_nothing_follows_the_request_that_is_let_in(
    bitopro_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "PATIENCE_SECONDS", 0)
    stale = evolve(edited(status=0), after_ms=100)
    bitopro_sandbox.faults.add(stale, method="GET", times=100)

    async def tell() -> Order:
        while not requests_for(bitopro_sandbox, ORDER[1], "GET"):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        return order_in(bitopro_sandbox, ORDER[1])

    before = asyncio.all_tasks()
    async with client_of(bitopro_sandbox, timeout=10, policy=None) as client:
        outcome = await cancel_and_confirm_async(client, *ORDER, history=Told(tell))
        await untangled(before)
    assert outcome.seen_by == "stream"
    assert [entry.method for entry in bitopro_sandbox.journal] == ["DELETE", "GET"]
