"""What was told too soon, lost, or taken from another exchange, each by a mix of faults."""

import ast
import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from inspect import getsource
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import redis

import bitopro_orders
from bitopro_auth import Credentials
from bitopro_client import Client
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.models import CancelledOrder
from bitopro_client.types import UNSET, Call, Operation, RateLimit
from bitopro_orders import (
    BadRequestError,
    BitoProError,
    CancelOutcome,
    InvalidArgumentError,
    OrdersClient,
    OutcomeUnknownError,
    SendingPolicy,
    State,
    Timing,
    cancel_and_confirm,
    cancel_and_confirm_async,
    connect,
    order_history,
    resolve,
    resolve_async,
)
from bitopro_sandbox import Fault, OrderStatus, Sandbox, Settings, StreamFault, faults, serve
from bitopro_sandbox.faults import Answer, json_answer
from tests.outcomes.support import (
    FILLED,
    NOWHERE,
    ORDER,
    PARTLY_FILLED,
    client_of,
    edited,
    hasty_client_of,
    order_in,
    requests_for,
)
from tests.support import HASTY, credentials_of, environment_of, wire

OFTEN = 1000
LAG_SECONDS = 5.0
ConfirmAt = Callable[..., CancelOutcome]
Confirm = Callable[..., CancelOutcome]
Settle = Callable[..., CancelOutcome]
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BITOPRO_BASE_URL", "BITOPRO_STREAM_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bare(mode: str) -> Callable[..., Any]:
    """Do one call of an operation with a client of its own: `bare(operation, make, *order)`."""

    def run(operation: Any, make: Callable[[], OrdersClient], *order: Any) -> Any:
        if mode == "sync":
            with make() as client:
                return operation.sync(*order, client=client)

        async def main() -> Any:
            async with make() as client:
                return await operation.asyncio(*order, client=client)

        return asyncio.run(main())

    return run


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def answering(content: Any, status: int = 200) -> Fault:
    """Answer with this JSON; the request is not processed."""
    return Fault(name="own", processed=False, rewrite=lambda _: json_answer(status, content))


NOT_FOUND = answering({"error": "Order not found"}, 404)


def lagging(sandbox: Sandbox, order_id: str, seconds: float) -> Fault:
    """Read the order as it is now, for so many of the hasty seconds."""
    body = json_answer(200, sandbox.book.get(order_id).to_json()).body
    until = HASTY.monotonic() + seconds

    def rewrite(answer: Answer) -> Answer:
        return Answer(200, body) if HASTY.monotonic() < until else answer

    return Fault(name="lagging", rewrite=rewrite)


# 1: open and not found


@pytest.mark.parametrize(("order", "amount"), [(ORDER, None), (PARTLY_FILLED, None)])
def test_a_filled_order_that_is_read_late_is_not_told_as_open(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt, order: Any, amount: str | None
) -> None:
    stale = lagging(bitopro_sandbox, order[1], LAG_SECONDS - 0.5)
    bitopro_sandbox.faults.add(stale, method="GET", times=OFTEN)
    bitopro_sandbox.book.fill(order[1], amount)
    outcome = confirm_at(lambda: hasty_client_of(bitopro_sandbox), *order)
    assert outcome.state is State.FILLED
    assert outcome.evidence == order_in(bitopro_sandbox, order[1])


def test_an_order_that_is_filled_just_before_the_last_refusal_is_not_told_as_open(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt
) -> None:
    """Readings lag, and the cancel is refused for another reason first."""
    refused: list[float] = []

    def refuse(answer: Answer) -> Answer:
        refused.append(HASTY.monotonic())
        if refused[-1] - refused[0] >= LAG_SECONDS:
            stale = lagging(bitopro_sandbox, ORDER[1], LAG_SECONDS - 0.5)
            bitopro_sandbox.faults.add(stale, method="GET", times=OFTEN)
            if bitopro_sandbox.book.get(ORDER[1]).status.is_live:
                bitopro_sandbox.book.fill(ORDER[1])
        return json_answer(400, {"error": "Try later"})

    fault = Fault(name="refuse", processed=False, rewrite=refuse)
    bitopro_sandbox.faults.add(fault, method="DELETE", times=OFTEN)
    assert confirm_at(lambda: hasty_client_of(bitopro_sandbox), *ORDER).state is State.FILLED


