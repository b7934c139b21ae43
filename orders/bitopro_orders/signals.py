"""Signals that wake a thread or a task, from any thread.

Setting a signal takes no lock and waits for nothing, so a signal handler, the garbage collector and
any other thread or event loop may do it.
"""

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Signal(Protocol):
    """Wakes one waiter. If it is set before the wait, the wait ends at once."""

    def set(self) -> None:
        """Wake the waiter."""


def running_loop() -> "asyncio.AbstractEventLoop | None":
    """Return the event loop that runs in this thread, or None."""
    # Where nobody has imported asyncio there is none; it takes as long to import as all the rest.
    if (module := sys.modules.get("asyncio")) is None:
        return None
    try:
        loop: asyncio.AbstractEventLoop = module.get_running_loop()
    except RuntimeError:
        return None
    return loop


def is_cancellation(error: object) -> bool:
    """Say whether an exception is the cancellation of a task."""
    module = sys.modules.get("asyncio")
    return module is not None and isinstance(error, module.CancelledError)


class ThreadSignal:
    """Wakes a thread."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # Not an Event: its lock is Python's, and setting it inside of itself would never end.
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiter."""
        with contextlib.suppress(RuntimeError):  # it is set already
            self._lock.release()

    def wait(self, seconds: float) -> None:
        """Wait until it is set, for a number of seconds at most."""
        self._lock.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))


class TaskSignal:
    """Wakes a task of the event loop in which it was made."""

    __slots__ = ("_future", "_is_set", "_loop")

    def __init__(self) -> None:
        from asyncio import get_running_loop

        self._loop = get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._is_set = False

    def set(self) -> None:
        """Wake the waiter, if its event loop still runs."""
        if running_loop() is self._loop:
            self._wake()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._is_set = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is set, for a number of seconds at most."""
        if not self._is_set:
            self._future = future = self._loop.create_future()
            timer = self._loop.call_later(max(seconds, 0.0), self._time_out, future)
            try:
                await future
            finally:
                timer.cancel()
                self._future = None
        self._is_set = False

    @staticmethod
    def _time_out(future: "asyncio.Future[None]") -> None:
        if not future.done():
            future.set_result(None)
