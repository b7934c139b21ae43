"""Processes that share a key: through a folder, and through a real Redis server."""

import asyncio
import contextlib
import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from redis import Redis

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import (
    InvalidArgumentError,
    NotSentError,
    OrdersClient,
    RateLimitedError,
    SendingPolicy,
    connect,
    sharing,
)
from bitopro_orders.sharing import (
    FileLimits,
    FileTurns,
    GuardedShared,
    MemoryLimits,
    RedisTurns,
    Turns,
)
from bitopro_sandbox import Sandbox, Settings, faults, serve
from tests.policy.scripted import CREDENTIALS, ORDER_ID, PAIR
from tests.support import ROOT, credentials_of

BIG = 100_000
EXCHANGE = Settings(requests_per_minute=BIG, general_requests_per_minute=BIG, second_cancel=200)
PROCESSES = 4
CANCELS = cancel_order.OPERATION.rate_limit


class RedisServer:
    """A redis-server on a free port of this machine, without a file of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", str(self._folder),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        give_up = time.monotonic() + 10
        with Redis(port=self.port) as redis:
            while True:
                with contextlib.suppress(Exception):
                    redis.ping()
                    return
                assert time.monotonic() < give_up, "redis-server did not start"
                time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(program, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["folder", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return what processes share, each in turn."""
    if request.param == "folder":
        return str(tmp_path / "shared")
    url: str = request.getfixturevalue("redis_server").url
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
        assert [entry.status for entry in sandbox.journal] == [200] * 100
        nonces = [entry.nonce or 0 for entry in sandbox.journal]
        assert all(a < b for a, b in pairwise(nonces))
        assert [each["warnings"] for each in results] == [[]] * PROCESSES


def test_four_processes_keep_one_limit(shared: str) -> None:
    settings = Settings(requests_per_minute=40, second_cancel=200)
    with serve(settings) as sandbox:
        with workers(sandbox, shared, limit_share=40 / 900, deadline_seconds=3) as found:
            results = all_at_once(found, 15)
        assert outcomes(results) == {"accepted": 40, "NotSentError": 20}
        assert [entry.status for entry in sandbox.journal] == [200] * 40
        assert [each["warnings"] for each in results] == [[]] * PROCESSES


@pytest.mark.parametrize("rule", ["unique", "increasing"])
def test_with_redis_killed_half_way_cancels_go_on(
    redis_server: RedisServer, rule: Literal["unique", "increasing"]
) -> None:
    with serve(attrs.evolve(EXCHANGE, nonce_rule=rule)) as sandbox:
        sandbox.faults.add(faults.delay(after_ms=20), times=BIG)
        with workers(sandbox, redis_server.url, threads=1, deadline_seconds=5) as found:
            for each in found:
                each.begin(30)
            while len(sandbox.journal) < 20:
                time.sleep(0.005)
            redis_server.kill()
            results = [each.result() for each in found]
        total = outcomes(results)
        # Nothing orders the nonces of several processes then: a few may be refused too often.
        assert total["accepted"] >= 110
        assert set(total) <= {"accepted", "ClockMismatchError"}
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


def test_a_cool_down_is_seen_by_other_processes(shared: str) -> None:
    with serve(EXCHANGE) as sandbox:
        with workers(sandbox, shared, deadline_seconds=1) as found:
            sandbox.faults.add(faults.status(429, headers={"Retry-After": "3"}))
            with client_of(sandbox, shared) as client:
                with pytest.raises(RateLimitedError):
                    _first(sandbox, shared)
                started = time.monotonic()
                assert outcomes(all_at_once(found, 2)) == {"NotSentError": 2 * PROCESSES}
                get_order.sync(PAIR, ORDER_ID, client=client)  # of another group
                cancel(client)  # it waits
                assert time.monotonic() - started > 2
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
    monkeypatch.setattr(sharing, "STORE_PAUSE_MS", 500)

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
            redis_server.signal(signal.SIGSTOP)
            assert one(client) < 1
            redis_server.signal(signal.SIGCONT)
            redis_server.kill()
            time.sleep(0.6)  # after which it is asked again
            assert one(client) < 1
            warnings = [r for r in caplog.records if "shared store failed" in r.getMessage()]
            assert {record.levelno for record in warnings} == {logging.WARNING}
            assert len(warnings) == 2
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
        redis_server.signal(signal.SIGSTOP)
        started = time.monotonic()
        try:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda _: cancel(client), range(16)))
        finally:
            redis_server.signal(signal.SIGCONT)
        assert time.monotonic() - started < 2


