"""One lane per key: the order of nonces over threads, tasks, forks and a network that shuffles."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.types import RateLimit
from bitopro_orders import AttemptRecord, NotSentError, OrdersClient, SendingPolicy, Timing, connect
from bitopro_orders.lanes import Lane, LaneTimeoutError, lane_of
from bitopro_orders.sharing import MemoryLimits, MemoryTurns, Shared
from bitopro_orders.transport import Attempt
from bitopro_sandbox import Sandbox, Settings, faults, serve
from tests.policy.scripted import CREDENTIALS, ORDER_ID, PAIR
from tests.policy.servers import network
from tests.support import ROOT, credentials_of

Rule = Literal["increasing", "unique", "none"]
BIG = 100_000


def exchange(rule: Rule = "increasing") -> Settings:
    """Return an exchange whose limits are in nobody's way, and which accepts a second cancel."""
    return Settings(
        nonce_rule=rule,
        requests_per_minute=BIG,
        general_requests_per_minute=BIG,
        second_cancel=200,
    )


def unlimited(**options: Any) -> SendingPolicy:
    return SendingPolicy(**{"limit_share": None, "deadline_seconds": 30, **options})


def in_threads(client: OrdersClient, threads: int, calls: int) -> list[str]:
    """Cancel `calls` times from so many threads; raise the first error."""

    def cancel(_: int) -> str:
        return cancel_order.sync(PAIR, ORDER_ID, client=client).order_id

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(cancel, range(calls)))


async def in_tasks(client: OrdersClient, calls: int) -> list[str]:
    """Cancel `calls` times in as many tasks."""

    async def cancel() -> str:
        return (await cancel_order.asyncio(PAIR, ORDER_ID, client=client)).order_id

    return await asyncio.gather(*(cancel() for _ in range(calls)))


def nonces(sandbox: Sandbox) -> list[int]:
    return [entry.nonce or 0 for entry in sandbox.journal]


def statuses(sandbox: Sandbox) -> list[int | None]:
    return [entry.status for entry in sandbox.journal]


