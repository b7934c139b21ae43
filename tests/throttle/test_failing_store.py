"""A store that fails costs neither the limit nor a call: each process goes on within its share."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Sandbox, Settings, serve
from tests.support import ROOT, credentials_of
from tests.throttle.member import ORDER_ID, PAIR, Member, all_at_once, members, total
from tests.throttle.stores import RedisServer, locked, redis_server

BIG = 100_000
#: The oracle is what arrives, so the exchange itself refuses no number of requests.
EXCHANGE = Settings(requests_per_minute=BIG, general_requests_per_minute=BIG, second_cancel=200)
LIMIT = 40

stopped_or_killed = pytest.mark.parametrize(
    "fail", [RedisServer.kill, RedisServer.stop], ids=["killed", "stopped"]
)


def client_of(sandbox: Sandbox, shared: str, limit: int) -> OrdersClient:
    policy = SendingPolicy(limit_share=limit / 900, deadline_seconds=1)
    return connect(credentials_of(sandbox), base_url=sandbox.base_url, shared=shared, policy=policy)


def outcome(client: OrdersClient) -> str:
    try:
        cancel_order.sync(PAIR, ORDER_ID, client=client)
    except BitoProError as error:
        return type(error).__name__
    return "accepted"


def arrived(sandbox: Sandbox) -> int:
    """Return how many requests arrived: all within one window, as these tests are short."""
    return len(sandbox.journal)


def used_twice(sandbox: Sandbox, since: int = 0) -> list[int | None]:
    """Return the nonces that came more than once, after so many requests."""
    nonces = Counter(entry.nonce for entry in list(sandbox.journal)[since:])
    return [nonce for nonce, times in nonces.items() if times > 1]


def refused(sandbox: Sandbox) -> int:
    """Return how many requests were answered with 409; nothing else is wrong with any."""
    statuses = Counter(entry.status for entry in sandbox.journal)
    assert set(statuses) <= {200, 409}
    return statuses[409]


# The limit


@pytest.mark.parametrize("failure", ["redis killed", "redis stopped", "folder locked"])
def test_what_left_before_the_store_failed_still_counts(failure: str, tmp_path: Path) -> None:
    few, folder = 10, tmp_path / "shared"
    with serve(EXCHANGE) as sandbox, ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path)) if "redis" in failure else None
        client = stack.enter_context(client_of(sandbox, redis.url if redis else str(folder), few))
        assert [outcome(client) for _ in range(few)] == ["accepted"] * few
        if redis is None:
            stack.enter_context(locked(folder, hold=30, pause=0))
        elif failure == "redis killed":
            redis.kill()
        else:
            redis.stop()
        assert [outcome(client) for _ in range(2)] == ["NotSentError"] * 2
        assert arrived(sandbox) == few


def test_a_store_that_comes_back_empty_is_told_what_left(tmp_path: Path) -> None:
    few = 10
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as redis:
        with client_of(sandbox, redis.url, few) as client:
            for _ in range(few - 1):
                cancel_order.sync(PAIR, ORDER_ID, client=client)
            redis.kill()
            redis.start()
            # There is room for one more, and then none, whenever the store is asked again.
            give_up = time.monotonic() + 6
            while outcome(client) == "accepted" or not told(redis):
                assert arrived(sandbox) <= few
                assert time.monotonic() < give_up, "the store is never asked again"
                time.sleep(0.1)
            assert [outcome(client) for _ in range(2)] == ["NotSentError"] * 2
        assert arrived(sandbox) == few


def told(redis: RedisServer) -> bool:
    """Say whether anything is kept in it."""
    with redis.open() as own:
        return int(own.dbsize()) > 0


@pytest.mark.parametrize(
    ("before", "fail"),
    [((8, 8), RedisServer.kill), ((2, 22), RedisServer.kill), ((2, 22), RedisServer.stop)],
    ids=["evenly-killed", "unevenly-killed", "unevenly-stopped"],
)
def test_processes_whose_store_fails_stay_within_the_limit_together(
    before: tuple[int, int], fail: Callable[[RedisServer], None], tmp_path: Path
) -> None:
    policy = {"limit_share": LIMIT / 900, "deadline_seconds": 3}
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as redis:
        starting = [Member(sandbox, redis.url, threads=2 * LIMIT, policy=policy) for _ in range(2)]
        with members(*starting) as found:
            # One after another and last of all a cancel of each: both have seen nearly all of it.
            for each, calls in zip(found, before, strict=True):
                each.begin(calls - 1)
                assert each.report().outcomes == {"accepted": calls - 1}
            for each in found:
                each.begin(1)
                assert each.report().outcomes == {"accepted": 1}
            assert arrived(sandbox) == sum(before)
            fail(redis)
            reports = all_at_once(found, LIMIT)
        assert arrived(sandbox) <= LIMIT
        outcomes = total(reports)
        # Without the store a nonce may be refused, and its call find no room to be sent again.
        assert set(outcomes) <= {"accepted", "NotSentError", "ClockMismatchError"}
        # Whoever has used less than its share goes on, in its own time.
        assert reports[0].outcomes["accepted"] > 0
        assert sum(before) + outcomes["accepted"] == arrived(sandbox) - refused(sandbox)
        # The last one that the store gave may be given again, right after: it is signed again then.
        assert used_twice(sandbox, since=sum(before)) == []


# The nonces


def until_no_nonce_is_used_twice(
    scenario: Callable[[Path], list[int | None]], folder: Path
) -> None:
    """Play it up to three times.

    On a busy machine the store fails for one process before the others. Until then it still gives
    them nonces, and two may be equal: the exchange refuses one, which is signed again.
    """
    for number in range(3):
        (here := folder / str(number)).mkdir()
        if not (found := scenario(here)):
            return
    assert found == []


@stopped_or_killed
def test_four_processes_without_their_store_lose_no_call_and_use_no_nonce_twice(
    fail: Callable[[RedisServer], None], tmp_path: Path
) -> None:
    calls = 10
    policy = {"deadline_seconds": 20}

    def scenario(folder: Path) -> list[int | None]:
        with serve(EXCHANGE) as sandbox, redis_server(folder) as redis:
            starting = [Member(sandbox, redis.url, threads=1, policy=policy) for _ in range(4)]
            with members(*starting) as found:
                assert total(all_at_once(found, 2)) == {"accepted": 8}
                fail(redis)
                outcomes = total(all_at_once(found, calls))
            print(f"{refused(sandbox)} of {arrived(sandbox)} requests were answered with 409")
            assert outcomes == {"accepted": 4 * calls}
            return used_twice(sandbox)

    until_no_nonce_is_used_twice(scenario, tmp_path)


FORKS = """
import json, os, sys
from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import SendingPolicy, connect

