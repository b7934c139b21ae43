"""Nonces: the time in milliseconds since the epoch, always larger than the nonce before."""

import threading
import time
from collections.abc import Callable


def system_clock_ms() -> int:
    """Return the machine's time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class NonceSource:
    """Returns strictly increasing nonces, for all threads and tasks of a process.

    A nonce is the current time in milliseconds. If the clock has not moved on, or was set back, it
    is the last nonce plus one.

    Args:
        clock_ms: Returns the time, in milliseconds since the epoch.
    """

    def __init__(self, clock_ms: Callable[[], int] = system_clock_ms) -> None:
        self._clock_ms = clock_ms
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return the next nonce, in milliseconds since the epoch."""
        while True:
            seen = self._last
            nonce = max(self._clock_ms(), seen + 1)
            # Nothing is called here, so that no signal handler gets in between: compare and set.
            with self._lock:
                is_ours = self._last is seen
                if is_ours:
                    self._last = nonce
            if is_ours:
                return nonce
