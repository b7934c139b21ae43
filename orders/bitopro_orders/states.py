"""Reads the fields of an order: its key, status, amounts and times."""

import sys
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation

from bitopro_client.models import Order

#: Documented: these and no others are final. Of other numbers nothing is known.
LIVE = frozenset({-1, 0, 1})
FILLED = 2
PARTLY_FILLED = 3
FINAL = frozenset({FILLED, PARTLY_FILLED, 4, 6})
#: Milliseconds since the epoch are above this since 1973; a recorded answer shows seconds.
LEAST_MILLISECONDS = 10**11
#: How far what the exchange tells of an order may lag behind its book, in seconds. It is documented
#: nowhere: some five times what replicas and caches before a book usually take, and twice of it
#: fits into the default timeout three times. What is told by it is worth as much as it is.
LAG_SECONDS = 5.0
#: A difference of amounts is exact, or there is none.
EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])


Key = tuple[str, str]


def key_of(pair: str, order_id: str) -> Key:
    """Return the key of an order. The exchange writes pairs in upper and in lower case."""
    # Interned, as thousands of orders may wait, each by its key in several places.
    return sys.intern(pair.lower()), order_id


def status_of(order: Order) -> int | None:
    """Return the order's status; None if it is not one of the documented ones."""
    status: object = order.status
    known = isinstance(status, int) and not isinstance(status, bool)
    return int(order.status) if known and order.status in LIVE | FINAL else None


def decimal_of(text: object) -> Decimal | None:
    """Return decimal text as a number; None if it is not one."""
    if not isinstance(text, str | int) or isinstance(text, bool):
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def executed_of(order: Order) -> Decimal | None:
    """Return the filled amount, in the base currency; None if the order does not say.

    If the executed amount cannot be read, it is the original amount minus the remaining one. For a
    cancelled order, a remaining amount of 0 proves nothing: whether a cancel sets it to 0 is not
    documented.
    """
    executed = decimal_of(order.executed_amount)
    if executed is not None:
        return executed if executed >= 0 else None
    original, remaining = decimal_of(order.original_amount), decimal_of(order.remaining_amount)
    if original is None or remaining is None or not 0 <= remaining <= original:
        return None
    if not remaining and status_of(order) != FILLED:
        return None
    try:
        return EXACT.subtract(original, remaining)
    except (Inexact, InvalidOperation):
        return None


def time_of(order: Order) -> datetime | None:
    """Return when the order last changed.

    The size of the number tells milliseconds from seconds.
    """
    stamp: object = order.updated_timestamp
    if not isinstance(stamp, int) or isinstance(stamp, bool) or stamp <= 0:
        return None
    try:
        seconds = stamp / 1000 if stamp >= LEAST_MILLISECONDS else stamp
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
