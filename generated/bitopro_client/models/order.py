# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="Order")


@_attrs_define
class Order:
    """An order at one moment. Which fields it has depends on the type of the order and on the exchange's version. Unknown
    fields are kept in `additional_properties`. A field that is null or of another type is left out; if it is a required
    text, it is empty.

    """

    id: str
    """ The order's id. """
    pair: str
    """ The trading pair, {BASE}_{QUOTE}, in lower case. """
    action: str
    """ The order's side. Documented are BUY and SELL; others are passed on. """
    type_: str
    """ The order's type. Documented are LIMIT, MARKET, STOP_LIMIT, SP_OCO_STOPLIMIT and SL_OCO_STOPLIMIT; others
    are passed on. """
    status: int
    """ The order's state: -1 not triggered, 0 open, 1 open and partly filled, 2 filled, 3 partly filled and then
    cancelled, 4 cancelled, 6 cancelled as post-only. An order with -1, 0 or 1 is live; the other documented states
    are final. """
    price: str
    """ The limit price, in the quote currency, as decimal text. """
    avg_execution_price: str
    """ The mean price of what was filled, in the quote currency, as decimal text; 0 before the first fill. """
    original_amount: str
    """ The amount ordered, in the base currency, as decimal text. """
    remaining_amount: str
    """ The amount not filled, in the base currency, as decimal text. """
    executed_amount: str
    """ The amount filled, in the base currency, as decimal text. """
    fee: str | Unset = UNSET
    """ The fee paid, in feeSymbol, as decimal text. """
    fee_symbol: str | Unset = UNSET
    """ The currency of the fee. """
    bito_fee: str | Unset = UNSET
    """ The fee paid in BITO, as decimal text. """
    total: str | Unset = UNSET
    """ The value of what was filled, in the quote currency, as decimal text. """
    seq: str | Unset = UNSET
    """ The exchange's sequence number of the order. """
    stop_price: str | Unset = UNSET
    """ The price that triggers a stop-limit order, in the quote currency, as decimal text. """
    condition: str | Unset = UNSET
    """ On which side of stopPrice a stop-limit order is triggered. """
    time_in_force: str | Unset = UNSET
    """ How long the order stays. Documented are GTC and POST_ONLY. """
    created_timestamp: int | Unset = UNSET
    """ When the order was placed, in milliseconds since the epoch. A recorded answer shows seconds (not verified).
    """
    updated_timestamp: int | Unset = UNSET
    """ When the order last changed, in milliseconds since the epoch. A recorded answer shows seconds (not
    verified). """
    timestamp: int | Unset = UNSET
    """ Deprecated by the exchange; use updatedTimestamp. In milliseconds since the epoch. """
    client_id: int | Unset = UNSET
    """ The number that the client gave the order, if it gave one. On the streams the exchange calls it clientID.
    """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        pair = self.pair

        action = self.action

        type_ = self.type_

        status = self.status

        price = self.price

        avg_execution_price = self.avg_execution_price

        original_amount = self.original_amount

        remaining_amount = self.remaining_amount

        executed_amount = self.executed_amount

        fee = self.fee

        fee_symbol = self.fee_symbol

        bito_fee = self.bito_fee

        total = self.total

        seq = self.seq

        stop_price = self.stop_price

        condition = self.condition

        time_in_force = self.time_in_force

        created_timestamp = self.created_timestamp

        updated_timestamp = self.updated_timestamp

        timestamp = self.timestamp

        client_id = self.client_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "pair": pair,
                "action": action,
                "type": type_,
                "status": status,
                "price": price,
                "avgExecutionPrice": avg_execution_price,
                "originalAmount": original_amount,
                "remainingAmount": remaining_amount,
                "executedAmount": executed_amount,
            }
        )
        if fee is not UNSET:
            field_dict["fee"] = fee
        if fee_symbol is not UNSET:
            field_dict["feeSymbol"] = fee_symbol
        if bito_fee is not UNSET:
            field_dict["bitoFee"] = bito_fee
        if total is not UNSET:
            field_dict["total"] = total
        if seq is not UNSET:
            field_dict["seq"] = seq
        if stop_price is not UNSET:
            field_dict["stopPrice"] = stop_price
        if condition is not UNSET:
            field_dict["condition"] = condition
        if time_in_force is not UNSET:
            field_dict["timeInForce"] = time_in_force
        if created_timestamp is not UNSET:
            field_dict["createdTimestamp"] = created_timestamp
        if updated_timestamp is not UNSET:
            field_dict["updatedTimestamp"] = updated_timestamp
        if timestamp is not UNSET:
            field_dict["timestamp"] = timestamp
        if client_id is not UNSET:
            field_dict["clientId"] = client_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        pair = d.pop("pair")

        action = d.pop("action")

        type_ = d.pop("type")

        status = d.pop("status")

        price = d.pop("price")

        avg_execution_price = d.pop("avgExecutionPrice")

        original_amount = d.pop("originalAmount")

        remaining_amount = d.pop("remainingAmount")

        executed_amount = d.pop("executedAmount")

        fee = d.pop("fee", UNSET)

        fee_symbol = d.pop("feeSymbol", UNSET)

        bito_fee = d.pop("bitoFee", UNSET)

        total = d.pop("total", UNSET)

        seq = d.pop("seq", UNSET)

        stop_price = d.pop("stopPrice", UNSET)

        condition = d.pop("condition", UNSET)

        time_in_force = d.pop("timeInForce", UNSET)

        created_timestamp = d.pop("createdTimestamp", UNSET)

        updated_timestamp = d.pop("updatedTimestamp", UNSET)

        timestamp = d.pop("timestamp", UNSET)

        client_id = d.pop("clientId", UNSET)

        order = cls(
            id=id,
            pair=pair,
            action=action,
            type_=type_,
            status=status,
            price=price,
            avg_execution_price=avg_execution_price,
            original_amount=original_amount,
            remaining_amount=remaining_amount,
            executed_amount=executed_amount,
            fee=fee,
            fee_symbol=fee_symbol,
            bito_fee=bito_fee,
            total=total,
            seq=seq,
            stop_price=stop_price,
            condition=condition,
            time_in_force=time_in_force,
            created_timestamp=created_timestamp,
            updated_timestamp=updated_timestamp,
            timestamp=timestamp,
            client_id=client_id,
        )

        order.additional_properties = d
        return order

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
