"""The connection pool: connections that are kept between requests, last in, first out."""

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
    """A connection that can be kept.

    Attributes:
        idle_since: When it was put into the pool, on the monotonic clock, in seconds.
        generation: The value of `Idle.generation` when it was opened.
    """

    idle_since: float
    generation: int

    def is_open(self) -> bool:
        """Say whether it can be used: not closed, and nothing received since its answer."""

    def close(self) -> None:
        """Close it at once; it never waits."""


C = TypeVar("C", bound=Connection)


class Idle(Generic[C]):
    """A pool with a stack of connections for each origin.

    Each step is a single operation of a list, so no lock is needed.

    Args:
        monotonic: Returns seconds since any fixed moment.

    Attributes:
        generation: How many times all connections were closed; those in use at that time are not
            kept afterwards.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self.generation: int = 0
        self._stacks: dict[Origin, list[C]] = {}
        self._process = os.getpid()
        self._inherited: list[dict[Origin, list[C]]] = []

    def take(self, origin: Origin) -> C | None:
        """Return an open connection; close those that are not open any more."""
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
        """Keep a connection for the next request; close those that have died meanwhile."""
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
        """Close all connections of the pool."""
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
    """Say whether nothing was received; on an idle connection, anything received means its end."""
    try:
        if not hasattr(select, "poll"):
            return not select.select([wire], [], [], 0)[0]
        poller = select.poll()
        poller.register(wire, select.POLLIN)
        return not poller.poll(0)
    except (OSError, ValueError):
        return False
