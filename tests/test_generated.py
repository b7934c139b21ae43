"""The generated folder is the generator's alone, and the drift check sees any other hand."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT

CLIENT = ROOT / "generated" / "bitopro_client"
GENERATOR = ROOT / ".venv-generator" / "bin" / "python"

needs_generator = pytest.mark.skipif(
    not GENERATOR.exists(), reason="the generator's environment is missing: run `make drift`"
)


def drift(folder: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        GENERATOR,
        ROOT / "openapi" / "generate.py",
        "--check",
        "--output",
        folder,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(CLIENT, tmp_path / "bitopro_client", ignore=ignore))


@needs_generator
def test_what_is_committed_is_what_the_spec_gives(checkout: Path) -> None:
    result = drift(checkout)
    assert (result.returncode, result.stderr) == (0, "")


EDITS: dict[str, Callable[[Path], object]] = {
    "api/orders/cancel_order.py": lambda file: file.write_text(file.read_text() + "# mine\n"),
    "client.py": lambda file: file.write_text(file.read_text().replace("10.0", "99.0")),
    "models/extra.py": lambda file: file.write_text("x = 1\n"),
    "types.py": Path.unlink,
    "py.typed": Path.unlink,
}


@needs_generator
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_an_extra_and_a_missing_file_are_seen(checkout: Path, name: str) -> None:
    EDITS[name](checkout / name)
    result = drift(checkout)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{name}: ")
    assert result.stderr.rstrip().endswith("Run: make generate")


@needs_generator
def test_a_warning_of_the_generator_is_a_failure(tmp_path: Path) -> None:
    spec = tmp_path / "bitopro.yaml"
    text = (ROOT / "openapi" / "bitopro.yaml").read_text("utf-8")
    spec.write_text(text.replace('$ref: "#/components/parameters/pair"', '$ref: "#/x/pair"'))
    output = tmp_path / "client"
    command: list[str | Path] = [
        GENERATOR,
        ROOT / "openapi" / "generate.py",
        "--spec",
        spec,
        "--output",
        output,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert not output.exists()


@needs_generator
def test_the_originals_beside_our_templates_are_upstreams() -> None:
    """If this fails, upstream has changed a template that we override: merge the change."""
    command: list[str | Path] = [
        GENERATOR,
        "-c",
        "import openapi_python_client as o; print(o.__path__[0])",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    ours = ROOT / "openapi" / "templates"
    overridden = {file.name for file in ours.glob("*.jinja")}
    assert overridden == {file.name for file in (ours / "upstream").iterdir()}
    for name in overridden:
        upstream = Path(found) / "templates" / name
        assert (ours / "upstream" / name).read_bytes() == upstream.read_bytes(), name


def test_every_file_says_who_wrote_it() -> None:
    files = [f for f in CLIENT.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    assert len(files) > 8
    for file in files:
        first = file.read_text("utf-8").splitlines()[0]
        assert first.startswith("# Generated from openapi/bitopro.yaml by `make generate`"), file


def test_the_folder_says_where_to_fix_things() -> None:
    text = (ROOT / "generated" / "README.md").read_text()
    assert len(text.splitlines()) == 3
    assert "make generate" in text
