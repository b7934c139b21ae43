"""A client for each cancel: the limit, a cool-down and the clock's correction outlive them."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import NotSentError, RateLimitedError, SendingPolicy, Timing
from bitopro_sandbox import Sandbox, faults
from tests.throttle.panic import (
    PAIR,
    WAYS,
    Job,
    Run,
    Way,
    arrived,
    client_of,
    exchange,
    kinds,
    orders,
    reasons,
    seconds_named,
)

AT_ONCE_SECONDS = 2.0


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with exchange() as found:
        yield found


def in_thread(sandbox: Sandbox, order: str, **options: Any) -> object:
    """Cancel an order as in the README."""
    with client_of(sandbox, **options) as client:
        return cancel_order.sync(PAIR, order, client=client)


async def in_task(sandbox: Sandbox, order: str, **options: Any) -> object:
    """Cancel an order as in the README, in a task."""
    async with client_of(sandbox, **options) as client:
        return await cancel_order.asyncio(PAIR, order, client=client)


@pytest.fixture(params=WAYS)
def cancel_each(request: pytest.FixtureRequest) -> Callable[..., list[object]]:
    """Cancel orders one after the other, each with a client of its own."""

    def run(sandbox: Sandbox, number: int, **options: Any) -> list[object]:
        results: list[object] = []
        for count, order in enumerate(orders(sandbox, number)):
            try:
                if request.param == "tasks":
                    results.append(asyncio.run(in_task(sandbox, order, **options)))
                else:
                    results.append(in_thread(sandbox, order, **options))
            except Exception as error:  # noqa: BLE001 - the test judges it
                # Its frames would keep the client.
                results.append(error.with_traceback(None))
            if count % 10 == 9:
                gc.collect()
        return results

    return run


def test_the_limit_is_kept(sandbox: Sandbox, cancel_each: Callable[..., list[object]]) -> None:
    policy = SendingPolicy(limit_share=20 / 900, deadline_seconds=30)
    started = time.monotonic()
    results = cancel_each(sandbox, 40, policy=policy)
    assert time.monotonic() - started < 20 * 30, "none waits for what comes after its deadline"
    assert kinds(results[:20]) == {"accepted": 20}
    assert kinds(results[20:]) == {"NotSentError": 20}
    assert arrived(sandbox) == 20
    for text in reasons(results):
        assert [seconds for seconds in seconds_named(text) if 20 <= seconds <= 62], text


@pytest.mark.parametrize("way", WAYS)
def test_the_limit_is_kept_by_many_at_once(sandbox: Sandbox, way: Way) -> None:
    policy = SendingPolicy(limit_share=20 / 900)

    def job(order: str) -> Job:
        return Job(
            lambda: in_thread(sandbox, order, policy=policy),
            lambda: in_task(sandbox, order, policy=policy),
        )

    results = Run(way, [], [job(order) for order in orders(sandbox, 40)]).results()
    assert kinds(results) == {"accepted": 20, "NotSentError": 20}
    assert arrived(sandbox) == 20


def test_the_thousandth_client_finds_the_window_full(sandbox: Sandbox) -> None:
    ids = orders(sandbox, 1000)
    outcomes: list[object] = []
    for order in ids:
        try:
            outcomes.append(in_thread(sandbox, order))
        except NotSentError as error:
            outcomes.append(error.with_traceback(None))
    assert kinds(outcomes) == {"accepted": 900, "NotSentError": 100}
    assert arrived(sandbox) == 900
    nonces = [entry.nonce or 0 for entry in sandbox.journal]
    assert all(before < after for before, after in pairwise(nonces))


def test_a_cool_down_is_kept(sandbox: Sandbox, cancel_each: Callable[..., list[object]]) -> None:
    sandbox.faults.add(faults.status(429, headers={"Retry-After": "60"}))
    started = time.monotonic()
    refused, *others = cancel_each(sandbox, 5)
    assert time.monotonic() - started < 5 * AT_ONCE_SECONDS
    assert isinstance(refused, RateLimitedError)
    assert refused.retry_after == 60
    assert kinds(others) == {"NotSentError": 4}
    assert arrived(sandbox) == 1
    for text in reasons(others):
        assert [seconds for seconds in seconds_named(text) if 45 <= seconds <= 60], text


@pytest.mark.parametrize("ahead_ms", [300_000, -300_000])
def test_a_wrong_clock_costs_one_409_in_all(
    sandbox: Sandbox, cancel_each: Callable[..., list[object]], ahead_ms: int
) -> None:
    timing = Timing(now_ms=lambda: time.time_ns() // 1_000_000 + ahead_ms)
    results = cancel_each(sandbox, 5, timing=timing)
    assert [entry.status for entry in sandbox.journal] == [409] + [200] * 5
    assert kinds(results) == {"accepted": 5}
