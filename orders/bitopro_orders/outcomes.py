"""What became of a cancel, with the evidence.

An answer of 200 says only that the exchange accepted the cancel, a lost answer says nothing, and
after a refusal an earlier request may still have worked. So, after a cancel, the order itself is
read until it is final.
"""

import contextlib
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from attrs import define, field, frozen

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import Order
from bitopro_client.types import UNSET, Unset

from . import forms
from .connection import OrdersClient
from .errors import (
    BitoProError,
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    order_named_by,
)
from .policy import require_seconds
from .reading import Reading, about_cancel
from .refusals import Refusals, is_about_key, names_no_order, names_no_path
from .signals import is_cancellation
from .states import (
    FILLED,
    FINAL,
    LAG_SECONDS,
    LIVE,
    PARTLY_FILLED,
    decimal_of,
    executed_of,
    status_of,
    time_of,
)
from .steps import Step
from .transport import Tally

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

#: How long an accepted cancel may take before it is repeated.
PATIENCE_SECONDS = 1.0
#: How long a request whose answer was lost may still be under way, unless `resolve` is told
#: otherwise. Linux gives up sending it again after 924.6 seconds (`tcp_retries2`, its default, in
#: https://docs.kernel.org/networking/ip-sysctl.html), gateways give up waiting after some hundred;
#: what an exchange keeps in its own queues for longer is nowhere documented.
UNDER_WAY_SECONDS = 1000.0
#: How often an order is read as live before it is told as open after all.
LIVE_READINGS = 2
INTERRUPTED = "the task was cancelled after the request had left"


class State(StrEnum):
    """The state of an order after a cancel."""

    CANCELLED = "cancelled"
    """Cancelled, and nothing was filled."""
    PARTLY_FILLED = "partly filled, rest cancelled"
    """A part was filled, and the rest is cancelled."""
    FILLED = "filled before the cancel arrived"
    """Filled completely; nothing is left to cancel."""
    OPEN = "still open"
    """Still open: the exchange refused the cancel, or a lost cancel can no longer arrive."""
    NOT_FOUND = "not found"
    """The exchange does not know the order."""


@frozen(kw_only=True)
class CancelOutcome:
    """What became of a cancel.

    Attributes:
        state: The state of the order. `OPEN` and `NOT_FOUND` are returned only if the exchange
            confirmed them at least 5 seconds later; see docs/outcomes.md.
        pair: The order's pair, as it was asked for.
        order_id: The order's id.
        executed: The filled amount, in the base currency; None if the exchange does not say.
        remaining: The amount that was not filled, in the base currency; None if not known.
        average_price: The mean price of the fills, in the quote currency; 0 if nothing was filled;
            None if not known.
        at: When the order last changed, in UTC; None if the exchange does not say.
        attempts: How many cancel requests were sent.
        evidence: The order as it was read, or as the stream sent it; None for `NOT_FOUND`.
        seen_by: Where the evidence comes from: "reading" or "stream".
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

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as an object for `json.dumps`; `from_json` reads it."""
        return forms.write(
            "CancelOutcome",
            {
                "state": self.state.name,
                "pair": self.pair,
                "order_id": self.order_id,
                "executed": forms.decimal_text(self.executed),
                "remaining": forms.decimal_text(self.remaining),
                "average_price": forms.decimal_text(self.average_price),
                "at": None if self.at is None else self.at.isoformat(),
                "attempts": self.attempts,
                "evidence": forms.order_form(self.evidence),
                "seen_by": self.seen_by,
            },
        )

    @classmethod
    def from_json(cls, form: object) -> Self:
        """Return the outcome from what `to_json` returned, also in another version of this package.

        Raises:
            InvalidArgumentError: If `form` is not such an object, or its `version` is not known.
        """
        try:
            fields = forms.fields_of("CancelOutcome", form)
            at = fields["at"]
            return cls(
                state=State[fields["state"]],
                pair=str(fields["pair"]),
                order_id=str(fields["order_id"]),
                executed=forms.decimal_of(fields["executed"]),
                remaining=forms.decimal_of(fields["remaining"]),
                average_price=forms.decimal_of(fields["average_price"]),
                at=None if at is None else datetime.fromisoformat(at).astimezone(UTC),
                attempts=int(fields["attempts"]),
                evidence=forms.order_of(fields["evidence"]),
                seen_by=str(fields["seen_by"]),
            )
        except forms.WRONG as error:
            raise InvalidArgumentError(forms.refusal("CancelOutcome", error)) from None


