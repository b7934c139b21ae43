"""The README's Python runs, and what the README says of commands and errors is so."""

import re
from pathlib import Path
from typing import Any

import pytest

import bitopro_orders
from bitopro_sandbox import OrderStatus, Sandbox
from tests.support import ROOT, environment_of

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_each_block_cancels_the_order(
    bitopro_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, block: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment_of(bitopro_sandbox).items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    for name, function in names.items():
        if name.startswith("test_"):
            function(bitopro_sandbox)
    assert bitopro_sandbox.book.get("2959906694").status is OrderStatus.CANCELLED


def test_the_cancel_takes_ten_lines_at_most() -> None:
    assert [len(block.strip().splitlines()) for block in BLOCKS[:2]] <= [10, 14]


def test_every_error_is_in_the_table() -> None:
    errors = {name for name in bitopro_orders.__all__ if name.endswith("Error")}
    assert {name for name in errors if f"`{name}`" in README} == errors


def test_every_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)):
        assert f"\n{target}:" in makefile, target
