"""Measure and report: `make bench`, or `python -m benchmarks.run [--quick]`."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from . import clients, report
from .clients import ASYNC, BARE, SYNC, TASKS, THREADS, Cancel, CancelAsync, trust
from .confirmed import Confirmed
from .figures import PER_SECOND, Figure
from .report import (
    AT_ONCE,
    COLD,
    CPU_ASYNC,
    CPU_SYNC,
    FIRST,
    IMPORT,
    IN_THREADS,
    MEMORY,
    P50_ASYNC,
    P50_SYNC,
)
from .server import Server, ServerError, serve

IMPORTS = {
    "(an empty program)": "pass",
    clients.OURS: "import bitopro_orders",
    clients.HTTPX: "import httpx",
    clients.CCXT: "import ccxt",
    "ccxt.async_support": "import ccxt.async_support",
    "bitopro-client (official)": "import bitoproClient.bitopro_restful_client",
    "aiohttp": "import aiohttp",
}
#: Orders at once, and how late the exchange answers, in ms: one after the other, and side by side.
CONFIRMED_ALONE, CONFIRMED_TOGETHER = (300, 30), ((150, 100), (150, 300), (300, 100), (300, 300))
CONFIRMED_QUICK = (150, 30)


class Size(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: Rounds of the figures within this process.
        processes: Rounds of the figures that start a process each time.
        cold: Rounds of the figure that opens its clients each time.
        chunk: How many cancels in a row a client's turn has at most.
        chunk_seconds: How long they last at most, in seconds.
        endurance: How many cancels the memory and the descriptors are watched over.
    """

    rounds: int
    processes: int
    cold: int
    chunk: int
    chunk_seconds: float
    endurance: int


FULL = Size(rounds=21, processes=21, cold=7, chunk=100, chunk_seconds=0.05, endurance=10_000)
QUICK = Size(rounds=3, processes=1, cold=1, chunk=30, chunk_seconds=0.02, endurance=500)


