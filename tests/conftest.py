"""Fixtures of all the tests. Everything runs against this machine, most of it the sandbox."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import OrdersClient, connect, throttle
from bitopro_sandbox import Sandbox
from tests.agreement import disagreement
from tests.blocks import exports_of_the_readme
from tests.support import credentials_of
from tests.throttle import stores


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--live", action="store_true", help="record cassettes against BITOPRO_BASE_URL"
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """End at once where every test of an outcome would wait for it until its timeout."""
    if not hasattr(session.config, "workerinput") and (what := disagreement()):
        pytest.exit(f"the client does not read what the sandbox answers: {what}", returncode=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _throttles_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test learns of a key's limits, clock and nonces from the next test."""
    monkeypatch.setattr(throttle, "_throttles", {})
    monkeypatch.setattr(throttle, "_shared_stores", {})


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a Redis for all tests that leave it alone."""
    with stores.redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def exports() -> Iterator[dict[str, str]]:
    """Return what a reader of the README has exported, while the sandbox serves."""
    with exports_of_the_readme() as variables:
        yield variables


class Canceller(Protocol):
    """Cancels one order with a client of its own, sync or async."""

    def __call__(self, pair: str, order_id: str, **options: Any) -> CancelledOrder: ...


@pytest.fixture(params=["sync", "async"])
def cancel_at(request: pytest.FixtureRequest) -> Callable[..., CancelledOrder]:
    """Cancel one order through a client made for it: `cancel_at(make_client, pair, id)`."""

    def sync(make: Callable[[], Any], pair: str, order_id: str, **options: Any) -> CancelledOrder:
        with make() as client:
            return cancel_order.sync(pair, order_id, client=client, **options)

    def run_async(
        make: Callable[[], Any], pair: str, order_id: str, **options: Any
    ) -> CancelledOrder:
        async def main() -> CancelledOrder:
            async with make() as client:
                return await cancel_order.asyncio(pair, order_id, client=client, **options)

        return asyncio.run(main())

    return sync if request.param == "sync" else run_async


@pytest.fixture
def make_client(bitopro_sandbox: Sandbox) -> Callable[..., OrdersClient]:
    def make(**options: Any) -> OrdersClient:
        options = {"base_url": bitopro_sandbox.base_url, **options}
        return connect(credentials_of(bitopro_sandbox), **options)

    return make


@pytest.fixture
def cancel(
    cancel_at: Callable[..., CancelledOrder], make_client: Callable[..., OrdersClient]
) -> Canceller:
    """Cancel one order in the sandbox through `connect()`, sync and async in turn."""

    def run(pair: str, order_id: str, **options: Any) -> CancelledOrder:
        return cancel_at(make_client, pair, order_id, **options)

    return run
