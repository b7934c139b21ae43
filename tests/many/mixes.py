"""Mixes of faults at random on many orders, beside another strategy, held against the book.

What is asked of each run: nobody else's order is touched, each order is told once, an end that is
told is what the book says, the account adds up, and the journal knows what is not known.
"""

import asyncio
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bitopro_client.models import Order
from bitopro_client.types import UNSET
from bitopro_orders import (
    Account,
    CancelOutcome,
    Journal,
    NotSentError,
    OutcomeUnknownError,
    State,
    cancel_everything,
    cancel_everything_async,
    cancel_many,
    cancel_many_async,
    unresolved,
)
from bitopro_sandbox import Fault, OrderStatus, Sandbox, faults
from bitopro_sandbox.book import OrderNotLiveError
from bitopro_sandbox.settings import CallName
from tests.many.support import PAIR, End, client_of, exchange, named
from tests.support import hasty

HASTE = 60
OURS, THEIRS = range(1000, 2000), range(5000, 6000)
CALLS: tuple[CallName, ...] = (
    "cancel_batch",
    "open_orders",
    "cancel_order",
    "get_order",
    "cancel_all",
)
STATUSES = {
    State.CANCELLED: {OrderStatus.CANCELLED},
    State.PARTLY_FILLED: {OrderStatus.PARTLY_FILLED_CANCELLED, OrderStatus.CANCELLED},
    State.FILLED: {OrderStatus.FILLED},
    State.OPEN: {*OrderStatus},  # a lost cancel may arrive later
}


def _faults(dice: random.Random) -> Fault:
    make: Sequence[Callable[[], Fault]] = (
        lambda: faults.drop(reset=dice.random() < 0.5),
        lambda: faults.drop_answer(reset=dice.random() < 0.5),
        lambda: faults.status(502, processed=dice.random() < 0.5),
        lambda: faults.status(429),
        lambda: faults.status(409),
        lambda: faults.status(404, html=True),
        faults.html,
        faults.truncate,
        faults.empty_object,
        faults.extra_fields,
        lambda: faults.delay(before_ms=30),
        lambda: faults.delay(after_ms=30),
        lambda: faults.partly(dice.randrange(4), dice.choice([None, 502])),
    )
    return dice.choice(make)()


def _ours(order: Order) -> bool:
    return order.client_id is not UNSET and order.client_id in OURS


def play(seed: int, mode: str) -> list[str]:
    """Play one mix and return what was wrong with it."""
    dice = random.Random(seed)
    settings = {
        "lists_untriggered": dice.random() < 0.5,
        "cancels_untriggered": dice.random() < 0.5,
        "listing_lag_ms": dice.choice([0, 0, 40]),
        "cancel_takes_ms": dice.choice([0, 0, 20]),
        "batch_at_most": dice.choice([None, None, 20, 5]),
        "open_orders_at_most": dice.choice([None, None, 7]),
        "batch_unknown": dice.choice(["refuse", "stop", "skip", "echo"]),
        "batch_final": dice.choice(["refuse", "stop", "skip", "echo"]),
        "second_cancel": dice.choice([200, 400, 404, 409, 422]),
    }
    with exchange(**settings) as sandbox, tempfile.TemporaryDirectory() as folder:
        ours = {_place(sandbox, dice, OURS) for _ in range(dice.randrange(1, 40))}
        theirs = {_place(sandbox, dice, THEIRS) for _ in range(5)}
        for call in CALLS:
            if dice.random() < 0.6:
                sandbox.faults.add(_faults(dice), probability=dice.uniform(0.1, 0.6), call=call)
        over = threading.Event()
        other = threading.Thread(
            target=_trade, args=(sandbox, random.Random(seed + 1), ours, theirs, over)
        )
        other.start()
        try:
            with Journal(Path(folder) / "cancels.jsonl") as journal:
                ends, account = _run(sandbox, dice, mode, sorted(ours), journal)
                left = {error.arguments["orderId"] for error in unresolved(journal)}
        finally:
            over.set()
            other.join()
        wrong = _wrong(sandbox, ends, account, ours, left)
    return [f"seed {seed} {mode}: {each}" for each in wrong]


