"""Who of this process waits for one limit of one key: threads and tasks, first come, first served.

There is no lock: each step is one operation of a dict, which nothing interrupts. So a Ctrl-C, a
signal handler or the garbage collector may come anywhere, and a step that they cut off is made up
for by whoever looks next.
"""

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
    """

    deadline: float
    home: object
    signal: Signal | None = None
    due: float | None = None
    is_opening: bool = False

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

    def leave(self, token: int) -> None:
        """Wait no longer, and let the next ones look."""
        if self._waiting.pop(token, None) is not None:
            self.wake()

    def wake(self) -> None:
        """Let the first one look, and the one behind it, should the first one be gone."""
        looking = (each for each in list(self._waiting.values()) if not each.is_opening)
        for place, waiter in enumerate(islice(looking, 2)):
            if not place and waiter.due is None:
                waiter.due = self._now() + LEASE_SECONDS
            waiter.wake()

    def seconds_until_first(self, token: int, in_flight: int = 1) -> float:
        """Return 0 for who is first, or how long to wait at most before looking again.

        As many as may be under way at once may open connections at once.
        """
        now, ahead, opening = self._now(), 0, 1
        first = list(islice(self._waiting.items(), in_flight + MOST_AHEAD))
        late = {
            waiter.home
            for _, waiter in first
            if waiter.due is not None and waiter.due <= now and not waiter.is_opening
        }
        late.discard(self._home_of(token))
        homes: set[object] = set()
        for each, waiter in list(self._waiting.items()) if late else first:
            if each == token:
                return len(homes) * LEASE_SECONDS
            if waiter.deadline < now:
                self._waiting.pop(each, None)
            elif waiter.home in late:
                pass
            elif waiter.is_opening and opening < in_flight:
                opening += 1
            elif waiter.due is None or waiter.due > now:
                if waiter.due is None and not ahead:
                    # Nobody told it that it is first: whoever left last was cut off.
                    waiter.due = now + LEASE_SECONDS
                    waiter.wake()
                ahead += 1
                homes.add(waiter.home)
        return FAR_BEHIND_SECONDS if ahead else 0.0

    def _home_of(self, token: int) -> object:
        waiter = self._waiting.get(token)
        return None if waiter is None else waiter.home

    def opening(self) -> int:
        """Return how many open a connection."""
        return sum(waiter.is_opening for waiter in list(self._waiting.values()))

    def seconds_to_first_deadline(self) -> float:
        """Return how long the first of those who wait has."""
        waiting = list(self._waiting.values())
        return min((waiter.deadline for waiter in waiting), default=0.0) - self._now()
