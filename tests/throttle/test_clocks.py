"""Clocks that are set, and dates that are wrong, stop no cancel and forget no limit."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import (
    NotSentError,
    OrdersClient,
    RateLimitedError,
    SendingPolicy,
    Timing,
    connect,
)
from bitopro_orders.throttle.memory import Everything, Part
from bitopro_orders.throttle.redis import RedisStore
from bitopro_orders.throttle.rules import SECOND
from bitopro_sandbox import Fault, Sandbox, faults, serve
from tests.support import credentials_of
from tests.throttle.programs import ORDER_ID, PAIR, exchange, store

HOUR = 3600
MINUTE_MS = 60_000
#: A window in which a nonce that is an hour off is accepted.
WIDE_MS = 2 * HOUR * 1000
STORES = pytest.mark.parametrize("name", ["memory", "folder", "redis"])
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


class Clocks:
    """This machine's clocks and the exchange's.

    Attributes:
        off: What somebody has set the wall clock ahead by, in seconds. The monotonic clock and
            the exchange's know nothing of it.
        skipped: Seconds that have passed in no time, by all three; needs `skips`.
    """

    def __init__(self, *, skips: bool = False) -> None:
        self.off = self.skipped = 0.0
        self.timing = Timing(now_ms=self.wall_ms)
        if skips:
            self.timing = Timing(now_ms=self.wall_ms, monotonic=self.monotonic)

    def true_ms(self) -> int:
        return time.time_ns() // 1_000_000 + round(self.skipped * 1000)

    def wall_ms(self) -> int:
        return self.true_ms() + round(self.off * 1000)

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped


class Caller:
    """Cancels with one client, from this thread or in a loop of its own."""

    def __init__(self, client: OrdersClient, runner: asyncio.Runner | None) -> None:
        self._client, self._runner = client, runner
        self.longest = 0.0

    async def _in_a_task(self) -> None:
        await cancel_order.asyncio(PAIR, ORDER_ID, client=self._client)

    def cancel(self) -> None:
        began = time.monotonic()
        try:
            if self._runner is None:
                cancel_order.sync(PAIR, ORDER_ID, client=self._client)
            else:
                self._runner.run(self._in_a_task())
        finally:
            self.longest = max(self.longest, time.monotonic() - began)


@contextmanager
def caller(
    sandbox: Sandbox,
    clocks: Clocks,
    shared: str | None = None,
    *,
    way: str = "sync",
    **policy: Any,
) -> Iterator[Caller]:
    client = connect(
        credentials_of(sandbox),
        base_url=sandbox.base_url,
        shared=shared,
        timing=clocks.timing,
        policy=SendingPolicy(**policy),
    )
    if way == "sync":
        with client:
            yield Caller(client, None)
        return

    async def close() -> None:
        async with client:
            pass

    with asyncio.Runner() as runner:
        try:
            yield Caller(client, runner)
        finally:
            runner.run(close())


def http_date(seconds: float) -> str:
    """Return the moment, in seconds since the epoch, as a server writes it."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def without_zone(date: str) -> str:
    return date.removesuffix(" GMT")


def distances(sandbox: Sandbox) -> list[int]:
    """Return how far each nonce was ahead of the true time, in milliseconds."""
    return [(entry.nonce or 0) - entry.at_ms for entry in sandbox.journal]


def statuses(sandbox: Sandbox) -> list[int | None]:
    return [entry.status for entry in sandbox.journal]


# A wall clock that is set


@pytest.mark.parametrize("window_ms", [WIDE_MS, MINUTE_MS], ids=["accepted", "refused"])
@pytest.mark.parametrize("rule", ["increasing", "unique", "none"])
def test_a_clock_that_was_an_hour_ahead_for_one_request_stops_nothing(
    rule: str, window_ms: int
) -> None:
    clocks = Clocks()
    settings = exchange(nonce_rule=rule, clock_window_ms=window_ms)
    with serve(settings) as sandbox, caller(sandbox, clocks, deadline_seconds=5) as client:
        client.cancel()
        clocks.off = HOUR
        client.cancel()
        clocks.off = 0
        for _ in range(6):
            client.cancel()
    assert statuses(sandbox).count(200) == 8
    # A 409 costs a round trip, and there is no reason for more than a few.
    assert len(statuses(sandbox)) <= 8 + 3
    assert client.longest < 2
    if window_ms == MINUTE_MS:
        assert max(map(abs, distances(sandbox)[-5:])) < 2000


