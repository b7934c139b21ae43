"""HTTP/1.1 below the sending policy: each request goes out once, on a connection that is kept.

These are httpx's transports with a pool of our own inside, so whatever else is an httpx transport
can take their place. httpx's own pool searches all its connections at each turn and, started cold,
opens one for nearly every request; here a connection is taken from a stack and put back, so there
are never more of them than requests in flight. And three things are exact that the policy needs:
whether a byte has left, the deadline (also when a server drips bytes), the size of an answer.
"""

import asyncio
import os
import select
import socket
import ssl
from collections.abc import AsyncIterable, Callable, Generator, Iterable
from typing import Any, Generic, Self, TypeVar, cast

import h11
import httpcore
import httpx
from attrs import define, field

from .forks import ForkSafeLock

LONGEST_ANSWER = 2**20
UNANSWERED = "the server closed the connection without an answer"
READ_SIZE = 65536
#: Less than what proxies in front of an exchange usually grant an idle connection, 60 seconds.
IDLE_SECONDS = 30.0


@define
class Attempt:
    """One request on its way; the transport finds it in the request's extensions.

    Attributes:
        deadline: When it must be over, on the monotonic clock, in seconds.
        monotonic: That clock.
        phase_seconds: How long connecting, writing and each reading may take.
        sent: Whether a byte has left; None if the transport does not say.
        sent_ms: When it was handed to the transport, in milliseconds since the epoch.
        left_at: When the first byte left, on the monotonic clock, in seconds.
    """

    deadline: float
    monotonic: Callable[[], float]
    phase_seconds: float
    sent: bool | None = None
    sent_ms: int = 0
    left_at: float | None = None

    def leave(self) -> None:
        """Note that from now on a byte may have left."""
        self.sent, self.left_at = True, self.monotonic()

    def seconds_left(self) -> float:
        """Return how long the next phase may take.

        Raises:
            TimeoutError: If the deadline has passed.
        """
        left = min(self.phase_seconds, self.deadline - self.monotonic())
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class AnswerTooLargeError(httpcore.RemoteProtocolError):
    """The answer's body is longer than any answer of this exchange."""


def exchange(
    protocol: h11.Connection, request: httpcore.Request, body: bytes
) -> Generator[bytes, bytes, httpcore.Response]:
    """Send one request and read its whole answer, without IO of its own.

    Yields:
        The request's bytes, then nothing each time that more of the answer is needed. What has
        come in is sent back; empty bytes are the end of the stream.
    """
    head = h11.Request(method=request.method, target=request.url.target, headers=request.headers)
    outgoing = [protocol.send(head)]
    if body:
        outgoing.append(protocol.send(h11.Data(data=body)))
    outgoing.append(protocol.send(h11.EndOfMessage()))
    content = bytearray()
    head_of_answer: h11.Response | None = None
    incoming: bytes | None = yield b"".join(part or b"" for part in outgoing)
    while True:
        if incoming is not None:
            if not incoming and head_of_answer is None:
                raise httpcore.RemoteProtocolError(UNANSWERED)
            protocol.receive_data(incoming)
            incoming = None
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            incoming = yield b""
        elif isinstance(event, h11.Response):
            head_of_answer = event
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > LONGEST_ANSWER:
                raise AnswerTooLargeError(f"the answer is longer than {LONGEST_ANSWER} bytes")
        elif isinstance(event, h11.EndOfMessage) and head_of_answer is not None:
            return httpcore.Response(
                head_of_answer.status_code,
                headers=head_of_answer.headers.raw_items(),
                content=bytes(content),
            )
        elif not isinstance(event, h11.InformationalResponse):
            raise httpcore.RemoteProtocolError(UNANSWERED)


def _attempt_of(request: httpcore.Request) -> Attempt:
    attempt = request.extensions.get("attempt")
    if isinstance(attempt, Attempt):
        attempt.sent = False
        return attempt
    # A request that did not come through the policy has httpx's timeouts and no deadline.
    seconds = request.extensions.get("timeout", {}).get("read") or float("inf")
    return Attempt(float("inf"), lambda: 0.0, min(seconds, 3600.0))


def _meaning(error: BaseException, attempt: Attempt) -> BaseException:
    """Return the error as httpcore would raise it, by whether the request had begun to leave."""
    if isinstance(error, TimeoutError):
        kind = httpcore.ReadTimeout if attempt.sent else httpcore.ConnectTimeout
        return kind(str(error) or "timed out")
    if isinstance(error, h11.RemoteProtocolError):
        return httpcore.RemoteProtocolError(str(error))
    if isinstance(error, h11.LocalProtocolError):
        return httpcore.LocalProtocolError(str(error))
    if isinstance(error, OSError):
        return (httpcore.ReadError if attempt.sent else httpcore.ConnectError)(str(error))
    return error


