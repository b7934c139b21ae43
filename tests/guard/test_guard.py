"""The guard inside a bot: silent while it is beaten, and thorough when it fires."""

import asyncio
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.models import Order
from bitopro_orders import (
    AuthenticationError,
    Book,
    Guard,
    GuardFiredError,
    InvalidArgumentError,
    Journal,
    Scope,
    State,
    guard,
)
from bitopro_sandbox import Sandbox, faults
from tests.guard.support import DEMO, Clock, guarded, live, standing_client
from tests.many.support import until, until_async
from tests.support import ROOT


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(sandbox: Sandbox, clock: Clock) -> Iterator[Any]:
    """Return what makes a guard of the sandbox's account that fires after 30 seconds."""
    with standing_client(sandbox, clock) as client:

        def made(scope: Scope | None = None, **options: Any) -> Guard:
            return guard(client, scope or Scope(), **{"after": 30, **options})

        yield made


def test_nothing_is_sent_while_it_is_beaten(
    mode: str, make: Any, sandbox: Sandbox, clock: Clock
) -> None:
    def body(armed: Guard) -> None:
        for _ in range(20):
            clock.turn(29)
            armed.beat()

    armed = make()
    guarded(mode, armed, body)
    assert armed.reason is None
    assert not list(sandbox.journal)
    assert live(sandbox) == DEMO
    with pytest.raises(RuntimeError, match="for the guard's block"):
        armed.beat()


def test_silence_cancels_while_the_bot_hangs(
    mode: str, make: Any, sandbox: Sandbox, clock: Clock, tmp_path: Path
) -> None:
    fired: list[tuple[str | None, Book]] = []

    def body(armed: Guard) -> None:
        armed.beat()
        clock.turn(29)
        assert armed.reason is None
        clock.run()
        until(lambda: not live(sandbox))
        until(lambda: fired)
        with pytest.raises(GuardFiredError, match="no beat for 30 s") as caught:
            armed.beat()
        assert "4 cancelled" in str(pickle.loads(pickle.dumps(caught.value)))
        raise caught.value

    with Journal(tmp_path / "cancels.jsonl") as journal:
        armed = make(journal=journal, on_fire=lambda it: fired.append((it.reason, it.account.book)))
        with pytest.raises(GuardFiredError):
            guarded(mode, armed, body)
    assert fired == [("there was no beat for 30 s", Book.CLEAN)], "it fired once"
    assert armed.account.done == {State.CANCELLED: 4, State.PARTLY_FILLED: 1}
    written = (tmp_path / "cancels.jsonl").read_text()
    assert all(f'"order_id":"{order_id}"' in written for order_id in DEMO)


def test_a_beat_that_comes_too_late_fires(
    mode: str, make: Any, sandbox: Sandbox, clock: Clock
) -> None:
    """As when the thread that watches was held up as long as the bot."""

    def body(armed: Guard) -> None:
        clock.turn(30)
        try:
            armed.beat()
        finally:
            clock.run()

    with pytest.raises(GuardFiredError, match="no beat for 30 s"):
        guarded(mode, make(), body)
    assert not live(sandbox)


def test_who_hung_and_ends_as_if_all_was_well_is_told(
    mode: str, make: Any, sandbox: Sandbox, clock: Clock
) -> None:
    def body(_: Guard) -> None:
        clock.turn(30)
        clock.run()
        until(lambda: not live(sandbox))

    armed = make()
    with pytest.raises(GuardFiredError):
        guarded(mode, armed, body)
    assert armed.account.book is Book.CLEAN, "the block ends when the guard is through"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_cancels_before_it_goes_on(
    mode: str, make: Any, sandbox: Sandbox, clock: Clock, error: type[BaseException]
) -> None:
    def body(armed: Guard) -> None:
        clock.run()
        raise error

    armed = make()
    with pytest.raises(error):
        guarded(mode, armed, body)
    assert not live(sandbox)
    assert (armed.reason, armed.account.book) == (f"the block ended in {error.__name__}", "clean")


def test_a_block_that_ends_by_itself_fires_if_asked(
    mode: str, make: Any, sandbox: Sandbox, clock: Clock
) -> None:
    armed = make(fire_on_exit=True)
    guarded(mode, armed, lambda _: clock.run())
    assert not live(sandbox)
    assert armed.reason == "the block ended"


def test_only_its_scope(mode: str, make: Any, sandbox: Sandbox, clock: Clock) -> None:
    def sells(order: Order) -> bool:
        return order.action == "SELL"

    clock.run()
    guarded(mode, make(Scope(pair="btc_twd", only=sells), fire_on_exit=True), lambda _: None)
    assert live(sandbox) == DEMO - {"2959906695"}


