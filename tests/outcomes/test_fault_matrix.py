"""Every misbehaviour of the sandbox, again and again: the outcome is the book's, or unknown."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from itertools import count, pairwise, product
from typing import Any

import pytest
from attrs import evolve

from bitopro_orders import (
    BitoProError,
    CancelOutcome,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    State,
    Timing,
    cancel_and_confirm,
    cancel_and_confirm_async,
    outcomes,
)
from bitopro_orders.stream import order_history
from bitopro_sandbox import (
    Account,
    Entry,
    Fault,
    Order,
    OrderNotLiveError,
    OrderStatus,
    Sandbox,
    Settings,
    StreamFault,
    faults,
    serve,
)
from tests.outcomes.support import client_of, edited, requests_for
from tests.support import credentials_of, wire

Result = CancelOutcome | BitoProError
Confirm = Callable[[Sandbox, list[Order], float], dict[str, Result]]
Arm = Callable[[Sandbox, str, int], None]

SEEDS = range(4)
NUMBERS = count()
ORDERS = 3
#: How long a confirmation may take. Honest is what every run has to be; to find anything out, a
#: busy machine is given more time.
TIMEOUTS = (0.2, 2.0, 20.0)
#: How much of it one answer may take; at first the slow faults take longer.
PHASE = 0.2
SLOW_MS = 55
#: Replaced in each run by the address of a server that must not be asked anything.
ELSEWHERE = "http://elsewhere.invalid"

NETWORK = [
    faults.delay(before_ms=SLOW_MS),
    faults.delay(after_ms=SLOW_MS),
    faults.delay(before_ms=20, after_ms=20),
    faults.drop(),
    faults.drop(reset=True),
    faults.drop_answer(),
    faults.drop_answer(reset=True),
    faults.truncate(),
    faults.drip(200),
    faults.drip(5000),
    faults.close_after_answer(),
]
CONTENT = [
    faults.html(),
    faults.invalid_json(),
    faults.empty_object(),
    faults.wrong_order_id(),
    evolve(edited(id="99999999", orderId="99999999"), name="wrong_id"),
    evolve(edited(pair="eth_twd"), name="wrong_pair"),
    evolve(edited(status=5), name="wrong_status"),
    faults.extra_fields(),
    faults.unknown_action(),
    faults.numbers(),
    faults.gzip_bomb(2),
]
REDIRECTS = [faults.redirect(ELSEWHERE, status) for status in (301, 302, 303, 307, 308)]
#: That a 401 and a 403 were not processed is assumed, see the README.
STATUSES = [
    *(faults.status(code) for code in (400, 401, 403, 404, 409, 418, 422, 429)),
    *(faults.status(code, processed=True) for code in (400, 404, 409, 422, 429)),
    *(
        faults.status(code, processed=processed, html=html)
        for code, html in ((408, False), (500, False), (502, True), (503, False), (520, True))
        for processed in (False, True)
    ),
]
#: An answer with one of these does not say that the order is live.
UNREADABLE = {
    *("drop", "drop_answer", "truncate", "html", "invalid_json", "empty_object", "gzip_bomb"),
    *("wrong_id", "wrong_pair", "wrong_status"),
}


def name_of(fault: Fault | StreamFault) -> str:
    if isinstance(fault, StreamFault):
        return fault.name
    details = [name for name in ("before_ms", "after_ms") if getattr(fault, name)]
    return "-".join([fault.name, *details, "processed" if fault.processed else "lost"])


class Hurry:
    """Sleeps a tenth of what is asked: the pauses are short, the deadlines real."""

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds / 10)

    @staticmethod
    async def sleep_async(seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


HURRIED = Timing(sleep=Hurry.sleep, sleep_async=Hurry.sleep_async)


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "PATIENCE_SECONDS", 0.05)


@contextmanager
def filling(sandbox: Sandbox, orders: list[Order], dice: random.Random) -> Iterator[None]:
    """Fill parts of the orders at random, for as long as the context lasts."""
    over = threading.Event()

    def fill() -> None:
        while not over.wait(dice.uniform(0.001, 0.02)):
            order = sandbox.book.get(dice.choice(orders).id)
            part = order.remaining_amount * dice.choice([Decimal("0.25"), Decimal(1)])
            try:
                sandbox.book.fill(order.id, part, order.price + dice.randrange(3))
            except (OrderNotLiveError, ValueError):
                continue

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def place(sandbox: Sandbox, dice: random.Random) -> list[Order]:
    """Place orders: open, partly filled, stop-limit."""
    placed = []
    for number in range(ORDERS):
        order = sandbox.book.place(
            "BTC_TWD",
            "BUY",
            amount="1.6",
            price="2800000",
            order_type="STOP_LIMIT" if number == 2 else "LIMIT",
        )
        if number == 1:
            order = sandbox.book.fill(order.id, dice.choice(["0.1", "0.7"]))
        placed.append(order)
    return placed


def in_threads(sandbox: Sandbox, orders: list[Order], timeout: float) -> dict[str, Result]:
    def confirm(order: Order) -> Result:
        try:
            return cancel_and_confirm(client, order.pair, order.id, timeout=timeout)
        except BitoProError as error:
            return error

    with client_of(sandbox, timeout=PHASE * timeout, timing=HURRIED) as client:
        with ThreadPoolExecutor(len(orders)) as pool:
            return dict(zip([each.id for each in orders], pool.map(confirm, orders), strict=True))


def in_tasks(sandbox: Sandbox, orders: list[Order], timeout: float) -> dict[str, Result]:
    return asyncio.run(_in_tasks(sandbox, orders, timeout))


async def _in_tasks(
    sandbox: Sandbox, orders: list[Order], seconds: float, history: Any = None
) -> dict[str, Result]:
    async def confirm(order: Order) -> Result:
        try:
            return await cancel_and_confirm_async(
                client, order.pair, order.id, timeout=seconds, history=history
            )
        except BitoProError as error:
            return error

    async with client_of(sandbox, timeout=PHASE * seconds, timing=HURRIED) as client:
        results = await asyncio.gather(*map(confirm, orders))
    return dict(zip([each.id for each in orders], results, strict=True))


def with_history(sandbox: Sandbox, orders: list[Order], timeout: float) -> dict[str, Result]:
    async def main() -> dict[str, Result]:
        credentials = credentials_of(sandbox)
        async with order_history(
            credentials,
            stream_url=sandbox.stream_url,
            first_backoff_seconds=0.2,
            silence_seconds=0.1,
            timing=HURRIED,
        ) as history:
            return await _in_tasks(sandbox, orders, timeout, history)

    return asyncio.run(main())


def is_truth(outcome: CancelOutcome, sandbox: Sandbox) -> bool:
    """Say whether the outcome is what the book has, to the last digit."""
    order = sandbox.book.get(outcome.order_id)
    versions = [each.order for each in sandbox.book.changes if each.order_id == order.id]
    if outcome.state is State.NOT_FOUND:
        return False
    if outcome.state is State.OPEN:
        answered = [each for each in versions if each.status.is_live]
        refused = requests_for(sandbox, order.id, "DELETE")
        if not all(400 <= (each.status or 0) < 500 for each in refused):
            return False
    else:
        answered = [order]
        expected = {
            OrderStatus.FILLED: State.FILLED,
            OrderStatus.PARTLY_FILLED_CANCELLED: State.PARTLY_FILLED,
            OrderStatus.CANCELLED: State.CANCELLED,
        }
        if expected.get(order.status) is not outcome.state:
            return False
    return any(
        (outcome.executed, outcome.remaining, outcome.average_price)
        == (each.executed_amount, each.remaining_amount, each.avg_execution_price)
        and outcome.at is not None
        and round(outcome.at.timestamp() * 1000) == each.updated_ms
        and outcome.evidence is not None
        and outcome.evidence.status == each.status
        for each in answered
    )


def repeats_unread(entries: list[Entry]) -> list[Entry]:
    """Return the cancels that were repeated though the order had not just been read."""
    return [
        entry
        for before, entry in pairwise(entries)
        if entry.method == "DELETE"
        and not (before.method == "GET" and before.status == 200 and before.fault not in UNREADABLE)
        # What was refused for its nonce or its rate is signed and sent again.
        and not (before.method == "DELETE" and before.status in {409, 429})
    ]


def check(sandbox: Sandbox, results: dict[str, Result], attempts_known: bool = True) -> None:
    """Check everything that must hold after any run."""
    for order_id, result in results.items():
        deletes = requests_for(sandbox, order_id, "DELETE")
        worked = [entry for entry in deletes if entry.processed]
        if isinstance(result, CancelOutcome):
            assert is_truth(result, sandbox), (result, sandbox.book.get(order_id))
        else:
            assert isinstance(result, OutcomeUnknownError | NotSentError | RejectedError)
            assert result.arguments["orderId"] == order_id
            assert isinstance(result, OutcomeUnknownError) or not worked, result
        # One that left over a connection that was just being closed may not have arrived.
        assert not attempts_known or result.attempts >= len(deletes), result
        assert not repeats_unread(requests_for(sandbox, order_id))
    cancelled = {each.order_id for each in sandbox.book.changes if each.cause == "cancel"}
    assert cancelled <= set(results)
    assert {entry.method for entry in sandbox.journal} <= {"GET", "DELETE"}
    triples = Counter(entry.triple_fingerprint for entry in sandbox.journal)
    assert None not in triples
    assert all(count == 1 for count in triples.values())
    # On a busy machine the time may be over before anything leaves: that must be said, too.
    assert triples or all(isinstance(each, NotSentError) for each in results.values())


def run(seed: int, arm: Arm, confirm: Confirm, timeout: float) -> dict[str, Result]:
    """Cancel some of the orders of a new sandbox, armed with faults, and check what must hold."""
    dice = random.Random(seed)
    settings = Settings(
        # A key of its own, so that runs next to each other do not wait in one lane.
        accounts=(Account(api_key=f"key-{next(NUMBERS)}"),),
        # Both are possible at the real exchange.
        nonce_rule="unique" if seed % 2 else "increasing",
        cancel_takes_ms=[0, 0, 10, 60][seed % 4],
        second_cancel=dice.choice([200, 400, 404, 409, 422]),
        ping_interval_ms=30,
        requests_per_minute=10**6,
        general_requests_per_minute=10**6,
    )
    with wire(b"{}") as elsewhere, serve(settings) as sandbox:
        # Of the others some are filled meanwhile, and one, with those of the demonstration, is not.
        orders, (*others, _) = place(sandbox, dice), place(sandbox, dice)
        before = sandbox.book.snapshot()
        arm(sandbox, elsewhere.base_url, seed)
        if seed % 2:
            with filling(sandbox, [*orders[1:], *others], dice):
                results = confirm(sandbox, orders, timeout)
        else:
            results = confirm(sandbox, orders, timeout)
        if any(isinstance(result, OutcomeUnknownError) for result in results.values()):
            time.sleep(SLOW_MS / 1000)  # in which what is still under way arrives
        check(sandbox, results, attempts_known=confirm is not with_history)
        after = sandbox.book.snapshot()
        moved = {each.id for each in (*orders, *others)}
        assert all(after[each] == before[each] for each in before if each not in moved)
    assert not elsewhere.requests
    return results


def finds_out(arm: Arm, *ways: Confirm, must: bool = True) -> bool:
    """Run each way with every seed, next to each other: most of the time they wait.

    Return whether any outcome was known; if one must be, take more time for it.
    """
    for timeout in TIMEOUTS if must else TIMEOUTS[:1]:
        with ThreadPoolExecutor(len(SEEDS) * len(ways)) as pool:
            each = pool.map(lambda job: run(*job), product(SEEDS, [arm], ways, [timeout]))
            found = [result for results in each for result in results.values()]
        if any(isinstance(result, CancelOutcome) for result in found):
            return True
    return False


@pytest.mark.parametrize("target", ["DELETE", "GET", None], ids=["cancel", "read", "both"])
@pytest.mark.parametrize("fault", [*NETWORK, *CONTENT, *REDIRECTS, *STATUSES], ids=name_of)
def test_rest(fault: Fault, target: str | None) -> None:
    def arm(sandbox: Sandbox, elsewhere: str, seed: int) -> None:
        answer = fault.rewrite(faults.json_answer(200, {}))
        if fault.name == "redirect" and isinstance(answer, faults.Answer):
            bad = faults.redirect(elsewhere, answer.status)
        else:
            bad = fault
        sandbox.faults.add(bad, method=target, probability=0.6, seed=seed)

    known = finds_out(arm, in_threads, in_tasks, must=target is not None)
    assert known or target is None, "it is not enough to be honest"


STREAM = [
    faults.skip_message(),
    faults.repeat_message(),
    faults.late_message(50),
    faults.drop_stream(),
    faults.drop_stream(reset=True),
    faults.silence(),
    faults.silence(pongs=False),
    *(
        faults.malformed_message(kind)
        for kind in ("not_json", "truncated", "no_data", "wrong_types", "binary")
    ),
]
HANDSHAKE = [faults.status(503), faults.status(409), faults.drop(), faults.delay(before_ms=30)]


@pytest.mark.parametrize(
    "rest",
    [None, faults.drop_answer()],
    ids=lambda each: name_of(each) if each else "none",
)
@pytest.mark.parametrize("fault", [*STREAM, *HANDSHAKE], ids=name_of)
def test_stream(fault: Fault | StreamFault, rest: Fault | None) -> None:
    def arm(sandbox: Sandbox, _: str, seed: int) -> None:
        sandbox.faults.add(fault, method="STREAM", probability=0.5, seed=seed)
        if rest is not None:
            sandbox.faults.add(rest, probability=0.6, seed=seed)

    assert finds_out(arm, with_history)
