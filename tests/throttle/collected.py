"""A process in which the collector closes abandoned cancels: its settings are JSON in argv."""

import asyncio
import faulthandler
import gc
import json
import logging
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, OrdersClient
from tests.throttle.programs import (
    ORDER_ID,
    PAIR,
    AtPlace,
    StuckError,
    cancel,
    client_of,
    finish,
    places,
    watched,
)

PATIENCE = 6.0


def abandon(client: OrdersClient, way: Coroutine[Any, Any, object]) -> None:
    """Begin a cancel in a loop of its own, let it go on in some way, and lose both."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(cancel_order.asyncio(PAIR, ORDER_ID, client=client))
    loop.run_until_complete(way)
    loop.lost = [task, loop]  # type: ignore[attr-defined]  # no counter of references frees it


async def rounds(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def main(settings: dict[str, Any]) -> None:
    faulthandler.dump_traceback_later(50, exit=True)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of each lost task
    sys.unraisablehook = lambda _: None
    client = client_of(settings)
    runner = asyncio.Runner()

    async def in_a_task() -> None:
        await cancel_order.asyncio(PAIR, ORDER_ID, client=client)

    def once() -> None:
        if settings["way"] == "sync":
            cancel(client)
        else:
            runner.run(in_a_task())

    for _ in range(2):
        once()
    found: Counter[str] = Counter()
    problems: list[str] = []
    dice = random.Random(17)
    gc.freeze()  # so that a collection is quick
    gc.disable()
    number_of_places = places(once)
    tries = settings["tries"]
    for number in range(1, number_of_places + 1, -(-number_of_places // tries)):
        # Most are lost while they wait for their answer, some before they have left.
        few = dice.random() < 0.2
        abandon(client, rounds(dice.randrange(1, 9)) if few else asyncio.sleep(0.004))
        at = AtPlace(number, gc.collect)

        def with_collection(at: Callable[..., None] = at) -> None:
            sys.setprofile(at)
            try:
                once()
            finally:
                sys.setprofile(None)

        what = f"collected at {number} of {number_of_places}"
        found["tries"] += 1
        try:
            watched(with_collection, PATIENCE)
            found["accepted"] += 1
        except BitoProError as error:
            problems.append(f"{what}, {at.where}: {type(error).__name__}: {error}")
        except StuckError as stuck:
            problems.append(f"{what}, {at.where}: {stuck}")
            break
    found["slow"] = 0
    if not problems:
        gc.collect()
        gc.enable()
        for _ in range(5):
            began = time.monotonic()
            once()
            found["slow"] += time.monotonic() - began > 1
        thread = threading.Thread(target=cancel, args=(client,), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        found["threads left"] = int(thread.is_alive())
    finish({**found, "problems": problems[:4]})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
