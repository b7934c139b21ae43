"""`bitopro` as a person sees it, in a real terminal."""

import re

import pytest

from bitopro_orders import unresolved
from bitopro_sandbox import OrderStatus
from tests.cli.support import PAIR, Cli, terminal
from tests.many.support import place, until

LONG = "SL-9014867155001234567"


@pytest.fixture
def orders(cli: Cli) -> list[str]:
    ids = [order_id for _, order_id in place(cli.sandbox, 3)]
    cli.sandbox.book.fill(ids[2], "0.12345678", "3123456.12345678")
    return ids


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_id_and_no_pair_is_cut(cli: Cli, orders: list[str], width: int) -> None:
    cli.sandbox.book.place(
        "ABCDEFGHIJ_TWD", "BUY", amount="123456.12345678", price="3100000.12", order_id=LONG
    )
    with terminal(cli, "open", width=width) as shown:
        assert shown.code() == 0
    for order_id in orders:
        assert re.search(rf"(?m)^{PAIR} +{order_id}\b", shown.text)
    assert re.search(rf"(?m)^ABCDEFGHIJ_TWD +{LONG}\b", shown.text)
    assert "123456.12345678" in shown.text
    assert "…" not in shown.text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_shows_asks_cancels_and_tells(cli: Cli, orders: list[str], width: int) -> None:
    with terminal(cli, "cancel", PAIR, *orders, "77", width=width) as shown:
        before = shown.see(r"Cancel these 4\? \[y/N\]")
        assert all(order_id in before for order_id in orders)
        assert "0.12345678" in before
        assert "not found" in before
        assert cli.changing_requests() == []
        shown.type("y", "Enter")
        assert shown.code() == 4
    after = shown.text.split("[y/N]")[1]
    assert re.search(r"4/4 .*3 off the book", after)
    for order_id in orders:
        assert re.search(rf"(?m)^{PAIR} +{order_id}\b", after)
    words = re.sub(r"\s+", " ", after)
    assert "0.12345678" in words
    assert "0.87654322" in words
    assert "3123456.12345678" in words
    assert f"Journal: {cli.journals[0]}" in re.sub(r"\n", "", after)
    assert cli.sandbox.book.open_orders() == []


@pytest.mark.parametrize("answer", ["n", "", "x", "C-c", "C-d"])
def test_what_is_not_confirmed_is_not_sent(cli: Cli, orders: list[str], answer: str) -> None:
    with terminal(cli, "cancel", PAIR, *orders) as shown:
        shown.see(r"\[y/N\]")
        if answer == "x":
            shown.type("x", "Enter")
            shown.see("invalid input")
            answer = "n"
        if answer.startswith("C-"):
            shown.type(answer)
        else:
            shown.type(*filter(None, [answer]), "Enter")
        assert shown.code() == (130 if answer.startswith("C-") else 6)
    assert "nothing was sent" in shown.text
    assert cli.changing_requests() == []
    assert cli.journals == []


@pytest.mark.parametrize(
    ("arguments", "typed", "code"),
    [
        ([], "all", 5),
        ([], "y", 6),
        (["--pair", PAIR], PAIR.lower(), 5),
        (["--pair", PAIR], "all", 6),
        (["--lists-untriggered"], "all", 0),
    ],
)
def test_cancel_all_wants_the_word(cli: Cli, arguments: list[str], typed: str, code: int) -> None:
    orders = [order_id for _, order_id in place(cli.sandbox, 2)]
    with terminal(cli, "cancel-all", *arguments) as shown:
        shown.see(r"Type  \w+  to cancel 2 and all")
        shown.type(typed, "Enter")
        assert shown.code() == code
    assert len(cli.sandbox.book.open_orders()) == (2 if code == 6 else 0)
    if code != 6:
        assert all(shown.text.count(order_id) == 2 for order_id in orders)
        assert "2/2" in shown.text


def test_many_are_looked_up_in_one_listing(cli: Cli) -> None:
    orders = [order_id for _, order_id in place(cli.sandbox, 25)]
    cli.sandbox.book.cancel(orders[7])
    with terminal(cli, "cancel", PAIR, *orders) as shown:
        before = shown.see(r"Cancel these 25\?")
        shown.type("C-c")
        assert shown.code() == 130
    assert before.count("not listed as open") == 1
    assert [entry.call for entry in cli.sandbox.journal] == ["open_orders"]


def test_ctrl_c_while_it_cancels(cli: Cli) -> None:
    orders = [order_id for _, order_id in place(cli.sandbox, 12)]
    with terminal(cli, "cancel", PAIR, *orders, "--yes") as shown:
        cli.at_request(1, lambda: shown.type("C-c"), call="cancel_batch")
        assert shown.code() == 130
    assert "stopping: nothing more is sent" in shown.text
    assert all(order_id in shown.text for order_id in orders)
    done = [each for each in orders if cli.sandbox.book.get(each).status is OrderStatus.CANCELLED]
    for order_id in orders:
        state = "cancelled" if order_id in done else "not sent"
        assert re.search(rf"{order_id} +{state}", shown.text)


def test_colours_on_a_terminal_and_none_if_they_are_not_wanted(cli: Cli, orders: list[str]) -> None:
    seen = {}
    for name, environment in (("plain", {"NO_COLOR": "1"}), ("coloured", {"LANG": "C.UTF-8"})):
        with terminal(cli, "cancel", PAIR, orders.pop(), "--yes", environment=environment) as shown:
            shown.code()
            seen[name] = shown.look(with_colours=True)
    colour = re.compile(r"\x1b\[[0-9;]*3[0-8]")
    assert not colour.search(seen["plain"])
    assert colour.search(seen["coloured"])


def test_a_terminal_that_is_held_holds_up_nothing(cli: Cli) -> None:
    orders = [order_id for _, order_id in place(cli.sandbox, 5)]
    with terminal(cli, "cancel", PAIR, *orders, "--yes") as shown:
        cli.at_request(2, lambda: shown.type("C-s"), call="cancel_order")
        until(lambda: cli.sandbox.book.open_orders() == [], 20)
        until(lambda: unresolved(cli.journals[0]) == [], 20)
        shown.type("C-q")
        assert shown.code() == 0
    assert all(order_id in shown.text for order_id in orders)
