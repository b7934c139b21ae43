"""What was written for a release still type-checks and still works.

`tests/importers` holds programs as other teams wrote them for a release. They are never edited: a
release that breaks one on purpose says so in the changelog, and takes the folder out.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitopro_sandbox import OrderStatus, Sandbox
from tests.support import ROOT, environment_of

FOLDER = ROOT / "tests" / "importers"
RELEASES = sorted(each.name for each in FOLDER.iterdir() if each.is_dir())
PROGRAMS = sorted(FOLDER.glob("*/*.py"))
SUMS = FOLDER / "SHA256SUMS"


def run(command: list[str | Path], folder: Path, sandbox: Sandbox | None = None) -> str:
    """Run a command where nothing of this checkout is on the path; return what went wrong."""
    ours = environment_of(sandbox) if sandbox else {}
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **ours}, capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("release", RELEASES)
def test_they_type_check(release: str, tmp_path: Path) -> None:
    programs = sorted((FOLDER / release).glob("*.py"))
    cache = ROOT / ".mypy_cache" / "importers"
    assert run(["-m", "mypy", "--strict", "--cache-dir", cache, *programs], tmp_path) == ""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_they_work(program: Path, bitopro_sandbox: Sandbox, tmp_path: Path) -> None:
    if "pytest" in program.read_text("utf-8"):
        options = ["--noconftest", "-p", "no:cacheprovider", "-c", os.devnull]
        assert run(["-m", "pytest", "-q", *options, program], tmp_path) == ""
        return
    assert run([program], tmp_path, bitopro_sandbox) == ""
    assert bitopro_sandbox.book.get("2959906694").status is OrderStatus.CANCELLED


def test_nobody_edits_them() -> None:
    found = {
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(FOLDER).as_posix()}"
        for file in PROGRAMS
    }
    assert found == set(SUMS.read_text("utf-8").splitlines())
