"""Random mixes of faults, each chosen by its seed, in seconds that take no time.

Client and sandbox share one loop, whose clock goes on when there is nothing left to do: a run of
two hours takes some hundredths of a second, over real sockets. What is told must be what the
sandbox's book says when everything has settled, or be said to be unknown.
"""

import asyncio
import json
import logging
import random
import selectors
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from multiprocessing import get_context
from typing import Any, Self

from attrs import Factory, define, evolve, field, frozen

from bitopro_orders import (
    BitoProError,
    CancelOutcome,
    NotSentError,
    OrderHistory,
    OrdersClient,
    OutcomeUnknownError,
    RejectedError,
    SendingPolicy,
    State,
    Timing,
    cancel_and_confirm_async,
    connect,
    order_history,
    resolve_async,
)
from bitopro_orders.states import LAG_SECONDS
from bitopro_sandbox import (
    Account,
    Fault,
    Order,
    OrderNotLiveError,
    OrderStatus,
    Sandbox,
    Settings,
    StreamFault,
    faults,
)
from bitopro_sandbox.app import Api
from bitopro_sandbox.book import Book
from bitopro_sandbox.faults import Answer, Faults, json_answer
from bitopro_sandbox.journal import Journal
from bitopro_sandbox.server import HOST
from bitopro_sandbox.serving import Server
from tests.outcomes.support import NOWHERE, edited, requests_for
from tests.support import credentials_of

START_MS = 1_800_000_000_000
#: What is on its way to the other side of a socket has this long to arrive, in real seconds.
GRACE_SECONDS = 0.0003
#: What the sandbox's readings lag behind its book is at most this part of what is allowed for.
MOST_LAG = 0.95
HOURS_SECONDS = 7200.0
FINAL = {
    OrderStatus.FILLED: State.FILLED,
    OrderStatus.PARTLY_FILLED_CANCELLED: State.PARTLY_FILLED,
    OrderStatus.CANCELLED: State.CANCELLED,
}


class _Selector(selectors.DefaultSelector):
    """Lets time pass when nothing is ready."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        ready = super().select(GRACE_SECONDS if timeout is not None else 1.0)
        if not ready and timeout is not None:
            self.seconds += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock goes on when there is nothing to do."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return its seconds."""
        return self._clock.seconds


@define
class Report:
    """What the runs came to.

    Attributes:
        counts: How often what was told.
        violations: What must not be, with the seed.
    """

    counts: Counter[str] = Factory(Counter)
    violations: list[str] = Factory(list)

    def __iadd__(self, other: "Report") -> Self:
        self.counts += other.counts
        self.violations += other.violations
        return self


@frozen
class Told:
    """An outcome, or why there is none, and when it was told, in the loop's seconds."""

    result: CancelOutcome | BitoProError | asyncio.CancelledError
    at: float
    by: str


def _own(status: int, text: str, *, processed: bool = False) -> Fault:
    answer = json_answer(status, {"error": text})
    return Fault(name=f"own_{status}", processed=processed, rewrite=lambda _: answer)


def _executed(value: object) -> Fault:
    return evolve(edited(executedAmount=value), name="executed_unreadable")


#: What may happen to a request, also that it is refused and processed all the same.
REST = [
    *(faults.delay(before_ms=ms) for ms in (50, 3_000, 20_000, 90_000)),
    *(faults.delay(after_ms=ms) for ms in (50, 3_000, 20_000)),
    faults.drop(),
    faults.drop(reset=True),
    faults.drop_answer(),
    faults.drop_answer(reset=True),
    faults.truncate(),
    faults.close_after_answer(),
    faults.html(),
    faults.invalid_json(),
    faults.empty_object(),
    faults.wrong_order_id(),
    faults.extra_fields(),
    faults.numbers(),
    *(_executed(value) for value in (None, "", "0,6", "n/a")),
    evolve(edited(executedAmount="n/a", remainingAmount=None), name="amounts_unreadable"),
    evolve(edited(status=5), name="wrong_status"),
    evolve(edited(price=None, amount=None, fee=5), name="other_types"),
    faults.redirect("http://127.0.0.1:1/"),
    *(faults.status(code, html=html) for code in (404, 502, 520) for html in (False, True)),
    *(faults.status(code, processed=True, html=True) for code in (404, 502, 520)),
    *(faults.status(code) for code in (400, 408, 409, 418, 422, 429, 500)),
    *(faults.status(code, processed=True) for code in (400, 408, 409, 422, 500)),
    _own(400, "Try later"),
    _own(422, "Try later", processed=True),
]
STREAM: list[Fault | StreamFault] = [
    faults.skip_message(),
    faults.repeat_message(),
    faults.late_message(4_000),
    faults.drop_stream(),
    faults.drop_stream(reset=True),
    faults.silence(),
    faults.silence(pongs=False),
    faults.malformed_message("not_json"),
    faults.malformed_message("wrong_types"),
    *(faults.status(code) for code in (404, 409, 503)),
    faults.redirect("ws://127.0.0.1:1/ws", 302),
    faults.drop(),
]


