"""One lane per key: signed requests leave it in the order of their nonces.

One of the exchange's documents says that nonces must increase; whether that is enforced is not
known. Requests that are under way together overtake each other, so on the safe assumption the next
one leaves when the previous one is answered. So that a slow answer does not hold back a cancel, it
leaves at the latest when the limit would allow it anyway: 900 a minute is one every 67 ms. The
number in flight then adapts by itself to what the limit can use.
"""

import asyncio
import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

from bitopro_auth import Credentials
from bitopro_client.types import RateLimit

from .sharing import Shared, Turn, key_of, open_shared, store_of
from .timing import Timing
from .transport import Attempt

#: How often another process is asked whether it is done.
POLL_SECONDS = 0.002
#: After a 409 nothing overlaps for a while, except after this long without an answer.
CAREFUL_SECONDS = 60.0
CAREFUL_HOLD_SECONDS = 1.0
#: How long a turn may take to connect before the spacing counts: TCP and TLS are three round trips.
CONNECT_SECONDS = 0.25


class LaneTimeoutError(Exception):
    """The deadline passed before the request's turn came."""


class _Waiting:
    """A thread or task in the lane: how to wake it, and the loop that it needs to be."""

    __slots__ = ("_loop", "_wake")

    def __init__(
        self, wake: Callable[[], object], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._wake = wake
        self._loop = loop

    def is_there(self) -> bool:
        """Say whether it can still be woken: a loop may be closed with tasks in it."""
        return self._loop is None or not self._loop.is_closed()

    def wake(self) -> None:
        """Let it look whether its turn has come."""
        if self._loop is None or self._loop is _running_loop():
            self._wake()
        else:
            with contextlib.suppress(RuntimeError):  # closed just now
                self._loop.call_soon_threadsafe(self._wake)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Lane:
    """The order in which the requests of one key leave this process, first come, first served.

    Args:
        shared: What the key's users share.
        timing: The clocks.
    """

    def __init__(self, shared: Shared, timing: Timing) -> None:
        self.shared = shared
        self._timing = timing
        self._ahead_of_monotonic_ms: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._flying: dict[int, tuple[float, Attempt]] = {}
        self._careful_until = 0.0

    def before_fork(self) -> None:
        """Hold everything still, and move the nonces to where parent and child share them."""
        self._lock.acquire()
        # Without a place for the file the child counts for itself, from where the parent is.
        with contextlib.suppress(OSError):
            self.shared.share_with_children()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; a child begins with an empty lane."""
        if in_child:
            self._reset()
        else:
            self._lock.release()

    def now_ms(self) -> int:
        """Return the exchange's time as far as it is known, in milliseconds since the epoch."""
        if self._ahead_of_monotonic_ms is None:
            return self._timing.now_ms()
        return round(self._timing.monotonic() * 1000 + self._ahead_of_monotonic_ms)

    @property
    def correction_ms(self) -> int:
        """What is added to this machine's clock, in milliseconds."""
        if self._ahead_of_monotonic_ms is None:
            return 0
        return self.now_ms() - self._timing.now_ms()

    def correct_clock(self, difference_ms: int) -> None:
        """Take this machine's clock to be ahead of the exchange's by `difference_ms` now.

        From then on the monotonic clock counts: somebody may set the wrong one right.
        """
        exchange_ms = self._timing.now_ms() - difference_ms
        with self._lock:
            self._ahead_of_monotonic_ms = exchange_ms - self._timing.monotonic() * 1000
            self.shared.rewind()

    def be_careful(self) -> None:
        """Let nothing overlap for a while: a nonce was refused."""
        with self._lock:
            self._careful_until = self._timing.monotonic() + CAREFUL_SECONDS

    def take(self, limit: RateLimit, in_flight: int, attempt: Attempt) -> int:
        """Wait for the turn and return its nonce.

        Args:
            limit: The limit whose spacing ends the wait for an answer.
            in_flight: How many requests may be under way at once.
            attempt: Whose turn it is; it knows its deadline, and will know when it left.

        Raises:
            LaneTimeoutError: If the deadline passes first, or is known to.
        """
        hold = limit.period_seconds / limit.requests
        if nonce := self._pass(hold, in_flight, attempt):
            return nonce
        event = threading.Event()
        me = self._join(_Waiting(event.set))
        try:
            while True:
                turn = self._try(me, hold, in_flight, attempt)
                if turn.nonce:
                    return turn.nonce
                event.wait(self._pause(turn, attempt.deadline))
                event.clear()
        except BaseException:
            self._leave(me)
            raise

    async def take_async(self, limit: RateLimit, in_flight: int, attempt: Attempt) -> int:
        """Wait for the turn and return its nonce; see `take`."""
        hold = limit.period_seconds / limit.requests
        remote = self.shared.is_remote
        if not remote and (nonce := self._pass(hold, in_flight, attempt)):
            return nonce
        event = asyncio.Event()
        me = self._join(_Waiting(event.set, asyncio.get_running_loop()))
        try:
            while True:
                turn = (
                    await self._try_elsewhere(me, hold, in_flight, attempt)
                    if remote
                    else self._try(me, hold, in_flight, attempt)
                )
                if turn.nonce:
                    return turn.nonce
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause(turn, attempt.deadline)):
                        await event.wait()
                event.clear()
        except BaseException:
            self._leave(me)
            raise

    def next_nonce(self) -> int:
        """Return the next nonce without a turn, for what is no request of the API.

        Raises:
            LaneTimeoutError: If the nonces are too far ahead of the clock.
        """
        with self._lock:
            turn = self.shared.take(self.now_ms(), 0)
        if not turn.nonce:
            raise LaneTimeoutError(f"the next nonce comes in {turn.wait_ms / 1000:.1f} s")
        return turn.nonce

    def release(self, nonce: int, *, processed: bool) -> None:
        """End the turn: the answer is there, or there will be none.

        Args:
            nonce: The turn's nonce.
            processed: Whether the exchange may have used it up.
        """
        with self._lock:
            self._flying.pop(nonce, None)
            head = self._head()
        self.shared.release(nonce, processed=processed)
        if head is not None:
            head.wake()

    def _pause(self, turn: Turn, deadline: float) -> float:
        """Return how long to wait for a turn, in seconds; somebody may wake the waiter before."""
        left = deadline - self._timing.monotonic()
        wait = turn.wait_ms / 1000
        if left <= 0:
            raise LaneTimeoutError("the requests before it left no time before the deadline")
        # An answer may end any other wait early.
        if turn.is_early and wait >= left:
            raise LaneTimeoutError(f"the key's nonces are {wait:.1f} s too far ahead of the clock")
        if not wait:
            return left
        # Another process does not wake this one, so it is asked again and again.
        return min(left, wait if self._flying else min(wait, POLL_SECONDS))

    def _join(self, me: _Waiting) -> _Waiting:
        with self._lock:
            self._queue.append(me)
        return me

    def _head(self) -> _Waiting | None:
        """Return who is first in the lane, without those whose loop is closed."""
        while self._queue and not self._queue[0].is_there():
            self._queue.popleft()
        return self._queue[0] if self._queue else None

    def _leave(self, me: _Waiting) -> None:
        with self._lock:
            if me in self._queue:
                self._queue.remove(me)
            head = self._head()
        if head is not None:
            head.wake()

    def _pass(self, hold: float, in_flight: int, attempt: Attempt) -> int:
        """Take a turn at once if nobody waits; 0 if somebody does."""
        with self._lock:
            if self._head() or self._wait(hold, in_flight):
                return 0
            return self._fly(hold, in_flight, attempt).nonce

    def _try(self, me: _Waiting, hold: float, in_flight: int, attempt: Attempt) -> Turn:
        """Take the turn if it is mine, or say how long to wait; 0 is until woken."""
        with self._lock:
            if self._head() is not me:
                return Turn(0, 0)
            if wait := self._wait(hold, in_flight):
                return Turn(0, max(1, round(wait * 1000)))
            turn = self._fly(hold, in_flight, attempt)
            if turn.nonce:
                self._queue.popleft()
            head = self._head()
        if turn.nonce and head is not None:
            head.wake()
        return turn

    async def _try_elsewhere(
        self, me: _Waiting, hold: float, in_flight: int, attempt: Attempt
    ) -> Turn:
        """Try in a thread; a turn that comes when the task is gone is given back."""
        trial = asyncio.ensure_future(asyncio.to_thread(self._try, me, hold, in_flight, attempt))

        def give_back(done: asyncio.Future[Turn]) -> None:
            if not done.cancelled() and done.exception() is None and done.result().nonce:
                self.release(done.result().nonce, processed=False)

        try:
            return await asyncio.shield(trial)
        except asyncio.CancelledError:
            trial.add_done_callback(give_back)
            raise

    def _wait(self, hold: float, in_flight: int) -> float:
        """Return the seconds until a request in this process may follow those under way."""
        if not self._flying:
            return 0.0
        now = self._timing.monotonic()
        if now < self._careful_until:
            in_flight, hold = 1, max(hold, CAREFUL_HOLD_SECONDS)
        # What has not left yet holds the next one back: its connection may still be opening.
        until = sorted(
            (min(now, taken_at + CONNECT_SECONDS) if each.left_at is None else each.left_at) + hold
            for taken_at, each in self._flying.values()
        )
        late = sum(moment <= now for moment in until)
        return 0.0 if len(until) - late < in_flight else until[late] - now

    def _fly(self, hold: float, in_flight: int, attempt: Attempt) -> Turn:
        careful = self._timing.monotonic() < self._careful_until
        held_ms = round((CONNECT_SECONDS + hold) * 1000) if in_flight == 1 or careful else 0
        turn = self.shared.take(self.now_ms(), held_ms)
        if turn.nonce:
            self._flying[turn.nonce] = (self._timing.monotonic(), attempt)
        return turn


