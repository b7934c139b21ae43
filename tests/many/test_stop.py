"""Stopped: nothing more is sent, and what was sent is settled."""

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from bitopro_orders import (
    BitoProError,
    CancelOutcome,
    Journal,
    NotSentError,
    OutcomeUnknownError,
    SendingPolicy,
    State,
    Timing,
    cancel_everything,
    cancel_everything_async,
    cancel_many,
    cancel_many_async,
    order_history,
    resolve_many,
    resume,
    resume_async,
    unresolved,
)
from bitopro_orders.batches import GATHER_SECONDS
from bitopro_sandbox import Sandbox, faults
from tests.many.support import (
    FAST,
    PAIR,
    Collected,
    cancels_of,
    client_of,
    exchange,
    ids,
    named,
    place,
    until,
)
from tests.many.test_cancel_many import check_truth, check_whole, states

Stop = Any


def runner(mode: str, function: Callable[..., Any], twin: Callable[..., Any]) -> Any:
    """Return what runs a function, or its twin, and stops it from another thread at a moment."""

    def run(
        sandbox: Sandbox, when: Callable[[], object], *args: Any, client: Any = None, **options: Any
    ) -> Collected:
        made = client or client_of(sandbox)
        many = (function if mode == "sync" else twin)(made, *args, **options)

        def press() -> None:
            until(when)
            many.stop()

        async def in_a_task() -> list[Any]:
            async with made:
                return [end async for end in many]

        presser = threading.Thread(target=press)
        presser.start()
        try:
            if mode == "sync":
                with made:
                    return list(many), many.account
            return asyncio.run(in_a_task()), many.account
        finally:
            presser.join()

    return run


@pytest.fixture
def stopped(mode: str) -> Stop:
    """Return what cancels many orders and is stopped."""
    return runner(mode, cancel_many, cancel_many_async)


@pytest.fixture
def stopped_clearing(mode: str) -> Stop:
    """Return what cancels every order and is stopped."""
    return runner(mode, cancel_everything, cancel_everything_async)


def arrived(sandbox: Sandbox, call: str) -> int:
    return sum(entry.call == call for entry in sandbox.journal)


def check_settled(sandbox: Sandbox, ends: list[Any], account: Any) -> None:
    """Check that everything that was taken was handed out, and is true."""
    assert account.under_way == 0
    assert account.rest == ()
    assert account.taken == len(ends) + account.duplicates
    assert account.taken == (
        account.duplicates + sum(account.done.values()) + sum(account.counts.values())
    )
    check_truth(sandbox, account)


def test_what_waits_for_its_turn_is_not_sent(sandbox: Sandbox, stopped: Stop) -> None:
    orders = place(sandbox, 200)
    sandbox.faults.add(faults.delay(before_ms=30), probability=1, call="cancel_order")
    seen: list[int] = []

    def when() -> bool:
        seen.append(arrived(sandbox, "cancel_order"))
        return seen[-1] >= 5

    client = client_of(sandbox, policy=SendingPolicy(limit_share=None))
    ends, account = stopped(sandbox, when, orders, client=client, batch_size=1)
    check_settled(sandbox, ends, account)
    # The one that is on its way arrives, too.
    assert arrived(sandbox, "cancel_order") <= seen[-1] + 1
    assert account.done == {State.CANCELLED: arrived(sandbox, "cancel_order")}
    assert account.counts["not sent"] >= 40, "those that were taken"
    assert account.taken < 200
    assert "stopped" in str(account.not_sent[0])


def test_batches_that_wait_are_not_sent(sandbox: Sandbox, stopped: Stop) -> None:
    orders = place(sandbox, 200)
    # Two leave at once, and then two each second.
    ends, account = stopped(
        sandbox,
        lambda: arrived(sandbox, "cancel_batch") == 2,
        orders,
        client=client_of(sandbox, policy=None),
        batch_size=10,
    )
    check_settled(sandbox, ends, account)
    assert arrived(sandbox, "cancel_batch") == 2
    # A busy machine may gather them otherwise, and send a few alone.
    assert account.done[State.CANCELLED] <= 20 + arrived(sandbox, "cancel_order")
    assert account.not_sent


