"""Each question is asked by threads and by tasks."""

from collections.abc import Iterator
from typing import Any

import pytest

from bitopro_orders import (
    cancel_everything,
    cancel_everything_async,
    cancel_many,
    cancel_many_async,
)
from bitopro_sandbox import Sandbox
from tests.many.support import collect, exchange


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", ["sync", "async"])


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Serve an exchange of the test's own, whose limits nobody reaches."""
    with exchange() as served:
        yield served


@pytest.fixture
def cancel_all(mode: str) -> Any:
    """Return what cancels many orders of a sandbox: gives their ends and the account."""
    return collect(mode, cancel_many, cancel_many_async)


@pytest.fixture
def clear(mode: str) -> Any:
    """Return what cancels every order of a sandbox: gives their ends and the account."""
    run = collect(mode, cancel_everything, cancel_everything_async)
    return lambda *args, **options: run(*args, **{"timeout": 300, **options})
