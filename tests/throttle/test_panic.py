"""Everything is cancelled at once: what can leave in time leaves, and each call knows its outcome.

The rows that take a minute are in `slow_rows.py`.
"""

import asyncio
import contextlib
import re
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import (
    AttemptRecord,
    BitoProError,
    NotSentError,
    OrdersClient,
    Outcome,
    OutcomeUnknownError,
    RateLimitedError,
    SendingPolicy,
    State,
    Timing,
    cancel_and_confirm_async,
    order_history,
)
from bitopro_sandbox import OrderStatus, Sandbox, faults
from tests.throttle.member import Member, members
from tests.throttle.panic import (
    PAIR,
    WAYS,
    Job,
    Run,
    Way,
    arrived,
    at_once,
    cancel,
    client_of,
    confirm,
    deletes_per_order,
    door,
    exchange,
    kinds,
    most_in_a_minute,
    orders,
    read,
    reasons,
    seconds_named,
    states,
    tls_contexts,
)
from tests.throttle.stores import redis_server

#: How long a call may take that has nothing to wait for, on a machine with other work.
AT_ONCE_SECONDS = 2.0


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with exchange() as found:
        yield found


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def slow_answers(sandbox: Sandbox, milliseconds: int, method: str | None = None) -> None:
    """Let every answer come that late, though it is processed at once."""
    sandbox.faults.add(faults.delay(after_ms=milliseconds), probability=1.0, method=method)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return tls_contexts(tmp_path_factory.mktemp("tls"))


# 1. The limit counts what left, and when it left.


def panic(sandbox: Sandbox, way: Way, number: int, **options: object) -> int:
    """Cancel so many orders at once against slow answers; return how many requests left."""
    slow_answers(sandbox, 300)
    client = client_of(sandbox, **options)
    results = at_once(way, client, [cancel(client, order) for order in orders(sandbox, number)])
    sandbox.faults.clear()
    found = kinds(results)
    left = number - found.pop("NotSentError")
    assert found.keys() <= {"accepted", "OutcomeUnknownError"}
    # One that is given up while it is being read is not in the journal.
    assert found["accepted"] <= arrived(sandbox) <= left
    return left


def test_right_after_900_tasks_the_next_cancel_leaves_at_once(sandbox: Sandbox) -> None:
    with client_of(sandbox) as bystander:
        left = panic(sandbox, "tasks", 900, policy=SendingPolicy(deadline_seconds=3))
        started = time.monotonic()
        cancel_order.sync(PAIR, *orders(sandbox, 1), client=bystander)
        assert time.monotonic() - started < AT_ONCE_SECONDS
    # One every 67 ms would be 45; the last have no time for their answer.
    assert left >= 20


def test_right_after_900_tasks_another_process_that_shares_redis_cancels_at_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with redis_server(tmp_path) as redis, members(Member(sandbox, redis.url)) as (other,):
        policy = SendingPolicy(deadline_seconds=3)
        left = panic(sandbox, "tasks", 900, policy=policy, shared=redis.url)
        other.begin(1)
        report = other.report()
    assert report.outcomes == {"accepted": 1}, f"{left} of 900 had left"
    assert report.slowest < AT_ONCE_SECONDS
    # Fewer than in memory: each asks Redis first.
    assert left >= 20


def test_what_never_left_is_not_counted(way: Way) -> None:
    hundred = 100 / 900
    # In any order: a busy machine may hold a thread up between its turn and its sending.
    with (
        exchange(nonce_rule="unique") as sandbox,
        client_of(sandbox, policy=SendingPolicy(limit_share=hundred)) as bystander,
    ):
        policy = SendingPolicy(limit_share=hundred, deadline_seconds=1.5)
        left = panic(sandbox, way, 150, policy=policy)
        for order in orders(sandbox, 100 - left):
            cancel_order.sync(PAIR, order, client=bystander)
        with pytest.raises(NotSentError):
            cancel_order.sync(PAIR, *orders(sandbox, 1), client=bystander)
        assert arrived(sandbox) <= 100


