"""An exchange and the command line before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import ACCOUNT, Cli, none_left
from tests.many.support import exchange


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with exchange(accounts=(ACCOUNT,)) as sandbox, none_left(tmp_path):
        for order in sandbox.book.open_orders():
            sandbox.book.cancel(order.id)
        cli = Cli(sandbox, tmp_path)
        yield cli
    cli.check_nothing_secret()
