# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from functools import partial
from typing import Any

from ...client import Client
from ...models.cancelled_orders import CancelledOrders
from ...models.order_ids_by_pair import OrderIdsByPair
from ...types import (
    Call,
    Operation,
    RateLimit,
    Response,
    check_body,
    json_text,
    shaped,
    snapshot,
)

OPERATION = Operation(
    name="cancelOrderBatch",
    method="PUT",
    path="/orders",
    rate_limit=RateLimit(
        group="cancelOrderBatch",
        requests=2,
        period_seconds=1,
        per=("ip",),
    ),
    answer_repeats={"body": "data{}[]"},
)

BODY: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {
        "type": "string",
        "pattern": "^[A-Za-z0-9]{1,20}_[A-Za-z0-9]{1,20}$",
        "minLength": 3,
        "maxLength": 41,
        "example": "BTC_TWD",
    },
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {
            "type": "string",
            "pattern": "^([A-Z]{1,10}-)?[0-9]{1,20}$",
            "minLength": 1,
            "maxLength": 31,
            "example": "2959906694",
        },
        "example": ["2959906694"],
    },
    "example": {"BTC_TWD": ["2959906694"]},
}

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
    *,
    body: OrderIdsByPair,
) -> dict[str, Any]:

    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "put",
        "url": "/orders",
    }

    _kwargs["json"] = check_body(body, BODY)

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse(body: Any) -> CancelledOrders:
    body = shaped(body, SHAPE)
    response_200 = CancelledOrders.from_dict(body)

    return response_200


def call(
    *,
    body: OrderIdsByPair,
) -> Call[CancelledOrders]:
    """Return the call with its arguments, unchecked and unsent, for `Client.send`."""
    body = snapshot(body)
    return Call(
        OPERATION,
        {
            "body": json_text(body),
        },
        partial(
            _get_kwargs,
            body=body,
        ),
        _parse,
        body,
    )


def sync_detailed(
    *,
    client: Client,
    body: OrderIdsByPair,
) -> Response[CancelledOrders]:
    """Cancel several orders, named by their ids.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. If the answer names an order that was not in the
    request, it is treated as if there was no answer. Not documented, and not verified: how many ids a
    batch may hold, whether an id that is unknown or already final makes the whole batch fail, and
    whether the answer leaves such an id out.

    The signed payload is the body, byte for byte as it is sent. It holds no nonce, so the same body
    always has the same signature. Therefore a 409 proves nothing and counts as unknown, and a request
    that may have arrived is never repeated automatically. Anybody who has seen its three headers may be
    able to send it again, at any time (not verified).

    Limit: 2 requests per second, per IP address. (An entry of 2021 in the change log says 1; the page
    is newer.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_batch_orders.md

    Args:
        body (OrderIdsByPair): The orders to cancel, as a list of ids for each pair. Example:
            {'BTC_TWD': ['2959906694']}.

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
            body=body,
        )
    )


def sync(
    *,
    client: Client,
    body: OrderIdsByPair,
) -> CancelledOrders:
    """Cancel several orders, named by their ids.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. If the answer names an order that was not in the
    request, it is treated as if there was no answer. Not documented, and not verified: how many ids a
    batch may hold, whether an id that is unknown or already final makes the whole batch fail, and
    whether the answer leaves such an id out.

    The signed payload is the body, byte for byte as it is sent. It holds no nonce, so the same body
    always has the same signature. Therefore a 409 proves nothing and counts as unknown, and a request
    that may have arrived is never repeated automatically. Anybody who has seen its three headers may be
    able to send it again, at any time (not verified).

    Limit: 2 requests per second, per IP address. (An entry of 2021 in the change log says 1; the page
    is newer.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_batch_orders.md

    Args:
        body (OrderIdsByPair): The orders to cancel, as a list of ids for each pair. Example:
            {'BTC_TWD': ['2959906694']}.

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
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: Client,
    body: OrderIdsByPair,
) -> Response[CancelledOrders]:
    """Cancel several orders, named by their ids.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. If the answer names an order that was not in the
    request, it is treated as if there was no answer. Not documented, and not verified: how many ids a
    batch may hold, whether an id that is unknown or already final makes the whole batch fail, and
    whether the answer leaves such an id out.

    The signed payload is the body, byte for byte as it is sent. It holds no nonce, so the same body
    always has the same signature. Therefore a 409 proves nothing and counts as unknown, and a request
    that may have arrived is never repeated automatically. Anybody who has seen its three headers may be
    able to send it again, at any time (not verified).

    Limit: 2 requests per second, per IP address. (An entry of 2021 in the change log says 1; the page
    is newer.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_batch_orders.md

    Args:
        body (OrderIdsByPair): The orders to cancel, as a list of ids for each pair. Example:
            {'BTC_TWD': ['2959906694']}.

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
            body=body,
        )
    )


async def asyncio(
    *,
    client: Client,
    body: OrderIdsByPair,
) -> CancelledOrders:
    """Cancel several orders, named by their ids.

    The answer names the orders whose cancel the exchange accepted. It does not say how much of each
    order was filled before: read the order for that. If the answer names an order that was not in the
    request, it is treated as if there was no answer. Not documented, and not verified: how many ids a
    batch may hold, whether an id that is unknown or already final makes the whole batch fail, and
    whether the answer leaves such an id out.

    The signed payload is the body, byte for byte as it is sent. It holds no nonce, so the same body
    always has the same signature. Therefore a 409 proves nothing and counts as unknown, and a request
    that may have arrived is never repeated automatically. Anybody who has seen its three headers may be
    able to send it again, at any time (not verified).

    Limit: 2 requests per second, per IP address. (An entry of 2021 in the change log says 1; the page
    is newer.) Source:
    https://github.com/bitoex/bitopro-offical-api-docs/blob/master/api/v3/private/cancel_batch_orders.md

    Args:
        body (OrderIdsByPair): The orders to cancel, as a list of ids for each pair. Example:
            {'BTC_TWD': ['2959906694']}.

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
            body=body,
        )
    ).parsed
