"""The throttle's decision as a function, the stores that keep its state, the queue before it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitopro_auth.credentials import Secret
from bitopro_orders.signals import ThreadSignal
from bitopro_orders.throttle import StoreError
from bitopro_orders.throttle.folder import FolderStore
from bitopro_orders.throttle.memory import MemoryStore, Part
from bitopro_orders.throttle.queue import LEASE_SECONDS, Queue, Waiter
from bitopro_orders.throttle.redis import RedisStore
from bitopro_orders.throttle.rules import (
    CAREFUL_GAP,
    PATIENCE,
    SECOND,
    Counter,
    Fate,
    Pass,
    Question,
    State,
    Wait,
    Window,
    cool_down,
    enter,
    leave,
    put_back,
)
from bitopro_orders.timing import Timing

WALL_MS = 1_700_000_000_000
GAP = SECOND // 15
MINUTE = 60 * SECOND
PART = Part(("account-one",), "key-one")
NAMES = count(1)


class Keeper(Protocol):
    """What keeps a state, as these tests use it."""

    def do(self, change: Callable[[State, int], tuple[State, Pass | Wait | None]]) -> object: ...


class Clock:
    """Microseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


class InMemory:
    def __init__(self, clock: Clock) -> None:
        self._store = MemoryStore(clock)

    def do(self, change: Callable[[State, int], tuple[State, Pass | Wait | None]]) -> object:
        return self._store.transact(PART, change, WALL_MS)


class InFolder:
    def __init__(self, file: Path, clock: Clock) -> None:
        self._store = FolderStore(file, clock, lambda _: None)

    def do(self, change: Callable[[State, int], tuple[State, Pass | Wait | None]]) -> object:
        return self._store.transact(PART, lambda state, now, _: change(state, now), WALL_MS)[0]


class InRedis:
    def __init__(self, url: str, name: str, clock: Clock) -> None:
        self._store, self._clock = RedisStore(Secret(url), name, Timing()), clock

    def close(self) -> None:
        self._store._redis.close()

    def do(self, change: Callable[[State, int], tuple[State, Pass | Wait | None]]) -> object:
        # The server's own time is in nobody's hands.
        def changed(state: State, _: int, __: str) -> tuple[State, Pass | Wait | None]:
            return change(state, self._clock.now)

        return self._store.transact(PART, changed, WALL_MS)[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "folder", "redis"])
