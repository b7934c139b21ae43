"""The sandbox in a process of its own, with orders in its book and answers that come late.

It prints its address. Then it is a shell's: whoever closes its input gets what has become of the
orders, as JSON.

python -m benchmarks.exchange ORDERS DELAY_MS [SPEED]
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bitopro_sandbox import Account, Change, Settings, faults, serve

from .clients import API_KEY, API_SECRET, IDENTITY, PAIR

#: How many ids its batches may hold; the exchange's own number is not documented.
BATCH_SIZE = 50
#: A clock that runs fast is soon far from those who sign: then any nonce that is larger will do.
ANY_DISTANCE_MS = 10**12


class Exchange:
    """One that serves.

    Attributes:
        told: Its `base_url`, and the ids of its `orders`.
        seen: What it has seen, once it has ended: the `book`, as the state of each order; the
            `requests`, by call; the `refused` ones; when the last order was `cancelled_at`, on the
            monotonic clock, which all processes of a machine have in common, or None.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.seen: dict[str, Any] = {}


@contextmanager
def exchange(orders: int, delay_ms: int, speed: int = 1) -> Iterator[Exchange]:
    """Serve in a process of its own until the context ends."""
    command = [sys.executable, "-m", "benchmarks.exchange", f"{orders}", f"{delay_ms}", f"{speed}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        running = Exchange(json.loads(process.stdout.readline()))
        try:
            yield running
        finally:
            process.stdin.close()
        running.seen = json.loads(process.stdout.readline())


def main(count: int, delay_ms: int, speed: int = 1) -> None:
    """Serve until the input ends.

    Args:
        count: How many orders are open.
        delay_ms: How long it takes to answer.
        speed: How many times as fast as ours its clock runs: so many times as short are the
            windows of its limits.
    """
    started_ms = _now_ms()
    settings = Settings(
        accounts=(Account(API_KEY, API_SECRET, IDENTITY),),
        clock=lambda: started_ms + (_now_ms() - started_ms) * speed,
        clock_window_ms=Settings().clock_window_ms if speed == 1 else ANY_DISTANCE_MS,
        # Where requests are so close, some overtake each other; at the exchange's pace none do.
        nonce_rule="increasing" if speed == 1 else "unique",
        batch_at_most=BATCH_SIZE,
    )
    with serve(settings) as sandbox:
        for order in sandbox.book.open_orders():
            sandbox.book.cancel(order.id)
        placed = [sandbox.book.place(PAIR, "BUY", amount="1", price="1") for _ in range(count)]
        cancelled_at: float | None = None

        def note(change: Change) -> None:
            nonlocal cancelled_at
            if change.cause == "cancel":
                cancelled_at = time.monotonic()

        sandbox.book.subscribe(note)
        sandbox.faults.add(faults.delay(after_ms=delay_ms), probability=1)
        told = {"base_url": sandbox.base_url, "orders": [order.id for order in placed]}
        print(json.dumps(told), flush=True)
        sys.stdin.read()
        entries = tuple(sandbox.journal)
        seen = {
            "book": {order.id: sandbox.book.get(order.id).status.name for order in placed},
            "requests": Counter(entry.call or "other" for entry in entries),
            "refused": sum((entry.status or 0) >= 400 for entry in entries),
            "cancelled_at": cancelled_at,
        }
    print(json.dumps(seen), flush=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
