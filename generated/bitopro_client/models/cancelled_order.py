# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="CancelledOrder")


@_attrs_define
class CancelledOrder:
    """A cancel that the exchange accepted. The answer must name the order. Of the other fields, a text that is null or of
    another type is empty here, and anything else of another type is left out.

    """

    action: str
    """ The order's side. Documented are BUY and SELL; others are passed on. """
    amount: str
    """ The amount, in the pair's base currency, as decimal text. Whether it is the original or the remaining amount
    is not documented. """
    order_id: str
    """ The id of the cancelled order. """
    price: str
    """ The price, in the pair's quote currency, as decimal text. """
    timestamp: int | Unset = UNSET
    """ The exchange's time of the cancel, in milliseconds since the epoch. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        action = self.action

        amount = self.amount

        order_id = self.order_id

        price = self.price

        timestamp = self.timestamp

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "action": action,
                "amount": amount,
                "orderId": order_id,
                "price": price,
            }
        )
        if timestamp is not UNSET:
            field_dict["timestamp"] = timestamp

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        action = d.pop("action")

        amount = d.pop("amount")

        order_id = d.pop("orderId")

        price = d.pop("price")

        timestamp = d.pop("timestamp", UNSET)

        cancelled_order = cls(
            action=action,
            amount=amount,
            order_id=order_id,
            price=price,
            timestamp=timestamp,
        )

        cancelled_order.additional_properties = d
        return cancelled_order

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
