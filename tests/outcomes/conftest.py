"""Each fixture runs the same question by threads and by tasks."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bitopro_orders import (
    CancelOutcome,
    OrdersClient,
    OutcomeUnknownError,
    cancel_and_confirm,
    cancel_and_confirm_async,
    resolve,
    resolve_async,
)
from bitopro_sandbox import Sandbox
from tests.outcomes.support import client_of

Make = Callable[[], OrdersClient]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", ["sync", "async"])


@pytest.fixture
def confirm_at(mode: str) -> Callable[..., CancelOutcome]:
    """Cancel and confirm with a client made for it: `confirm_at(make, pair, id)`."""

    def sync(make: Make, *order: Any, **options: Any) -> CancelOutcome:
        with make() as client:
            return cancel_and_confirm(client, *order, **options)

    def run_async(make: Make, *order: Any, **options: Any) -> CancelOutcome:
        async def main() -> CancelOutcome:
            async with make() as client:
                return await cancel_and_confirm_async(client, *order, **options)

        return asyncio.run(main())

    return sync if mode == "sync" else run_async


@pytest.fixture
def confirm(confirm_at: Callable[..., CancelOutcome]) -> Callable[..., CancelOutcome]:
    """Cancel and confirm in a sandbox: `confirm(sandbox, pair, id)`."""

    def run(sandbox: Sandbox, *order: Any, **options: Any) -> CancelOutcome:
        return confirm_at(lambda: client_of(sandbox), *order, **options)

    return run


@pytest.fixture
def settle(mode: str) -> Callable[..., CancelOutcome]:
    """Resolve an error with a client of its own: `settle(sandbox, error)`."""

    def sync(sandbox: Sandbox, error: OutcomeUnknownError, **options: Any) -> CancelOutcome:
        with client_of(sandbox) as client:
            return resolve(client, error, **options)

    def run_async(sandbox: Sandbox, error: OutcomeUnknownError, **options: Any) -> CancelOutcome:
        async def main() -> CancelOutcome:
            async with client_of(sandbox) as client:
                return await resolve_async(client, error, **options)

        return asyncio.run(main())

    return sync if mode == "sync" else run_async
