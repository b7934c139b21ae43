"""A team that wants httpx and nothing else, written for 0.1.0: the client and the signing plugin."""

import asyncio

import httpx
from bitopro_auth import (
    DEFAULT_HOSTS,
    BitoProAuth,
    Credentials,
    CredentialsError,
    NonceSource,
    UnsignableRequestError,
    base_url_from_env,
    system_clock_ms,
)
from bitopro_client import Client
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.errors import InvalidArgument, UnexpectedStatus, UnreadableAnswer
from bitopro_client.models import Order


def make(credentials: Credentials) -> Client:
    base_url = base_url_from_env()
    assert base_url is not None
    hosts = [*DEFAULT_HOSTS, str(httpx.URL(base_url).host)]
    auth = BitoProAuth(credentials, hosts=hosts, nonce=NonceSource(clock_ms=system_clock_ms))
    return Client(
        base_url=base_url, timeout=httpx.Timeout(10.0), httpx_args={"auth": auth},
        headers={"X-Desk": "7"}, follow_redirects=False,
    )  # fmt: skip


async def later(client: Client) -> str:
    async with client as opened:
        order: Order = await get_order.asyncio("ETH_TWD", "2959906696", client=opened)
        return order.remaining_amount


def main() -> None:
    credentials = Credentials.from_env()
    assert credentials.api_key.reveal() not in repr(credentials)
    with make(credentials).with_timeout(httpx.Timeout(5.0)) as client:
        cancelled = cancel_order.sync(
            "BTC_TWD", "2959906694", client=client, is_all_strategy_canceled=True
        )
        assert cancelled.order_id == "2959906694"
        assert get_order.OPERATION.method == "GET"
        assert cancel_order.OPERATION.rate_limit.requests == 900
        try:
            get_order.sync("BTC_TWD", "1", client=client)
        except UnexpectedStatus as error:
            assert error.status_code == 404 and error.content
        try:
            get_order.sync("BTC", "1", client=client)
        except InvalidArgument as error:
            assert error.parameter == "pair" and error.rule
    assert asyncio.run(later(make(credentials)))
    try:
        httpx.get("http://127.0.0.1:9", auth=BitoProAuth(credentials))
    except UnsignableRequestError:
        pass
    try:
        Credentials("", "", "")
    except CredentialsError:
        pass
    assert issubclass(UnreadableAnswer, Exception)


if __name__ == "__main__":
    main()
