"""Batches: sooner off the book, and nothing is assumed of what their answers do not say."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order_batch
from bitopro_client.models import OrderIdsByPair
from bitopro_orders import (
    InvalidArgumentError,
    Journal,
    NotSentError,
    OutcomeUnknownError,
    State,
    cancel_many,
    cancel_many_async,
    resume,
    unresolved,
)
from bitopro_sandbox import Fault, OrderStatus, Sandbox, faults
from tests.many.support import (
    PAIR,
    cancels_of,
    client_of,
    collect,
    exchange,
    ids,
    named,
    place,
    until_async,
)
from tests.many.test_cancel_many import states
from tests.outcomes.support import client_of as limited_client_of
from tests.support import hasty

Cancel = Any


@pytest.fixture
def cancel_gathered() -> Cancel:
    """Return what cancels many orders that are all there at once, however busy the machine is."""
    return collect("async", cancel_many, cancel_many_async)


def calls(sandbox: Sandbox) -> Counter[str | None]:
    return Counter(entry.call for entry in sandbox.journal)


async def test_a_batch_is_full_where_more_orders_come_at_once() -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 60)

        async def one_after_the_other() -> AsyncIterator[tuple[str, str]]:
            for order in orders:
                yield order
                await asyncio.sleep(0.001)

        # A tenth as fast as time, so that a busy machine is not taken for the last order.
        async with client_of(sandbox, timing=hasty(0.1)) as client:
            many = cancel_many_async(client, one_after_the_other(), batch_size=30)
            assert {getattr(end, "state", end) async for end in many} == {State.CANCELLED}
        assert calls(sandbox)["cancel_batch"] == 2
        assert calls(sandbox)["cancel_order"] == 0


def test_many_go_in_batches_and_few_alone(cancel_gathered: Cancel) -> None:
    with exchange() as sandbox:
        orders = [*place(sandbox, 25), ("ETH_TWD", "2959906696")]
        ends, _ = cancel_gathered(sandbox, orders, batch_size=10)
        told = states(ends)
        assert told.pop("2959906696") is State.PARTLY_FILLED
        assert set(told.values()) == {State.CANCELLED}
        # Ten, ten, and six alone, unless a busy machine gathers them otherwise.
        assert calls(sandbox)["cancel_batch"] in {2, 3}
        assert calls(sandbox)["cancel_order"] <= 6
        sandbox.journal.clear()
        cancel_gathered(sandbox, place(sandbox, 7))
        assert calls(sandbox)["cancel_batch"] == 0


def test_a_batch_takes_orders_off_the_book_sooner(cancel_gathered: Cancel) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 50)
        sandbox.faults.add(faults.delay(before_ms=20), probability=1)
        client = client_of(sandbox, policy=None)
        began = sandbox.settings.clock()
        ends, _ = cancel_gathered(sandbox, orders, client=client)
        assert set(states(ends).values()) == {State.CANCELLED}
        last = max(change.at_ms for change in sandbox.book.changes if change.cause == "cancel")
        assert last - began < 500, "one by one it would take more than a second"


RULES = ["refuse", "stop", "skip", "echo"]


@pytest.mark.parametrize("rule", RULES)
def test_what_one_that_is_final_does_to_the_others(cancel_all: Cancel, rule: str) -> None:
    with exchange(batch_final=rule) as sandbox:
        orders = place(sandbox, 20)
        sandbox.book.fill(orders[7][1])
        sandbox.book.cancel(orders[9][1])
        ends, _ = cancel_all(sandbox, orders)
        told = states(ends)
        assert told.pop(orders[7][1]) is State.FILLED
        assert set(told.values()) == {State.CANCELLED}
        assert not any(sandbox.book.get(each).status.is_live for each in ids(orders))


@pytest.mark.parametrize("rule", RULES)
def test_what_one_that_is_unknown_or_refused_does_to_the_others(
    cancel_all: Cancel, rule: str
) -> None:
    with exchange(batch_unknown=rule, many_locked=rule) as sandbox:
        orders = place(sandbox, 20)
        sandbox.book.lock(orders[3][1])
        client = limited_client_of(sandbox, timing=hasty(60), timeout=300)
        ends, _ = cancel_all(sandbox, [*orders, (PAIR, "1")], client=client, timeout=400)
        told = states(ends)
        # What the answer to a batch names counts as accepted, so only its end is a proof.
        unknown = {OutcomeUnknownError} if rule == "echo" else set()
        assert told.pop(orders[3][1]) in {State.OPEN, *unknown}
        assert told.pop("1") in {State.NOT_FOUND, *unknown}
        assert set(told.values()) == {State.CANCELLED}
        assert sandbox.book.get(orders[3][1]).status is OrderStatus.OPEN


@pytest.mark.parametrize("most", [1, 5, 9, 25])
def test_a_batch_that_is_too_large_is_sent_in_smaller_ones(
    cancel_gathered: Cancel, most: int
) -> None:
    with exchange(batch_at_most=most) as sandbox:
        orders = place(sandbox, 50)
        ends, _ = cancel_gathered(sandbox, orders)
        assert set(states(ends).values()) == {State.CANCELLED}
        assert next(e.status for e in sandbox.journal if e.call == "cancel_batch") == 400
        alone = calls(sandbox)["cancel_order"]
    assert alone == {1: 50, 5: 50, 9: 50, 25: 0}[most]


FAULTS = [
    faults.drop(reset=True), faults.drop_answer(), faults.status(502, processed=True),
    faults.status(409), faults.partly(5, 500), faults.html(), faults.name_also("XRP_BTC", "1"),
    faults.partly(5), faults.other_data({}), faults.status(400), faults.status(422),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_order_is_settled_whatever_the_batch_answers(cancel_all: Cancel, fault: Fault) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 12)
        sandbox.faults.add(fault, call="cancel_batch")
        ends, _ = cancel_all(sandbox, orders)
        assert set(states(ends).values()) == {State.CANCELLED}
        assert not any(sandbox.book.get(each).status.is_live for each in ids(orders))


def test_after_an_unknown_batch_only_what_is_read_as_live_is_cancelled_again(
    cancel_gathered: Cancel,
) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 12)
        sandbox.faults.add(faults.partly(5, 500), call="cancel_batch")
        cancel_gathered(sandbox, orders)
        assert [cancels_of(sandbox, each) for _, each in orders] == [0] * 5 + [1] * 7
        for _, order_id in orders[5:]:
            about = [e.call for e in sandbox.journal if e.path.endswith(f"/{order_id}")]
            assert about[:2] == ["get_order", "cancel_order"]


def test_what_an_answer_does_not_name_is_not_assumed(cancel_all: Cancel) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 10)
        sandbox.faults.add(faults.leave_out(orders[4][1]), call="cancel_batch")
        ends, _ = cancel_all(sandbox, orders)
        assert set(states(ends).values()) == {State.CANCELLED}
        assert cancels_of(sandbox, orders[4][1]) == 1


def test_a_wrong_key_is_told_of_each_order_and_not_tried_in_ever_smaller_batches(
    cancel_gathered: Cancel,
) -> None:
    with exchange() as sandbox:
        sandbox.faults.add(faults.status(401), probability=1)
        _, account = cancel_gathered(sandbox, place(sandbox, 20))
        assert account.counts == {"refused": 20}
        assert calls(sandbox)["cancel_batch"] == 1


def test_what_was_refused_in_a_batch_and_then_not_sent_is_unknown(cancel_all: Cancel) -> None:
    with exchange(batch_final="stop") as sandbox:
        orders = place(sandbox, 10)
        sandbox.book.fill(orders[9][1])
        # Nothing is told from then on.
        sandbox.faults.add(faults.delay(before_ms=3000), probability=1, call="get_order")
        sandbox.faults.add(
            faults.status(429, headers={"Retry-After": "60"}), times=20, call="cancel_order"
        )
        ends, _ = cancel_all(sandbox, orders, timeout=0.5)
        assert set(states(ends).values()) == {OutcomeUnknownError}


def test_take_profit_and_stop_loss_are_kept_where_that_is_asked(cancel_all: Cancel) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 9)
        cancel_all(sandbox, orders, is_all_strategy_canceled=False)
        assert calls(sandbox)["cancel_batch"] == 0
        queries = {e.query for e in sandbox.journal if e.call == "cancel_order"}
    assert queries == {"isAllStrategyCanceled=false"}


def test_a_bad_size_is_refused() -> None:
    with exchange() as sandbox, client_of(sandbox) as client:
        with pytest.raises(InvalidArgumentError, match="batch_size must be a whole number"):
            cancel_many(client, [], batch_size=0)


def test_the_journal_knows_each_order_of_a_batch(cancel_gathered: Cancel, tmp_path: Path) -> None:
    file = tmp_path / "cancels.jsonl"
    with exchange() as sandbox:
        orders = place(sandbox, 10)
        sandbox.faults.add(faults.delay(before_ms=400), call="cancel_batch")
        sandbox.faults.add(faults.status(502), times=1000, call="get_order")
        with Journal(file) as journal:
            cancel_gathered(sandbox, orders, journal=journal, timeout=0.3)
            assert {each.arguments["orderId"] for each in unresolved(journal)} == ids(orders)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        (batch,) = {line["batch"] for line in lines if line["event"] == "cancel"}
        assert batch
        sandbox.faults.clear()
        time.sleep(0.3)
        with Journal(file) as journal, client_of(sandbox) as client:
            ends = list(resume(client, journal))
        assert {named(end) for end in ends} == ids(orders)
        assert calls(sandbox)["cancel_order"] == 0, "each was read as cancelled"


# Ended early


@pytest.mark.parametrize("leaves", [True, False], ids=["left", "waiting"])
async def test_an_end_while_a_batch_is_out_says_so_of_each_order(leaves: bool) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 20)
        async with client_of(sandbox, policy=None) as client:
            if not leaves:
                # The limit has no room for a third one.
                for pair, order_id in place(sandbox, 2):
                    body = OrderIdsByPair.from_dict({pair: [order_id]})
                    await cancel_order_batch.asyncio(client=client, body=body)
            sandbox.journal.clear()
            sandbox.faults.add(faults.delay(before_ms=300), call="cancel_batch")
            async with cancel_many_async(client, orders) as many:
                told = asyncio.create_task(anext(aiter(many)))
                await asyncio.sleep(0.05)
                if leaves:
                    await until_async(lambda: calls(sandbox)["cancel_batch"])
            kind = OutcomeUnknownError if leaves else NotSentError
            assert type(await told) is kind
        await asyncio.sleep(0.4)
        assert len(sandbox.journal) == leaves
        assert {sandbox.book.get(each).status.is_live for each in ids(orders)} == {not leaves}
        ends = many.account.unknown if leaves else many.account.not_sent
        assert {named(error) for error in ends} == ids(orders)
        assert {type(end) for end in many.account.rest} == {kind}
        assert many.account.under_way == 0


async def test_a_task_cancelled_while_a_batch_is_out_names_its_orders() -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 20)
        sandbox.faults.add(faults.delay(before_ms=3000), call="cancel_batch")

        async def all_of_them(client: Any) -> None:
            async for _ in cancel_many_async(client, orders):
                pass

        async with client_of(sandbox) as client:
            task = asyncio.create_task(all_of_them(client))
            await until_async(lambda: calls(sandbox)["cancel_batch"])
            task.cancel()
            with pytest.raises(OutcomeUnknownError) as caught:
                await task
    assert set(json.loads(caught.value.arguments["body"])[PAIR]) == ids(orders)
