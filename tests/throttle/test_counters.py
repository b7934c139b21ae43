"""What is counted together and what apart, with whose settings, and how much is kept of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
import pytest
from redis import Redis

from bitopro_auth import Credentials, system_clock_ms
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.types import Call, RateLimit
from bitopro_orders import (
    BitoProError,
    OrdersClient,
    SendingPolicy,
    Timing,
    connect,
    order_history,
)
from bitopro_sandbox import Account, Sandbox, Settings, faults, serve
from tests.throttle.member import ORDER_ID, PAIR, Member, all_at_once, members, total
from tests.throttle.stores import redis_server

Way: TypeAlias = Literal["sync", "async"]
Store: TypeAlias = Literal["memory", "folder", "redis"]

BIG = 100_000
ONE = Account(api_key="one", api_secret="first", identity="one@example.com")
TWO = Account(api_key="two", api_secret="second", identity="two@example.com")
#: The oracle is what arrives, so the exchange itself refuses nothing.
EXCHANGE = Settings(
    accounts=(ONE, TWO),
    requests_per_minute=BIG,
    general_requests_per_minute=BIG,
    second_cancel=200,
)
LIMIT = 20
#: Calls for which the limit has no room are not sent; the others have time enough.
SCARCE = SendingPolicy(limit_share=LIMIT / 900, deadline_seconds=3)


@contextmanager
def store(kind: Store, tmp_path: Path) -> Iterator[str | None]:
    """Run what clients share."""
    if kind == "redis":
        with redis_server(tmp_path) as server:
            yield server.url
    else:
        yield str(tmp_path / "shared") if kind == "folder" else None


def client_of(
    sandbox: Sandbox, account: Account = ONE, policy: SendingPolicy = SCARCE, **options: Any
) -> OrdersClient:
    credentials = Credentials(account.api_key, account.api_secret, account.identity)
    return connect(credentials, base_url=sandbox.base_url, policy=policy, **options)


async def in_turn_async(*clients: OrdersClient) -> list[str]:
    """Cancel once with each client, one after another, and return how each ended."""
    return [await outcome_async(client) for client in clients]


async def at_once_async(*clients: OrdersClient) -> list[str]:
    """Cancel once with each client, all at once, and return how each ended."""
    return await asyncio.gather(*map(outcome_async, clients))


async def outcome_async(client: OrdersClient) -> str:
    try:
        await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
    except BitoProError as error:
        return said(error)
    return "accepted"


def outcome(client: OrdersClient) -> str:
    try:
        cancel_order.sync(PAIR, ORDER_ID, client=client)
    except BitoProError as error:
        return said(error)
    return "accepted"


def said(error: BitoProError) -> str:
    return f"{type(error).__name__} after {error.attempts}: {error}"


def in_turn(way: Way, *clients: OrdersClient) -> list[str]:
    """Cancel once with each client, one after another, and return how each ended."""
    if way == "async":
        return asyncio.run(within(clients, in_turn_async(*clients)))
    with ExitStack() as stack:
        for client in each_once(clients):
            stack.enter_context(client)
        return [outcome(client) for client in clients]


def at_once(way: Way, *clients: OrdersClient) -> Counter[str]:
    """Cancel once with each client, all at once, and return how many ended how."""
    if way == "async":
        return counted(asyncio.run(within(clients, at_once_async(*clients))))
    with ExitStack() as stack, ThreadPoolExecutor(len(clients)) as pool:
        for client in each_once(clients):
            stack.enter_context(client)
        return counted(pool.map(outcome, clients))


async def within(clients: Iterable[OrdersClient], work: Awaitable[list[str]]) -> list[str]:
    async with AsyncExitStack() as stack:
        for client in each_once(clients):
            await stack.enter_async_context(client)
        return await work


def each_once(clients: Iterable[OrdersClient]) -> Iterable[OrdersClient]:
    return {id(client): client for client in clients}.values()


def counted(outcomes: Iterable[str]) -> Counter[str]:
    return Counter(each.split()[0] for each in outcomes)


def cancels(sandbox: Sandbox) -> int:
    """Return how many cancels arrived: all within one window, as these tests are short."""
    return sum(entry.method == "DELETE" for entry in sandbox.journal)


# Two accounts, one address


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("kind", ["memory", "folder", "redis"])
def test_two_accounts_of_one_machine_share_the_limit_of_its_address(
    kind: Store, way: Way, tmp_path: Path
) -> None:
    with serve(EXCHANGE) as sandbox, store(kind, tmp_path) as shared:
        clients = [client_of(sandbox, account, shared=shared) for account in (ONE, TWO)]
        outcomes = at_once(way, *clients * 25)
        assert cancels(sandbox) == LIMIT
        assert outcomes == {"accepted": LIMIT, "NotSentError": 50 - LIMIT}


async def test_an_open_history_changes_nothing_of_what_two_accounts_share() -> None:
    with serve(EXCHANGE) as sandbox:
        credentials = Credentials(ONE.api_key, ONE.api_secret, ONE.identity)
        async with order_history(credentials, stream_url=sandbox.stream_url):
            async with client_of(sandbox, ONE) as one, client_of(sandbox, TWO) as two:
                outcomes = counted(await at_once_async(*[one, two] * 25))
        assert cancels(sandbox) == LIMIT
        assert outcomes == {"accepted": LIMIT, "NotSentError": 50 - LIMIT}


# One key, two exchanges


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("kind", ["memory", "folder", "redis"])
def test_one_key_has_the_whole_limit_of_each_of_two_exchanges(
    kind: Store, way: Way, tmp_path: Path
) -> None:
    with serve(EXCHANGE) as real, serve(EXCHANGE) as trial, store(kind, tmp_path) as shared:
        clients = [client_of(sandbox, shared=shared) for sandbox in (real, trial)]
        outcomes = at_once(way, *clients * 25)
        assert (cancels(real), cancels(trial)) == (LIMIT, LIMIT)
        assert outcomes == {"accepted": 2 * LIMIT, "NotSentError": 50 - 2 * LIMIT}


@pytest.mark.parametrize("kind", ["memory", "folder", "redis"])
def test_a_cool_down_at_one_exchange_is_none_at_another(kind: Store, tmp_path: Path) -> None:
    with serve(EXCHANGE) as real, serve(EXCHANGE) as trial, store(kind, tmp_path) as shared:
        trial.faults.add(faults.status(429, headers={"Retry-After": "60"}))
        one, two = client_of(trial, shared=shared), client_of(real, shared=shared)
        outcomes = in_turn("sync", one, one, two)
        assert [each.split()[0] for each in outcomes] == [
            "RateLimitedError",
            "NotSentError",
            "accepted",
        ]
        assert (cancels(trial), cancels(real)) == (1, 1)


@pytest.mark.parametrize("kind", ["memory", "folder", "redis"])
def test_nonces_for_one_exchange_do_not_follow_those_for_another(
    kind: Store, tmp_path: Path
) -> None:
    hour_ms = 3_600_000
    late = attrs.evolve(EXCHANGE, clock=lambda: system_clock_ms() - hour_ms)
    with serve(EXCHANGE) as real, serve(late) as trial, store(kind, tmp_path) as shared:
        one, two = client_of(trial, shared=shared), client_of(real, shared=shared)
        assert in_turn("sync", two, one, two, one) == ["accepted"] * 4
        assert [entry.status for entry in trial.journal] == [409, 200, 200]
        assert [entry.status for entry in real.journal] == [200, 200]
        ahead_ms = [(entry.nonce or 0) - entry.at_ms for entry in real.journal]
        assert ahead_ms == pytest.approx([0, 0], abs=30_000)


# Machines that share through Redis


@pytest.mark.parametrize(
    ("egresses", "accounts", "allowed"),
    [
        (("here", "there"), (ONE, ONE), LIMIT),
        (("here", "there"), (ONE, TWO), 2 * LIMIT),
        (("here", "here"), (ONE, TWO), LIMIT),
        ((None, None), (ONE, TWO), LIMIT),
    ],
    ids=["one account", "two accounts", "two accounts behind one address", "unnamed addresses"],
)
def test_machines_share_the_limit_of_an_account_and_of_an_address(
    egresses: tuple[str | None, str | None],
    accounts: tuple[Account, Account],
    allowed: int,
    tmp_path: Path,
) -> None:
    policy = {"limit_share": SCARCE.limit_share, "deadline_seconds": 3}
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as redis:
        machines = [
            Member(
                sandbox,
                redis.url,
                account=account,
                threads=25,
                policy=policy,
                options={} if egress is None else {"egress": egress},
            )
            for egress, account in zip(egresses, accounts, strict=True)
        ]
        with members(*machines) as found:
            outcomes = total(all_at_once(found, 25))
        assert cancels(sandbox) == allowed
        assert outcomes == {"accepted": allowed, "NotSentError": 50 - allowed}


# Every client's settings are its own


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("order", [("lenient", "strict"), ("strict", "lenient")], ids="-".join)
def test_what_is_done_without_the_store_is_each_clients_own_choice(
    order: tuple[str, str], way: Way, tmp_path: Path
) -> None:
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as redis:
        url = redis.url
        redis.kill()
        clients = {
            name: client_of(
                sandbox,
                policy=SendingPolicy(local_if_shared_fails=name == "lenient", deadline_seconds=3),
                shared=url,
            )
            for name in order
        }
        outcomes = in_turn(way, *[clients["lenient"], clients["strict"]] * 2)
        kinds = [each.partition(":")[0] for each in outcomes]
        assert kinds == ["accepted", "NotSentError after 0"] * 2
        assert all("store" in each for each in outcomes[1::2])
        assert [entry.status for entry in sandbox.journal] == [200, 200]


@pytest.mark.parametrize("ahead_ms", [30_000, -30_000])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_each_client_goes_by_its_own_clock(way: Way, ahead_ms: int) -> None:
    timing = Timing(now_ms=lambda: system_clock_ms() + ahead_ms)
    # One key with two clocks has no order of nonces to keep.
    with serve(attrs.evolve(EXCHANGE, nonce_rule="none")) as sandbox:
        usual, other = client_of(sandbox), client_of(sandbox, timing=timing)
        assert in_turn(way, usual, other, usual, other) == ["accepted"] * 4
        found = [(entry.nonce or 0) - entry.at_ms for entry in sandbox.journal]
        assert found == pytest.approx([0, ahead_ms, 0, ahead_ms], abs=10_000)


# What is kept in Redis


def test_a_full_redis_does_not_slow_the_first_call(tmp_path: Path) -> None:
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as server:
        with server.open() as redis:
            fill = "for i = 1, 10000 do redis.call('SET', 'another:' .. ARGV[1] .. i, i) end"
            for part in range(30):
                redis.eval(fill, 0, part)
            before = commands(redis)
            with client_of(sandbox, shared=server.url) as client:
                started = time.monotonic()
                assert outcome(client) == "accepted"
                elapsed = time.monotonic() - started
            asked = commands(redis) - before
        assert cancels(sandbox) == 1
        assert asked < 100
        assert elapsed < 2


def commands(redis: Redis) -> int:
    """Return how many commands the server has carried out."""
    found: dict[str, Any] = redis.info("stats")
    count: int = found["total_commands_processed"]
    return count


def test_what_is_kept_in_redis_does_not_grow_when_cancels_and_reads_alternate(
    tmp_path: Path,
) -> None:
    began_ms = system_clock_ms()

    def hasty_ms() -> int:
        # So that the windows of a store that counts by this clock pass quickly, too.
        return began_ms + 20 * (system_clock_ms() - began_ms)

    operations = [briefly(cancel_order, PAIR, ORDER_ID), briefly(get_order, PAIR, ORDER_ID)]
    with (
        serve(attrs.evolve(EXCHANGE, clock=hasty_ms)) as sandbox,
        redis_server(tmp_path) as server,
        server.open() as redis,
        client_of(
            sandbox, policy=SendingPolicy(), shared=server.url, timing=Timing(now_ms=hasty_ms)
        ) as client,
    ):
        sizes = []
        for _ in range(3):
            for _ in range(EACH):
                for operation in operations:
                    client.send(operation())
            sizes.append(size(redis))
        assert len(sandbox.journal) == 6 * EACH
        # One round fills a window; three rounds take no more room.
        assert sizes[2] < 1.5 * sizes[0]


#: How many requests of either operation that test's window of a second holds.
EACH = 40


def briefly(operation: Any, *arguments: str) -> Callable[[], Call[Any]]:
    """Return what makes an operation's call, with a limit of a second instead of a minute."""
    limit = RateLimit(operation.OPERATION.rate_limit.group, EACH, 1, ("ip", "account"))
    brief = attrs.evolve(operation.OPERATION, rate_limit=limit)
    return lambda: attrs.evolve(operation.call(*arguments), operation=brief)


def size(redis: Redis) -> int:
    """Return the memory that all that is in Redis takes."""
    return sum(int(redis.memory_usage(key) or 0) for key in redis.scan_iter())


async def test_whoever_may_use_more_of_a_limit_does_not_wait_for_whoever_may_use_less() -> None:
    with serve(EXCHANGE) as sandbox:
        little = client_of(sandbox, policy=SendingPolicy(limit_share=5 / 900, deadline_seconds=90))
        much = client_of(sandbox, policy=SendingPolicy(limit_share=20 / 900, deadline_seconds=2))
        async with little, much:
            assert counted(await at_once_async(*[much] * 5)) == {"accepted": 5}
            # It has nothing left for a minute, and waits for it.
            waiting = asyncio.create_task(in_turn_async(little))
            await asyncio.sleep(0.1)
            assert counted(await at_once_async(*[much] * 5)) == {"accepted": 5}
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait([waiting])
