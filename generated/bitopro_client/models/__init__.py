# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
"""Contains all the data models used in inputs/outputs"""

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