async def test_the_cancellation_of_a_task_cancels(
    make: Any, sandbox: Sandbox, clock: Clock
) -> None:
    entered = asyncio.Event()

    async def bot() -> None:
        async with make():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(bot())
    await entered.wait()
    clock.run()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not live(sandbox)


async def test_a_second_cancellation_leaves_it_to_its_thread(
    make: Any, sandbox: Sandbox, clock: Clock
) -> None:
    entered, fired = asyncio.Event(), threading.Event()

    async def bot() -> None:
        async with make(on_fire=lambda _: fired.set()):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(bot())
    await entered.wait()
    task.cancel()
    await until_async(lambda: list(sandbox.journal))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not fired.is_set()
    clock.run()
    await until_async(fired.is_set)
    assert not live(sandbox)


async def test_a_loop_that_was_stopped_beats_no_more(
    make: Any, sandbox: Sandbox, clock: Clock
) -> None:
    """The block is never left: the loop that ran it runs no more."""
    loop, fired = asyncio.new_event_loop(), threading.Event()

    async def bot() -> None:
        async with make(on_fire=lambda _: fired.set()):
            loop.stop()
            await asyncio.Event().wait()

    def run() -> None:
        left = loop.create_task(bot())
        loop.run_forever()
        lost.append(left)

    lost: list[asyncio.Task[None]] = []
    await asyncio.to_thread(run)
    clock.turn(30)
    clock.run()
    await until_async(fired.is_set)
    assert not live(sandbox)

    async def end() -> None:
        lost[0].cancel()
        await asyncio.wait(lost)

    await asyncio.to_thread(loop.run_until_complete, end())
    loop.close()


def test_a_forked_child_neither_beats_nor_fires(mode: str, make: Any, sandbox: Sandbox) -> None:
    def child(armed: Guard, told: Any) -> None:
        try:
            armed.beat()
        except RuntimeError as error:
            told.send(str(error))
        armed.__exit__(SystemExit, None, None)
        told.send("left")

    def body(armed: Guard) -> None:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=child, args=(armed, there))
        process.start()
        assert "process that entered it" in here.recv()
        assert here.recv() == "left"
        process.join()
        armed.beat()

    guarded(mode, make(), body)
    assert not list(sandbox.journal)
    assert live(sandbox) == DEMO


def test_a_refused_key_is_told(mode: str, make: Any, sandbox: Sandbox, clock: Clock) -> None:
    sandbox.faults.add(faults.status(401), times=100)
    clock.run()
    armed = make(fire_on_exit=True)
    guarded(mode, armed, lambda _: None)
    assert isinstance(armed.error, AuthenticationError)
    assert armed.account.book is Book.NOT_CLEAN


def test_a_hook_that_fails_costs_nothing(
    mode: str, make: Any, sandbox: Sandbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Guard) -> None:
        raise ValueError

    clock.run()
    with caplog.at_level(logging.WARNING, "bitopro_orders"):
        guarded(mode, make(on_fire=fails, fire_on_exit=True), lambda _: None)
    assert not live(sandbox)
    told = [record.message for record in caplog.records]
    assert told[0] == "the guard cancels the orders: the block ended"
    assert "the book: clean" in told[1]
    assert told[2] == "the on_fire hook failed"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"after": 0}, "after"),
        ({"timeout": -1}, "timeout"),
        ({"scope": "BTC_TWD"}, "scope must be a Scope"),
        ({"scope": Scope(pair="../all")}, "pair"),
        ({"scope": Scope(only=1)}, "only"),  # type: ignore[arg-type]
        ({"journal": "cancels.jsonl"}, "journal"),
    ],
)
def test_a_wrong_argument_is_told_before_there_is_anything_to_guard(
    make: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        make(**options)


def test_a_guard_is_for_one_block(make: Any) -> None:
    armed = make()
    with armed:
        pass
    with pytest.raises(RuntimeError, match="one block"), armed:
        pass


def test_an_interpreter_that_ends_waits_for_the_cancels(sandbox: Sandbox) -> None:
    """Ctrl-C twice: the second one ends the wait of the block, not the cancels."""
    account = sandbox.account
    sandbox.faults.add(faults.delay(before_ms=500), call="open_orders")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.guard.bot", sandbox.base_url, account.api_key,
         account.api_secret, account.identity],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as bot:  # fmt: skip
        assert bot.stdout is not None
        assert bot.stdout.readline() == "armed\n"
        os.kill(bot.pid, signal.SIGINT)
        until(lambda: list(sandbox.journal), 20)
        os.kill(bot.pid, signal.SIGINT)
        assert bot.stdout.readline() == "interrupted\n"
        bot.wait(60)
    assert not live(sandbox)
