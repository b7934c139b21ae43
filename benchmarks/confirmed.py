"""Hundreds of cancels confirmed at once, by the exchange's own limits, next to what they allow.

python -m benchmarks.confirmed 150 100
"""

import asyncio
import json
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

    A request leaves min(round trip, period / requests) after the one before, by its own limit's
    numbers, and no window ever holds more than its requests.
    """
    limits = {"cancel": cancel_order.OPERATION.rate_limit, "reading": get_order.OPERATION.rate_limit}
    left: dict[str, list[float]] = {"cancel": [], "reading": []}
    now, overtaken = -round_trip, 0
    while len(left["reading"]) < count:
        at = {
            kind: max(now + min(round_trip, _gap(limit)), _room_at(left[kind], limit))
            for kind, limit in limits.items()
        }
        cancels, readings = len(left["cancel"]), len(left["reading"])
        if readings < cancels:
            # Once its cancel is answered.
            at["reading"] = max(at["reading"], left["cancel"][readings] + round_trip)
        if cancels == count:
            kind = "reading"
        elif readings == cancels or at["cancel"] > at["reading"]:
            kind = "cancel" if readings == cancels else "reading"
        else:
            waits = left["cancel"][readings] + round_trip <= at["cancel"]
            kind = "reading" if waits and overtaken >= MOST_BEFORE_A_READING else "cancel"
            overtaken = overtaken + 1 if waits else 0
        if kind == "reading":
            overtaken = 0
        now = at[kind]
        left[kind].append(now)
    return now + round_trip


def _gap(limit: RateLimit) -> float:
    return limit.period_seconds / limit.requests


def _room_at(left: list[float], limit: RateLimit) -> float:
    if len(left) < limit.requests:
        return 0.0
    return left[-limit.requests] + limit.period_seconds
