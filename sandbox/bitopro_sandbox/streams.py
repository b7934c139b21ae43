"""The two order streams: what they send, and when."""

import asyncio
import itertools
import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

import attrs
from starlette.types import Message, Receive, Scope, Send

from bitopro_sandbox.book import Book, Change, Order
from bitopro_sandbox.connection import Connection, StreamSocket
from bitopro_sandbox.faults import Drop, Faults, Frame, Silence
from bitopro_sandbox.settings import Settings, StreamEvent


@attrs.define(eq=False)
class _Stream:
    event: StreamEvent
    connection: Connection
    socket: StreamSocket
    loop: asyncio.AbstractEventLoop
    silent: bool = False

    @property
    def is_over(self) -> bool:
        return self.silent or self.connection.transport.is_closing()

    def has(self, order: Order) -> bool:
        """Whether it is about orders such as this: the live ones, or the final ones."""
        return order.status.is_live is (self.event == "ACTIVE_ORDERS")

    def concerns(self, change: Change) -> bool:
        # Assumption: an order that leaves the live ones is pushed a last time, with its final
        # status, and one that is partly filled is not yet among the done ones.
        leaves = change.old is not None and change.old.is_live and self.event == "ACTIVE_ORDERS"
        return leaves or self.has(change.order)

    def send(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if self.is_over:
                return
            if isinstance(frame, Drop):
                self.connection.drop(reset=frame.reset)
            elif isinstance(frame, Silence):
                self.silent = True
                self.socket.hush(pongs=frame.pongs)
            else:
                self.socket.push(frame)


class Streams:
    """The open streams. Any thread may count and close them.

    Args:
        settings: The settings, for the clock.
        book: The orders.
        faults: Asked for a fault for every message.
    """

    def __init__(self, settings: Settings, book: Book, faults: Faults) -> None:
        self._settings = settings
        self._book = book
        self._faults = faults
        self._event_ids = itertools.count(1)
        self._lock = threading.Lock()
        self._open: set[_Stream] = set()

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Close all connections without a closing handshake. No later change is sent over them."""
        with self._lock:
            for stream in self._open:
                drop = partial(stream.connection.drop, reset=False)
                stream.loop.call_soon_threadsafe(drop)
            self._open.clear()

    async def serve(
        self, event: StreamEvent, accept: Message, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the orders as they are, and then every change, until the connection is closed.

        What the client sends is ignored (assumption).

        Args:
            event: The event of the stream.
            accept: The answer to the handshake.
            scope: ASGI's scope of the handshake.
            receive: ASGI's function.
            send: ASGI's function.
        """
        connection, socket = scope["state"]["connection"], scope["state"]["socket"]
        stream = _Stream(event, connection, socket, asyncio.get_running_loop())

        def changed(change: Change) -> None:
            # Also in the loop's own thread, where a cancel is then answered before it is pushed.
            stream.loop.call_soon_threadsafe(self._changed, stream, change)

        orders, unsubscribe = self._book.follow(changed)
        with self._lock:  # before the client knows that it is connected
            self._open.add(stream)
        try:
            await send(accept)
            # Assumption: the newest update first, as in GET /orders/open; a message also if empty.
            self._push(stream, filter(stream.has, reversed(orders.values())))
            while (await receive())["type"] != "websocket.disconnect":
                pass
        finally:
            unsubscribe()
            with self._lock:
                self._open.discard(stream)

    def _changed(self, stream: _Stream, change: Change) -> None:
        if stream.concerns(change) and not stream.is_over:
            self._push(stream, [change.order])

    def _push(self, stream: _Stream, orders: Iterable[Order]) -> None:
        message = self._message(stream.event, orders)
        fault = self._faults.take_message(stream.event)
        if fault is None:
            stream.send([message])
        elif fault.late_ms:
            stream.loop.call_later(fault.late_ms / 1000, stream.send, fault.rewrite(message))
        else:
            stream.send(fault.rewrite(message))

    def _message(self, event: StreamEvent, orders: Iterable[Order]) -> str:
        now = self._settings.clock()
        at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
        data: dict[str, list[dict[str, object]]] = {}
        for order in orders:
            wire = order.to_json()
            if "clientId" in wire:
                wire["clientID"] = wire.pop("clientId")
            data.setdefault(wire["pair"], []).append(wire)
        content = {
            "event": event,
            # Assumption: text, that counts the sandbox's messages.
            "eventID": str(next(self._event_ids)),
            "timestamp": now,
            "datetime": at.replace("+00:00", "Z"),
            "data": data,
        }
        return json.dumps(content, separators=(",", ":"))
