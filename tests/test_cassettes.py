"""What a program that replays recorded traffic sees. See `cassettes/README.md`."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import AuthenticationError, NotFoundError, connect
from tests.support import credentials_of

KEPT_REQUEST_HEADERS = {"accept"}
KEPT_ANSWER_HEADERS = {"content-type"}
LIVE = "api.bitopro.com"

pytestmark = [pytest.mark.vcr, pytest.mark.block_network]


def without_credentials(request: Any) -> Any:
    """Keep the headers of the allow-list, and a host that says what was recorded."""
    for name in set(request.headers):
        if name.lower() not in KEPT_REQUEST_HEADERS:
            del request.headers[name]
    url = urlsplit(request.uri)
    host = LIVE if url.hostname == LIVE else "sandbox.invalid"
    request.uri = urlunsplit(("https", host, url.path, url.query, ""))
    return request


def without_noise(response: Any) -> Any:
    response["headers"] = {
        name: value
        for name, value in response["headers"].items()
        if name.lower() in KEPT_ANSWER_HEADERS
    }
    return response


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    return {
        "before_record_request": without_credentials,
        "before_record_response": without_noise,
        "match_on": ["method", "path", "query"],
        "decode_compressed_response": True,
    }


@pytest.fixture
def account(request: pytest.FixtureRequest, record_mode: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments of `connect`: a sandbox when recording, a dead address when replaying.

    A recorder sees what goes through a transport of httpx.

    An account's owner records the live exchange with BITOPRO_BASE_URL and the credentials set.
    """
    if record_mode == "none":
        credentials = Credentials("replay", "replay", "replay@example.com")
        yield {"credentials": credentials, "base_url": "http://127.0.0.1:9/v3"}
    elif request.config.getoption("--live"):
        yield {}
    else:
        sandbox = request.getfixturevalue("bitopro_sandbox")
        yield {"credentials": credentials_of(sandbox), "base_url": sandbox.base_url}


def test_a_cancel(account: dict[str, Any]) -> None:
    with httpx.HTTPTransport() as transport, connect(**account, transport=transport) as client:
        cancelled = cancel_order.sync("BTC_TWD", "2959906694", client=client)
    assert cancelled.order_id == "2959906694"


async def test_a_cancel_async(account: dict[str, Any]) -> None:
    async with httpx.AsyncHTTPTransport() as transport:
        async with connect(**account, transport=transport) as client:
            cancelled = await cancel_order.asyncio(
                "BTC_TWD", "2959906694", client=client, is_all_strategy_canceled=False
            )
    assert cancelled.order_id == "2959906694"


def test_an_unknown_order(account: dict[str, Any]) -> None:
    with (
        httpx.HTTPTransport() as transport,
        connect(**account, transport=transport) as client,
        pytest.raises(NotFoundError),
    ):
        cancel_order.sync("BTC_TWD", "1", client=client)


def test_a_wrong_key(account: dict[str, Any]) -> None:
    account = {**account, "credentials": Credentials("wrong", "wrong", "wrong@example.com")}
    with (
        httpx.HTTPTransport() as transport,
        connect(**account, transport=transport) as client,
        pytest.raises(AuthenticationError),
    ):
        cancel_order.sync("BTC_TWD", "2959906694", client=client)


def test_what_was_not_recorded_is_not_answered(account: dict[str, Any], record_mode: str) -> None:
    if record_mode != "none":
        pytest.skip("only a replay has nothing to answer with")
    with (
        httpx.HTTPTransport() as transport,
        connect(**account, transport=transport) as client,
        pytest.raises(Exception, match="CannotOverwriteExistingCassetteException"),
    ):
        cancel_order.sync("BTC_TWD", "2959906694", client=client)
