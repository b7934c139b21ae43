"""Each question is asked by threads and by tasks."""

from collections.abc import Iterator

import pytest

from bitopro_sandbox import Sandbox
from tests.many.support import exchange


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", ["sync", "async"])


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Serve an exchange of the test's own, whose limits nobody reaches."""
    with exchange() as served:
        yield served
