"""Many orders at once: each ends, whatever the others do, and nothing is lost when it is cut."""

import asyncio
import itertools
import os
import signal
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bitopro_orders import (
    Account,
    AuthenticationError,
    BitoProError,
    CancelOutcome,
    InvalidArgumentError,
    Journal,
    NotSentError,
    OutcomeUnknownError,
    State,
    cancel_many,
    cancel_many_async,
    connect,
    order_history,
    unresolved,
)
from bitopro_sandbox import Sandbox, faults
from tests.many.support import (
    PAIR,
    cancels_of,
    client_of,
    exchange,
    ids,
    named,
    place,
    until,
    until_async,
)
from tests.outcomes.support import client_of as limited_client_of
from tests.support import HASTE, HASTY, credentials_of

Cancel = Any


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with exchange() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Iterator[Sandbox]:
    shared.journal.clear()
    yield shared
    shared.faults.clear()


def states(ends: list[Any]) -> dict[str, object]:
    return {named(end): getattr(end, "state", type(end)) for end in ends}


def test_each_order_is_cancelled_once_and_told(sandbox: Sandbox, cancel_all: Cancel) -> None:
    orders = place(sandbox, 60)
    sandbox.book.fill(orders[0][1])
    sandbox.book.fill(orders[1][1], "0.5")
    progress: list[str] = []
    ends, account = cancel_all(
        sandbox, orders, batch_size=1, on_progress=lambda a: progress.append(str(a))
    )
    told = states(ends)
    assert told.keys() == ids(orders)
    assert told[orders[0][1]] is State.FILLED
    assert told[orders[1][1]] is State.PARTLY_FILLED
    assert list(told.values()).count(State.CANCELLED) == 58
    assert {cancels_of(sandbox, each) for each in ids(orders)} == {1}
    assert not any(sandbox.book.get(each).status.is_live for each in ids(orders))
    assert (account.taken, account.under_way, account.duplicates) == (60, 0, 0)
    assert account.done == {State.CANCELLED: 58, State.FILLED: 1, State.PARTLY_FILLED: 1}
    assert not account.counts
    assert len(progress) == 60
    assert progress[-1].startswith("60 taken: ")


def test_nothing_is_sent_before_the_iteration_begins(sandbox: Sandbox) -> None:
    orders = place(sandbox, 3)
    with client_of(sandbox) as client:
        many = cancel_many(client, orders)
        time.sleep(0.05)
        assert len(sandbox.journal) == 0
        assert len(list(many)) == 3
        with pytest.raises(RuntimeError, match="once"):
            iter(many)


def test_nothing_is_sent_after_it_was_closed(sandbox: Sandbox) -> None:
    orders = place(sandbox, 3)
    with client_of(sandbox) as client:
        with cancel_many(client, orders) as many:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            iter(many)
    assert len(sandbox.journal) == 0


def test_no_orders(sandbox: Sandbox, cancel_all: Cancel) -> None:
    ends, account = cancel_all(sandbox, [])
    assert (ends, account.taken) == ([], 0)


BAD: list[Any] = [
    None, "BTC_TWD", 7, (), (PAIR,), (PAIR, "1", "2"), (PAIR, ""), (PAIR, "all"), (PAIR, ".."),
    (PAIR, 1), (None, "1"), ("BTC", "1"), (PAIR, "1/2"), {PAIR: "1"}, [[], []], (PAIR, "x" * 10**6),
]  # fmt: skip


def test_invalid_items_are_told_and_cost_the_others_nothing(
    sandbox: Sandbox, cancel_all: Cancel
) -> None:
    orders = place(sandbox, len(BAD))
    mixed = [each for both in zip(BAD, orders, strict=True) for each in both]
    ends, account = cancel_all(sandbox, mixed, batch_size=1)
    bad = [end for end in ends if isinstance(end, InvalidArgumentError)]
    assert len(bad) == len(BAD) == account.counts["not sent"] == len(account.not_sent)
    assert all(" such as " in str(error) for error in bad)
    assert {named(end) for end in ends if isinstance(end, CancelOutcome)} == ids(orders)
    assert {entry.call for entry in sandbox.journal} == {"cancel_order", "get_order"}


