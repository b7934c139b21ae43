"""The README's Python runs, and what the README says of commands and errors is so."""

import re
from pathlib import Path

import pytest

import bitopro_orders
from bitopro_auth import Credentials
from bitopro_client.api.orders import get_order
from bitopro_orders import connect
from bitopro_sandbox import OrderStatus
from tests.blocks import Block, blocks_of
from tests.support import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks_of("README.md")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_each_block_cancels_the_order(
    exports: dict[str, str], tmp_path: Path, block: Block
) -> None:
    block.run(tmp_path, exports)
    if block.is_test:
        return
    credentials = Credentials(
        *(exports[f"BITOPRO_{n}"] for n in ("API_KEY", "API_SECRET", "EMAIL"))
    )
    with connect(credentials, base_url=exports["BITOPRO_BASE_URL"]) as client:
        order = get_order.sync("BTC_TWD", "2959906694", client=client)
    assert order.status == OrderStatus.CANCELLED


def test_the_cancel_takes_ten_lines_at_most() -> None:
    lines = [len(block.code.strip().splitlines()) for block in BLOCKS[:2]]
    assert lines[0] <= 10
    assert lines[1] <= 14


def test_every_error_is_in_the_table() -> None:
    errors = {name for name in bitopro_orders.__all__ if name.endswith("Error")}
    assert {name for name in errors if f"`{name}`" in README} == errors


def test_every_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)):
        assert f"\n{target}:" in makefile, target
