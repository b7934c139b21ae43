"""Hundreds of cancels confirmed at once, by the exchange's own limits, next to what they allow.

python -m benchmarks.confirmed 150 100
"""

import asyncio
import json
import math
import sys
import time
from collections import Counter
from typing import NamedTuple

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order, cancel_order_batch, get_order
from bitopro_client.types import RateLimit
from bitopro_orders import CancelOutcome, State, cancel_and_confirm_async, connect

from .clients import API_KEY, API_SECRET, IDENTITY, PAIR
from .exchange import exchange

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


class Schedule(NamedTuple):
    """What the limits allow, in seconds from the start.

    Attributes:
        off_the_book: When the last order is off the book.
        every_end: When the last order's end is known.
    """

    off_the_book: float
    every_end: float


def schedule(count: int, round_trip: float, *, batch_size: int = 1, speed: int = 1) -> Schedule:
    """Return how long `count` cancels and as many readings of one key take by the schedule.

    A request leaves min(round trip, period / requests) after the one before, by the numbers of its
    own limit, and no window holds more than its requests. An order is read once its cancel is
    answered. Cancels go first, but a reading waits for three of them at the most.

    Args:
        count: How many orders there are.
        round_trip: How long the exchange takes to answer, in seconds.
        batch_size: How many orders a cancel takes off the book.
        speed: How many times as short as documented the windows are.
    """
    cancelling = cancel_order if batch_size == 1 else cancel_order_batch
    cancel = _faster(cancelling.OPERATION.rate_limit, speed)
    reading = _faster(get_order.OPERATION.rate_limit, speed)
    needed = math.ceil(count / batch_size)
    cancels: list[float] = []
    readings: list[float] = []
    last, overtaken = -math.inf, 0
    while len(readings) < count:
        waits_from = math.inf
        if len(readings) < len(cancels) * batch_size:
            waits_from = cancels[len(readings) // batch_size] + round_trip
        cancel_at = math.inf
        if len(cancels) < needed:
            cancel_at = max(last + min(round_trip, _gap(cancel)), _room_at(cancels, cancel))
        waits_from = max(waits_from, _room_at(readings, reading))
        reading_at = max(waits_from, last + min(round_trip, _gap(reading)))
        waits = waits_from <= cancel_at
        if reading_at < cancel_at or (waits and overtaken >= MOST_BEFORE_A_READING):
            last, overtaken = reading_at, 0
            readings.append(last)
        else:
            last, overtaken = cancel_at, overtaken + waits
            cancels.append(last)
    return Schedule(cancels[-1], last + round_trip)


class _Limit(NamedTuple):
    """So many requests within so many seconds."""

    requests: int
    period: float


def _faster(limit: RateLimit, speed: int) -> _Limit:
    return _Limit(limit.requests, limit.period_seconds / speed)


def _gap(limit: _Limit) -> float:
    return limit.period / limit.requests


def _room_at(left: list[float], limit: _Limit) -> float:
    return left[-limit.requests] + limit.period if len(left) >= limit.requests else 0.0


def confirmed(orders: int, delay_ms: int) -> Confirmed:
    """Start an exchange, cancel and confirm all its orders at once, and ask its book."""
    with exchange(orders, delay_ms) as running:
        ids = running.told["orders"]
        outcomes, seconds = asyncio.run(_all_at_once(running.told["base_url"], ids))
    book = running.seen["book"]
    pairs = [(name_of(each), book[id_]) for each, id_ in zip(outcomes, ids, strict=True)]
    return Confirmed(
        orders,
        delay_ms,
        seconds,
        schedule(orders, delay_ms / 1000).every_end,
        Counter(name for name, _ in pairs),
        sum(running.seen["requests"].values()),
        sum(not (name == status == State.CANCELLED.name) for name, status in pairs),
    )


async def _all_at_once(
    base_url: str, ids: list[str]
) -> tuple[list[CancelOutcome | BaseException], float]:
    timeout = DEFAULT_TIMEOUT if len(ids) <= DEFAULT_TIMEOUT_IS_FOR else LONG_TIMEOUT
    credentials = Credentials(API_KEY, API_SECRET, IDENTITY)
    async with connect(credentials, base_url=base_url) as client:
        start = time.perf_counter()
        outcomes = await asyncio.gather(
            *(cancel_and_confirm_async(client, PAIR, each, timeout=timeout) for each in ids),
            return_exceptions=True,
        )
        return outcomes, time.perf_counter() - start


def name_of(outcome: CancelOutcome | BaseException) -> str:
    """Return the name of the state that an order came to, or that of the error."""
    return outcome.state.name if isinstance(outcome, CancelOutcome) else type(outcome).__name__


if __name__ == "__main__":
    print(json.dumps(confirmed(int(sys.argv[1]), int(sys.argv[2]))))