def _place(sandbox: Sandbox, dice: random.Random, whose: range) -> str:
    client_id = dice.choice(whose)
    if dice.random() < 0.9:
        return sandbox.book.place(PAIR, "BUY", amount="1", price="1", client_id=client_id).id
    return sandbox.book.place(
        PAIR, "BUY", amount="1", price="1", client_id=client_id,
        order_type="STOP_LIMIT", stop_price="1", condition="<=",
    ).id  # fmt: skip


def _trade(
    sandbox: Sandbox, dice: random.Random, ours: set[str], theirs: set[str], over: threading.Event
) -> None:
    """Be the other strategy, and the market."""
    while not over.wait(0.005):
        if len(theirs) < 40:
            theirs.add(_place(sandbox, dice, THEIRS))
        mine = sandbox.book.get(dice.choice(sorted(ours)))
        if mine.status in {OrderStatus.OPEN, OrderStatus.PARTLY_FILLED} and dice.random() < 0.1:
            try:
                sandbox.book.fill(mine.id, dice.choice(["0.25", None]))
            except OrderNotLiveError:
                continue


def _run(
    sandbox: Sandbox, dice: random.Random, mode: str, ours: list[str], journal: Journal
) -> tuple[list[End], Account]:
    options: dict[str, Any] = {
        "journal": journal,
        "timeout": dice.choice([30.0, 120.0, 600.0]),
        "batch_size": dice.choice([1, 10, 50]),
        "at_once": dice.choice([2, 10, 100]),
    }
    stop_after, break_after = (
        dice.randrange(20) if dice.random() < 0.4 else None for _ in range(2)
    )
    clears = dice.random() < 0.5
    client = client_of(sandbox, timing=hasty(HASTE), timeout=5 * HASTE)
    orders = [(PAIR, each) for each in ours]
    ends: list[End] = []

    def goes_on(many: Any, end: End) -> bool:
        ends.append(end)
        if len(ends) == stop_after:
            many.stop()
        return len(ends) != break_after

    if mode == "sync":
        with client:
            many: Any = (
                cancel_everything(client, only=_ours, **options)
                if clears
                else cancel_many(client, orders, **options)
            )
            with many:
                for end in many:
                    if not goes_on(many, end):
                        break
            return [*ends, *many.account.rest], many.account

    async def main() -> Account:
        async with client:
            many: Any = (
                cancel_everything_async(client, only=_ours, **options)
                if clears
                else cancel_many_async(client, orders, **options)
            )
            async with many:
                async for end in many:
                    if not goes_on(many, end):
                        break
            ends.extend(many.account.rest)
            account: Account = many.account
            return account

    account = asyncio.run(main())
    return ends, account


def _wrong(
    sandbox: Sandbox, ends: list[End], account: Account, ours: set[str], left: set[str]
) -> list[str]:
    wrong = []
    told = Counter(map(named, ends))
    wrong += [f"{order_id} was told {n} times" for order_id, n in told.items() if n != 1]
    wrong += [f"{order_id} is not ours" for order_id in told.keys() - ours]
    added = account.duplicates + sum(account.done.values()) + sum(account.counts.values())
    if (account.taken, account.under_way) != (added, 0):
        wrong.append(f"the account does not add up: {account}")
    cancelled = {each.order.id for each in sandbox.book.changes if each.cause == "cancel"}
    wrong += [f"{order_id} is not ours, and was cancelled" for order_id in cancelled - ours]
    wrong += [f"{order_id} was cancelled, and not told" for order_id in cancelled - told.keys()]
    for end in ends:
        order = sandbox.book.get(named(end))
        if isinstance(end, CancelOutcome):
            if end.state is not State.NOT_FOUND and order.status not in STATUSES[end.state]:
                wrong.append(f"{order.id} was told as {end.state} and is {order.status.name}")
            if end.executed not in {None, order.executed_amount} and end.state is not State.OPEN:
                wrong.append(f"{order.id}: {end.executed} was told, {order.executed_amount} is")
        elif isinstance(end, NotSentError) and order.id in cancelled:
            wrong.append(f"{order.id} was told as not sent, and was cancelled")
        elif isinstance(end, OutcomeUnknownError) and order.id not in left:
            wrong.append(f"{order.id} is unknown, and the journal does not know")
    return wrong
