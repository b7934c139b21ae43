"""Cancel everything: until the book is seen to be clean, and never called so while it is not."""

import asyncio
import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.api.orders import list_open_orders
from bitopro_client.models import Order
from bitopro_orders import (
    Account,
    AuthenticationError,
    Book,
    CancelOutcome,
    InvalidArgumentError,
    Journal,
    OutcomeUnknownError,
    State,
    cancel_everything,
    cancel_everything_async,
    unresolved,
)
from bitopro_sandbox import Fault, OrderStatus, Sandbox, faults
from tests.many.support import client_of, exchange, ids, named, place, until_async
from tests.many.test_cancel_many import states
from tests.outcomes.support import client_of as limited_client_of
from tests.support import hasty as hasty_timing

Do = Any
DEMO = {"2959906694", "2959906695", "12234566", "2959906696", "SL-9014867155"}


#: How many of the client's seconds pass in one of ours.
HASTE = 60
HASTY = hasty_timing(HASTE)


def hasty(sandbox: Sandbox) -> Any:
    return limited_client_of(sandbox, timing=HASTY, timeout=5 * HASTE)


def live(sandbox: Sandbox) -> set[str]:
    return {order.id for order in sandbox.book.open_orders()}


def stop_order(sandbox: Sandbox) -> str:
    return sandbox.book.place(
        "BTC_USDT", "SELL", amount="1", price="1", order_type="STOP_LIMIT",
        stop_price="1", condition="<=",
    ).id  # fmt: skip


def test_thousands_of_open_orders_are_listed_whole() -> None:
    with exchange() as sandbox, client_of(sandbox, timeout=60) as client:
        placed = ids(place(sandbox, 4000))
        listed = list_open_orders.sync(client=client).data
        assert {order.id for order in listed} == placed | DEMO


def test_every_open_order_is_cancelled_and_told(clear: Do) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 20)
        listed: list[int | None] = []
        ends, account = clear(
            sandbox, client=hasty(sandbox), on_progress=lambda a: listed.append(a.listed)
        )
        told = states(ends)
        assert told.keys() == ids(orders) | DEMO
        assert told.pop("2959906696") is State.PARTLY_FILLED
        assert set(told.values()) == {State.CANCELLED}
        assert live(sandbox) == set()
        calls = Counter(entry.call for entry in sandbox.journal)
    assert account.book is Book.CLEAN
    assert (listed[0], listed[-1], account.listed) == (25, 0, 0)
    assert calls["open_orders"] >= 3
    assert not {"cancel_all", "cancel_pair"} & calls.keys(), "the listing hides nothing"


def test_only_those_of_a_pair(clear: Do) -> None:
    with exchange() as sandbox:
        ends, account = clear(
            sandbox, client=hasty(sandbox), pair="btc_twd", lists_untriggered=True
        )
        assert states(ends).keys() == {"2959906694", "2959906695"}
        assert live(sandbox) == DEMO - {"2959906694", "2959906695"}
    assert account.book is Book.CLEAN


def test_only_those_that_are_picked_and_no_others(clear: Do) -> None:
    def sells(order: Order) -> bool:
        return order.action == "SELL"

    with exchange() as sandbox:
        ends, account = clear(sandbox, client=hasty(sandbox), only=sells)
        sold = {"2959906695", "2959906696", "SL-9014867155"}
        assert states(ends).keys() == sold
        assert live(sandbox) == DEMO - sold
    assert account.book is Book.NOT_CLEAN, "a listing that is not empty proves nothing"
    assert account.listed == 0


def test_what_appears_meanwhile_and_what_is_filled_meanwhile_is_told(clear: Do) -> None:
    with exchange() as sandbox:
        new: list[tuple[str, str]] = []
        for _ in range(2):
            sandbox.faults.add(
                faults.meanwhile(after=lambda: new.extend(place(sandbox, 2))), call="open_orders"
            )
        sandbox.faults.add(
            faults.meanwhile(before=lambda: sandbox.book.fill("2959906694")), call="cancel_order"
        )
        sandbox.faults.add(
            faults.meanwhile(before=lambda: sandbox.book.fill("2959906695")), call="get_order"
        )
        ends, account = clear(sandbox, client=hasty(sandbox), batch_size=1)
        told = states(ends)
        assert told.keys() == DEMO | ids(new)
        assert told["2959906694"] is State.FILLED
        assert len(new) == 4
        assert live(sandbox) == set()
    assert account.book is Book.CLEAN


