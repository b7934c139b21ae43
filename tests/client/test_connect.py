"""`connect()`: what it takes, what it refuses, and what it sets."""

import asyncio
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bitopro_auth import Credentials
from bitopro_client import Client
from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, InvalidArgumentError, NotSentError, OrdersClient, connect
from bitopro_orders.errors import RejectedError
from bitopro_orders.transport import Origin

CREDENTIALS = Credentials("k", "s", "i@example.com")
VARIABLES = ("BITOPRO_API_KEY", "BITOPRO_API_SECRET", "BITOPRO_EMAIL", "BITOPRO_BASE_URL")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def where(client: OrdersClient) -> tuple[Origin, str]:
    route = client._routed()
    return route.origin, route.path


def test_it_is_the_generated_client() -> None:
    assert isinstance(connect(CREDENTIALS), Client)


def test_a_cancel_imports_neither_httpx_nor_asyncio() -> None:
    program = """if True:
        import sys
        from bitopro_client.api.orders import cancel_order
        from bitopro_orders import NotSentError, connect
        from bitopro_auth import Credentials
        credentials = Credentials("k", "s", "i@example.com")
        with connect(credentials, base_url="http://127.0.0.1:1") as client:
            try:
                cancel_order.sync("BTC_TWD", "1", client=client)
            except NotSentError:
                print({"httpx", "asyncio", "certifi"} & sys.modules.keys())
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_every_phase_has_a_finite_timeout() -> None:
    assert connect(CREDENTIALS)._routed().phase_seconds == 10
    assert connect(CREDENTIALS, timeout=3)._routed().phase_seconds == 3
    assert connect(CREDENTIALS).with_timeout(4)._routed().phase_seconds == 4
    for inner in (Client().get_httpx_client(), Client().get_async_httpx_client()):
        phases = inner.timeout.as_dict().values()
        assert all(seconds is not None and math.isfinite(seconds) for seconds in phases)


def test_it_goes_to_the_exchange_by_default() -> None:
    assert where(connect(CREDENTIALS)) == (Origin("https", "api.bitopro.com", 443), "/v3")


def test_the_environment_gives_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, ("k", "s", "i", "https://x.example/v9"), strict=True):
        monkeypatch.setenv(name, value)
    assert where(connect()) == (Origin("https", "x.example", 443), "/v9")
    other = connect(base_url="http://localhost:1/v3")
    assert where(other) == (Origin("http", "localhost", 1), "/v3")


def test_missing_credentials_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITOPRO_EMAIL", "i")
    with pytest.raises(InvalidArgumentError, match="BITOPRO_API_KEY, BITOPRO_API_SECRET"):
        connect()


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.bitopro.com/v3", "ftp://x/", "api.bitopro.com", "https://", "https:///v3",
        "https://user:CANARY@api.bitopro.com/v3", "https://x/v3?key=CANARY", "https://x/#CANARY",
        "http://127.0.0.1.evil.example", "http://localhost.evil.example", "https://x:notaport/",
        "http://2130706433/", "http://0.0.0.0/", "https://api.bitopro.com\\.evil.example/v3", 7,
        "https://api.bito\tpro.com/v3", " https://x", "https://x y/v3", "https://x:0", "https://x:65536",
        "https://[::1", "https://-x/", "https://.x/", "https://bitopro.com\uff0fx/",
    ],
)  # fmt: skip
def test_a_base_url_that_would_give_the_credentials_away_is_refused(base_url: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="base_url must be") as caught:
        connect(CREDENTIALS, base_url=base_url)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "http://[::1]:1/v3", "https://x:444"])
def test_a_base_url_that_is_fine(base_url: str) -> None:
    assert connect(CREDENTIALS, base_url=base_url)


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, True, None, "5"])
def test_a_timeout_is_finite_and_above_zero(timeout: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="timeout must be"):
        connect(CREDENTIALS, timeout=timeout)


@pytest.mark.parametrize(
    "shared", ["", "unix:///run/redis.sock", "http://x", 7, "redis://:p/w@h:x"]
)
def test_a_store_that_is_none_is_refused_and_not_quoted(shared: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="shared must") as caught:
        connect(CREDENTIALS, shared=shared)
    assert "p/w" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_folder_may_be_a_path(tmp_path: Path) -> None:
    assert connect(CREDENTIALS, shared=tmp_path / "new")


def test_an_empty_base_url_is_not_the_exchange() -> None:
    with pytest.raises(InvalidArgumentError, match="base_url must be"):
        connect(CREDENTIALS, base_url="")


@pytest.mark.parametrize(
    "reach",
    [
        lambda client: client.get_httpx_client(),
        lambda client: client.get_async_httpx_client(),
        lambda client: client.set_httpx_client(httpx.Client()),
        lambda client: client.set_async_httpx_client(httpx.AsyncClient()),
    ],
    ids=["get", "get async", "set", "set async"],
)
def test_an_httpx_client_that_calls_would_not_go_through_is_refused(
    reach: Callable[[OrdersClient], object],
) -> None:
    with pytest.raises(TypeError, match="keeps their nonces in order, so it has no httpx client"):
        reach(connect(CREDENTIALS))


@pytest.mark.parametrize("transport", ["http://proxy:8080", httpx.HTTPTransport, httpx.Client()])
def test_a_transport_that_is_none_is_refused(transport: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="transport must be an httpx transport"):
        connect(CREDENTIALS, transport=transport)


def test_a_transport_of_the_other_kind_is_a_sentence() -> None:
    answers = httpx.MockTransport(lambda _: httpx.Response(404, json={"error": "no"}))

    class ForThreads(httpx.BaseTransport):
        handle_request = answers.handle_request

    class ForTasks(httpx.AsyncBaseTransport):
        handle_async_request = answers.handle_async_request

    order = ("BTC_TWD", "1")
    with pytest.raises(TypeError, match="use the async functions"):
        cancel_order.sync(*order, client=connect(CREDENTIALS, transport=ForTasks()))
    with pytest.raises(TypeError, match="use the sync functions"):
        asyncio.run(
            cancel_order.asyncio(*order, client=connect(CREDENTIALS, transport=ForThreads()))
        )
    with pytest.raises(RejectedError):
        cancel_order.sync(*order, client=connect(CREDENTIALS, transport=ForThreads()))
    with pytest.raises(RejectedError):
        asyncio.run(cancel_order.asyncio(*order, client=connect(CREDENTIALS, transport=ForTasks())))


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    from bitopro_orders import errors

    drawn = {
        line.strip("│├└─ ").split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if "Error" in line and "──" in line
    }
    exported = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BitoProError)
    }
    assert drawn | {"BitoProError"} == exported
    assert issubclass(InvalidArgumentError, ValueError)
    assert issubclass(InvalidArgumentError, NotSentError)
    assert not issubclass(RejectedError, NotSentError)