def test_an_order_named_twice_is_sent_once(sandbox: Sandbox, cancel_all: Cancel) -> None:
    orders = place(sandbox, 5)
    again = [(pair.lower(), order_id) for pair, order_id in orders]
    ends, account = cancel_all(sandbox, [*orders, *again, *orders])
    assert sorted(map(named, ends)) == sorted(ids(orders))
    assert {cancels_of(sandbox, each) for each in ids(orders)} == {1}
    assert (account.taken, account.duplicates) == (15, 10)


def test_the_window_of_duplicates_is_the_stated_one(sandbox: Sandbox, cancel_all: Cancel) -> None:
    orders = place(sandbox, 4)
    ends, account = cancel_all(sandbox, [*orders, orders[3], orders[0]], duplicates_within=3)
    assert (len(ends), account.duplicates) == (5, 1)
    assert {getattr(end, "state", end) for end in ends} == {State.CANCELLED}


@pytest.mark.parametrize("settings", [{"second_cancel": each} for each in (200, 400, 404, 422)])
def test_what_a_second_cancel_answers_changes_no_outcome(
    cancel_all: Cancel, settings: dict[str, Any]
) -> None:
    with exchange(**settings) as sandbox:
        orders = place(sandbox, 4)
        sandbox.book.fill(orders[0][1])
        sandbox.book.cancel(orders[1][1])
        ends, _ = cancel_all(sandbox, orders)
    told = states(ends)
    assert told.pop(orders[0][1]) is State.FILLED
    assert set(told.values()) == {State.CANCELLED}


def test_faults_of_the_exchange_end_each_order_alone(sandbox: Sandbox, cancel_all: Cancel) -> None:
    orders = place(sandbox, 30)
    for fault in (faults.drop_answer(), faults.status(502), faults.html(), faults.drop(reset=True)):
        sandbox.faults.add(fault, times=3, call="cancel_order")
        sandbox.faults.add(fault, times=2, call="get_order")
    ends, account = cancel_all(sandbox, orders)
    assert set(states(ends).values()) == {State.CANCELLED}
    assert account.done == {State.CANCELLED: 30}


def test_orders_that_stay_open_or_are_nowhere_are_told_so(cancel_all: Cancel) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 6)
        for _, order_id in orders[:2]:
            sandbox.book.lock(order_id)
        with limited_client_of(sandbox, timing=HASTY, timeout=5 * HASTE) as client:
            ends, account = cancel_all(sandbox, [*orders, (PAIR, "1")], client=client, timeout=60)
    told = states(ends)
    assert [told[order_id] for _, order_id in orders] == [State.OPEN] * 2 + [State.CANCELLED] * 4
    assert told["1"] is State.NOT_FOUND
    assert account.done == {State.OPEN: 2, State.CANCELLED: 4, State.NOT_FOUND: 1}


def test_a_wrong_key_is_told_of_each_order(sandbox: Sandbox, cancel_all: Cancel) -> None:
    orders = place(sandbox, 3)
    sandbox.faults.add(faults.status(401), probability=1)
    ends, account = cancel_all(sandbox, orders)
    assert {type(end) for end in ends} == {AuthenticationError}
    assert {named(end) for end in ends} == ids(orders)
    assert (account.counts, len(account.refused)) == ({"refused": 3}, 3)


def test_what_never_leaves_is_told_of_each_order(cancel_all: Cancel) -> None:
    with exchange() as sandbox:
        client = client_of(sandbox)
    ends, account = cancel_all(sandbox, [(PAIR, "1"), (PAIR, "2")], client=client, timeout=0.3)
    assert {type(end) for end in ends} == {NotSentError}
    assert {named(error) for error in account.not_sent} == {"1", "2"}


def test_a_silent_exchange_leaves_unknown_orders(sandbox: Sandbox, cancel_all: Cancel) -> None:
    orders = place(sandbox, 2)
    sandbox.faults.add(faults.delay(before_ms=1000), probability=1)
    ends, account = cancel_all(sandbox, orders, timeout=0.3)
    sandbox.faults.clear()
    assert {type(end) for end in ends} == {OutcomeUnknownError}
    assert {named(error) for error in account.unknown} == ids(orders)
    assert account.counts == {"unknown": 2}


# What is given