@STORES
@WAYS
def test_a_nonce_of_an_hour_ahead_stops_nobody_who_shares_it(
    name: str, way: str, tmp_path: Path
) -> None:
    ahead, right = Clocks(), Clocks()
    ahead.off = HOUR
    settings = exchange(clock_window_ms=WIDE_MS)
    with serve(settings) as sandbox, store(name, tmp_path) as shared:
        with caller(sandbox, ahead, shared, way=way, deadline_seconds=5) as client:
            client.cancel()
        ahead.off = 0
        with caller(sandbox, ahead, shared, way=way, deadline_seconds=5) as client:
            for _ in range(4):
                client.cancel()
            assert client.longest < 2
        if shared is not None:
            # As another process does, whose clock was never wrong.
            with caller(sandbox, right, shared, way=way, deadline_seconds=5) as client:
                for _ in range(4):
                    client.cancel()
                assert client.longest < 2
    assert statuses(sandbox).count(200) == (5 if shared is None else 9)
    assert len(statuses(sandbox)) <= 9 + 3


@STORES
@pytest.mark.parametrize("back", [MINUTE_MS // 1000, HOUR])
def test_a_clock_that_is_set_back_stops_nothing(name: str, back: int, tmp_path: Path) -> None:
    clocks = Clocks()
    with serve(exchange()) as sandbox, store(name, tmp_path) as shared:
        with caller(sandbox, clocks, shared, deadline_seconds=5) as client:
            client.cancel()
            clocks.off = -back
            for _ in range(6):
                client.cancel()
    assert statuses(sandbox).count(200) == 7
    assert len(statuses(sandbox)) <= 7 + 3
    assert client.longest < 2


@STORES
def test_a_clock_that_jumps_further_ahead_and_back_stops_nothing(name: str, tmp_path: Path) -> None:
    clocks = Clocks()
    with serve(exchange(clock_window_ms=MINUTE_MS)) as sandbox, store(name, tmp_path) as shared:
        with caller(sandbox, clocks, shared, deadline_seconds=5) as client:
            clocks.off = 20  # the exchange accepts that, and from now on no less
            for _ in range(2):
                client.cancel()
            clocks.off = HOUR
            for _ in range(2):
                client.cancel()
            clocks.off = 0
            for _ in range(3):
                client.cancel()
    assert statuses(sandbox).count(200) == 7
    assert len(statuses(sandbox)) <= 7 + 5
    assert client.longest < 2
    assert max(distances(sandbox)[-3:]) < 25_000


@STORES
@pytest.mark.parametrize("step", [HOUR, -HOUR, -3, 70])
def test_a_step_of_the_wall_clock_does_not_forget_the_window(
    name: str, step: int, tmp_path: Path
) -> None:
    clocks = Clocks()
    settings = exchange(clock_window_ms=WIDE_MS)
    policy: dict[str, Any] = {"limit_share": 6.5 / 900, "deadline_seconds": 3}
    with serve(settings) as sandbox, store(name, tmp_path) as shared:
        with caller(sandbox, clocks, shared, **policy) as client:
            for _ in range(4):
                client.cancel()
            clocks.off = step
            refused = 0
            for _ in range(5):
                try:
                    client.cancel()
                except NotSentError:
                    refused += 1
        # Six of the window of a minute, which no step ends and which no step fills.
        assert (statuses(sandbox), refused) == ([200] * 6, 3)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_clock_of_redis_does_not_forget_the_window(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks, read = Clocks(), RedisStore._read
    off = 0

    def stepped(store: RedisStore, part: Part) -> tuple[bytes, Everything, int]:
        text, everything, now = read(store, part)
        return text, everything, now + off * SECOND

    monkeypatch.setattr(RedisStore, "_read", stepped)
    policy: dict[str, Any] = {"limit_share": 6.5 / 900, "deadline_seconds": 3}
    with serve(exchange()) as sandbox, store("redis", tmp_path) as shared:
        with caller(sandbox, clocks, shared, **policy) as client:
            for _ in range(4):
                client.cancel()
            off = step
            for _ in range(2):
                client.cancel()
            for _ in range(3):
                with pytest.raises(NotSentError):
                    client.cancel()
    assert statuses(sandbox) == [200] * 6


def test_a_window_ends_when_its_time_has_passed_and_not_when_a_clock_says_so() -> None:
    clocks = Clocks(skips=True)
    settings = exchange(clock=clocks.true_ms, clock_window_ms=WIDE_MS)
    policy: dict[str, Any] = {"limit_share": 2.5 / 900, "deadline_seconds": 3}
    with serve(settings) as sandbox, caller(sandbox, clocks, **policy) as client:
        for _ in range(2):
            client.cancel()
        for step in (0, 70, -70):
            clocks.skipped += 15
            clocks.off = step
            with pytest.raises(NotSentError):
                client.cancel()
        clocks.skipped += 20
        client.cancel()
    assert statuses(sandbox) == [200] * 3


@pytest.mark.parametrize(
    ("name", "step"),
    [("memory", HOUR), ("memory", -HOUR), ("memory", -3), ("folder", HOUR), ("redis", HOUR)],
)
def test_a_step_of_the_wall_clock_does_not_forget_a_retry_after(
    name: str, step: int, tmp_path: Path
) -> None:
    clocks = Clocks()
    settings = exchange(clock_window_ms=WIDE_MS)
    with serve(settings) as sandbox, store(name, tmp_path) as shared:
        with caller(sandbox, clocks, shared, attempts=1) as client:
            client.cancel()
            sandbox.faults.add(faults.status(429, headers={"Retry-After": "1"}))
            with pytest.raises(RateLimitedError):
                client.cancel()
        clocks.off = step
        with caller(sandbox, clocks, shared, deadline_seconds=8) as client:
            client.cancel()
    assert statuses(sandbox) == [200, 429, 200]
    refused, accepted = sandbox.journal[1:]
    # The sandbox' clock counts whole milliseconds.
    assert accepted.at_ms - refused.at_ms >= 995


@pytest.mark.parametrize("name", ["folder", "redis"])
@WAYS
def test_a_client_with_a_monotonic_clock_of_its_own_can_share_a_store(
    name: str, way: str, tmp_path: Path
) -> None:
    clocks = Clocks(skips=True)
    with serve(exchange()) as sandbox, store(name, tmp_path) as shared:
        with caller(sandbox, clocks, shared, way=way, deadline_seconds=3) as client:
            for _ in range(3):
                client.cancel()
    assert statuses(sandbox) == [200] * 3


# A 409 and its date


def slow_409(clocks: Clocks, *, took: float, date_after: float) -> Fault:
    """A 409 that takes `took` seconds, whose `Date` is of the moment after `date_after` of them."""

    def rewrite(_: object) -> Any:
        date = http_date(clocks.true_ms() / 1000 + date_after)
        clocks.skipped += took
        return faults.Answer(409, b'{"error":"Invalid nonce"}', (("date", date),))

    return attrs.evolve(faults.status(409), rewrite=rewrite)


@WAYS
@pytest.mark.parametrize("date_after", [0.0, 2.0, 4.0])
def test_a_409_that_took_seconds_sets_no_right_clock_wrong(way: str, date_after: float) -> None:
    clocks = Clocks(skips=True)
    settings = exchange(clock=clocks.true_ms)
    with serve(settings) as sandbox, caller(sandbox, clocks, way=way) as client:
        client.cancel()
        sandbox.faults.add(slow_409(clocks, took=4, date_after=date_after))
        for _ in range(4):
            client.cancel()
    assert statuses(sandbox) == [200, 409, 200, 200, 200, 200]
    assert max(map(abs, distances(sandbox))) < 1000


def test_a_409_that_really_took_seconds_sets_no_right_clock_wrong() -> None:
    clocks = Clocks()
    with serve(exchange()) as sandbox, caller(sandbox, clocks) as client:
        client.cancel()
        refusal = faults.status(409, headers={"Date": http_date(time.time())})
        sandbox.faults.add(attrs.evolve(refusal, after_ms=2600))
        for _ in range(3):
            client.cancel()
    assert statuses(sandbox) == [200, 409, 200, 200, 200]
    assert max(map(abs, distances(sandbox))) < 2000


@pytest.mark.parametrize("off", [-30.0, 30.0])
@pytest.mark.parametrize("took", [0.0, 4.0])
def test_a_clock_outside_what_a_slow_409_leaves_open_is_set_right(off: float, took: float) -> None:
    clocks = Clocks(skips=True)
    clocks.off = off
    settings = exchange(clock=clocks.true_ms, clock_window_ms=10_000)
    with serve(settings) as sandbox, caller(sandbox, clocks) as client:
        sandbox.faults.add(slow_409(clocks, took=took, date_after=took / 2))
        for _ in range(3):
            client.cancel()
    assert statuses(sandbox)[-3:] == [200] * 3
    assert len(statuses(sandbox)) <= 3 + 2
    assert max(map(abs, distances(sandbox)[-3:])) < 1500 + took * 1000


@pytest.fixture(params=["Asia/Taipei", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Put this machine in another zone: 8 hours ahead of UTC, and 5 behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@WAYS
def test_a_date_without_a_zone_is_utc(zone: str, way: str) -> None:
    clocks = Clocks()
    with serve(exchange()) as sandbox, caller(sandbox, clocks, way=way) as client:
        date = without_zone(http_date(time.time()))
        sandbox.faults.add(faults.status(409, headers={"Date": date}))
        for _ in range(3):
            client.cancel()
    assert statuses(sandbox) == [409, 200, 200, 200]
    assert max(map(abs, distances(sandbox))) < 2500


def test_a_wrong_clock_is_set_right_by_a_date_without_a_zone(zone: str) -> None:
    clocks = Clocks()
    clocks.off = HOUR
    with serve(exchange()) as sandbox, caller(sandbox, clocks) as client:
        date = without_zone(http_date(time.time()))
        sandbox.faults.add(faults.status(409, headers={"Date": date}))
        for _ in range(3):
            client.cancel()
    assert statuses(sandbox) == [409, 200, 200, 200]
    assert max(map(abs, distances(sandbox)[1:])) < 5000


def test_a_retry_after_without_a_zone_is_utc(zone: str) -> None:
    clocks = Clocks()
    with serve(exchange()) as sandbox, caller(sandbox, clocks) as client:
        now = time.time()
        told = {"Date": http_date(now), "Retry-After": without_zone(http_date(now + 1))}
        sandbox.faults.add(faults.status(429, headers=told))
        client.cancel()
    assert statuses(sandbox) == [429, 200]
    refused, accepted = sandbox.journal
    assert 995 <= accepted.at_ms - refused.at_ms < 5000


# A Retry-After that nobody can mean


def far(**ahead: float) -> str:
    return http_date((datetime.now(UTC) + timedelta(**ahead)).timestamp())


NEVER = {
    "the year 9999": lambda: {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
    "400 days, as a date": lambda: {"Retry-After": far(days=400)},
    "a Date of 1970": lambda: {
        "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
        "Retry-After": far(seconds=2),
    },
    "400 days, as a number": lambda: {"Retry-After": str(400 * 86400)},
    "a huge number": lambda: {"Retry-After": "9" * 40},
    "1e300": lambda: {"Retry-After": "1e300"},
    "inf": lambda: {"Retry-After": "inf"},
    "nan": lambda: {"Retry-After": "nan"},
    "a negative number": lambda: {"Retry-After": "-5"},
    "no number": lambda: {"Retry-After": "soon"},
}


@WAYS
@pytest.mark.parametrize("told", NEVER.values(), ids=NEVER.keys())
def test_a_retry_after_beyond_a_year_stops_no_cancel(told: Any, way: str) -> None:
    clocks = Clocks()
    with serve(exchange()) as sandbox:
        sandbox.faults.add(faults.status(429, headers=told()))
        with caller(sandbox, clocks, way=way, attempts=1) as client:
            with pytest.raises(RateLimitedError) as caught:
                client.cancel()
            assert caught.value.retry_after is None
        with caller(sandbox, clocks, way=way, deadline_seconds=5) as client:
            for _ in range(2):
                client.cancel()
            assert client.longest < 3
    assert statuses(sandbox) == [429, 200, 200]


@pytest.mark.parametrize("form", ["number", "date"])
def test_a_retry_after_of_less_than_a_year_is_still_waited_for(form: str) -> None:
    clocks = Clocks()
    told = str(365 * 86400) if form == "number" else far(days=365)
    with serve(exchange()) as sandbox, caller(sandbox, clocks, deadline_seconds=5) as client:
        sandbox.faults.add(faults.status(429, headers={"Retry-After": told}))
        with pytest.raises(RateLimitedError) as caught:
            client.cancel()
        assert caught.value.retry_after == pytest.approx(365 * 86400, abs=5)
        for _ in range(2):
            with pytest.raises(NotSentError):
                client.cancel()
    assert statuses(sandbox) == [429]