async def test_cancels_that_their_tasks_give_up_while_they_wait_are_not_counted(
    sandbox: Sandbox,
) -> None:
    slow_answers(sandbox, 300)
    async with asyncio.timeout(20), client_of(sandbox) as client:
        tasks = [
            asyncio.ensure_future(cancel_order.asyncio(PAIR, order, client=client))
            for order in orders(sandbox, 950)
        ]
        while arrived(sandbox) < 2:  # noqa: ASYNC110 - it is the other side's state
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        started = time.monotonic()
        await cancel_order.asyncio(PAIR, *orders(sandbox, 1), client=client)
        assert time.monotonic() - started < AT_ONCE_SECONDS
    found = kinds(results)
    assert found.pop("CancelledError") >= 900
    assert found.keys() <= {"accepted", "OutcomeUnknownError"}
    assert 2 <= arrived(sandbox) - 1 <= sum(found.values())


def test_cancels_that_found_no_connection_are_not_counted(way: Way) -> None:
    with exchange() as gone:
        pass
    policy = SendingPolicy(limit_share=20 / 900, attempts=1)
    with client_of(gone, policy=policy) as bystander:
        client = client_of(gone, policy=policy)
        assert kinds(at_once(way, client, [cancel(client, "1")] * 30)) == {"NotSentError": 30}
        with exchange(at=gone) as sandbox:
            for order in orders(sandbox, 20):
                cancel_order.sync(PAIR, order, client=bystander)
            with pytest.raises(NotSentError):
                cancel_order.sync(PAIR, *orders(sandbox, 1), client=bystander)
            assert arrived(sandbox) == 20


class HandSet:
    """A clock for the exchange and for its clients that the test sets forward.

    Args:
        runs: Whether it goes on by itself in between.
    """

    def __init__(self, *, runs: bool) -> None:
        self.seconds = 0.0
        self._runs, self._started = runs, time.monotonic()
        self._started_ms = time.time_ns() // 1_000_000
        self.timing = Timing(
            now_ms=self.now_ms,
            monotonic=self.monotonic,
            # However long it is by this clock, whoever waits soon looks again.
            sleep=lambda seconds: time.sleep(min(seconds, 0.01)),
            sleep_async=lambda seconds: asyncio.sleep(min(seconds, 0.01)),
        )

    def monotonic(self) -> float:
        return self.seconds + (time.monotonic() if self._runs else self._started)

    def now_ms(self) -> int:
        return self._started_ms + round((self.monotonic() - self._started) * 1000)