def test_open_and_not_found_take_as_long_as_the_lag(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt
) -> None:
    bitopro_sandbox.faults.add(faults.status(422), method="DELETE", times=OFTEN)
    for order, state, lags in ((ORDER, State.OPEN, 2), (NOWHERE, State.NOT_FOUND, 1)):
        if state is State.NOT_FOUND:
            bitopro_sandbox.faults.clear()
        began = HASTY.monotonic()
        outcome = confirm_at(lambda: hasty_client_of(bitopro_sandbox), *order)
        assert outcome.state is state
        assert HASTY.monotonic() - began >= lags * LAG_SECONDS


@pytest.mark.parametrize(
    "not_yet", [NOT_FOUND, faults.status(404, html=True)], ids=["its own 404", "a proxy's 404"]
)
def test_an_open_order_is_not_told_as_not_found_after_one_404_each(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt, not_yet: Fault
) -> None:
    for method in ("DELETE", "GET"):
        bitopro_sandbox.faults.add(not_yet, method=method)
    outcome = confirm_at(lambda: hasty_client_of(bitopro_sandbox), *ORDER)
    assert outcome.state is State.CANCELLED
    assert bitopro_sandbox.book.get(ORDER[1]).status is OrderStatus.CANCELLED


def test_a_404_after_the_order_was_read_is_not_told_as_not_found(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt
) -> None:
    bitopro_sandbox.faults.add(NOT_FOUND, method="DELETE", times=OFTEN)
    bitopro_sandbox.faults.add(faults.delay(), method="GET", times=1)
    bitopro_sandbox.faults.add(NOT_FOUND, method="GET", times=OFTEN)
    with pytest.raises(OutcomeUnknownError) as caught:
        confirm_at(lambda: hasty_client_of(bitopro_sandbox), *ORDER, timeout=3 * LAG_SECONDS)
    assert caught.value.last_seen is not None


@pytest.mark.parametrize("wrong", ["path", "proxy"])
def test_a_404_that_is_not_about_the_order_never_ends_in_not_found(
    bitopro_sandbox: Sandbox, confirm_at: ConfirmAt, wrong: str
) -> None:
    options = {}
    if wrong == "path":
        options = {"base_url": bitopro_sandbox.base_url.removesuffix("/v3")}
    else:
        bitopro_sandbox.faults.add(faults.status(404, html=True), times=OFTEN)
    with pytest.raises(OutcomeUnknownError, match="base_url"):
        confirm_at(
            lambda: hasty_client_of(bitopro_sandbox, **options), *ORDER, timeout=3 * LAG_SECONDS
        )
    assert bitopro_sandbox.book.get(ORDER[1]).status is OrderStatus.OPEN


def test_a_bare_404_that_is_not_the_exchanges_is_unknown_and_suspects_the_base_url(
    bitopro_sandbox: Sandbox, bare: Callable[..., Any]
) -> None:
    bitopro_sandbox.faults.add(faults.status(404, html=True), times=OFTEN)
    with pytest.raises(OutcomeUnknownError, match="base_url") as caught:
        bare(cancel_order, lambda: client_of(bitopro_sandbox), *ORDER)
    assert caught.value.status == 404
    assert len(bitopro_sandbox.journal) == 1


# 2: what was filled

UNREADABLE = [None, "", "0,6", "n/a"]


@pytest.mark.parametrize("executed", UNREADABLE)
@pytest.mark.parametrize("status", [4, 6])
def test_an_executed_amount_that_cannot_be_read_is_what_does_not_remain(
    bitopro_sandbox: Sandbox, confirm: Confirm, executed: object, status: int
) -> None:
    fault = edited(status=status, executedAmount=executed)
    bitopro_sandbox.faults.add(fault, method="GET", times=OFTEN)
    outcome = confirm(bitopro_sandbox, *PARTLY_FILLED)
    assert (outcome.state, outcome.executed) == (State.PARTLY_FILLED, Decimal("0.6"))
    assert outcome.remaining == Decimal("0.9")


