# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from functools import partial
from typing import Any

from ...client import Client
from ...models.cancelled_orders import CancelledOrders
from ...types import (
    Call,
    Operation,
    RateLimit,
    Response,
    shaped,
)

OPERATION = Operation(
    name="cancelAllOrdersOfAllPairs",
    method="DELETE",
    path="/orders/all",
    rate_limit=RateLimit(
        group="cancelAllOrders",
        requests=1,
        period_seconds=1,
        per=("ip", "account"),
    ),
    answer_repeats={},
)

SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "data": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        }
    },
}


def _get_kwargs() -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/orders/all",
    }

    return _kwargs


def _parse(body: Any) -> CancelledOrders:
    body = shaped(body, SHAPE)
    response_200 = CancelledOrders.from_dict(body)

    return response_200


def call() -> Call[CancelledOrders]:
    """Return the call with its arguments, unchecked and unsent, for `Client.send`."""
    return Call(
        OPERATION,
        {},
        partial(
            _get_kwargs,
        ),
        _parse,
    )


def sync_detailed(
    *,
    client: Client,
) -> Response[CancelledOrders]:
    """Cancel every open order of the account, of all pairs.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. Not documented, and not verified: whether
    stop-limit orders that are not triggered are cancelled, too ("all your active orders of all pairs"),
    and what becomes of an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with cancelAllOrdersOfPair.
    (The page says 1 per IP address, and also 2 per IP address and account; this limit satisfies both.
    That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[CancelledOrders]
    """

    return client.send(call())


def sync(
    *,
    client: Client,
) -> CancelledOrders:
    """Cancel every open order of the account, of all pairs.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. Not documented, and not verified: whether
    stop-limit orders that are not triggered are cancelled, too ("all your active orders of all pairs"),
    and what becomes of an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with cancelAllOrdersOfPair.
    (The page says 1 per IP address, and also 2 per IP address and account; this limit satisfies both.
    That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

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
        client=client,
    ).parsed


async def asyncio_detailed(
    *,
    client: Client,
) -> Response[CancelledOrders]:
    """Cancel every open order of the account, of all pairs.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. Not documented, and not verified: whether
    stop-limit orders that are not triggered are cancelled, too ("all your active orders of all pairs"),
    and what becomes of an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with cancelAllOrdersOfPair.
    (The page says 1 per IP address, and also 2 per IP address and account; this limit satisfies both.
    That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

    Raises:
        errors.InvalidArgument: If an argument breaks its rule; nothing was sent.
        errors.UnexpectedStatus: If the status of the answer is not a success.
        errors.UnreadableAnswer: If the answer cannot be understood. It may have happened or not.
        httpx.HTTPError: If there was no answer.
        bitopro_orders.BitoProError: Instead of all these, if the client is from `connect()`.

    Returns:
        Response[CancelledOrders]
    """

    return await client.send_async(call())


async def asyncio(
    *,
    client: Client,
) -> CancelledOrders:
    """Cancel every open order of the account, of all pairs.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. Not documented, and not verified: whether
    stop-limit orders that are not triggered are cancelled, too ("all your active orders of all pairs"),
    and what becomes of an order that is placed at the same moment.

    Limit: 1 request per second, per IP address and per account, together with cancelAllOrdersOfPair.
    (The page says 1 per IP address, and also 2 per IP address and account; this limit satisfies both.
    That the two calls count together is not verified.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_all_orders.md

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
            client=client,
        )
    ).parsed
