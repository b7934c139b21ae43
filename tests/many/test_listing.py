"""Many orders that wait to be read are looked for in one listing, which proves no order's end."""

from collections import Counter
from typing import Any

import pytest

from bitopro_orders import Account, Book, State
from bitopro_sandbox import Fault, Sandbox, faults
from tests.many.support import client_of, exchange, ids, named, place
from tests.many.test_cancel_many import states
from tests.support import hasty

Cancel = Any
#: How many of the client's seconds pass in one of ours.
HASTE = 60
DEMO = ["2959906694", "2959906695", "12234566", "2959906696", "SL-9014867155"]


def hasty_client(sandbox: Sandbox) -> Any:
    return client_of(sandbox, timing=hasty(HASTE), timeout=5 * HASTE)


def calls(sandbox: Sandbox) -> Counter[str | None]:
    return Counter(entry.call for entry in sandbox.journal)


def unreadable_until(sandbox: Sandbox, holds: Any) -> list[Any]:
    """Let no order be read until the account says so; return what it said after each listing."""
    told: list[Any] = []
    sandbox.faults.add(faults.status(502), probability=1, call="get_order")

    def note(account: Account) -> None:
        if account.listed is not None:
            told.append((account.listed, account.book, sum(account.done.values())))
        if holds(account):
            sandbox.faults.clear()

    return [note, told]


def test_the_book_is_known_to_be_clean_long_before_every_amount(cancel_all: Cancel) -> None:
    with exchange() as sandbox:
        for order_id in DEMO:
            sandbox.book.cancel(order_id)
        orders = place(sandbox, 20)
        note, told = unreadable_until(sandbox, lambda account: account.book is not Book.NOT_CLEAN)
        ends, account = cancel_all(
            sandbox, orders, client=hasty_client(sandbox), timeout=600, on_progress=note
        )
    assert set(states(ends).values()) == {State.CANCELLED}
    assert (0, Book.NOT_CLEAN, 0) in told, "one empty listing proves nothing"
    assert (0, Book.NOTHING_LISTED, 0) in told
    assert (account.listed, account.book) == (0, Book.NOTHING_LISTED)


def test_what_a_listing_lacks_is_not_proved_and_only_its_own_orders_count(
    cancel_all: Cancel,
) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 20)
        sandbox.book.lock(orders[3][1])
        note, told = unreadable_until(sandbox, lambda account: account.listed == 1)
        ends, account = cancel_all(
            sandbox, orders, client=hasty_client(sandbox), timeout=600, on_progress=note,
            batch_size=1,
        )  # fmt: skip
    states_told = states(ends)
    assert states_told.pop(orders[3][1]) is State.OPEN
    assert set(states_told.values()) == {State.CANCELLED}
    assert (1, Book.NOT_CLEAN, 0) in told
    assert account.book is Book.NOT_CLEAN


def test_few_are_not_listed(cancel_all: Cancel) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 7)
        sandbox.faults.add(faults.status(502), probability=1, call="get_order")
        _, account = cancel_all(sandbox, orders, client=hasty_client(sandbox), timeout=20)
        assert calls(sandbox)["open_orders"] == 0
    assert account.listed is None


@pytest.mark.parametrize(
    "fault",
    [faults.status(401), faults.status(429), faults.status(502), faults.drop(), faults.html()],
    ids=lambda fault: fault.name,
)
def test_a_listing_that_fails_costs_nothing(cancel_all: Cancel, fault: Fault) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 12)
        sandbox.faults.add(fault, probability=1, call="open_orders")
        sandbox.faults.add(faults.status(502), times=150, call="get_order")
        ends, account = cancel_all(sandbox, orders, client=hasty_client(sandbox), timeout=600)
        listings = calls(sandbox)["open_orders"]
        assert set(states(ends).values()) == {State.CANCELLED}
        assert (listings == 1) if fault.name == "status_401" else listings
    assert (account.listed, account.book) == (None, Book.NOT_CLEAN)


def test_what_is_still_listed_is_read_first(cancel_all: Cancel) -> None:
    with exchange() as sandbox:
        orders = place(sandbox, 14)
        sandbox.book.lock(orders[9][1])
        # One is being read for long; meanwhile the others wait for their turn.
        sandbox.faults.add(faults.delay(before_ms=1500), times=1, call="get_order")
        ends, _ = cancel_all(
            sandbox, orders, client=hasty_client(sandbox), timeout=3000, at_once=1, batch_size=1
        )
        assert {named(end) for end in ends} == ids(orders)
        read = dict.fromkeys(e.path for e in sandbox.journal if e.call == "get_order")
    assert [path.rpartition("/")[2] for path in read][:3] == [orders[each][1] for each in (0, 9, 1)]
