"""What has become of many orders so far."""

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
    """What listings prove of the open orders: of all, or of the pair of `cancel_everything`."""

    #: Two empty listings in a row, `LAG_SECONDS` apart, and the listing is known to contain
    #: stop-limit orders that are not triggered.
    CLEAN = "clean"
    #: Likewise, but the listing may hide stop-limit orders that are not triggered.
    NOTHING_LISTED = "nothing listed; stop-limit orders that are not triggered may be open"
    #: There are open orders, or it is not known.
    NOT_CLEAN = "not clean, or not known to be"


def _kept() -> "deque[object]":
    return deque(maxlen=MOST_KEPT)


@define(eq=False)
class Account:
    """What has become of many orders; complete once the iteration has ended, however it ended.

    Each item that was taken is in one of `duplicates`, `done`, `counts` and `under_way`.

    Attributes:
        taken: How many items were taken from what was given.
        duplicates: How many of them named an order that was there before.
        under_way: How many orders are not at their end.
        done: How many orders came to each state.
        counts: How many ended as "not sent", "refused" and "unknown".
        not_sent: Why nothing was done for those; `arguments` names the order. An item that is no
            order is an `InvalidArgumentError`.
        refused: The refusals that are about the key, by which nothing was done.
        unknown: For `resolve()` or `resolve_many()`.
        listed: How many orders that are to be cancelled the last listing held, if there was one.
            `cancel_many` lists only while many orders wait to be read, and counts those that are
            under way.
        proved: What the listings prove of the book.
        rest: What the iteration had not handed out when it was ended early.
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
        """What the listings prove of the book; see `Book`."""
        return Book.NOT_CLEAN if self.done[State.OPEN] else self.proved

    def note(self, end: End) -> None:
        """Add what an order came to."""
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
