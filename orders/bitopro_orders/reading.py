"""Reads one order repeatedly."""

from collections.abc import Generator
from typing import Any, TypeVar

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.models import Order

from .connection import OrdersClient
from .errors import BitoProError, InvalidArgumentError, OutcomeUnknownError
from .policy import require_seconds
from .states import FINAL, status_of
from .steps import Step, Wait
from .transport import Tally

E = TypeVar("E", bound=BitoProError)

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


def about_cancel(error: E, pair: str, order_id: str, attempts: int = 0) -> E:
    """Name the cancel in an error, and how many of its requests were sent."""
    error.operation = cancel_order.OPERATION.name
    error.arguments = cancel_order.call(pair=pair, order_id=order_id).arguments
    error.attempts = attempts
    return error


class Reading:
    """Reads one order repeatedly, with growing pauses, until a time limit.

    Args:
        client: Sends the requests.
        pair: The order's pair.
        order_id: The order's id.
        timeout: The time limit, in seconds.
        tally: Counts the requests.

    Attributes:
        last_seen: The order as it was last read.
        began_at: When the last read began, on the monotonic clock, in seconds.
        seen_from: When the read of `last_seen` began. The order is at most `LAG_SECONDS` older than
            that.
    """

    def __init__(
        self,
        client: OrdersClient,
        pair: str,
        order_id: str,
        timeout: float,
        tally: Tally | None = None,
    ) -> None:
        require_seconds("timeout", timeout)
        self._client, self._pair, self._order_id = client, pair, order_id
        self._deadline = client.timing.monotonic() + timeout
        self._pause, self._tally = FIRST_PAUSE_SECONDS, tally
        self.last_seen: Order | None = None
        self.began_at: float = self._deadline
        self.seen_from: float = self._deadline

    def seconds_left(self) -> float:
        """Return how much time is left, in seconds."""
        return self._deadline - self._client.timing.monotonic()

    def aside(self, steps: Generator[Step, Any, None]) -> Generator[Step, Any, None]:
        """Run steps whose time does not count."""
        began = self._client.timing.monotonic()
        yield from steps
        self._deadline += self._client.timing.monotonic() - began

    def read(self) -> Generator[Step, Any, Order | BitoProError]:
        """Read once; return the order, or the error if it could not be read."""
        call = get_order.call(pair=self._pair, order_id=self._order_id)
        self.began_at = self._client.timing.monotonic()
        try:
            order = (
                yield from self._client.steps(call, seconds=self.seconds_left(), tally=self._tally)
            ).parsed
        except InvalidArgumentError:
            raise
        except BitoProError as error:
            return error
        self.last_seen, self.seen_from = order, self.began_at
        return order

    def pause(self) -> Generator[Step, Any, bool]:
        """Wait before the next read; return False if there is no time for one."""
        seconds = self._pause * (0.5 + self._client.timing.random() / 2)
        self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 1.5)
        if self.seconds_left() <= seconds:
            return False
        yield Wait(seconds)
        return True

    def unknown(self, tally: Tally, sent_ms: int, why: str = "") -> OutcomeUnknownError:
        """Return the error for an order that is not final in time.

        Args:
            tally: How many requests to cancel were sent.
            sent_ms: When the last one was sent, in milliseconds since the epoch.
            why: Why reading ended; by default because its time was over.
        """
        seen, what = self.last_seen, "it could not be read"
        if seen is not None:
            what = f"its status was {seen.status}"
            if status_of(seen) in FINAL:
                what += ", without a word on how much was filled"
        error = OutcomeUnknownError(
            f"{why or 'the order was not final in time'}; when last read, {what}"
        )
        error.sent_ms, error.last_seen = sent_ms, seen
        return about_cancel(error, self._pair, self._order_id, tally.sent)