def main() -> None:
    """Measure, print the report and write it to `benchmarks/results/latest.json`."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under a minute")
    size = QUICK if parser.parse_args().quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    started = time.monotonic()
    results = report.Results(quick=size is QUICK)
    try:
        with serve() as server:
            results.server = server.version
            trust(server.bundle)
            asyncio.run(measure(server, size, results))
    except ServerError as error:
        results.not_measured.append(f"everything that needs a server: {error}")
    results.signing_us = signing_us(size)
    imports = results.add(IMPORT, "ms")
    asyncio.run(imports.measure(IMPORTS, size.processes, import_ms))
    results.confirmed = confirmed(quick=size is QUICK)
    results.seconds = time.monotonic() - started
    report.show(results)


async def measure(server: Server, size: Size, results: report.Results) -> None:
    """Measure everything that needs nginx."""
    with ThreadPoolExecutor(THREADS) as pool:
        p50, cpu = results.add(P50_SYNC, "µs"), results.add(CPU_SYNC, "µs")
        threads = results.add(IN_THREADS, PER_SECOND)
        async with opened(SYNC, server.base_url, server, p50, cpu, threads) as cancels:
            names = without(cancels, clients.OURS_IN_THREADS)
            await p50.measure(
                names, size.rounds, lambda name: one(once(cancels[name]), name, cpu, size)
            )
            await threads.measure(
                without(cancels, BARE),
                size.rounds,
                lambda name: many_threads(cancels[name], pool, size),
            )

    p50, cpu = results.add(P50_ASYNC, "µs"), results.add(CPU_ASYNC, "µs")
    async with opened(ASYNC, server.base_url, server, p50, cpu) as cancels:
        names = without(cancels, clients.OURS_IN_TASKS)
        await p50.measure(names, size.rounds, lambda name: one(cancels[name], name, cpu, size))

    fifty = results.add(AT_ONCE, PER_SECOND)
    async with opened(ASYNC, server.distant_url, server, fifty) as cancels:
        await fifty.measure(
            without(cancels, BARE),
            size.rounds,
            lambda name: fifty_warm(name, cancels[name], server, fifty),
        )
    cold = results.add(COLD, "ms")
    await cold.measure(without(ASYNC, BARE), size.cold, lambda name: fifty_cold(name, server, cold))

    for kind, known in (("sync", SYNC), ("async", ASYNC)):
        names = without(known, BARE, clients.OURS_IN_THREADS, clients.OURS_IN_TASKS)
        first = results.add(f"{FIRST}, {kind}", "ms")
        memory = results.add(f"{MEMORY}, {kind}", "MiB")
        await first.measure(names, size.processes, partial(first_cancel_ms, server, kind, memory))
        print(f"... endurance, {kind}", file=sys.stderr, flush=True)
        results.endurance[kind] = endurance(kind, server, size.endurance)


def without(names: Iterable[str], *left_out: str) -> list[str]:
    """Return the clients that take part in a figure."""
    return [name for name in names if name not in left_out]


@asynccontextmanager
async def opened(
    known: dict[str, Any], url: str, server: Server, *figures: Figure
) -> AsyncIterator[dict[str, Any]]:
    """Open every client, and see that a cancel of each arrives and comes back."""
    cancels: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for name, open_client in known.items():
            try:
                context = open_client(url)
                if known is SYNC:
                    cancel = stack.enter_context(context)
                    await verify(once(cancel), server)
                else:
                    cancel = await stack.enter_async_context(context)
                    await verify(cancel, server)
            except Exception as error:  # noqa: BLE001 - whatever it is, the report says it
                for figure in figures:
                    figure.miss(name, error)
            else:
                cancels[name] = cancel
        yield cancels


def once(cancel: Cancel) -> CancelAsync:
    """Return a sync cancel in the form of an async one."""

    async def wrapped(order_id: str) -> str:
        return cancel(order_id)

    return wrapped


async def verify(cancel: CancelAsync, server: Server) -> None:
    """See that one cancel is one request, and that the answer names its order."""
    before = server.counts().requests
    expect(await cancel("2959906694"), "2959906694")
    arrived = server.counts().requests - before
    if arrived != 1:
        raise RuntimeError(f"one cancel arrived as {arrived} requests")


def expect(answered: str, asked: str) -> None:
    """Stop if the answer names another order than the one that was cancelled."""
    if answered != asked:
        raise RuntimeError(f"{asked} was cancelled and {answered} came back")


async def one(cancel: CancelAsync, name: str, cpu: Figure, size: Size) -> float:
    """Return the median of some cancels in a row on a warm connection, in µs; note their CPU."""
    await cancel("1")
    times = []
    used = time.process_time()
    deadline = time.perf_counter() + size.chunk_seconds
    for number in range(size.chunk):
        order_id = str(number)
        start = time.perf_counter()
        answered = await cancel(order_id)
        end = time.perf_counter()
        expect(answered, order_id)
        times.append(end - start)
        if end > deadline:
            break
    cpu.note(name, (time.process_time() - used) / len(times) * 1e6)
    return median(times) * 1e6


async def many_threads(cancel: Cancel, pool: ThreadPoolExecutor, size: Size) -> float:
    """Return how many cancels a second sixteen threads get through with one client."""

    def work(until: float) -> int:
        done = 0
        while done == 0 or time.perf_counter() < until:
            expect(cancel(str(done)), str(done))
            done += 1
        return done

    for _ in ("to warm up", "to measure"):
        start = time.perf_counter()
        done = sum(pool.map(work, [start + 2 * size.chunk_seconds] * THREADS))
        seconds = time.perf_counter() - start
    return done / seconds


async def fifty_at_once(cancel: CancelAsync) -> float:
    """Cancel fifty orders at once and return how long that took, in seconds."""
    ids = [str(number) for number in range(TASKS)]
    start = time.perf_counter()
    answered = await asyncio.gather(*map(cancel, ids))
    seconds = time.perf_counter() - start
    expect(" ".join(answered), " ".join(ids))
    return seconds


async def fifty_warm(name: str, cancel: CancelAsync, server: Server, figure: Figure) -> float:
    """Return the cancels a second of fifty at once, right after fifty others."""
    await fifty_at_once(cancel)
    before = server.counts().connections
    seconds = await fifty_at_once(cancel)
    figure.connections.setdefault(name, []).append(server.counts().connections - before)
    return TASKS / seconds


async def fifty_cold(name: str, server: Server, figure: Figure) -> float:
    """Return how long the first fifty cancels of an opened client take, in ms."""
    async with ASYNC[name](server.distant_url) as cancel:
        before = server.counts().connections
        seconds = await fifty_at_once(cancel)
        figure.connections.setdefault(name, []).append(server.counts().connections - before)
    return seconds * 1e3


def alone(what: str, kind: str, name: str, server: Server, *more: str) -> list[str]:
    """Return the command of a process that cancels by itself."""
    module = [sys.executable, "-m", "benchmarks.alone"]
    return [*module, what, kind, name, server.base_url, server.bundle, *more]


async def first_cancel_ms(server: Server, kind: str, memory: Figure, name: str) -> float:
    """Return how long a process lives that imports, opens a client and cancels once, in ms."""
    start = time.perf_counter()
    printed = run(alone("first", kind, name, server))
    lived = time.perf_counter() - start
    memory.note(name, report.Sample(*map(int, printed.split())).rss_kib / 1024)
    return lived * 1e3


async def import_ms(name: str) -> float:
    """Return how long a process lives that does nothing but import, in ms."""
    start = time.perf_counter()
    run([sys.executable, "-c", IMPORTS[name]])
    return (time.perf_counter() - start) * 1e3


def run(command: list[str]) -> str:
    """Run a process and return what it printed; its modules are compiled once, as pip does it."""
    writing = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=writing
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return done.stdout


def confirmed(*, quick: bool) -> list[Confirmed]:
    """Return what became of hundreds of cancels that were confirmed at once.

    Where the round trip sets the pace, nothing runs beside it. Elsewhere the limits do, and leave
    the machine idle: those run side by side, each with an exchange of its own.
    """
    print("... confirmed at once", file=sys.stderr, flush=True)
    found = [confirmed_alone(*(CONFIRMED_QUICK if quick else CONFIRMED_ALONE))]
    if not quick:
        with ThreadPoolExecutor(len(CONFIRMED_TOGETHER)) as pool:
            found += pool.map(lambda each: confirmed_alone(*each), CONFIRMED_TOGETHER)
    return found


def confirmed_alone(count: int, delay_ms: int) -> Confirmed:
    """Confirm so many at once in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.confirmed", str(count), str(delay_ms)]
    return Confirmed(*json.loads(run(command)))


def endurance(kind: str, server: Server, count: int) -> list[report.Sample] | str:
    """Return the memory and descriptors of ours along many cancels, or why there are none."""
    try:
        text = run(alone("many", kind, clients.OURS, server, str(count)))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return str(error)
    return [report.Sample(*map(int, line.split())) for line in text.splitlines()]


def signing_us(size: Size) -> float:
    """Return how long one signature takes, in µs."""
    from bitopro_auth import Credentials
    from bitopro_auth.signing import identity_json, signed_headers

    credentials = Credentials(clients.API_KEY, clients.API_SECRET, clients.IDENTITY)
    times = []
    for _ in range(size.rounds):
        start = time.perf_counter()
        for nonce in range(1_000):
            signed_headers(identity_json(credentials.identity, nonce), credentials)
        times.append((time.perf_counter() - start) * 1e3)
    return median(times)


if __name__ == "__main__":
    main()
