"""redocly and spectral find nothing in the spec, and would."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

FOLDER = ROOT / "referees"
SPECS = [ROOT / "openapi" / name for name in ("bitopro.yaml", "streams.yaml")]
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
REDOCLY = ("redocly", "lint", "--format=json", f"--config={FOLDER / 'redocly.yaml'}")
SPECTRAL = ("spectral", "lint", "--quiet", "--format=json", f"--ruleset={FOLDER / 'spectral.yaml'}")


def said(tool: str, *arguments: str | Path) -> Any:
    """Return what a linter prints of the files, whatever it thinks of them."""
    done = subprocess.run(
        [FOLDER / "node_modules" / ".bin" / tool, *arguments],
        env={**os.environ, **QUIET},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(("{", "[")), done.stdout + done.stderr
    return json.loads(done.stdout)


def redocly(*files: Path) -> list[str]:
    problems = [each for file in files for each in said(*REDOCLY, file)["problems"]]
    return [each["ruleId"] for each in problems if not each.get("ignored")]


def spectral(*files: Path) -> list[str]:
    return [each["code"] for each in said(*SPECTRAL, *files)]


def test_redocly_finds_nothing() -> None:
    assert redocly(*SPECS) == []


def test_spectral_finds_nothing() -> None:
    assert spectral(*SPECS) == []


def test_the_tools_are_pinned_and_no_registry_is_named() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text("utf-8"))["dependencies"]
    text = (FOLDER / "package-lock.json").read_text("utf-8")
    found = json.loads(text)["packages"]
    assert {name: found[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert '"resolved"' not in text
    assert all("integrity" in each for name, each in found.items() if name)


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    """Return the spec without a contact, and with a schema that nothing uses."""
    text = SPECS[0].read_text("utf-8")
    for old, new in (
        ("  contact:\n    name: the bitopro-orders authors\n", ""),
        ("  schemas:\n", "  schemas:\n    Unused:\n      type: object\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "bitopro.yaml"
    path.write_text(text, "utf-8")
    return path


def test_redocly_would_find_it(worse: Path) -> None:
    assert {"info-contact", "no-unused-components"} <= set(redocly(worse))


def test_spectral_would_find_it(worse: Path) -> None:
    assert {"info-contact", "oas3-unused-component"} <= set(spectral(worse))
