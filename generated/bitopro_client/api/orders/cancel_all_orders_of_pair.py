# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from ...client import Client
from ...models.cancelled_orders import CancelledOrders
from ...types import (
    Call,
    Operation,
    RateLimit,
    Response,
    check_text,
    plain,
    shaped,
)

OPERATION = Operation(
    name="cancelAllOrdersOfPair",
    method="DELETE",
    path="/orders/{pair}",
    rate_limit=RateLimit(
        group="cancelAllOrders",
        requests=1,
        period_seconds=1,
        per=("ip", "account"),
    ),
    answer_repeats={"pair": "data{}"},
)


class Names:
    """The keys of `Call.arguments`: what the exchange calls the arguments."""

    pair: Final = "pair"


SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "data": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        }
    },
}


def _get_kwargs(
    pair: str,
) -> dict[str, Any]:
    check_text(
        "pair",
        pair,
        pattern="^[A-Za-z0-9]{1,20}_[A-Za-z0-9]{1,20}$",
        min_length=3,
        max_length=41,
        example="BTC_TWD",
    )

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/orders/{pair}".format(
            pair=quote(str(pair), safe=""),
        ),
    }

    return _kwargs


def _parse(body: Any) -> CancelledOrders:
    body = shaped(body, SHAPE)
    response_200 = CancelledOrders.from_dict(body)

    return response_200


def call(
    pair: str,
) -> Call[CancelledOrders]:
    """Return the call with its arguments, unchecked and unsent, for `Client.send`."""
    pair = plain(pair)
    return Call(
        OPERATION,
        {
            "pair": pair,
        },
        partial(
            _get_kwargs,
            pair=pair,
        ),
        _parse,
    )


def sync_detailed(
    pair: str,
    *,
    client: Client,
) -> Response[CancelledOrders]:
    """Cancel every open order of one pair.

    The answer names the orders whose cancel the exchange accepted, and no order if none was open (not
    verified). It does not say how much of each order was filled before: read the order for that. If the
    answer names another pair, it is treated as if there was no answer. Not documented, and not
    verified: whether stop-limit orders that are not triggered are cancelled, too, and what becomes of
    an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with
    cancelAllOrdersOfAllPairs. (The page says 1 per IP address, and also 2 per IP address and account;
    this limit satisfies both. That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[CancelledOrders]
    """

    return client.send(
        call(
            pair=pair,
        )
    )


def sync(
    pair: str,
    *,
    client: Client,
) -> CancelledOrders:
    """Cancel every open order of one pair.

    The answer names the orders whose cancel the exchange accepted, and no order if none was open (not
    verified). It does not say how much of each order was filled before: read the order for that. If the
    answer names another pair, it is treated as if there was no answer. Not documented, and not
    verified: whether stop-limit orders that are not triggered are cancelled, too, and what becomes of
    an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with
    cancelAllOrdersOfAllPairs. (The page says 1 per IP address, and also 2 per IP address and account;
    this limit satisfies both. That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        CancelledOrders
    """

    return sync_detailed(
        pair=pair,
        client=client,
    ).parsed


async def asyncio_detailed(
    pair: str,
    *,
    client: Client,
) -> Response[CancelledOrders]:
    """Cancel every open order of one pair.

    The answer names the orders whose cancel the exchange accepted, and no order if none was open (not
    verified). It does not say how much of each order was filled before: read the order for that. If the
    answer names another pair, it is treated as if there was no answer. Not documented, and not
    verified: whether stop-limit orders that are not triggered are cancelled, too, and what becomes of
    an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with
    cancelAllOrdersOfAllPairs. (The page says 1 per IP address, and also 2 per IP address and account;
    this limit satisfies both. That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[CancelledOrders]
    """

    return await client.send_async(
        call(
            pair=pair,
        )
    )


async def asyncio(
    pair: str,
    *,
    client: Client,
) -> CancelledOrders:
    """Cancel every open order of one pair.

    The answer names the orders whose cancel the exchange accepted, and no order if none was open (not
    verified). It does not say how much of each order was filled before: read the order for that. If the
    answer names another pair, it is treated as if there was no answer. Not documented, and not
    verified: whether stop-limit orders that are not triggered are cancelled, too, and what becomes of
    an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with
    cancelAllOrdersOfAllPairs. (The page says 1 per IP address, and also 2 per IP address and account;
    this limit satisfies both. That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

    Args:
        pair (str): The trading pair, {BASE}_{QUOTE}, such as BTC_TWD. It is sent as you give it:
            the exchange's documents have pairs in upper and in lower case. The list of pairs:
            https://www.bitopro.com/fees. Example: BTC_TWD.

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        CancelledOrders
    """

    return (
        await asyncio_detailed(
            pair=pair,
            client=client,
        )
    ).parsed