async def test_a_batch_that_is_being_gathered_is_not_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    orders = place(sandbox, 20)

    async def sleep_async(seconds: float) -> None:
        if seconds == GATHER_SECONDS:
            many.stop()
        await asyncio.sleep(seconds)

    file = tmp_path / "cancels.jsonl"
    with Journal(file) as journal:
        async with client_of(sandbox, timing=Timing(sleep_async=sleep_async)) as client:
            many = cancel_many_async(client, orders, journal=journal)
            ends = [end async for end in many]
    assert {type(end) for end in ends} == {NotSentError}
    assert len(sandbox.journal) == 0
    check_settled(sandbox, ends, many.account)
    assert '"event":"cancel"' not in file.read_text(), "no cancel is announced that cannot leave"
    assert unresolved(file) == []


def test_what_would_be_sent_again_after_a_limit_is_not(sandbox: Sandbox, stopped: Stop) -> None:
    orders = place(sandbox, 3)
    sandbox.faults.add(
        faults.status(429, headers={"Retry-After": "20"}), probability=1, call="cancel_order"
    )
    began = time.monotonic()
    ends, account = stopped(
        sandbox, lambda: arrived(sandbox, "cancel_order"), orders, batch_size=1, timeout=60
    )
    assert time.monotonic() - began < 3
    assert {type(end) for end in ends} == {NotSentError}
    assert account.taken == len(ends)
    assert [error.attempts for error in account.not_sent] == [
        cancels_of(sandbox, named(error)) for error in account.not_sent
    ]


def test_what_waits_to_connect_again_is_not_sent(stopped: Stop) -> None:
    with exchange() as sandbox:
        policy = evolve(FAST, backoff_seconds=30, longest_backoff_seconds=30)
        tried: list[Any] = []
        client = client_of(sandbox, policy=policy, on_attempt=tried.append)
    began = time.monotonic()
    ends, _ = stopped(sandbox, lambda: tried, [(PAIR, "1")], client=client, timeout=300)
    assert time.monotonic() - began < 3
    assert [type(end) for end in ends] == [NotSentError]


@pytest.mark.parametrize("history", [False, True])
def test_what_was_sent_is_read_on_and_not_cancelled_again(
    sandbox: Sandbox, mode: str, history: bool
) -> None:
    orders = place(sandbox, 4)
    sandbox.faults.add(faults.drop(), times=2, call="cancel_order")
    sandbox.faults.add(faults.delay(before_ms=200), times=4, call="get_order")
    if not history:
        ends, account = runner(mode, cancel_many, cancel_many_async)(
            sandbox, lambda: arrived(sandbox, "get_order") >= 4, orders, timeout=1.0
        )
    elif mode == "async":

        async def main() -> Collected:
            async with (
                client_of(sandbox) as client,
                order_history(client=client, stream_url=sandbox.stream_url) as told,
            ):
                many = cancel_many_async(client, orders, history=told, timeout=1.0)
                stopping = asyncio.create_task(
                    asyncio.to_thread(until, lambda: arrived(sandbox, "cancel_order") >= 4)
                )
                stopping.add_done_callback(lambda _: many.stop())
                return [end async for end in many], many.account

        ends, account = asyncio.run(main())
    else:
        pytest.skip("a stream is for tasks")
    check_settled(sandbox, ends, account)
    assert {cancels_of(sandbox, each) for each in ids(orders)} == {1}
    assert account.done == {State.CANCELLED: 2}
    assert account.counts == {"unknown": 2}


def test_orders_of_a_refused_batch_are_read_on(sandbox: Sandbox, stopped: Stop) -> None:
    orders = place(sandbox, 12)
    sandbox.faults.add(faults.partly(5, 400), call="cancel_batch")
    sandbox.faults.add(faults.delay(after_ms=200), call="cancel_batch")
    sandbox.faults.add(faults.delay(before_ms=100), probability=1, call="cancel_order")
    client = client_of(sandbox, policy=evolve(FAST, in_flight=1))
    ends, account = stopped(
        sandbox, lambda: arrived(sandbox, "cancel_order"), orders, client=client, timeout=1
    )
    assert account.under_way == 0
    assert {named(end) for end in ends} == ids(orders)
    alone = arrived(sandbox, "cancel_order")
    assert alone <= 2
    if arrived(sandbox, "cancel_batch") == 1:
        assert 5 <= account.done[State.CANCELLED] <= 5 + alone
        assert account.counts.keys() <= {"unknown", "not sent"}
    for error in account.unknown:
        assert (error.attempts, error.accepted) == (1, False)


