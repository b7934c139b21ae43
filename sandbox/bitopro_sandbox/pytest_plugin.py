"""pytest fixtures that run a sandbox."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bitopro_sandbox import Sandbox, Settings


@pytest.fixture
def bitopro_sandbox_settings() -> "Settings | None":
    """The settings of the ``bitopro_sandbox`` fixture; None for the defaults. Tests override it."""
    return None


@pytest.fixture
def bitopro_sandbox(bitopro_sandbox_settings: "Settings | None") -> "Iterator[Sandbox]":
    """A local exchange with the demonstration book, for one test."""
    # Here, as pytest loads this module in every test run of every user.
    from bitopro_sandbox.server import serve

    with ExitStack() as stack:
        try:
            sandbox = stack.enter_context(serve(bitopro_sandbox_settings))
        except ModuleNotFoundError as error:
            pytest.fail(str(error), pytrace=False)
        yield sandbox
