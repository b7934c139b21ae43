# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.orders_message_data import OrdersMessageData


T = TypeVar("T", bound="OrdersMessage")


@_attrs_define
class OrdersMessage:
    """A message of the order streams; see openapi/streams.yaml. The first message after connecting contains the orders of
    all pairs, later ones those that changed.

    """

    event: str
    """ The kind of message. Documented are RECENT_HISTORY_ORDERS and ACTIVE_ORDERS; others are passed on. """
    data: OrdersMessageData
    """ The orders by pair. """
    event_id: int | str | Unset = UNSET
    """ The message's id, where there is one. Its form is not documented. """
    timestamp: int | Unset = UNSET
    """ When the message was made, in milliseconds since the epoch. """
    datetime_: str | Unset = UNSET
    """ When the message was made, as ISO 8601 text. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        event = self.event

        data = self.data.to_dict()

        event_id: int | str | Unset
        if isinstance(self.event_id, Unset):
            event_id = UNSET
        else:
            event_id = self.event_id

        timestamp = self.timestamp

        datetime_ = self.datetime_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "event": event,
                "data": data,
            }
        )
        if event_id is not UNSET:
            field_dict["eventID"] = event_id
        if timestamp is not UNSET:
            field_dict["timestamp"] = timestamp
        if datetime_ is not UNSET:
            field_dict["datetime"] = datetime_

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.orders_message_data import OrdersMessageData  # noqa: PLC0415

        d = dict(src_dict)
        event = d.pop("event")

        data = OrdersMessageData.from_dict(d.pop("data"))

        def _parse_event_id(data: object) -> int | str | Unset:
            if isinstance(data, Unset):
                return data
            return cast(int | str | Unset, data)

        event_id = _parse_event_id(d.pop("eventID", UNSET))

        timestamp = d.pop("timestamp", UNSET)

        datetime_ = d.pop("datetime", UNSET)

        orders_message = cls(
            event=event,
            data=data,
            event_id=event_id,
            timestamp=timestamp,
            datetime_=datetime_,
        )

        orders_message.additional_properties = d
        return orders_message

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


from ..models.orders_message_data import OrdersMessageData  # noqa: E402, F401, F811
