"""Follow the stream of an account's done orders, with each change once, also across reconnects.

    async with order_history() as history:
        async for order in history:
            print(order.id, order.status)

It needs the extra `stream`. openapi/streams.yaml describes what the exchange sends. Source:
https://github.com/bitoex/bitopro-offical-api-docs/tree/master/ws/private
"""

import asyncio
import contextlib
import copy
import logging
import math
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from attrs import Attribute, define, field

from bitopro_auth import Credentials
from bitopro_auth.credentials import Secret
from bitopro_auth.signing import identity_json, signed_headers
from bitopro_client import Client
from bitopro_client.api.orders import get_order
from bitopro_client.models import Order

from .changes import OrderChanges, read_message
from .connection import OrdersClient, connect, given_or_from_env
from .errors import (
    BitoProError,
    ClockMismatchError,
    InvalidArgumentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from .lost import LostError
from .places import STREAM_URL as STREAM_URL
from .places import belong_together, stream_and_base_url
from .states import FINAL, LAG_SECONDS, Key, key_of
from .timing import Timing

if TYPE_CHECKING:
    from .websocket import Connection

HISTORY_PATH = "/v1/pub/auth/orders/histories"

logger: logging.Logger = logging.getLogger(__name__)


def _positive(_: object, attribute: "Attribute[Any]", number: object) -> None:
    allowed = (int,) if attribute.type is int else (int, float)
    if type(number) not in allowed or not number > 0:  # type: ignore[operator]
        got = f"{number}" if type(number) in {int, float} else type(number).__name__
        raise InvalidArgumentError(f"{attribute.alias} must be a number above 0, not {got}")


@define(eq=False, repr=False, init=False)
class OrderHistory:
    """The stream of the account's done orders: use it with `async with`, then `async for`.

    From the start of the block, a task reads the stream, also while nobody iterates. The block
    begins when the first attempt to connect has succeeded or failed. A failure that may be
    temporary is logged, and the stream connects again, with a new signature. Any other failure,
    such as a 401, is raised from the `async with`, the iteration and `final()`. If several loops
    iterate over one history, each change goes to one of them.

    Redirects are never followed, and proxy settings of the environment are ignored, because each of
    these could send the credentials to another host.

    Args:
        credentials: The credentials of the account; by default those of the client, or else those
            of the environment.
        stream_url: The URL of the streams. It must be wss, or ws to this machine itself. By default
            `BITOPRO_STREAM_URL` of the environment, or else the streams of the client's exchange.
        client: Reads the orders that may have changed, after a reconnect and after a message that
            was not understood. Without a client, no orders are read.
        nonce: Returns the next nonce, in milliseconds since the epoch. By default it comes from the
            client's source, or, without a client, from that of this process for this key.
        snapshot: Whether to iterate over the orders that the exchange sends first after connecting.
            `final()` knows these orders in any case.
        on_malformed: Called with the reason, for each fault in a message.
        connect_timeout_seconds: How long connecting may take.
        silence_seconds: How long the exchange may send nothing, not even a ping, before the
            connection counts as broken. It pings every 20 seconds (documented).
        first_backoff_seconds: The longest wait before the first reconnect; it doubles with each
            further one. The actual wait is a random part of it (full jitter).
        longest_backoff_seconds: The longest wait before any reconnect. After a connection that
            lasted this long, the backoff starts again from the first one.
        deadline_seconds: How long to try while there is no connection; by default there is no
            limit.
        max_message_bytes: The largest message that is accepted; a larger one ends the connection.
        max_waiting_orders: How many changes may wait for the iteration. If there are more, the
            oldest is dropped.
        timing: The clocks, the sleeps and the randomness.

    Raises:
        ModuleNotFoundError: If the extra `stream` is not installed.
        InvalidArgumentError: If an argument or a variable of the environment is missing or breaks
            its rule, or if the streams and the client's API belong to different exchanges.

    Attributes:
        connected: Whether there is a connection now.
        malformed: How many faults in messages were reported and skipped.
    """

    _credentials: Credentials | None
    _stream_url: str
    _base_url: str
    _client: Client | None
    _nonce: Callable[[], int] | None
    _snapshot: bool
    _on_malformed: Callable[[str], object] | None
    _connect_timeout_seconds: float = field(validator=_positive)
    _silence_seconds: float = field(validator=_positive)
    _first_backoff_seconds: float = field(validator=_positive)
    _longest_backoff_seconds: float = field(validator=_positive)
    _deadline_seconds: float = field(validator=_positive)
    _max_message_bytes: int = field(validator=_positive)
    _max_waiting_orders: int = field(validator=_positive)
    _timing: Timing

    _ours: OrdersClient | None = field(default=None, init=False)
    connected: bool = field(default=False, init=False)
    malformed: int = field(default=0, init=False)
    _changes: OrderChanges = field(factory=OrderChanges, init=False)
    _waiting: deque[Order] = field(factory=deque, init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    _tried: asyncio.Event = field(factory=asyncio.Event, init=False)
    _finals: dict[Key, set[asyncio.Future[Order]]] = field(factory=dict, init=False)
    _gap_at: float = field(default=-math.inf, init=False)
    _read_at: dict[Key, float] = field(factory=dict, init=False)
    _filling: asyncio.Task[None] | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _end: BitoProError | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def __init__(
        self,
        credentials: Credentials | None = None,
        *,
        stream_url: str | None = None,
        client: Client | None = None,
        nonce: Callable[[], int] | None = None,
        snapshot: bool = True,
        on_malformed: Callable[[str], object] | None = None,
        connect_timeout_seconds: float = 10.0,
        silence_seconds: float = 30.0,
        first_backoff_seconds: float = 0.5,
        longest_backoff_seconds: float = 30.0,
        deadline_seconds: float = math.inf,
        max_message_bytes: int = 2**20,
        max_waiting_orders: int = 10_000,
        timing: Timing | None = None,
    ) -> None:
        # Hidden before anything can be raised: it may hold a password.
        hidden = None if stream_url is None else Secret(stream_url)
        del stream_url
        try:
            from . import websocket  # noqa: F401 - only here can it be missing
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "order_history needs: pip install 'bitopro-orders[stream]'", name=error.name
            ) from error
        # Any client is taken; one that says where its API is must not talk to another exchange.
        place = stream_and_base_url(hidden, getattr(client, "_base_url", None))
        self.__attrs_init__(
            credentials,
            *place,
            client,
            nonce,
            snapshot,
            on_malformed,
            connect_timeout_seconds,
            silence_seconds,
            first_backoff_seconds,
            longest_backoff_seconds,
            deadline_seconds,
            max_message_bytes,
            max_waiting_orders,
            timing or Timing(),
        )

    def __attrs_post_init__(self) -> None:
        ours = self._client if isinstance(self._client, OrdersClient) else None
        if self._credentials is None and ours is not None:
            self._credentials = ours.credentials
        self._credentials = given_or_from_env(self._credentials)
        if self._nonce is None and (ours is None or ours.credentials != self._credentials):
            # Never asked for an order: it knows the nonces of this process for this key.
            ours = connect(self._credentials, base_url=self._base_url, timing=self._timing)
        self._ours = ours

    async def __aenter__(self) -> Self:
        if self._task is not None or self._closed:
            raise RuntimeError("an order history is entered once")
        self._task = asyncio.create_task(self._run(), name="order history")
        try:
            await self._tried.wait()
            self._check_not_ended()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream at once: the iteration stops, and calls of `final()` that wait raise.

        The error that they raise is an `OutcomeUnknownError`, or the one that ended the stream
        before.
        """
        self._closed = True
        self._stop(self._end or OutcomeUnknownError("the order history was closed"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def follows(self, client: OrdersClient) -> bool:
        """Say whether the stream may belong to the exchange that a client uses."""
        return belong_together(client.base_url, self._stream_url)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Order:
        self._check_entered()
        while not self._closed:
            if self._waiting:
                return self._waiting.popleft()
            self._check_not_ended()
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration

    async def final(self, pair: str, order_id: str) -> Order:
        """Return the order once the stream has shown it in a final state (2, 3, 4 or 6).

        It returns at once if that was before the call. Otherwise it waits without a limit: put it
        in an `asyncio.timeout`.

        Args:
            pair: The trading pair, in upper or lower case.
            order_id: The order's id.

        Raises:
            InvalidArgumentError: If an argument is not text, or is empty.
            OutcomeUnknownError: If the stream was closed, or had no connection for
                `deadline_seconds`.
            RejectedError: If the exchange refused the stream, and a retry cannot help.
        """
        self._check_entered()
        if not all(isinstance(text, str) and text for text in (pair, order_id)):
            raise InvalidArgumentError(
                "pair and order_id must be texts such as BTC_TWD and 2959906694, not "
                f"{type(pair).__name__} and {type(order_id).__name__}, and not empty"
            )
        key = key_of(pair, order_id)
        order = self._changes.final(key)
        if order is not None:
            return order
        self._check_not_ended()
        waiter: asyncio.Future[Order] = asyncio.get_running_loop().create_future()
        waiters = self._finals.setdefault(key, set())
        waiters.add(waiter)
        self._see_to_gap()
        try:
            return await waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._finals.pop(key, None)

    def _check_entered(self) -> None:
        if self._task is None and not self._closed:
            raise RuntimeError("enter it first: async with order_history() as history")

    def _check_not_ended(self) -> None:
        if self._end is not None:
            # A copy has no traceback: each caller gets its own, and none leads to a handshake.
            raise copy.copy(self._end)

    def _stop(self, end: BitoProError) -> None:
        self._end = end
        self.connected = False
        self._tried.set()
        self._news.set()
        for waiter in [each for waiters in self._finals.values() for each in waiters]:
            if not waiter.done():
                waiter.set_exception(copy.copy(end))

    async def _run(self) -> None:
        now, attempt, reconnect = self._timing.monotonic, 0, False
        lost_at = now()
        while True:
            opened_at = None
            try:
                connection = await self._open()
                opened_at = now()
                await self._follow(connection, has_gap=reconnect)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next one may hold
                failure = error
            self.connected, reconnect = False, True
            if opened_at is not None:
                lost_at = now()
                attempt = 0 if lost_at - opened_at >= self._longest_backoff_seconds else attempt
            delay = self._delay(attempt)
            if isinstance(failure, RateLimitedError):
                delay = max(delay, failure.retry_after or 0.0)
                if self._ours is not None:
                    self._ours.handshake_refused(failure.retry_after)
            reason = _reason_of(failure)
            if not _may_heal(failure) or now() + delay - lost_at > self._deadline_seconds:
                logger.error("the stream ends: %s", reason, extra={"reason": reason})
                end = failure if isinstance(failure, BitoProError) else OutcomeUnknownError(reason)
                return self._stop(end)
            attempt += 1
            logger.warning(
                "connecting again in %.1f s: %s",
                delay,
                reason,
                extra={"attempt": attempt, "delay_seconds": delay, "reason": reason},
            )
            self._tried.set()
            await self._timing.sleep_async(delay)

    def _delay(self, attempt: int) -> float:
        most = self._first_backoff_seconds * 2.0 ** min(attempt, 60)
        return self._timing.random() * min(most, self._longest_backoff_seconds)

    async def _open(self) -> "Connection":
        from .websocket import open_connection

        return await open_connection(
            self._stream_url + HISTORY_PATH,
            sign=self._sign,
            identity=cast("Credentials", self._credentials).identity,
            timing=self._timing,
            connect_timeout_seconds=self._connect_timeout_seconds,
            max_message_bytes=self._max_message_bytes,
        )

    async def _sign(self) -> dict[str, str]:
        credentials = cast("Credentials", self._credentials)
        if self._nonce is not None:
            nonce = self._nonce()
        else:
            nonce = await cast("OrdersClient", self._ours).handshake_nonce(
                self._connect_timeout_seconds
            )
        return signed_headers(identity_json(credentials.identity, nonce), credentials)

    async def _follow(self, connection: "Connection", *, has_gap: bool) -> NoReturn:
        try:
            self.connected = True
            self._tried.set()
            logger.info("connected", extra={"url": self._stream_url})
            if has_gap:
                self._note_gap()
            while True:
                self._take_message(await self._next_message(connection))
        finally:
            self.connected = False
            filling, self._filling = self._filling, None
            if filling is not None:
                filling.cancel()
            try:
                await connection.close()
            finally:
                # Should closing the history come in between.
                connection.transport.abort()
            if filling is not None:
                await asyncio.wait([filling])

    async def _next_message(self, connection: "Connection") -> str | bytes:
        while True:
            left = connection.heard_at + self._silence_seconds - self._timing.monotonic()
            if left <= 0:
                raise LostError(f"nothing was heard for {self._silence_seconds:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    return await connection.receive()

    def _take_message(self, content: str | bytes) -> None:
        message = read_message(content)
        if self._changes.is_repeat(message.event_id, content):
            return
        for fault in message.faults:
            self.malformed += 1
            logger.warning("a message was not understood: %s", fault, extra={"reason": fault})
            try:
                if self._on_malformed is not None:
                    self._on_malformed(fault)
            except Exception:
                logger.exception("on_malformed failed")
        if message.faults:
            self._note_gap()
        for order in message.orders:
            self._take(order, wanted=self._snapshot)
        if message.orders or not message.faults:
            self._snapshot = True

    def _take(self, order: Order, *, wanted: bool = True) -> None:
        if not self._changes.accept(order):
            return
        if wanted:
            if len(self._waiting) == self._max_waiting_orders:
                self._waiting.popleft()
                logger.warning("nobody iterates: the oldest change is lost")
            self._waiting.append(order)
            self._news.set()
        if order.status in FINAL:
            for waiter in self._finals.get(key_of(order.pair, order.id), ()):
                if not waiter.done():
                    waiter.set_result(order)

    def _note_gap(self) -> None:
        """Take note that changes up to now may not have been seen, and see to them."""
        self._gap_at = self._timing.monotonic()
        self._see_to_gap()

    def _see_to_gap(self) -> None:
        has_gap = self.connected and self._gap_at > -math.inf and self._client is not None
        if has_gap and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill_gap(cast("Client", self._client)))

    async def _fill_gap(self, client: Client) -> None:
        """Read each order that may have changed until it is final or what is read is new enough."""
        now = self._timing.monotonic
        due_at: dict[Key, float] = {}
        for attempt in count():
            keys = self._changes.live() | self._finals.keys()
            self._read_at = {key: at for key, at in self._read_at.items() if key in keys}
            new_enough = self._gap_at + LAG_SECONDS
            unread = {
                key
                for key in keys
                if self._changes.final(key) is None
                and self._read_at.get(key, -math.inf) < new_enough
            }
            if not unread:
                return
            for key in sorted(unread):
                began = now()
                if began < due_at.get(key, -math.inf):
                    continue
                due_at[key] = new_enough
                try:
                    pair, order_id = key
                    order = await get_order.asyncio(pair=pair, order_id=order_id, client=client)
                    self._take(order)
                except Exception as error:  # noqa: BLE001 - a client without connect() raises any
                    logger.warning("an order was not read: %s", type(error).__name__)
                    if _may_heal(error):
                        due_at[key] = now() + self._delay(attempt)
                        continue
                self._read_at[key] = began
            await self._timing.sleep_async(max(0.0, min(due_at[key] for key in unread) - now()))


order_history = OrderHistory
"""Follow the account's done orders: `async with order_history() as history`; see `OrderHistory`."""


def _may_heal(error: Exception) -> bool:
    """Say whether waiting may help."""
    if isinstance(error, InvalidArgumentError):
        return False
    lasting = not isinstance(error, ClockMismatchError | RateLimitedError)
    return not (isinstance(error, RejectedError) and lasting)


def _reason_of(error: Exception) -> str:
    if isinstance(error, BitoProError | LostError):
        return str(error)
    # Of other errors only the kind is told: they may quote what the other side sent.
    detail = f": {error}" if isinstance(error, OSError) else ""
    return f"no connection to the stream ({type(error).__name__}{detail})"
