"""`bitopro` in a pipe: what it prints, what it sends, and its exit codes."""

import contextlib
import fcntl
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from bitopro_orders import CancelOutcome, OutcomeUnknownError, __version__, unresolved
from bitopro_orders.cli import changing, commands, guarding  # noqa: F401 - they add commands
from bitopro_orders.cli.app import Options, app
from bitopro_sandbox import Fault, OrderStatus, faults
from bitopro_sandbox.faults import Answer
from tests.cli.support import COMMAND, PAIR, Cli
from tests.many.support import place, until
from tests.support import ROOT


def ids(cli: Cli, number: int) -> list[str]:
    return [order_id for _, order_id in place(cli.sandbox, number)]


def test_open_orders_are_lines_of_tabs(cli: Cli) -> None:
    place(cli.sandbox, 2)
    order = cli.sandbox.book.place("ETH_TWD", "SELL", amount="1.5", price="110000")
    ran = cli.run("open", "--pair", "eth_twd")
    assert ran.out == f"ETH_TWD\t{order.id}\tSELL\t110000\t1.5\t0\topen\n"
    assert (ran.code, ran.err) == (0, "1 open\n")
    ran = cli.run("open", "--json")
    assert len(ran.objects) == 4
    assert ran.objects[0]["originalAmount"] == "1.5"
    assert ran.objects[-1] == {"kind": "summary", "version": 1, "exit_code": 0, "open": 3}


def test_status_tells_one_order(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)
    cli.sandbox.book.fill(order_id, "0.25")
    ran = cli.run("status", PAIR, order_id)
    assert ran.out == f"{PAIR}\t{order_id}\tBUY\t1\t1\t0.25\topen, partly filled\n"
    assert cli.run("status", PAIR, "1").code == 4