@frozen
class Begun:
    """A cancel that has been sent before, and may have worked.

    Attributes:
        accepted: Whether the exchange has accepted it.
        sent_ms: When it left at the latest, in milliseconds since the epoch.
    """

    accepted: bool
    sent_ms: int


class UnreadError(BaseException):
    """A cancel was sent, and others are to be read first: no failure, and nobody's to handle.

    Attributes:
        begun: The cancel.
        seconds_left: How much time the order has left.
    """

    def __init__(self, begun: Begun, seconds_left: float) -> None:
        super().__init__()
        self.begun: Begun = begun
        self.seconds_left: float = seconds_left


class Escort(Protocol):
    """Who has many orders cancelled at once, and goes with one of them."""

    @property
    def puts_off(self) -> bool:
        """Whether an order that was sent is put off, as it cannot be read at once."""

    @property
    def is_held(self) -> bool:
        """Whether no request to cancel may leave any more."""

    def before(self, seconds: float) -> Generator[Step, Any, None]:
        """Do what must be done before a request to cancel, which leaves within so long.

        Raises:
            NotSentError: If none may leave any more.
        """

    def guard(self, steps: Generator[Step, Any, T]) -> Generator[Step, Any, T]:
        """Return the steps of a request to cancel, which is given up if it may not leave."""

    def after(self, error: BaseException | None, sent_ms: int) -> None:
        """Take note of what it came to, and of when it left at the latest; it never waits."""

    def turn(self) -> Generator[Step, Any, None]:
        """Wait until the order may be read."""


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

    The cancel is repeated only after a read has shown that the order is still live.

    Args:
        client: From `connect()`.
        pair: The trading pair, such as BTC_TWD.
        order_id: The order's id.
        timeout: How long it may take, in seconds. The proof that an order is still open takes 10
            seconds, and the proof that it is not found takes 5 seconds.
        is_all_strategy_canceled: See `cancel_order`.

    Raises:
        NotSentError: If nothing was sent.
        RejectedError: If the key must not do this (401, 403), or the account's e-mail is wrong.
        OutcomeUnknownError: If the timeout passed before the order was final; `last_seen` is the
            order as it was last read, and `__cause__` is the last refusal, if any. Pass the error
            to `resolve()` later.
    """
    check_client(client)
    tally = Tally()
    steps = confirmation(client, pair, order_id, timeout, is_all_strategy_canceled, tally=tally)
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
        history: An open `order_history()`. An order from the stream counts like a read, and
            whichever comes first is used.

    Raises:
        NotSentError: See `cancel_and_confirm`.
        RejectedError: See `cancel_and_confirm`.
        OutcomeUnknownError: See `cancel_and_confirm`; also instead of CancelledError, if the task
            is cancelled after a request was sent that may have worked.
    """
    check_client(client, history)
    steps = partial(confirmation, client, pair, order_id, timeout, is_all_strategy_canceled)
    return await confirmed(client, pair, order_id, steps, Tally(), history)


async def confirmed(
    client: OrdersClient,
    pair: str,
    order_id: str,
    steps: Callable[..., Generator[Step, Any, CancelOutcome]],
    tally: Tally,
    history: History | None,
) -> CancelOutcome:
    """Carry out a confirmation in this task, beside what tells of final orders if that is given.

    Args:
        client: Who cancels and reads.
        pair: The order's pair.
        order_id: The order's id.
        steps: Makes the steps, with `tally` and `told`.
        tally: Counts the requests to cancel.
        history: What tells.
    """
    told = _Told()
    if history is None:
        return await client.run_async(steps(tally=tally))
    import asyncio

    reading = asyncio.ensure_future(client.run_async(steps(tally=tally, told=told)))
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