def _reusable(protocol: h11.Connection) -> bool:
    done = protocol.our_state is h11.DONE and protocol.their_state is h11.DONE
    # What came after the answer would be taken for the answer to the next request.
    if not done or protocol.trailing_data[0]:
        return False
    protocol.start_next_cycle()
    return True


def _new_protocol() -> h11.Connection:
    return h11.Connection(h11.CLIENT)


def _is_silent(wire: socket.socket) -> bool:
    """Say whether nothing has come in: on an idle connection it could only be the end."""
    try:
        if not hasattr(select, "poll"):
            return not select.select([wire], [], [], 0)[0]
        poller = select.poll()
        poller.register(wire, select.POLLIN)
        return not poller.poll(0)
    except (OSError, ValueError):
        return False


@define(eq=False)
class _Connection:
    socket: socket.socket
    idle_since: float = 0.0
    protocol: h11.Connection = field(factory=_new_protocol)

    def is_usable_here(self) -> bool:
        """Say whether this thread or task may use it."""
        return True

    def is_open(self) -> bool:
        """Say whether the server has neither ended it nor said anything since its last answer."""
        return _is_silent(self.socket)

    def close(self) -> None:
        self.socket.close()


class _Reader(asyncio.StreamReader):
    """A stream that knows how much of it has come in and is not read yet."""

    unread = 0

    def feed_data(self, data: Any) -> None:  # noqa: ANN401 - bytes of any kind
        self.unread += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self.unread -= len(data)
        return data


@define(eq=False)
class _AsyncConnection:
    reader: _Reader
    writer: asyncio.StreamWriter
    loop: asyncio.AbstractEventLoop
    idle_since: float = 0.0
    protocol: h11.Connection = field(factory=_new_protocol)

    def is_usable_here(self) -> bool:
        """Say whether it is the running loop's; what a closed loop has left is nobody's."""
        return self.loop is asyncio.get_running_loop() or self.loop.is_closed()

    def is_open(self) -> bool:
        """Say whether the server has neither ended it nor said anything since its last answer."""
        return (
            not self.loop.is_closed()
            and not self.reader.unread
            and not self.reader.at_eof()
            and not self.writer.is_closing()
            # What the loop had no time to read yet is known to the system.
            and _is_silent(self.writer.get_extra_info("socket"))
        )

    def close(self) -> None:
        if self.loop is _running_loop():
            self._abort()
        elif not self.loop.is_closed():
            # Not the transport's own method: the writer, too, may only end in its loop.
            self.loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        self.writer.transport.abort()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


C = TypeVar("C", _Connection, _AsyncConnection)


class _Idle(Generic[C]):
    """The idle connections by origin, the last used on top; for threads and for tasks."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = ForkSafeLock()
        self._stacks: dict[str, list[C]] = {}
        self._closed = False
        self._process = os.getpid()
        self._inherited: list[dict[str, list[C]]] = []

    def take(self, origin: str) -> C | None:
        """Return one that is open; close those that are not."""
        while True:
            with self._lock:
                self._leave_to_parent()
                stack = self._stacks.get(origin, [])
                here = (i for i in reversed(range(len(stack))) if stack[i].is_usable_here())
                index = next(here, None)
                if index is None:
                    return None
                connection = stack.pop(index)
            fresh = self._monotonic() - connection.idle_since < IDLE_SECONDS
            if fresh and connection.is_open():
                return connection
            connection.close()

    def put(self, origin: str, connection: C) -> None:
        """Keep a connection for the next request, if its last exchange ended cleanly."""
        if _reusable(connection.protocol):
            connection.idle_since = self._monotonic()
            with self._lock:
                if not self._closed:
                    self._stacks.setdefault(origin, []).append(connection)
                    return
        connection.close()

    def close(self) -> None:
        """Close them all; those in use are closed when they are put back."""
        with self._lock:
            self._leave_to_parent()
            self._closed = True
            connections = [each for stack in self._stacks.values() for each in stack]
            self._stacks.clear()
        for connection in connections:
            connection.close()

    def _leave_to_parent(self) -> None:
        """In a forked child, touch no connection of the parent's: both would read its answers."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._inherited.append(self._stacks)
            self._stacks = {}


def _tls(request: httpcore.Request, context: ssl.SSLContext) -> dict[str, Any]:
    if request.url.scheme != b"https":
        return {}
    return {"ssl": context, "server_hostname": request.url.host.decode("ascii")}


