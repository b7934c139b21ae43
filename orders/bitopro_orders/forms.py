"""The JSON form of outcomes and errors. It has a version, and holds no secrets.

A form is an object for `json.dumps`: texts, numbers, true, false and null. Decimals are decimal
text. Times are text in ISO 8601 with a timezone, or milliseconds since the epoch. An order has its
documented fields. docs/outcomes.md lists all fields.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bitopro_client.models import Order

#: A form of another version is refused: what it means is not known here.
VERSION = 1
#: What reading a field that is missing or wrong raises.
WRONG = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)


def write(kind: str, fields: Mapping[str, object]) -> dict[str, Any]:
    """Return a form.

    Args:
        kind: The name of the class that it is a form of.
        fields: Its fields.
    """
    return {"kind": kind, "version": VERSION, **fields}


def fields_of(kind: str, form: object) -> Mapping[str, Any]:
    """Return the fields of a form, as `json.loads` returned it.

    Raises:
        ValueError: If it is not a form of this kind and version; `refusal` describes it.
    """
    if not isinstance(form, Mapping) or (form.get("kind"), form.get("version")) != (kind, VERSION):
        raise ValueError(kind)
    return form


def refusal(kind: str, error: Exception) -> str:
    """Return a description of something that is not a form of this kind and version."""
    return (
        f"form must be what to_json() of a {kind} returned, of version {VERSION} "
        f"({type(error).__name__})"
    )


def order_form(order: Order | None) -> dict[str, Any] | None:
    """Return the documented fields of an order, under the exchange's names."""
    if order is None:
        return None
    return {k: v for k, v in order.to_dict().items() if k not in order.additional_properties}


def order_of(form: Mapping[str, Any] | None) -> Order | None:
    """Return the order of a form."""
    return None if form is None else Order.from_dict(form)


def decimal_text(value: Decimal | None) -> str | None:
    """Return a decimal as text, without losing any digit."""
    return None if value is None else str(value)


def decimal_of(text: str | None) -> Decimal | None:
    """Return the decimal of a text."""
    return None if text is None else Decimal(text)
