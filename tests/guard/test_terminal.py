"""`bitopro guard` on a terminal: the bot is in its foreground, as without a guard."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import support
from tests.cli.support import ACCOUNT, Cli, none_left, terminal
from tests.guard.support import live
from tests.many.support import exchange, until
from tests.support import ROOT


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    # A job of a shell that controls them: what is in the background may be stopped.
    job = ["sh", "-mc", '"$@"; exit $?', "sh", *support.COMMAND]
    monkeypatch.setattr(support, "COMMAND", job)
    with exchange(accounts=(ACCOUNT,)) as sandbox, none_left(tmp_path):
        cli = Cli(sandbox, tmp_path)
        yield cli
    cli.check_nothing_secret()


def bot(*what: str) -> list[str]:
    return ["guard", "--", sys.executable, f"{ROOT / 'tests' / 'guard' / 'bots.py'}", *what]


@pytest.mark.parametrize("width", [80, 120])
def test_a_bot_that_is_killed(cli: Cli, width: int) -> None:
    with terminal(cli, *bot("read", "print=running", "read", "wait"), width=width) as shown:
        shown.see(r"^\d+\n")
        shown.type("hello", "Enter")
        shown.see("read hello\n(.*\n)*running")
        shown.type("C-z")
        shown.type("again", "Enter")
        shown.see("read .*again")
        found = re.search(r"(?m)^\d+$", shown.text)
        assert found is not None
        os.kill(int(found[0]), signal.SIGKILL)
        assert shown.code() == 137
        shown.see("the bot was killed by SIGKILL: the open orders of all pairs are cancelled")
        shown.see("The book is clean")
    assert not live(cli.sandbox)


def test_ctrl_c_is_the_bots(cli: Cli) -> None:
    with terminal(cli, *bot("ignore=2", "print=running", "wait")) as shown:
        shown.see("running")
        shown.type("C-c")
        shown.see("told")
        assert not list(cli.sandbox.journal)
        shown.type("C-\\")
        assert shown.code() == 131
        shown.see("the bot was killed by SIGQUIT")
    assert not live(cli.sandbox)


def test_a_terminal_that_is_closed(cli: Cli) -> None:
    with terminal(cli, *bot("print=running", "wait")) as shown:
        shown.see("running")
    until(lambda: not live(cli.sandbox), 30)
    # It goes on writing what it does until it is through.
    until(lambda: '"outcome":"PARTLY_FILLED"' in cli.journals[0].read_text(), 30)


def test_ctrl_c_while_it_cancels(cli: Cli) -> None:
    with terminal(cli, *bot("exit=0")) as shown:
        shown.see("are cancelled")
        until(lambda: list(cli.sandbox.journal), 20)
        shown.type("C-c")
        assert shown.code() == 130
        shown.see("NOT ALL IS KNOWN TO BE CANCELLED: stopped")
