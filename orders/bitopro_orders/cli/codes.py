"""The exit codes, and the word for each error. Scripts rely on both: they are stable."""

from collections.abc import Iterable

import click

from bitopro_auth import CredentialsError
from bitopro_orders.account import Account, Book
from bitopro_orders.errors import (
    BitoProError,
    InvalidArgumentError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
)
from bitopro_orders.outcomes import State
from bitopro_orders.refusals import is_about_key

OK = 0
FAILED = 1
USAGE = 2
FILLED = 3
NOT_FOUND = 4
UNKNOWN = 5
NOT_SENT = 6
REFUSED = 7
STOPPED = 130

#: What each means, as `--help` and docs/cli.md say it.
MEANINGS = {
    OK: "all cancelled, or nothing to do",
    FAILED: "any other error",
    USAGE: "wrong arguments; nothing was sent",
    FILLED: "some were filled before the cancel, wholly or partly",
    NOT_FOUND: "some were not found",
    UNKNOWN: "some are unknown or open, or the book is not known to be clean",
    NOT_SENT: "nothing, or not everything, was sent",
    REFUSED: "the key was refused",
    STOPPED: "stopped by Ctrl-C, with nothing unknown",
}
#: The worst comes first, and wins.
_WORST = (REFUSED, UNKNOWN, STOPPED, USAGE, FAILED, NOT_SENT, NOT_FOUND, FILLED, OK)


class StoppedError(click.ClickException):
    """Stopped by Ctrl-C, before anything was sent."""

    def __init__(self) -> None:
        super().__init__("stopped; nothing was sent")


class NotConfirmedError(click.UsageError):
    """Nobody can be asked for confirmation."""


class DeclinedError(click.ClickException):
    """The question was answered with no."""


class NotStartedError(click.ClickException):
    """The command of `bitopro guard` could not be started.

    Attributes:
        code: The exit code, as a shell has it: 127 if there is no such command, else 126.
    """

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


def worst(codes: Iterable[int]) -> int:
    """Return the worst of several exit codes."""
    return min(codes, key=_WORST.index, default=OK)


def code_of(account: Account, *, proves_book: bool = False, is_stopped: bool = False) -> int:
    """Return the exit code for what became of many orders.

    Args:
        account: What became of the orders.
        proves_book: Whether the command promises a clean book.
        is_stopped: Whether it was stopped by Ctrl-C.
    """
    filled = account.done[State.FILLED] + account.done[State.PARTLY_FILLED]
    is_unknown = account.counts["unknown"] or account.done[State.OPEN]
    holds = {
        REFUSED: account.counts["refused"],
        # Whoever has stopped it knows that the book is not clean.
        UNKNOWN: is_unknown or (proves_book and not is_stopped and account.book != Book.CLEAN),
        STOPPED: is_stopped,
        NOT_SENT: account.counts["not sent"],
        NOT_FOUND: account.done[State.NOT_FOUND],
        FILLED: filled,
    }
    return worst(code for code, is_so in holds.items() if is_so)


def word_and_code(error: BaseException) -> tuple[str, int]:
    """Return the word for an error, and its exit code."""
    match error:
        case StoppedError() | KeyboardInterrupt() | click.Abort():
            return "stopped", STOPPED
        case DeclinedError():
            return "not_confirmed", NOT_SENT
        case NotConfirmedError():
            return "not_confirmed", USAGE
        case NotStartedError():
            return "not_started", error.code
        case CredentialsError():
            return "credentials", USAGE
        case click.UsageError() | click.FileError():
            return "usage", USAGE
        case InvalidArgumentError():
            return "invalid_argument", USAGE
        case NotSentError():
            return "not_sent", NOT_SENT
        case OutcomeUnknownError():
            return "unknown", UNKNOWN
        case NotFoundError():
            return "not_found", NOT_FOUND
        case RejectedError():
            return ("refused", REFUSED) if is_about_key(error) else ("rejected", FAILED)
        case BitoProError() | click.ClickException():
            return "failed", FAILED
    return "internal", FAILED
