"""Keeps the throttle's state in Redis, for several machines.

The decision is made here and not in the server: the state is read together with the server's time,
and replaced only if nobody has replaced it meanwhile (optimistic locking).
"""

import contextlib

# `socket` imports it when it first looks up a name; a child forked just then would never have it.
import encodings.idna  # noqa: F401
import uuid
from collections.abc import Callable
from typing import TypeVar, cast

import redis

from bitopro_auth.credentials import Secret
from bitopro_orders.timing import Timing

from .memory import Everything, Part
from .rules import SECOND, State
from .shared import StoreError

R = TypeVar("R")

TIMEOUT_SECONDS = 0.4
#: How often a race may be lost before the store counts as failed.
RACES = 50
#: How long to wait before the next try at the most, after the first race that was lost and later.
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.001, 0.016
#: Nothing that is counted, and no nonce ahead of the clock, is older.
KEEP_MS = 2 * 86_400_000

_COMPARE_AND_SET = """
    if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
    for i = 2, #KEYS do
        if redis.call('STRLEN', KEYS[i]) < tonumber(ARGV[3 * i]) then return 0 end
    end
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    for i = 2, #KEYS do
        redis.call('SETRANGE', KEYS[i], ARGV[3 * i - 2], ARGV[3 * i - 1])
        redis.call('PEXPIRE', KEYS[i], ARGV[3])
    end
    return 1
"""


class RedisStore:
    """Keeps the state in Redis.

    Args:
        url: The URL of the server; it may hold a password.
        name: The prefix of the keys in Redis.
        timing: The sleep and the randomness.

    Raises:
        ValueError: If the URL is not understood.
    """

    def __init__(self, url: Secret, name: str, timing: Timing) -> None:
        self._timing = timing
        self._redis = redis.Redis.from_url(
            url.reveal(), socket_connect_timeout=TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS
        )
        self._name = name
        self._swap = self._redis.register_script(_COMPARE_AND_SET)

    def transact(
        self, part: Part, change: Callable[[State, int, str], tuple[State, R]], wall_ms: int
    ) -> tuple[R, State, int]:
        """See `shared.Backend`."""
        with contextlib.suppress(redis.ConnectionError):
            # If only the answer was lost, the second time finds the token and changes nothing.
            return self._transact(part, change, wall_ms)
        return self._transact(part, change, wall_ms)

    def _transact(
        self, part: Part, change: Callable[[State, int, str], tuple[State, R]], wall_ms: int
    ) -> tuple[R, State, int]:
        for race in range(RACES):
            if race:
                # Whoever is many loses fewer races if they do not begin at once.
                most = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** (race - 1))
                self._timing.sleep(self._timing.random() * most)
            text, everything, now = self._read(part)
            seen = everything.part(part)
            changed, result = change(seen, now, everything.epoch)
            if changed is seen:
                return result, changed, now
            everything = everything.changed(part, changed, now, wall_ms)
            keys = [self._name]
            values: list[bytes | int] = [text, everything.encoded().encode(), KEEP_MS]
            for name, old in zip(part.counters, seen.counters, strict=True):
                if written := everything.counters[name].written_since(old):
                    keys.append(f"{self._name}:{name}")
                    # A ring may have been evicted since: then a part of it is not enough.
                    ring = everything.counters[name].capacity * 8
                    values += (*written, 0 if len(written[1]) == ring else ring)
            if self._swap(keys=keys, args=values):
                return result, changed, now
        raise StoreError("other processes were always faster")

    def _read(self, part: Part) -> tuple[bytes, Everything, int]:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.time()
        pipeline.get(self._name)
        for name in part.counters:
            pipeline.get(f"{self._name}:{name}")
        (seconds, microseconds), text, *found = pipeline.execute()
        rings = dict(zip(part.counters, found, strict=True))

        def stamps(name: str, capacity: int) -> bytes:
            # Of the other counters nobody asks, and they are not written.
            return (rings.get(name) or b"").ljust(capacity * 8, b"\0")[: capacity * 8]

        now = cast("int", seconds) * SECOND + cast("int", microseconds)
        if not text:
            return b"", Everything(epoch=uuid.uuid4().hex), now
        everything = Everything.decoded(text, stamps)
        return text, everything.without_lost(part.counters), now
