"""What the tests of the examples share: the programs, each with the extras that it names."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import IO, Any

import pytest
from packaging.requirements import Requirement

from bitopro_sandbox import Entry, OrderStatus, Sandbox

EXAMPLES = Path(__file__).resolve().parent.parent
LONGEST_SECONDS = 60


def needed_by(text: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """Return the installed distributions that a requirement brings, with those of its extras."""
    needed = Requirement(text)
    name = re.sub(r"[-_.]+", "-", needed.name).lower()
    installed = found.setdefault(name, distribution(name))
    for more in map(Requirement, installed.requires or []):
        extras = needed.extras or {""}
        is_needed = not more.marker or any(more.marker.evaluate({"extra": e}) for e in extras)
        if is_needed and (more.extras or re.sub(r"[-_.]+", "-", more.name).lower() not in found):
            needed_by(str(more), found)
    return found


@pytest.fixture(scope="session")
def environment_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes a folder with what an example says it needs, and nothing else."""
    made: dict[str, Path] = {}

    def make(program: str) -> Path:
        if program not in made:
            text = (EXAMPLES / program).read_text("utf-8")
            head = re.search(r"(?m)^# /// script\n((?:#.*\n)+?)# ///$", text)
            assert head is not None, f"{program} does not say what it needs"
            header = tomllib.loads(re.sub(r"(?m)^# ?", "", head[1]))
            made[program] = tmp_path_factory.mktemp("environment")
            found: dict[str, Distribution] = {}
            for text in header["dependencies"]:
                needed_by(text, found)
            for each in found.values():
                for top in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
                    (made[program] / top).symlink_to(str(each.locate_file(top)))
        return made[program]

    return make


class Program:
    """A running example."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        # One that hangs must not make the test hang.
        self._watch = threading.Timer(LONGEST_SECONDS, process.kill)
        self._watch.start()

    def says(self, words: str) -> None:
        """Wait until it has said so on stdout."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return
        raise AssertionError(f"it never said {words!r}: {self.end()}")

    def told(self, line: str) -> None:
        """Give it a line on stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def stop(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without a chance to do anything, and wait until it is gone."""
        self._watch.cancel()
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        """Wait for its end with its stdin open; return the exit code."""
        return self.process.wait()

    def end(self) -> tuple[int, str, str]:
        """Close its stdin and wait for its end: its exit code, what it said and what it warned."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err


Start = Callable[..., Program]


@pytest.fixture
def start(
    environment_of: Callable[[str], Path], bitopro_sandbox: Sandbox, tmp_path: Path
) -> Iterator[Start]:
    """Return what starts an example in a folder of the test's, as the sandbox's account."""
    account = bitopro_sandbox.account
    programs: list[Program] = []

    def run(
        program: str, *arguments: object, stdin: int | IO[str] = subprocess.PIPE, **environment: str
    ) -> Program:
        process = subprocess.Popen(
            [sys.executable, "-S", "-W", "error", EXAMPLES / program, *map(str, arguments)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(environment_of(program)),
                "BITOPRO_API_KEY": account.api_key,
                "BITOPRO_API_SECRET": account.api_secret,
                "BITOPRO_EMAIL": account.identity,
                "BITOPRO_BASE_URL": bitopro_sandbox.base_url,
                "BITOPRO_STREAM_URL": bitopro_sandbox.stream_url,
                **environment,
            },
            cwd=tmp_path,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        programs.append(Program(process))
        return programs[-1]

    yield run
    for each in programs:
        each.kill()
        for pipe in (each.process.stdin, each.process.stdout, each.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def cancels(bitopro_sandbox: Sandbox) -> Callable[[], list[Entry]]:
    """Return what tells the requests to cancel that have arrived."""
    return lambda: [each for each in bitopro_sandbox.journal if each.method in ("DELETE", "PUT")]


@pytest.fixture
def is_quiet(bitopro_sandbox: Sandbox) -> Callable[[], None]:
    """Return what waits until the exchange is through with all that it was asked."""

    def wait() -> None:
        give_up = time.monotonic() + LONGEST_SECONDS
        while any(entry.status is None for entry in bitopro_sandbox.journal):
            assert time.monotonic() < give_up
            time.sleep(0.01)

    return wait


@pytest.fixture
def statuses(bitopro_sandbox: Sandbox) -> Callable[[], dict[str, OrderStatus]]:
    """Return what tells the status of every order of the book."""
    return lambda: {key: each.status for key, each in bitopro_sandbox.book.snapshot().items()}


@pytest.fixture
def a_day_passes(tmp_path: Path) -> Callable[[str], None]:
    """Return what makes a journal one of yesterday."""

    def age(name: str) -> None:
        lines = []
        for text in (tmp_path / name).read_text("utf-8").splitlines():
            line: dict[str, Any] = json.loads(text)
            times = {key: value - 86_400_000 for key, value in line.items() if key.endswith("_ms")}
            lines.append(json.dumps(line | times, separators=(",", ":")) + "\n")
        (tmp_path / name).write_text("".join(lines), "utf-8")

    return age
