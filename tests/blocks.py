"""Runs the code blocks of a page as a reader does: pasted into a file, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from attrs import frozen

from tests.support import ROOT

BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
#: No settings of this checkout, nothing written beside the tests, and warnings are errors.
PYTEST = ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider"]
#: What takes longer hangs.
LONGEST_SECONDS = 60


@frozen
class Block:
    """One block of a page.

    Attributes:
        name: The page, and which of its blocks it is.
        code: It.
        prints: What the page says it prints, if it does.
    """

    name: str
    code: str
    prints: str

    @property
    def is_test(self) -> bool:
        """Whether pytest runs it."""
        return re.search(r"^def test_", self.code, re.MULTILINE) is not None

    @contextmanager
    def running(
        self, folder: Path, exports: Mapping[str, str]
    ) -> "Iterator[subprocess.Popen[str]]":
        """Run it, in a folder and with variables of the environment."""
        file = folder / "test_block.py"
        file.write_text(self.code, "utf-8")
        ours = {name: text for name, text in os.environ.items() if not name.startswith("BITOPRO")}
        with subprocess.Popen(
            [sys.executable, "-W", "error", *(PYTEST if self.is_test else []), file.name],
            env={**ours, "PYTHONUNBUFFERED": "1", **exports},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        ) as process:  # fmt: skip
            # One that hangs must not make the test hang.
            watch = threading.Timer(LONGEST_SECONDS, process.kill)
            watch.start()
            try:
                yield process
            finally:
                watch.cancel()
                process.kill()

    def run(self, folder: Path, exports: Mapping[str, str]) -> str:
        """Run it to its end, and return what it prints; fail if it fails."""
        with self.running(folder, exports) as process:
            out, err = process.communicate()
        assert process.returncode == 0, out + err
        return out


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of Python that a page of this checkout has."""
    found = BLOCK.findall((ROOT / page).read_text("utf-8"))
    return [Block(f"{page}-{number}", *each) for number, each in enumerate(found, 1)]


def shell_blocks(page: str) -> list[str]:
    """Return the blocks of shell that a page of this checkout has."""
    return re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def serving_block() -> str:
    """Return the block of the README that serves a sandbox, and prints what is to be pasted."""
    (block,) = (each for each in shell_blocks("README.md") if "bitopro_sandbox" in each)
    return block


def pasted(shown: IO[str]) -> dict[str, str]:
    """Read the five lines that begin with `export`, and return the variables."""
    lines: list[str] = []
    while len(lines) < 5:
        line = shown.readline()
        assert line, "it does not serve"
        lines += [line] if line.startswith("export ") else []
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


@contextmanager
def exports_of_the_readme() -> Iterator[dict[str, str]]:
    """Serve a sandbox as the README says, on a free port; yield what its reader exports."""
    python, *arguments = shlex.split(serving_block())
    assert python == "python"
    with subprocess.Popen(
        [sys.executable, *arguments, "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield pasted(process.stdout)
        finally:
            process.terminate()
