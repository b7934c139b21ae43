# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
"""Contains all the data models used in inputs/outputs"""

from .cancelled_order import CancelledOrder
from .error import Error
from .order import Order
from .orders_message import OrdersMessage
from .orders_message_data import OrdersMessageData

__all__ = (
    "CancelledOrder",
    "Error",
    "Order",
    "OrdersMessage",
    "OrdersMessageData",
)
