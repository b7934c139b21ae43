"""Every shape that the rules allow can be generated, is well typed, and does what it says."""

import ast
import builtins
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


def names_in(tree: ast.AST) -> set[str]:
    """Return the names that code uses or binds, without Python's own."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    found -= {*dir(builtins), "annotations"}
    return {name for name in found if name == name.lower() and not name.startswith("_")}


def plain(names: set[str]) -> set[str]:
    return {name.replace("_", "") for name in names}


def own_names(folder: Path, kind: str) -> set[str]:
    """Return what the generated code of a kind uses itself, and the spec does not name."""
    found = set()
    spec = yaml.safe_load((folder.parent / "spec.yaml").read_text())
    named = {each["name"] for each in spec["components"]["parameters"].values()}
    for item in spec["paths"].values():
        for operation in item.values():
            named |= {each.get("name", "") for each in operation.get("parameters", [])}
    if kind == "models":
        schemas = spec["components"]["schemas"]
        named = {name for each in schemas.values() for name in each.get("properties", ())}
        named |= {*schemas, "EverythingInlineMap", "OrdersMessageData"}
        named |= {f"parse{name}" for name in named}
        named |= {f"{name}{end}" for name in named for end in ("item", "itemdata")}
    for file in (folder / "bitopro_client" / kind).rglob("*.py"):
        found |= plain(names_in(ast.parse(file.read_text())))
    return found - {name.replace("_", "").lower() for name in named}


@needs_generator
def test_every_shape_that_is_allowed(tmp_path: Path, subtests: pytest.Subtests) -> None:
    spec = document()
    assert list(rules.violations(spec)) == []
    client = generated(tmp_path, spec)
    with subtests.test("its own names are none that the spec may use"):
        found = {name for name in own_names(client, "api") if not name.startswith("response20")}
        assert found == rules.OF_MODULES - {"url"}
        # `__setitem__` has arguments of its own.
        assert own_names(client, "models") - {"key", "value"} <= rules.OF_MODELS
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
