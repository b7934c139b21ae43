"""The job: several machines share one key through Redis, and each can die."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from redis import Redis
from redis.exceptions import RedisError

from bitopro_sandbox import Entry, Fault, OrderStatus, Sandbox, faults

MACHINES = 3
Statuses = Callable[[], dict[str, OrderStatus]]


def started(program: str, port: int, folder: Path) -> "subprocess.Popen[bytes] | None":
    """Start a redis-server and wait until it answers; None if somebody else has taken the port."""
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + 30
    with Redis(port=port) as client:
        while process.poll() is None:
            with contextlib.suppress(RedisError):
                if client.info("server")["process_id"] == process.pid:
                    return process
            assert time.monotonic() < give_up, "redis-server does not answer"
            time.sleep(0.01)
    return None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a redis-server on a free port of this machine; return its URL and what kills it."""
    program = shutil.which("redis-server")
    assert program is not None, "the tests of the job need a redis-server"
    process = None
    while process is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = started(program, port, tmp_path)
    yield f"redis://127.0.0.1:{port}/0", process.kill
    process.kill()
    process.wait()


def placed(sandbox: Sandbox, folder: Path, number: int) -> list[str]:
    """Place orders and write them to `orders.csv`; return their ids."""
    place = sandbox.book.place
    ids = [place("BTC_TWD", "BUY", amount="1", price="100").id for _ in range(number)]
    (folder / "orders.csv").write_text("".join(f"BTC_TWD,{each}\n" for each in ids))
    return ids


@pytest.fixture
def orders(bitopro_sandbox: Sandbox, tmp_path: Path) -> list[str]:
    """Place orders that go in batches."""
    return placed(bitopro_sandbox, tmp_path, 24)


@pytest.fixture
def few_orders(bitopro_sandbox: Sandbox, tmp_path: Path) -> list[str]:
    """Place orders that are too few for a batch."""
    return placed(bitopro_sandbox, tmp_path, 6)


def told(out: str) -> list[str]:
    """Return the ids of the orders that it said are cancelled."""
    return [line.split("\t")[1] for line in out.splitlines() if "\tcancelled\t" in line]


def cancelled(order_ids: list[str]) -> dict[str, OrderStatus]:
    """Return what a book says of orders that are cancelled."""
    return dict.fromkeys(order_ids, OrderStatus.CANCELLED)


