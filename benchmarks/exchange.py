"""The sandbox in a process of its own, with orders in its book and answers that come late.

It prints its address. Then it is a shell's: whoever closes its input gets the book as JSON.

python -m benchmarks.exchange ORDERS DELAY_MS
"""

import json
import sys

from bitopro_sandbox import faults, serve

from .clients import PAIR


def main(count: int, delay_ms: int) -> None:
    """Serve until the input ends."""
    with serve() as sandbox:
        placed = [sandbox.book.place(PAIR, "BUY", amount="1", price="1") for _ in range(count)]
        sandbox.faults.add(faults.delay(after_ms=delay_ms), probability=1)
        account = sandbox.account
        print(
            json.dumps(
                {
                    "base_url": sandbox.base_url,
                    "credentials": [account.api_key, account.api_secret, account.identity],
                    "orders": [order.id for order in placed],
                }
            ),
            flush=True,
        )
        sys.stdin.read()
        book = {order.id: sandbox.book.get(order.id).status.name for order in placed}
        requests = len(sandbox.journal)
    print(json.dumps({"book": book, "requests": requests}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
