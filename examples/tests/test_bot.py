"""The bot: it waits for its signal, cancels its orders and no others, and finishes if killed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitopro_sandbox import Entry, Fault, OrderStatus, Sandbox, faults

OURS = ("2959906694", "2959906695")
ARGUMENTS = ("BTC_TWD", *OURS, "--below", "2700000")
CANCELLED = dict.fromkeys(OURS, OrderStatus.CANCELLED)
Statuses = Callable[[], dict[str, OrderStatus]]
Cancels = Callable[[], list[Entry]]


@pytest.fixture
def nobody_reads(bitopro_sandbox: Sandbox) -> None:
    """Let no reading of an order succeed: then only the stream can tell."""
    bitopro_sandbox.faults.add(faults.status(503), call="get_order", probability=1)


@pytest.fixture
def kill_one(bitopro_sandbox: Sandbox, start: Any) -> Callable[..., None]:
    """Return what lets a bot die while the exchange has its first cancel in its hands."""

    def killed(*, is_processed: bool) -> None:
        bot = start("bot.py", *ARGUMENTS)
        killing = Fault(name="killed", processed=is_processed, before=bot.kill)
        bitopro_sandbox.faults.add(killing, call="cancel_order")
        bot.says("watching")
        bot.told("1")
        assert bot.wait() == -signal.SIGKILL

    return killed


@pytest.mark.usefixtures("nobody_reads")
@pytest.mark.parametrize(
    ("prices", "why"),
    [
        (("2800000", "2700000", "2699999.5"), "the price is 2699999.5"),
        (("2800000", "nan"), "this is no price: 'nan'"),
        (("2800000",), "the prices have ended"),
    ],
)
def test_it_cancels_on_a_price(start: Any, statuses: Statuses, prices: Any, why: str) -> None:
    before = statuses()
    bot = start("bot.py", *ARGUMENTS)
    bot.says("watching")
    assert statuses() == before
    for price in prices:
        bot.told(price)
    code, out, err = bot.end()
    assert f"cancelling: {why}\n" in out
    assert {f"{each}, cancelled, seen by stream" for each in OURS} <= set(out.splitlines())
    assert (code, err) == (0, "")
    assert statuses() == before | CANCELLED


@pytest.mark.usefixtures("nobody_reads")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_cancels_when_it_is_told_to_stop(
    start: Any, statuses: Statuses, number: signal.Signals
) -> None:
    before = statuses()
    bot = start("bot.py", *ARGUMENTS)
    bot.says("watching")
    bot.told("2800000")
    bot.stop(number)
    assert bot.wait() == 0
    code, out, err = bot.end()
    assert f"cancelling: told to stop by {number.name}\n" in out
    assert (code, err) == (0, "")
    assert statuses() == before | CANCELLED


@pytest.mark.usefixtures("nobody_reads")
def test_a_lost_answer_costs_no_second_cancel(
    bitopro_sandbox: Sandbox, start: Any, statuses: Statuses, cancels: Cancels
) -> None:
    bitopro_sandbox.faults.add(faults.drop_answer(), call="cancel_order", times=2)
    code, out, _ = start("bot.py", *ARGUMENTS).end()
    assert (code, out.count("seen by stream")) == (0, 2)
    assert [each.fault for each in cancels()] == ["drop_answer"] * 2
    assert CANCELLED.items() <= statuses().items()


def test_an_order_that_the_exchange_does_not_cancel_is_told_as_open(
    bitopro_sandbox: Sandbox, start: Any, statuses: Statuses
) -> None:
    bitopro_sandbox.book.lock(OURS[1])
    code, out, _ = start("bot.py", *ARGUMENTS).end()
    assert code == 1
    assert f"{OURS[1]}, still open, seen by reading\n" in out
    assert f"{OURS[0]}, cancelled, " in out
    assert statuses()[OURS[1]] is OrderStatus.OPEN


@pytest.mark.parametrize("is_file", [True, False], ids=["a file", "/dev/null"])
def test_the_prices_may_come_from_a_file_and_end_at_once(
    start: Any, statuses: Statuses, tmp_path: Path, is_file: bool
) -> None:
    before = statuses()
    (tmp_path / "prices").write_text("2800000\n", "utf-8")
    with (tmp_path / "prices" if is_file else Path(os.devnull)).open() as prices:
        code, out, err = start("bot.py", *ARGUMENTS, stdin=prices).end()
    assert "cancelling: the prices have ended\n" in out
    assert (code, err) == (0, "")
    assert statuses() == before | CANCELLED


@pytest.mark.parametrize("floor", ["NaN", "-1", "2,700"])
def test_a_floor_that_is_no_price_is_refused(start: Any, statuses: Statuses, floor: str) -> None:
    before = statuses()
    code, _, err = start("bot.py", "BTC_TWD", *OURS, f"--below={floor}").end()
    assert code == 2
    assert f"invalid price value: {floor!r}" in err
    assert statuses() == before


def test_what_another_bot_left_is_not_touched(
    start: Any, statuses: Statuses, kill_one: Callable[..., None]
) -> None:
    kill_one(is_processed=False)
    before = statuses()
    code, out, _ = start("bot.py", "ETH_TWD", "2959906696", "--below", "1").end()
    assert code == 1
    assert out.startswith("nothing was done: the journal is about other orders")
    assert statuses() == before


@pytest.mark.parametrize("is_processed", [True, False])
def test_killed_in_the_middle_it_finishes_when_it_is_started_again(
    start: Any, statuses: Statuses, kill_one: Callable[..., None], is_processed: bool
) -> None:
    before = statuses()
    kill_one(is_processed=is_processed)
    assert statuses() != before | CANCELLED

    code, out, err = start("bot.py", *ARGUMENTS).end()
    assert "cancelling: a run before this one did not finish it\n" in out
    assert (code, err) == (0, "")
    assert statuses() == before | CANCELLED


def test_a_wrong_secret_is_said_in_words(start: Any) -> None:
    code, out, err = start("bot.py", *ARGUMENTS, BITOPRO_API_SECRET="wrong").end()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("bot: the exchange refused with 401")
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_it_finishes_no_signal_cuts_off(
    bitopro_sandbox: Sandbox,
    start: Any,
    statuses: Statuses,
    kill_one: Callable[..., None],
    number: signal.Signals,
) -> None:
    before = statuses()
    kill_one(is_processed=False)

    bot = start("bot.py", *ARGUMENTS)
    stopping = Fault(name="stopped", after_ms=200, before=lambda: bot.stop(number))
    bitopro_sandbox.faults.add(stopping, call="get_order")
    code, _, err = bot.end()
    assert (code, err) == (0, "")
    assert statuses() == before | CANCELLED


def test_it_cancels_though_nobody_reads_what_it_says(start: Any, statuses: Statuses) -> None:
    before = statuses()
    bot = start("bot.py", *ARGUMENTS)
    bot.says("watching")
    bot.process.stdout.close()
    bot.told("1")
    assert bot.wait() == 0
    assert bot.process.stderr.read() == ""
    assert statuses() == before | CANCELLED