def test_stopped_before_it_began_nothing_is_sent(sandbox: Sandbox, mode: str) -> None:
    orders = place(sandbox, 3)
    client = client_of(sandbox)

    async def in_a_task(many: Any) -> list[Any]:
        many.stop()
        return [end async for end in many]

    for function, twin in (
        (lambda: cancel_many(client, orders), lambda: cancel_many_async(client, orders)),
        (lambda: cancel_everything(client), lambda: cancel_everything_async(client)),
    ):
        many: Any = (function if mode == "sync" else twin)()
        if mode == "sync":
            many.stop()
            ends = list(many)
        else:
            ends = asyncio.run(in_a_task(many))
        assert (ends, many.account.taken) == ([], 0)
        many.stop()
    assert len(sandbox.journal) == 0


def test_a_signal_handler_may_stop_it_more_than_once(sandbox: Sandbox, mode: str) -> None:
    orders = place(sandbox, 200)
    sandbox.faults.add(faults.delay(before_ms=20), probability=1, call="cancel_order")
    many: Any = None

    def press() -> None:
        until(lambda: arrived(sandbox, "cancel_order") > 3)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.01)

    async def in_a_task() -> list[Any]:
        nonlocal many
        async with client_of(sandbox) as client:
            many = cancel_many_async(client, itertools.cycle(orders), batch_size=1)
            return [end async for end in many]

    presser = threading.Thread(target=press)
    before = signal.signal(signal.SIGUSR1, lambda *_: many.stop())
    try:
        presser.start()
        if mode == "sync":
            with client_of(sandbox) as client:
                many = cancel_many(client, itertools.cycle(orders), batch_size=1)
                ends = list(many)
        else:
            ends = asyncio.run(in_a_task())
    finally:
        presser.join()
        signal.signal(signal.SIGUSR1, before)
    check_settled(sandbox, ends, many.account)
    assert many.account.done[State.CANCELLED] == arrived(sandbox, "cancel_order")
    assert many.account.not_sent


def test_an_iterable_that_blocks_is_not_waited_for(sandbox: Sandbox) -> None:
    orders, held = place(sandbox, 2), threading.Event()

    def slow() -> Iterator[tuple[str, str]]:
        yield orders[0]
        held.wait(10)
        yield orders[1]

    with client_of(sandbox) as client:
        ends = []
        for end in (many := cancel_many(client, slow())):
            ends.append(end)
            many.stop()
        assert [named(end) for end in ends] == [orders[0][1]]
        held.set()
        until(lambda: many.account.not_sent)
    check_whole(many.account, ends, orders)
    check_truth(sandbox, many.account)
    assert named(many.account.not_sent[0]) == orders[1][1]


def test_what_an_iterable_gives_while_others_are_settled_is_not_sent(sandbox: Sandbox) -> None:
    orders, held = place(sandbox, 3), threading.Event()
    sandbox.faults.add(faults.delay(before_ms=300), times=1, call="get_order")

    def slow() -> Iterator[tuple[str, str]]:
        yield orders[0]
        held.wait(10)
        yield orders[1]
        yield orders[2]

    def press() -> None:
        until(lambda: arrived(sandbox, "get_order"))
        many.stop()
        time.sleep(0.05)
        held.set()

    presser = threading.Thread(target=press)
    with client_of(sandbox) as client:
        many = cancel_many(client, slow())
        presser.start()
        ends = list(many)
        presser.join()
    told = states(ends)
    assert told == {orders[0][1]: State.CANCELLED, orders[1][1]: NotSentError}
    check_settled(sandbox, ends, many.account)


async def test_an_async_iterable_that_blocks_is_not_waited_for(sandbox: Sandbox) -> None:
    orders = place(sandbox, 1)

    async def slow() -> AsyncIterator[tuple[str, str]]:
        yield orders[0]
        await asyncio.Event().wait()

    async with client_of(sandbox) as client:
        async for end in (many := cancel_many_async(client, slow())):
            assert named(end) == orders[0][1]
            many.stop()
    assert many.account.taken == 1


def test_it_can_be_ended_at_once_after_it_was_stopped(sandbox: Sandbox) -> None:
    orders = place(sandbox, 60)
    sandbox.faults.add(faults.delay(before_ms=3000), probability=1, call="get_order")
    with client_of(sandbox) as client:
        many = cancel_many(client, orders, batch_size=1)

        def press() -> None:
            until(lambda: arrived(sandbox, "get_order") > 5)
            many.stop()

        presser = threading.Thread(target=press)
        presser.start()
        handed = []
        for end in many:
            handed.append(end)
            if isinstance(end, NotSentError):
                break
        presser.join()
        check_whole(many.account, handed, orders)
        sandbox.faults.clear()
        check_truth(sandbox, many.account)
        assert many.account.unknown


