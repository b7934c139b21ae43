"""What this process learns of the exchange: its time, and how long an answer takes."""

from collections.abc import Callable

from bitopro_orders.timing import Timing

#: A `Date` has whole seconds.
DATE_MS = 1000
#: How long the shortest round trip is remembered, at most twice as long.
ROUND_TRIP_SECONDS = 30.0


class ExchangeClock:
    """The exchange's time, as far as it is known.

    Args:
        timing: This machine's clocks.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._ahead_of_monotonic_ms: float | None = None
        self._between: tuple[float, float] | None = None

    def now_ms(self) -> int:
        """Return it, in milliseconds since the epoch."""
        ahead = self._ahead_of_monotonic_ms
        if ahead is None:
            return self._timing.now_ms()
        return round(self._timing.monotonic() * 1000 + ahead)

    @property
    def correction_ms(self) -> int:
        """What is added to this machine's clock, in milliseconds."""
        if self._ahead_of_monotonic_ms is None:
            return 0
        return self.now_ms() - self._timing.now_ms()

    def is_right(self, date_ms: int, took_ms: float) -> bool:
        """Say whether an answer's `Date`, after so long a round trip, agrees with it."""
        return date_ms <= self.now_ms() <= date_ms + DATE_MS + took_ms

    def correct(self, date_ms: int, took_ms: float) -> None:
        """Set it by an answer's `Date`.

        From then on the monotonic clock counts: somebody may set the wrong one right.
        """
        ended = self._timing.monotonic() * 1000
        # The `Date` is cut to the second, and was written at some moment of the round trip.
        between = (date_ms - ended, date_ms + DATE_MS - (ended - took_ms))
        if self._between is not None:
            both = max(between[0], self._between[0]), min(between[1], self._between[1])
            between = both if both[0] <= both[1] else between
        self._between = between
        self._ahead_of_monotonic_ms = sum(between) / 2


class RoundTrip:
    """The shortest time that an answer took of late.

    Args:
        monotonic: Returns seconds since any fixed moment.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        # Replaced as one, so that no thread sees half of it: when it began, and the shortest ones
        # before and since.
        self._seen: tuple[float, float, float] | None = None

    def note(self, seconds: float) -> None:
        """Take one into account."""
        began, before, since = self._seen or (self._now(), seconds, seconds)
        if self._now() - began > ROUND_TRIP_SECONDS:
            self._seen = (self._now(), since, seconds)
        else:
            self._seen = (began, before, min(since, seconds))

    @property
    def seconds(self) -> float:
        """How long an answer takes at least; 0 if nothing is known of late."""
        if self._seen is None:
            return 0.0
        began, before, since = self._seen
        return 0.0 if self._now() - began > 2 * ROUND_TRIP_SECONDS else min(before, since)
