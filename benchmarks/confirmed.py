"""Hundreds of cancels confirmed at once, by the exchange's own limits, next to what they allow.

python -m benchmarks.confirmed 150 100
"""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections import Counter
from typing import NamedTuple

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.types import RateLimit
from bitopro_orders import CancelOutcome, State, cancel_and_confirm_async, connect

from .clients import PAIR

#: A reading that waits lets so many cancels go first.
MOST_BEFORE_A_READING = 3
#: `cancel_and_confirm`'s own timeout is enough for so many; more are given longer.
DEFAULT_TIMEOUT, DEFAULT_TIMEOUT_IS_FOR, LONG_TIMEOUT = 30.0, 150, 90.0


class Confirmed(NamedTuple):
    """What came of it.

    Attributes:
        orders: How many orders were cancelled and confirmed at once.
        delay_ms: How long the exchange takes to answer.
        seconds: How long all of it took.
        bound: How long the limits let it take at least, in seconds.
        outcomes: How many outcomes of each kind.
        requests: How many requests arrived.
        wrong: How many outcomes are not `CANCELLED`, or not what the book says.
    """

    orders: int
    delay_ms: int
    seconds: float
    bound: float
    outcomes: dict[str, int]
    requests: int
    wrong: int

    @property
    def ratio(self) -> float:
        """How many times as long as the bound."""
        return self.seconds / self.bound


def bound_seconds(count: int, round_trip: float) -> float:
    """Return how long `count` cancels and as many readings of one key take by the schedule.

    A request leaves min(round trip, period / requests) after the one before, by the numbers of its
    own limit, and no window holds more than its requests. An order is read once its cancel is
    answered. Cancels go first, but a reading waits for three of them at the most.
    """
    cancel, reading = cancel_order.OPERATION.rate_limit, get_order.OPERATION.rate_limit
    cancels: list[float] = []
    readings: list[float] = []
    last, overtaken = -math.inf, 0
    while len(readings) < count:
        waits_from = math.inf
        if len(readings) < len(cancels):
            waits_from = cancels[len(readings)] + round_trip
        cancel_at = math.inf
        if len(cancels) < count:
            cancel_at = max(last + min(round_trip, _gap(cancel)), _room_at(cancels, cancel))
        reading_at = max(
            waits_from, last + min(round_trip, _gap(reading)), _room_at(readings, reading)
        )
        waits = waits_from <= cancel_at
        if reading_at < cancel_at or (waits and overtaken >= MOST_BEFORE_A_READING):
            last, overtaken = reading_at, 0
            readings.append(last)
        else:
            last, overtaken = cancel_at, overtaken + waits
            cancels.append(last)
    return last + round_trip


def _gap(limit: RateLimit) -> float:
    return limit.period_seconds / limit.requests


def _room_at(left: list[float], limit: RateLimit) -> float:
    return left[-limit.requests] + limit.period_seconds if len(left) >= limit.requests else 0.0


def confirmed(orders: int, delay_ms: int) -> Confirmed:
    """Start an exchange, cancel and confirm all its orders at once, and ask its book."""
    command = [sys.executable, "-m", "benchmarks.exchange", str(orders), str(delay_ms)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as exchange:
        assert exchange.stdin is not None
        assert exchange.stdout is not None
        told = json.loads(exchange.stdout.readline())
        credentials = Credentials(*told["credentials"])
        outcomes, seconds = asyncio.run(_all_at_once(credentials, told["base_url"], told["orders"]))
        exchange.stdin.close()
        seen = json.loads(exchange.stdout.readline())
    pairs = [
        (_name(each), seen["book"][id_]) for each, id_ in zip(outcomes, told["orders"], strict=True)
    ]
    return Confirmed(
        orders,
        delay_ms,
        seconds,
        bound_seconds(orders, delay_ms / 1000),
        Counter(name for name, _ in pairs),
        seen["requests"],
        sum(not (name == status == State.CANCELLED.name) for name, status in pairs),
    )


async def _all_at_once(
    credentials: Credentials, base_url: str, ids: list[str]
) -> tuple[list[CancelOutcome | BaseException], float]:
    timeout = DEFAULT_TIMEOUT if len(ids) <= DEFAULT_TIMEOUT_IS_FOR else LONG_TIMEOUT
    async with connect(credentials, base_url=base_url) as client:
        start = time.perf_counter()
        outcomes = await asyncio.gather(
            *(cancel_and_confirm_async(client, PAIR, each, timeout=timeout) for each in ids),
            return_exceptions=True,
        )
        return outcomes, time.perf_counter() - start


def _name(outcome: CancelOutcome | BaseException) -> str:
    return outcome.state.name if isinstance(outcome, CancelOutcome) else type(outcome).__name__


if __name__ == "__main__":
    print(json.dumps(confirmed(int(sys.argv[1]), int(sys.argv[2]))))
