"""The orders of the sandbox. Only the book changes them."""

import itertools
import threading
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal, TypeAlias

import attrs

from bitopro_sandbox.settings import now_ms

Action: TypeAlias = Literal["BUY", "SELL"]
OrderType: TypeAlias = Literal["LIMIT", "MARKET", "STOP_LIMIT"]
TimeInForce: TypeAlias = Literal["GTC", "POST_ONLY"]
Condition: TypeAlias = Literal[">=", "<="]
Cause: TypeAlias = Literal["place", "trigger", "fill", "cancel"]

FEE_RATE = Decimal("0.002")
"""The fee's share of what a fill yields (assumption)."""

_EIGHT_PLACES = Decimal("1e-8")


class OrderStatus(IntEnum):
    """An order's status, with the exchange's documented numbers (there is no 5)."""

    NOT_TRIGGERED = -1
    """A stop-limit order that waits for its stop price. Live."""
    OPEN = 0
    """Open, and nothing is filled yet. Live."""
    PARTLY_FILLED = 1
    """Open, and a part is filled. Live."""
    FILLED = 2
    """Filled completely. Final."""
    PARTLY_FILLED_CANCELLED = 3
    """Cancelled after a part was filled. Final."""
    CANCELLED = 4
    """Cancelled. Final."""
    POST_ONLY_CANCELLED = 6
    """Cancelled because it was post-only. Final."""

    @property
    def is_live(self) -> bool:
        """Whether the order can still be filled or cancelled; otherwise its state is final."""
        return self in (self.NOT_TRIGGERED, self.OPEN, self.PARTLY_FILLED)


class OrderNotLiveError(Exception):
    """The order is final: it can no longer be filled or cancelled."""


@attrs.frozen(kw_only=True)
class Order:
    """One order at one moment. A change puts a new object into the book.

    Attributes:
        id: The order's id: digits, with the prefix ``SL-`` for stop-limit orders (documented). It
            is unique across pairs.
        pair: The trading pair, ``{BASE}_{QUOTE}``, in upper case.
        action: ``"BUY"`` or ``"SELL"``.
        type: ``"LIMIT"``, ``"MARKET"`` or ``"STOP_LIMIT"``.
        status: The order's status.
        price: The limit price, in the quote currency; 0 for a market order.
        original_amount: The amount ordered, in the base currency.
        executed_amount: The amount filled so far, in the base currency.
        total: The value of the fills (the sum of amount times price), in the quote currency.
        fee: The fee paid, in ``fee_symbol``.
        seq: The exchange's sequence number of the order.
        created_ms: When the order was placed, in milliseconds since the epoch.
        updated_ms: When the order last changed, in milliseconds since the epoch.
        time_in_force: ``"GTC"`` or ``"POST_ONLY"``.
        stop_price: The price that triggers a stop-limit order, in the quote currency.
        condition: On which side of ``stop_price`` the order is triggered: ``">="`` or ``"<="``.
        client_id: The number that the client gave the order, if it gave one.
        strategy: Whether the order has take-profit or stop-loss settings. Not in any answer.
        locked: Whether the exchange refuses to cancel the order although it is live. Not in any
            answer.
    """

    id: str
    pair: str
    action: Action
    type: OrderType
    status: OrderStatus
    price: Decimal
    original_amount: Decimal
    executed_amount: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    seq: str
    created_ms: int
    updated_ms: int
    time_in_force: TimeInForce = "GTC"
    stop_price: Decimal | None = None
    condition: Condition | None = None
    client_id: int | None = None
    strategy: bool = False
    locked: bool = False

    @property
    def remaining_amount(self) -> Decimal:
        """The amount not filled, in the base currency."""
        return self.original_amount - self.executed_amount

    @property
    def avg_execution_price(self) -> Decimal:
        """The mean price of the fills, in the quote currency; 0 before the first fill."""
        if not self.executed_amount:
            return Decimal(0)
        return (self.total / self.executed_amount).quantize(_EIGHT_PLACES).normalize()

    @property
    def fee_symbol(self) -> str:
        """The currency of the fee, in lower case: the one that the order receives (assumption)."""
        base, quote = self.pair.lower().split("_")
        return base if self.action == "BUY" else quote

    def to_json(self) -> dict[str, Any]:
        """Return the order as the exchange sends it: decimals as text, times in milliseconds."""
        wire: dict[str, Any] = {
            "id": self.id,
            "pair": self.pair.lower(),
            "price": decimal_text(self.price),
            "avgExecutionPrice": decimal_text(self.avg_execution_price),
            "action": self.action,
            "type": self.type,
            "timestamp": self.created_ms,
            "createdTimestamp": self.created_ms,
            "updatedTimestamp": self.updated_ms,
            "status": int(self.status),
            "originalAmount": decimal_text(self.original_amount),
            "remainingAmount": decimal_text(self.remaining_amount),
            "executedAmount": decimal_text(self.executed_amount),
            "fee": decimal_text(self.fee),
            "feeSymbol": self.fee_symbol,
            "bitoFee": "0",
            "total": decimal_text(self.total),
            "seq": self.seq,
            "timeInForce": self.time_in_force,
        }
        if self.stop_price is not None:
            wire |= {"stopPrice": decimal_text(self.stop_price), "condition": self.condition}
        if self.client_id is not None:
            wire["clientId"] = self.client_id
        return wire


