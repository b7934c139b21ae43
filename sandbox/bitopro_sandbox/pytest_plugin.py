"""A pytest fixture with a running sandbox."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bitopro_sandbox import Sandbox, Settings


@pytest.fixture
def bitopro_sandbox_settings() -> "Settings | None":
    """Settings of the ``bitopro_sandbox`` fixture, to be overridden; None for the defaults."""
    return None


@pytest.fixture
def bitopro_sandbox(bitopro_sandbox_settings: "Settings | None") -> "Iterator[Sandbox]":
    """A local exchange with the demonstration book, for this test alone."""
    try:
        # Here, as pytest loads this module also for users without the extra.
        from bitopro_sandbox.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "websockets"):
            raise
        pytest.fail(
            f"The sandbox needs {error.name}: pip install 'bitopro-orders[sandbox]'", pytrace=False
        )
    with serve(bitopro_sandbox_settings) as sandbox:
        yield sandbox
