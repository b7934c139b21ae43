"""The exchange's time and the shortest round trip, as this process has measured them."""

from collections.abc import Callable

from bitopro_orders.timing import Timing

#: A `Date` has whole seconds.
DATE_MS = 1000
#: How long the shortest round trip is remembered, at most twice as long.
ROUND_TRIP_SECONDS = 30.0


class ExchangeClock:
    """An estimate of the exchange's time.

    Args:
        timing: This machine's clocks.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._ahead_of_monotonic_ms: float | None = None
        self._between: tuple[float, float] | None = None

    def now_ms(self) -> int:
        """Return the exchange's time, in milliseconds since the epoch."""
        ahead = self._ahead_of_monotonic_ms
        if ahead is None:
            return self._timing.now_ms()
        return round(self._timing.monotonic() * 1000 + ahead)

    @property
    def correction_ms(self) -> int:
        """The difference between the exchange's time and this machine's clock, in milliseconds."""
        if self._ahead_of_monotonic_ms is None:
            return 0
        return self.now_ms() - self._timing.now_ms()

    def is_right(self, date_ms: int, took_ms: float) -> bool:
        """Say whether the `Date` of an answer agrees with it, given how long the answer took."""
        return date_ms <= self.now_ms() <= date_ms + DATE_MS + took_ms

    def correct(self, date_ms: int, took_ms: float) -> None:
        """Correct it by the `Date` of an answer.

        From then on it follows the monotonic clock, because somebody may set this machine's clock.
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
    """The shortest time that an answer took recently.

    Args:
        monotonic: Returns seconds since any fixed moment.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        # Replaced as one, so that no thread sees half of it: when it began, and the shortest ones
        # before and since.
        self._seen: tuple[float, float, float] | None = None

    def note(self, seconds: float) -> None:
        """Record how long an answer took, in seconds."""
        began, before, since = self._seen or (self._now(), seconds, seconds)
        if self._now() - began > ROUND_TRIP_SECONDS:
            self._seen = (self._now(), since, seconds)
        else:
            self._seen = (began, before, min(since, seconds))

    @property
    def seconds(self) -> float:
        """The shortest round trip, in seconds; 0 if there was none recently."""
        if self._seen is None:
            return 0.0
        began, before, since = self._seen
        return 0.0 if self._now() - began > 2 * ROUND_TRIP_SECONDS else min(before, since)
