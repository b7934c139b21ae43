"""Plays the shell blocks of a page as a reader does: `python -m tests.played PAGE FOLDER`.

They are typed into a terminal line by line, what is asked is answered, and what the page tells to
paste is pasted. The ports that the page names have to be free: see test_shell_blocks.py.
"""

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.blocks import LONGEST_SECONDS, serving_block, shell_blocks
from tests.support import ROOT

PROMPT = r"\n<(\d+)> "
#: What does not end by itself, and says so: then the reader opens another terminal.
SERVES = r"Ctrl-C ends it|Ready to accept connections"
#: What is asked, and what the reader types then. Ctrl-C is what the bot of the examples waits for.
ANSWERS = {
    r"\[y/N\]: ": "y\n",
    r"Type  (\w+)  to cancel .*: ": "\\1\n",
    r"\nwatching\n": "\x03",
}
#: What ends with another exit code than 0 in the sandbox, and what it says why.
ENDS = {
    "bitopro cancel-all": (3, "3 taken: 2 cancelled, 1 partly filled, rest cancelled"),
    "bitopro guard --pair BTC_TWD -- python bot.py": (5, "2 taken: 2 cancelled\nNothing is listed"),
}
#: Files that a reader of the page has.
FILES = {
    "README.md": {"orders.csv": "BTC_TWD,2959906695\n"},
    "docs/guard.md": {"bot.py": "print('the bot has ended')\n"},
    "examples/README.md": {
        file.name: file.read_text("utf-8") for file in ROOT.glob("examples/*.py")
    },
}
#: What takes the place of programs that would take minutes, or the network.
STANDING_IN = {
    "make": f"""#!/bin/sh
unset MAKEFLAGS MAKELEVEL
exec {shutil.which("make")} -C "{ROOT}" -n "$@" >/dev/null
""",
    "pip": f"""#!{sys.executable}
import sys
from importlib.metadata import metadata
from packaging.requirements import Requirement
assert sys.argv[1] == "install" and sys.argv[2:], sys.argv
for each in map(Requirement, sys.argv[2:]):
    unknown = each.extras - {{*metadata("bitopro-orders").get_all("Provides-Extra")}}
    assert each.name == "bitopro-orders" and not unknown, f"{{each}} is not to be had"
""",
}


class Terminal:
    """A terminal with a shell in it, whose prompt tells the exit code of the last line.

    Attributes:
        text: What it has shown.
    """

    def __init__(self, folder: Path) -> None:
        path = (f"{folder / 'bin'}", f"{Path(sys.executable).parent}", os.environ["PATH"])
        environment = {
            "PATH": os.pathsep.join(path),
            "HOME": f"{folder / 'home'}",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PS1": "\\n<$?> ",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "error",
        }
        process, self._screen = pty.fork()
        if not process:
            # Whoever runs the tests in the background has it ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(folder / "here")
            shell = ("bash", "--noprofile", "--norc", "--noediting", "-i")
            os.execvpe("bash", shell, environment)
        self.text, self._seen = "", 0
        self.see(PROMPT)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._screen, keys.encode())

    def see(self, *patterns: str) -> "re.Match[str]":
        """Wait until it shows, after what was seen before, what one of the patterns matches."""
        give_up = time.monotonic() + LONGEST_SECONDS
        while True:
            for pattern in patterns:
                if found := re.compile(pattern).search(self.text, self._seen):
                    self._seen = found.end()
                    return found
            left = max(0, give_up - time.monotonic())
            assert select.select([self._screen], [], [], left)[0], f"none of these: {patterns}"
            self.text += os.read(self._screen, 65536).decode("utf-8", "replace").replace("\r", "")

    def run(self, keys: str) -> bool:
        """Press keys, and answer what is asked; return whether it serves now, or has ended well."""
        code, words = ENDS.get(re.sub(r" +#.*|\n", "", keys), (0, ""))
        began = self._seen
        self.type(keys)
        while True:
            found = self.see(PROMPT, SERVES, *ANSWERS)
            if found.re.pattern in ANSWERS:
                self.type(found.expand(ANSWERS[found.re.pattern]))
            elif found.re.pattern == SERVES:
                return True
            else:
                assert found[1] == f"{code}", f"its exit code is {found[1]}, not {code}"
                assert words in self.text[began:], f"it does not say {words!r}"
                return False


def play(page: str, folder: Path, terminals: list[Terminal]) -> None:
    """Type the blocks of a page, and press Ctrl-C in the end where something serves."""
    lines = [line for block in shell_blocks(page) for line in block.splitlines() if line]
    # The README says it for all pages.
    start = serving_block().splitlines()
    if not {*start} <= {*lines}:
        lines = [*start, *lines]
    if any("redis-server" in line for line in lines):
        lines = ["redis-server --save ''", *lines]
    terminals.append(Terminal(folder))
    for line in lines:
        if terminals[-1].run(f"{line}\n"):
            pasted = terminals[-1].see(r"(?:export .*\n){5}")[0] if "sandbox" in line else ""
            terminals.append(Terminal(folder))
            for export in pasted.splitlines():
                terminals[-1].run(f"{export}\n")
    terminals[-1].run("bitopro open\n")
    for serving in terminals[:-1]:
        serving.run("\x03")


def main(page: str, folder: Path) -> None:
    """Play a page, and print what the terminals have shown."""
    for name in ("bin", "here", "home"):
        (folder / name).mkdir()
    for name, text in STANDING_IN.items():
        (folder / "bin" / name).write_text(text, "utf-8")
        (folder / "bin" / name).chmod(0o700)
    for name, text in FILES.get(page, {}).items():
        (folder / "here" / name).write_text(text, "utf-8")
    terminals: list[Terminal] = []
    try:
        play(page, folder, terminals)
    finally:
        print(*[shown.text for shown in terminals], sep="\n---\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