def make(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[Callable[[], Keeper]]:
    """Make what another process would: a store of the same state. In memory there is only one."""
    made: list[InRedis] = []
    one: Keeper = InMemory(clock)
    name = f"test-{next(NAMES)}"

    def make() -> Keeper:
        if request.param == "memory":
            return one
        if request.param == "folder":
            return InFolder(tmp_path / "state", clock)
        made.append(InRedis(request.getfixturevalue("redis_url"), name, clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


def window(requests: int = 900, period: int = MINUTE) -> Window:
    return Window(PART.counters[0], requests, period, 900)


def question(**changes: object) -> Question:
    asked = Question(
        token=next(NAMES),
        windows=(window(),),
        gap=GAP,
        changes=True,
        carries_nonce=True,
        in_flight=1,
        wall_ms=WALL_MS,
    )
    return asked._replace(**changes)  # type: ignore[arg-type]


def ask(keeper: Keeper, asked: Question) -> Pass | Wait:
    found = keeper.do(lambda state, now: enter(state, now, question=asked))
    assert isinstance(found, Pass | Wait)
    return found


def end(keeper: Keeper, asked: Question, given: Pass | None, fate: Fate) -> None:
    keeper.do(
        lambda state, now: leave(
            state, now, token=asked.token, given=given, fate=fate, wall_ms=asked.wall_ms
        )
    )


def once(keeper: Keeper, fate: Fate = Fate.USED, **changes: object) -> int:
    """Let one request leave and return its nonce."""
    asked = question(**changes)
    given = ask(keeper, asked)
    assert isinstance(given, Pass)
    end(keeper, asked, given, fate)
    return given.nonce


# Nonces


def test_a_nonce_is_the_clocks_or_the_next_one_however_far_ahead(
    make: Callable[[], Keeper],
) -> None:
    steps = (0, 1, -2000, 0, 500, -3_600_000, 4000)
    found = [once(make(), wall_ms=WALL_MS + each) for each in steps]
    assert found == [WALL_MS + each for each in (0, 1, 2, 3, 500, 501, 4000)]


def test_a_nonce_accepted_after_a_rewind_stays_used(make: Callable[[], Keeper]) -> None:
    one, other = make(), make()
    refused, on_its_way = question(in_flight=2, wall_ms=WALL_MS + 300_000), question(in_flight=2)
    first, second = ask(one, refused), ask(other, on_its_way)
    assert isinstance(first, Pass)
    assert isinstance(second, Pass)
    end(one, refused, first, Fate.CLOCK)
    end(other, on_its_way, second, Fate.USED)
    assert once(make(), wall_ms=WALL_MS - 3000) == second.nonce + 1


def test_refused_nonces_are_forgotten_and_used_ones_are_not(make: Callable[[], Keeper]) -> None:
    used = once(make())
    refused = once(make(), Fate.CLOCK, wall_ms=WALL_MS + 300_000)
    assert once(make(), wall_ms=WALL_MS - 1000) == used + 1
    assert once(make(), at_top=True) == refused + 1


FATES = st.sampled_from(["use", "collide", "lose", "unsent", "hold", "rewind"])


@given(st.lists(st.tuples(st.integers(-2000, 2000), FATES), max_size=40))
def test_no_nonce_is_accepted_twice_nor_below_an_accepted_one(
    steps: list[tuple[int, str]],
) -> None:
    clock = Clock()
    keeper, accepted = InMemory(clock), [0]
    fates = {
        "use": Fate.USED,
        "collide": Fate.COLLISION,
        "lose": Fate.UNKNOWN,
        "unsent": Fate.UNSENT,
        "rewind": Fate.CLOCK,
    }
    for offset, step in steps:
        clock.now += SECOND
        asked = question(wall_ms=WALL_MS + offset)
        given = ask(keeper, asked)
        assert isinstance(given, Pass)
        assert given.nonce > max(accepted)
        if step == "use":
            accepted.append(given.nonce)
        if step != "hold":
            end(keeper, asked, given, fates[step])


# Turns


def test_the_next_one_waits_for_the_answer_or_for_the_spacing(
    make: Callable[[], Keeper], clock: Clock
) -> None:
    mine, yours = make(), make()
    first, second = question(), question()
    given = ask(mine, first)
    assert isinstance(given, Pass)
    clock.now += 1000
    assert ask(yours, second) == Wait(GAP - 1000)
    end(mine, first, given, Fate.USED)
    assert isinstance(ask(yours, second), Pass)
    third = question()
    assert ask(mine, third) == Wait(GAP)
    end(mine, first, given, Fate.USED)  # late, and no longer its turn
    assert ask(mine, third) == Wait(GAP)
    clock.now += GAP
    assert isinstance(ask(mine, third), Pass)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_so_many_are_under_way_at_once_and_one_after_a_collision(
    clock: Clock, in_flight: int
) -> None:
    keeper = InMemory(clock)
    under_way = [question(in_flight=in_flight) for _ in range(in_flight)]
    passes = [ask(keeper, each) for each in under_way]
    assert all(isinstance(each, Pass) for each in passes)
    asked = question(in_flight=in_flight)
    assert ask(keeper, asked) == Wait(GAP)
    end(keeper, under_way[0], None, Fate.COLLISION)
    for each in under_way[1:-1]:
        end(keeper, each, None, Fate.USED)
    if in_flight > 1:  # one is still under way
        assert ask(keeper, asked) == Wait(CAREFUL_GAP)
        end(keeper, under_way[-1], None, Fate.USED)
    assert isinstance(ask(keeper, asked), Pass)


def test_asking_twice_gives_one_pass(make: Callable[[], Keeper]) -> None:
    asked = question()
    first = ask(make(), asked)
    assert isinstance(first, Pass)
    assert ask(make(), asked) == first
    end(make(), asked, None, Fate.UNSENT)
    assert once(make(), windows=(window(1),))


def test_who_waits_longer_goes_first_unless_it_is_late(
    make: Callable[[], Keeper], clock: Clock
) -> None:
    first, second, third = question(), question(), question()
    ask(make(), first)
    for each in (second, third):
        assert isinstance(ask(make(), each), Wait)
        clock.now += 1000
    end(make(), first, None, Fate.USED)
    assert ask(make(), third) == Wait(PATIENCE)
    clock.now += GAP + PATIENCE
    assert isinstance(ask(make(), third), Pass), "the second one is gone"


# Windows


def test_what_leaves_counts_within_the_window_and_what_did_not_leave_does_not(
    make: Callable[[], Keeper], clock: Clock
) -> None:
    few = (window(3),)
    for _ in range(2):
        once(make(), windows=few)
    for _ in range(5):
        once(make(), Fate.UNSENT, windows=few)
    once(make(), windows=few)
    asked = question(windows=few)
    assert ask(make(), asked) == Wait(few[0].length, few[0].length)
    clock.now += few[0].length
    assert isinstance(ask(make(), asked), Pass)


@pytest.mark.parametrize(("period", "slack"), [(MINUTE, SECOND), (SECOND, SECOND // 20)])
def test_a_window_is_a_little_longer_than_the_exchanges(period: int, slack: int) -> None:
    assert window(period=period).length == period + slack


def test_unequal_shares_of_a_limit_count_together(make: Callable[[], Keeper]) -> None:
    whole, half = (window(8),), (window(4),)
    for _ in range(4):
        once(make(), windows=whole)
    assert isinstance(ask(make(), question(windows=half)), Wait)
    assert once(make(), windows=whole)


def test_a_clock_that_began_anew_frees_what_was_counted_later(
    make: Callable[[], Keeper], clock: Clock
) -> None:
    few = (window(2),)
    for _ in range(2):
        once(make(), windows=few)
    assert isinstance(ask(make(), question(windows=few)), Wait)
    clock.now = SECOND
    assert once(make(), windows=few)


def test_a_cool_down_is_never_shortened(make: Callable[[], Keeper], clock: Clock) -> None:
    for seconds in (86_400, 1):
        make().do(lambda state, now: cool_down(state, now, microseconds=seconds * SECOND))  # noqa: B023
    asked = question()
    assert ask(make(), asked) == Wait(86_400 * SECOND, 86_400 * SECOND)
    clock.now += 86_400 * SECOND
    assert isinstance(ask(make(), asked), Pass)


def test_what_two_members_put_back_into_a_store_that_forgot_is_kept_whole() -> None:
    now, period, few = 1000 * SECOND, MINUTE, (window(12),)
    state = State(counters=(Counter(),))
    for begins, own in ((now - 20 * SECOND, 7), (now - 10 * SECOND, 4)):
        stamps = [begins + number * SECOND for number in range(own)]
        state = put_back(state, now, [stamps], WALL_MS)
        # What is under way as the store forgets is ended before anything else leaves.
        state, _ = leave(state, now, token=1, given=None, fate=Fate.USED, wall_ms=WALL_MS)
    assert len(state.counters[0].all()) == 11
    state, _ = enter(state, now, question=question(windows=few, in_flight=2))
    _, answer = enter(state, now, question=question(windows=few, in_flight=2))
    assert answer == Wait(few[0].length - 20 * SECOND, few[0].length - 20 * SECOND)
    # What is older than the window is not kept for ever.
    later = now + few[0].length + period
    state = put_back(state, later, [[later]], WALL_MS)
    assert state.counters[0].all() == [later]


# The file

HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_that_stopped_with_the_lock_holds_nobody_for_long(
    tmp_path: Path, clock: Clock
) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += round(seconds * SECOND)

    file = tmp_path / "state"
    store = FolderStore(file, clock, sleep)
    asked = question()

    def take() -> object:
        return store.transact(PART, lambda state, now, _: enter(state, now, question=asked), 0)[0]

    given = take()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, os.fspath(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="another process holds the file"):
            take()
        assert sum(slept) < 1
        assert holder.stdin is not None
        holder.stdin.close()
    assert take() == given


@pytest.mark.parametrize("junk", [b"", b"\x01", b"this is no state" * 1000])
def test_a_file_that_cannot_be_read_is_begun_anew(
    tmp_path: Path, clock: Clock, junk: bytes
) -> None:
    file = tmp_path / "state"
    file.write_bytes(junk)
    nonces = [once(InFolder(file, clock)) for _ in range(3)]
    assert nonces == [WALL_MS, WALL_MS + 1, WALL_MS + 2]


# The queue


class Waiting:
    """Those who wait in a queue whose clock stands still."""

    def __init__(self, count: int) -> None:
        self.now = 50.0
        self.queue = Queue(lambda: self.now)
        for token in range(count):
            self.queue.join(token, Waiter(self.now + 10, token, ThreadSignal()))

    def seconds(self, token: int) -> float:
        """Return how long one of them waits before it looks again."""
        return self.queue.seconds_until_first(token, self.queue._waiting[token])

    def leave(self, token: int) -> None:
        """Let one of them leave."""
        self.queue.leave(token, self.queue._waiting[token])

    def first(self) -> list[int]:
        """Return who may go on, as all of them look."""
        return [token for token in list(self.queue._waiting) if not self.seconds(token)]


def test_one_after_the_other_goes_on_in_the_order_they_came() -> None:
    here = Waiting(4)
    order = []
    while len(here.queue):
        (token,) = here.first()
        order.append(token)
        here.leave(token)
    assert order == [0, 1, 2, 3]


def test_who_gives_up_while_it_waits_holds_nobody_back() -> None:
    here = Waiting(5)
    for token in (0, 2, 4):
        here.leave(token)
    assert here.first() == [1]
    here.leave(1)
    assert here.first() == [3]


def test_who_is_first_and_does_nothing_holds_the_others_back_for_its_lease_only() -> None:
    here = Waiting(3)
    assert here.first() == [0]
    assert here.seconds(1) == LEASE_SECONDS
    here.now += LEASE_SECONDS
    assert here.first() == [0, 1]


def test_who_is_past_its_deadline_is_gone() -> None:
    here = Waiting(2)
    here.queue._waiting[0].deadline = here.now + 1
    here.now += 1.1
    assert here.seconds(1) == 0
    assert len(here.queue) == 1


def test_the_first_ones_are_woken_when_somebody_leaves() -> None:
    here = Waiting(3)
    here.leave(0)
    signals = [waiter.signal for waiter in here.queue._waiting.values()]
    for signal in signals:
        assert isinstance(signal, ThreadSignal)
        assert signal._lock.acquire(blocking=False)


class Watched(Waiter):
    """Counts how often anybody looks at one who waits."""

    looks = 0

    def __getattribute__(self, name: str) -> object:
        Watched.looks += 1
        return super().__getattribute__(name)


def test_where_one_of_two_crowded_loops_is_late_the_other_goes_on_at_little_cost() -> None:
    here, each = Waiting(0), 600
    waiters = [Watched(here.now + 100, number % 2) for number in range(2 * each)]
    for token, waiter in enumerate(waiters):
        here.queue.join(token, waiter)
    Watched.looks = calls = 0

    def turns(loop: int) -> list[int]:
        """Let all of a loop look again and again until all of them have left."""
        nonlocal calls
        left, waiting = list[int](), list(range(loop, 2 * each, 2))
        while waiting:
            here.now += LEASE_SECONDS / 10
            for token in waiting[:3]:
                calls += 1
                if not here.queue.seconds_until_first(token, waiters[token]):
                    here.queue.leave(token, waiters[token])
                    waiting.remove(token)
                    left.append(token)
        return left

    # Nobody in the other one looks meanwhile: it is blocked.
    assert turns(0) == list(range(0, 2 * each, 2))
    assert len(here.queue) == each
    assert sorted(turns(1)) == list(range(1, 2 * each, 2))
    assert len(here.queue) == 0
    assert Watched.looks < 100 * calls


class Leaving(Waiter):
    """Leaves, as another thread may, in the middle of being put behind the others."""

    queue: Queue | None = None

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if self.queue is not None and name == "due" and value is None:
            self.queue.leave(0, self)


def test_who_leaves_while_it_is_put_behind_the_others_does_not_come_back() -> None:
    here = Waiting(2)
    here.queue._waiting[0] = Leaving(here.now + 10, 0)
    here.queue.wake()
    Leaving.queue = here.queue
    here.now += LEASE_SECONDS
    assert here.seconds(1) == 0
    assert list(here.queue._waiting) == [1]


def test_tokens_of_one_process_differ() -> None:
    from bitopro_orders.throttle import new_token

    assert all(a < b for a, b in pairwise([new_token() for _ in range(100)]))


def test_threads_that_come_and_go_do_not_disturb_who_looks() -> None:
    queue, errors = Queue(time.monotonic), list[Exception]()

    def come_and_go(first: int) -> None:
        try:
            for token in range(first, first + 300):
                waiter = Waiter(time.monotonic() + 60, token, ThreadSignal())
                queue.join(token, waiter)
                queue.seconds_until_first(token, waiter)
                queue.leave(token, waiter)
        except Exception as error:  # noqa: BLE001 - the test shows it
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=come_and_go, args=(1000 * n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert (errors, len(queue)) == ([], 0)
