# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
"""The models. Each is imported when it is asked for."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cancelled_ids_by_pair import CancelledIdsByPair
    from .cancelled_order import CancelledOrder
    from .cancelled_orders import CancelledOrders
    from .error import Error
    from .open_orders import OpenOrders
    from .order import Order
    from .order_ids_by_pair import OrderIdsByPair
    from .orders_message import OrdersMessage
    from .orders_message_data import OrdersMessageData

__all__ = (
    "CancelledIdsByPair",
    "CancelledOrder",
    "CancelledOrders",
    "Error",
    "OpenOrders",
    "Order",
    "OrderIdsByPair",
    "OrdersMessage",
    "OrdersMessageData",
)

_MODULES = {
    "CancelledIdsByPair": ".cancelled_ids_by_pair",
    "CancelledOrder": ".cancelled_order",
    "CancelledOrders": ".cancelled_orders",
    "Error": ".error",
    "OpenOrders": ".open_orders",
    "Order": ".order",
    "OrderIdsByPair": ".order_ids_by_pair",
    "OrdersMessage": ".orders_message",
    "OrdersMessageData": ".orders_message_data",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# A type checker would let any name pass.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(_import_module(_MODULES[name], __name__), name)
        return globals()[name]
