"""The machine's clocks, its sleep and its dice: the only place where they are named."""

import random
import time
from collections.abc import Awaitable, Callable

from attrs import frozen

from bitopro_auth import system_clock_ms


async def _sleep_in_task(seconds: float) -> None:
    # Imported when a task asks: whoever has only threads does without asyncio.
    import asyncio

    await asyncio.sleep(seconds)


@frozen
class Timing:
    """What waits and tells the time, passed in so that a test can bring its own.

    Attributes:
        now_ms: Returns milliseconds since the epoch.
        monotonic: Returns seconds since any fixed moment.
        sleep: Sleeps for seconds.
        sleep_async: Sleeps for seconds, in a task.
        random: Returns a number from 0 up to and without 1.
    """

    now_ms: Callable[[], int] = system_clock_ms
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    sleep_async: Callable[[float], Awaitable[object]] = _sleep_in_task
    random: Callable[[], float] = random.random