def test_after_a_slow_start_no_window_holds_more_than_the_limit(
    way: Way, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    clock = HandSet(runs=True)
    # The order of the nonces is not what this is about.
    with (
        exchange(clock=clock.now_ms, nonce_rule="unique") as sandbox,
        door(sandbox, contexts[0]) as slow,
    ):

        def burst(number: int, deadline_seconds: float, opens: bool = False) -> dict[str, int]:
            policy = SendingPolicy(limit_share=60 / 900, deadline_seconds=deadline_seconds)
            options = {"base_url": slow.base_url, "timing": clock.timing, "tls": contexts[1]}
            with client_of(sandbox, policy=policy, **options) as client:
                run = Run(way, [client], [cancel(client, each) for each in orders(sandbox, number)])
                if opens:
                    time.sleep(0.3)  # in which they all begin to wait
                    clock.seconds = 20
                    slow.open()
                return kinds(run.results())

        with client_of(sandbox, base_url=slow.base_url, timing=clock.timing) as _memory:
            assert burst(60, 60, opens=True) == {"accepted": 60}
            clock.seconds = 62
            burst(60, 2)
            assert most_in_a_minute(sandbox) == 60
            clock.seconds = 82
            assert burst(1, 2) == {"accepted": 1}
        assert most_in_a_minute(sandbox) == 60


# 2. As many true outcomes as orders.


def test_150_cancels_at_once_are_all_confirmed(sandbox: Sandbox) -> None:
    slow_answers(sandbox, 100)
    ids, client = orders(sandbox, 150), client_of(sandbox)
    run = Run("tasks", [client], [confirm(client, order) for order in ids])
    assert kinds(run.results(within=60)) == {"cancelled": 150}
    assert states(sandbox, ids) == {OrderStatus.CANCELLED}
    assert deletes_per_order(sandbox, ids) == {1}


def test_threads_and_tasks_side_by_side_are_all_confirmed(sandbox: Sandbox) -> None:
    slow_answers(sandbox, 300)
    ids = orders(sandbox, 24)
    # The confirmation's own timeout counts, not this.
    policy = SendingPolicy(deadline_seconds=1)
    clients = [client_of(sandbox, policy=policy) for _ in WAYS]
    runs = [
        Run(way, [client], [confirm(client, order) for order in half])
        for way, client, half in zip(WAYS, clients, (ids[:12], ids[12:]), strict=True)
    ]
    results = [result for run in runs for result in run.results()]
    clients[0].close()
    assert kinds(results) == {"cancelled": 24}
    assert states(sandbox, ids) == {OrderStatus.CANCELLED}
    assert deletes_per_order(sandbox, ids) == {1}


def test_where_time_is_short_every_cancel_leaves_and_what_was_not_read_was_accepted(
    sandbox: Sandbox,
) -> None:
    slow_answers(sandbox, 100)
    # All cancels need 4 s of it, the readings 6 s more.
    ids, client = orders(sandbox, 60), client_of(sandbox)
    results = at_once("tasks", client, [confirm(client, order, timeout=7) for order in ids])
    found = kinds(results)
    assert deletes_per_order(sandbox, ids) == {1}, found
    assert states(sandbox, ids) == {OrderStatus.CANCELLED}
    assert found.keys() <= {"cancelled", "OutcomeUnknownError"}
    assert all(each.accepted for each in results if isinstance(each, OutcomeUnknownError))


def test_a_cancel_that_was_accepted_and_not_read_says_so(sandbox: Sandbox, way: Way) -> None:
    sandbox.faults.add(faults.status(503), probability=1.0, method="GET")
    client = client_of(sandbox)
    (error,) = at_once(way, client, [confirm(client, *orders(sandbox, 1), timeout=0.5)])
    assert isinstance(error, OutcomeUnknownError)
    assert error.accepted


def test_a_cancel_without_an_answer_does_not_say_that_it_was_accepted(
    sandbox: Sandbox, way: Way
) -> None:
    sandbox.faults.add(faults.status(503), probability=1.0)
    client = client_of(sandbox)
    (error,) = at_once(way, client, [confirm(client, *orders(sandbox, 1), timeout=0.5)])
    assert isinstance(error, OutcomeUnknownError)
    assert not error.accepted


# 3. The given timeout owns the whole wait, and the message names what it waited for.


def test_a_confirmation_waits_its_turn_within_its_own_timeout(sandbox: Sandbox, way: Way) -> None:
    slow_answers(sandbox, 300, "DELETE")
    ids = orders(sandbox, 21)
    before = client_of(sandbox)
    queue = Run("threads", [before], [cancel(before, order) for order in ids[1:]])
    client = client_of(sandbox, policy=SendingPolicy(deadline_seconds=0.5))
    results = at_once(way, client, [confirm(client, ids[0], timeout=10)])
    assert kinds(results) == {"cancelled": 1}, results
    assert kinds(queue.results()) == {"accepted": 20}
    before.close()
    assert deletes_per_order(sandbox, ids) == {1}


def test_a_confirmation_waits_for_a_cool_down_within_its_own_timeout(
    sandbox: Sandbox, way: Way
) -> None:
    sandbox.faults.add(faults.status(429, headers={"Retry-After": "1"}))
    ids = orders(sandbox, 2)
    with client_of(sandbox, policy=SendingPolicy(deadline_seconds=0.5)) as refused:
        with pytest.raises(RateLimitedError):
            cancel_order.sync(PAIR, ids[0], client=refused)
        client = client_of(sandbox, policy=SendingPolicy(deadline_seconds=0.5))
        results = at_once(way, client, [confirm(client, ids[1], timeout=10)])
    assert kinds(results) == {"cancelled": 1}, results
    at_ms = [entry.at_ms for entry in sandbox.journal if entry.method == "DELETE"]
    assert len(at_ms) == 2
    assert at_ms[1] - at_ms[0] >= 950


def test_who_waited_in_vain_learns_how_many_waited(sandbox: Sandbox, way: Way) -> None:
    slow_answers(sandbox, 300)
    client = client_of(sandbox)
    jobs = [confirm(client, order, timeout=1.5) for order in orders(sandbox, 60)]
    told = reasons(at_once(way, client, jobs))
    assert len(told) >= 20
    assert not [text for text in told if "Connect" in text]
    assert all(re.search(r"\d", text) for text in told)
    how_many = r"\b[1-9]\d* (?:\w+ )?(?:wait|request|cancel|call|other)"
    assert any(re.search(how_many, text) for text in told)


def test_who_finds_a_full_window_learns_at_once_when_there_is_room(
    sandbox: Sandbox, way: Way
) -> None:
    client = client_of(sandbox, policy=SendingPolicy(limit_share=5 / 900))
    with client_of(sandbox) as _memory:
        at_once(way, client, [cancel(client, order) for order in orders(sandbox, 5)])
        run = Run(way, [client], [confirm(client, *orders(sandbox, 1), timeout=10)])
        (text,) = reasons(run.results())
        client.close()
    assert run.seconds < AT_ONCE_SECONDS
    assert [seconds for seconds in seconds_named(text) if 50 <= seconds <= 62]
    assert arrived(sandbox) == 5


# 4. What changes the book goes before what reads it.


#: In the order in which they are asked: the first keeps all others waiting.
ASKED = "D" + "G" + "D" * 6 + "G" + "D" * 6 + "G"


def asked(sandbox: Sandbox, client: OrdersClient) -> list[Job]:
    ids = orders(sandbox, len(ASKED))
    kinds_of = {"D": cancel, "G": read}
    return [kinds_of[kind](client, order) for kind, order in zip(ASKED, ids, strict=True)]


def order_of_arrival(sandbox: Sandbox) -> str:
    return "".join(entry.method[0] for entry in sandbox.journal)


def test_cancels_go_first_and_a_reading_waits_for_three_of_them(way: Way) -> None:
    # As the clock stands still, the next one leaves when the one before is answered.
    clock = HandSet(runs=False)
    with exchange(clock=clock.now_ms) as sandbox:
        sandbox.faults.add(faults.delay(after_ms=800))
        # In which whoever is next, in a thread of its own, gets to ask.
        slow_answers(sandbox, 50)
        client = client_of(sandbox, timing=clock.timing)
        run = Run(way, [client], asked(sandbox, client), pause=0.01)
        assert kinds(run.results()) == {"accepted": 13, "Order": 3}
        client.close()
        left = order_of_arrival(sandbox)
    assert re.fullmatch("D{2,4}G" + "D{1,3}G" * 2 + "D+", left), left


def test_a_reading_is_not_starved_where_answers_are_slow(sandbox: Sandbox) -> None:
    # A cancel may follow 67 ms after another request, a reading only after 100.
    slow_answers(sandbox, 300)
    client = client_of(sandbox)
    results = at_once("tasks", client, asked(sandbox, client))
    assert kinds(results) == {"accepted": 13, "Order": 3}
    left = order_of_arrival(sandbox)
    # On a busy machine they overtake each other on their way, and one may miss its turn.
    assert re.fullmatch("D{0,5}G" + "D{1,5}G" * 2 + "D*", left), left


def test_a_reading_gets_its_turn_while_many_threads_keep_cancelling_side_by_side() -> None:
    policy = SendingPolicy(limit_share=None, in_flight=8, deadline_seconds=4)
    with exchange(nonce_rule="unique") as sandbox, client_of(sandbox, policy=policy) as client:
        slow_answers(sandbox, 100)
        order, is_over = orders(sandbox, 1)[0], threading.Event()

        def keep_cancelling() -> None:
            while not is_over.is_set():
                with contextlib.suppress(BitoProError):  # on a busy machine
                    cancel_order.sync(PAIR, order, client=client)

        threads = [threading.Thread(target=keep_cancelling) for _ in range(70)]
        for thread in threads:
            thread.start()
        try:
            while arrived(sandbox) < 30:
                time.sleep(0.01)
            assert get_order.sync(PAIR, order, client=client).id == order
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert {entry.status for entry in sandbox.journal} == {200}


async def test_a_cancel_whose_window_is_full_holds_back_no_reading(sandbox: Sandbox) -> None:
    ids = orders(sandbox, 6)
    policy = SendingPolicy(limit_share=5 / 900, deadline_seconds=100)
    async with asyncio.timeout(10), client_of(sandbox, policy=policy) as client:
        for order in ids[:5]:
            await cancel_order.asyncio(PAIR, order, client=client)
        waiting = asyncio.ensure_future(cancel_order.asyncio(PAIR, ids[5], client=client))
        await asyncio.sleep(0.1)
        await get_order.asyncio(PAIR, ids[5], client=client)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert [entry.method for entry in sandbox.journal] == ["DELETE"] * 5 + ["GET"]


def test_a_cancel_that_waits_for_a_cool_down_holds_back_no_reading(sandbox: Sandbox) -> None:
    sandbox.faults.add(faults.status(429, headers={"Retry-After": "2"}))
    ids = orders(sandbox, 3)
    with client_of(sandbox, policy=SendingPolicy(attempts=1)) as refused:
        with pytest.raises(RateLimitedError):
            cancel_order.sync(PAIR, ids[0], client=refused)
        client = client_of(sandbox)
        run = Run("threads", [client], [cancel(client, ids[1]), read(client, ids[2])], pause=0.3)
        assert kinds(run.results()) == {"accepted": 1, "Order": 1}
        client.close()
    assert [entry.method for entry in sandbox.journal] == ["DELETE", "GET", "DELETE"]


# 5. A push that beats the answer.


async def test_a_push_that_beats_the_answer_lets_the_answer_in(sandbox: Sandbox) -> None:
    slow_answers(sandbox, 300, "DELETE")
    ids, records = orders(sandbox, 30), list[AttemptRecord]()
    async with asyncio.timeout(30), client_of(sandbox, on_attempt=records.append) as client:
        async with order_history(client=client, stream_url=sandbox.stream_url) as history:
            outcomes = await asyncio.gather(
                *(cancel_and_confirm_async(client, PAIR, each, history=history) for each in ids)
            )
            while len(records) < arrived(sandbox):  # noqa: ASYNC110 - it is the other side's state
                await asyncio.sleep(0.01)
    assert {outcome.state for outcome in outcomes} == {State.CANCELLED}
    assert sum(outcome.seen_by == "stream" for outcome in outcomes) >= 20, "it did beat the answers"
    cancels = [record.outcome for record in records if record.operation == "cancelOrder"]
    assert cancels == [Outcome.ACCEPTED] * 30
    # Four or five are under way at a time.
    assert len({entry.http_connection for entry in sandbox.journal}) <= 12


async def test_the_outcome_does_not_wait_for_the_answer_that_the_push_beats(
    sandbox: Sandbox,
) -> None:
    slow_answers(sandbox, 1500, "DELETE")
    order, records = orders(sandbox, 1)[0], list[AttemptRecord]()
    async with asyncio.timeout(10), client_of(sandbox, on_attempt=records.append) as client:
        async with order_history(client=client, stream_url=sandbox.stream_url) as history:
            outcome = await cancel_and_confirm_async(client, PAIR, order, history=history)
            assert records == [], "the answer is still to come"
            assert (outcome.state, outcome.seen_by) == (State.CANCELLED, "stream")
            assert outcome.attempts == 1
            while not records:  # noqa: ASYNC110 - it is the other side's state
                await asyncio.sleep(0.01)
    assert [record.outcome for record in records] == [Outcome.ACCEPTED]
