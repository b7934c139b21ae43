"""A process that cancels when it is told to: its settings are JSON on the command line.

It says "ready", waits for a line, and prints its results as JSON. Then it waits for the next line,
until there is none.
"""

import json
import logging
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, SendingPolicy, connect


class Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def main(settings: dict[str, Any]) -> None:
    warnings, lock = Warnings(), threading.Lock()
    logging.getLogger("bitopro_orders").addHandler(warnings)
    client = connect(
        Credentials(*settings["credentials"]),
        base_url=settings["base_url"],
        shared=settings["shared"],
        policy=SendingPolicy(**settings["policy"]),
    )
    print("ready", flush=True)
    for line in sys.stdin:
        outcomes: Counter[str] = Counter()

        def cancel(_: int) -> None:
            try:
                cancel_order.sync("BTC_TWD", "2959906694", client=client)
                outcome = "accepted"
            except BitoProError as error:
                outcome = type(error).__name__
            with lock:
                outcomes[outcome] += 1  # noqa: B023 - the threads end before the loop goes on

        with ThreadPoolExecutor(settings["threads"]) as pool:
            list(pool.map(cancel, range(int(line))))
        print(json.dumps({"outcomes": outcomes, "warnings": warnings.texts}), flush=True)
    client.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