def test_resume_and_resolve_many_take_no_more(sandbox: Sandbox, mode: str, tmp_path: Path) -> None:
    orders = place(sandbox, 3)
    file = tmp_path / "cancels.jsonl"
    sandbox.faults.add(faults.drop(), times=3, call="cancel_order")
    sandbox.faults.add(faults.status(502), probability=1, call="get_order")
    with Journal(file) as journal:
        with client_of(sandbox) as client:
            first = list(cancel_many(client, orders, timeout=0.3, journal=journal, batch_size=1))
        assert {type(end) for end in first} == {OutcomeUnknownError}
        sandbox.faults.clear()
        sent = arrived(sandbox, "cancel_order")
        sandbox.faults.add(faults.delay(before_ms=100), probability=1, call="get_order")
        read = arrived(sandbox, "get_order")
        ends, _ = runner(mode, resume, resume_async)(
            sandbox, lambda: arrived(sandbox, "get_order") > read, journal, timeout=0.5
        )
        assert {type(end) for end in ends} == {OutcomeUnknownError}
        assert {named(end) for end in ends} <= ids(orders)
        assert arrived(sandbox, "cancel_order") == sent, "what is read as live is not cancelled"
        assert {named(error) for error in unresolved(journal)} == ids(orders)
    with client_of(sandbox) as client:
        many = resolve_many(client, unresolved(file), timeout=5)
        for order in orders:
            sandbox.book.cancel(order[1])
        ends = []
        for end in many:
            ends.append(end)
            many.stop()
    assert {getattr(end, "state", end) for end in ends} == {State.CANCELLED}
    check_whole(many.account, ends, orders)


# Everything


DEMO = {"2959906694", "2959906695", "12234566", "2959906696", "SL-9014867155"}


def test_nothing_is_listed_any_more(sandbox: Sandbox, stopped_clearing: Stop) -> None:
    ends, account = stopped_clearing(
        sandbox, lambda: not sandbox.book.open_orders() and arrived(sandbox, "open_orders") >= 2
    )
    listings = arrived(sandbox, "open_orders")
    check_settled(sandbox, ends, account)
    assert states(ends).keys() == DEMO
    place(sandbox, 1)
    assert arrived(sandbox, "open_orders") == listings < 6, "it does not go on until it is clean"


@pytest.mark.parametrize("call", ["open_orders", "cancel_order"])
def test_a_listing_is_not_waited_for_and_what_it_showed_is_told(
    sandbox: Sandbox, stopped_clearing: Stop, call: Any
) -> None:
    orders = place(sandbox, 40)
    sandbox.faults.add(faults.delay(before_ms=100), times=2, call="cancel_order")
    sandbox.faults.add(faults.delay(before_ms=100), times=2, call="cancel_batch")
    if call == "open_orders":
        sandbox.faults.add(faults.delay(before_ms=4000), probability=1, call=call)
    began = time.monotonic()
    ends, account = stopped_clearing(
        sandbox, lambda: arrived(sandbox, call), client=client_of(sandbox), batch_size=1
    )
    assert time.monotonic() - began < 3
    if call == "open_orders":
        assert ends == []
    else:
        assert states(ends).keys() == ids(orders) | DEMO, "each that was listed is told"
        assert account.counts["not sent"] > 20
    check_settled(sandbox, ends, account)


def test_the_exchanges_own_cancel_of_all_is_not_sent(stopped_clearing: Stop) -> None:
    with exchange(lists_untriggered=False) as sandbox:
        for order_id in DEMO - {"SL-9014867155"}:
            sandbox.book.cancel(order_id)
        sandbox.faults.add(faults.delay(after_ms=300), probability=1, call="open_orders")
        ends, _ = stopped_clearing(sandbox, lambda: arrived(sandbox, "open_orders"))
        assert (ends, arrived(sandbox, "cancel_all")) == ([], 0)


def test_what_the_exchanges_own_cancel_of_all_named_is_followed(stopped_clearing: Stop) -> None:
    with exchange(lists_untriggered=False) as sandbox:
        sandbox.faults.add(faults.delay(after_ms=300), probability=1, call="cancel_all")
        for order_id in DEMO - {"SL-9014867155"}:
            sandbox.book.cancel(order_id)
        ends, account = stopped_clearing(sandbox, lambda: arrived(sandbox, "cancel_all"))
        assert states(ends) == {"SL-9014867155": State.CANCELLED}
        assert account.taken == 1


def test_its_types(sandbox: Sandbox, stopped: Stop) -> None:
    ends, _ = stopped(sandbox, lambda: True, [])
    assert not [end for end in ends if not isinstance(end, CancelOutcome | BitoProError)]
