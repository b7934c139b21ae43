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
#: More than these need the timeout that is theirs.
DEFAULT_TIMEOUT_IS_FOR, LONG_TIMEOUT = 150, 90.0


class Confirmed(NamedTuple):
    """What came of it.

    Attributes:
        count: How many orders were cancelled and confirmed at once.
        delay_ms: How long the exchange takes to answer.
        seconds: How long all of it took.
        bound: How long the limits let it take at least, in seconds.
        outcomes: How many outcomes of each kind.
        requests: How many requests arrived.
        wrong: How many outcomes are not `CANCELLED`, or not what the book says.
    """

    count: int
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


async def confirmed(count: int, delay_ms: int) -> Confirmed:
    """Start an exchange, cancel and confirm all its orders at once, and ask its book."""
    command = [sys.executable, "-m", "benchmarks.exchange", str(count), str(delay_ms)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as exchange:
        assert exchange.stdin is not None
        assert exchange.stdout is not None
        told = json.loads(exchange.stdout.readline())
        ids = told["orders"]
        timeout = {} if count <= DEFAULT_TIMEOUT_IS_FOR else {"timeout": LONG_TIMEOUT}
        async with connect(Credentials(*told["credentials"]), base_url=told["base_url"]) as client:
            start = time.perf_counter()
            outcomes = await asyncio.gather(
                *(cancel_and_confirm_async(client, PAIR, each, **timeout) for each in ids),
                return_exceptions=True,
            )
            seconds = time.perf_counter() - start
        exchange.stdin.close()
        seen = json.loads(exchange.stdout.readline())
    return Confirmed(
        count,
        delay_ms,
        seconds,
        bound_seconds(count, delay_ms / 1000),
        Counter(_name(outcome) for outcome in outcomes),
        seen["requests"],
        sum(
            not (_name(outcome) == State.CANCELLED.name == seen["book"][order_id])
            for outcome, order_id in zip(outcomes, ids, strict=True)
        ),
    )


def _name(outcome: CancelOutcome | BaseException) -> str:
    return outcome.state.name if isinstance(outcome, CancelOutcome) else type(outcome).__name__


if __name__ == "__main__":
    print(json.dumps(asyncio.run(confirmed(*map(int, sys.argv[1:3])))))
