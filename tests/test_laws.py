"""The laws of the house that can be read off the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGES = {
    "bitopro_client": ROOT / "generated" / "bitopro_client",
    "bitopro_auth": ROOT / "auth_plugin" / "bitopro_auth",
    "bitopro_orders": ROOT / "orders" / "bitopro_orders",
    "bitopro_sandbox": ROOT / "sandbox" / "bitopro_sandbox",
}
MAY_IMPORT = {
    "bitopro_client": set(),
    "bitopro_auth": set(),
    "bitopro_orders": {"bitopro_client", "bitopro_auth"},
    "bitopro_sandbox": set(),
}


def sources(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found
    return found


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def attributes(file: Path) -> set[str]:
    """Return the dotted names that a file uses, such as `os.environ`."""
    return {
        ast.unparse(node)
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_who_imports_whom(package: str) -> None:
    used = {name.split(".")[0] for file in sources(package) for name in imports(file)}
    assert used & PACKAGES.keys() - {package} <= MAY_IMPORT[package]


def test_httpx_stands_behind_few_imports() -> None:
    importing = {
        file.relative_to(ROOT).as_posix()
        for package in ("bitopro_auth", "bitopro_orders")
        for file in sources(package)
        if any(name.split(".")[0] in {"httpx", "httpcore"} for name in imports(file))
    }
    assert importing == {
        "auth_plugin/bitopro_auth/auth.py",
        "orders/bitopro_orders/connection.py",  # asks what kind a given transport is
        "orders/bitopro_orders/transport/through_httpx.py",
    }


def test_one_module_reads_the_environment() -> None:
    reading = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in sources(package)
        if {"os.environ", "os.environb", "os.getenv"} & attributes(file)
    }
    assert reading == {
        "auth_plugin/bitopro_auth/credentials.py",
        "orders/bitopro_orders/cli/journals.py",  # the user's state folder
    }


def test_only_the_command_line_needs_what_the_extra_cli_brings() -> None:
    importing = {
        file.relative_to(ROOT).parent.as_posix()
        for package in PACKAGES
        for file in sources(package)
        if {name.split(".")[0] for name in imports(file)} & {"click", "rich"}
    }
    assert importing == {"orders/bitopro_orders/cli"}


def test_the_clock_and_the_sleep_are_passed_in() -> None:
    """Each is named once, as a default: nothing else calls the machine's own."""
    clocks = {"time.time", "time.time_ns", "time.monotonic", "time.sleep", "asyncio.sleep"}
    naming = {
        file.relative_to(ROOT).as_posix(): sorted(found)
        for package in ("bitopro_auth", "bitopro_orders", "bitopro_client")
        for file in sources(package)
        if (found := clocks & attributes(file))
    }
    assert naming == {
        "auth_plugin/bitopro_auth/nonce.py": ["time.time_ns"],
        "orders/bitopro_orders/timing.py": ["asyncio.sleep", "time.monotonic", "time.sleep"],
    }


def test_while_a_lock_is_held_nothing_is_called_or_waited_for() -> None:
    """What is called could wait, and Python looks for signals at calls: a handler may come in."""
    held = 0
    for package in ("bitopro_auth", "bitopro_orders", "bitopro_client"):
        for file in sources(package):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.AsyncWith | ast.With) and any(
                    ast.unparse(item.context_expr).lower().endswith("lock") for item in node.items
                ):
                    held += 1
                    body = [each for line in node.body for each in ast.walk(line)]
                    waits = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.For, ast.While)
                    found = [ast.unparse(each) for each in body if isinstance(each, waits)]
                    assert found == [], file
    assert held == 3


def test_the_plugin_knows_no_endpoint() -> None:
    for file in sources("bitopro_auth"):
        assert "/orders" not in file.read_text("utf-8")


def test_the_plugin_is_read_in_five_minutes() -> None:
    code = [
        line
        for file in sources("bitopro_auth")
        for line in file.read_text("utf-8").splitlines()
        if line.strip()
    ]
    assert len(code) <= 320


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()