class _Pool:
    """What `httpx.HTTPTransport` expects of its httpcore pool, for threads."""

    def __init__(self, context: ssl.SSLContext, monotonic: Callable[[], float]) -> None:
        self._context = context
        self._idle: _Idle[_Connection] = _Idle(monotonic)

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        attempt = _attempt_of(request)
        body = b"".join(cast("Iterable[bytes]", request.stream))
        origin = str(request.url.origin)
        connection: _Connection | None = None
        try:
            connection = self._idle.take(origin) or self._connect(request, attempt)
            answer = self._run(connection, exchange(connection.protocol, request, body), attempt)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the connection is spent
            if connection is not None:
                connection.close()
            raise _meaning(error, attempt) from None
        self._idle.put(origin, connection)
        return answer

    def _connect(self, request: httpcore.Request, attempt: Attempt) -> _Connection:
        plain = self._dial(request.url.origin, attempt)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls := _tls(request, self._context):
                plain.settimeout(attempt.seconds_left())
                return _Connection(
                    tls["ssl"].wrap_socket(plain, server_hostname=tls["server_hostname"])
                )
        except BaseException:
            plain.close()
            raise
        return _Connection(plain)

    def _dial(self, origin: httpcore.Origin, attempt: Attempt) -> socket.socket:
        """Try the host's addresses in turn; unlike `create_connection`, in one time for all."""
        host = origin.host.decode("ascii")
        failure = OSError(f"{host} has no address")
        for family, kind, number, _, address in socket.getaddrinfo(
            host, origin.port, type=socket.SOCK_STREAM
        ):
            plain = socket.socket(family, kind, number)
            try:
                plain.settimeout(attempt.seconds_left())
                plain.connect(address)
            except OSError as error:
                plain.close()
                failure = error
            except BaseException:
                plain.close()
                raise
            else:
                return plain
        raise failure

    def _run(
        self,
        connection: _Connection,
        steps: Generator[bytes, bytes, httpcore.Response],
        attempt: Attempt,
    ) -> httpcore.Response:
        wire = connection.socket
        outgoing = next(steps)
        wire.settimeout(attempt.seconds_left())
        attempt.leave()
        wire.sendall(outgoing)
        try:
            while True:
                wire.settimeout(attempt.seconds_left())
                steps.send(wire.recv(READ_SIZE))
        except StopIteration as finished:
            answer: httpcore.Response = finished.value
            return answer

    def close(self) -> None:
        self._idle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _AsyncPool:
    """What `httpx.AsyncHTTPTransport` expects of its httpcore pool, for asyncio's tasks."""

    def __init__(self, context: ssl.SSLContext, monotonic: Callable[[], float]) -> None:
        self._context = context
        self._idle: _Idle[_AsyncConnection] = _Idle(monotonic)

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        attempt = _attempt_of(request)
        body = b"".join([part async for part in cast("AsyncIterable[bytes]", request.stream)])
        origin = str(request.url.origin)
        connection: _AsyncConnection | None = None
        try:
            async with asyncio.timeout(attempt.seconds_left()) as limit:
                connection = self._idle.take(origin) or await self._connect(request)
                steps = exchange(connection.protocol, request, body)
                answer = await self._run(connection, steps, attempt, limit)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the connection is spent
            if connection is not None:
                connection.close()
            raise _meaning(error, attempt) from None
        self._idle.put(origin, connection)
        return answer

    async def _connect(self, request: httpcore.Request) -> _AsyncConnection:
        origin, loop = request.url.origin, asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol,
            origin.host.decode("ascii"),
            origin.port,
            **_tls(request, self._context),
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return _AsyncConnection(reader, writer, loop)

    async def _run(
        self,
        connection: _AsyncConnection,
        steps: Generator[bytes, bytes, httpcore.Response],
        attempt: Attempt,
        limit: asyncio.Timeout,
    ) -> httpcore.Response:
        now = asyncio.get_running_loop().time
        outgoing = next(steps)
        attempt.leave()
        connection.writer.write(outgoing)
        await connection.writer.drain()
        try:
            while True:
                limit.reschedule(now() + attempt.seconds_left())
                steps.send(await connection.reader.read(READ_SIZE))
        except StopIteration as finished:
            answer: httpcore.Response = finished.value
            return answer

    def close_now(self) -> None:
        self._idle.close()

    async def aclose(self) -> None:
        self.close_now()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Transport(httpx.HTTPTransport):
    """httpx's transport over our pool, for threads.

    Args:
        context: The one TLS context of the client.
        monotonic: Returns seconds since any fixed moment.
    """

    def __init__(self, context: ssl.SSLContext, monotonic: Callable[[], float]) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = cast("httpcore.ConnectionPool", _Pool(context, monotonic))


class AsyncTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over our pool, for asyncio's tasks.

    Args:
        context: The one TLS context of the client.
        monotonic: Returns seconds since any fixed moment.
    """

    def __init__(self, context: ssl.SSLContext, monotonic: Callable[[], float]) -> None:
        super().__init__(verify=context, trust_env=False)
        self._own_pool = _AsyncPool(context, monotonic)
        self._pool = cast("httpcore.AsyncConnectionPool", self._own_pool)

    def close_now(self) -> None:
        """Close the idle connections; a loop is not needed for that."""
        self._own_pool.close_now()
