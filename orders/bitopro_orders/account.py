"""What became of many orders so far."""

from collections import Counter, deque
from enum import StrEnum
from typing import TypeAlias

from attrs import define, field

from .errors import BitoProError, NotSentError, OutcomeUnknownError, RejectedError
from .outcomes import CancelOutcome, State

#: What an order came to: an outcome that is proved, or the error that stands in its place.
End: TypeAlias = CancelOutcome | BitoProError

#: So many errors of each kind an account holds; of more than these it holds the newest.
MOST_KEPT = 10_000


class Book(StrEnum):
    """What the listings prove about the open orders of the account, or of one pair."""

    CLEAN = "clean"
    """No order is open: two listings in a row, 5 seconds apart, were empty, and listings are known
    to contain stop-limit orders that are not triggered."""
    NOTHING_LISTED = "nothing listed; stop-limit orders that are not triggered may be open"
    """Two such listings were empty, but stop-limit orders that are not triggered may be open."""
    NOT_CLEAN = "not clean, or not known to be"
    """Orders are open, or it is not known whether any is."""


def _kept() -> "deque[object]":
    return deque(maxlen=MOST_KEPT)


@define(eq=False)
class Account:
    """What became of many orders; complete when the iteration has ended, also if it ended early.

    Each item that was taken is counted in one of `duplicates`, `done`, `counts` and `under_way`.

    Attributes:
        taken: How many items were taken from the iterable.
        duplicates: How many of them named an order that had been named before.
        under_way: How many orders are still in progress.
        done: How many orders ended in each state.
        counts: How many orders ended as "not sent", "refused" and "unknown".
        not_sent: The errors of orders for which nothing was done; `arguments` names the order. For
            an item that is not a pair and an id, the error is an `InvalidArgumentError`.
        refused: The errors about the API key (401, 403): nothing was done for these orders.
        unknown: The errors of orders whose outcome is unknown, for `resolve()` or `resolve_many()`.
        listed: How many orders to cancel were in the last listing; None before the first listing.
            `cancel_many` lists only while many orders wait to be read, and counts only orders that
            are in progress.
        proved: What the listings prove about the book.
        rest: The outcomes that the loop had not received when it ended early.
    """

    taken: int = 0
    duplicates: int = 0
    under_way: int = 0
    done: Counter[State] = field(factory=Counter)
    counts: Counter[str] = field(factory=Counter)
    not_sent: deque[NotSentError] = field(factory=_kept)
    refused: deque[RejectedError] = field(factory=_kept)
    unknown: deque[OutcomeUnknownError] = field(factory=_kept)
    listed: int | None = None
    proved: Book = Book.NOT_CLEAN
    rest: tuple[End, ...] = ()

    @property
    def book(self) -> Book:
        """What the listings prove about the book; see `Book`."""
        return Book.NOT_CLEAN if self.done[State.OPEN] else self.proved

    def note(self, end: End) -> None:
        """Add the outcome of an order."""
        match end:
            case CancelOutcome():
                self.done[end.state] += 1
            case NotSentError():
                self.counts["not sent"] += 1
                self.not_sent.append(end)
            case RejectedError():
                self.counts["refused"] += 1
                self.refused.append(end)
            case OutcomeUnknownError():
                self.counts["unknown"] += 1
                self.unknown.append(end)

    def __str__(self) -> str:
        """Say it in a line."""
        # Copies: another thread may be adding to them.
        told = [*self.done.copy().items(), *self.counts.copy().items()]
        parts = [f"{number} {name}" for name, number in told]
        if self.under_way:
            parts.append(f"{self.under_way} under way")
        if self.duplicates:
            parts.append(f"{self.duplicates} named twice")
        return f"{self.taken} taken: {', '.join(parts) or 'nothing yet'}"
