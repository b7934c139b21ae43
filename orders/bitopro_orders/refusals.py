"""What refusals say of an order, of the path and of the key, and when they may be believed."""

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
    """What the exchange itself has said against a cancel, and when, on the monotonic clock.

    A limit or a clock says nothing of the order, so these count only until something else does.

    Attributes:
        last: The last refusal, whoever it came from.
        first_at: When the first one came that counts.
        last_at: When the last one came that counts.
        are_about_order: Whether they are more than a limit or a clock.
    """

    last: RejectedError | None = None
    first_at: float | None = None
    last_at: float = 0.0
    are_about_order: bool = False

    def note(self, error: RejectedError, now: float) -> float:
        """Take note of one; return from when on another cancel of a live order is worth sending."""
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
        """Say whether an order that was read as live then had not been final when refused."""
        since = self.last_at if self.are_about_order else self.first_at
        return since is not None and self._came_again() and read_from - since >= LAG_SECONDS

    def leave_nothing(self, read_from: float) -> bool:
        """Say whether an order that was not found then had not been there when refused."""
        return names_no_order(self.last) and read_from - self.last_at >= LAG_SECONDS


def names_no_order(error: object) -> bool:
    """Say whether it is the exchange's own 404 to an order, and not one to the path."""
    return isinstance(error, NotFoundError) and is_about_order(error.message)


def names_no_path(error: object) -> bool:
    """Say whether it is a 404 that is not about an order."""
    return getattr(error, "status", None) == 404 and not names_no_order(error)


def is_about_key(error: object) -> bool:
    """Say whether no other request of this key will do better."""
    if isinstance(error, BadRequestError):
        return is_about_identity(error.message)
    return isinstance(error, AuthenticationError | PermissionDeniedError)