@attrs.frozen
class Change:
    """One change of one order.

    Attributes:
        sequence: The number of the change, counted from 1 without gaps.
        at_ms: The server's time, in milliseconds since the epoch.
        order_id: The id of the order that changed.
        old: The status before; None for a new order.
        new: The status after. It equals ``old`` for a second partial fill.
        cause: What changed the order: ``"place"``, ``"trigger"``, ``"fill"`` or ``"cancel"``.
        order: The order after the change.
    """

    sequence: int
    at_ms: int
    order_id: str
    old: OrderStatus | None
    new: OrderStatus
    cause: Cause
    order: Order


def decimal_text(value: Decimal) -> str:
    """Return a decimal as text in the exchange's form: digits, never an exponent."""
    return format(value, "f")


class Book:
    """The exchange's orders. Any thread may use it.

    Args:
        clock: Returns the server's time, in milliseconds since the epoch.
    """

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._orders: dict[str, Order] = {}
        self._changes: list[Change] = []
        self._subscribers: list[Callable[[Change], None]] = []
        self._numbers = itertools.count(3_000_000_001)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes so far, the oldest first."""
        with self._lock:
            return tuple(self._changes)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback`` with every later change, in order.

        It is called in the thread that made the change, while the book is locked. It may read the
        book, but must be quick and must not wait for another thread.

        Returns:
            A function that ends the subscription.
        """
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    def follow(
        self, callback: Callable[[Change], None]
    ) -> tuple[dict[str, Order], Callable[[], None]]:
        """Subscribe; return the orders before the first change, and what ends the subscription."""
        with self._lock:
            return self.snapshot(), self.subscribe(callback)

    def snapshot(self) -> dict[str, Order]:
        """Return a copy of all orders, by id. Later changes do not affect it."""
        with self._lock:
            return dict(self._orders)

    def get(self, order_id: str) -> Order:
        """Return one order.

        Raises:
            KeyError: If there is no such order.
        """
        with self._lock:
            return self._orders[order_id]

    def open_orders(self, pair: str | None = None, *, at_ms: int | None = None) -> list[Order]:
        """Return the live orders, the newest update first.

        Args:
            pair: Only orders of this pair, in upper or lower case.
            at_ms: The orders as they were at this time, in milliseconds since the epoch; by default
                now.
        """
        with self._lock:
            orders = self._orders if at_ms is None else self._at(at_ms)
            return [
                order
                for order in reversed(orders.values())
                if order.status.is_live and (pair is None or order.pair == pair.upper())
            ]

    def _at(self, ms: int) -> dict[str, Order]:
        orders: dict[str, Order] = {}
        for change in self._changes:
            if change.at_ms <= ms:
                orders.pop(change.order_id, None)
                orders[change.order_id] = change.order
        return orders

    def place(
        self,
        pair: str,
        action: Action,
        *,
        amount: Decimal | str,
        price: Decimal | str,
        order_id: str | None = None,
        order_type: OrderType = "LIMIT",
        status: OrderStatus | None = None,
        stop_price: Decimal | str | None = None,
        condition: Condition | None = None,
        time_in_force: TimeInForce = "GTC",
        client_id: int | None = None,
        strategy: bool = False,
        locked: bool = False,
    ) -> Order:
        """Add an order; this is also possible while the exchange serves.

        Args:
            pair: The trading pair, ``{BASE}_{QUOTE}``, in upper or lower case.
            action: ``"BUY"`` or ``"SELL"``.
            amount: The amount, in the base currency.
            price: The limit price, in the quote currency.
            order_id: The id; by default the next one that is free.
            order_type: ``"LIMIT"``, ``"MARKET"`` or ``"STOP_LIMIT"``.
            status: The status; by default open, or not triggered for a stop-limit order.
            stop_price: The price that triggers a stop-limit order, in the quote currency.
            condition: On which side of ``stop_price`` the order is triggered: ``">="`` or ``"<="``.
            time_in_force: ``"GTC"`` or ``"POST_ONLY"``.
            client_id: The number that the client gives the order.
            strategy: Whether the order has take-profit or stop-loss settings.
            locked: Whether the exchange refuses to cancel the order although it is live.

        Raises:
            ValueError: If there is an order with this id.
        """
        stop = order_type == "STOP_LIMIT"
        with self._lock:
            number = next(self._numbers)
            order_id = order_id or f"{'SL-' if stop else ''}{number}"
            if order_id in self._orders:
                raise ValueError(f"there is an order {order_id} already")
            if status is None:
                status = OrderStatus.NOT_TRIGGERED if stop else OrderStatus.OPEN
            now = self._clock()
            order = Order(
                id=order_id,
                pair=pair.upper(),
                action=action,
                type=order_type,
                status=status,
                price=Decimal(price),
                original_amount=Decimal(amount),
                seq=f"{pair.upper().replace('_', '')}{number}",
                created_ms=now,
                updated_ms=now,
                time_in_force=time_in_force,
                stop_price=None if stop_price is None else Decimal(stop_price),
                condition=condition,
                client_id=client_id,
                strategy=strategy,
                locked=locked,
            )
            return self._store(order, None, "place")

    def trigger(self, order_id: str) -> Order:
        """Trigger a stop-limit order, as when the market reaches its stop price."""
        with self._lock:
            order = self._live(order_id)
            return self._update(order, "trigger", status=OrderStatus.OPEN)

    def lock(self, order_id: str, *, locked: bool = True) -> Order:
        """Make the exchange refuse to cancel a live order, or stop refusing.

        The streams do not show this change.

        Args:
            order_id: The id of a live order.
            locked: Whether to refuse.
        """
        with self._lock:
            order = attrs.evolve(self._live(order_id), locked=locked)
            self._orders[order_id] = order
            return order

    def fill(
        self,
        order_id: str,
        amount: Decimal | str | None = None,
        price: Decimal | str | None = None,
    ) -> Order:
        """Fill an order, wholly or partly.

        Args:
            order_id: The id of a live order.
            amount: The amount, in the base currency; by default all that remains.
            price: The price, in the quote currency; by default that of the order.

        Raises:
            KeyError: If there is no such order.
            OrderNotLiveError: If the order is final.
            ValueError: If the amount is not positive, or more than what remains.
        """
        with self._lock:
            order = self._live(order_id)
            filled = order.remaining_amount if amount is None else Decimal(amount)
            if not 0 < filled <= order.remaining_amount:
                raise ValueError(f"{filled} is not between 0 and {order.remaining_amount}")
            value = filled * (order.price if price is None else Decimal(price))
            whole = filled == order.remaining_amount
            return self._update(
                order,
                "fill",
                status=OrderStatus.FILLED if whole else OrderStatus.PARTLY_FILLED,
                executed_amount=order.executed_amount + filled,
                total=order.total + value,
                fee=order.fee + FEE_RATE * (filled if order.action == "BUY" else value),
            )

    def cancel(self, order_id: str, *, cancel_strategy: bool = True) -> Order:
        """Cancel an order; what was filled before stays filled.

        Args:
            order_id: The id of a live order.
            cancel_strategy: Whether the take-profit and stop-loss settings of the order are
                deleted, too.

        Raises:
            KeyError: If there is no such order.
            OrderNotLiveError: If the order is final.
        """
        with self._lock:
            order = self._live(order_id)
            return self._update(
                order,
                "cancel",
                status=OrderStatus.PARTLY_FILLED_CANCELLED
                if order.executed_amount
                else OrderStatus.CANCELLED,
                strategy=order.strategy and not cancel_strategy,
            )

    def _live(self, order_id: str) -> Order:
        order = self._orders[order_id]
        if not order.status.is_live:
            raise OrderNotLiveError(f"order {order_id} is final: {order.status.name}")
        return order

    def _update(self, order: Order, cause: Cause, **changes: Any) -> Order:  # noqa: ANN401 - attrs'
        new = attrs.evolve(order, updated_ms=self._clock(), **changes)
        return self._store(new, order.status, cause)

    def _store(self, order: Order, old: OrderStatus | None, cause: Cause) -> Order:
        self._orders.pop(order.id, None)  # so that the newest update comes last
        self._orders[order.id] = order
        change = Change(
            len(self._changes) + 1, order.updated_ms, order.id, old, order.status, cause, order
        )
        self._changes.append(change)
        for subscriber in tuple(self._subscribers):
            subscriber(change)
        return order


def demo_book(clock: Callable[[], int] = now_ms) -> Book:
    """Return a book with one order in each state that matters for a cancel."""
    book = Book(clock)
    book.place(
        "BTC_TWD", "BUY", amount="0.05", price="2800000", order_id="2959906694", strategy=True
    )
    book.place("BTC_TWD", "SELL", amount="0.01", price="3100000", order_id="2959906695")
    book.place("BITO_ETH", "BUY", amount="2.3", price="1.2", order_id="12234566")
    book.place("ETH_TWD", "SELL", amount="1.5", price="110000", order_id="2959906696")
    book.fill("2959906696", "0.6")
    book.place(
        "BTC_USDT",
        "SELL",
        amount="0.02",
        price="88000",
        order_id="SL-9014867155",
        order_type="STOP_LIMIT",
        stop_price="88500",
        condition="<=",
    )
    book.place("BTC_USDT", "BUY", amount="0.03", price="91000.5", order_id="2959906697")
    book.fill("2959906697")
    return book
