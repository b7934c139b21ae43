"""Whether the client reads the sandbox's answers: where it does not, no outcome ever comes."""

from typing import Any

from bitopro_client.api.orders import (
    cancel_all_orders_of_all_pairs,
    cancel_all_orders_of_pair,
    cancel_order,
    cancel_order_batch,
    get_order,
    list_open_orders,
)
from bitopro_client.models import OrderIdsByPair
from bitopro_client.types import Call
from bitopro_orders import BitoProError, SendingPolicy
from tests.many.support import client_of, exchange, place


def disagreement() -> str:
    """Ask every call of the sandbox once; say which answer is not read, and why, or nothing."""
    with (
        exchange() as sandbox,
        client_of(sandbox, policy=SendingPolicy(attempts=1, limit_share=None)) as client,
    ):
        (pair, first), (_, second), _, _ = place(sandbox, 4)
        calls: list[Call[Any]] = [
            get_order.call(pair, first),
            list_open_orders.call(),
            cancel_order.call(pair, first),
            cancel_order_batch.call(body=OrderIdsByPair.from_dict({pair: [second]})),
            cancel_all_orders_of_pair.call(pair),
            cancel_all_orders_of_all_pairs.call(),
        ]
        for call in calls:
            try:
                client.send(call)
            except BitoProError as error:
                return f"{call.operation.name}: {error.args[0]}"
    return ""
