"""Who of this process waits for one limit of one key: threads and tasks, first come, first served.

There is no lock: each step is one operation of a dict, which nothing interrupts. So a Ctrl-C, a
signal handler or the garbage collector may come anywhere, and a step that they cut off is made up
for by whoever looks next.
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
    """One who waits.

    Attributes:
        deadline: When it gives up, on the monotonic clock, in seconds.
        signal: Wakes it.
        due: When it must have done its next step; None while nobody waits for it to.
        home: Its loop or its thread: where one is late, all of them are.
        is_opening: Whether it opens a connection.
        has_left: Whether it waits no longer.
    """

    deadline: float
    home: object
    signal: Signal | None = None
    due: float | None = None
    is_opening: bool = False
    has_left: bool = False

    def wake(self) -> None:
        """Let it look again."""
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
        """Wait behind all others."""
        self._waiting[token] = waiter

    def leave(self, token: int, waiter: Waiter) -> None:
        """Wait no longer, and let the next ones look."""
        waiter.has_left = True
        if self._waiting.pop(token, None) is not None:
            self.wake()

    def wake(self) -> None:
        """Let the first one look, and the one behind it, should the first one be gone."""
        looking = (each for each in list(self._waiting.values()) if not each.is_opening)
        for place, waiter in enumerate(islice(looking, 2)):
            if not place and waiter.due is None:
                waiter.due = self._now() + LEASE_SECONDS
            waiter.wake()

    def seconds_until_first(self, token: int, waiter: Waiter, in_flight: int = 1) -> float:
        """Return 0 for who is first, or how long to wait at most before looking again.

        As many as may be under way at once may open connections at once. Whoever is late goes
        behind the others, with all who wait in the same loop or thread.
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
        """Return how many open a connection."""
        return sum(waiter.is_opening for waiter in list(self._waiting.values()))

    def seconds_to_first_deadline(self) -> float:
        """Return how long the first of those who wait has."""
        deadlines = [waiter.deadline for waiter in list(self._waiting.values())]
        return min(deadlines, default=0.0) - self._now()
