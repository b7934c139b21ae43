"""The command line as people use it: a process in a pipe, and on a terminal."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from bitopro_sandbox import Account, Sandbox, faults
from tests.many.support import until
from tests.support import environment_of

PAIR = "BTC_TWD"
#: None of it may ever be printed or written.
ACCOUNT = Account("CANARY-key", "CANARY-secret", "CANARY@example.com")
COMMAND = [sys.executable, "-m", "bitopro_orders.cli"]


@define
class Ran:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Return stdout's lines as the JSON objects that they are, each."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def ends(self) -> dict[str, str]:
        """Return what each order came to: a state's name, or an error's word."""
        found: dict[str, str] = {}
        for each in self.objects:
            if each["kind"] != "summary":
                names = each.get("arguments", {})
                order_id = each.get("order_id") or names.get("orderId", "")
                found[order_id] = each["state"] if "state" in each else each["error"]
        return found


@define
class Cli:
    """Runs `bitopro` against a sandbox, and keeps all that it prints."""

    sandbox: Sandbox
    folder: Path
    printed: list[str] = field(factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of its processes."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": f"{self.folder / 'home'}",
            "XDG_STATE_HOME": f"{self.state}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            **environment_of(self.sandbox),
        }

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def journals(self) -> list[Path]:
        return sorted(self.state.glob("bitopro/*.jsonl"))

    def start(self, *arguments: str, **environment: str | None) -> "subprocess.Popen[str]":
        """Start a process in pipes; a variable that is None is left out."""
        variables = {**self.environment, **environment}
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )

    def end(self, process: "subprocess.Popen[str]", given: str | None = None) -> Ran:
        """Wait for the end of a process."""
        out, err = process.communicate(given, timeout=60)
        self.printed += [out, err]
        assert "Traceback" not in err
        return Ran(process.returncode, out, err)

    def run(self, *arguments: str, given: str | None = None, **environment: str | None) -> Ran:
        """Run a process in pipes to its end."""
        return self.end(self.start(*arguments, **environment), given)

    def changing_requests(self) -> list[str]:
        """Return the requests that could have changed something."""
        return [entry.path for entry in self.sandbox.journal if entry.method != "GET"]

    def check_nothing_secret(self) -> None:
        """Assert that no secret was printed, or written anywhere."""
        written = [
            path.read_text("utf-8", "replace")
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".env"
        ]
        assert "CANARY" not in "".join([*self.printed, *written])

    def at_request(self, number: int, do: Any, call: Any = None) -> None:
        """Do something when so many requests (of a call) have arrived."""
        lock, seen = threading.Lock(), [0]

        def count() -> None:
            with lock:
                seen[0] += 1
                now = seen[0] == number
            if now:
                do()

        self.sandbox.faults.add(faults.meanwhile(after=count), times=10_000, call=call)


@contextmanager
def none_left(folder: Path) -> Iterator[None]:
    """Kill at the end whoever still runs with its state in a folder: its exchange is gone then.

    A guard whose terminal was closed goes on, as it should, and would ask who is given the port.
    """
    try:
        yield
    finally:
        for told in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"XDG_STATE_HOME={folder}".encode() in told.read_bytes():
                    os.kill(int(told.parent.name), signal.SIGKILL)


@define
class Terminal:
    """A terminal in which a command runs."""

    cli: Cli
    socket: str
    text: str = ""

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self.socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, *keys: str) -> None:
        """Press keys, such as `y` and `Enter`, or `C-c`."""
        self._tmux("send-keys", *keys)

    def look(self, *, with_colours: bool = False) -> str:
        """Return what the screen shows."""
        extra = ["-e"] if with_colours else []
        self.text = self._tmux("capture-pane", "-p", "-S", "-200", *extra)
        self.cli.printed.append(self.text)
        return self.text

    def see(self, pattern: str, seconds: float = 20) -> str:
        """Wait until the screen shows what a pattern matches, and return all that it shows."""
        try:
            until(lambda: re.search(pattern, self.look()), seconds)
        except AssertionError:
            pytest.fail(f"{pattern!r} was not shown:\n{self.text}")
        return self.text

    def code(self) -> int:
        """Wait for the end of the command, and return its exit code."""
        self.see(r"(?m)^exit=\d+$")
        found = re.search(r"(?m)^exit=(\d+)$", self.text)
        assert found is not None
        return int(found[1])


@contextmanager
def terminal(
    cli: Cli, *arguments: str, width: int = 80, environment: dict[str, str] | None = None
) -> Iterator[Terminal]:
    """Run a command in a terminal; skip the test where there is no tmux."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    shown = Terminal(cli, f"bitopro-{uuid.uuid4().hex[:12]}")
    # A file, as arguments of tmux could be seen by others, and the test looks for secrets.
    script = cli.folder / f"{shown.socket}.env"
    variables = {**cli.environment, **(environment or {})}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    words = shlex.join([*COMMAND, *arguments])
    # The shell outlives Ctrl-C, to tell the exit code.
    lines = [
        "unset COLUMNS LINES",
        *exports,
        "trap : INT",
        "clear",
        words,
        'echo "exit=$?"',
        "exec sleep 600",
    ]
    script.write_text("\n".join(lines))
    shell = f"sh {shlex.quote(f'{script}')}"
    command = ["tmux", "-L", shown.socket, "-f", "/dev/null", "new-session", "-d"]
    command += ["-x", f"{width}", "-y", "50", shell]
    subprocess.run(command, check=True, cwd=cli.folder)
    try:
        yield shown
    finally:
        subprocess.run(["tmux", "-L", shown.socket, "kill-server"], check=False)
