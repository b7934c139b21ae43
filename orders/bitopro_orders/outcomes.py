"""What became of a cancel, with the evidence.

An answer of 200 says that the exchange accepted the cancel, a lost answer says nothing, and a
refusal may hide that an earlier request worked. The order itself tells: here a cancel is followed
by reading until the order is final.
"""

import contextlib
from collections.abc import Generator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field, frozen

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.models import Order
from bitopro_client.types import UNSET, Unset

from .connection import OrdersClient
from .errors import (
    AuthenticationError,
    BitoProError,
    ClockMismatchError,
    InvalidArgumentError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RejectedError,
)
from .policy import require_seconds
from .signals import is_cancellation
from .states import FINAL, LIVE, decimal_of, status_of, time_of
from .steps import Step, Wait
from .transport import Tally

if TYPE_CHECKING:
    import asyncio

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
#: How long an accepted cancel may take before it is repeated.
PATIENCE_SECONDS = 1.0
#: How often a cancel is refused, with the order read as live, before it is taken at its word.
REFUSALS = 3
#: No other request of this key will do better.
FORBIDDEN = (AuthenticationError, PermissionDeniedError)
INTERRUPTED = "the task was cancelled after the request had left"


class State(StrEnum):
    """What an order is after a cancel."""

    CANCELLED = "cancelled"
    PARTLY_FILLED = "partly filled, rest cancelled"
    FILLED = "filled before the cancel arrived"
    OPEN = "still open"
    NOT_FOUND = "not found"


@frozen(kw_only=True)
class CancelOutcome:
    """What became of a cancel.

    Attributes:
        state: What the order is. `OPEN` is told only if every cancel was refused, `NOT_FOUND` only
            if both the cancel and the reading said so; neither is ever inferred.
        pair: The order's pair, as it was asked for.
        order_id: The order's id.
        executed: How much was filled, in the base currency; None if the exchange does not say.
        remaining: How much was not filled, in the base currency; None if it does not say.
        average_price: The mean price of what was filled, in the quote currency, 0 if nothing was;
            None if it does not say.
        at: When the order last changed, in UTC; None if the exchange does not say.
        attempts: How many requests to cancel left this machine.
        evidence: The order as it was read, or as the stream told it; None for `NOT_FOUND`.
        seen_by: "reading" or "stream".
    """

    state: State
    pair: str
    order_id: str
    executed: Decimal | None
    remaining: Decimal | None
    average_price: Decimal | None
    at: datetime | None
    attempts: int
    evidence: Order | None
    seen_by: str


class History(Protocol):
    """What tells of orders that became final: `order_history()`."""

    async def final(self, pair: str, order_id: str) -> Order:
        """Return the order as soon as it is known to be final."""


def cancel_and_confirm(
    client: OrdersClient,
    pair: str,
    order_id: str,
    *,
    timeout: float = 30.0,
    is_all_strategy_canceled: bool | Unset = UNSET,
) -> CancelOutcome:
    """Cancel an order and find out what became of it.

    The cancel is repeated only if the order was read as live.

    Args:
        client: From `connect()`.
        pair: The trading pair, such as BTC_TWD.
        order_id: The order's id.
        timeout: How long it may take, in seconds.
        is_all_strategy_canceled: See `cancel_order`.

    Raises:
        NotSentError: Nothing left this machine.
        RejectedError: The key may not do this (401, 403).
        OutcomeUnknownError: The timeout passed before the order was final; `last_seen` is the
            order as it was last read, and the last refusal, if any, is the cause. Give it to
            `resolve()` later.
    """
    tally = Tally()
    steps = _confirmation(client, pair, order_id, timeout, is_all_strategy_canceled, tally)
    return client.run(steps)


