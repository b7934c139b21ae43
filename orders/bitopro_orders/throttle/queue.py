"""The threads and tasks of this process that wait for one limit of a key: first in, first out.

There is no lock: each step is a single operation of a dict, which nothing interrupts. A Ctrl-C, a
signal handler or the garbage collector may come between two steps; the next waiter that looks
completes what they cut off.
"""

import contextlib
from collections.abc import Callable
from itertools import islice

from attrs import define

from bitopro_orders.signals import Signal

#: How long who is first may take to do the next step, before the one behind goes on as well: its
#: loop may be stopped or busy, its connection slow to open.
LEASE_SECONDS = 0.1
#: Who has more ahead than these looks again after so long.
MOST_AHEAD, FAR_BEHIND_SECONDS = 16, 0.5


@define(eq=False)
class Waiter:
    """A thread or task in the queue.

    Attributes:
        deadline: When it gives up, on the monotonic clock, in seconds.
        signal: Wakes it.
        due: When it must have done its next step; None while it has nothing to do.
        home: Its event loop or thread. If one waiter is late, so are all of the same home.
        is_opening: Whether it looks for an open connection, or opens one.
        has_left: Whether it has left the queue.
    """

    deadline: float
    home: object
    signal: Signal | None = None
    due: float | None = None
    is_opening: bool = False
    has_left: bool = False

    def wake(self) -> None:
        """Wake it, so that it looks again."""
        if self.signal is not None:
            self.signal.set()


class Queue:
    """The queue of one limit of one key.

    Args:
        monotonic: Returns seconds since any fixed moment.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._waiting: dict[int, Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, token: int, waiter: Waiter) -> None:
        """Join at the end of the queue."""
        self._waiting[token] = waiter

    def leave(self, token: int, waiter: Waiter) -> None:
        """Leave the queue, and wake the next ones."""
        waiter.has_left = True
        if self._waiting.pop(token, None) is not None:
            self.wake()

    def wake(self) -> None:
        """Wake the first one, and the second one in case the first has ended."""
        looking = (each for each in list(self._waiting.values()) if not each.is_opening)
        for place, waiter in enumerate(islice(looking, 2)):
            if not place and waiter.due is None:
                waiter.due = self._now() + LEASE_SECONDS
            waiter.wake()

    def seconds_until_first(self, token: int, waiter: Waiter, in_flight: int = 1) -> float:
        """Return 0 for the first one; for others, how long to wait at most before looking again.

        As many waiters may open connections at once as requests may be in flight. A waiter that is
        late goes to the end of the queue, with all waiters of the same loop or thread.
        """
        # Also if somebody was cut off while putting it behind the others.
        self._waiting.setdefault(token, waiter)
        first = self._first(in_flight)
        if first[0][1] is waiter:
            return 0.0
        now, ahead, opening = self._now(), 0, 1
        while late := self._late(first, now) - {waiter.home}:
            self._put_behind([(name, each) for name, each in first if each.home in late])
            first = self._first(in_flight)
        homes: set[object] = set()
        for name, each in first:
            if each is waiter:
                return len(homes) * LEASE_SECONDS
            if each.deadline < now:
                self._waiting.pop(name, None)
            elif each.is_opening and opening < in_flight:
                opening += 1
            elif each.due is None or each.due > now:
                if each.due is None and not ahead:
                    # Nobody told it that it is first: whoever left last was cut off.
                    each.due = now + LEASE_SECONDS
                    each.wake()
                ahead += 1
                homes.add(each.home)
        return FAR_BEHIND_SECONDS if ahead else 0.0

    def _first(self, in_flight: int) -> list[tuple[int, Waiter]]:
        while True:
            with contextlib.suppress(RuntimeError):  # somebody has come or gone meanwhile
                return list(islice(self._waiting.items(), in_flight + MOST_AHEAD))

    @staticmethod
    def _late(waiting: list[tuple[int, Waiter]], now: float) -> set[object]:
        """Return the loops and threads in which somebody is late."""
        return {
            each.home
            for _, each in waiting
            if each.due is not None and each.due <= now and not each.is_opening
        }

    def _put_behind(self, waiting: list[tuple[int, Waiter]]) -> None:
        for token, waiter in waiting:
            waiter.due = None
            self._waiting.pop(token, None)
            self._waiting[token] = waiter
            if waiter.has_left:
                self._waiting.pop(token, None)

    def opening(self) -> int:
        """Return how many waiters look for a connection, or open one."""
        return sum(waiter.is_opening for waiter in list(self._waiting.values()))

    def seconds_to_first_deadline(self) -> float:
        """Return how long it is until the earliest deadline of those that wait."""
        deadlines = [waiter.deadline for waiter in list(self._waiting.values())]
        return min(deadlines, default=0.0) - self._now()
