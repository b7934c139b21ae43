# /// script
# requires-python = ">=3.11"
# dependencies = ["bitopro-orders[redis]"]
# ///
"""A job on several machines that cancels a file of orders with one key.

    REDIS_URL=redis://redis.example:6379/0 python job.py orders.csv --part 1/3   # on one machine
    REDIS_URL=redis://redis.example:6379/0 python job.py orders.csv --part 2/3   # on another
    ...

The file has lines of pair,id; each machine takes its part of them. What must be one for the key is
kept in Redis: the limits of the exchange, and the order of the nonces. If Redis is gone, the job
goes on within its share of the limits, and says so on stderr.

Ctrl-C and SIGTERM: no more cancels are sent, what was sent is settled. A machine that was killed is
started again with the same arguments: its journal says what it had begun, the rest it begins with.
The exit code is 0 if it is proved what became of every order, and none of them is open.
"""

import argparse
import csv
import logging
import os
import signal
import sys
from pathlib import Path

from bitopro_orders import (
    BitoProError,
    CancelOutcome,
    Journal,
    ManyOutcomes,
    OrdersClient,
    State,
    cancel_many,
    connect,
    resume,
    unresolved,
)

DONE = {State.CANCELLED, State.PARTLY_FILLED, State.FILLED}
Order = tuple[str, str]


def part_of(path: str, part: str) -> list[Order]:
    """Return the orders of a file that are this machine's, such as every third from the second."""
    which, _, of = part.partition("/")
    if not (which.isdecimal() and of.isdecimal() and 1 <= int(which) <= int(of)):
        raise ValueError(f"--part must be such as 1/3, not {part}")
    with Path(path).open(newline="") as lines:
        rows = list(csv.reader(lines))
    if wrong := [number for number, row in enumerate(rows, 1) if len(row) != 2]:
        raise ValueError(f"line {wrong[0]} of {path} must be pair,id")
    return [(pair.upper(), order_id) for pair, order_id in rows][int(which) - 1 :: int(of)]


def follow(many: ManyOutcomes, name: str, done: set[Order]) -> None:
    """Tell of each order as it ends, and add those that are off the book for certain."""
    for end in many:
        if isinstance(end, CancelOutcome):
            print(end.pair, end.order_id, end.state, end.executed, sep="\t", flush=True)
            if end.state in DONE:
                done.add((end.pair, end.order_id))
        else:
            print(f"{name}: {dict(end.arguments)}: {end}", file=sys.stderr)
    if many.account.taken:
        print(f"{name}: {many.account}", file=sys.stderr)


def cancel(client: OrdersClient, orders: list[Order], journal: Journal, name: str) -> set[Order]:
    """Finish what a killed run has begun, and cancel the rest; return what is off the book."""
    for left in unresolved(journal):
        if not {*left.arguments.values()} & {order_id for _, order_id in orders}:
            raise ValueError(f"the journal is about other orders: {dict(left.arguments)}: {left}")
    done: set[Order] = set()
    begun = resume(client, journal)
    # Asked when the first is through: what it has settled is not given again.
    rest = cancel_many(client, (each for each in orders if each not in done), journal=journal)

    def stop(*_: object) -> None:
        begun.stop()
        rest.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    follow(begun, name, done)
    follow(rest, name, done)
    return done


def main() -> int:
    """Cancel this machine's part of the orders; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("orders", help="a file with lines of pair,id")
    parser.add_argument("--part", required=True, help="which part is this machine's, such as 1/3")
    parser.add_argument("--journal", help="default: job-1-of-3.jsonl")
    given = parser.parse_args()
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    name = f"job {given.part}"
    try:
        orders = part_of(given.orders, given.part)
        # It may hold a password, so it is no argument: others can see those.
        redis_url = os.environ["REDIS_URL"]
    except (OSError, ValueError) as error:
        parser.error(f"{error}")
    except KeyError:
        parser.error("set REDIS_URL in the environment, such as redis://localhost:6379/0")
    path = given.journal or f"job-{given.part.replace('/', '-of-')}.jsonl"
    try:
        with connect(shared=redis_url) as client, Journal(path) as journal:
            done = cancel(client, orders, journal, name)
    except (BitoProError, ValueError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0 if done.issuperset(orders) else 1


if __name__ == "__main__":
    sys.exit(main())
