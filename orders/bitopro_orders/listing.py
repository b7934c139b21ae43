"""What listings of the open orders show about many orders, and prove about the book."""

from attrs import define, field

from bitopro_client.api.orders import list_open_orders
from bitopro_client.models import OpenOrders, Order
from bitopro_client.types import UNSET, Call

from .account import Book
from .connection import OrdersClient
from .errors import BitoProError
from .refusals import is_about_key
from .run import Run
from .states import LAG_SECONDS, key_of

NOT_TRIGGERED = -1
#: Fewer orders that wait to be read are read as soon as a listing would come.
WORTH_A_LISTING = 8
#: A listing takes the time of a reading, so it must be rare among them.
PAUSE_SECONDS = 2.5
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_LISTING_SECONDS = 10.0


@define(eq=False)
class Listings:
    """Lists the open orders repeatedly.

    Attributes:
        client: Sends the requests.
        pair: The pair to list; None for all.
        lists_untriggered: Whether listings are known to contain stop-limit orders that are not
            triggered.
        began: When the last listing began, on the monotonic clock, in seconds.
    """

    client: OrdersClient
    pair: str | None = None
    lists_untriggered: bool = False
    began: float = field(default=0.0, init=False)
    _empty_since: float | None = field(default=None, init=False)

    @property
    def call(self) -> Call[OpenOrders]:
        """The call that lists."""
        return list_open_orders.call(pair=UNSET if self.pair is None else self.pair)

    async def look(self, seconds: float) -> list[Order]:
        """List once.

        Raises:
            BitoProError: If it fails. The listings before it then prove nothing any more.
        """
        self.began = self.client.timing.monotonic()
        try:
            steps = self.client.steps(self.call, seconds=seconds)
            listed = (await self.client.run_async(steps)).parsed.data
        except BaseException:
            self._empty_since = None
            raise
        self.lists_untriggered |= any(order.status == NOT_TRIGGERED for order in listed)
        self._empty_since = None if listed else first(self._empty_since, self.began)
        return listed

    def proved(self) -> Book:
        """Return what the listings so far prove."""
        if self._empty_since is None or self.began - self._empty_since < LAG_SECONDS:
            return Book.NOT_CLEAN
        return Book.CLEAN if self.lists_untriggered else Book.NOTHING_LISTED


def first(since: float | None, now: float) -> float:
    """Return when something began that is still so: `since`, or now if it is new."""
    return now if since is None else since


async def watch(run: Run) -> None:
    """List now and then while many orders wait to be read; those still listed are read first.

    One listing shows all of them, long before each is read. That an order is not listed proves
    nothing. While cancels are being sent, nothing is listed, because thousands of orders may still
    be open.
    """
    listings, account = Listings(run.client), run.account
    pause = PAUSE_SECONDS
    while True:
        await run.client.timing.sleep_async(pause)
        waiting = run.escorts.values()
        if len(waiting) < WORTH_A_LISTING or not all(each.is_sent for each in waiting):
            pause = PAUSE_SECONDS
            continue
        try:
            listed = await listings.look(LONGEST_LISTING_SECONDS)
        except BitoProError as error:
            if is_about_key(error):
                return
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            continue
        pause = PAUSE_SECONDS
        run.reading.first = {key_of(order.pair, order.id) for order in listed}
        account.listed = len(run.escorts.keys() & run.reading.first)
        account.proved = listings.proved()
        run.progress()
