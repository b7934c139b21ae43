"""The JSON form of what became of a cancel: versioned, and without anything secret.

A form is an object of texts, numbers, true, false and null, for `json.dumps`. Decimals are decimal
text, moments are text in ISO 8601 with their zone, or milliseconds since the epoch. Of an order it
holds the documented fields. docs/outcomes.md lists them.
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
        kind: What it is of: the class's name.
        fields: Its fields.
    """
    return {"kind": kind, "version": VERSION, **fields}


def fields_of(kind: str, form: object) -> Mapping[str, Any]:
    """Return the fields of what `json.loads` returned.

    Raises:
        ValueError: If it is no form of this kind and version; `refusal` says so.
    """
    if not isinstance(form, Mapping) or (form.get("kind"), form.get("version")) != (kind, VERSION):
        raise ValueError(kind)
    return form


def refusal(kind: str, error: Exception) -> str:
    """Return what to say of something that is no form of this kind and version."""
    return (
        f"form must be what to_json() of a {kind} returned, of version {VERSION} "
        f"({type(error).__name__})"
    )


def order_form(order: Order | None) -> dict[str, Any] | None:
    """Return the documented fields of an order, by their names at the exchange."""
    if order is None:
        return None
    return {k: v for k, v in order.to_dict().items() if k not in order.additional_properties}


def order_of(form: Mapping[str, Any] | None) -> Order | None:
    """Return the order that a form has the fields of."""
    return None if form is None else Order.from_dict(form)


def decimal_text(value: Decimal | None) -> str | None:
    """Return a decimal as text that gives exactly it again."""
    return None if value is None else str(value)


def decimal_of(text: str | None) -> Decimal | None:
    """Return the decimal of a text."""
    return None if text is None else Decimal(text)