async def cancel_and_confirm_async(
    client: OrdersClient,
    pair: str,
    order_id: str,
    *,
    timeout: float = 30.0,  # noqa: ASYNC109 - the sync twin's, and it ends in an outcome
    is_all_strategy_canceled: bool | Unset = UNSET,
    history: History | None = None,
) -> CancelOutcome:
    """Cancel an order and find out what became of it; see `cancel_and_confirm`.

    Args:
        client: From `connect()`.
        pair: The trading pair, such as BTC_TWD.
        order_id: The order's id.
        timeout: How long it may take, in seconds.
        is_all_strategy_canceled: See `cancel_order`.
        history: An open `order_history()`: what it tells counts like a reading, and whichever
            comes first.

    Raises:
        NotSentError: See `cancel_and_confirm`.
        RejectedError: See `cancel_and_confirm`.
        OutcomeUnknownError: See `cancel_and_confirm`; also in place of CancelledError, if the task
            is cancelled after a request left that may have worked.
    """
    tally, told = Tally(), _Told()
    steps = _confirmation(client, pair, order_id, timeout, is_all_strategy_canceled, tally, told)
    if history is None:
        return await client.run_async(steps)
    import asyncio

    reading = asyncio.ensure_future(client.run_async(steps))
    telling = asyncio.ensure_future(history.final(pair, order_id))
    telling.add_done_callback(_seen)
    try:
        await asyncio.wait({reading, telling}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done() and not telling.cancelled() and telling.exception() is None:
            told.outcome = outcome_of(telling.result(), pair, order_id, tally, seen_by="stream")
        if told.outcome is None:
            await asyncio.wait({reading})
    except asyncio.CancelledError:
        # If a request is out, the caller must learn that, also if it is cancelled again.
        reading.cancel()
        while not reading.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({reading})
        if reading.cancelled():
            raise
    finally:
        telling.cancel()
        client.leave_alone(telling)
    if told.outcome is None:
        return reading.result()
    # The order is final. What has left is let in: given up, it would cost its connection.
    if not (tally.is_under_way or told.reading.is_under_way):
        reading.cancel()
    reading.add_done_callback(_seen)
    client.leave_alone(reading)
    return told.outcome


@define
class _Told:
    """What the stream has told, for who reads beside it.

    Attributes:
        outcome: It.
        reading: The requests that read.
    """

    outcome: CancelOutcome | None = None
    reading: Tally = field(factory=Tally)


def _seen(future: "asyncio.Future[Any]") -> None:
    """Take note of a failure that nobody asks for."""
    if not future.cancelled():
        future.exception()


def resolve(
    client: OrdersClient, error: OutcomeUnknownError, *, timeout: float = 30.0
) -> CancelOutcome:
    """Find out what became of a cancel whose outcome was unknown, also in another process.

    Nothing is cancelled: the order is read until it is final.

    Args:
        client: From `connect()`, for the same account.
        error: What was caught.
        timeout: How long it may take, in seconds.

    Raises:
        InvalidArgumentError: If the error is not about an order.
        RejectedError: If the order may not be read.
        OutcomeUnknownError: If the order is not final by then; `last_seen` is the order as it was
            last read. The lost request may still arrive.
    """
    return client.run(_resolution(client, error, timeout))


async def resolve_async(
    client: OrdersClient,
    error: OutcomeUnknownError,
    *,
    timeout: float = 30.0,  # noqa: ASYNC109 - as in `cancel_and_confirm_async`
) -> CancelOutcome:
    """Find out what became of a cancel whose outcome was unknown; see `resolve`."""
    return await client.run_async(_resolution(client, error, timeout))


def outcome_of(
    order: Order, pair: str, order_id: str, tally: Tally, *, seen_by: str
) -> CancelOutcome | None:
    """Return the outcome that an order in a final state proves; None if it is not final.

    Args:
        order: The order as it was read or told.
        pair: The pair as it was asked for.
        order_id: The id that was asked for.
        tally: How many requests to cancel left.
        seen_by: What told it.
    """
    status = status_of(order)
    if status not in FINAL:
        return None
    executed = decimal_of(order.executed_amount)
    if status == 2:
        state = State.FILLED
    elif status == 3 or executed:
        state = State.PARTLY_FILLED
    else:
        state = State.CANCELLED
    return _outcome(state, order, pair, order_id, tally, seen_by)


def _outcome(
    state: State, order: Order | None, pair: str, order_id: str, tally: Tally, seen_by: str
) -> CancelOutcome:
    return CancelOutcome(
        state=state,
        pair=pair,
        order_id=order_id,
        executed=None if order is None else decimal_of(order.executed_amount),
        remaining=None if order is None else decimal_of(order.remaining_amount),
        average_price=None if order is None else decimal_of(order.avg_execution_price),
        at=None if order is None else time_of(order),
        attempts=tally.sent,
        evidence=order,
        seen_by=seen_by,
    )


class _Reading:
    """Reads one order again and again, slower and slower, until a moment."""

    def __init__(
        self,
        client: OrdersClient,
        pair: str,
        order_id: str,
        timeout: float,
        tally: Tally | None = None,
    ) -> None:
        require_seconds("timeout", timeout)
        self._client, self._pair, self._order_id = client, pair, order_id
        self._deadline = client.timing.monotonic() + timeout
        self._pause, self._tally = FIRST_PAUSE_SECONDS, tally
        self.last_seen: Order | None = None

    def seconds_left(self) -> float:
        return self._deadline - self._client.timing.monotonic()

    def read(self) -> Generator[Step, Any, Order | BitoProError]:
        """Read once; return the order, or why it could not be read."""
        call = get_order.call(self._pair, self._order_id)
        try:
            order = (
                yield from self._client.steps(call, seconds=self.seconds_left(), tally=self._tally)
            ).parsed
        except InvalidArgumentError:
            raise
        except BitoProError as error:
            return error
        self.last_seen = order
        return order

    def pause(self) -> Generator[Step, Any, bool]:
        """Wait before the next reading; return False if there is no time left for one."""
        timing = self._client.timing
        seconds = self._pause * (0.5 + timing.random() / 2)
        self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 1.5)
        if self.seconds_left() <= seconds:
            return False
        yield Wait(seconds)
        return True

    def unknown(
        self, tally: Tally, sent_ms: int, why: str = "the order was not final in time"
    ) -> OutcomeUnknownError:
        seen = self.last_seen
        what = "it could not be read" if seen is None else f"its status was {seen.status}"
        error = OutcomeUnknownError(f"{why}; when last read, {what}")
        error.operation = cancel_order.OPERATION.name
        error.arguments = {"pair": self._pair, "orderId": self._order_id}
        error.attempts, error.sent_ms, error.last_seen = tally.sent, sent_ms, seen
        return error


