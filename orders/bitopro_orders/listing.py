"""What listings of the open orders tell of many orders, and prove of the book."""

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
    """Listings of the open orders, one after the other.

    Attributes:
        client: Who lists.
        pair: The pair to list; None for all.
        lists_untriggered: Whether they are known to contain stop-limit orders that are not
            triggered.
        began: When the last one began, on the monotonic clock, in seconds.
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
            BitoProError: If it fails; then it does not follow on the one before it.
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
    """Return since when something holds that holds now, too."""
    return now if since is None else since


async def watch(run: Run) -> None:
    """List now and then, as long as many orders wait to be read: what is still listed goes first.

    One call tells of all of them, long before each is read. What a listing lacks is not proved.
    While cancels are being sent there is none: it would hold thousands that are still to be sent.
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
