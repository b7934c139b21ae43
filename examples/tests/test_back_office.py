"""The back office: it finds out what a killed bot has left unknown, and cancels only if told to."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitopro_sandbox import Entry, Fault, OrderStatus, Sandbox, faults

OURS = ("2959906694", "2959906695")
Statuses = Callable[[], dict[str, OrderStatus]]
Cancels = Callable[[], list[Entry]]


@pytest.fixture
def leave_behind(
    bitopro_sandbox: Sandbox,
    start: Any,
    is_quiet: Callable[[], None],
    a_day_passes: Callable[[str], None],
) -> Callable[..., None]:
    """Return what has a bot killed while it cancels, yesterday."""

    def leave(name: str, *order_ids: str, is_processed: bool) -> None:
        bot = start("bot.py", "BTC_TWD", *order_ids, "--below", "1", "--journal", name)
        killing = Fault(name="killed", processed=is_processed, before=bot.kill)
        bitopro_sandbox.faults.add(killing, call="cancel_order")
        bot.says("watching")
        bot.told("0")
        assert bot.wait() == -signal.SIGKILL
        is_quiet()
        a_day_passes(name)

    return leave


def told(out: str) -> dict[str, str]:
    """Return what it said became of each order."""
    lines = [json.loads(line) for line in out.splitlines()]
    ends = {line["order_id"]: line["state"] for line in lines}
    assert len(ends) == len(lines)
    return ends


def test_it_finds_out_and_cancels_nothing(
    start: Any, statuses: Statuses, cancels: Cancels, leave_behind: Callable[..., None]
) -> None:
    leave_behind("a.jsonl", OURS[0], is_processed=True)
    leave_behind("b.jsonl", OURS[1], is_processed=False)
    before, sent = statuses(), cancels()
    assert [before[each] for each in OURS] == [OrderStatus.CANCELLED, OrderStatus.OPEN]

    code, out, err = start("back_office.py", "a.jsonl", "b.jsonl").end()
    assert (code, told(out)) == (0, {OURS[0]: "CANCELLED", OURS[1]: "OPEN"})
    assert err.splitlines() == ["a.jsonl: 1 taken: 1 cancelled", "b.jsonl: 1 taken: 1 still open"]
    assert (statuses(), cancels()) == (before, sent)

    code, out, _ = start("back_office.py", "a.jsonl", "b.jsonl").end()
    assert (code, out) == (0, ""), "it is settled"


def test_it_finishes_what_is_open(
    start: Any, statuses: Statuses, cancels: Cancels, leave_behind: Callable[..., None]
) -> None:
    others = statuses()
    leave_behind("a.jsonl", OURS[0], is_processed=True)
    leave_behind("b.jsonl", OURS[1], is_processed=False)
    sent = len(cancels())
    code, out, _ = start("back_office.py", "--finish", "a.jsonl", "b.jsonl").end()
    assert (code, told(out)) == (0, dict.fromkeys(OURS, "CANCELLED"))
    assert statuses() == others | dict.fromkeys(OURS, OrderStatus.CANCELLED)
    assert [each.path.rpartition("/")[2] for each in cancels()[sent:]] == [OURS[1]]


def test_a_journal_that_is_in_use_is_left_alone(
    start: Any, statuses: Statuses, leave_behind: Callable[..., None]
) -> None:
    leave_behind("b.jsonl", OURS[0], is_processed=True)
    bot = start("bot.py", "BTC_TWD", OURS[1], "--below", "1", "--journal", "a.jsonl")
    bot.says("watching")
    code, out, err = start("back_office.py", "a.jsonl", "b.jsonl", "none/c.jsonl").end()
    assert (code, told(out)) == (1, {OURS[0]: "CANCELLED"})
    assert "a.jsonl: journal must be a file that nobody else has open" in err
    assert "none/c.jsonl: journal cannot be read" in err
    assert "Traceback" not in err
    assert statuses()[OURS[1]] is OrderStatus.OPEN


@pytest.mark.parametrize("finish", [(), ("--finish",)])
def test_killed_in_the_middle_it_goes_on_where_it_was(
    bitopro_sandbox: Sandbox,
    start: Any,
    statuses: Statuses,
    cancels: Cancels,
    leave_behind: Callable[..., None],
    finish: tuple[str, ...],
) -> None:
    leave_behind("a.jsonl", OURS[0], is_processed=True)
    leave_behind("b.jsonl", OURS[1], is_processed=False)
    sent = len(cancels())
    office = start("back_office.py", *finish, "a.jsonl", "b.jsonl")
    # It is reading, or cancelling, the order of the second journal.
    bitopro_sandbox.faults.add(faults.delay(), call="get_order")  # the first one's goes through
    killing = Fault(name="killed", before=office.kill)
    bitopro_sandbox.faults.add(killing, call="cancel_order" if finish else "get_order")
    assert office.wait() == -signal.SIGKILL
    first = told(office.end()[1])
    assert first == {OURS[0]: "CANCELLED"}

    code, out, _ = start("back_office.py", *finish, "a.jsonl", "b.jsonl").end()
    end = "CANCELLED" if finish else "OPEN"
    assert (code, told(out)) == (0, {OURS[1]: end})
    assert statuses()[OURS[1]] is OrderStatus[end]
    assert len(cancels()) - sent == len(finish)


def test_a_journal_that_is_not_there_is_no_settled_one(start: Any, tmp_path: Path) -> None:
    code, out, err = start("back_office.py", "a.jsonl").end()
    assert (code, out) == (1, "")
    assert "a.jsonl: journal cannot be read" in err
    assert not [*tmp_path.iterdir()]


def test_a_wrong_secret_is_said_for_each_journal(
    start: Any, leave_behind: Callable[..., None]
) -> None:
    leave_behind("a.jsonl", OURS[0], is_processed=True)
    code, out, err = start("back_office.py", "a.jsonl", BITOPRO_API_SECRET="wrong").end()
    assert (code, out) == (1, "")
    assert f"{OURS[0]}'}}: the exchange refused with 401" in err
    code, out, _ = start("back_office.py", "a.jsonl").end()
    assert (code, told(out)) == (0, {OURS[0]: "CANCELLED"})
