"""What an order's fields say: its status, its amounts, its times."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from bitopro_client.models import Order

#: Documented: these and no others are final. Of other numbers nothing is known.
LIVE = frozenset({-1, 0, 1})
FINAL = frozenset({2, 3, 4, 6})
#: Milliseconds since the epoch are above this since 1973; a recorded answer shows seconds.
LEAST_MILLISECONDS = 10**11


def status_of(order: Order) -> int | None:
    """Return the order's status; None if it is none of the documented ones."""
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


def time_of(order: Order) -> datetime | None:
    """Return when the order last changed; milliseconds and seconds are told apart by their size."""
    stamp: object = order.updated_timestamp
    if not isinstance(stamp, int) or isinstance(stamp, bool) or stamp <= 0:
        return None
    try:
        seconds = stamp / 1000 if stamp >= LEAST_MILLISECONDS else stamp
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
