"""The connections that are kept between requests, the last used on top."""

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from . import Origin

#: Less than what proxies in front of an exchange usually grant an idle connection, 60 seconds.
IDLE_SECONDS = 30.0


class Connection(Protocol):
    """What can be kept.

    Attributes:
        idle_since: When it was put back, on the monotonic clock.
        generation: That of `Idle` when it was opened.
    """

    idle_since: float
    generation: int

    def is_open(self) -> bool:
        """Say whether the other side has neither ended it nor said anything since its answer."""

    def close(self) -> None:
        """Close it at once; it never waits."""


C = TypeVar("C", bound=Connection)


class Idle(Generic[C]):
    """A stack of connections for each origin.

    Its steps are single operations of a list, so that it needs no lock.

    Args:
        monotonic: Returns seconds since any fixed moment.

    Attributes:
        generation: How often all were closed; those that were under way then are not kept.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self.generation: int = 0
        self._stacks: dict[Origin, list[C]] = {}
        self._process = os.getpid()
        self._inherited: list[dict[Origin, list[C]]] = []

    def take(self, origin: Origin) -> C | None:
        """Return one that is open; close those that are not."""
        stack = self._stack(origin)
        try:
            while True:
                connection = stack.pop()
                if self._now() - connection.idle_since < IDLE_SECONDS and connection.is_open():
                    return connection
                connection.close()
        except IndexError:
            return None

    def put(self, origin: Origin, connection: C) -> None:
        """Keep a connection for the next request, and close those that have died meanwhile."""
        stack, now = self._stack(origin), self._now()
        connection.idle_since = now
        stack.append(connection)
        # Asked after it is there, or a `close` in between would leave it where nobody looks.
        if connection.generation != self.generation:
            with contextlib.suppress(ValueError):  # taken just now
                stack.remove(connection)
                connection.close()
            return
        # Those at the bottom are never taken while those above suffice: one look at the oldest.
        with contextlib.suppress(IndexError, ValueError):  # taken just now
            oldest = stack[0]
            if oldest is not connection and (
                now - oldest.idle_since >= IDLE_SECONDS or not oldest.is_open()
            ):
                stack.remove(oldest)
                oldest.close()

    def close(self) -> None:
        """Close them all."""
        self._leave_to_parent()
        self.generation += 1
        stacks, self._stacks = self._stacks, {}
        for stack in stacks.values():
            while stack:
                stack.pop().close()

    def _stack(self, origin: Origin) -> list[C]:
        self._leave_to_parent()
        return self._stacks.setdefault(origin, [])

    def _leave_to_parent(self) -> None:
        """In a forked child, touch no connection of the parent's: both would read its answers."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._inherited.append(self._stacks)
            self._stacks = {}


def is_silent(wire: socket.socket) -> bool:
    """Say whether nothing has come in: on an idle connection it could only be the end."""
    try:
        if not hasattr(select, "poll"):
            return not select.select([wire], [], [], 0)[0]
        poller = select.poll()
        poller.register(wire, select.POLLIN)
        return not poller.poll(0)
    except (OSError, ValueError):
        return False