def _not_yet(loop: Loop) -> Fault:
    """Know no order, for no longer than the exchange may lag."""
    answer = json_answer(404, {"error": "Order not found"})
    ends_at = LAG_SECONDS * MOST_LAG

    def rewrite(nothing: Answer) -> Answer:
        return answer if loop.time() < ends_at else nothing

    return Fault(name="not_yet", processed=False, rewrite=rewrite)


def _lagging(book: Book, loop: Loop, seconds: float) -> Fault:
    """Read an order as it was so many seconds ago, or as not found if it was not there yet."""

    def rewrite(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        then = START_MS + round((loop.time() - seconds) * 1000)
        order_id = _order_id_of(answer)
        seen = [
            each.order for each in book.changes if each.order_id == order_id and each.at_ms <= then
        ]
        if not seen:
            return json_answer(404, {"error": "Order not found"})
        return json_answer(200, seen[-1].to_json())

    return Fault(name="lagging", rewrite=rewrite)


def _order_id_of(answer: Answer) -> str:
    return str(json.loads(answer.body)["id"])


class _Beside(Server):
    """Ends beside the tasks of its clients, which are in the same loop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[Sandbox]:
    """Serve a sandbox in this loop."""
    listener = socket.create_server((HOST, 0))
    # Otherwise half of an answer waits 40 ms of real time, in which hours pass.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"{HOST}:{listener.getsockname()[1]}"
    book, armed, journal = Book(settings.clock), Faults(), Journal()
    api = Api(settings, book, armed, journal)
    server = _Beside(api, settings)
    serving = asyncio.create_task(server._serve([listener]))
    while not server.ready.is_set():  # noqa: ASYNC110 - a thread's event
        await asyncio.sleep(0)
    try:
        yield Sandbox(
            base_url=f"http://{address}/v3",
            stream_url=f"ws://{address}/ws",
            settings=settings,
            book=book,
            faults=armed,
            journal=journal,
            streams=api.streams,
        )
    finally:
        server.stop()
        await serving


@define
class Run:
    """One mix."""

    seed: int
    loop: Loop
    dice: random.Random = field(init=False)
    report: Report = Factory(Report)

    def __attrs_post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def now_ms(self) -> int:
        return START_MS + round(self.loop.time() * 1000)

    async def play(self) -> None:
        dice = self.dice
        settings = Settings(
            accounts=(Account(api_key=f"key-{self.seed}"),),
            clock=self.now_ms,
            nonce_rule=dice.choice(["unique", "increasing"]),
            clock_window_ms=10**9,
            cancel_takes_ms=dice.choice([0, 0, 10, 300, 2_000]),
            second_cancel=dice.choice([200, 400, 404, 409, 422]),
            requests_per_minute=10**6,
            general_requests_per_minute=10**6,
        )
        timing = Timing(self.now_ms, self.loop.time, random=dice.random)
        async with _serving(settings) as sandbox:
            orders = self._placed(sandbox)
            client = connect(
                credentials_of(sandbox),
                base_url=sandbox.base_url,
                timeout=dice.choice([2.0, 10.0]),
                policy=SendingPolicy(limit_share=None),
                timing=timing,
            )
            moving = asyncio.create_task(self._move(sandbox, orders))
            async with client:
                if dice.random() < 0.3:
                    async with self._history(client, timing) as history:
                        told = await self._tell(sandbox, client, orders, history)
                else:
                    told = await self._tell(sandbox, client, orders, None)
                moving.cancel()
                await asyncio.sleep(120)  # in which everything arrives
                settled = {each.id: sandbox.book.get(each.id) for each in orders}
                sandbox.faults.clear()
                for order_id, each in told.items():
                    self._check(sandbox, order_id, each)
                when = "at once"
                if dice.random() < 0.5:
                    await asyncio.sleep(HOURS_SECONDS)
                    when = "hours later"
                for order_id, each in told.items():
                    if isinstance(each.result, OutcomeUnknownError):
                        again = await self._resolved(client, each.result, when)
                        self._check(sandbox, order_id, again)
                assert settled == {each.id: sandbox.book.get(each.id) for each in orders}

    def _history(self, client: OrdersClient, timing: Timing) -> OrderHistory:
        return order_history(client=client, timing=timing)

    def _placed(self, sandbox: Sandbox) -> list[Order]:
        """Place orders: open, partly filled, stop-limit, filled."""
        placed = []
        for number in range(self.dice.randint(1, 3)):
            order = sandbox.book.place(
                "BTC_TWD",
                "BUY",
                amount="1.6",
                price="2800000",
                order_type="STOP_LIMIT" if number == 2 else "LIMIT",
            )
            part = self.dice.choice([None, None, "0.1", "1.6"])
            if part is not None:
                order = sandbox.book.fill(order.id, part)
            placed.append(order)
        return placed

    async def _move(self, sandbox: Sandbox, orders: list[Order]) -> None:
        """Fill parts of the orders now and then."""
        while self.dice.random() < 0.7:
            await asyncio.sleep(self.dice.expovariate(1 / 4))
            order = sandbox.book.get(self.dice.choice(orders).id)
            part = order.remaining_amount * self.dice.choice([Decimal("0.25"), Decimal(1)])
            with suppress(OrderNotLiveError, ValueError):
                sandbox.book.fill(order.id, part)

    def _arm(self, sandbox: Sandbox) -> None:
        """Arm a mix; before it, readings lag or not."""
        dice = self.dice
        sandbox.faults.clear()
        rest = [*REST, _not_yet(self.loop)]
        for _ in range(dice.randint(0, 3)):
            method = dice.choice(["GET", "DELETE", None])
            chance, seed = dice.choice([0.2, 0.5, 0.8, 1.0]), dice.randrange(10**6)
            sandbox.faults.add(dice.choice(rest), method=method, probability=chance, seed=seed)
        for _ in range(dice.randint(0, 2)):
            chance, seed = dice.choice([0.3, 0.7]), dice.randrange(10**6)
            fault: Fault | StreamFault = dice.choice(STREAM)
            sandbox.faults.add(fault, method="STREAM", probability=chance, seed=seed)
        if dice.random() < 0.6:
            lag = dice.uniform(0, LAG_SECONDS * MOST_LAG)
            sandbox.faults.add(
                _lagging(sandbox.book, self.loop, lag), method="GET", probability=1.0
            )

    async def _tell(
        self, sandbox: Sandbox, client: OrdersClient, orders: list[Order], history: Any
    ) -> dict[str, Told]:
        self._arm(sandbox)
        later = self.loop.call_later(self.dice.uniform(0, 12), self._arm, sandbox)
        ids = [each.id for each in orders]
        if self.dice.random() < 0.2:
            ids.append(NOWHERE[1])
        try:
            told = await asyncio.gather(
                *(self._told(client, order_id, history) for order_id in ids)
            )
        finally:
            later.cancel()
        return dict(zip(ids, told, strict=True))

    async def _told(self, client: OrdersClient, order_id: str, history: Any) -> Told:
        task = asyncio.create_task(
            cancel_and_confirm_async(client, "BTC_TWD", order_id, history=history)
        )
        if self.dice.random() < 0.2:
            at = self.dice.uniform(0, 5)
            for seconds in (at, at + self.dice.choice([0, 0.001, 1])):
                self.loop.call_later(seconds, task.cancel)
        return await self._result(task, "confirmed")

    async def _resolved(self, client: OrdersClient, error: OutcomeUnknownError, when: str) -> Told:
        resolving = asyncio.ensure_future(resolve_async(client, error))
        return await self._result(resolving, f"resolved {when}")

    async def _result(self, task: "asyncio.Future[CancelOutcome]", by: str) -> Told:
        try:
            return Told(await task, self.loop.time(), by)
        except (BitoProError, asyncio.CancelledError) as error:
            return Told(error, self.loop.time(), by)

    def _check(self, sandbox: Sandbox, order_id: str, told: Told) -> None:
        result = told.result
        name = result.state.name if isinstance(result, CancelOutcome) else type(result).__name__
        if isinstance(result, OutcomeUnknownError):
            name = (
                f"unknown, {'task cancelled' if 'was cancelled' in str(result) else 'no time left'}"
            )
        what = " (no such order)" if order_id == NOWHERE[1] else ""
        self.report.counts[f"{told.by}: {name}{what}"] += 1
        why = self._wrong(sandbox, order_id, told)
        if why:
            self.report.violations.append(f"seed {self.seed}, order {order_id}: {why}; {result!r}")

    def _wrong(self, sandbox: Sandbox, order_id: str, told: Told) -> str:
        """Say what is wrong with what was told; nothing if nothing is."""
        result = told.result
        deletes = requests_for(sandbox, order_id, "DELETE")
        refusing = range(400, 500)  # assumed: what is refused so was not processed
        worked = [each for each in deletes if each.processed and each.status not in refusing]
        if isinstance(result, CancelOutcome):
            if told.by == "confirmed" and result.attempts < len(deletes):
                return f"{len(deletes)} requests arrived"
            return "" if _is_truth(sandbox, result, told.at) else "the book says something else"
        if isinstance(result, OutcomeUnknownError):
            return "" if result.arguments.get("orderId") == order_id else "it names another order"
        if isinstance(result, NotSentError):
            return "a request arrived" if deletes else ""
        if isinstance(result, RejectedError | asyncio.CancelledError):
            return "a cancel worked" if worked else ""
        return "it is of no kind"


def _is_truth(sandbox: Sandbox, outcome: CancelOutcome, told_at: float) -> bool:
    """Say whether the outcome is what the settled book has, to the last digit."""
    if outcome.state is State.NOT_FOUND:
        return outcome.order_id not in sandbox.book.snapshot()
    order = sandbox.book.get(outcome.order_id)
    if outcome.state is State.OPEN:
        # It was live when it was last refused, and nothing that we sent has changed it since.
        changes = [each for each in sandbox.book.changes if each.order_id == order.id]
        then = START_MS + round((told_at - LAG_SECONDS) * 1000)
        seen = [each for each in changes if each.at_ms <= then]
        return (
            bool(seen)
            and seen[-1].new.is_live
            and not any(each.cause == "cancel" for each in changes)
            and any(_is_same(outcome, each.order) for each in changes)
        )
    return FINAL.get(order.status) is outcome.state and _is_same(outcome, order)


def _is_same(outcome: CancelOutcome, order: Order) -> bool:
    """Say whether the figures are the order's; what could not be read is not told."""
    return (
        outcome.executed in {None, order.executed_amount}
        and outcome.remaining in {None, order.remaining_amount}
        and outcome.average_price in {None, order.avg_execution_price}
        and outcome.evidence is not None
        and outcome.evidence.status == order.status
        and (outcome.executed is not None or outcome.state is not State.CANCELLED)
    )


def run(seed: int) -> Report:
    """Play one mix."""
    loop, logger = Loop(), logging.getLogger("bitopro_orders")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        mix = Run(seed, loop)
        try:
            loop.run_until_complete(mix.play())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            mix.report.violations.append(f"seed {seed}: {error!r}")
        return mix.report
    finally:
        logger.setLevel(level)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def run_many(seeds: Iterable[int]) -> Report:
    """Play many mixes, on every core."""
    report = Report()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for each in pool.map(run, seeds, chunksize=10):
            report += each
    return report


def account(report: Report) -> Iterator[str]:
    """Say what the runs came to."""
    for by in ("confirmed", "resolved at once", "resolved hours later"):
        counts = {k: n for k, n in report.counts.items() if k.startswith(by)}
        total = sum(counts.values())
        unknown = sum(n for name, n in counts.items() if ": unknown" in name)
        for name in sorted(counts):
            yield f"{counts[name]:8} {name}"
        yield f"{unknown / max(total, 1):8.1%} of {total} {by} unknown"
    yield from report.violations
