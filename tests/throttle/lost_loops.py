"""A process whose loop is closed with cancels in it: its settings are JSON on the command line."""

import asyncio
import faulthandler
import json
import sys
import time
from typing import Any

from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError
from tests.throttle.programs import ORDER_ID, PAIR, cancel, client_of, finish


def main(settings: dict[str, Any]) -> None:
    faulthandler.dump_traceback_later(50, exit=True)
    patient = client_of({**settings, "policy": {"deadline_seconds": 30}})
    client = client_of(settings)
    loop = asyncio.new_event_loop()
    call = cancel_order.asyncio
    tasks = [loop.create_task(call(PAIR, ORDER_ID, client=patient)) for _ in range(4)]
    loop.run_until_complete(asyncio.sleep(0.04))
    loop.close()
    problems, longest = list[str](), 0.0

    async def in_a_task() -> None:
        await call(PAIR, ORDER_ID, client=client)

    with asyncio.Runner() as runner:
        for _ in range(10):
            began = time.monotonic()
            try:
                if settings["way"] == "sync":
                    cancel(client)
                else:
                    runner.run(in_a_task())
            except BitoProError as error:
                problems.append(f"{type(error).__name__}: {error}")
                break
            finally:
                longest = max(longest, time.monotonic() - began)
    done = sum(task.done() for task in tasks)
    finish({"problems": problems, "longest": longest, "done": done})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
