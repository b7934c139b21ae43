# /// script
# requires-python = ">=3.11"
# dependencies = ["bitopro-orders[stream]"]
# ///
"""A bot that cancels its orders on a signal, and confirms it by the exchange's stream.

    prices | python bot.py BTC_TWD 2959906694 2959906695 --below 2700000

It reads a price per line. The signal is a price below the floor, a line that is no price, the end
of the prices (a bot that sees nothing should not be in the market), Ctrl-C, SIGTERM, or SIGHUP (the
terminal is gone).

It can be killed at any moment: started again with the same arguments, it finishes what it had
begun. The exit code is 0 if it is proved what became of every order, and none of them is open.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from decimal import Decimal, InvalidOperation

from bitopro_orders import (
    BitoProError,
    CancelOutcome,
    Journal,
    State,
    cancel_many_async,
    connect,
    order_history,
    resume_async,
    unresolved,
)

DONE = {State.CANCELLED, State.PARTLY_FILLED, State.FILLED}


def say(text: str) -> None:
    """Print a line."""
    try:
        print(text, flush=True)
    except OSError:
        # Nobody reads it, or the disk is full: that is not to cost a cancel.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def tell(end: CancelOutcome | BitoProError) -> bool:
    """Print what an order came to; say whether it is off the book for certain."""
    if isinstance(end, CancelOutcome):
        say(f"{end.order_id}, {end.state}, seen by {end.seen_by}")
        return end.state in DONE
    say(f"not certain, or not done: {dict(end.arguments)}: {end}")
    return False


def price(text: str) -> Decimal:
    """Return a price; `ValueError` if it is none, such as NaN or -1."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise ValueError(f"this is no price: {text!r}")
    return value


async def price_below(floor: Decimal) -> str:
    """Wait for a price below the floor, or for the end of the prices; return which it was."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def read() -> None:
        with open(0, errors="replace", closefd=False) as prices, contextlib.suppress(RuntimeError):
            for line in prices:
                loop.call_soon_threadsafe(lines.put_nowait, line.strip())
            loop.call_soon_threadsafe(lines.put_nowait, None)

    # In a thread: asyncio reads pipes, but neither files nor /dev/null. The end waits for none.
    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        try:
            if price(line) < floor:
                return f"the price is {line}"
        except ValueError as error:
            return str(error)
    return "the prices have ended"


def told_to_stop() -> asyncio.Future[str]:
    """Return what has a result when the bot is told to stop."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def stop(name: str) -> None:
        if not told.done():
            told.set_result(f"told to stop by {name}")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # It stays when the signal has come: no cancel is to be cut off by one.
        asyncio.get_running_loop().add_signal_handler(number, stop, number.name)
    return told


async def signal_to_cancel(told: asyncio.Future[str], floor: Decimal) -> str:
    """Wait for the signal; return what it was."""
    say("watching")
    prices = asyncio.create_task(price_below(floor))
    await asyncio.wait({told, prices}, return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        prices.cancel()
        return told.result()
    return await prices


async def run(pair: str, order_ids: list[str], floor: Decimal, journal: Journal) -> bool:
    """Wait for the signal, cancel the orders, and say whether all are off the book for certain."""
    told, ended = told_to_stop(), {}
    async with connect() as client, order_history(client=client) as history:
        if left := unresolved(journal):
            if others := [e for e in left if not {*order_ids} & {*e.arguments.values()}]:
                say(f"nothing was done: the journal is about other orders: {others[0]}")
                return False
            say("cancelling: a run before this one did not finish it")
            async for end in resume_async(client, journal, history=history):
                if isinstance(end, CancelOutcome):
                    ended[end.order_id] = tell(end)
        else:
            say(f"cancelling: {await signal_to_cancel(told, floor)}")
        rest = [(pair, each) for each in order_ids if not ended.get(each)]
        async with cancel_many_async(client, rest, history=history, journal=journal) as many:
            # A list: each order is told of, also after one that is not certain.
            return all([tell(end) async for end in many])


def main() -> int:
    """Run the bot; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pair", help="such as BTC_TWD")
    parser.add_argument("order_ids", nargs="+", metavar="order_id")
    parser.add_argument("--below", required=True, type=price, help="the price to cancel at")
    parser.add_argument("--journal", default="bot.jsonl", help="default: %(default)s")
    given = parser.parse_args()
    try:
        with Journal(given.journal) as journal:
            return 0 if asyncio.run(run(given.pair, given.order_ids, given.below, journal)) else 1
    except BitoProError as error:
        print(f"bot: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
