"""The examples use the package as anybody can: installed, and by its public names."""

import ast
import importlib
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).resolve().parents[1].glob("*.py"))
OURS = ("bitopro_auth", "bitopro_client", "bitopro_orders", "bitopro_sandbox")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_they_import_public_names_alone(example: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(example.read_text("utf-8"))):
        assert not isinstance(node, ast.Import) or not {n.name for n in node.names} & {*OURS}
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(OURS):
            public = importlib.import_module(node.module).__all__
            found += [name.name for name in node.names]
            assert {name.name for name in node.names} <= {*public}
            assert node.module in OURS, "the others are nobody's to import from"
    assert found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_the_package_is_the_wheels(example: Path, environment_of: Callable[[str], Path]) -> None:
    folder = environment_of(example.name)
    for name in OURS:
        package = (folder / name).resolve()
        assert package.is_relative_to(Path(sys.prefix).resolve())
        assert package.name == name
    installed = distribution("bitopro-orders")
    assert {f"{name}/__init__.py" for name in OURS} <= {f"{file}" for file in installed.files or ()}


def test_each_has_what_it_says_it_needs_and_no_more(
    environment_of: Callable[[str], Path],
) -> None:
    extras = {"bot.py": {"websockets"}, "back_office.py": set(), "job.py": {"redis"}}
    assert {file.name for file in EXAMPLES} == {*extras}
    for name, needed in extras.items():
        there = {each.name for each in environment_of(name).iterdir()}
        assert there & {"redis", "websockets", "starlette", "uvicorn"} == needed
