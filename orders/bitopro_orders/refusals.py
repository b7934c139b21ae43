"""What a refusal proves about the order, the path and the key."""

import math

from attrs import define

from .answers import is_about_identity, is_about_order
from .errors import (
    AuthenticationError,
    BadRequestError,
    ClockMismatchError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RejectedError,
)
from .states import LAG_SECONDS


@define
class Refusals:
    """The exchange's refusals of a cancel, and when they came, on the monotonic clock, in seconds.

    A refusal for a rate limit or a clock proves nothing about the order. Such refusals count only
    until there is one about the order.

    Attributes:
        last: The last refusal of any kind.
        first_at: When the first refusal that counts came.
        last_at: When the last refusal that counts came.
        are_about_order: Whether they are about more than a rate limit or a clock.
    """

    last: RejectedError | None = None
    first_at: float | None = None
    last_at: float = 0.0
    are_about_order: bool = False

    def note(self, error: RejectedError, now: float) -> float:
        """Record a refusal; return when another cancel of a live order is worth sending."""
        self.last = error
        if not error.message:  # it is not the exchange's own JSON
            return now
        is_about_order = not isinstance(error, RateLimitedError | ClockMismatchError)
        if is_about_order >= self.are_about_order:
            if self.first_at is None or is_about_order > self.are_about_order:
                self.first_at, self.are_about_order = now, is_about_order
            self.last_at = now
        if not is_about_order or self.first_at == now:
            return now
        return math.inf if self._came_again() else (self.first_at or now) + LAG_SECONDS

    def _came_again(self) -> bool:
        return self.first_at is not None and self.last_at - self.first_at >= LAG_SECONDS

    def leave_open(self, read_from: float) -> bool:
        """Say whether an order read as live from then on was not final when it was refused."""
        since = self.last_at if self.are_about_order else self.first_at
        return since is not None and self._came_again() and read_from - since >= LAG_SECONDS

    def leave_nothing(self, read_from: float) -> bool:
        """Say whether an order not found from then on did not exist when it was refused."""
        return names_no_order(self.last) and read_from - self.last_at >= LAG_SECONDS


def names_no_order(error: object) -> bool:
    """Say whether it is the exchange's own 404 about the order, and not about the path."""
    return isinstance(error, NotFoundError) and is_about_order(error.message)


def names_no_path(error: object) -> bool:
    """Say whether it is a 404 that is not about an order."""
    return getattr(error, "status", None) == 404 and not names_no_order(error)


def is_about_key(error: object) -> bool:
    """Say whether every other request with this key would be refused, too."""
    if isinstance(error, BadRequestError):
        return is_about_identity(error.message)
    return isinstance(error, AuthenticationError | PermissionDeniedError)
