"""The transport for tasks: a protocol of asyncio, which is faster than asyncio's streams."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import cast

from bitopro_orders.signals import TaskSignal, running_loop

from . import Answer, Attempt, NotConnectedError, Origin, SilenceError
from .http1 import AnswerParser
from .idle import Idle, is_silent
from .names import Address, Lookup
from .threads import broken, why_not_connected
from .tls import Tls


class Connection(asyncio.Protocol):
    """A connection that belongs to one event loop.

    Attributes:
        origin: The scheme, host and port that it leads to.
        loop: The event loop.
        generation: See `Idle`.
    """

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop, generation: int) -> None:
        self.origin: Origin = origin
        self.loop: asyncio.AbstractEventLoop = loop
        self.idle_since: float = 0.0
        self.generation: int = generation
        self._transport: asyncio.Transport | None = None
        self._tls: Tls | None = None
        self._parser: AnswerParser | None = None
        self._done: asyncio.Future[None] | None = None
        self._is_spoiled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport of asyncio."""
        self._transport = cast("asyncio.Transport", transport)

    async def secure(self, context: ssl.SSLContext) -> None:
        """Start TLS on the connection.

        Raises:
            OSError: If the handshake fails, or the connection ends before.
        """
        self._tls = tls = Tls(context, self.origin.host)
        try:
            while not tls.shake_hands():
                self._write(tls.to_send())
                if self.is_lost:
                    raise ConnectionResetError("it ended in the handshake")
                self._done = self.loop.create_future()
                await self._done
            # Whoever speaks before it is asked spoils the connection.
            self._read(tls)
        finally:
            self._write(tls.to_send())
            self._done = None

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; if no request is in progress, the connection is not used again."""
        if self._tls is None:
            self._take(data)
            return
        self._tls.take(data)
        if self._tls.is_up:
            self._read(self._tls)
        else:
            self._finish()

    def _read(self, tls: Tls) -> None:
        try:
            while text := tls.read():
                self._take(text)
        except ssl.SSLError:
            self._end(cut=True)
        else:
            if text is not None:
                self._end()
        self._write(tls.to_send())

    def _take(self, text: bytes) -> None:
        if self._parser is None:
            self._is_spoiled = True
        elif self._parser.feed(text):
            self._finish()

    def eof_received(self) -> None:
        """Close the connection when the other side closes it."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Complete or break the answer, because nothing more can be received."""
        self._end(cut=exc is not None)

    def _end(self, *, cut: bool = False) -> None:
        self._is_spoiled = True
        if self._parser is not None:
            if cut:
                self._parser.is_broken = not self._parser.is_complete
            else:
                self._parser.end()
        self._finish()

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    @property
    def is_lost(self) -> bool:
        """Whether it is known that the connection cannot be used."""
        return self._is_spoiled or self._transport is None or self._transport.is_closing()

    def is_open(self) -> bool:
        """Say whether it can be used: not closed, and nothing received since its answer."""
        return (
            self._transport is not None
            and not self.is_lost
            # What the loop had no time to read yet is known to the system.
            and is_silent(self._transport.get_extra_info("socket"))
        )

    def close(self) -> None:
        """Close the connection, in its event loop."""
        if self._transport is None or self.loop.is_closed():
            return
        if self.loop is running_loop():
            self._transport.abort()
        else:
            with contextlib.suppress(RuntimeError):  # closed just now
                self.loop.call_soon_threadsafe(self._transport.abort)

    async def exchange(self, data: bytes, attempt: Attempt) -> AnswerParser | None:
        """Send a request and read until the answer is complete or broken; None if time was up."""
        transport = cast("asyncio.Transport", self._transport)
        wire = data if self._tls is None else self._tls.seal(data)
        self._parser = parser = AnswerParser()
        size = -1
        try:
            attempt.leave()
            transport.write(wire)
            while not (parser.is_complete or parser.is_broken):
                if attempt.deadline <= attempt.monotonic() or parser.size == size:
                    return None
                size = parser.size
                self._done = self.loop.create_future()
                left = attempt.phase_end() - attempt.monotonic()
                timer = self.loop.call_later(left, self._finish)
                try:
                    await self._done
                finally:
                    timer.cancel()
            if transport.get_write_buffer_size():  # answered before the request was whole
                parser.may_reuse = False
        except asyncio.CancelledError:
            if parser.is_complete and not parser.is_broken:
                attempt.answer = parser.answer()
            raise
        else:
            return parser
        finally:
            self._parser = self._done = None