def test_machines_do_it_together(
    bitopro_sandbox: Sandbox, start: Any, statuses: Statuses, orders: list[str], redis: Any
) -> None:
    before = statuses()
    parts = [f"{number}/{MACHINES}" for number in range(1, MACHINES + 1)]
    machines = [start("job.py", "orders.csv", "--part", part, REDIS_URL=redis[0]) for part in parts]
    ends = [each.end() for each in machines]
    assert [(code, len(told(out))) for code, out, _ in ends] == [
        (0, len(orders) // MACHINES)
    ] * MACHINES
    assert sorted(each for _, out, _ in ends for each in told(out)) == sorted(orders)
    assert statuses() == before | cancelled(orders)
    nonces = [entry.nonce for entry in bitopro_sandbox.journal if entry.nonce is not None]
    assert len({*nonces}) == len(nonces)


def test_what_the_exchange_tells_one_machine_all_know(
    bitopro_sandbox: Sandbox, start: Any, few_orders: list[str], redis: Any
) -> None:
    first = start("job.py", "orders.csv", "--part", "1/2", REDIS_URL=redis[0])
    slow_down = faults.status(429, headers={"Retry-After": "3600"})
    slow_down = attrs.evolve(slow_down, after=lambda: first.stop(signal.SIGTERM))
    bitopro_sandbox.faults.add(slow_down, call="cancel_order")
    assert first.end()[0] == 1
    asked = len(bitopro_sandbox.journal)
    code, out, err = start("job.py", "orders.csv", "--part", "2/2", REDIS_URL=redis[0]).end()
    assert (code, out, len(bitopro_sandbox.journal)) == (1, "", asked)
    assert err.count("the limit has room again in") == 3

    # An hour later Redis has forgotten it.
    with Redis.from_url(redis[0]) as client:
        client.flushall()
    code, out, _ = start("job.py", "orders.csv", "--part", "2/2", REDIS_URL=redis[0]).end()
    assert (code, sorted(told(out))) == (0, few_orders[1::2])


def test_a_machine_that_was_killed_is_started_again(
    bitopro_sandbox: Sandbox,
    start: Any,
    statuses: Statuses,
    cancels: Callable[[], list[Entry]],
    few_orders: list[str],
    redis: Any,
) -> None:
    before = statuses()
    killed = start("job.py", "orders.csv", "--part", "1/2", REDIS_URL=redis[0])
    # The exchange has carried it out, and whoever asked for it is dead.
    bitopro_sandbox.faults.add(Fault(name="killed", after=killed.kill))
    assert killed.wait() == -signal.SIGKILL
    machines = [
        start("job.py", "orders.csv", "--part", part, REDIS_URL=redis[0]) for part in ("1/2", "2/2")
    ]
    ends = [each.end() for each in machines]
    assert [code for code, _, _ in ends] == [0, 0]
    assert sorted(told(ends[0][1])) == few_orders[0::2]
    assert sorted(told(ends[1][1])) == few_orders[1::2]
    assert statuses() == before | cancelled(few_orders)
    # What was begun is read first, and was not cancelled again.
    first, *others = (entry.path for entry in cancels())
    assert first not in others


def test_without_redis_it_goes_on_and_says_so(
    bitopro_sandbox: Sandbox, start: Any, statuses: Statuses, orders: list[str], redis: Any
) -> None:
    url, kill_redis = redis
    before = statuses()
    bitopro_sandbox.faults.add(faults.meanwhile(after=kill_redis), call="get_order")
    machines = [
        start("job.py", "orders.csv", "--part", part, REDIS_URL=url) for part in ("1/2", "2/2")
    ]
    ends = [each.end() for each in machines]
    assert [code for code, _, _ in ends] == [0, 0]
    assert all("shared store failed, limit is local" in err for _, _, err in ends)
    assert sorted(each for _, out, _ in ends for each in told(out)) == sorted(orders)
    assert statuses() == before | cancelled(orders)


def test_told_to_stop_it_sends_no_more_and_settles_what_was_sent(
    bitopro_sandbox: Sandbox,
    start: Any,
    statuses: Statuses,
    few_orders: list[str],
    redis: Any,
) -> None:
    before = statuses()
    job = start("job.py", "orders.csv", "--part", "1/1", REDIS_URL=redis[0])
    # So that the others still wait when the signal comes.
    told_to_wait = faults.status(429, headers={"Retry-After": "5"})
    bitopro_sandbox.faults.add(faults.delay(), call="cancel_order")
    bitopro_sandbox.faults.add(
        attrs.evolve(told_to_wait, after=lambda: job.stop(signal.SIGTERM)), call="cancel_order"
    )
    code, out, err = job.end()
    done = [each for each in few_orders if statuses()[each] is OrderStatus.CANCELLED]
    assert 0 < len(done) < len(few_orders)
    assert (code, sorted(told(out))) == (1, sorted(done))
    assert err.count("it was stopped before the cancel was sent") == len(few_orders) - len(done)
    assert statuses() == before | cancelled(done)

    # Started again, it does the rest.
    code, out, _ = start("job.py", "orders.csv", "--part", "1/1", REDIS_URL=redis[0]).end()
    assert (code, set(told(out)) >= {*few_orders} - {*done}) == (0, True)
    assert statuses() == before | cancelled(few_orders)


def test_what_is_left_of_another_file_is_not_touched(
    bitopro_sandbox: Sandbox,
    start: Any,
    statuses: Statuses,
    few_orders: list[str],
    redis: Any,
    tmp_path: Path,
) -> None:
    before = statuses()
    job = start("job.py", "orders.csv", "--part", "1/1", REDIS_URL=redis[0])
    killing = Fault(name="killed", processed=False, before=job.kill)
    bitopro_sandbox.faults.add(killing, call="cancel_order")
    assert job.wait() == -signal.SIGKILL
    (tmp_path / "others.csv").write_text("BTC_TWD,2959906694\n")
    code, out, err = start("job.py", "others.csv", "--part", "1/1", REDIS_URL=redis[0]).end()
    assert (code, out) == (1, "")
    assert err.startswith("job 1/1: the journal is about other orders: {'pair': 'BTC_TWD'")
    assert statuses() == before


def test_a_pair_may_be_written_in_either_case(
    start: Any, few_orders: list[str], redis: Any, tmp_path: Path
) -> None:
    lines = [f"{pair},{each}\n" for each in few_orders for pair in ("btc_twd", "BTC_TWD")]
    (tmp_path / "orders.csv").write_text("".join(lines))
    code, out, _ = start("job.py", "orders.csv", "--part", "1/1", REDIS_URL=redis[0]).end()
    assert (code, sorted(told(out))) == (0, few_orders)


@pytest.mark.parametrize(
    ("text", "part", "url", "message"),
    [
        ("BTC_TWD,1\nBTC_TWD\n", "1/1", "redis://127.0.0.1:9/0", "line 2 of orders.csv must be"),
        ("BTC_TWD,1\n", "2/1", "redis://127.0.0.1:9/0", "--part must be such as 1/3, not 2/1"),
        ("BTC_TWD,1\n", "1/1", None, "set REDIS_URL in the environment"),
        ("BTC_TWD,1\n", "1/1", "http://localhost", "job 1/1: shared must name a usable store"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    bitopro_sandbox: Sandbox,
    start: Any,
    tmp_path: Path,
    text: str,
    part: str,
    url: str | None,
    message: str,
) -> None:
    (tmp_path / "orders.csv").write_text(text)
    environment = {} if url is None else {"REDIS_URL": url}
    code, out, err = start("job.py", "orders.csv", "--part", part, **environment).end()
    assert code
    assert (out, len(bitopro_sandbox.journal)) == ("", 0)
    assert message in err
    assert "Traceback" not in err