def test_an_endless_iterable_takes_bounded_memory() -> None:
    with exchange(second_cancel=200) as sandbox:
        live = place(sandbox, 1)[0]
        numbers = itertools.count(1)
        most = 0

        def endless() -> Iterator[Any]:
            nonlocal most
            for number in numbers:
                yield None if number % 3 else live
                most = number

        tracemalloc.start()
        with client_of(sandbox) as client:
            with cancel_many(client, endless()) as many:
                for _ in itertools.islice(many, 2_500):
                    pass
                _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert many.account.duplicates > 800
    assert peak < 10 * 2**20
    assert most <= many.account.taken + 1
    assert many.account.taken < 10_000, "no more is taken than is handed out, and a bounded rest"


@pytest.mark.parametrize("batch_size", [1, 50])
async def test_orders_to_be_read_hold_up_none_that_are_to_be_sent(
    tmp_path: Path, batch_size: int
) -> None:
    with exchange() as sandbox, Journal(tmp_path / "cancels.jsonl") as journal:
        orders = place(sandbox, 1_300)
        sandbox.faults.add(faults.delay(before_ms=60_000), probability=1, call="get_order")
        async with client_of(sandbox) as client:
            many = cancel_many_async(
                client, orders, timeout=120, batch_size=batch_size, journal=journal
            )
            iterating = asyncio.create_task(anext(aiter(many)))
            await until_async(lambda: journal.path.read_text().count('"answer"') == 1_300, 60)
            assert many.account.under_way == 1_300
            await many.aclose()
            await asyncio.gather(iterating, return_exceptions=True)
        assert many.account.counts == {"unknown": 1_300}
        assert many.account.under_way == 0
        assert {named(error) for error in many.account.unknown} == ids(orders)
        assert all(error.accepted and error.attempts == 1 for error in many.account.unknown)
        assert len(unresolved(journal)) == 1_300


@pytest.mark.parametrize("batch_size", [1, 50])
def test_orders_that_were_put_off_are_read_within_their_time(
    sandbox: Sandbox, batch_size: int
) -> None:
    orders = place(sandbox, 40)
    sandbox.faults.add(faults.delay(before_ms=60_000), probability=1, call="get_order")
    with client_of(sandbox) as client:
        ends = list(cancel_many(client, orders, timeout=1.5, at_once=20, batch_size=batch_size))
    sandbox.faults.clear()
    assert {type(end) for end in ends} == {OutcomeUnknownError}
    assert {named(end) for end in ends} == ids(orders)
    # Of those in batches, a busy machine may send the last few alone.
    assert max(cancels_of(sandbox, each) for each in ids(orders)) <= 1


async def test_an_endless_iterable_lets_the_loop_go_on(sandbox: Sandbox) -> None:
    order = place(sandbox, 1)[0]
    async with client_of(sandbox) as client:
        async with cancel_many_async(client, itertools.repeat(order)) as many:
            async for end in many:
                assert getattr(end, "state", end) is State.CANCELLED
                break
    assert cancels_of(sandbox, order[1]) == 1


def test_a_slow_iterable_holds_up_no_outcome(sandbox: Sandbox) -> None:
    orders, held = place(sandbox, 2), threading.Event()

    def slow() -> Iterator[tuple[str, str]]:
        yield orders[0]
        held.wait(10)
        yield orders[1]

    with client_of(sandbox) as client:
        many = iter(cancel_many(client, slow()))
        assert named(next(many)) == orders[0][1]
        held.set()
        assert named(next(many)) == orders[1][1]
        assert next(many, None) is None


async def test_an_async_iterable_holds_up_no_outcome(sandbox: Sandbox) -> None:
    orders, held = place(sandbox, 2), asyncio.Event()

    async def slow() -> AsyncIterator[tuple[str, str]]:
        yield orders[0]
        await held.wait()
        yield orders[1]

    async with client_of(sandbox) as client:
        many = aiter(cancel_many_async(client, slow()))
        assert named(await anext(many)) == orders[0][1]
        held.set()
        assert named(await anext(many)) == orders[1][1]
        assert await anext(many, None) is None


