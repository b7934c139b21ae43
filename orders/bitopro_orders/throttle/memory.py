"""The throttle's state, and the store that keeps it in this process."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from .rules import Counter, Flight, Lane, State, Waiting

R = TypeVar("R")

#: A store of another format is not understood, and counts as one that does not answer.
FORMAT = 2


_NEW, _UNUSED = Counter(), Lane()


class Part(NamedTuple):
    """The part of the state that a question needs: the names of counters, and of a key's lane."""

    counters: tuple[str, ...]
    lane: str


class Everything(NamedTuple):
    """The state of one exchange: counters, lanes and the members that share it.

    Attributes:
        counters: The counters, by name.
        lanes: The lanes, by name.
        members: See `rules.State`.
        epoch: An id of this state's beginning; a store that has lost its state begins a new one.
    """

    counters: Mapping[str, Counter] = {}
    lanes: Mapping[str, Lane] = {}
    members: Mapping[str, tuple[int, int]] = {}
    epoch: str = ""

    def part(self, part: Part) -> State:
        """Return the part of the state that a question needs."""
        counters = tuple([self.counters.get(name, _NEW) for name in part.counters])
        return State(counters, self.lanes.get(part.lane, _UNUSED), self.members)

    def with_part(self, part: Part, state: State) -> "Everything":
        """Return the state with a part replaced."""
        counters = {**self.counters, **dict(zip(part.counters, state.counters, strict=True))}
        lanes = {**self.lanes, part.lane: state.lane}
        return Everything(counters, lanes, state.members, self.epoch)

    def changed(self, part: Part, state: State, now: int, wall_ms: int) -> "Everything":
        """Return the state with a part replaced; if its key is new, idle entries are removed."""
        kept = self if part.lane in self.lanes else self._without_idle(now, wall_ms)
        return kept.with_part(part, state)

    def _without_idle(self, now: int, wall_ms: int) -> "Everything":
        return self._replace(
            counters={name: each for name, each in self.counters.items() if not each.is_idle(now)},
            lanes={name: e for name, e in self.lanes.items() if not e.is_idle(now, wall_ms)},
        )

    def without_lost(self, names: Iterable[str]) -> "Everything":
        """Return the state without counters, in a new epoch, if the stamps of one were lost.

        The members then put back the requests that they sent. All counters are removed, so that
        none of these is counted twice.
        """
        counters = (self.counters.get(name) for name in names)
        if any(each and each.total and each.ago(1) != each.newest for each in counters):
            return self._replace(counters={}, epoch=f"{self.epoch}+")
        return self

    def encoded(self) -> str:
        """Return everything except the counters' stamps as JSON, as the other stores keep it."""
        counters = {
            name: [each.total, each.capacity, *each[2:]] for name, each in self.counters.items()
        }
        content = {
            "format": FORMAT,
            "epoch": self.epoch,
            "counters": counters,
            "lanes": self.lanes,
            "members": self.members,
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str | bytes, stamps: Callable[[str, int], bytes]) -> "Everything":
        """Return the state that `encoded` has written.

        Args:
            text: The JSON.
            stamps: Returns the stamps of a counter, given its name and capacity.

        Raises:
            ValueError: If the JSON is not understood.
        """
        content = json.loads(text)
        try:
            if content["format"] != FORMAT:
                raise ValueError("it was written by another version")
            return cls(
                {
                    name: Counter(total, stamps(name, capacity), *others)
                    for name, (total, capacity, *others) in content["counters"].items()
                },
                {name: _lane(values) for name, values in content["lanes"].items()},
                {name: (slot, seen) for name, (slot, seen) in content["members"].items()},
                content["epoch"],
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("it is not a throttle's state") from error


def _lane(values: list[Any]) -> Lane:
    *numbers, flights, waiting = values
    return Lane(*numbers)._replace(
        flights=tuple(Flight(*each) for each in flights),
        waiting=tuple(Waiting(*each) for each in waiting),
    )


class MemoryStore:
    """Keeps the state for the threads and tasks of this process.

    Args:
        clock: Returns microseconds since any fixed moment.

    Attributes:
        everything: The state.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self.everything: Everything = Everything()

    def renew(self) -> None:
        """Use a new lock, as in a forked child, where nobody holds the old one."""
        self._lock = threading.Lock()

    def transact(
        self, part: Part, change: Callable[[State, int], tuple[State, R]], wall_ms: int
    ) -> R:
        """Change a part of the state atomically, and return the result."""
        while True:
            seen = self.everything
            state = seen.part(part)
            now = self.clock()
            changed, result = change(state, now)
            if changed is state:
                return result
            everything = seen.changed(part, changed, now, wall_ms)
            # Python looks for signals at calls, so nothing gets in between these three lines, and
            # nobody waits here: compare and set.
            with self._lock:
                is_ours = self.everything is seen
                if is_ours:
                    self.everything = everything
            if is_ours:
                return result
