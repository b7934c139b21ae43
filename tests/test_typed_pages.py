"""Whoever copies the code of the pages into a file has nothing to add for `mypy --strict`."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_mypy_accepts_each_block(tmp_path: Path) -> None:
    for page in PAGES:
        blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        for number, block in enumerate(blocks):
            (tmp_path / f"{page.stem}_{number}.py").write_text(block, "utf-8")
    assert (tmp_path / "README_0.py").exists()
    cache = ROOT / ".mypy_cache" / "importers"
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, *tmp_path.iterdir()],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