@pytest.mark.parametrize("executed", UNREADABLE)
@pytest.mark.parametrize(
    "others",
    [{"remainingAmount": None}, {"originalAmount": "?"}, {"remainingAmount": "9"},
     {"remainingAmount": "0"}],
    ids=["remaining unreadable", "original unreadable", "more remains", "nothing remains"],
)  # fmt: skip
def test_an_order_that_does_not_say_what_was_filled_is_read_on(
    bitopro_sandbox: Sandbox, confirm: Confirm, executed: object, others: dict[str, object]
) -> None:
    fault = edited(status=4, executedAmount=executed, **others)
    bitopro_sandbox.faults.add(fault, method="GET", times=2)
    outcome = confirm(bitopro_sandbox, *PARTLY_FILLED)
    assert (outcome.state, outcome.executed) == (State.PARTLY_FILLED, Decimal("0.6"))
    assert len(requests_for(bitopro_sandbox, PARTLY_FILLED[1], "GET")) == 3


def test_an_order_that_never_says_what_was_filled_is_unknown(
    bitopro_sandbox: Sandbox, confirm: Confirm
) -> None:
    fault = edited(status=4, executedAmount="n/a", remainingAmount=None)
    bitopro_sandbox.faults.add(fault, method="GET", times=OFTEN)
    with pytest.raises(OutcomeUnknownError, match="without a word on how much") as caught:
        confirm(bitopro_sandbox, *PARTLY_FILLED, timeout=0.3)
    assert caught.value.last_seen is not None


def test_a_model_says_what_its_types_say_or_leaves_it_out(
    bitopro_sandbox: Sandbox, bare: Callable[..., Any]
) -> None:
    values: dict[str, object] = {
        "price": None,
        "amount": 5,
        "action": float("nan"),
        "timestamp": "soon",
    }
    bitopro_sandbox.faults.add(edited(**values), method="DELETE")
    cancelled = bare(cancel_order, lambda: client_of(bitopro_sandbox), *ORDER)
    assert (cancelled.price, cancelled.amount) == ("", "5")
    assert (cancelled.action, cancelled.timestamp) == ("", UNSET)
    values = {"price": float("nan"), "fee": 5, "total": 0.5, "clientId": "x", "feeSymbol": []}
    bitopro_sandbox.faults.add(edited(**values), method="GET")
    order = bare(get_order, lambda: client_of(bitopro_sandbox), *ORDER)
    assert (order.price, order.fee, order.total) == ("", "5", "0.5")
    assert (order.client_id, order.fee_symbol, order.executed_amount) == (UNSET, UNSET, "0")


# 3: after a byte has left

PAIRS = b'[["orderId","2959906694"],["action","BUY"],["amount","1"],["price","1"],["timestamp",1]]'


def test_an_answer_of_pairs_is_unknown(bare: Callable[..., Any]) -> None:
    with wire(PAIRS) as server:
        with pytest.raises(OutcomeUnknownError):
            bare(
                cancel_order,
                lambda: connect(Credentials("k", "s", "i"), base_url=server.base_url),
                *ORDER,
            )


@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_whatever_fails_after_the_request_has_left_ends_as_unknown(
    bitopro_sandbox: Sandbox, bare: Callable[..., Any], raised: type[BaseException]
) -> None:
    bitopro_sandbox.faults.add(faults.status(400, processed=True), method="DELETE")

    def fails_later() -> int:
        if len(bitopro_sandbox.journal):
            raise raised
        return now_ms()

    timing = Timing(now_ms=fails_later)
    expected = OutcomeUnknownError if issubclass(raised, Exception) else raised
    with pytest.raises(expected):
        bare(cancel_order, lambda: client_of(bitopro_sandbox, timing=timing), *ORDER)


# 4: a task that is cancelled


class NoNews:
    """A history in which nothing happens."""

    async def final(self, pair: str, order_id: str) -> Any:
        await asyncio.Event().wait()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the journal has no event
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("history", [None, NoNews()], ids=["reading", "stream"])
@pytest.mark.parametrize("steps", range(4))
async def test_a_task_cancelled_twice_still_tells_that_the_request_is_out(
    bitopro_sandbox: Sandbox, history: Any, steps: int
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=5000), method="DELETE")
    async with client_of(bitopro_sandbox, timeout=10, policy=None) as client:
        task = asyncio.create_task(cancel_and_confirm_async(client, *ORDER, history=history))
        await until(lambda: len(bitopro_sandbox.journal))
        task.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(OutcomeUnknownError, match="the task was cancelled"):
            await task