def test_a_redis_that_was_started_anew_is_shared_again(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "STORE_PAUSE_MS", 500)
    settings = Settings(requests_per_minute=5, second_cancel=200)
    with serve(settings) as sandbox:
        policy = {"limit_share": 5 / 900, "deadline_seconds": 1}
        with client_of(sandbox, redis_server.url, **policy) as client:
            cancel(client)
            redis_server.kill()
            cancel(client)
            redis_server.start()
            time.sleep(0.6)
            cancel(client)
            time.sleep(0.6)
            cancel(client)
            with Redis(port=redis_server.port) as redis:
                assert any(b":requests:" in key for key in redis.keys("*"))


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
            list(pool.map(cancel, clients * 25))
        nonces = [entry.nonce or 0 for entry in sandbox.journal]
        assert all(a < b for a, b in pairwise(nonces))
        assert [entry.status for entry in sandbox.journal] == [200] * 100


def test_limits_that_cannot_be_read_do_not_hold_a_cancel_back(
    bitopro_sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "limits.sqlite").write_bytes(b"this is no database" * 100)
    with client_of(bitopro_sandbox, str(tmp_path)) as client:
        cancel(client)
    assert any("shared store failed" in record.getMessage() for record in caplog.records)


# The limits and the turns by themselves


def test_a_new_file_of_limits_is_shared_from_the_first_request_on(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)

    def admit(folder: Path) -> int:
        limits, now_ms = FileLimits(folder / "limits.sqlite"), time.time_ns() // 1_000_000
        barrier.wait(10)
        return limits.admit(CANCELS, 3 / 900, now_ms)

    for number in range(100):
        (folder := tmp_path / str(number)).mkdir()
        with ThreadPoolExecutor(4) as pool:
            waits = list(pool.map(admit, [folder] * 4))
        assert sum(wait_ms == 0 for wait_ms in waits) == 3


@pytest.fixture
def new_turns(shared: str, tmp_path: Path) -> Iterator[Callable[[], Turns]]:
    """Make what another process would: a store of the same turns."""
    with ExitStack() as stack:

        def make() -> Turns:
            if not shared.startswith("redis"):
                return FileTurns(tmp_path / "turns")
            return RedisTurns(stack.enter_context(Redis.from_url(shared)), "test")

        yield make


def test_a_turn_is_held_until_it_is_released_or_its_time_is_up(
    new_turns: Callable[[], Turns],
) -> None:
    mine, yours = new_turns(), new_turns()
    now_ms = 1_800_000_000_000
    first = mine.take(now_ms, 300, 0)
    assert first.nonce == now_ms
    waiting = yours.take(now_ms, 300, 0)
    assert waiting.nonce == 0
    assert 0 < waiting.wait_ms <= 300
    mine.release(first.nonce, processed=True)
    second = yours.take(now_ms, 200, 0)
    assert second.nonce == now_ms + 1
    assert mine.take(now_ms, 200, 0).nonce == 0
    mine.release(first.nonce, processed=True)  # late, and no longer its turn
    assert mine.take(now_ms, 200, 0).nonce == 0
    time.sleep(0.25)
    assert mine.take(now_ms, 0, 0).nonce == now_ms + 2


def test_nonces_go_on_after_the_floor_and_up_to_the_cap(new_turns: Callable[[], Turns]) -> None:
    turns, now_ms = new_turns(), 1_800_000_000_000
    assert turns.take(now_ms, 0, now_ms + 4000).nonce == now_ms + 4001
    assert turns.take(now_ms, 0, 0).nonce == now_ms + 4002
    early = turns.take(now_ms - 2000, 0, 0)
    assert (early.nonce, early.wait_ms, early.is_early) == (0, 1003, True)
    assert new_turns().take(now_ms, 0, 0).nonce == now_ms + 4003


def test_nonces_go_on_where_a_store_that_fails_has_been(tmp_path: Path) -> None:
    turns, now_ms = FileTurns(tmp_path / "turns"), 1_800_000_000_000
    shared = GuardedShared(MemoryLimits(), turns, is_remote=False, fall_back=True)
    found = [shared.take(now_ms, 0).nonce for _ in range(3)]
    turns.close()
    found += [shared.take(now_ms, 0).nonce for _ in range(3)]
    assert found == list(range(now_ms, now_ms + 6))


def test_refused_nonces_are_forgotten_and_used_ones_are_not(
    new_turns: Callable[[], Turns],
) -> None:
    turns, now_ms = new_turns(), 1_800_000_000_000
    used = turns.take(now_ms, 0, 0).nonce
    turns.release(used, processed=True)
    refused = turns.take(now_ms + 300_000, 0, 0).nonce
    turns.release(refused, processed=False)
    turns.rewind()
    assert turns.take(now_ms - 1000, 0, 0).nonce == used + 1


def test_a_hold_of_a_clock_that_was_set_back_ends(redis_server: RedisServer) -> None:
    with Redis(port=redis_server.port) as redis:
        turns = RedisTurns(redis, "test")
        first = turns.take(1_800_000_000_000, 100, 0)
        redis.hset("test:turns", "until", str((time.time_ns() // 1_000_000) + 3_600_000))
        assert turns.take(1_800_000_000_001, 100, 0).nonce > first.nonce