def test_what_the_iterable_raises_comes_after_the_ends_before_it(
    sandbox: Sandbox, mode: str
) -> None:
    orders = place(sandbox, 3)
    ends: list[Any] = []

    def broken() -> Iterator[tuple[str, str]]:
        yield from orders
        raise KeyError("gone")

    def all_of_them() -> None:
        with client_of(sandbox) as client:
            ends.extend(cancel_many(client, broken()))

    async def all_in_a_task() -> None:
        async with client_of(sandbox) as client:
            async for end in cancel_many_async(client, broken()):
                ends.append(end)  # noqa: PERF401 - what came before the exception stays

    with pytest.raises(KeyError, match="gone"):
        all_of_them() if mode == "sync" else asyncio.run(all_in_a_task())
    assert {named(end) for end in ends} == ids(orders)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"orders": 7}, "orders must be an iterable"),
        ({"timeout": 0}, "timeout must be"),
        ({"at_once": 0}, "at_once must be a whole number"),
        ({"duplicates_within": True}, "duplicates_within must be a whole number"),
        ({"client": None}, "client must be one that connect"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_at_once(
    sandbox: Sandbox, mode: str, options: dict[str, Any], rule: str
) -> None:
    function: Any = cancel_many if mode == "sync" else cancel_many_async
    given = {"client": client_of(sandbox), "orders": [], **options}
    with pytest.raises(InvalidArgumentError, match=rule):
        function(given.pop("client"), given.pop("orders"), **given)


def test_a_transport_for_threads_alone_is_refused_at_once(sandbox: Sandbox) -> None:
    transport = httpx.HTTPTransport()
    client = connect(credentials_of(sandbox), base_url=sandbox.base_url, transport=transport)
    with client, pytest.raises(InvalidArgumentError, match="must be one for tasks"):
        cancel_many(client, [])


def test_a_hook_that_fails_changes_nothing(
    sandbox: Sandbox, cancel_all: Cancel, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Account) -> None:
        raise ZeroDivisionError

    ends, _ = cancel_all(sandbox, place(sandbox, 2), on_progress=fail)
    assert len(ends) == 2
    assert caplog.text.count("the on_progress hook failed") == 2


async def test_the_stream_tells_where_reading_fails(sandbox: Sandbox) -> None:
    orders = place(sandbox, 8)
    sandbox.faults.add(faults.status(502), probability=1, call="get_order")
    async with (
        client_of(sandbox) as client,
        order_history(client=client, stream_url=sandbox.stream_url) as history,
    ):
        many = cancel_many_async(client, orders, history=history, timeout=10)
        ends = [end async for end in many]
    assert {getattr(end, "seen_by", end) for end in ends} == {"stream"}
    assert many.account.done == {State.CANCELLED: 8}


# Ended early


def check_whole(account: Account, handed: list[Any], orders: list[tuple[str, str]]) -> None:
    """Check that each order that was taken is somewhere, and where it belongs."""
    counted = sum(account.done.values()) + sum(account.counts.values()) + account.duplicates
    assert account.under_way == 0
    assert account.taken == counted
    assert len(handed) + len(account.rest) <= counted
    assert {named(end) for end in account.not_sent} | {named(end) for end in account.unknown} <= (
        ids(orders)
    )


def check_truth(sandbox: Sandbox, account: Account) -> None:
    """Check that what is told as not sent has not arrived, also later."""
    time.sleep(0.05)
    for error in account.not_sent:
        assert cancels_of(sandbox, named(error)) == 0
        assert sandbox.book.get(named(error)).status.is_live
    for unknown in account.unknown:
        assert unknown.operation == "cancelOrder"
        assert unknown.attempts == cancels_of(sandbox, named(unknown))


def test_a_break_ends_it_at_once_and_leaves_an_account(sandbox: Sandbox) -> None:
    orders, handed = place(sandbox, 200), []
    with client_of(sandbox, policy=None) as client:
        many = cancel_many(client, orders, at_once=20, batch_size=1)
        for end in many:
            handed.append(end)
            if len(handed) == 5:
                sandbox.faults.add(faults.delay(before_ms=3000), probability=1)
                until(lambda: sandbox.journal[-1].fault)
                broken_at = time.monotonic()
                break
        assert time.monotonic() - broken_at < 0.5
        account = many.account
        check_whole(account, handed, orders)
        sandbox.faults.clear()
        check_truth(sandbox, account)
    assert account.unknown
    assert account.not_sent
    assert account.taken < 200
    with pytest.raises(RuntimeError):
        iter(many)


async def test_leaving_the_block_ends_it_at_once_and_leaves_an_account(sandbox: Sandbox) -> None:
    orders, handed = place(sandbox, 200), []
    async with client_of(sandbox, policy=None) as client:
        async with cancel_many_async(client, orders, at_once=20, batch_size=1) as many:
            async for end in many:
                handed.append(end)
                if len(handed) == 5:
                    sandbox.faults.add(faults.delay(before_ms=3000), probability=1)
                    await until_async(lambda: sandbox.journal[-1].fault)
                    break
            broken_at = time.monotonic()
        assert time.monotonic() - broken_at < 0.5
        check_whole(many.account, handed, orders)
        sandbox.faults.clear()
        check_truth(sandbox, many.account)
    assert many.account.unknown
    assert many.account.not_sent


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_cancelled_task_names_what_is_out(sandbox: Sandbox, times: int) -> None:
    orders = place(sandbox, 30)
    made: list[Any] = []
    sandbox.faults.add(faults.delay(before_ms=3000), probability=1, call="get_order")

    async def all_of_them(client: Any) -> None:
        many = cancel_many_async(client, orders, batch_size=1)
        made.append(many)
        async for _ in many:
            pass

    async with client_of(sandbox) as client:
        task = asyncio.create_task(all_of_them(client))
        await until_async(lambda: sum(each.call == "cancel_order" for each in sandbox.journal) > 5)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(OutcomeUnknownError, match="the task was cancelled") as caught:
            async with asyncio.timeout(1):
                await task
        (many,) = made
        check_whole(many.account, [], orders)
        sandbox.faults.clear()
        check_truth(sandbox, many.account)
        assert caught.value.arguments.keys() == {"body"}
        assert "resolve_many()" in str(caught.value)
        for error in many.account.unknown:
            assert named(error) in caught.value.arguments["body"]


async def test_a_task_cancelled_before_anything_left_is_cancelled(sandbox: Sandbox) -> None:
    orders = place(sandbox, 3)

    async def all_of_them(client: Any) -> list[Any]:
        return [end async for end in cancel_many_async(client, orders)]

    async with client_of(sandbox) as client:
        task = asyncio.create_task(all_of_them(client))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.02)
    assert len(sandbox.journal) == 0


