"""Every shape that the rules allow can be generated, is well typed, and does what it says."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.shapes.spec import document
from tests.support import ROOT
from tests.test_generated import GENERATOR, needs_generator
from tests.test_spec import rules


def generated(folder: Path, spec: object) -> Path:
    """Write a spec and generate its client; return the folder that has the client in it."""
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (folder / "generated").mkdir()
    command: list[str | Path] = [GENERATOR, ROOT / "openapi" / "generate.py"]
    command += ["--spec", folder / "spec.yaml", "--output", folder / "generated/bitopro_client"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder / "generated"


@needs_generator
def test_every_shape_that_is_allowed(tmp_path: Path, subtests: pytest.Subtests) -> None:
    spec = document()
    assert list(rules.violations(spec)) == []
    client = generated(tmp_path, spec)
    with subtests.test("it is well typed"):
        check = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
        typed = subprocess.run(
            [*check, str(client)], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert typed.returncode == 0, typed.stdout
    with subtests.test("it does what it says"):
        cases = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        used = subprocess.run(
            [*cases, "tests/shapes/cases.py"],
            capture_output=True, text=True, check=False, cwd=ROOT,
            env={"PYTHONPATH": str(client), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert used.returncode == 0, used.stdout + used.stderr
        assert " passed" in used.stdout