@pytest.mark.parametrize("pair", [None, "BTC_USDT"])
@pytest.mark.parametrize("reached", [True, False])
def test_a_stop_order_that_is_not_listed(clear: Do, reached: bool, pair: str | None) -> None:
    with exchange(lists_untriggered=False, cancels_untriggered=reached) as sandbox:
        hidden = {stop_order(sandbox), "SL-9014867155"}
        ends, account = clear(sandbox, client=hasty(sandbox), pair=pair)
        told = states(ends)
        others = set() if pair else DEMO - hidden
        assert told.keys() == (others | hidden if reached else others)
        assert hidden & live(sandbox) == (set() if reached else hidden)
        assert all(told[each] is State.CANCELLED for each in hidden & told.keys())
        assert account.book is Book.NOTHING_LISTED, "it is not called clean"
        sweeps = [each for each in sandbox.journal if each.call in {"cancel_pair", "cancel_all"}]
        assert len(sweeps) == 1


def test_no_others_are_reached_where_some_are_picked(clear: Do) -> None:
    with exchange(lists_untriggered=False) as sandbox:
        clear(sandbox, client=hasty(sandbox), only=lambda order: order.id != "12234566")
        assert live(sandbox) == {"12234566", "SL-9014867155"}
        assert "cancel_all" not in {entry.call for entry in sandbox.journal}


class Whitelist(set[str]):
    """Picks the orders that are in it: an empty one is false."""

    def __call__(self, order: Order) -> bool:
        return order.id in self


def test_a_predicate_that_is_false_itself_still_picks(clear: Do) -> None:
    with exchange(lists_untriggered=False) as sandbox:
        hidden = stop_order(sandbox)
        sandbox.faults.add(faults.other_data([]), times=10_000, call="open_orders")
        ends, account = clear(sandbox, client=hasty(sandbox), only=Whitelist())
        assert (ends, account.taken) == ([], 0)
        assert hidden in live(sandbox)
        assert all(entry.method == "GET" for entry in sandbox.journal)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (faults.drop_answer(), [OutcomeUnknownError]),
        (faults.status(502), [OutcomeUnknownError]),
        (faults.status(400), []),
    ],
    ids=str,
)
def test_what_becomes_of_the_exchanges_own_cancel_of_all(
    clear: Do, tmp_path: Path, fault: Fault, told: list[type]
) -> None:
    file = tmp_path / "cancels.jsonl"
    with exchange(lists_untriggered=False) as sandbox:
        for order_id in DEMO - {"SL-9014867155"}:
            sandbox.book.cancel(order_id)
        sandbox.faults.add(fault, call="cancel_all")
        with Journal(file) as journal:
            ends, account = clear(sandbox, client=hasty(sandbox), journal=journal)
        assert [type(end) for end in ends] == told
        assert account.book is Book.NOTHING_LISTED
        assert sum(entry.call == "cancel_all" for entry in sandbox.journal) == 1
    before, after = [json.loads(line) for line in file.read_text().splitlines()]
    assert (before["event"], before["operation"]) == ("cancel", "cancelAllOrdersOfAllPairs")
    assert after["outcome"] == ("unknown" if told else "refused")
    assert unresolved(file) == []


async def test_what_the_exchanges_own_cancel_of_all_named_is_not_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "cancels.jsonl"
    with exchange(lists_untriggered=False) as sandbox, Journal(file) as journal:
        for order_id in DEMO - {"SL-9014867155"}:
            sandbox.book.cancel(order_id)
        hidden = {"SL-9014867155", *(stop_order(sandbox) for _ in range(3))}
        sandbox.faults.add(faults.status(502), probability=1, call="get_order")
        async with client_of(sandbox) as client:
            many = cancel_everything_async(client, journal=journal, timeout=60, at_once=1)
            iterating = asyncio.create_task(anext(aiter(many)))
            # One for the call and one for each order.
            await until_async(lambda: file.read_text().count('"answer"') == 1 + len(hidden))
            assert {error.arguments["orderId"] for error in unresolved(file)} == hidden
            await many.aclose()
            await asyncio.gather(iterating, return_exceptions=True)
    account = many.account
    assert {named(error) for error in account.unknown} == hidden
    assert {(error.accepted, error.attempts) for error in account.unknown} == {(True, 1)}
    assert account.taken == account.counts["unknown"] == len(hidden)


