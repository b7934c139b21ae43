"""The errors that a call raises. They are of three kinds, and each needs a different reaction.

    BitoProError
    ├── NotSentError               nothing left this machine: mend it and call again
    │   └── InvalidArgumentError   an argument breaks its rule (also a ValueError)
    ├── RejectedError              the exchange answered no
    │   ├── BadRequestError        400, 422
    │   ├── AuthenticationError    401
    │   ├── PermissionDeniedError  403
    │   ├── NotFoundError          404
    │   ├── ClockMismatchError     409
    │   └── RateLimitedError       429
    └── OutcomeUnknownError        it may or may not have happened: find out before anything else

No message and no attribute holds a request header.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import Order
from bitopro_client.types import BODY_NAME

from . import forms


class BitoProError(Exception):
    """The base class of every error of a call.

    Attributes:
        operation: The operation's name in the spec, such as `cancelOrder`; empty outside a call.
        arguments: The arguments that name the orders: `pair` and `orderId`, or `body` as JSON text.
        attempts: How many requests of this call were sent.
    """

    operation: str = ""
    arguments: Mapping[str, str] = MappingProxyType({})
    attempts: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled by its attributes: errors cross process borders, and Exception's own way calls
        # the constructor with the message alone.
        return self._restored, (self.args, self.__dict__)

    @classmethod
    def _restored(cls, args: tuple[Any, ...], attributes: dict[str, Any]) -> Self:
        error = cls.__new__(cls, *args)
        error.__dict__.update(attributes)
        return error


class NotSentError(BitoProError):
    """No request was sent, so nothing was done: it is safe to call again."""


class InvalidArgumentError(NotSentError, ValueError):
    """An argument breaks its rule. The message names the parameter and the rule."""


class RejectedError(BitoProError):
    """The exchange refused the request: a 4xx.

    Attributes:
        status: The HTTP status.
        message: The exchange's own text; empty if there is none.
    """

    advice: str = "Read the exchange's message; nothing was done"

    def __init__(self, status: int, message: str, *, note: str = "", advice: str = "") -> None:
        self.status = status
        self.message = message
        self.advice = advice or self.advice
        text = f"the exchange refused with {status}: {message or 'no message'}"
        super().__init__(". ".join(filter(None, (text, note, self.advice))))


class BadRequestError(RejectedError):
    """400 or 422: a parameter is wrong, or the order cannot be cancelled."""

    advice = "Check the pair and the order's id, and read the order: it may be final already"


class AuthenticationError(RejectedError):
    """401: the API key or the signature is wrong."""

    advice = "Check the API key and secret, and that the key is still valid"


class PermissionDeniedError(RejectedError):
    """403: the API key lacks the permission, or must not be used from this IP address."""

    advice = "Check the key's permissions and its list of IP addresses"


class NotFoundError(RejectedError):
    """404 in the exchange's own JSON: no such order. It does not prove that it was cancelled."""

    advice = "Check the pair and the order's id; it is not known that the order was cancelled"


class ClockMismatchError(RejectedError):
    """409: this machine's clock is off, or a nonce was used twice or out of order.

    Attributes:
        difference_ms: This machine's time minus the exchange's time in the answer's `Date`, in
            milliseconds, accurate to one second; None if the answer had no usable `Date`.
    """

    advice = "Check this machine's clock, and that no other process uses the same key"

    def __init__(self, status: int, message: str, *, difference_ms: int | None) -> None:
        self.difference_ms = difference_ms
        if difference_ms is None:
            note = "The answer does not say how far the clocks differ"
        else:
            side = "ahead of" if difference_ms >= 0 else "behind"
            note = f"This machine is {abs(difference_ms) / 1000:.1f} s {side} the exchange (±1 s)"
        super().__init__(status, message, note=note)


class RateLimitedError(RejectedError):
    """429: too many requests.

    Attributes:
        retry_after: How many seconds to wait, as the exchange asks; None if it does not say.
    """

    advice = "Wait before the next call"

    def __init__(self, status: int, message: str, *, retry_after: float | None) -> None:
        self.retry_after = retry_after
        note = "" if retry_after is None else f"It asks to wait {retry_after:g} s"
        super().__init__(status, message, note=note)


class OutcomeUnknownError(BitoProError):
    """The request was sent, and no answer says what it did: the order may be cancelled or not.

    The error holds everything that `resolve()` needs to find out. It can be pickled and resolved in
    another process.

    Attributes:
        reason: What happened, such as a timeout.
        status: The HTTP status; None without an answer.
        sent_ms: When the last attempt was sent, in milliseconds since the epoch; 0 if not known.
        last_seen: The order as it was last read, or None; see `cancel_and_confirm`.
        accepted: Whether the exchange had accepted the cancel: if so, only the filled amount is
            unknown.
    """

    sent_ms: int = 0
    last_seen: Order | None = None
    accepted: bool = False

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        self.reason = reason
        self.status = status
        super().__init__(reason)

    @property
    def advice(self) -> str:
        """What to do next."""
        if BODY_NAME in self.arguments:
            return "Find out with resolve_many(), or read the orders, before doing anything else"
        if order_named_by(self.arguments) is None:
            return "Read the orders that it is about before doing anything else"
        if self.accepted:
            return (
                "The exchange had accepted the cancel: find out with resolve(), or read the order, "
                "what was filled before it"
            )
        return (
            "Find out with resolve(), or read the order, before doing anything else: it may be "
            "cancelled, filled or still open"
        )

    def __str__(self) -> str:
        return f"the outcome is unknown: {self.reason}. {self.advice}"

    def to_json(self) -> dict[str, Any]:
        """Return the error as an object for `json.dumps`; `from_json` reads it."""
        return forms.write(
            "OutcomeUnknownError",
            {
                "operation": self.operation,
                "arguments": dict(self.arguments),
                "attempts": self.attempts,
                "reason": self.reason,
                "status": self.status,
                "sent_ms": self.sent_ms,
                "accepted": self.accepted,
                "last_seen": forms.order_form(self.last_seen),
            },
        )

    @classmethod
    def from_json(cls, form: object) -> Self:
        """Return the error from what `to_json` returned, also in another version of this package.

        Raises:
            InvalidArgumentError: If `form` is not such an object, or its `version` is not known.
        """
        try:
            fields = forms.fields_of("OutcomeUnknownError", form)
            error = cls(str(fields["reason"]), status=fields["status"])
            error.operation = str(fields["operation"])
            error.arguments = {str(k): str(v) for k, v in fields["arguments"].items()}
            error.attempts, error.sent_ms = int(fields["attempts"]), int(fields["sent_ms"])
            error.accepted = fields["accepted"] is True
            error.last_seen = forms.order_of(fields["last_seen"])
        except forms.WRONG as wrong:
            raise InvalidArgumentError(forms.refusal("OutcomeUnknownError", wrong)) from None
        return error


def order_named_by(arguments: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the pair and the id of the one order that a call's arguments name; None if none."""
    names = cancel_order.Names
    pair, order_id = arguments.get(names.pair), arguments.get(names.order_id)
    return None if pair is None or order_id is None else (pair, order_id)
