"""One key: the order of its nonces over threads, tasks, forks and a network that shuffles."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import AttemptRecord, OrdersClient, SendingPolicy, Timing, connect
from bitopro_orders.throttle import Key, throttle_of
from bitopro_sandbox import Sandbox, Settings, faults, serve
from tests.policy.scripted import CREDENTIALS, ORDER_ID, PAIR
from tests.policy.servers import network
from tests.support import ROOT, TIMELESS, credentials_of

Rule = Literal["increasing", "unique", "none"]
BIG = 100_000
LIMIT = cancel_order.OPERATION.rate_limit
SPACING = LIMIT.period_seconds / LIMIT.requests


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
        records = list[AttemptRecord]()
        client = connect(
            credentials_of(sandbox),
            base_url=base_url,
            policy=unlimited(),
            on_attempt=records.append,
        )

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
        slow = sum(record.milliseconds > SPACING * 1000 for record in records)
        assert len(sandbox.journal) <= 64 + slow


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
        sandbox.faults.add(faults.delay(after_ms=1000))
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
                while not len(sandbox.journal):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.001)
                return await one_async(), await slow

        if way == "task":
            quick, slow = asyncio.run(main())
        else:
            with client, ThreadPoolExecutor(1) as thread:
                hung = thread.submit(one)
                while not len(sandbox.journal):
                    time.sleep(0.001)
                quick, slow = one(), hung.result()
        assert slow > 0.9
        assert 0.03 < quick < 0.7
        assert statuses(sandbox) == [200, 200]


FORKING = """
import json, os, sys
from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import SendingPolicy, connect

base_url, shared, key, secret, identity = sys.argv[1:]
policy = SendingPolicy(limit_share=None, fresh_nonces=0)
client = connect(
    Credentials(key, secret, identity), base_url=base_url, policy=policy, shared=shared or None
)

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
@pytest.mark.parametrize("shared", ["", "folder"])
def test_a_forked_child_uses_no_connection_of_its_parent_and_repeats_no_nonce_of_a_folder(
    shared: str, tmp_path: Path
) -> None:
    # In memory each child counts for itself.
    with serve(exchange("unique" if shared else "none")) as sandbox:
        account = sandbox.account
        run = subprocess.run(
            [
                sys.executable, "-c", FORKING, sandbox.base_url,
                str(tmp_path / shared) if shared else "",
                account.api_key, account.api_secret, account.identity,
            ],
            cwd=ROOT, check=True, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert json.loads(run.stdout) == [0, 0], run.stderr
        assert statuses(sandbox) == [200] * 66
        assert len({entry.http_connection for entry in sandbox.journal}) == 3
        if shared:
            assert len(set(nonces(sandbox))) == 66


async def test_a_waiting_task_that_is_cancelled_holds_nobody_back() -> None:
    with serve(exchange()) as sandbox:
        sandbox.faults.add(faults.delay(after_ms=200), times=1)
        async with connect(
            credentials_of(sandbox), base_url=sandbox.base_url, policy=unlimited(), timing=TIMELESS
        ) as client:
            tasks = [
                asyncio.create_task(cancel_order.asyncio(PAIR, ORDER_ID, client=client))
                for _ in range(6)
            ]
            while not len(sandbox.journal):  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.001)
            given_up = [tasks[1], tasks[3], tasks[5]]
            for task in given_up:
                task.cancel()
            async with asyncio.timeout(10):
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in ended] == [
            task in given_up for task in tasks
        ]
        assert statuses(sandbox) == [200] * 3
        assert increasing(nonces(sandbox))


@pytest.mark.parametrize("call", [cancel_order.sync, get_order.sync], ids=["cancel", "read"])
def test_a_clock_set_far_back_stops_nothing(call: Callable[..., object]) -> None:
    now = [time.time_ns() // 1_000_000]
    with serve(exchange()) as sandbox:
        with connect(
            credentials_of(sandbox),
            base_url=sandbox.base_url,
            timing=Timing(now_ms=lambda: now[0]),
        ) as client:
            call(PAIR, ORDER_ID, client=client)
            now[0] -= 3_600_000
            call(PAIR, ORDER_ID, client=client)
        assert statuses(sandbox) == [200, 200]
        first, second = nonces(sandbox)
        assert second == first + 1


def test_all_clients_of_an_exchange_share_its_throttle_and_keys_their_queues() -> None:
    timing, origin = Timing(), "https://example.com"
    throttle = throttle_of(origin, None, timing)
    assert throttle_of(origin, None, timing) is throttle
    assert throttle_of("https://example.org", None, timing) is not throttle
    assert throttle_of(origin, None, Timing(random=lambda: 0.5)) is not throttle
    key = Key.of(CREDENTIALS, "")
    other = Key.of(type(CREDENTIALS)("another-key", "a-secret", "demo@example.com"), "")
    assert (key.account, key.address) == (other.account, other.address)
    mine, yours = key.part(()), other.part(())
    assert throttle.queue(mine, "x", 1.0) is throttle.queue(mine, "x", 1.0)
    assert throttle.queue(yours, "x", 1.0) is not throttle.queue(mine, "x", 1.0)
    assert throttle.queue(mine, "x", 0.5) is not throttle.queue(mine, "x", 1.0)


def test_a_client_of_many_short_clients_keeps_the_order() -> None:
    with serve(exchange()) as sandbox:

        def once(_: int) -> None:
            with connect(
                credentials_of(sandbox), base_url=sandbox.base_url, policy=unlimited()
            ) as client:
                cancel_order.sync(PAIR, ORDER_ID, client=client)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(once, range(40)))
        assert statuses(sandbox) == [200] * 40
        assert increasing(nonces(sandbox))
