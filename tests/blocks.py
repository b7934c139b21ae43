"""Runs the code blocks of a page as a reader does: pasted into a file, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

from attrs import frozen

BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
#: No settings of this checkout, nothing written beside the tests, and warnings are errors.
PYTEST = ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider"]


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

    def run(self, folder: Path) -> str:
        """Run it, by pytest if it has tests, and return what it prints; fail if it fails."""
        file = folder / "test_block.py"
        file.write_text(self.code, "utf-8")
        tests = PYTEST if re.search(r"^def test_", self.code, re.MULTILINE) else []
        done = subprocess.run(
            [sys.executable, "-W", "error", *tests, file.name],
            env={name: text for name, text in os.environ.items() if not name.startswith("BITOPRO")},
            capture_output=True, text=True, check=False, cwd=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of Python that a page has."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [Block(f"{page.name}-{number}", *each) for number, each in enumerate(found, 1)]