async def test_a_task_cancelled_while_an_answered_cancel_gives_its_turn_back_keeps_the_answer(
    bitopro_sandbox: Sandbox, redis_url: str
) -> None:
    """The store of the turns is busy when the answer comes."""

    def rewrite(answer: Answer) -> Answer:
        with redis.Redis.from_url(redis_url) as store:
            store.client_pause(300)
        return answer

    bitopro_sandbox.faults.add(Fault(name="busy", rewrite=rewrite), method="DELETE")
    async with client_of(bitopro_sandbox, timeout=10, policy=None, shared=redis_url) as client:
        task = asyncio.create_task(cancel_order.asyncio(*ORDER, client=client))
        await until(lambda: [entry.status for entry in bitopro_sandbox.journal] == [200])
        await asyncio.sleep(0.05)
        task.cancel()
        assert (await task).order_id == ORDER[1]


async def test_a_task_cancelled_just_when_its_answer_is_whole_keeps_it(
    bitopro_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitopro_orders.transport.tasks import Connection

    take = Connection.data_received
    tasks: list[asyncio.Task[Any]] = []

    def take_and_cancel(self: Connection, data: bytes) -> None:
        parser = self._parser
        take(self, data)
        if parser is not None and parser.is_complete:
            tasks[0].cancel()

    async with client_of(bitopro_sandbox, timeout=10, policy=None) as client:
        await get_order.asyncio(*ORDER, client=client)
        monkeypatch.setattr(Connection, "data_received", take_and_cancel)
        tasks.append(asyncio.create_task(cancel_order.asyncio(*ORDER, client=client)))
        assert (await tasks[0]).order_id == ORDER[1]
        tasks[:] = []
        tasks.append(asyncio.create_task(cancel_and_confirm_async(client, *PARTLY_FILLED)))
        with pytest.raises(OutcomeUnknownError, match="the task was cancelled") as caught:
            await tasks[0]
        assert caught.value.accepted
        tasks[:] = []
        tasks.append(asyncio.create_task(get_order.asyncio(*ORDER, client=client)))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]


async def test_a_task_cancelled_while_a_transport_closes_its_answer_keeps_it() -> None:
    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b'{"action":"BUY","amount":"1","orderId":"2959906694","price":"1"}'

        async def aclose(self) -> None:
            task.cancel()
            await asyncio.sleep(0)

    async def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Stream())

    transport = httpx.MockTransport(handle)
    client = connect(Credentials("k", "s", "i"), transport=transport)
    task: asyncio.Task[CancelledOrder] = asyncio.create_task(
        cancel_order.asyncio(*ORDER, client=client)
    )
    assert (await task).order_id == ORDER[1]


# 5: one exchange


async def test_a_history_follows_the_exchange_of_its_client(bitopro_sandbox: Sandbox) -> None:
    async with client_of(bitopro_sandbox) as client, order_history(client=client) as history:
        assert history.connected
        assert bitopro_sandbox.stream_count == 1


