# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from ...client import Client
from ...models.cancelled_order import CancelledOrder
from ...types import (
    UNSET,
    Call,
    Operation,
    RateLimit,
    Response,
    Unset,
    check_boolean,
    check_text,
    plain,
)

OPERATION = Operation(
    name="cancelOrder",
    method="DELETE",
    path="/orders/{pair}/{orderId}",
    rate_limit=RateLimit(
        group="cancelOrder",
        requests=900,
        period_seconds=60,
        per=("ip", "account"),
    ),
    answer_repeats={"orderId": "orderId"},
)


class Names:
    """The keys of `Call.arguments`: what the exchange calls the arguments."""

    pair: Final = "pair"
    order_id: Final = "orderId"


def _get_kwargs(
    pair: str,
    order_id: str,
    *,
    is_all_strategy_canceled: bool | Unset = UNSET,
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

    if is_all_strategy_canceled is not UNSET:
        check_boolean("isAllStrategyCanceled", is_all_strategy_canceled)

    params: dict[str, Any] = {}

    params["isAllStrategyCanceled"] = is_all_strategy_canceled

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/orders/{pair}/{order_id}".format(
            pair=quote(str(pair), safe=""),
            order_id=quote(str(order_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse(body: Any) -> CancelledOrder:
    response_200 = CancelledOrder.from_dict(body)

    return response_200


def call(
    pair: str,
    order_id: str,
    *,
    is_all_strategy_canceled: bool | Unset = UNSET,
) -> Call[CancelledOrder]:
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
            is_all_strategy_canceled=is_all_strategy_canceled,
        ),
        _parse,
    )


def sync_detailed(
    pair: str,
    order_id: str,
    *,
    client: Client,
    is_all_strategy_canceled: bool | Unset = UNSET,
) -> Response[CancelledOrder]:
    """Cancel one order.

    The answer says that the exchange accepted the cancel. It does not say how much of the order was
    filled before: read the order for that. What the exchange answers to a second cancel of an order, or
    to the cancel of a filled order, is not documented and not verified.

    Limit: 900 requests per minute, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel-an-order.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.
        is_all_strategy_canceled (bool | Unset): Whether to delete the take-profit and stop-loss
            settings of this order, too. If it is left out, it is not sent, and the exchange uses its
            default, which is true. The exchange's document lists it as a path parameter; the path has
            no place for it, so it is sent in the query (not verified). Example: True.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[CancelledOrder]
    """

    return client.send(
        call(
            pair=pair,
            order_id=order_id,
            is_all_strategy_canceled=is_all_strategy_canceled,
        )
    )


def sync(
    pair: str,
    order_id: str,
    *,
    client: Client,
    is_all_strategy_canceled: bool | Unset = UNSET,
) -> CancelledOrder:
    """Cancel one order.

    The answer says that the exchange accepted the cancel. It does not say how much of the order was
    filled before: read the order for that. What the exchange answers to a second cancel of an order, or
    to the cancel of a filled order, is not documented and not verified.

    Limit: 900 requests per minute, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel-an-order.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.
        is_all_strategy_canceled (bool | Unset): Whether to delete the take-profit and stop-loss
            settings of this order, too. If it is left out, it is not sent, and the exchange uses its
            default, which is true. The exchange's document lists it as a path parameter; the path has
            no place for it, so it is sent in the query (not verified). Example: True.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        CancelledOrder
    """

    return sync_detailed(
        pair=pair,
        order_id=order_id,
        client=client,
        is_all_strategy_canceled=is_all_strategy_canceled,
    ).parsed


async def asyncio_detailed(
    pair: str,
    order_id: str,
    *,
    client: Client,
    is_all_strategy_canceled: bool | Unset = UNSET,
) -> Response[CancelledOrder]:
    """Cancel one order.

    The answer says that the exchange accepted the cancel. It does not say how much of the order was
    filled before: read the order for that. What the exchange answers to a second cancel of an order, or
    to the cancel of a filled order, is not documented and not verified.

    Limit: 900 requests per minute, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel-an-order.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.
        is_all_strategy_canceled (bool | Unset): Whether to delete the take-profit and stop-loss
            settings of this order, too. If it is left out, it is not sent, and the exchange uses its
            default, which is true. The exchange's document lists it as a path parameter; the path has
            no place for it, so it is sent in the query (not verified). Example: True.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[CancelledOrder]
    """

    return await client.send_async(
        call(
            pair=pair,
            order_id=order_id,
            is_all_strategy_canceled=is_all_strategy_canceled,
        )
    )


async def asyncio(
    pair: str,
    order_id: str,
    *,
    client: Client,
    is_all_strategy_canceled: bool | Unset = UNSET,
) -> CancelledOrder:
    """Cancel one order.

    The answer says that the exchange accepted the cancel. It does not say how much of the order was
    filled before: read the order for that. What the exchange answers to a second cancel of an order, or
    to the cancel of a filled order, is not documented and not verified.

    Limit: 900 requests per minute, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel-an-order.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.
        order_id (str): The order's id as the exchange gave it: digits, for a stop-limit order
            with a prefix of capital letters, such as SL-9014867155. Whether ids have other forms is
            not verified. Example: 2959906694.
        is_all_strategy_canceled (bool | Unset): Whether to delete the take-profit and stop-loss
            settings of this order, too. If it is left out, it is not sent, and the exchange uses its
            default, which is true. The exchange's document lists it as a path parameter; the path has
            no place for it, so it is sent in the query (not verified). Example: True.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        CancelledOrder
    """

    return (
        await asyncio_detailed(
            pair=pair,
            order_id=order_id,
            client=client,
            is_all_strategy_canceled=is_all_strategy_canceled,
        )
    ).parsed
