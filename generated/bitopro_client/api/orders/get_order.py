# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from ...client import Client
from ...models.order import Order
from ...types import (
    Call,
    Operation,
    RateLimit,
    Response,
    check_text,
    plain,
)

OPERATION = Operation(
    name="getOrder",
    method="GET",
    path="/orders/{pair}/{orderId}",
    rate_limit=RateLimit(
        group="general",
        requests=600,
        period_seconds=60,
        per=("ip", "account"),
    ),
    answer_repeats={"orderId": "id", "pair": "pair"},
)


class Names:
    """The keys of `Call.arguments`: what the exchange calls the arguments."""

    pair: Final = "pair"
    order_id: Final = "orderId"


def _get_kwargs(
    pair: str,
    order_id: str,
) -> dict[str, Any]:
    check_text(
        "pair",
        pair,
        pattern="^[A-Za-z0-9]{1,20}_[A-Za-z0-9]{1,20}$",
        min_length=3,
        max_length=41,
        example="BTC_TWD",
    )

    check_text(
        "orderId",
        order_id,
        pattern="^([A-Z]{1,10}-)?[0-9]{1,20}$",
        min_length=1,
        max_length=31,
        example="2959906694",
    )

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/orders/{pair}/{order_id}".format(
            pair=quote(str(pair), safe=""),
            order_id=quote(str(order_id), safe=""),
        ),
    }

    return _kwargs


def _parse(body: Any) -> Order:
    response_200 = Order.from_dict(body)

    return response_200


def call(
    pair: str,
    order_id: str,
) -> Call[Order]:
    """Return the call with its arguments, unchecked and unsent, for `Client.send`."""
    pair = plain(pair)
    order_id = plain(order_id)
    return Call(
        OPERATION,
        {
            "pair": pair,
            "orderId": order_id,
        },
        partial(
            _get_kwargs,
            pair=pair,
            order_id=order_id,
        ),
        _parse,
    )


def sync_detailed(
    pair: str,
    order_id: str,
    *,
    client: Client,
) -> Response[Order]:
    """Read one order.

    The order as it is now. It shows what became of a cancel. The exchange keeps 90 days of history.

    Limit: the general one of signed calls, 600 requests per minute, per IP address and per account.
    Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_an_order_data.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[Order]
    """

    return client.send(
        call(
            pair=pair,
            order_id=order_id,
        )
    )


def sync(
    pair: str,
    order_id: str,
    *,
    client: Client,
) -> Order:
    """Read one order.

    The order as it is now. It shows what became of a cancel. The exchange keeps 90 days of history.

    Limit: the general one of signed calls, 600 requests per minute, per IP address and per account.
    Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_an_order_data.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Order
    """

    return sync_detailed(
        pair=pair,
        order_id=order_id,
        client=client,
    ).parsed


async def asyncio_detailed(
    pair: str,
    order_id: str,
    *,
    client: Client,
) -> Response[Order]:
    """Read one order.

    The order as it is now. It shows what became of a cancel. The exchange keeps 90 days of history.

    Limit: the general one of signed calls, 600 requests per minute, per IP address and per account.
    Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_an_order_data.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[Order]
    """

    return await client.send_async(
        call(
            pair=pair,
            order_id=order_id,
        )
    )


async def asyncio(
    pair: str,
    order_id: str,
    *,
    client: Client,
) -> Order:
    """Read one order.

    The order as it is now. It shows what became of a cancel. The exchange keeps 90 days of history.

    Limit: the general one of signed calls, 600 requests per minute, per IP address and per account.
    Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_an_order_data.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Order
    """

    return (
        await asyncio_detailed(
            pair=pair,
            order_id=order_id,
            client=client,
        )
    ).parsed