def test_without_yes_it_refuses_and_sends_nothing(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)
    for arguments in (["cancel", PAIR, order_id], ["cancel-all"]):
        ran = cli.run(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "--yes" in ran.err
        assert ran.err.count("\n") == 1
        ran = cli.run(*arguments, "--json")
        assert [each.get("error") for each in ran.objects] == ["not_confirmed", None]
    assert list(cli.sandbox.journal) == []
    assert cli.journals == []


def test_it_cancels_and_tells_the_amounts(cli: Cli) -> None:
    first, second = ids(cli, 2)
    cli.sandbox.book.fill(second, "0.1")
    ran = cli.run("cancel", PAIR.lower(), first, second, "--yes")
    assert ran.code == 3
    assert set(ran.out.splitlines()) == {
        f"{PAIR}\t{first}\tcancelled\t0\t1\t0\t",
        f"{PAIR}\t{second}\tpartly filled, rest cancelled\t0.1\t0.9\t1\t",
    }
    assert cli.sandbox.book.get(first).status is OrderStatus.CANCELLED
    (journal,) = cli.journals
    assert f"Journal: {journal}\n" in ran.err
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z-\d+\.jsonl", journal.name)
    assert [path.stat().st_mode & 0o777 for path in (journal, journal.parent)] == [0o600, 0o700]


def test_json_is_an_object_per_line_that_the_library_reads(cli: Cli) -> None:
    good, locked = ids(cli, 2)
    cli.sandbox.faults.add(faults.drop_answer(), times=50, method="DELETE")
    cli.sandbox.book.lock(locked)
    ran = cli.run("cancel", "--json", "--timeout", "1", PAIR, good, locked, "-y")
    by_kind = {each["kind"]: each for each in ran.objects}
    outcome = CancelOutcome.from_json(by_kind["CancelOutcome"])
    assert (outcome.order_id, outcome.executed) == (good, Decimal(0))
    error = OutcomeUnknownError.from_json(by_kind["OutcomeUnknownError"])
    assert error.arguments == {"pair": PAIR, "orderId": locked}
    assert by_kind["OutcomeUnknownError"]["error"] == "unknown"
    summary = ran.objects[-1]
    assert (summary["kind"], summary["exit_code"], ran.code) == ("summary", 5, 5)
    assert summary["account"]["cancelled"] == summary["account"]["unknown"] == 1
    assert summary["journals"] == [f"{cli.journals[0]}"]
    assert f"bitopro resolve {cli.journals[0]}" in ran.err


def test_options_may_stand_before_the_command(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)
    assert cli.run("--json", "--yes", "cancel", PAIR, order_id).ends == {order_id: "CANCELLED"}


def test_a_file_of_orders(cli: Cli, tmp_path: Path) -> None:
    first, second, third = ids(cli, 3)
    lines = f"\ufeffpair,id\r\n\r\n{PAIR}, {first}\r\nbtc_twd,{second}\r\n{PAIR},{first}\r\n"
    ran = cli.run("cancel", "--file", "-", "--yes", "--json", given=lines)
    assert (ran.code, ran.ends) == (0, {first: "CANCELLED", second: "CANCELLED"})
    assert ran.objects[-1]["account"]["duplicates"] == 1
    (tmp_path / "orders.csv").write_text(f"{PAIR},{third}")
    ran = cli.run("cancel", "--file", "orders.csv", "--yes", "--json")
    assert ran.ends == {third: "CANCELLED"}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("pair,id\n{pair},{id}\n{pair},x1\n", "line 3: orderId must be"),
        ("{pair},{id}\n\n{pair},{id},3\n{pair}\n", "line 3: not a pair and an id, but 3 fields"),
        ("{pair},{id}\npair,id\n", "line 2: pair must be"),
        ("{pair},{id}\n{pair},..\n", "line 2: orderId must be"),
        ("{pair},all\n", "line 1: orderId must be"),
        ('{pair},"{id}"0\n', "cannot be read"),
        ('{pair},{id}\n{pair},"{id}', "cannot be read"),
        ("BTC_U\u017fDT,{id}\n", "line 1: pair must be"),
    ],
)
def test_a_bad_line_sends_nothing(cli: Cli, lines: str, told: str) -> None:
    (order_id,) = ids(cli, 1)
    given = lines.format(pair=PAIR, id=order_id)
    ran = cli.run("cancel", "--file", "-", "--yes", given=given)
    assert ran.code == 2
    assert told in ran.err
    assert list(cli.sandbox.journal) == []
    assert cli.journals == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["cancel"], ["cancel", PAIR], ["cancel", PAIR, "1", "--file", "x"], ["cancel", PAIR, "all"],
        ["cancel", "--file", "missing.csv"], ["cancel", PAIR, "1", "--timeout", "nan"],
        ["cancel", PAIR, "1", "--timeout", "0"], ["cancel-all", "--client-id", "9-1"],
        ["cancel-all", "--client-id", "x"], ["cancel-all", "--pair", "BTC"], ["nothing"],
        ["open", "--api-key", "k"], ["cancel", PAIR, "1", "--journal", "j", "--no-journal"],
        ["cancel", PAIR, "1", "--journal", "missing/j"], ["resolve", "missing.jsonl"],
        ["open", "--credentials", "missing.env"], ["open", "--base-url", "http://example.com/v3"],
    ],
)  # fmt: skip
def test_usage_is_exit_code_2_and_one_line(cli: Cli, arguments: list[str]) -> None:
    if arguments[0].startswith("cancel"):
        arguments = [*arguments, "--yes"]
    ran = cli.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("bitopro: ")
    assert ran.err.count("\n") == 1
    assert list(cli.sandbox.journal) == []


def test_dry_run_changes_nothing(cli: Cli) -> None:
    orders = ids(cli, 3)
    for arguments in (["cancel", PAIR, *orders], ["cancel-all"], ["resolve"]):
        ran = cli.run(*arguments, "--dry-run")
        assert ran.code == 0
        if arguments[0] != "resolve":
            assert {line.split("\t")[1] for line in ran.out.splitlines()} == set(orders)
        ran = cli.run(*arguments, "--dry-run", "--json")
        assert ran.objects[-1]["exit_code"] == 0
    assert cli.changing_requests() == []
    assert cli.journals == []


def test_what_was_filled_first_is_3(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)
    cli.sandbox.book.fill(order_id)
    assert cli.run("cancel", PAIR, order_id, "--yes").code == 3


def test_what_is_not_found_is_4(cli: Cli) -> None:
    assert cli.run("cancel", PAIR, "1", "--yes").code == 4


def test_what_cannot_be_sent_is_6(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)
    nobody = "http://127.0.0.1:1/v3"
    ran = cli.run("cancel", PAIR, order_id, "--yes", "--timeout", "0.5", "--base-url", nobody,
                  "--json", BITOPRO_STREAM_URL=None)  # fmt: skip
    assert (ran.code, ran.ends) == (6, {order_id: "not_sent"})
    assert list(cli.sandbox.journal) == []


