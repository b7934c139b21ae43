"""Each question is asked by threads and by tasks."""

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", ["sync", "async"])