def _confirmation(
    client: OrdersClient,
    pair: str,
    order_id: str,
    timeout: float,
    is_all_strategy_canceled: bool | Unset,
    tally: Tally,
    told: _Told | None = None,
) -> Generator[Step, Any, CancelOutcome]:
    reading = _Reading(client, pair, order_id, timeout, told.reading if told else None)
    call = cancel_order.call(pair, order_id, is_all_strategy_canceled=is_all_strategy_canceled)
    now = client.timing.monotonic
    may_have_worked = accepted = False
    refusals = 0
    refusal: RejectedError | None = None
    repeat_from = now()
    sent_ms = 0
    order: Order | BitoProError | None = None
    why = "the order was not final in time"
    try:
        while True:
            live = isinstance(order, Order) and status_of(order) in LIVE
            if order is None or (live and now() >= repeat_from):
                sent_ms = client.timing.now_ms()
                try:
                    # The other half is for reading: silence must not take all the time.
                    yield from client.steps(
                        call, seconds=reading.seconds_left(), tally=tally, answer_share=0.5
                    )
                    may_have_worked = accepted = True
                    repeat_from = now() + PATIENCE_SECONDS
                except OutcomeUnknownError as error:
                    may_have_worked = True
                    if is_cancellation(error.__cause__):
                        why = INTERRUPTED
                        break
                except NotSentError:
                    if not may_have_worked and refusal is None:
                        raise
                except RejectedError as error:
                    if not may_have_worked and isinstance(error, FORBIDDEN):
                        raise
                    # A limit or a clock says nothing of the order.
                    refusals += not isinstance(error, RateLimitedError | ClockMismatchError)
                    refusal = error
            if told is not None and told.outcome is not None:
                return told.outcome
            order = yield from reading.read()
            if told is not None and told.outcome is not None:
                return told.outcome
            if isinstance(order, Order):
                found = outcome_of(order, pair, order_id, tally, seen_by="reading")
                if found is not None:
                    return found
                if not may_have_worked and refusals >= REFUSALS and status_of(order) in LIVE:
                    return _outcome(State.OPEN, order, pair, order_id, tally, "reading")
            elif isinstance(order, NotFoundError):
                if not may_have_worked and isinstance(refusal, NotFoundError):
                    return _outcome(State.NOT_FOUND, None, pair, order_id, tally, "reading")
            elif isinstance(order, FORBIDDEN) and not may_have_worked:
                raise order  # noqa: TRY301 - the `except` is for interruptions
            if not (yield from reading.pause()):
                break
    except BaseException as error:
        if not may_have_worked or not is_cancellation(error):
            raise
        why = INTERRUPTED
    if isinstance(order, Order) and status_of(order) in LIVE and not may_have_worked and refusal:
        return _outcome(State.OPEN, order, pair, order_id, tally, "reading")
    unknown = reading.unknown(tally, sent_ms, why)
    unknown.accepted = accepted
    raise unknown from refusal


def _resolution(
    client: OrdersClient, error: OutcomeUnknownError, timeout: float
) -> Generator[Step, Any, CancelOutcome]:
    pair, order_id = error.arguments.get("pair"), error.arguments.get("orderId")
    if pair is None or order_id is None:
        raise InvalidArgumentError("error must be about an order: it names no pair and orderId")
    reading, tally = _Reading(client, pair, order_id, timeout), Tally(error.attempts)
    while True:
        order = yield from reading.read()
        if isinstance(order, Order):
            if (found := outcome_of(order, pair, order_id, tally, seen_by="reading")) is not None:
                return found
        elif isinstance(order, FORBIDDEN):
            raise order
        if not (yield from reading.pause()):
            raise reading.unknown(tally, error.sent_ms)