def increasing(numbers: list[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def test_sixteen_threads_and_two_hundred_tasks_of_one_key_stay_in_order() -> None:
    with serve(exchange()) as sandbox:

        def tasks(client: OrdersClient) -> list[str]:
            async def main() -> list[str]:
                async with client:
                    return await in_tasks(client, 200)

            return asyncio.run(main())

        options: dict[str, Any] = {"base_url": sandbox.base_url, "policy": unlimited()}
        with ThreadPoolExecutor(1) as loop:
            done = loop.submit(tasks, connect(credentials_of(sandbox), **options))
            with connect(credentials_of(sandbox), **options) as client:
                in_threads(client, 16, 160)
            assert len(done.result()) == 200
        assert statuses(sandbox) == [200] * 360
        assert increasing(nonces(sandbox))
        triples = [entry.triple_fingerprint for entry in sandbox.journal]
        assert len(set(triples)) == 360


@pytest.mark.parametrize("way", ["threads", "tasks"])
@pytest.mark.parametrize("rule", ["increasing", "unique"])
def test_on_a_network_where_requests_overtake_each_other_nothing_is_refused(
    rule: Rule, way: str
) -> None:
    with serve(exchange(rule)) as sandbox, network(sandbox, there_ms=(0, 20)) as base_url:
        client = connect(credentials_of(sandbox), base_url=base_url, policy=unlimited())

        async def main() -> None:
            async with client:
                for _ in range(4):
                    await in_tasks(client, 16)

        if way == "tasks":
            asyncio.run(main())
        else:
            with client:
                in_threads(client, 16, 64)
        assert statuses(sandbox).count(200) == 64
        # An answer that takes longer than the spacing lets the next request overlap.
        assert len(sandbox.journal) <= 64 + 2


def test_at_thirty_milliseconds_there_and_back_it_is_faster_than_the_limit() -> None:
    with serve(exchange()) as sandbox, network(sandbox, there_ms=(15, 15), back_ms=15) as base_url:
        with connect(credentials_of(sandbox), base_url=base_url, policy=unlimited()) as client:
            started = time.monotonic()
            in_threads(client, 16, 60)
            assert time.monotonic() - started < 4
        assert statuses(sandbox).count(200) == 60


def test_with_more_in_flight_a_409_makes_it_careful_and_reaches_nobody() -> None:
    with serve(exchange()) as sandbox, network(sandbox, there_ms=(0, 20)) as base_url:
        policy = unlimited(in_flight=8)
        with connect(credentials_of(sandbox), base_url=base_url, policy=policy) as client:
            in_threads(client, 16, 100)
        found = statuses(sandbox)
        assert found.count(200) == 100
        assert 1 <= found.count(409) <= 30  # those that were under way
        assert found[-50:].count(409) <= 1


def test_with_more_in_flight_an_exchange_that_wants_unique_nonces_refuses_nothing() -> None:
    with serve(exchange("unique")) as sandbox, network(sandbox, there_ms=(15, 15)) as base_url:
        policy = unlimited(in_flight=8)
        with connect(credentials_of(sandbox), base_url=base_url, policy=policy) as client:
            started = time.monotonic()
            in_threads(client, 16, 100)
            elapsed = time.monotonic() - started
        assert statuses(sandbox) == [200] * 100
        assert elapsed < 100 * 0.015  # one after the other would take longer


@pytest.mark.parametrize("way", ["thread", "task"])
def test_a_request_without_an_answer_holds_the_next_back_for_the_spacing_only(way: str) -> None:
    with serve(exchange()) as sandbox:
        sandbox.faults.add(faults.delay(after_ms=1500))
        client = connect(credentials_of(sandbox), base_url=sandbox.base_url, policy=unlimited())

        def one() -> float:
            started = time.monotonic()
            cancel_order.sync(PAIR, ORDER_ID, client=client)
            return time.monotonic() - started

        async def one_async() -> float:
            started = time.monotonic()
            await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
            return time.monotonic() - started

        async def main() -> tuple[float, float]:
            async with client:
                slow = asyncio.create_task(one_async())
                await asyncio.sleep(0.02)
                return await one_async(), await slow

        if way == "task":
            quick, slow = asyncio.run(main())
        else:
            with client, ThreadPoolExecutor(1) as thread:
                hung = thread.submit(one)
                while not len(sandbox.journal):
                    time.sleep(0.001)
                quick, slow = one(), hung.result()
        assert slow > 1.4
        assert 0.03 < quick < 0.7
        assert statuses(sandbox) == [200, 200]


FORKING = """
import json, os, sys
from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import SendingPolicy, connect

base_url, key, secret, identity = sys.argv[1:]
policy = SendingPolicy(limit_share=None, fresh_nonces=0)
client = connect(Credentials(key, secret, identity), base_url=base_url, policy=policy)

def cancel(times):
    for _ in range(times):
        cancel_order.sync("BTC_TWD", "2959906694", client=client)

cancel(3)
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        status = 1
        try:
            cancel(20)
            status = 0
        finally:
            os._exit(status)
    children.append(child)
cancel(20)
failed = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
cancel(3)
client.close()
print(json.dumps(failed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_repeats_no_nonce_and_uses_no_connection_of_its_parent() -> None:
    with serve(exchange()) as sandbox:
        account = sandbox.account
        run = subprocess.run(
            [
                sys.executable, "-c", FORKING,
                sandbox.base_url, account.api_key, account.api_secret, account.identity,
            ],
            cwd=ROOT, check=True, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert json.loads(run.stdout) == [0, 0], run.stderr
        assert statuses(sandbox) == [200] * 66
        assert increasing(nonces(sandbox))
        assert len({entry.http_connection for entry in sandbox.journal}) == 3


FORKING_WHILE_BUSY = """
import os, sys, tempfile, threading
from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import connect

base_url, shared, key, secret, identity = sys.argv[1:]
client = connect(Credentials(key, secret, identity), base_url=base_url, shared=shared or None)
cancel_order.sync("BTC_TWD", "2959906694", client=client)
stores = client._sender.lane.shared
held, done = threading.Event(), threading.Event()

def be_in_the_middle():
    limits = stores._limits
    (bucket,) = limits._buckets.values()
    with limits._exclusive(), getattr(bucket, "_lock", None) or bucket.lock:
        held.set()
        done.wait()

thread = threading.Thread(target=be_in_the_middle)
thread.start()
held.wait()
child = os.fork()
done.set()
if not child:
    status = 1
    try:
        cancel_order.sync("BTC_TWD", "2959906694", client=client)
        status = 0
    finally:
        os._exit(status)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("shared", [False, True])
def test_a_child_forked_while_a_thread_counts_can_go_on(shared: bool, tmp_path: Path) -> None:
    with serve(exchange()) as sandbox:
        account = sandbox.account
        run = subprocess.run(
            [
                sys.executable, "-W", "ignore", "-c", FORKING_WHILE_BUSY, sandbox.base_url,
                str(tmp_path) if shared else "", account.api_key, account.api_secret,
                account.identity,
            ],
            cwd=ROOT, check=False, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert statuses(sandbox) == [200, 200]


# The lane by itself

ONE_A_MINUTE = RateLimit("test", 1, 60, ("ip",))
LIMIT = cancel_order.OPERATION.rate_limit


def new_lane(timing: Timing | None = None) -> Lane:
    return Lane(Shared(MemoryLimits(), MemoryTurns()), timing or Timing())


def soon(seconds: float = 5) -> Attempt:
    return Attempt(time.monotonic() + seconds, time.monotonic, seconds)


async def test_a_waiting_task_that_is_cancelled_frees_the_lane() -> None:
    lane = new_lane()
    first = await lane.take_async(ONE_A_MINUTE, 1, soon())
    waiting = [asyncio.create_task(lane.take_async(ONE_A_MINUTE, 1, soon())) for _ in range(5)]
    await asyncio.sleep(0.01)
    for task in (waiting[0], waiting[2], waiting[4]):
        task.cancel()
    await asyncio.sleep(0)
    lane.release(first, processed=True)
    second = await asyncio.wait_for(waiting[1], 1)
    lane.release(second, processed=True)
    third = await asyncio.wait_for(waiting[3], 1)
    lane.release(third, processed=True)
    assert first < second < third
    assert await lane.take_async(ONE_A_MINUTE, 1, soon()) > third


def test_threads_leave_in_the_order_they_came() -> None:
    lane, left = new_lane(), list[int]()

    def leave(number: int) -> None:
        nonce = lane.take(ONE_A_MINUTE, 1, soon())
        left.append(number)
        lane.release(nonce, processed=True)

    first = lane.take(ONE_A_MINUTE, 1, soon())
    threads = [threading.Thread(target=leave, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    assert left == []
    lane.release(first, processed=True)
    for thread in threads:
        thread.join(5)
    assert left == list(range(8))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_turn_that_does_not_come_in_time_is_given_up(is_async: bool) -> None:
    lane = new_lane()
    first = lane.take(ONE_A_MINUTE, 1, soon())
    started = time.monotonic()

    def take() -> int:
        if is_async:
            return asyncio.run(lane.take_async(ONE_A_MINUTE, 1, soon(0.2)))
        return lane.take(ONE_A_MINUTE, 1, soon(0.2))

    with pytest.raises(LaneTimeoutError):
        take()
    assert 0.15 < time.monotonic() - started < 1
    lane.release(first, processed=True)
    assert lane.take(ONE_A_MINUTE, 1, soon(0.2)) > first


def test_an_answer_within_a_short_deadline_is_waited_for_though_the_spacing_is_longer() -> None:
    lane = new_lane()
    first = lane.take(ONE_A_MINUTE, 1, soon())
    threading.Timer(0.1, lambda: lane.release(first, processed=True)).start()
    assert lane.take(ONE_A_MINUTE, 1, soon(2)) > first


@pytest.mark.parametrize("in_flight", [1, 3])
def test_so_many_are_under_way_at_once(in_flight: int) -> None:
    lane = new_lane()
    taken = [lane.take(ONE_A_MINUTE, in_flight, soon()) for _ in range(in_flight)]
    with pytest.raises(LaneTimeoutError):
        lane.take(ONE_A_MINUTE, in_flight, soon(0.05))
    lane.be_careful()
    for nonce in taken[1:]:
        lane.release(nonce, processed=True)
    with pytest.raises(LaneTimeoutError):  # one is still under way
        lane.take(ONE_A_MINUTE, in_flight, soon(0.05))
    lane.release(taken[0], processed=True)
    assert lane.take(ONE_A_MINUTE, in_flight, soon()) > max(taken)


def test_the_nonces_of_a_clock_that_stands_still_end_at_the_cap() -> None:
    lane = new_lane(Timing(now_ms=lambda: 1_800_000_000_000, monotonic=lambda: 0.0))
    found = list[int]()

    def take() -> None:
        found.append(lane.take(ONE_A_MINUTE, 1, Attempt(0.0005, lambda: 0.0, 1)))
        lane.release(found[-1], processed=True)

    for _ in range(5001):
        take()
    with pytest.raises(LaneTimeoutError, match="too far ahead of the clock"):
        take()
    assert found == list(range(1_800_000_000_000, 1_800_000_005_001))


def test_a_clock_set_back_during_use_never_gives_a_smaller_nonce() -> None:
    now = [1_800_000_000_000]
    lane, found = new_lane(Timing(now_ms=lambda: now[0])), list[int]()
    for step in (0, 1, -2000, 0, 500, -1500, 4000):
        now[0] += step
        found.append(lane.take(ONE_A_MINUTE, 1, soon()))
        lane.release(found[-1], processed=True)
    assert increasing(found)
    assert found[-1] - found[0] < 5000


@pytest.mark.parametrize("call", [cancel_order.sync, get_order.sync], ids=["cancel", "read"])
def test_a_clock_set_far_back_sends_nothing(bitopro_sandbox: Sandbox, call: Any) -> None:
    now, records = [time.time_ns() // 1_000_000], list[AttemptRecord]()
    timing = Timing(now_ms=lambda: now[0])
    with connect(
        credentials_of(bitopro_sandbox),
        base_url=bitopro_sandbox.base_url,
        timing=timing,
        on_attempt=records.append,
    ) as client:
        call(PAIR, ORDER_ID, client=client)
        now[0] -= 60_000
        with pytest.raises(NotSentError, match="too far ahead of the clock") as caught:
            call(PAIR, ORDER_ID, client=client)
    assert caught.value.attempts == 0
    assert len(bitopro_sandbox.journal) == len(records) == 1


def test_all_clients_of_a_key_share_its_lane_and_keys_do_not() -> None:
    timing, origin = Timing(), "https://example.com"
    lane = lane_of(CREDENTIALS, None, origin, timing)
    assert lane_of(CREDENTIALS, None, origin, timing) is lane
    other = type(CREDENTIALS)("another-key", "a-secret", "demo@example.com")
    assert lane_of(other, None, origin, timing) is not lane


def test_a_client_of_many_short_clients_keeps_the_order() -> None:
    with serve(exchange()) as sandbox:

        def once(_: int) -> None:
            with connect(
                credentials_of(sandbox), base_url=sandbox.base_url, policy=unlimited()
            ) as client:
                cancel_order.sync(PAIR, ORDER_ID, client=client)

        keep = connect(credentials_of(sandbox), base_url=sandbox.base_url)  # and with it the lane
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(once, range(40)))
        keep.close()
        assert statuses(sandbox) == [200] * 40
        assert increasing(nonces(sandbox))


def test_a_request_whose_connection_still_opens_is_not_overtaken() -> None:
    """The spacing counts from when a request leaves, not from when its turn came."""
    lane = new_lane()
    opening = soon()
    first = lane.take(LIMIT, 1, opening)
    threading.Timer(0.12, opening.leave).start()
    started = time.monotonic()
    assert lane.take(LIMIT, 1, soon()) > first
    spacing = LIMIT.period_seconds / LIMIT.requests
    assert time.monotonic() - started >= 0.12 + spacing - 0.01


def test_a_connection_that_never_opens_holds_nobody_for_long() -> None:
    lane = new_lane()
    first = lane.take(LIMIT, 1, soon())
    started = time.monotonic()
    assert lane.take(LIMIT, 1, soon()) > first
    assert 0.25 <= time.monotonic() - started < 1
