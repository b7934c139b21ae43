"""Nonces: milliseconds since the epoch that never repeat and never go back."""

import threading
import time
from collections.abc import Callable


def system_clock_ms() -> int:
    """Return the machine's time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class NonceSource:
    """Strictly increasing nonces for all threads and tasks of a process.

    A nonce is the clock's milliseconds, or one more than the last where the clock has not moved
    on or went back.

    Args:
        clock_ms: Returns milliseconds since the epoch.
    """

    def __init__(self, clock_ms: Callable[[], int] = system_clock_ms) -> None:
        self._clock_ms = clock_ms
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return the next nonce, in milliseconds since the epoch."""
        with self._lock:
            self._last = max(self._clock_ms(), self._last + 1)
            return self._last
