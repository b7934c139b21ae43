"""Many orders off the book, and each to its end: how soon, next to what the limits allow.

make bench-many BENCH="--rows 1,100"
"""

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from .cancelling import CCXT, EVERYTHING, IN_BATCHES, RESULTS, SINGLY, Told
from .clients import PAIR, signed
from .confirmed import Schedule, schedule
from .exchange import BATCH_SIZE, exchange

FILE = RESULTS / "many.json"
ROWS = (1, 100, 1_000, 10_000)
DELAY_MS = 30
#: The last row is a film in fast motion: 10,000 orders take a quarter of an hour.
FAST = {10_000: 5}
MOST_OF_THE_BOUND, MOST_MORE_SECONDS = 1.05, 0.05
MOST_GROWTH_KIB = 8 * 1024
#: What stands by itself runs alone, so that nothing disturbs it. The others wait most of the time.
ALONE_UP_TO = 100
AT_ONCE = 2
ROUND_TRIPS = 30
EVERYTHING_OF = 1_000


class Measured(NamedTuple):
    """What came of one way to cancel so many orders.

    Attributes:
        how: The way.
        orders: How many.
        speed: How many times as fast as ours the exchange's clock ran.
        round_trip: How long it took to answer, in seconds, as a bare socket sees it.
        off_the_book: After how many seconds the last one was off the book; None if none was.
        every_end: After how many seconds every end was known; for others, when they had ended.
        left_open: How many are still open by the book.
        wrong: How many ends are not `CANCELLED`, or missing.
        ends: How many orders came to what.
        failed: How many calls failed, by what was raised.
        requests: How many requests arrived, by call.
        refused: How many of them were refused.
        peak_kib: The most memory that the cancelling process held, in KiB.
        bound: What the limits allow.
    """

    how: str
    orders: int
    speed: int
    round_trip: float
    off_the_book: float | None
    every_end: float
    left_open: int
    wrong: int
    ends: dict[str, int]
    failed: dict[str, int]
    requests: dict[str, int]
    refused: int
    peak_kib: int
    bound: Schedule


def main() -> None:
    """Measure, print the tables and write them to `benchmarks/results/many.json`."""
    parser = argparse.ArgumentParser(prog="benchmarks.many", description=__doc__)
    parser.add_argument(
        "--rows",
        type=lambda text: [int(each) for each in text.split(",")],
        default=list(ROWS),
        help="how many orders, such as 1,100 (all: 1,100,1000,10000)",
    )
    rows: list[int] = parser.parse_args().rows
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    for orders in rows:
        round_trip(delay_of(FAST.get(orders, 1)))  # before anything runs beside it
    figures = sorted(measure(rows), key=lambda each: each.orders)
    seconds = time.monotonic() - started
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {seconds:.0f} s"
    print(f"\n{machine}\n")
    print("\n".join(tables(figures)))
    FILE.parent.mkdir(exist_ok=True)
    content = {"machine": machine, "measured": [each._asdict() for each in figures]}
    FILE.write_text(json.dumps(content, indent=1) + "\n")


def measure(rows: Iterable[int]) -> Iterator[Measured]:
    """Measure all ways with so many orders; those that take long, side by side."""
    together: list[tuple[str, int]] = []
    for orders in sorted(rows):
        ways = [SINGLY, IN_BATCHES]
        if orders == EVERYTHING_OF:
            ways.append(EVERYTHING)
        if orders not in FAST:
            ways += CCXT
        if orders <= ALONE_UP_TO:
            yield from (measured(how, orders) for how in ways)
        else:
            together += [(how, orders) for how in ways]
    # The longest first, so that none is left over.
    together.sort(key=lambda each: (-each[1], each[0] in CCXT))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda each: measured(*each), together)


