"""`bitopro guard`: real processes, and an exchange that sees what they send."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bitopro_orders import Timing
from bitopro_orders.cli.bot import Heartbeat
from bitopro_sandbox import Sandbox, faults
from tests.cli.support import none_left
from tests.guard.support import DEMO, Clock, live
from tests.many.support import until
from tests.support import ROOT, environment_of

#: A guard is a process and waits for the exchange's lag.
LONG = 60


class Run:
    """A guard that runs."""

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        *arguments: str,
        stderr: int | None = None,
        before: str = "",
    ) -> None:
        own = {"XDG_STATE_HOME": f"{folder}", "BEAT": f"{folder / 'beat'}"}
        env = os.environ | environment_of(sandbox) | own
        # In a file: two pipes cannot be read line by line and to their end.
        self._err = folder / f"err-{len(list(folder.glob('err-*')))}"
        with self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*before.split(), sys.executable, "-m", "bitopro_orders.cli", "guard", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err if stderr is None else stderr,
                text=True,
                cwd=ROOT,
                env=env,
                start_new_session=True,
            )

    def line(self) -> str:
        """Return the next line of stdout."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[int, str, str]:
        """Return the exit code and what it printed."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        self.process.wait(LONG)
        return self.process.returncode, out, self._err.read_text()

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def bot(*what: str) -> list[str]:
    return ["--", sys.executable, "-m", "tests.guard.bots", *what]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.fixture
def start(sandbox: Sandbox, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs = []

    def started(*arguments: str, **options: Any) -> Run:
        runs.append(Run(sandbox, tmp_path, *arguments, **options))
        return runs[-1]

    with none_left(tmp_path):
        yield started
    for run in runs:
        run.close()


def first_request(sandbox: Sandbox, *pids: int) -> None:
    """See that these are gone when the guard sends its first request."""
    until(lambda: list(sandbox.journal), LONG)
    assert not [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize(
    ("what", "code", "why"),
    [
        ("exit=0", 0, "ended with exit code 0"),
        ("exit=3", 3, "ended with exit code 3"),
        ("die=9", 137, "was killed by SIGKILL"),
        ("die=11", 139, "was killed by SIGSEGV"),
    ],
)
def test_a_bot_that_dies_takes_its_orders_with_it(
    start: Any, sandbox: Sandbox, tmp_path: Path, what: str, code: int, why: str
) -> None:
    run = start(*bot("print=out", what))
    pid = int(run.line())
    first_request(sandbox, pid)
    ended, out, err = run.end()
    assert (ended, out) == (code, "out\n"), "stdout is the bot's"
    assert f"the bot {why}: the open orders of all pairs are cancelled" in err
    assert "5 taken: 4 cancelled, 1 partly filled" in err
    assert "The book is clean" in err
    assert "NOT ALL" not in err
    assert not live(sandbox)
    (journal,) = (tmp_path / "bitopro").glob("*.jsonl")
    assert f"{journal}" in err
    assert all(f'"order_id":"{order_id}"' in journal.read_text() for order_id in DEMO)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_guard_that_is_told_to_stop_tells_the_bot(
    start: Any, sandbox: Sandbox, name: str
) -> None:
    number = getattr(signal, name)
    run = start(*bot(f"ignore={int(number)}", "heed=7", "print=ready", "wait"))
    pid = int(run.line())
    assert run.line() == "ready"
    os.kill(run.process.pid, number)
    if number != signal.SIGTERM:
        assert run.line() == "told"
        os.kill(run.process.pid, signal.SIGTERM)
    first_request(sandbox, pid)
    code, _, err = run.end()
    assert code == 7
    assert f"the guard was asked to stop by {name}: the bot has 10 s to end" in err
    assert "killed" not in err
    assert not live(sandbox)


def test_a_signal_that_was_ignored_from_the_start_is_none(start: Any, sandbox: Sandbox) -> None:
    run = start(*bot("print=ready", "wait"), before="nohup")
    run.line()
    assert run.line() == "ready"
    os.kill(run.process.pid, signal.SIGHUP)
    assert not catches(run.process.pid, signal.SIGHUP)
    assert catches(run.process.pid, signal.SIGTERM)
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.end()[0] == 143
    assert not live(sandbox)


def test_a_bot_that_does_not_heed_is_killed_with_its_children(start: Any, sandbox: Sandbox) -> None:
    run = start("--grace", "0.5", *bot("ignore=15", "child=ignore=15 print=ready wait", "wait"))
    pids = [int(run.line()) for _ in range(3)][:2]
    assert run.line() == "ready"
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.line() == "told"
    first_request(sandbox, *pids)
    code, _, err = run.end()
    assert code == 137
    assert "it has not ended: it is killed" in err
    assert not live(sandbox)


def test_a_bot_that_has_left_its_group_is_killed_too(start: Any, sandbox: Sandbox) -> None:
    run = start("--grace", "0.5", *bot("ignore=15", "leave", "print=ready", "wait"))
    pid = int(run.line())
    assert run.line() == "ready"
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.line() == "told"
    first_request(sandbox, pid)
    code, _, err = run.end()
    assert code == 137
    assert "are not gone" not in err
    assert not live(sandbox)


def test_the_children_of_a_bot_may_end_in_order(start: Any, sandbox: Sandbox) -> None:
    """As behind a shell script, which dies at once."""
    run = start(*bot("child=ignore=15 print=ready wait", "wait"))
    pids = [int(run.line()) for _ in range(2)]
    lines = {run.line(), run.line()}
    assert "ready" in lines
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.line() == "told"
    until(lambda: not is_alive(pids[0]))
    child = next(pid for pid in [*pids, *map(int, lines - {"ready"})] if pid != pids[0])
    assert is_alive(child)
    assert not list(sandbox.journal)
    os.kill(child, signal.SIGKILL)
    code, _, err = run.end()
    assert code == 143
    assert "killed" not in err
    assert not live(sandbox)


def test_what_a_dead_bot_leaves_behind_is_killed(start: Any, sandbox: Sandbox) -> None:
    run = start(*bot("child=ignore=15 print=ready wait", "wait"))
    pid = int(run.line())
    lines = {run.line() for _ in range(3)} - {"ready"}
    os.kill(pid, signal.SIGKILL)
    first_request(sandbox, pid, *map(int, lines))
    code, out, _ = run.end()
    assert (code, out) == (137, ""), "they were told nothing"
    assert not live(sandbox)


def test_a_bot_that_hangs(start: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    run = start("--heartbeat", f"{beat}", "--after", "1",
                *bot("heed=0", "beat=40", "print=hangs", "wait"))  # fmt: skip
    pid = int(run.line())
    assert run.line() == "hangs", "two seconds with beats are no silence"
    assert not list(sandbox.journal)
    first_request(sandbox, pid)
    code, _, err = run.end()
    assert code == 0
    assert f"no heartbeat for 1 s in {beat}: the bot has 10 s to end" in err
    assert not live(sandbox)


def test_a_guard_that_was_stopped_looks_before_it_calls_a_bot_silent(tmp_path: Path) -> None:
    beat, clock = tmp_path / "beat", Clock()
    has_looked, may_look = threading.Semaphore(0), threading.Semaphore(0)

    def sleep(_: float) -> None:
        has_looked.release()
        may_look.acquire()

    def look() -> None:
        may_look.release()
        assert has_looked.acquire(timeout=10)

    beat.touch()
    heartbeat = Heartbeat(beat, 30, Timing(monotonic=clock.monotonic, sleep=sleep))
    assert has_looked.acquire(timeout=10)
    clock.turn(60)
    assert not heartbeat.is_silent, "it has not looked since"
    os.utime(beat, (1, 1))
    look()
    clock.turn(29)
    look()
    assert not heartbeat.is_silent
    clock.turn(1)
    look()
    assert heartbeat.is_silent


def test_a_heartbeat_that_is_never_there_or_goes_away(
    start: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    beat = tmp_path / "beat"
    run = start("--heartbeat", f"{beat}", "--after", "1", *bot("wait"))
    assert run.end()[0] == 143
    assert not live(sandbox)
    beat.touch()
    run = start("--heartbeat", f"{beat}", "--after", "1", *bot("print=ready", "wait"))
    run.line()
    assert run.line() == "ready"
    beat.unlink()
    assert run.end()[0] == 143


def test_a_second_guard_elsewhere(start: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """The first one is killed: the bot goes on, unguarded, until its heart stands still."""
    beat = tmp_path / "beat"
    first = start(*bot("beat=100000"))
    pid = int(first.line())
    second = start("--heartbeat", f"{beat}", "--after", "2")
    until(beat.exists, LONG)
    first.process.kill()
    first.process.wait()
    written = beat.stat().st_mtime_ns
    until(lambda: beat.stat().st_mtime_ns > written)
    assert is_alive(pid)
    assert second.process.poll() is None
    assert not list(sandbox.journal)
    os.kill(pid, signal.SIGKILL)
    code, _, err = second.end()
    assert f"no heartbeat for 2 s in {beat}: the open orders of all pairs are cancelled" in err
    assert code == 3, "the code of cancel-all: one was filled in part"
    assert not live(sandbox)


def test_a_guard_of_another_bot_that_is_told_to_stop_leaves_it_alone(
    start: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    run = start("--heartbeat", f"{tmp_path / 'beat'}", "--after", "300")
    until(lambda: list((tmp_path / "bitopro").glob("*.jsonl")), LONG)
    until(lambda: catches(run.process.pid, signal.SIGTERM))
    os.kill(run.process.pid, signal.SIGTERM)
    code, _, err = run.end()
    assert code == 143
    assert "nothing is cancelled" in err
    assert not list(sandbox.journal)


def test_what_asks_again_while_it_cancels_stops_nothing(start: Any, sandbox: Sandbox) -> None:
    """As when a terminal is closed: it sends SIGHUP to the bot, and then to the guard."""
    sandbox.faults.add(faults.delay(before_ms=500), call="open_orders")
    run = start(*bot("exit=0"))
    until(lambda: list(sandbox.journal), LONG)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        os.kill(run.process.pid, number)
    assert run.end()[0] == 0
    assert not live(sandbox)


def test_a_log_that_nobody_reads_holds_up_nothing(start: Any, sandbox: Sandbox) -> None:
    here, there = os.pipe()
    os.set_blocking(there, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(there, b"x" * 4096)
    os.set_blocking(there, True)
    run = start(*bot("exit=3"), stderr=there)
    assert run.end()[0] == 3
    assert not live(sandbox)
    os.close(here)
    os.close(there)


@pytest.mark.parametrize(
    ("scope", "taken"),
    [
        (["--pair", "btc_twd"], {"2959906694", "2959906695"}),
        (["--client-id", "1000-1999"], {"mine"}),
    ],
)
def test_only_its_own_orders(start: Any, sandbox: Sandbox, scope: Any, taken: set[str]) -> None:
    mine = sandbox.book.place("ETH_TWD", "BUY", amount="1", price="1", client_id=1500).id
    other = sandbox.book.place("ETH_TWD", "BUY", amount="1", price="1", client_id=2500).id
    taken = {mine if each == "mine" else each for each in taken}
    start("--lists-untriggered", *scope, *bot("exit=0")).end()
    assert live(sandbox) == (DEMO | {mine, other}) - taken


def test_what_follows_the_command_is_the_commands_own(start: Any, sandbox: Sandbox) -> None:
    run = start(sys.executable, "-c", "import sys; print(sys.argv[1:])", "--pair", "ETH_TWD")
    assert run.line() == "['--pair', 'ETH_TWD']"
    run.end()
    assert not live(sandbox)


def test_a_command_that_is_not_there(start: Any, sandbox: Sandbox) -> None:
    code, out, err = start("--", "no-such-bot").end()
    assert (code, out) == (127, "")
    assert "no-such-bot cannot be started: No such file or directory; nothing was sent" in err
    assert start("--", "/").end()[0] == 126
    assert not list(sandbox.journal)


def test_a_success_of_the_bot_does_not_hide_what_is_open(start: Any, sandbox: Sandbox) -> None:
    sandbox.faults.add(faults.status(401), times=100)
    code, _, err = start(*bot("exit=0")).end()
    assert code == 7
    assert "NOT ALL IS KNOWN TO BE CANCELLED" in err
    code, _, err = start(*bot("exit=4")).end()
    assert code == 4
    assert "NOT ALL IS KNOWN TO BE CANCELLED" in err


def test_a_dry_run_shows_what_it_would_cancel(start: Any, sandbox: Sandbox) -> None:
    code, _, err = start("--dry-run", "--pair", "BTC_TWD", *bot("exit=3")).end()
    assert code == 3
    assert "2959906694" in err
    assert "12234566" not in err
    assert live(sandbox) == DEMO


def test_json_comes_after_what_the_bot_prints(start: Any, sandbox: Sandbox) -> None:
    code, out, _ = start("--json", *bot("print=out", "exit=3")).end()
    lines = out.splitlines()
    assert lines[1] == "out"
    forms = [json.loads(line) for line in lines[2:]]
    assert {form["order_id"] for form in forms[:-1]} == DEMO
    assert forms[-1]["guard"] == "the bot ended with exit code 3"
    assert forms[-1]["exit_code"] == code == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give -- COMMAND"),
        (["--heartbeat", "beat", "--", "true"], "--after SECONDS together"),
        (["--after", "3", "--", "true"], "--after SECONDS together"),
        (["--heartbeat", "beat", "--after", "0", "--", "true"], "--after"),
        (["--grace", "-1", "--", "true"], "--grace"),
        (["--grace", "nan", "--", "true"], "--grace"),
        (["--client-id", "x", "--", "true"], "range"),
        (["--pair", "../all", "--", "true"], "pair"),
        (["--credentials", "/nowhere", "--", "true"], "/nowhere"),
        (["--journal", "/nowhere/j", "--", "true"], "journal"),
    ],
)
def test_what_is_wrong_is_told_before_the_bot_is_started(
    start: Any, sandbox: Sandbox, arguments: list[str], told: str
) -> None:
    code, out, err = start(*[each.replace("true", "echo") for each in arguments]).end()
    assert (code, out) == (2, "")
    assert told in err
    assert not list(sandbox.journal)
