"""`connect()`: what it takes, what it refuses, and what it sets."""

import math
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bitopro_auth import Credentials
from bitopro_client import Client
from bitopro_orders import BitoProError, InvalidArgumentError, NotSentError, connect
from bitopro_orders.errors import RejectedError

CREDENTIALS = Credentials("k", "s", "i@example.com")
VARIABLES = ("BITOPRO_API_KEY", "BITOPRO_API_SECRET", "BITOPRO_EMAIL", "BITOPRO_BASE_URL")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[Client.get_httpx_client, Client.get_async_httpx_client])
def inner(request: pytest.FixtureRequest) -> Callable[[Client], Any]:
    found: Callable[[Client], Any] = request.param
    return found


def test_it_is_the_generated_client() -> None:
    assert isinstance(connect(CREDENTIALS), Client)


def test_every_phase_has_a_finite_timeout(inner: Callable[[Client], Any]) -> None:
    for client in (connect(CREDENTIALS), Client()):
        phases = inner(client).timeout.as_dict()
        assert all(seconds is not None and math.isfinite(seconds) for seconds in phases.values())


def test_it_goes_to_the_exchange_by_default(inner: Callable[[Client], Any]) -> None:
    http = inner(connect(CREDENTIALS))
    assert http.base_url == httpx.URL("https://api.bitopro.com/v3/")
    assert http.follow_redirects is False
    assert http.trust_env is False


def test_the_environment_gives_what_is_not_given(
    inner: Callable[[Client], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(VARIABLES, ("k", "s", "i", "https://x.example/v9"), strict=True):
        monkeypatch.setenv(name, value)
    assert inner(connect()).base_url == httpx.URL("https://x.example/v9/")
    other = connect(base_url="http://localhost:1/v3")
    assert inner(other).base_url == httpx.URL("http://localhost:1/v3/")


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
        "http://2130706433/", "http://0.0.0.0/", 7,
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


def test_an_httpx_client_that_calls_would_not_go_through_is_refused() -> None:
    client = connect(CREDENTIALS)
    with pytest.raises(TypeError, match="base_url"):
        client.set_httpx_client(httpx.Client())
    with pytest.raises(TypeError, match="base_url"):
        client.set_async_httpx_client(httpx.AsyncClient())


def test_a_company_may_bring_its_own_authority() -> None:
    context = ssl.create_default_context()
    assert connect(CREDENTIALS, tls=context)._tls() is context


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