settings = json.loads(sys.argv[1])

def cancel(times):
    for _ in range(times):
        cancel_order.sync("BTC_TWD", "2959906694", client=client)

client = connect(
    Credentials(*settings["credentials"]), base_url=settings["base_url"],
    shared=settings["shared"], policy=SendingPolicy(deadline_seconds=20),
)
cancel(1)
children = []
for _ in range(3):
    if not (child := os.fork()):
        cancel(8)
        os._exit(0)
    children.append(child)
cancel(8)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""


def test_forked_children_without_their_store_use_no_nonce_twice(tmp_path: Path) -> None:
    def scenario(folder: Path) -> list[int | None]:
        with serve(EXCHANGE) as sandbox, redis_server(folder) as redis:
            account, url = sandbox.account, redis.url
            redis.kill()
            settings: dict[str, Any] = {
                "credentials": [account.api_key, account.api_secret, account.identity],
                "base_url": sandbox.base_url,
                "shared": url,
            }
            done = subprocess.run(
                [sys.executable, "-c", FORKS, json.dumps(settings)],
                cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            print(f"{refused(sandbox)} of {arrived(sandbox)} requests were answered with 409")
            assert arrived(sandbox) - refused(sandbox) == 1 + 4 * 8
            return used_twice(sandbox)

    until_no_nonce_is_used_twice(scenario, tmp_path)