def check_client(client: object, history: History | None = None) -> None:
    """Raise unless it is a client of `connect()`, and of the exchange that a history follows."""
    if not isinstance(client, OrdersClient):
        raise InvalidArgumentError(
            f"client must be one that connect() returned, not {type(client).__name__}"
        )
    follows = getattr(history, "follows", None)
    if follows is not None and not follows(client):
        raise InvalidArgumentError(
            "history must follow the exchange that client talks to, such as "
            "order_history(client=client), not another one"
        )


def resolve(
    client: OrdersClient,
    error: OutcomeUnknownError,
    *,
    timeout: float = 30.0,
    under_way_seconds: float = UNDER_WAY_SECONDS,
) -> CancelOutcome:
    """Find out what became of a cancel whose outcome was unknown, also in another process.

    Nothing is cancelled: the order is read until it is final. The state is `OPEN` if two reads show
    a live order when the lost request can no longer be on its way.

    Args:
        client: From `connect()`, for the same account.
        error: The error that was raised.
        timeout: How long it may take, in seconds.
        under_way_seconds: How many seconds after it was sent, by this machine's clock, the lost
            request may still arrive; see `UNDER_WAY_SECONDS`.

    Raises:
        InvalidArgumentError: If the error is not about an order.
        RejectedError: If the key must not read the order.
        OutcomeUnknownError: If the order is not final when `timeout` has passed; `last_seen` is the
            order as it was last read. The lost request may still arrive.
    """
    check_client(client)
    return client.run(resolution(client, error, timeout, under_way_seconds))


async def resolve_async(
    client: OrdersClient,
    error: OutcomeUnknownError,
    *,
    timeout: float = 30.0,  # noqa: ASYNC109 - as in `cancel_and_confirm_async`
    under_way_seconds: float = UNDER_WAY_SECONDS,
) -> CancelOutcome:
    """Find out what became of a cancel whose outcome was unknown; see `resolve`."""
    check_client(client)
    return await client.run_async(resolution(client, error, timeout, under_way_seconds))


def resolve_order(
    client: OrdersClient,
    pair: str,
    order_id: str,
    *,
    sent_ms: int | None = None,
    timeout: float = 30.0,
    under_way_seconds: float = UNDER_WAY_SECONDS,
) -> CancelOutcome:
    """Find out what became of a cancel when there is no error to resolve, such as after Ctrl-C.

    Args:
        client: From `connect()`, for the same account.
        pair: The trading pair, such as BTC_TWD.
        order_id: The order's id.
        sent_ms: The latest time at which the cancel may have been sent, in milliseconds since the
            epoch; by default now.
        timeout: See `resolve`.
        under_way_seconds: See `resolve`.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
        RejectedError: See `resolve`.
        OutcomeUnknownError: See `resolve`.
    """
    check_client(client)
    error = _unsettled(client, pair, order_id, sent_ms)
    return client.run(resolution(client, error, timeout, under_way_seconds))


async def resolve_order_async(
    client: OrdersClient,
    pair: str,
    order_id: str,
    *,
    sent_ms: int | None = None,
    timeout: float = 30.0,  # noqa: ASYNC109 - as in `cancel_and_confirm_async`
    under_way_seconds: float = UNDER_WAY_SECONDS,
) -> CancelOutcome:
    """Find out what became of a cancel when there is no error; see `resolve_order`."""
    check_client(client)
    error = _unsettled(client, pair, order_id, sent_ms)
    return await client.run_async(resolution(client, error, timeout, under_way_seconds))