@pytest.mark.parametrize(
    "arguments", [["open"], ["cancel", PAIR, "1", "--yes"], ["cancel-all", "--yes"]]
)
def test_a_refused_key_is_7(cli: Cli, arguments: list[str]) -> None:
    ran = cli.run(*arguments, "--json", BITOPRO_API_SECRET="CANARY-wrong")
    assert ran.code == 7
    assert "refused" in {each.get("error") for each in ran.objects}


def test_what_nobody_foresaw_is_1_and_a_line(cli: Cli, tmp_path: Path) -> None:
    """Also its text stays out: it may hold anything."""
    (tmp_path / "sitecustomize.py").write_text(
        "import bitopro_orders.connection as c\n"
        "def broken(*a, **k): raise RuntimeError('CAN' + 'ARY-key')\n"
        "c.Credentials.from_env = broken\n"
    )
    ran = cli.run("open", PYTHONPATH=f"{tmp_path}")
    assert ran.code == 1
    assert re.fullmatch(r"bitopro: unexpected RuntimeError at .*:\d+; please report it\n", ran.err)
    ran = cli.run("open", "--json", PYTHONPATH=f"{tmp_path}")
    assert ran.objects[0]["error"] == "internal"


def test_everything_is_cancelled_and_the_book_clean(cli: Cli) -> None:
    orders = ids(cli, 5)
    cli.sandbox.book.place("ETH_TWD", "SELL", amount="1", price="1")
    ran = cli.run("cancel-all", "--pair", "btc_twd", "--yes", "--json", "--lists-untriggered")
    assert (ran.code, ran.ends) == (0, dict.fromkeys(orders, "CANCELLED"))
    assert ran.objects[-1]["book"] == "CLEAN"
    assert "The book is clean" in ran.err
    assert [order.pair for order in cli.sandbox.book.open_orders()] == ["ETH_TWD"]


def test_a_book_that_may_hide_orders_is_5(cli: Cli) -> None:
    ids(cli, 1)
    ran = cli.run("cancel-all", "--yes")
    assert ran.code == 5
    assert "stop-limit orders that are not triggered may be open" in ran.err


def test_a_range_of_client_ids_and_no_others(cli: Cli) -> None:
    place_ = cli.sandbox.book.place
    inside = [place_(PAIR, "BUY", amount="1", price="1", client_id=n).id for n in (10, 19)]
    for number in (9, 20, None):
        place_(PAIR, "BUY", amount="1", price="1", client_id=number)
    ran = cli.run("cancel-all", "--client-id", "10-19", "--yes", "--json")
    assert (ran.code, ran.ends) == (0, dict.fromkeys(inside, "CANCELLED"))
    assert len(cli.sandbox.book.open_orders()) == 3


def test_a_journal_of_ones_own_and_none(cli: Cli, tmp_path: Path) -> None:
    first, second = ids(cli, 2)
    cli.run("cancel", PAIR, first, "--yes", "--journal", "mine.jsonl")
    assert first in (tmp_path / "mine.jsonl").read_text()
    ran = cli.run("cancel", PAIR, second, "--yes", "--no-journal")
    assert (ran.code, "Journal" in ran.err) == (0, False)
    assert cli.journals == []


def test_a_state_folder_that_cannot_be_made_says_the_ways_out(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)
    cli.state.write_text("a file")
    ran = cli.run("cancel", PAIR, order_id, "--yes")
    assert ran.code == 2
    assert "--journal FILE" in ran.err
    assert "--no-journal" in ran.err
    assert list(cli.sandbox.journal) == []