async def test_ended_while_the_exchanges_own_cancel_of_all_is_out() -> None:
    with exchange(lists_untriggered=False) as sandbox:
        for order_id in DEMO - {"SL-9014867155"}:
            sandbox.book.cancel(order_id)
        sandbox.faults.add(faults.delay(after_ms=2000), call="cancel_all")
        async with client_of(sandbox) as client:
            async with cancel_everything_async(client) as many:
                waiting = asyncio.create_task(anext(aiter(many)))
                await until_async(
                    lambda: sandbox.journal and sandbox.journal[-1].call == "cancel_all"
                )
        assert type(await waiting) is OutcomeUnknownError
        assert len(many.account.unknown) == 1


def test_an_empty_book(clear: Do) -> None:
    with exchange() as sandbox:
        for order_id in DEMO:
            sandbox.book.cancel(order_id)
        ends, account = clear(sandbox, client=hasty(sandbox))
        assert (ends, account.book) == ([], Book.NOTHING_LISTED)
        _, account = clear(sandbox, client=hasty(sandbox), lists_untriggered=True)
        assert account.book is Book.CLEAN
        calls = Counter(entry.call for entry in sandbox.journal)
        assert calls.keys() == {"open_orders", "cancel_all"}
        assert calls["cancel_all"] == 1, "only where the listing may hide some"


def test_a_listing_of_a_few_orders_at_a_time(clear: Do) -> None:
    with exchange(open_orders_at_most=3) as sandbox:
        orders = place(sandbox, 10)
        ends, account = clear(sandbox, client=hasty(sandbox))
        assert states(ends).keys() == ids(orders) | DEMO
        assert account.book is Book.CLEAN


def test_a_listing_that_is_behind_cancels_nothing_twice_and_ends(clear: Do) -> None:
    with exchange(listing_lag_ms=100) as sandbox:
        time.sleep(0.15)  # until the listing shows the orders
        ends, account = clear(sandbox, client=hasty(sandbox), batch_size=1)
        assert states(ends).keys() == DEMO
        cancels = Counter(e.path for e in sandbox.journal if e.call == "cancel_order")
        assert set(cancels.values()) == {1}
        assert (account.book, account.duplicates) == (Book.CLEAN, 0)


def test_an_order_that_stays_open_is_told_and_the_book_is_not_clean(clear: Do) -> None:
    with exchange() as sandbox:
        sandbox.book.lock("2959906694")
        ends, account = clear(sandbox, client=hasty(sandbox), timeout=50)
        assert states(ends)["2959906694"] is State.OPEN
        assert live(sandbox) == {"2959906694"}
    assert (account.book, account.listed) == (Book.NOT_CLEAN, 1)


FAULTS = [
    faults.drop(reset=True), faults.drop_answer(), faults.status(502), faults.status(429),
    faults.html(), faults.empty_object(), faults.other_data(None), faults.truncate(),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_of_the_exchange_end_no_order_and_prove_no_book(clear: Do, fault: Fault) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 12)
        for call in ("open_orders", "cancel_batch", "cancel_order", "get_order"):
            sandbox.faults.add(fault, times=2, call=call)
        ends, account = clear(sandbox, client=hasty(sandbox), timeout=600)
        assert states(ends).keys() == ids(orders) | DEMO
        assert live(sandbox) == set()
    assert account.book is Book.CLEAN


def test_a_listing_that_leaves_one_out_proves_nothing_of_it(clear: Do) -> None:
    with exchange() as sandbox:
        sandbox.faults.add(faults.leave_out("2959906694"), times=2, call="open_orders")
        ends, account = clear(sandbox, client=hasty(sandbox))
        assert states(ends).keys() == DEMO
        assert account.book is Book.CLEAN


def test_a_listing_that_never_comes_proves_nothing(clear: Do) -> None:
    with exchange() as sandbox:
        sandbox.faults.add(faults.status(502), probability=1, call="open_orders")
        ends, account = clear(sandbox, client=hasty(sandbox), timeout=20)
    assert (ends, account.book, account.listed) == ([], Book.NOT_CLEAN, None)


