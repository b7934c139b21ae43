"""Models and operations are imported when they are asked for, and seen all the same."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.imports import multiplied

import bitopro_client.models
import bitopro_orders
from tests.test_generated import needs_generator
from tests.test_shapes import generated
from tests.test_spec import DOCUMENT

LOADED = """
import json, sys
import bitopro_orders
bitopro_orders.connect
from bitopro_client.api.orders import cancel_order
print(json.dumps(sorted(name for name in sys.modules if name.startswith("bitopro_client"))))
"""
AT_ONCE = """
import threading
import bitopro_client.models as models
start, found = threading.Barrier(16), []
def ask():
    start.wait()
    found.append(models.Order)
threads = [threading.Thread(target=ask) for _ in range(16)]
for each in threads: each.start()
for each in threads: each.join()
print(len(found), len(set(found)))
"""
READS = """
import attrs, json, sys
from importlib import import_module
for operation, content in json.loads(sys.argv[1]).items():
    module = import_module("bitopro_client.api.orders." + operation)
    call = module.Call(attrs.evolve(module.OPERATION, answer_repeats={}), {}, dict, module._parse)
    before = set(sys.modules)
    parsed = call.read(200, content.encode(), {}).parsed
    parsed.to_dict()
    print(operation, type(parsed).__name__, sorted(set(sys.modules) - before))
"""


def said(script: str, *arguments: str, folder: Path | None = None) -> str:
    """Return what a script prints in a process of its own, with the client of a folder."""
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"PYTHONPATH": str(folder or ""), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stderr == ""
    return run.stdout


def test_only_what_is_used_is_imported() -> None:
    assert set(json.loads(said(LOADED))) == {
        "bitopro_client",
        "bitopro_client.api",
        "bitopro_client.api.orders",
        "bitopro_client.api.orders.cancel_order",
        "bitopro_client.api.orders.get_order",
        "bitopro_client.client",
        "bitopro_client.errors",
        "bitopro_client.models",
        "bitopro_client.models.cancelled_order",
        "bitopro_client.models.error",
        "bitopro_client.models.order",
        "bitopro_client.types",
    }


@needs_generator
def test_more_operations_are_no_more_imports(tmp_path: Path) -> None:
    spec = multiplied(DOCUMENT, 30)
    client = generated(tmp_path, spec)
    assert len(list(client.rglob("cancel_order*.py"))) > 10
    assert said(LOADED, folder=client) == said(LOADED)


def test_an_answer_is_read_without_an_import() -> None:
    """When it fails then, what was asked for has happened."""
    examples: dict[str, Any] = {}
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            name = "".join(f"_{c.lower()}" if c.isupper() else c for c in operation["operationId"])
            media = operation["responses"]["200"]["content"]["application/json"]
            examples[name] = json.dumps(media["example"])
    lines = said(READS, json.dumps(examples)).splitlines()
    assert len(lines) == len(examples)
    assert [line for line in lines if not line.endswith(" []")] == []


def test_every_model_is_there_for_whoever_looks() -> None:
    models = bitopro_client.models
    assert set(models.__all__) <= set(dir(models))
    starred: dict[str, Any] = {}
    exec("from bitopro_client.models import *", starred)
    assert {name for name in starred if not name.startswith("__")} == set(models.__all__)
    for name in models.__all__:
        model = getattr(models, name)
        assert (model.__name__, pickle.loads(pickle.dumps(model))) == (name, model)
    with pytest.raises(AttributeError, match="has no attribute 'Ordre'"):
        _ = models.Ordre  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Ordre'"):
        exec("from bitopro_client.models import Ordre")


def test_every_name_of_the_package_is_there_for_whoever_looks() -> None:
    assert set(bitopro_orders.__all__) <= set(dir(bitopro_orders))
    with pytest.raises(AttributeError, match="'bitopro_orders' has no attribute 'conect'"):
        _ = bitopro_orders.conect  # type: ignore[attr-defined]


def test_threads_that_ask_at_once_get_the_same_model() -> None:
    assert said(AT_ONCE) == "16 1\n"


def test_a_type_checker_sees_which_names_there_are(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(
        "from bitopro_client.models import Order, Ordre\n"
        "from bitopro_orders import cancel_many, cancel_mayn\n"
        "reveal_type(Order.from_dict({}).price)\n"
        "reveal_type(cancel_many)\n"
    )
    typed = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", "typed.py"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    errors = [line for line in typed.stdout.splitlines() if ": error: " in line]
    assert [line.partition("; ")[0] for line in errors] == [
        'typed.py:1: error: Module "bitopro_client.models" has no attribute "Ordre"',
        'typed.py:2: error: Module "bitopro_orders" has no attribute "cancel_mayn"',
    ]
    assert 'note: Revealed type is "str"' in typed.stdout
    assert 'note: Revealed type is "def (client: ' in typed.stdout
