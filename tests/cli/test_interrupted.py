"""`bitopro` that is stopped, and killed, at any moment: nothing is forgotten."""

import os
import random
import re
import signal
import threading
from typing import Any

import pytest

from bitopro_orders import unresolved
from bitopro_sandbox import OrderStatus
from tests.cli.support import PAIR, Cli, Ran
from tests.many.support import cancels_of, place, until

#: Few go one by one, many in batches.
NUMBERS = (5, 20)
SEEDS = range(6)


def begin(cli: Cli, number: int, timeout: int = 20) -> tuple[list[str], Any]:
    """Begin to cancel new orders; return their ids and the process."""
    orders = [order_id for _, order_id in place(cli.sandbox, number)]
    return orders, cli.start("cancel", PAIR, *orders, "--yes", "--json", "--timeout", f"{timeout}")


def check_told(cli: Cli, orders: list[str], ran: Ran) -> None:
    """Assert that each order is told of once, and truthfully."""
    assert ran.objects[-1]["kind"] == "summary"
    assert ran.ends.keys() == set(orders)
    assert len(ran.objects) == len(orders) + 1
    for order_id, end in ran.ends.items():
        is_cancelled = cli.sandbox.book.get(order_id).status is OrderStatus.CANCELLED
        assert end in {"CANCELLED", "not_sent", "unknown"}
        if end != "unknown":
            assert is_cancelled == (end == "CANCELLED"), order_id
        assert cancels_of(cli.sandbox, order_id) <= 1
    left = {error.arguments["orderId"] for each in cli.journals for error in unresolved(each)}
    assert left == {order_id for order_id, end in ran.ends.items() if end == "unknown"}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_once_it_settles_what_was_sent(
    cli: Cli, seed: int, number: int, how: signal.Signals
) -> None:
    moment = random.Random(seed).randint(1, number if number < 10 else 4)
    orders, process = begin(cli, number)
    cli.at_request(moment, lambda: os.kill(process.pid, how))
    ran = cli.end(process)
    check_told(cli, orders, ran)
    assert ran.code == 130
    assert ran.objects[-1]["stopped"] is True
    assert "unknown" not in ran.ends.values()
    assert "CANCELLED" in ran.ends.values()
    if number < 10 and moment < 3:
        assert "not_sent" in ran.ends.values()


def test_orders_that_were_not_begun_are_told_too(cli: Cli) -> None:
    orders, process = begin(cli, 300)
    cli.at_request(1, lambda: process.send_signal(signal.SIGINT))
    ran = cli.end(process)
    check_told(cli, orders, ran)
    assert ran.objects[-1]["account"]["not_begun"] > 0


def test_what_ignores_a_signal_goes_on(cli: Cli) -> None:
    """As with nohup, and in the background of a script."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        orders, process = begin(cli, 5)
    finally:
        signal.signal(signal.SIGHUP, previous)
    cli.at_request(1, lambda: os.kill(process.pid, signal.SIGHUP))
    ran = cli.end(process)
    assert (ran.code, ran.ends) == (0, dict.fromkeys(orders, "CANCELLED"))


@pytest.mark.parametrize("seed", SEEDS)
def test_stopped_while_it_cancels_everything(cli: Cli, seed: int) -> None:
    orders = [order_id for _, order_id in place(cli.sandbox, 5)]
    process = cli.start("cancel-all", "--yes", "--json")
    moment = random.Random(seed).randint(1, 10)
    cli.at_request(moment, lambda: process.send_signal(signal.SIGINT))
    ran = cli.end(process)
    assert ran.code == 130
    for order_id, end in ran.ends.items():
        is_cancelled = cli.sandbox.book.get(order_id).status is OrderStatus.CANCELLED
        assert (end, is_cancelled) in {("CANCELLED", True), ("not_sent", False)}
    untouched = {order.id for order in cli.sandbox.book.open_orders()}
    assert set(orders) - ran.ends.keys() <= untouched


def test_stopped_twice_it_ends_at_once_and_says_what_resolves_it(cli: Cli) -> None:
    answered = threading.Event()
    arrived = threading.Event()

    def hold() -> None:
        arrived.set()
        answered.wait(300)

    cli.at_request(1, hold)
    # Whoever would wait for an answer would wait too long.
    orders, process = begin(cli, 3, timeout=1000)
    try:
        assert arrived.wait(20)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "Ctrl-C again" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        ran = cli.end(process)
    finally:
        answered.set()
    check_told(cli, orders, ran)
    assert (ran.code, "unknown" in ran.ends.values()) == (5, True)
    command = re.search(r"bitopro (resolve \S+)", ran.err)
    assert command is not None
    resolved = cli.run(*command[1].split(), "--json")
    (unknown,) = [order_id for order_id, end in ran.ends.items() if end == "unknown"]
    assert (resolved.code, resolved.ends) == (0, {unknown: "CANCELLED"})
    assert cli.run("resolve").out == ""


@pytest.mark.parametrize("arguments", [["open"], ["cancel-all", "--dry-run"]])
def test_stopped_before_anything_was_sent(cli: Cli, arguments: list[str]) -> None:
    arrived, answered = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        answered.wait(60)

    cli.at_request(1, hold)
    process = cli.start(*arguments, "--json")
    try:
        assert arrived.wait(20)
        process.send_signal(signal.SIGINT)
        ran = cli.end(process)
    finally:
        answered.set()
    assert (ran.code, ran.objects[0]["error"]) == (130, "stopped")
    assert cli.changing_requests() == []


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_it_is_known_the_next_morning(cli: Cli, seed: int, number: int) -> None:
    moment = random.Random(seed).randint(1, 2 * number if number < 10 else 8)
    orders, process = begin(cli, number)
    cli.at_request(moment, process.kill)
    cli.end(process)
    assert process.returncode == -signal.SIGKILL
    until(lambda: all(entry.status for entry in cli.sandbox.journal))
    before = len(cli.changing_requests())
    cancelled = set(orders) - {order.id for order in cli.sandbox.book.open_orders()}
    left = {error.arguments["orderId"] for each in cli.journals for error in unresolved(each)}
    ran = cli.run("resolve", "--json", "--timeout", "1")
    assert len(cli.changing_requests()) == before
    assert ran.ends.keys() == left
    for order_id, end in ran.ends.items():
        # A lost request may still be under way, so an open order is not yet known to stay open.
        assert end == ("CANCELLED" if order_id in cancelled else "unknown")
    assert ran.code == (5 if "unknown" in ran.ends.values() else 0)
    again = cli.run("cancel", PAIR, *orders, "--yes", "--json")
    assert (again.code, again.ends) == (0, dict.fromkeys(orders, "CANCELLED"))


def test_the_journal_of_a_run_that_goes_on_is_left_alone(cli: Cli) -> None:
    arrived, answered = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        answered.wait(60)

    cli.at_request(1, hold)
    orders, process = begin(cli, 1)
    try:
        assert arrived.wait(20)
        ran = cli.run("resolve")
    finally:
        answered.set()
    assert (ran.code, ran.out) == (5, "")
    assert "nobody else has open" in ran.err
    assert cli.end(process).ends == {orders[0]: "CANCELLED"}
