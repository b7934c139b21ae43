"""How calls are sent, and the record of each attempt."""

import math
from collections.abc import Mapping
from typing import cast

from attrs import frozen

from .errors import InvalidArgumentError
from .failures import Outcome


@frozen(kw_only=True)
class SendingPolicy:
    """How calls are sent. The defaults suit one account on one machine.

    Attributes:
        deadline_seconds: How long a call may take, including all waits and attempts.
        attempts: How many requests a call may send, without those that only follow a 409.
        fresh_nonces: How many times a call may be signed again, with a fresh nonce, after a 409.
        backoff_seconds: The upper bound of the first backoff. It doubles with each retry, up to
            `longest_backoff_seconds`. The actual wait is a random part of it ("full jitter").
        longest_backoff_seconds: The upper bound of every backoff.
        retry_ratio: How many retries each call adds to the retry budget. Each retry takes one.
        retry_reserve: How many retries the retry budget holds at most, and at the start.
        limit_share: The part of the exchange's rate limits that these clients may use, above 0 and
            up to 1. None turns the limits off; use it only with an exchange of your own.
        in_flight: How many requests of the key may be in flight at the same time. More than 1 is
            faster, but safe only if the exchange does not require nonces in order, which is not
            known. After a 409 it is 1 for a minute.
        local_if_shared_fails: Whether this process counts by itself, and logs a warning, when the
            shared store is down, so that cancels are not delayed.
        counts_as_general: Whether each request also counts towards the general limit of signed
            calls (600 a minute). Whether the exchange counts this way is not documented.
    """

    deadline_seconds: float = 10.0
    attempts: int = 4
    fresh_nonces: int = 4
    backoff_seconds: float = 0.1
    longest_backoff_seconds: float = 2.0
    retry_ratio: float = 0.2
    retry_reserve: float = 20.0
    limit_share: float | None = 1.0
    in_flight: int = 1
    local_if_shared_fails: bool = True
    counts_as_general: bool = False

    def __attrs_post_init__(self) -> None:
        """Check every setting.

        Raises:
            InvalidArgumentError: Naming the setting, its rule and what was got.
        """
        for name in ("deadline_seconds", "backoff_seconds", "longest_backoff_seconds"):
            require_seconds(name, getattr(self, name))
        for name in ("attempts", "in_flight"):
            value = getattr(self, name)
            _require(name, "a whole number from 1 up, such as 4", value, _whole(value, 1))
        value = self.fresh_nonces
        _require("fresh_nonces", "a whole number from 0 up, such as 4", value, _whole(value, 0))
        for name in ("retry_ratio", "retry_reserve"):
            value = getattr(self, name)
            rule = "a finite number from 0 up, such as 0.2"
            _require(name, rule, value, _finite(value) and value >= 0)
        share = self.limit_share
        _require(
            "limit_share",
            "above 0 and up to 1, such as 0.5, or None",
            share,
            share is None or (_finite(share) and 0 < share <= 1),
        )


def require_seconds(name: str, value: object) -> None:
    """Raise unless `value` is a number of seconds.

    Raises:
        InvalidArgumentError: Naming the parameter, the rule and what was got.
    """
    _require(
        name,
        "a finite number of seconds above 0, such as 30",
        value,
        _finite(value) and cast("float", value) > 0,
    )


def require_whole(name: str, value: object) -> None:
    """Raise unless `value` is a whole number from 1 up.

    Raises:
        InvalidArgumentError: Naming the parameter, the rule and what was got.
    """
    _require(name, "a whole number from 1 up, such as 50", value, _whole(value, 1))


def _require(name: str, rule: str, value: object, holds: bool) -> None:
    if not holds:
        # A number is no secret; of anything else only the kind is told.
        got = f"{value}" if type(value) in {int, float} else type(value).__name__
        raise InvalidArgumentError(f"{name} must be {rule}, not {got}")


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@frozen(kw_only=True)
class AttemptRecord:
    """One attempt after its end, as in the log and for the hook `on_attempt`.

    Attributes:
        operation: The operation's name in the spec.
        arguments: The arguments that name the orders: `pair` and `orderId`, or `body` as JSON text.
        attempt: Which attempt of the call it was, from 1.
        status: The answer's HTTP status; None without an answer.
        milliseconds: The time from sending the request to the answer; 0 if nothing was sent.
        waited_milliseconds: The time before that, spent waiting for its turn, for the rate limit
            and for a connection.
        outcome: The result of the attempt.
        clock_correction_ms: The correction that is added to this machine's clock, in milliseconds.
    """

    operation: str
    arguments: Mapping[str, str]
    attempt: int
    status: int | None
    milliseconds: float
    waited_milliseconds: float
    outcome: Outcome
    clock_correction_ms: int


class RetryBudget:
    """What keeps a broken exchange from being hammered: retries are a share of the calls.

    Two threads at once may lose a count, which harms nobody; a lock could harm a signal handler.

    Args:
        ratio: What each call adds.
        reserve: What there is at most, and at first.
    """

    def __init__(self, ratio: float, reserve: float) -> None:
        self._ratio, self._reserve, self._left = ratio, reserve, reserve

    def earn(self) -> None:
        """Count a call."""
        self._left = min(self._reserve, self._left + self._ratio)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
