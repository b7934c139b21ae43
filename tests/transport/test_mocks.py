"""Mocks that users of httpx know, in the place of our transport: nothing is sent for real."""

import asyncio

import httpx
import pytest
import respx
from pytest_httpx import HTTPXMock

from bitopro_client.api.orders import cancel_order
from bitopro_orders import NotFoundError, connect
from tests.policy.scripted import CANCELLED, CREDENTIALS, ORDER_ID, PAIR

#: Nobody listens there.
NOWHERE = "http://127.0.0.1:9/v3"
URL = f"{NOWHERE}/orders/{PAIR}/{ORDER_ID}"


def test_respx() -> None:
    router = respx.Router(assert_all_called=True)
    route = router.delete(URL).mock(return_value=httpx.Response(200, content=CANCELLED))
    mock = httpx.MockTransport(router.handler)
    with connect(CREDENTIALS, base_url=NOWHERE, transport=mock) as client:
        assert cancel_order.sync(PAIR, ORDER_ID, client=client).order_id == ORDER_ID
    assert route.call_count == 1
    assert "X-BITOPRO-SIGNATURE" in route.calls[0].request.headers


async def test_respx_in_a_task() -> None:
    router = respx.Router(assert_all_called=True)
    router.delete(URL).mock(return_value=httpx.Response(404, json={"error": "none"}))
    mock = httpx.MockTransport(router.async_handler)
    async with connect(CREDENTIALS, base_url=NOWHERE, transport=mock) as client:
        with pytest.raises(NotFoundError, match="none"):
            await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
    router.assert_all_called()


def test_pytest_httpx(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(method="DELETE", url=URL, content=CANCELLED, is_reusable=True)
    with httpx.HTTPTransport() as transport:
        client = connect(CREDENTIALS, base_url=NOWHERE, transport=transport)
        assert cancel_order.sync(PAIR, ORDER_ID, client=client).order_id == ORDER_ID

    async def main() -> str:
        async with httpx.AsyncHTTPTransport() as transport:
            client = connect(CREDENTIALS, base_url=NOWHERE, transport=transport)
            return (await cancel_order.asyncio(PAIR, ORDER_ID, client=client)).order_id

    assert asyncio.run(main()) == ORDER_ID
    assert len(httpx_mock.get_requests()) == 2