def measured(how: str, orders: int) -> Measured:
    """Cancel so many orders in one way, with an exchange and a process of its own."""
    print(f"... {how}, {orders:,} orders", file=sys.stderr, flush=True)
    speed = FAST.get(orders, 1)
    delay_ms = delay_of(speed)
    took = round_trip(delay_ms)
    with exchange(orders, delay_ms, speed) as running:
        base_url, first = running.told["base_url"], running.told["orders"][0]
        command = [sys.executable, "-m", "benchmarks.cancelling", how, base_url, first]
        printed = subprocess.run(
            [*command, f"{orders}", f"{speed}"], stdout=subprocess.PIPE, text=True, check=True
        )
        told = Told(*json.loads(printed.stdout))
    seen, cancelled = running.seen, told.ends.get("CANCELLED", 0)
    at = seen["cancelled_at"]
    size = BATCH_SIZE if how in {IN_BATCHES, EVERYTHING} and orders > 1 else 1
    bound = schedule(orders, took, batch_size=size, speed=speed)
    if how == EVERYTHING:
        # They are listed first.
        bound = Schedule(bound.off_the_book + took, bound.every_end + took)
    return Measured(
        how,
        orders,
        speed,
        took,
        None if at is None else at - told.started_at,
        told.ended_at - told.started_at,
        sum(status != "CANCELLED" for status in seen["book"].values()),
        orders - cancelled + sum(told.ends.values()) - cancelled,
        told.ends,
        told.failed,
        seen["requests"],
        seen["refused"],
        told.peak_kib,
        bound,
    )


def delay_of(speed: int) -> int:
    """Return after how many milliseconds an exchange answers that is so many times as fast."""
    if speed == 1:
        return DELAY_MS
    # What the server itself takes is not faster.
    whole = round_trip(DELAY_MS) * 1000
    return max(0, round(whole / speed - (whole - DELAY_MS)))


@cache
def round_trip(delay_ms: int) -> float:
    """Return how long a cancel takes by a bare socket, in seconds: no client is faster."""
    times = []
    with exchange(ROUND_TRIPS, delay_ms) as running:
        url = urlsplit(running.told["base_url"])
        with socket.create_connection((url.hostname, url.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for order_id in running.told["orders"]:
                path = f"{url.path}/orders/{PAIR}/{order_id}"
                headers = {"Host": url.netloc, **signed()}
                lines = [f"DELETE {path} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
                request, answer = "\r\n".join(lines).encode(), b""
                start = time.monotonic()
                connection.sendall(request)
                while not answer.endswith(b"}"):
                    answer += connection.recv(65536)
                times.append(time.monotonic() - start)
    return median(times)


def tables(figures: list[Measured]) -> Iterator[str]:
    """Return the tables, line by line."""
    yield "| orders | how | until | seconds | the bound | to reach | ratio | verdict |"
    yield "| ---: | --- | --- | ---: | ---: | ---: | ---: | --- |"
    ours = [each for each in figures if each.how not in CCXT]
    for each in ours:
        both: tuple[tuple[str, float | None, float], ...] = (
            ("off the book", each.off_the_book, each.bound.off_the_book),
            ("every end", each.every_end, each.bound.every_end),
        )
        for until, seconds, bound in both:
            most = MOST_OF_THE_BOUND * bound + MOST_MORE_SECONDS
            holds = seconds is not None and seconds <= most and not each.wrong + each.left_open
            cells = [
                f"{each.orders:,}" + f", {each.speed} times as fast" * (each.speed > 1),
                each.how,
                until,
                "-" if seconds is None else f"{seconds:.3f}",
                f"{bound:.3f}",
                f"≤ {most:.3f}",
                f"{seconds / bound:.3f}" if seconds and bound else "-",
                "PASS" if holds else "FAIL",
            ]
            yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| orders | how | off the book, s | left open | requests, refused | what is known |"
    yield "| ---: | --- | ---: | ---: | --- | --- |"
    for each in figures:
        known = ", ".join(f"{count:,} {name}" for name, count in (each.ends | each.failed).items())
        cells = [
            f"{each.orders:,}",
            each.how if each in ours else f"ccxt: {each.how}",
            "-" if each.off_the_book is None else f"{each.off_the_book:.3f}",
            f"{each.left_open:,}",
            f"{sum(each.requests.values()):,}, {each.refused:,}",
            f"{known}, after {each.every_end:.3f} s",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| peak memory, MiB | 1,000 | 10,000 | more, to reach | verdict |"
    yield "| --- | ---: | ---: | --- | --- |"
    for how in (SINGLY, IN_BATCHES):
        peaks = {each.orders: each.peak_kib for each in ours if each.how == how}
        few, many = peaks.get(1_000), peaks.get(10_000)
        if few is None or many is None:
            yield f"| {how} | - | - | - | NOT MEASURED |"
            continue
        verdict = "PASS" if many - few <= MOST_GROWTH_KIB else "FAIL"
        more = f"{(many - few) / 1024:.1f}, ≤ {MOST_GROWTH_KIB / 1024:.0f}"
        yield f"| {how} | {few / 1024:.1f} | {many / 1024:.1f} | {more} | {verdict} |"


if __name__ == "__main__":
    main()
