"""Processes that share a key: through a folder, and through a real Redis server."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import (
    InvalidArgumentError,
    NotSentError,
    OrdersClient,
    RateLimitedError,
    SendingPolicy,
    connect,
)
from bitopro_orders.throttle import shared as throttle_shared
from bitopro_sandbox import Sandbox, Settings, faults, serve
from tests.policy.scripted import CREDENTIALS, ORDER_ID, PAIR
from tests.support import ROOT, credentials_of
from tests.throttle.stores import RedisServer

BIG = 100_000
EXCHANGE = Settings(requests_per_minute=BIG, general_requests_per_minute=BIG, second_cancel=200)
PROCESSES = 4


@pytest.fixture(params=["folder", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return what processes share, each in turn."""
    if request.param == "folder":
        return str(tmp_path / "shared")
    url: str = request.getfixturevalue("redis_url")
    return url


class Worker:
    def __init__(self, sandbox: Sandbox, shared: str, threads: int, policy: dict[str, Any]) -> None:
        account = sandbox.account
        settings = {
            "base_url": sandbox.base_url,
            "credentials": [account.api_key, account.api_secret, account.identity],
            "shared": shared,
            "threads": threads,
            "policy": policy,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.policy.worker", json.dumps(settings)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hears(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def begin(self, calls: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.hears())
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(10) == 0
        finally:
            self._process.kill()
            self._process.stdout.close()


@contextmanager
def workers(
    sandbox: Sandbox, shared: str, *, threads: int = 4, **policy: Any
) -> Iterator[list[Worker]]:
    """Run the processes, all of them ready to begin."""
    with ExitStack() as stack:
        found = []
        for _ in range(PROCESSES):
            found.append(Worker(sandbox, shared, threads, policy))
            stack.callback(found[-1].close)
        assert all(each.hears() == "ready\n" for each in found)
        yield found


def outcomes(results: list[dict[str, Any]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in results:
        total.update(each["outcomes"])
    return total


def all_at_once(found: list[Worker], calls: int) -> list[dict[str, Any]]:
    for each in found:
        each.begin(calls)
    return [each.result() for each in found]


def test_four_processes_of_one_key_stay_in_order(shared: str) -> None:
    with serve(EXCHANGE) as sandbox:
        with workers(sandbox, shared, limit_share=None, deadline_seconds=30) as found:
            results = all_at_once(found, 25)
        assert outcomes(results) == {"accepted": 100}
        # The exchange wants them in order. An answer that takes longer than the spacing, on a busy
        # machine, lets the next request overlap.
        assert sorted(entry.status or 0 for entry in sandbox.journal)[:100] == [200] * 100
        assert len(sandbox.journal) <= 102
        assert len({entry.nonce for entry in sandbox.journal}) == len(sandbox.journal)
        assert [each["warnings"] for each in results] == [[]] * PROCESSES


def test_four_processes_keep_one_limit(shared: str) -> None:
    settings = Settings(requests_per_minute=40, second_cancel=200)
    with serve(settings) as sandbox:
        with workers(sandbox, shared, limit_share=40 / 900, deadline_seconds=3) as found:
            results = all_at_once(found, 15)
        assert outcomes(results) == {"accepted": 40, "NotSentError": 20}
        assert [entry.status for entry in sandbox.journal] == [200] * 40
        assert [each["warnings"] for each in results] == [[]] * PROCESSES


def test_with_redis_killed_half_way_cancels_go_on(redis_server: RedisServer) -> None:
    with serve(EXCHANGE) as sandbox:
        sandbox.faults.add(faults.delay(after_ms=20), times=BIG)
        with workers(sandbox, redis_server.url, threads=1, deadline_seconds=10) as found:
            for each in found:
                each.begin(15)
            while len(sandbox.journal) < 20:
                time.sleep(0.005)
            redis_server.kill()
            results = [each.result() for each in found]
        assert outcomes(results) == {"accepted": 15 * PROCESSES}
        assert len({entry.nonce for entry in sandbox.journal}) == len(sandbox.journal)
        assert all(
            any("shared store failed" in text for text in each["warnings"]) for each in results
        )


# In one process, with two folders' or servers' worth of clients


@contextmanager
def client_of(sandbox: Sandbox, shared: str, **policy: Any) -> Iterator[OrdersClient]:
    with connect(
        credentials_of(sandbox),
        base_url=sandbox.base_url,
        shared=shared,
        policy=SendingPolicy(**policy),
    ) as client:
        yield client


def cancel(client: OrdersClient) -> float:
    """Cancel and return how long it took."""
    started = time.monotonic()
    cancel_order.sync(PAIR, ORDER_ID, client=client)
    return time.monotonic() - started


def go_on(server: RedisServer) -> None:
    """Let a server that was stopped answer again."""
    assert server._process is not None
    server._process.send_signal(signal.SIGCONT)


def test_a_cool_down_is_seen_by_other_processes(shared: str) -> None:
    with serve(EXCHANGE) as sandbox:
        with workers(sandbox, shared, deadline_seconds=1) as found:
            sandbox.faults.add(faults.status(429, headers={"Retry-After": "2"}))
            with client_of(sandbox, shared) as client:
                with pytest.raises(RateLimitedError):
                    _first(sandbox, shared)
                started = time.monotonic()
                assert outcomes(all_at_once(found, 2)) == {"NotSentError": 2 * PROCESSES}
                get_order.sync(PAIR, ORDER_ID, client=client)  # of another group
                cancel(client)  # it waits
                assert time.monotonic() - started > 1
            assert outcomes(all_at_once(found, 2)) == {"accepted": 2 * PROCESSES}
        assert [entry.status for entry in sandbox.journal].count(429) == 1


def _first(sandbox: Sandbox, shared: str) -> None:
    with client_of(sandbox, shared, deadline_seconds=1) as client:
        cancel(client)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_redis_that_is_down_or_hangs_holds_no_cancel_back(
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle_shared, "PAUSE_SECONDS", 0.5)

    async def cancel_async(client: OrdersClient) -> float:
        started = time.monotonic()
        await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
        return time.monotonic() - started

    with serve(EXCHANGE) as sandbox, asyncio.Runner() as runner:

        def one(client: OrdersClient) -> float:
            return cancel(client) if way == "sync" else runner.run(cancel_async(client))

        with client_of(sandbox, redis_server.url) as client:
            one(client)
            assert caplog.records == []
            redis_server.stop()
            assert one(client) < 1
            go_on(redis_server)
            redis_server.kill()
            time.sleep(0.6)  # after which it is asked again
            assert one(client) < 1
            warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
            assert {record.levelno for record in warnings} == {logging.WARNING}
            # Once for each time that it begins to fail, and not for each call.
            assert 1 <= len(warnings) <= 2
            assert all("shared store failed" in record.getMessage() for record in warnings)
        nonces = [entry.nonce or 0 for entry in sandbox.journal]
        assert all(a < b for a, b in pairwise(nonces))
        assert [entry.status for entry in sandbox.journal] == [200] * 3
        runner.run(_close(client))


async def _close(client: OrdersClient) -> None:
    async with client:
        pass


def test_sixteen_threads_do_not_queue_up_at_a_redis_that_hangs(redis_server: RedisServer) -> None:
    with serve(EXCHANGE) as sandbox, client_of(sandbox, redis_server.url) as client:
        cancel(client)
        redis_server.stop()
        started = time.monotonic()
        try:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda _: cancel(client), range(16)))
        finally:
            go_on(redis_server)
        assert time.monotonic() - started < 5


def test_without_the_fallback_a_store_that_is_down_sends_nothing(
    redis_server: RedisServer,
) -> None:
    with serve(EXCHANGE) as sandbox:
        with client_of(sandbox, redis_server.url, local_if_shared_fails=False) as client:
            cancel(client)
            redis_server.kill()
            with pytest.raises(NotSentError, match="the shared store failed") as caught:
                cancel(client)
        assert caught.value.attempts == 0
        assert len(sandbox.journal) == 1


# Stores that cannot be used


@pytest.mark.parametrize(
    "where",
    [
        "redis://127.0.0.1:notaport/0",
        "redis://127.0.0.1:70000/0",
        "reddis://127.0.0.1:6379/0",
        "http://127.0.0.1:6379",
        "",
    ],
)
def test_a_bad_url_is_a_bad_argument(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match="shared"):
        connect(CREDENTIALS, shared=where)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_a_bad_argument(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for where in ("file", "file/below"):
        with pytest.raises(InvalidArgumentError, match="cannot be used"):
            connect(CREDENTIALS, shared=str(tmp_path / where))


def test_a_folder_by_any_name_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["shared", "./shared", str(tmp_path / "shared"), f"{tmp_path}/shared/"]
    with serve(EXCHANGE) as sandbox, ExitStack() as stack:
        clients = [
            stack.enter_context(client_of(sandbox, name, deadline_seconds=30)) for name in names
        ]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(cancel, clients * 10))
        assert [entry.status for entry in sandbox.journal].count(200) == 40
        assert len({entry.nonce for entry in sandbox.journal}) == len(sandbox.journal)
    assert len(list((tmp_path / "shared").glob("*.throttle"))) == 1


def test_a_state_that_cannot_be_read_does_not_hold_a_cancel_back(tmp_path: Path) -> None:
    with serve(EXCHANGE) as sandbox, client_of(sandbox, str(tmp_path)) as client:
        cancel(client)
        files = list(tmp_path.iterdir())
        assert files
        for file in files:
            file.write_bytes(b"this is no state" * 1000)
        assert cancel(client) < 1
        nonces = [entry.nonce or 0 for entry in sandbox.journal]
        assert nonces[0] < nonces[1]
