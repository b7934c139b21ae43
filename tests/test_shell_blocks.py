"""Every block of shell in the pages runs as it stands there, and no block is left out."""

import fcntl
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.blocks import blocks_of, shell_blocks
from tests.played import ENDS, FILES
from tests.support import ROOT

PAGES = ["README.md", "examples/README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
#: Blocks that neither run nor are printed by what runs: test_docs.py compares them with the code.
COMPARED = {
    "docs/changing-the-spec.md": ["yaml"],
    "docs/errors.md": ["text"],
    "docs/guard.md": ["ini"],
    "docs/observability.md": ["json"],
}
#: A machine of its own: all ports are free, and what is left in the end is killed.
ALONE = [
    *("unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", 'ip link set lo up && "$@"', "sh"),
]
DEMO = {"SL-9014867155", "2959906696", "12234566", "2959906695", "2959906694"}
#: What is open in the sandbox when the page was played.
LEFT = {
    "README.md": set[str](),
    "docs/guard.md": DEMO - {"2959906694", "2959906695"},
    "examples/README.md": DEMO - {"2959906694", "2959906695", "12234566"},
}


def played(page: str, folder: Path) -> tuple[int, str]:
    """Play a page on a machine of its own; on this one, by turns, where that cannot be had."""
    command = [sys.executable, "-m", "tests.played", page, f"{folder}"]
    has_unshare = shutil.which("unshare") and shutil.which("ip")
    if has_unshare and not subprocess.run([*ALONE, "true"], check=False).returncode:
        command = [*ALONE, *command]
    with (Path(tempfile.gettempdir()) / "bitopro-orders-played.lock").open("w") as turn:
        if command[0] != ALONE[0]:
            fcntl.flock(turn, fcntl.LOCK_EX)
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            cwd=ROOT, timeout=300,
        )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if shell_blocks(page)])
def test_each_line_does_what_the_page_says(page: str, tmp_path: Path) -> None:
    if "redis-server" in "".join(shell_blocks(page)) and shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    code, shown = played(page, tmp_path)
    assert code == 0, shown
    assert "Traceback" not in shown
    assert "shared store failed" not in shown
    book = shown.rpartition("bitopro open\n")[2]
    assert {each for each in DEMO if each in book} == LEFT.get(page, DEMO)


def test_no_block_is_left_out() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        kinds = re.findall(r"^ *(?:```|~~~)(.*)$", text, re.MULTILINE)[::2]
        python = blocks_of(page)
        run = ["python"] * len(python) + ["sh"] * len(shell_blocks(page))
        printed = ["text"] * sum(bool(block.prints) for block in python)
        assert sorted(kinds) == sorted([*run, *printed, *COMPARED.get(page, [])]), page
        # One that is indented.
        assert (
            re.findall(r"\n\n {4}(?![ -]).+", re.sub(r"```.*?```", "", text, flags=re.DOTALL)) == []
        )


def test_what_is_said_of_pages_is_of_use() -> None:
    every = {page: "".join(shell_blocks(page)) for page in PAGES}
    assert [line for line in ENDS if line not in "".join(every.values())] == []
    assert [name for page in FILES for name in FILES[page] if name not in every[page]] == []