def test_orders_that_never_stop_coming_end_with_the_time(clear: Do) -> None:
    with exchange() as sandbox:
        sandbox.faults.add(
            faults.meanwhile(after=lambda: place(sandbox, 1)), probability=1, call="open_orders"
        )
        ends, account = clear(sandbox, client=hasty(sandbox), timeout=30)
        assert account.book is Book.NOT_CLEAN
        assert len(ends) > len(DEMO)
        assert account.taken == len(ends) == len({named(end) for end in ends})
        for end in ends:
            status = sandbox.book.get(named(end)).status
            assert not isinstance(end, CancelOutcome) or status is not OrderStatus.OPEN


def test_a_key_that_may_not_list_is_told(clear: Do) -> None:
    with exchange() as sandbox:
        sandbox.faults.add(faults.status(401), probability=1)
        with pytest.raises(AuthenticationError):
            clear(sandbox, client=hasty(sandbox))
        assert len(sandbox.journal) == 1


def test_what_the_predicate_raises_is_raised_after_the_ends_before_it(mode: str) -> None:
    numbers = itertools.count()
    ends: list[Any] = []

    def picky(_: Order) -> bool:
        if next(numbers) >= len(DEMO):
            raise KeyError("picky")
        return True

    async def in_a_task(sandbox: Sandbox) -> None:
        async with hasty(sandbox) as client:
            async for end in cancel_everything_async(client, only=picky):
                ends.append(end)  # noqa: PERF401 - what came before the exception stays

    def in_a_thread(sandbox: Sandbox) -> None:
        with hasty(sandbox) as client:
            ends.extend(cancel_everything(client, only=picky))

    with exchange() as sandbox:
        sandbox.faults.add(faults.meanwhile(after=lambda: place(sandbox, 1)), call="open_orders")
        with pytest.raises(KeyError, match="picky"):
            in_a_thread(sandbox) if mode == "sync" else asyncio.run(in_a_task(sandbox))
    assert {named(end) for end in ends} == DEMO


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"pair": "all"}, "pair must be"),
        ({"pair": ""}, "pair must be"),
        ({"only": 1}, "only must be a function"),
        ({"timeout": -1}, "timeout must be"),
        ({"client": None}, "client must be one that connect"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_at_once(mode: str, options: dict[str, Any], rule: str) -> None:
    function: Any = cancel_everything if mode == "sync" else cancel_everything_async
    with exchange() as sandbox:
        given = {"client": client_of(sandbox), **options}
        with pytest.raises(InvalidArgumentError, match=rule):
            function(given.pop("client"), **given)
        assert len(sandbox.journal) == 0


def test_the_journal_knows_each_order(clear: Do, tmp_path: Path) -> None:
    file = tmp_path / "cancels.jsonl"
    with exchange() as sandbox:
        with Journal(file) as journal:
            clear(sandbox, client=hasty(sandbox), journal=journal)
            assert unresolved(journal) == []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["order_id"] for line in lines if line["event"] == "end"} == DEMO


def test_a_break_ends_it_and_nothing_more_leaves() -> None:
    with exchange() as sandbox, client_of(sandbox) as client:
        with cancel_everything(client) as many:
            for end in many:
                assert named(end) in DEMO
                break
        account: Account = many.account
        assert account.under_way == 0
        left = len(sandbox.journal)
        place(sandbox, 1)
        assert account.book is Book.NOT_CLEAN
        assert len(sandbox.journal) == left


async def test_a_cancelled_task_names_what_is_out() -> None:
    async def all_of_them(client: Any) -> None:
        async for _ in cancel_everything_async(client, batch_size=1):
            pass

    with exchange() as sandbox:
        sandbox.faults.add(faults.delay(before_ms=2000), probability=1, call="get_order")
        async with client_of(sandbox) as client:
            task = asyncio.create_task(all_of_them(client))
            await until_async(lambda: not live(sandbox))
            task.cancel()
            with pytest.raises(OutcomeUnknownError) as caught:
                await task
    told = json.loads(caught.value.arguments["body"])
    assert {order_id for each in told.values() for order_id in each} == DEMO
