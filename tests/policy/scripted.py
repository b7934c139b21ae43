"""A scripted exchange in a world whose time passes only when something waits."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

from attrs import Factory, define, field, frozen

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.types import Call, Response
from bitopro_orders import AttemptRecord, SendingPolicy, Timing
from bitopro_orders.message import Route
from bitopro_orders.sending import Sender
from bitopro_orders.steps import TaskChannel, ThreadChannel, drive, drive_async
from bitopro_orders.throttle import SECOND, Key, Throttle
from bitopro_orders.throttle.memory import MemoryStore
from bitopro_orders.transport import (
    Answer,
    Attempt,
    BrokenError,
    Headers,
    NotConnectedError,
    Origin,
    SilenceError,
    Tally,
)
from bitopro_sandbox.book import demo_book

Way = Literal["sync", "async"]

SECRET = "a-secret-worth-nothing"
CREDENTIALS = Credentials("a-key-worth-nothing", SECRET, "demo@example.com")
PAIR, ORDER_ID = "BTC_TWD", "2959906694"
CANCELLED = json.dumps(
    {"action": "BUY", "amount": "1", "orderId": ORDER_ID, "price": "1", "timestamp": 1}
).encode()
ORDER = json.dumps(demo_book().get(ORDER_ID).to_json()).encode()
PHASE_SECONDS = 5.0


def a_cancel() -> Call[Any]:
    return cancel_order.call(PAIR, ORDER_ID)


def a_read() -> Call[Any]:
    return get_order.call(PAIR, ORDER_ID)


@define
class World:
    """Fake clocks and dice. The wall clock may be off by `off_by_ms`.

    Attributes:
        seconds: The true time, since the epoch.
        dice: What the next throws give; the last one again and again.
        slept: Every sleep.
    """

    seconds: float = 1_800_000_000.0
    off_by_ms: int = 0
    dice: list[float] = Factory(lambda: [0.5])
    slept: list[float] = Factory(list)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.seconds += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def throw(self) -> float:
        return self.dice.pop(0) if len(self.dice) > 1 else self.dice[0]

    def now_ms(self) -> int:
        return round(self.seconds * 1000) + self.off_by_ms

    def date(self, seconds_later: float = 0) -> str:
        """Return the true time as a server writes it, cut to the second."""
        moment = datetime.fromtimestamp(int(self.seconds + seconds_later), UTC)
        return format_datetime(moment, usegmt=True)

    def timing(self) -> Timing:
        return Timing(self.now_ms, lambda: self.seconds, self.sleep, self.sleep_async, self.throw)


@frozen
class Reply:
    """A whole answer; `body` None is a good one. Headers may depend on when it is sent."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] | Callable[[World], Mapping[str, str]] = field(factory=dict)
    seconds: float = 0.03


@frozen
class Break:
    """No answer, but this failure."""

    error: Callable[[], BaseException]
    sent: bool
    seconds: float = 0.03


Event = Reply | Break
NO_CONNECTION = Break(lambda: NotConnectedError("refused"), sent=False)
RESET = Break(lambda: BrokenError("reset"), sent=True)
SILENCE = Reply(seconds=3600.0)
GARBLED = Reply(body=b"<html>")


@frozen
class Seen:
    """An attempt as the exchange saw it, or would have."""

    event: Event
    at: float
    nonce: int
    headers: Mapping[str, str]


@define
class ScriptedTransport:
    """Plays the events in turn, the last one for ever, and keeps to deadlines as ours does.

    Attributes:
        window_ms: How far a nonce may be from the true time; a reply to others is a 409.
    """

    world: World
    script: list[Event]
    seen: list[Seen] = Factory(list)
    window_ms: int | None = None

    def take(self, origin: Origin) -> Origin:
        return origin

    def put(self, connection: Origin) -> None:
        pass

    def close(self) -> None:
        pass

    def connect(self, origin: Origin, attempt: Attempt) -> Any:
        raise AssertionError("there is a connection")

    def exchange(self, connection: Origin, data: bytes, attempt: Attempt) -> Answer:
        event = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        left = min(attempt.phase_seconds, attempt.deadline - self.world.seconds)
        if left <= 0:
            event = Break(lambda: NotConnectedError("too late"), sent=False, seconds=0)
        if not isinstance(event, Break) or event.sent:
            attempt.leave()
        head = data.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in head)}
        # What a PUT signs is its body, without a nonce.
        nonce = json.loads(base64.b64decode(headers["x-bitopro-payload"])).get("nonce", 0)
        off_by_ms = abs(nonce - self.world.seconds * 1000)
        if self.window_ms and nonce and off_by_ms > self.window_ms and isinstance(event, Reply):
            event = Reply(409, None, lambda world: {"Date": world.date()}, event.seconds)
        self.seen.append(Seen(event, self.world.seconds, nonce, headers))
        if event.seconds > left:
            self.world.seconds += left
            raise (SilenceError if attempt.has_left else NotConnectedError)("timed out")
        self.world.seconds += event.seconds
        if isinstance(event, Break):
            raise event.error()
        body = event.body
        if body is None:
            good = CANCELLED if head[0].startswith("DELETE") else ORDER
            body = good if event.status == 200 else b'{"error":"no"}'
        found = event.headers(self.world) if callable(event.headers) else event.headers
        raw = [(name.encode(), text.encode()) for name, text in found.items()]
        return Answer(event.status, Headers(raw), body)


class ScriptedTasks:
    """The same for tasks."""

    def __init__(self, transport: ScriptedTransport) -> None:
        self._transport = transport
        self.take, self.put, self.close = transport.take, transport.put, transport.close

    async def connect(self, origin: Origin, attempt: Attempt) -> Any:
        return self._transport.connect(origin, attempt)

    async def exchange(self, connection: Origin, data: bytes, attempt: Attempt) -> Answer:
        return self._transport.exchange(connection, data, attempt)


@define
class Player:
    """Sends calls of one account through one sender, sync or async, against a script."""

    way: Way
    policy: SendingPolicy = field(factory=SendingPolicy)
    world: World = field(factory=World)
    base_url: str = "https://api.bitopro.com/v3"
    records: list[AttemptRecord] = Factory(list)
    transport: ScriptedTransport = field(init=False)
    sender: Sender = field(init=False)
    tally: Tally = field(factory=Tally)

    def __attrs_post_init__(self) -> None:
        self.transport = ScriptedTransport(self.world, [])
        timing = self.world.timing()
        store = MemoryStore(lambda: round(timing.monotonic() * SECOND))
        throttle, key = Throttle(store, timing), Key.of(CREDENTIALS, "")
        hosts = frozenset({"api.bitopro.com"})
        hook = self.records.append
        self.sender = Sender(CREDENTIALS, hosts, throttle, key, self.policy, timing, hook)

    @property
    def seen(self) -> list[Seen]:
        return self.transport.seen

    @property
    def nonces(self) -> list[int]:
        return [each.nonce for each in self.seen]

    def play(self, call: Call[Any], script: Iterable[Event]) -> Response[Any]:
        """Send one call while the exchange plays the script."""
        self.transport.script = list(script)
        route = Route.of(self.base_url, {}, {}, PHASE_SECONDS)
        steps = self.sender.steps(call, route, self.policy.deadline_seconds, self.tally)
        timing = self.world.timing()
        if self.way == "sync":
            return drive(steps, ThreadChannel(timing, self.transport))
        return asyncio.run(
            drive_async(steps, TaskChannel(timing, lambda: ScriptedTasks(self.transport)))
        )