_lanes: "weakref.WeakValueDictionary[tuple[str, str | None], Lane]" = weakref.WeakValueDictionary()
_lanes_lock = threading.Lock()


def lane_of(
    credentials: Credentials,
    where: str | None,
    origin: str,
    timing: Timing,
    *,
    fall_back: bool = True,
) -> Lane:
    """Return the lane that all clients of this key use in this process.

    Args:
        credentials: Whose key.
        where: Who shares it, see `sharing.open_shared`.
        origin: The exchange, as scheme, host and port.
        timing: The clocks; those of the first client count.
        fall_back: Whether a failing store is replaced by a local one.
    """
    key, where = key_of(credentials), store_of(where)
    with _lanes_lock:
        lane = _lanes.get((key, where))
        if lane is None:
            lane = Lane(open_shared(where, key, origin, fall_back=fall_back), timing)
            _lanes[key, where] = lane
        return lane


def _before_fork() -> None:
    # No other thread may be in the middle of a turn: the child would inherit half of it.
    _lanes_lock.acquire()
    for lane in list(_lanes.values()):
        lane.before_fork()


def _after_fork_in_parent() -> None:
    for lane in list(_lanes.values()):
        lane.after_fork(in_child=False)
    _lanes_lock.release()


def _after_fork_in_child() -> None:
    for lane in list(_lanes.values()):
        lane.after_fork(in_child=True)
    _lanes_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