class _Home:
    """The idle connections of one loop, closed when the loop ends.

    `asyncio.run` finishes every async generator that was begun in its loop.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.idle: Idle[Connection] = Idle(monotonic)
        self.keeper = self._keep()

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.idle.close()


class Tasks:
    """The transport for the tasks of any event loops.

    Args:
        context: Returns the TLS context; called for the first connection that needs it.
        monotonic: Returns seconds since any fixed moment.
    """

    def __init__(
        self, context: Callable[[], ssl.SSLContext], monotonic: Callable[[], float]
    ) -> None:
        self._context, self._monotonic = context, monotonic
        self._homes: dict[asyncio.AbstractEventLoop, _Home] = {}
        self._worked: dict[Origin, Address] = {}

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection of the running loop."""
        home = self._homes.get(asyncio.get_running_loop())
        return None if home is None else home.idle.take(origin)

    def put(self, connection: Connection) -> None:
        """Put a connection into the pool."""
        if (home := self._homes.get(connection.loop)) is None:
            connection.close()
        else:
            home.idle.put(connection.origin, connection)

    async def connect(self, origin: Origin, attempt: Attempt) -> Connection:
        """Open a connection.

        Raises:
            NotConnectedError: If no connection is open in time.
        """
        loop = asyncio.get_running_loop()
        await self._enter(loop)
        lookup = Lookup(origin.host, origin.port, TaskSignal)
        if isinstance(lookup.signal, TaskSignal):
            await lookup.signal.wait(attempt.phase_end() - attempt.monotonic())
        addresses = lookup.ordered(self._worked.get(origin))
        reason = "no address answered in time"
        for number, address in enumerate(addresses):
            try:
                # Each gets a share of the time: the first one may lead nowhere.
                share = attempt.seconds_left() / (len(addresses) - number)
                connection = await self._connect(loop, origin, address, share, attempt)
            except (OSError, ValueError) as error:
                reason = why_not_connected(error)
            else:
                self._worked[origin] = address
                return connection
        raise NotConnectedError(reason)

    async def _connect(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        address: Address,
        share: float,
        attempt: Attempt,
    ) -> Connection:
        connection = Connection(origin, loop, self._homes[loop].idle.generation)
        plain = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            plain.setblocking(False)
            async with asyncio.timeout(share):
                await loop.sock_connect(plain, address[1])
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.create_connection(lambda: connection, sock=plain)
            if origin.scheme == "https":
                async with asyncio.timeout(attempt.seconds_left()):
                    await connection.secure(self._context())
        except BaseException:
            connection.close()
            plain.close()
            raise
        return connection

    async def _enter(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop in self._homes:
            return
        for each in [each for each in list(self._homes) if each.is_closed()]:
            self._homes.pop(each, None)
        home = self._homes.setdefault(loop, _Home(self._monotonic))
        await anext(home.keeper)

    async def exchange(self, connection: Connection, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return the complete answer.

        Raises:
            SilenceError: If the answer is not complete in time.
            BrokenError: If the connection ends before, or the bytes received are not an answer.
        """
        if connection.is_lost:
            connection.close()
            raise NotConnectedError("the connection ended before the request left")
        try:
            parser = await connection.exchange(data, attempt)
        except BaseException:
            connection.close()
            raise
        if parser is None or parser.is_broken:
            connection.close()
            raise SilenceError("no whole answer came in time") if parser is None else broken(parser)
        if parser.may_reuse:
            self.put(connection)
        else:
            connection.close()
        return parser.answer()

    def close(self) -> None:
        """Close all idle connections; this needs no event loop."""
        for home in list(self._homes.values()):
            home.idle.close()
