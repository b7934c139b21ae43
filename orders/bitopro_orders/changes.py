"""Parses messages of the order streams, and finds the changes in them, without IO."""

import json
from collections import OrderedDict
from decimal import Decimal
from typing import Any, NamedTuple

from attrs import fields

from bitopro_client.models import Order
from bitopro_client.types import UNSET, fitted

from .states import FINAL, LEAST_MILLISECONDS, LIVE, Key, decimal_of, key_of

_ORDER = fields(Order)
_TEXTS = (
    *(_ORDER.id, _ORDER.pair, _ORDER.action, _ORDER.type_),
    *(_ORDER.price, _ORDER.avg_execution_price),
    *(_ORDER.original_amount, _ORDER.remaining_amount, _ORDER.executed_amount),
)
_TIMES = (_ORDER.updated_timestamp, _ORDER.timestamp)
#: What the streams call the client's number, and nobody else.
_CLIENT_ID = "clientID"


class Message(NamedTuple):
    """The orders of a message, and why others could not be read (without their content)."""

    event_id: int | str | None
    orders: list[Order]
    faults: list[str]


def read_message(content: str | bytes) -> Message:
    """Return the content of a message; decimal text and numbers never become a float."""
    message = Message(None, [], [])
    if isinstance(content, bytes):
        message.faults.append("it is binary")
        return message
    try:
        body = json.loads(content, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        message.faults.append("it is not JSON")
        return message
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        message.faults.append("it has no data")
        return message
    for entries in data.values():
        for entry in entries if isinstance(entries, list) else [None]:
            try:
                message.orders.append(_order_of(entry))
            except ValueError as error:
                message.faults.append(str(error))
    event_id = body.get("eventID")
    return message._replace(event_id=event_id if isinstance(event_id, int | str) else None)


def _order_of(entry: object) -> Order:
    if not isinstance(entry, dict):
        raise ValueError("an order is not an object")  # noqa: TRY004 - a message, not a call
    try:
        order = Order.from_dict({name: each for name, each in entry.items() if each is not None})
    except LookupError as missing:
        raise ValueError(f"an order has no {missing.args[0]}") from None
    if _CLIENT_ID in order.additional_properties:
        order.client_id = order.additional_properties.pop(_CLIENT_ID)
    for text in _TEXTS:
        value = getattr(order, text.name)
        # A whole number is as exact as text, so an id or an amount may be one.
        if value == "" or type(value) not in (str, int):
            raise ValueError(f"an order's {text.name} is not text")
    for number in (_ORDER.status, *_TIMES):
        value = getattr(order, number.name)
        if type(value) is not int and (number is _ORDER.status or value is not UNSET):
            raise ValueError(f"an order's {number.name} is not a whole number")
    order = fitted(order)
    _state_of(order)
    return order


class _Time(NamedTuple):
    """An update time: where one of two was given in seconds, only their seconds are compared."""

    ms: int
    exact: bool

    def later_than(self, other: "_Time") -> int:
        """Return 1, 0 or -1."""
        unit = 1 if self.exact and other.exact else 1000
        return (self.ms // unit > other.ms // unit) - (self.ms // unit < other.ms // unit)


class _State(NamedTuple):
    """What is compared of an order.

    `figures` are all that were seen at this stage of it, `told` all with their times, ever.
    """

    executed: Decimal
    final: bool
    time: _Time | None
    rank: int
    figures: frozenset[tuple[object, ...]]
    told: frozenset[tuple[object, ...]]


def _state_of(order: Order) -> _State:
    texts = (order.price, order.avg_execution_price, order.original_amount, order.remaining_amount)
    executed, *found = (decimal_of(text) for text in (order.executed_amount, *texts))
    others = [amount for amount in found if amount is not None]
    if executed is None or len(others) < len(texts):
        raise ValueError("an order's amount is not a finite decimal number")
    value = order.updated_timestamp or order.timestamp
    time = None
    if value:
        time = (
            _Time(value, exact=True)
            if value >= LEAST_MILLISECONDS
            else _Time(value * 1000, exact=False)
        )
    final = order.status in FINAL
    rank = {-1: 0, 0: 1}.get(order.status, 3 if final else 2)
    figures = (order.status, *others)
    told = frozenset({(*figures, executed, value or None)})
    return _State(executed, final, time, rank, frozenset({figures}), told)


def _merged(last: _State, new: _State) -> tuple[_State, bool]:
    """Return what to remember after `new`, and whether it is a change.

    What cannot be undone (what was filled, that the order is final) says more than the update
    time, which comes in two units.
    """
    if new.executed < last.executed or new.final < last.final:
        return last, False
    progress = new.executed > last.executed or new.final > last.final
    later = new.time.later_than(last.time) if new.time and last.time else 0
    later = later or (new.rank > last.rank) - (new.rank < last.rank)
    # Times may be missing, or come in two units: what was told before is a repeat all the same.
    if (later < 0 or new.told <= last.told) and not progress:
        return last, False
    time = max(filter(None, (last.time, new.time)), default=None)
    figures = new.figures if progress or later else new.figures | last.figures
    changed = progress or later > 0 or figures != last.figures
    return new._replace(time=time, figures=figures, told=last.told | new.told), changed


class OrderChanges:
    """Tells changes of orders from repeats and from late messages.

    An order counts as changed if it is new. It also counts as changed if, compared with what was
    seen of it, more was filled, it became final, its update time is later, or its other fields are
    new for the same update time. The filled amount never becomes smaller, and a final order never
    becomes live again.

    Args:
        most: How many orders, and how many messages, are remembered: the latest ones.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._orders: OrderedDict[Key, tuple[_State, Order]] = OrderedDict()
        self._messages: OrderedDict[tuple[int | str, int], None] = OrderedDict()

    def is_repeat(self, event_id: int | str | None, content: str | bytes) -> bool:
        """Say whether this message was seen before, and remember it.

        The id alone is not enough: whether the exchange uses an id again is not documented.
        """
        if event_id is None:
            return False
        key = (event_id, hash(content))
        repeat = key in self._messages
        self._remember(self._messages, key, None)
        return repeat

    def accept(self, order: Order) -> bool:
        """Say whether the order is new or changed, and remember it.

        Raises:
            ValueError: If an amount is not a finite decimal number.
        """
        key, state, changed = key_of(order.pair, order.id), _state_of(order), True
        if key in self._orders:
            last, known = self._orders[key]
            state, changed = _merged(last, state)
            order = order if changed else known
        self._remember(self._orders, key, (state, order))
        return changed

    def latest(self, key: Key) -> Order | None:
        """Return the order as it was last seen; None if it was not seen."""
        return self._orders[key][1] if key in self._orders else None

    def final(self, key: Key) -> Order | None:
        """Return the order if it was seen in a final state, else None."""
        order = self.latest(key)
        return order if order is not None and order.status in FINAL else None

    def live(self) -> set[Key]:
        """Return the orders that were live when last seen."""
        return {key for key, (_, order) in self._orders.items() if order.status in LIVE}

    def _remember(self, memory: OrderedDict[Any, Any], key: object, value: object) -> None:
        memory[key] = value
        memory.move_to_end(key)
        if len(memory) > self._most:
            memory.popitem(last=False)