def test_credentials_come_from_a_file_that_only_its_owner_can_read(
    cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "bitopro.env"
    names = ("BITOPRO_API_KEY", "BITOPRO_API_SECRET", "BITOPRO_EMAIL")
    file.write_text("".join(f"{name}={cli.environment[name]}\n" for name in names))
    without = dict.fromkeys(names)
    file.chmod(0o640)
    ran = cli.run("open", "--credentials", "bitopro.env", "--json", **without)
    assert (ran.code, ran.objects[0]["error"]) == (2, "credentials")
    assert "chmod 600 bitopro.env" in ran.objects[0]["message"]
    assert list(cli.sandbox.journal) == []
    file.chmod(0o600)
    assert cli.run("open", "--credentials", "bitopro.env", **without).code == 0
    ran = cli.run("open", **without)
    assert (ran.code, "--credentials FILE" in ran.err) == (2, True)


def test_a_pipe_that_breaks_loses_nothing(cli: Cli) -> None:
    orders = ids(cli, 30)
    process = cli.start("cancel", "--file", "-", "--yes", "--json")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write("".join(f"{PAIR},{order_id}\n" for order_id in orders))
    process.stdin.close()
    process.stdout.readline()
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 0
    assert "30 cancelled" in told
    assert "Traceback" not in told
    assert "BrokenPipe" not in told
    assert cli.sandbox.book.open_orders() == []
    assert unresolved(cli.journals[0]) == []


def test_who_does_not_read_holds_up_nothing(cli: Cli) -> None:
    orders = ids(cli, 20)
    process = cli.start("cancel", PAIR, *orders, "--yes", "--json")
    assert process.stdout is not None
    # No more than a few lines.
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    until(lambda: cli.journals, 20)
    until(lambda: cli.sandbox.book.open_orders() == [], 20)
    until(lambda: unresolved(cli.journals[0]) == [], 20)
    ran = cli.end(process)
    assert (ran.code, ran.ends) == (0, dict.fromkeys(orders, "CANCELLED"))


@pytest.mark.skipif(sys.platform != "linux", reason="a pipe is filled by its name in /proc")
def test_what_nobody_reads_on_stderr_holds_up_nothing(cli: Cli) -> None:
    orders = ids(cli, 10)
    cli.sandbox.faults.add(faults.status(502), probability=1, call="get_order")
    process = cli.start("cancel", PAIR, *orders, "--yes", "--json")
    until(lambda: cli.sandbox.book.open_orders() == [], 20)
    end = os.open(f"/proc/{process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(end, b"." * 4096)
    os.close(end)
    process.send_signal(signal.SIGINT)
    read = len(cli.sandbox.journal)
    until(lambda: len(cli.sandbox.journal) > read + 20, 20)
    cli.sandbox.faults.clear()
    until(lambda: unresolved(cli.journals[0]) == [], 20)
    ran = cli.end(process)
    assert (ran.code, ran.ends) == (130, dict.fromkeys(orders, "CANCELLED"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_does_not_read_is_not_waited_for_after_ctrl_c(cli: Cli, number: signal.Signals) -> None:
    orders = ids(cli, 20)
    process = cli.start("cancel", PAIR, *orders, "--yes", "--json")
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    until(lambda: cli.journals, 20)
    until(lambda: len(cli.journals[0].read_text().split('"event":"end"')) == 21, 20)
    for _ in range(3):  # the first may come just before it has nothing to do but to print
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            break
    else:
        process.kill()
    ran = cli.end(process)
    assert ran.code in {0, 130}
    assert "20 taken: 20 cancelled" in ran.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_neither_what_is_done_nor_its_code(cli: Cli, closed: str) -> None:
    (order_id,) = ids(cli, 1)
    words = shlex.join([*COMMAND, "cancel", PAIR, order_id, "--yes"])
    ran = subprocess.run(
        f"{words} {closed}", shell=True, env=cli.environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    cli.printed += [ran.stdout, ran.stderr]
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False)
    assert cli.sandbox.book.get(order_id).status is OrderStatus.CANCELLED
    assert ("CANCELLED" in ran.stdout.upper()) == (">&-" not in closed.split())


def test_what_the_exchange_says_may_be_no_text(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)

    def halved(answer: Answer) -> Answer:
        return Answer(answer.status, answer.body.replace(b"BUY", b"\\ud800"))

    cli.sandbox.faults.add(Fault(name="halved", rewrite=halved), probability=1, call="get_order")
    ran = cli.run("status", PAIR, order_id)
    assert (ran.code, ran.out.split("\t")[1:3]) == (0, [order_id, "\\ud800"])
    assert cli.run("status", PAIR, order_id, "--json").objects[0]["action"] == "\ud800"
    ran = cli.run("cancel", PAIR, order_id, "--yes", "--json", PYTHONIOENCODING="ascii:strict")
    assert ran.ends == {order_id: "CANCELLED"}


def test_watch_prints_changes_until_ctrl_c(cli: Cli) -> None:
    (order_id,) = ids(cli, 1)
    process = cli.start("watch", "--json")
    until(lambda: any("histories" in entry.path for entry in cli.sandbox.journal), 20)
    cli.sandbox.book.fill(order_id)
    assert process.stdout is not None
    while (order := json.loads(process.stdout.readline()))["id"] != order_id:
        pass
    assert (order["kind"], order["status"]) == ("order", 2)
    process.send_signal(signal.SIGINT)
    ran = cli.end(process)
    assert ran.code == 130
    assert ran.objects[-1]["kind"] == "summary"


def test_watch_ends_when_its_time_is_over(cli: Cli) -> None:
    ran = cli.run("watch", "--timeout", "0.5")
    assert (ran.code, ran.err) == (0, "")


def test_watch_ends_when_nobody_reads(cli: Cli) -> None:
    first, second = ids(cli, 2)
    process = cli.start("watch")
    until(lambda: any("histories" in entry.path for entry in cli.sandbox.journal), 20)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.close()
    cli.sandbox.book.fill(first)
    while first not in process.stdout.readline():
        pass
    process.stdout.close()
    cli.sandbox.book.fill(second)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_the_sandbox_is_run_in_place(cli: Cli) -> None:
    process = cli.start("sandbox", "--port", "0")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("# BitoPro sandbox")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_port_that_is_none_is_told_in_a_line(cli: Cli) -> None:
    ran = cli.run("sandbox", "--port", "99999999")
    assert (ran.code, ran.err.count("\n")) == (1, 1)


@pytest.mark.parametrize("missing", ["uvicorn", "websockets"])
def test_without_an_extra_a_line_says_what_to_install(
    cli: Cli, tmp_path: Path, missing: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, importlib.util as u\n"
        f"sys.modules[{missing!r}] = None\n"
        "find = u.find_spec\n"
        f"u.find_spec = lambda name, *a: None if name == {missing!r} else find(name, *a)\n"
    )
    command, extra = {
        "uvicorn": ("sandbox", "sandbox"), "websockets": ("watch", "stream"),
    }[missing]  # fmt: skip
    ran = cli.run(command, PYTHONPATH=f"{tmp_path}")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert f"pip install 'bitopro-orders[{extra}]'" in ran.err


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_cli_a_line_says_what_to_install(
    cli: Cli, tmp_path: Path, missing: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{missing!r}] = None\n")
    ran = cli.run("--help", PYTHONPATH=f"{tmp_path}")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "bitopro: run  pip install 'bitopro-orders[cli]'  first\n"


def test_the_library_imports_neither_click_nor_rich() -> None:
    code = "import sys, bitopro_orders.cli; print({'click', 'rich'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(cli: Cli, shell: str) -> None:
    ran = cli.run("completion", shell)
    assert ran.code == 0
    assert "_BITOPRO_COMPLETE" in ran.out
    words = {"COMP_WORDS": "bitopro can", "COMP_CWORD": "1"}
    ran = cli.run(_BITOPRO_COMPLETE=f"{shell}_complete", **words)
    assert {"cancel", "cancel-all"} <= set(re.split(r"[\n,]", ran.out))


def test_version_and_help(cli: Cli) -> None:
    assert cli.run("--version").out == f"bitopro {__version__}\n"
    text = cli.run("--help").out
    assert text == cli.run().out
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for code, meaning in re.findall(r"(?m)^    (\d+) +(.*)$", text):
        assert f"| {code} | {meaning} |" in page
    assert len(re.findall(r"(?m)^    (\d+) +(.*)$", text)) == 9
    for command in ("open", "status", "cancel", "cancel-all", "resolve", "watch", "sandbox"):
        help_ = cli.run(command, "--help").out
        assert f"  bitopro {command}" in help_
        assert len(help_.splitlines()) < 35


def test_the_command_is_installed_under_its_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"bitopro": "bitopro_orders.cli:main"}
    assert COMMAND[-1] == "bitopro_orders.cli"
    assert os.access(COMMAND[0], os.X_OK)


@pytest.mark.parametrize(
    ("before", "name", "after", "seconds"),
    [
        ([], "open", [], 10),
        ([], "cancel", [], 30),
        ([], "cancel-all", [], 60),
        ([], "guard", [], 300),
        (["--timeout", "7"], "cancel", [], 7),
        ([], "cancel", ["--timeout", "7"], 7),
        (["--timeout", "7"], "cancel", ["--timeout", "8"], 8),
        ([], "watch", [], math.inf),
    ],
)
def test_the_time_limit_is_what_was_said_last_or_the_commands_own(
    before: list[str], name: str, after: list[str], seconds: float
) -> None:
    options = Options()
    outer = app.make_context("bitopro", [*before, name], obj=options)
    with app.commands[name].make_context(name, after, parent=outer):
        assert options.seconds == seconds
    options.close()
