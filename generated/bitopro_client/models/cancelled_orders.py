# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.cancelled_ids_by_pair import CancelledIdsByPair


T = TypeVar("T", bound="CancelledOrders")


@_attrs_define
class CancelledOrders:
    """The cancels of several orders that the exchange accepted."""

    data: CancelledIdsByPair
    """ The ids of the orders, as a list for each pair. Whether every accepted cancel is named is not documented.
    """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        data = self.data.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "data": data,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.cancelled_ids_by_pair import CancelledIdsByPair  # noqa: PLC0415

        d = dict(src_dict)
        data = CancelledIdsByPair.from_dict(d.pop("data"))

        cancelled_orders = cls(
            data=data,
        )

        cancelled_orders.additional_properties = d
        return cancelled_orders

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


from ..models.cancelled_ids_by_pair import CancelledIdsByPair  # noqa: E402, F401, F811