def _unsettled(
    client: OrdersClient, pair: str, order_id: str, sent_ms: int | None
) -> OutcomeUnknownError:
    """Return what a cancel that nobody heard of again would have raised."""
    if sent_ms is not None and type(sent_ms) is not int:
        raise InvalidArgumentError(
            "sent_ms must be whole milliseconds since the epoch, such as 1700000000000, not "
            f"{type(sent_ms).__name__}"
        )
    error = about_cancel(OutcomeUnknownError("nobody waited for the answer"), pair, order_id)
    error.sent_ms = client.timing.now_ms() if sent_ms is None else sent_ms
    return error


def outcome_of(
    order: Order, pair: str, order_id: str, tally: Tally, *, seen_by: str
) -> CancelOutcome | None:
    """Return the outcome that an order in a final state proves.

    None if it is not final, or if it was cancelled and does not say whether anything was filled.

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
    executed = executed_of(order)
    if status == FILLED:
        state = State.FILLED
    elif status == PARTLY_FILLED or executed:
        state = State.PARTLY_FILLED
    elif executed is None:
        return None
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
        executed=None if order is None else executed_of(order),
        remaining=None if order is None else decimal_of(order.remaining_amount),
        average_price=None if order is None else decimal_of(order.avg_execution_price),
        at=None if order is None else time_of(order),
        attempts=tally.sent,
        evidence=order,
        seen_by=seen_by,
    )


def confirmation(
    client: OrdersClient,
    pair: str,
    order_id: str,
    timeout: float,
    is_all_strategy_canceled: bool | Unset = UNSET,
    *,
    tally: Tally,
    told: _Told | None = None,
    escort: Escort | None = None,
    begun: Begun | None = None,
) -> Generator[Step, Any, CancelOutcome]:
    """Cancel an order and read it until it is final, or until the time is over.

    Args:
        client: Who cancels and reads.
        pair: The order's pair.
        order_id: The order's id.
        timeout: How long it may take, in seconds, but for waiting for the turn to read.
        is_all_strategy_canceled: See `cancel_order`.
        tally: Counts the requests to cancel.
        told: What the stream has told.
        escort: Goes with it.
        begun: A cancel that has been sent before: then it is read first, and cancelled again only
            if it is read as live.
    """
    reading = Reading(client, pair, order_id, timeout, told.reading if told else None)
    call = cancel_order.call(
        pair=pair, order_id=order_id, is_all_strategy_canceled=is_all_strategy_canceled
    )
    now = client.timing.monotonic
    may_have_worked, is_astray = begun is not None, False
    accepted, sent_ms = (begun.accepted, begun.sent_ms) if begun else (False, 0)
    refusals = Refusals()
    repeat_from = now() + PATIENCE_SECONDS * accepted
    order: Order | BitoProError | None = None
    why = ""

    def is_open() -> bool:
        seen = reading.last_seen
        live = seen is not None and status_of(seen) in LIVE
        return live and not may_have_worked and refusals.leave_open(reading.seen_from)

    try:
        while True:
            live = isinstance(order, Order) and status_of(order) in LIVE
            if (order is None and not begun) or (live and now() >= repeat_from):
                try:
                    if escort is not None:
                        yield from escort.before(reading.seconds_left())
                    sent_ms = client.timing.now_ms()
                    # The other half is for reading: silence must not take all the time.
                    steps: Generator[Step, Any, object] = client.steps(
                        call, seconds=reading.seconds_left(), tally=tally, answer_share=0.5
                    )
                    if escort is not None:
                        steps = _escorted(steps, escort, sent_ms)
                    yield from steps
                    may_have_worked = accepted = True
                    repeat_from = now() + PATIENCE_SECONDS
                    if tally.is_interrupted:
                        why = INTERRUPTED
                        break
                except OutcomeUnknownError as error:
                    may_have_worked = True
                    sent_ms = error.sent_ms or sent_ms
                    if is_cancellation(error.__cause__):
                        why = INTERRUPTED
                        break
                except NotSentError:
                    # A limit says nothing of the order: it is as if nothing was sent.
                    is_over = escort is not None and escort.is_held
                    is_over = is_over and not refusals.are_about_order
                    if not may_have_worked and (refusals.last is None or is_over):
                        raise
                except RejectedError as error:
                    if not may_have_worked and is_about_key(error):
                        raise
                    later = refusals.note(error, now())
                    repeat_from = repeat_from if may_have_worked else later
            if told is not None and told.outcome is not None:
                return told.outcome
            if escort is not None:
                is_first = may_have_worked and order is None and not begun
                # What the stream tells of an order is heard by whoever goes on with it.
                if is_first and told is None and escort.puts_off:
                    raise UnreadError(Begun(accepted, sent_ms), reading.seconds_left())  # noqa: TRY301
                yield from reading.aside(escort.turn())
            order = yield from reading.read()
            if told is not None and told.outcome is not None:
                return told.outcome
            is_astray = is_astray or names_no_path(order)
            if isinstance(order, Order):
                found = outcome_of(order, pair, order_id, tally, seen_by="reading")
                if found is not None:
                    return found
                # While only a limit or a clock is in the way, there is hope until the end.
                if refusals.are_about_order and is_open():
                    return _outcome(State.OPEN, order, pair, order_id, tally, "reading")
            elif not may_have_worked and is_about_key(order):
                raise order  # noqa: TRY301 - the `except` is for interruptions
            elif (
                not may_have_worked
                and names_no_order(order)
                and reading.last_seen is None
                and refusals.leave_nothing(reading.began_at)
            ):
                return _outcome(State.NOT_FOUND, None, pair, order_id, tally, "reading")
            if not (yield from reading.pause()):
                break
    except BaseException as error:
        # Ctrl-C is Ctrl-C; whatever else comes in between, the caller learns what is out.
        is_cut = is_cancellation(error)
        if not may_have_worked or not (is_cut or isinstance(error, Exception)):
            raise
        why = INTERRUPTED if is_cut else f"it ended in a {type(error).__name__}"
    last, is_recent = refusals.last, now() - reading.seen_from <= LAG_SECONDS
    if is_open() and is_recent and not isinstance(order, RejectedError):
        return _outcome(State.OPEN, reading.last_seen, pair, order_id, tally, "reading")
    if not why and reading.last_seen is None and is_astray:
        why = "the path of the order is not known there, so base_url may be wrong"
    unknown = reading.unknown(tally, sent_ms, why)
    unknown.accepted = accepted
    raise unknown from last


def _escorted(
    steps: Generator[Step, Any, object], escort: Escort, sent_ms: int
) -> Generator[Step, Any, None]:
    """Send a request to cancel, and tell its escort what it came to."""
    failure: BaseException | None = None
    try:
        yield from escort.guard(steps)
    except BaseException as error:
        failure = error
        raise
    finally:
        escort.after(failure, getattr(failure, "sent_ms", 0) or sent_ms)


def resolution(
    client: OrdersClient, error: OutcomeUnknownError, timeout: float, under_way_seconds: float
) -> Generator[Step, Any, CancelOutcome]:
    """Read an order until it is proved what became of it; see `resolve`."""
    require_seconds("under_way_seconds", under_way_seconds)
    named = order_named_by(error.arguments)
    if named is None:
        raise InvalidArgumentError(
            "error must be about one order, such as that of a cancel: it names no pair and orderId"
        )
    pair, order_id = named
    reading, tally = Reading(client, pair, order_id, timeout), Tally(error.attempts)
    gone_ms = error.sent_ms + round((under_way_seconds + LAG_SECONDS) * 1000)
    live = 0
    while True:
        is_gone = error.sent_ms > 0 and client.timing.now_ms() >= gone_ms
        order = yield from reading.read()
        if isinstance(order, Order):
            if (found := outcome_of(order, pair, order_id, tally, seen_by="reading")) is not None:
                return found
            live += is_gone and status_of(order) in LIVE
            if live == LIVE_READINGS:
                return _outcome(State.OPEN, order, pair, order_id, tally, "reading")
        elif is_about_key(order):
            raise order
        if not (yield from reading.pause()):
            unknown = reading.unknown(tally, error.sent_ms)
            unknown.accepted = error.accepted
            raise unknown