def test_ctrl_c_ends_it_at_once_and_leaves_an_account(sandbox: Sandbox) -> None:
    orders, handed = place(sandbox, 60), []
    many: Any = None
    sandbox.faults.add(faults.delay(before_ms=3000), probability=1, call="get_order")

    def press() -> None:
        until(lambda: sum(each.call == "cancel_order" for each in sandbox.journal) > 20)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    with client_of(sandbox) as client:
        many = cancel_many(client, orders, batch_size=1)
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            handed.extend(many)
        presser.join()
        check_whole(many.account, handed, orders)
        sandbox.faults.clear()
        check_truth(sandbox, many.account)
        assert many.account.unknown
        left = len(sandbox.journal)
        time.sleep(0.1)
        assert len(sandbox.journal) == left, "nothing leaves after the end"


def test_an_item_that_comes_after_the_end_is_in_the_account(sandbox: Sandbox) -> None:
    orders, held, gone = place(sandbox, 2), threading.Event(), threading.Event()

    def slow() -> Iterator[tuple[str, str]]:
        yield orders[0]
        held.wait(10)
        yield orders[1]
        gone.set()

    with client_of(sandbox) as client:
        with cancel_many(client, slow()) as many:
            for _ in many:
                break
        held.set()
        until(lambda: len(many.account.not_sent))
    assert named(many.account.not_sent[0]) == orders[1][1]
    assert cancels_of(sandbox, orders[1][1]) == 0


def test_errors_hold_no_secret(sandbox: Sandbox) -> None:
    orders = place(sandbox, 3)
    sandbox.faults.add(faults.status(502), probability=1)
    with client_of(sandbox) as client:
        ends = list(cancel_many(client, orders, timeout=0.3))
    texts = [f"{end} {end!r} {vars(end)}" for end in ends if isinstance(end, BitoProError)]
    assert len(texts) == 3
    assert not any(sandbox.account.api_secret in text for text in texts)


def test_a_forked_child_does_not_wait_for_its_parents_outcomes(sandbox: Sandbox) -> None:
    with client_of(sandbox) as client:
        many = cancel_many(client, place(sandbox, 20))
        ends = iter(many)
        next(ends)
        if not (child := os.fork()):
            signal.alarm(20)
            try:
                list(ends)
            except RuntimeError:
                os._exit(0)
            os._exit(1)
        assert len(list(ends)) == 19
        assert os.waitpid(child, 0)[1] == 0
