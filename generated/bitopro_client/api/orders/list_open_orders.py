# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from functools import partial
from typing import Any, Final

from ...client import Client
from ...models.open_orders import OpenOrders
from ...types import (
    UNSET,
    Call,
    Operation,
    RateLimit,
    Response,
    Unset,
    check_text,
    given,
    plain,
    shaped,
)

OPERATION = Operation(
    name="listOpenOrders",
    method="GET",
    path="/orders/open",
    rate_limit=RateLimit(
        group="listOpenOrders",
        requests=5,
        period_seconds=1,
        per=("ip", "account"),
    ),
    answer_repeats={"pair": "data[].pair"},
)


class Names:
    """The keys of `Call.arguments`: what the exchange calls the arguments."""

    pair: Final = "pair"


SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": {"type": "object"}}},
}


def _get_kwargs(
    *,
    pair: str | Unset = UNSET,
) -> dict[str, Any]:
    if pair is not UNSET:
        check_text(
            "pair",
            pair,
            pattern="^[A-Za-z0-9]{1,20}_[A-Za-z0-9]{1,20}$",
            min_length=3,
            max_length=41,
            example="BTC_TWD",
        )

    params: dict[str, Any] = {}

    params["pair"] = pair

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/orders/open",
        "params": params,
    }

    return _kwargs


def _parse(body: Any) -> OpenOrders:
    body = shaped(body, SHAPE)
    response_200 = OpenOrders.from_dict(body)

    return response_200


def call(
    *,
    pair: str | Unset = UNSET,
) -> Call[OpenOrders]:
    """Return the call with its arguments, unchecked and unsent, for `Client.send`."""
    pair = plain(pair)
    return Call(
        OPERATION,
        {
            **given("pair", pair),
        },
        partial(
            _get_kwargs,
            pair=pair,
        ),
        _parse,
    )


def sync_detailed(
    *,
    client: Client,
    pair: str | Unset = UNSET,
) -> Response[OpenOrders]:
    """List the open orders of the account, the newest update first.

    The orders that are open now, of one pair or of all pairs. Not documented, and not verified: whether
    the list is always complete (no paging is documented), whether it contains stop-limit orders that
    are not triggered (the page's example shows some), and how far it lags behind a cancel.

    Limit: 5 requests per second, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_open_orders_data.md

    Args:
        pair (str | Unset): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD, in upper or lower
            case. If it is left out, the orders of all pairs are listed. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[OpenOrders]
    """

    return client.send(
        call(
            pair=pair,
        )
    )


def sync(
    *,
    client: Client,
    pair: str | Unset = UNSET,
) -> OpenOrders:
    """List the open orders of the account, the newest update first.

    The orders that are open now, of one pair or of all pairs. Not documented, and not verified: whether
    the list is always complete (no paging is documented), whether it contains stop-limit orders that
    are not triggered (the page's example shows some), and how far it lags behind a cancel.

    Limit: 5 requests per second, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_open_orders_data.md

    Args:
        pair (str | Unset): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD, in upper or lower
            case. If it is left out, the orders of all pairs are listed. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        OpenOrders
    """

    return sync_detailed(
        client=client,
        pair=pair,
    ).parsed


async def asyncio_detailed(
    *,
    client: Client,
    pair: str | Unset = UNSET,
) -> Response[OpenOrders]:
    """List the open orders of the account, the newest update first.

    The orders that are open now, of one pair or of all pairs. Not documented, and not verified: whether
    the list is always complete (no paging is documented), whether it contains stop-limit orders that
    are not triggered (the page's example shows some), and how far it lags behind a cancel.

    Limit: 5 requests per second, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_open_orders_data.md

    Args:
        pair (str | Unset): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD, in upper or lower
            case. If it is left out, the orders of all pairs are listed. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[OpenOrders]
    """

    return await client.send_async(
        call(
            pair=pair,
        )
    )


async def asyncio(
    *,
    client: Client,
    pair: str | Unset = UNSET,
) -> OpenOrders:
    """List the open orders of the account, the newest update first.

    The orders that are open now, of one pair or of all pairs. Not documented, and not verified: whether
    the list is always complete (no paging is documented), whether it contains stop-limit orders that
    are not triggered (the page's example shows some), and how far it lags behind a cancel.

    Limit: 5 requests per second, per IP address and per account. Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/get_open_orders_data.md

    Args:
        pair (str | Unset): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD, in upper or lower
            case. If it is left out, the orders of all pairs are listed. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        OpenOrders
    """

    return (
        await asyncio_detailed(
            client=client,
            pair=pair,
        )
    ).parsed
