"""What the tests of guards share."""

import asyncio
import time
from typing import Any

from bitopro_orders import Guard, OrdersClient, Timing
from bitopro_sandbox import Sandbox
from tests.many.support import client_of

#: How many of the clock's seconds pass in one of ours, when it runs.
HASTE = 60
DEMO = {"2959906694", "2959906695", "12234566", "2959906696", "SL-9014867155"}


class Clock:
    """A clock that stands until it is told to run, so that no test is in a hurry."""

    def __init__(self) -> None:
        self._seconds, self._runs_since = 1000.0, float("inf")
        self.timing = Timing(
            monotonic=self.monotonic, sleep=lambda _: time.sleep(0.001), sleep_async=self.sleep
        )

    def monotonic(self) -> float:
        return self._seconds + max(0.0, time.monotonic() - self._runs_since) * HASTE

    async def sleep(self, seconds: float) -> None:
        until = self.monotonic() + seconds
        while self.monotonic() < until:  # noqa: ASYNC110 - the clock has no event
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    def turn(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._seconds += seconds

    def run(self) -> None:
        """Let time pass by itself from now on."""
        self._runs_since = time.monotonic()


def standing_client(sandbox: Sandbox, clock: Clock) -> OrdersClient:
    """Return a client whose seconds are the clock's."""
    return client_of(sandbox, timing=clock.timing, timeout=5 * HASTE)


def guarded(mode: str, guard: Guard, body: Any) -> None:
    """Run a block in a guard; in a task it holds up the loop, as a bot does that hangs."""
    if mode == "sync":
        with guard:
            body(guard)
        return

    async def main() -> None:
        async with guard:
            body(guard)

    asyncio.run(main())


def live(sandbox: Sandbox) -> set[str]:
    """Return the ids of the orders that are open."""
    return {order.id for order in sandbox.book.open_orders()}