async def test_a_history_follows_the_environment(
    bitopro_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment_of(bitopro_sandbox).items():
        monkeypatch.setenv(name, value)
    async with order_history(), connect() as client, order_history(client=client):
        assert bitopro_sandbox.stream_count == 2
    assert {entry.fault for entry in bitopro_sandbox.journal} == {None}


@pytest.mark.parametrize(
    ("base_url", "stream_url"),
    [
        ("http://127.0.0.1:1/v3", "ws://127.0.0.1:2/ws"),
        ("http://127.0.0.1:1/v3", "wss://stream.bitopro.com:443/ws"),
        ("https://api.bitopro.com/v3", "ws://127.0.0.1:1/ws"),
        ("https://api.bitopro.com/v3", "wss://exchange.example/ws"),
        ("https://exchange.example/v3", "wss://stream.bitopro.com:443/ws"),
        ("https://exchange.example/v3", "ws://127.0.0.1:1/ws"),
        ("https://exchange.example/v3", None),
    ],
)
@pytest.mark.parametrize("by", ["client", "argument and environment", "environment"])
def test_a_mix_of_two_exchanges_is_refused(
    monkeypatch: pytest.MonkeyPatch, base_url: str, stream_url: str | None, by: str
) -> None:
    credentials = Credentials("k", "s", "i")
    options: dict[str, Any] = {} if stream_url is None else {"stream_url": stream_url}
    if by == "client":
        options["client"] = connect(credentials, base_url=base_url)
    else:
        monkeypatch.setenv("BITOPRO_BASE_URL", base_url)
    if by == "environment" and stream_url is not None:
        monkeypatch.setenv("BITOPRO_STREAM_URL", options.pop("stream_url"))
    with pytest.raises(InvalidArgumentError, match=r"stream_url .* such as wss://"):
        order_history(credentials, **options)


async def test_a_history_of_another_exchange_proves_nothing(bitopro_sandbox: Sandbox) -> None:
    with serve() as other:
        other.book.cancel(ORDER[1])
        async with (
            client_of(bitopro_sandbox) as client,
            order_history(credentials_of(other), stream_url=other.stream_url) as history,
        ):
            assert (await history.final(*ORDER)).status == 4
            with pytest.raises(InvalidArgumentError, match="history"):
                await cancel_and_confirm_async(client, *ORDER, history=history)
    assert len(bitopro_sandbox.journal) == 0


def test_the_parameters_of_a_history_are_named_for_type_checkers() -> None:
    (tree,) = ast.parse(getsource(order_history)).body
    assert isinstance(tree, ast.ClassDef)
    names = [
        {argument.arg for argument in each.args.kwonlyargs}
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    ]
    assert names
    assert {"client", "stream_url", "snapshot", "timing"} <= names[0]


# 6: what a broken connection hides


@asynccontextmanager
async def following(sandbox: Sandbox) -> Any:
    async with client_of(sandbox, timeout=5, policy=SendingPolicy(limit_share=None)) as client:
        async with order_history(
            client=client,
            stream_url=sandbox.stream_url,
            first_backoff_seconds=0.1,
            timing=HASTY,
        ) as history:
            yield history


async def test_one_stale_reading_after_a_reconnect_loses_nothing(bitopro_sandbox: Sandbox) -> None:
    async with following(bitopro_sandbox) as history:
        await anext(history)  # the snapshot has come
        waiting = asyncio.create_task(history.final(*ORDER))
        bitopro_sandbox.faults.add(lagging(bitopro_sandbox, ORDER[1], 1000), method="GET")
        bitopro_sandbox.faults.add(faults.skip_message(), times=2, event="RECENT_HISTORY_ORDERS")
        bitopro_sandbox.book.cancel(ORDER[1])
        bitopro_sandbox.close_streams()
        async with asyncio.timeout(5):
            assert (await waiting).status == 4
    assert len(requests_for(bitopro_sandbox, ORDER[1], "GET")) == 2


@pytest.mark.parametrize("kind", ["not_json", "truncated", "no_data", "wrong_types", "binary"])
@pytest.mark.parametrize("waits", ["before", "after"])
async def test_a_malformed_message_loses_nothing(
    bitopro_sandbox: Sandbox, kind: Any, waits: str
) -> None:
    async with following(bitopro_sandbox) as history:
        await anext(history)
        waiting = asyncio.create_task(history.final(*ORDER))
        await asyncio.sleep(0)
        if waits == "after":
            waiting.cancel()
        fault = faults.malformed_message(kind)
        bitopro_sandbox.faults.add(fault, event="RECENT_HISTORY_ORDERS")
        bitopro_sandbox.book.cancel(ORDER[1])
        await until(lambda: history.malformed)
        if waits == "after":
            waiting = asyncio.create_task(history.final(*ORDER))
        async with asyncio.timeout(5):
            assert (await waiting).status == 4


@pytest.mark.parametrize(
    "fault",
    [
        faults.redirect("ws://127.0.0.1:1/ws", 302),
        faults.status(404),
        faults.status(404, html=True),
    ],
    ids=["302", "404", "a proxy's 404"],
)
@pytest.mark.parametrize("first", [True, False])
async def test_one_stray_answer_to_a_handshake_does_not_end_the_stream(
    bitopro_sandbox: Sandbox, fault: Fault | StreamFault, first: bool
) -> None:
    if first:
        bitopro_sandbox.faults.add(fault, method="STREAM")
    async with following(bitopro_sandbox) as history:
        if not first:
            bitopro_sandbox.faults.add(fault, method="STREAM")
            bitopro_sandbox.close_streams()
        bitopro_sandbox.book.cancel(ORDER[1])
        async with asyncio.timeout(5):
            assert (await history.final(*ORDER)).status == 4


# 7: an old question


def error_about(sent_ms: int, order: tuple[str, str] = ORDER) -> OutcomeUnknownError:
    error = OutcomeUnknownError("made by hand")
    error.operation, error.attempts, error.sent_ms = "cancelOrder", 1, sent_ms
    error.arguments = {"pair": order[0], "orderId": order[1]}
    return error


@pytest.mark.parametrize("order", [ORDER, PARTLY_FILLED])
def test_an_order_read_as_live_when_the_request_can_no_longer_be_under_way_is_open(
    bitopro_sandbox: Sandbox, settle: Settle, order: tuple[str, str]
) -> None:
    outcome = settle(bitopro_sandbox, error_about(now_ms() - HOUR_MS, order), timeout=2)
    assert (outcome.state, outcome.attempts) == (State.OPEN, 1)
    assert outcome.evidence == order_in(bitopro_sandbox, order[1])
    assert [entry.method for entry in bitopro_sandbox.journal] == ["GET", "GET"]


@pytest.mark.parametrize("age_ms", [0, 900_000, -HOUR_MS])
def test_a_request_that_may_be_under_way_leaves_it_unknown(
    bitopro_sandbox: Sandbox, settle: Settle, age_ms: int
) -> None:
    with pytest.raises(OutcomeUnknownError):
        settle(bitopro_sandbox, error_about(now_ms() - age_ms), timeout=0.3)


def test_how_long_a_request_may_be_under_way_is_a_setting(
    bitopro_sandbox: Sandbox, settle: Settle
) -> None:
    error = error_about(now_ms() - 60_000)
    assert settle(bitopro_sandbox, error, under_way_seconds=30).state is State.OPEN
    with pytest.raises(OutcomeUnknownError):
        settle(bitopro_sandbox, error, under_way_seconds=90, timeout=0.3)
    with pytest.raises(InvalidArgumentError, match=r"under_way_seconds must be .* not str"):
        settle(bitopro_sandbox, error, under_way_seconds="90")


def test_an_order_is_settled_without_an_error(bitopro_sandbox: Sandbox, mode: str) -> None:
    """After Ctrl-C there is none."""

    def settled(*order: Any, **options: Any) -> CancelOutcome:
        if mode == "sync":
            with client_of(bitopro_sandbox) as client:
                return bitopro_orders.resolve_order(client, *order, **options)

        async def main() -> CancelOutcome:
            async with client_of(bitopro_sandbox) as client:
                return await bitopro_orders.resolve_order_async(client, *order, **options)

        return asyncio.run(main())

    assert settled(*FILLED).state is State.FILLED
    with pytest.raises(OutcomeUnknownError) as caught:
        settled(*ORDER, timeout=0.2)
    assert caught.value.sent_ms > 0
    outcome = settled(*ORDER, sent_ms=now_ms() - HOUR_MS)
    assert outcome.state is State.OPEN
    with pytest.raises(InvalidArgumentError, match="orderId must be text such as"):
        settled("BTC_TWD", 1)
    with pytest.raises(InvalidArgumentError, match=r"sent_ms must be .* not str"):
        settled(*ORDER, sent_ms="1")
    assert {entry.method for entry in bitopro_sandbox.journal} == {"GET"}


@pytest.mark.parametrize("lost", [True, False])
def test_an_unknown_outcome_says_whether_the_cancel_was_accepted(
    confirm: Confirm, settle: Settle, lost: bool
) -> None:
    with serve(Settings(cancel_takes_ms=60_000)) as sandbox:
        if lost:
            sandbox.faults.add(faults.drop(), method="DELETE", times=OFTEN)
        with pytest.raises(OutcomeUnknownError) as caught:
            confirm(sandbox, *ORDER, timeout=0.3)
        assert caught.value.accepted is not lost
        assert ("had accepted the cancel" in str(caught.value)) is not lost
        with pytest.raises(OutcomeUnknownError) as again:
            settle(sandbox, caught.value, timeout=0.2)
        assert again.value.accepted is not lost


# 8: what carries no nonce

BATCH = Operation("cancelBatch", "PUT", "/orders", RateLimit("batch", 120, 60, ("ip",)), {})


def test_a_409_to_what_carries_no_nonce_says_nothing(bitopro_sandbox: Sandbox, mode: str) -> None:
    orders = {ORDER[0]: [ORDER[1]]}
    call: Call[Any] = Call(
        BATCH, {}, lambda: {"method": "put", "url": "/orders", "json": orders}, lambda body: body
    )
    corrections: list[int] = []

    def send() -> Any:
        with client_of(
            bitopro_sandbox,
            on_attempt=lambda record: corrections.append(record.clock_correction_ms),
            policy=SendingPolicy(limit_share=None),
        ) as client:
            if mode == "sync":
                return client.send(call)
            return asyncio.run(client.send_async(call))

    assert send().parsed["data"] == {ORDER[0]: [ORDER[1]]}
    with pytest.raises(OutcomeUnknownError) as caught:
        send()
    assert caught.value.status == 409
    assert "resolve" not in str(caught.value)
    assert [entry.status for entry in bitopro_sandbox.journal] == [200, 409]
    assert set(corrections) == {0}
    with (
        client_of(bitopro_sandbox) as client,
        pytest.raises(InvalidArgumentError, match="one order"),
    ):
        resolve(client, caught.value)


# 9: what the messages say


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (("BTC_TWD", 1), "orderId must be text such as 2959906694, not int"),
        (("BTC_TWD", None), "orderId must be text such as 2959906694, not NoneType"),
        (("BTC_TWD", ""), "orderId must be text of 1 to 31 characters that matches "),
        (("BTC_TWD", "29 59"), "orderId must be text of 1 to 31 characters that matches "),
        ((["BTC_TWD"], ORDER[1]), "pair must be text such as BTC_TWD, not list"),
    ],
    ids=range(5),
)
def test_a_bad_argument_is_told_with_an_example_and_what_was_got(
    bitopro_sandbox: Sandbox, bare: Callable[..., Any], order: Any, message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        bare(cancel_order, lambda: client_of(bitopro_sandbox), *order)
    assert str(caught.value).startswith(message)
    assert " such as " in str(caught.value)
    assert ", not " in str(caught.value)


def test_a_bad_setting_is_told_with_an_example_and_what_was_got(
    bitopro_sandbox: Sandbox, confirm: Confirm
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"timeout must be .* such as 30, not str"):
        confirm(bitopro_sandbox, *ORDER, timeout="5")
    with pytest.raises(InvalidArgumentError, match=r"attempts must be .* such as 4, not 0"):
        SendingPolicy(attempts=0)


def test_a_wrong_email_does_not_suspect_the_order(
    bitopro_sandbox: Sandbox, bare: Callable[..., Any], confirm_at: ConfirmAt
) -> None:
    account = bitopro_sandbox.account
    wrong = Credentials(account.api_key, account.api_secret, "other@example.com")

    def make() -> OrdersClient:
        return connect(wrong, base_url=bitopro_sandbox.base_url)

    for ask in (lambda: bare(cancel_order, make, *ORDER), lambda: confirm_at(make, *ORDER)):
        with pytest.raises(BadRequestError, match="BITOPRO_EMAIL") as caught:
            ask()
        assert "order's id" not in str(caught.value)
        assert "other@example.com" not in str(caught.value)


def test_a_wrong_base_url_does_not_suspect_the_order(
    bitopro_sandbox: Sandbox, bare: Callable[..., Any]
) -> None:
    base_url = bitopro_sandbox.base_url.removesuffix("/v3")
    with pytest.raises(BitoProError, match="base_url") as caught:
        bare(cancel_order, lambda: client_of(bitopro_sandbox, base_url=base_url), *ORDER)
    assert "order's id" not in str(caught.value)


@pytest.mark.parametrize("client", [None, Client("https://api.bitopro.com/v3"), SimpleNamespace()])
def test_a_client_that_is_not_from_connect_is_told(client: Any, mode: str) -> None:
    error = error_about(now_ms())
    calls: list[Callable[[], Any]] = [
        lambda: cancel_and_confirm(client, *ORDER),
        lambda: resolve(client, error),
    ]
    if mode == "async":
        calls = [
            lambda: asyncio.run(cancel_and_confirm_async(client, *ORDER)),
            lambda: asyncio.run(resolve_async(client, error)),
        ]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match=r"client must be one that connect\(\)"):
            call()
