"""One way to cancel many orders, in a process of its own: it prints what it knows at the end.

python -m benchmarks.cancelling HOW BASE_URL FIRST COUNT SPEED
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from .clients import (
    API_KEY,
    API_SECRET,
    IDENTITY,
    PAIR,
    SYMBOL,
    connect_ccxt,
    count_otherwise,
)
from .exchange import BATCH_SIZE

if TYPE_CHECKING:
    from bitopro_orders import Journal, ManyOutcomes, OrdersClient
    from bitopro_orders.throttle import Question

SINGLY, IN_BATCHES, EVERYTHING = "one by one", "in batches", "cancel_everything"
LOOP, ORDERS, ALL = "cancel_order in a loop", "cancel_orders", "cancel_all_orders"
OURS, CCXT = (SINGLY, IN_BATCHES, EVERYTHING), (LOOP, ORDERS, ALL)

RESULTS = Path(__file__).parent / "results"
#: For each order, or for all: nothing is to end because of it.
TIMEOUT = 3600.0
#: What our window is longer than the exchange's, of a short one.
SLACK = 1.05


class Told(NamedTuple):
    """What whoever cancelled knows of it.

    Attributes:
        started_at: When it began, on the monotonic clock, in seconds.
        ended_at: When it had the last end, or had come to its own end.
        ends: How many orders came to what; empty where that is not told.
        failed: How many calls failed, by what was raised.
        peak_kib: The most memory that the process held, in KiB.
    """

    started_at: float
    ended_at: float
    ends: dict[str, int]
    failed: dict[str, int]
    peak_kib: int


def main(how: str, base_url: str, first: int, count: int, speed: int) -> None:
    """Cancel so many orders and print what is known of them."""
    ways: dict[str, Callable[..., Told]] = {
        SINGLY: partial(ours, batch_size=1),
        IN_BATCHES: ours,
        EVERYTHING: ours,
        LOOP: with_ccxt,
        ORDERS: with_ccxt,
        ALL: with_ccxt,
    }
    ids = (f"{first + number}" for number in range(count))
    print(json.dumps(ways[how](how, base_url, ids, speed)))


def ours(
    how: str, base_url: str, ids: Iterable[str], speed: int, batch_size: int = BATCH_SIZE
) -> Told:
    """Cancel with this package, with a journal."""
    from bitopro_auth import Credentials
    from bitopro_orders import CancelOutcome, Journal, cancel_everything, cancel_many, connect

    def begun(client: "OrdersClient", journal: "Journal") -> "ManyOutcomes":
        if how == EVERYTHING:
            return cancel_everything(client, pair=PAIR, timeout=TIMEOUT, journal=journal)
        orders = ((PAIR, order_id) for order_id in ids)
        return cancel_many(client, orders, timeout=TIMEOUT, batch_size=batch_size, journal=journal)

    credentials = Credentials(API_KEY, API_SECRET, IDENTITY)
    RESULTS.mkdir(exist_ok=True)
    ends: Counter[str] = Counter()
    with (
        TemporaryDirectory(dir=RESULTS) as folder,
        Journal(Path(folder) / "cancels.jsonl") as journal,
        connect(credentials, base_url=base_url) as client,
    ):
        hasten(client, speed)
        ended_at = started_at = time.monotonic()
        for end in begun(client, journal):
            ends[end.state.name if isinstance(end, CancelOutcome) else type(end).__name__] += 1
            ended_at = time.monotonic()
    return Told(started_at, ended_at, ends, {}, peak_kib())


def hasten(client: "OrdersClient", speed: int) -> None:
    """Let a client count windows that are so many times as short, with their slack."""
    from bitopro_client.api.orders import (
        cancel_order,
        cancel_order_batch,
        get_order,
        list_open_orders,
    )

    def faster(question: "Question") -> "Question":
        windows = (
            window._replace(period=round(window.length / speed / SLACK))
            for window in question.windows
        )
        return question._replace(windows=tuple(windows), gap=question.gap // speed)

    if speed > 1:
        for operation in (cancel_order, cancel_order_batch, get_order, list_open_orders):
            count_otherwise(client, operation.OPERATION, faster)


def with_ccxt(how: str, base_url: str, ids: Iterable[str], speed: int) -> Told:
    """Cancel with ccxt, its rate limit on; what fails is not tried again, as in a plain loop."""
    del speed
    exchange = connect_ccxt(base_url, limited=True)
    ends: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    started_at = time.monotonic()
    for call in ccxt_calls(exchange, how, ids):
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the table says it
            failed[type(error).__name__] += 1
            continue
        for order in answer if isinstance(answer, list) else [answer]:
            ends["its id" if order["status"] is order["filled"] is None else "more"] += 1
    ended_at = time.monotonic()
    exchange.session.close()
    return Told(started_at, ended_at, ends, failed, peak_kib())


def ccxt_calls(exchange: Any, how: str, ids: Iterable[str]) -> Iterator[Callable[[], Any]]:  # noqa: ANN401
    """Return the calls that cancel all orders; whoever calls cuts them to batches."""
    if how == ALL:
        yield exchange.cancel_all_orders
    elif how == ORDERS:
        left = iter(ids)
        while batch := list(islice(left, BATCH_SIZE)):
            yield partial(exchange.cancel_orders, batch, SYMBOL)
    else:
        for order_id in ids:
            yield partial(exchange.cancel_order, order_id, SYMBOL)


def peak_kib() -> int:
    """Return the most memory that this process has held, in KiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
