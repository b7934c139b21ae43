"""The machine's clocks, sleep functions and random numbers. No other module uses them directly."""

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
    """The clocks, the sleep functions and the random numbers of a client; a test can pass its own.

    Attributes:
        now_ms: Returns the time in milliseconds since the epoch.
        monotonic: Returns the seconds since any fixed moment; it never goes back.
        sleep: Sleeps for a number of seconds.
        sleep_async: Sleeps for a number of seconds, in a task.
        random: Returns a number from 0 (included) to 1 (excluded).
    """

    now_ms: Callable[[], int] = system_clock_ms
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    sleep_async: Callable[[float], Awaitable[object]] = _sleep_in_task
    random: Callable[[], float] = random.random
