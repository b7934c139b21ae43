"""Uses any httpx transport instead of the package's own: for proxies, recorders and mocks.

Whether a byte was sent is concluded from its errors, and from the steps that httpcore reports. A
transport that retries by itself would use a nonce twice.
"""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterable, Callable, Iterable
from typing import NoReturn, cast

import httpx

from bitopro_orders.signals import ThreadSignal

from . import (
    LONGEST_ANSWER,
    Answer,
    Attempt,
    BrokenError,
    Headers,
    NotConnectedError,
    Origin,
    SilenceError,
    TransportError,
)

#: How long a transport may take to close an answer.
CLOSE_SECONDS = 0.5
#: Before any of these is raised, no byte of the request has left this machine.
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)


class _ThroughHttpx:
    """What both have in common: the transport keeps its connections itself."""

    def take(self, origin: Origin) -> Origin:
        """Return what stands for a connection."""
        return origin

    def put(self, connection: Origin) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Whoever made the transport closes it."""

    @staticmethod
    def _request(
        origin: Origin, data: bytes, attempt: Attempt, trace: Callable[..., object]
    ) -> httpx.Request:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, text) for name, _, text in (line.partition(": ") for line in lines)]
        # What a server says after an answer, httpcore takes for the answer to the next request.
        headers.append(("Connection", "close"))
        timeout = httpx.Timeout(attempt.seconds_left()).as_dict()
        return httpx.Request(
            method,
            f"{origin.scheme}://{origin.authority}{target}",
            headers=headers,
            content=body or None,
            extensions={"timeout": timeout, "trace": trace},
        )

    @staticmethod
    def _answer(response: httpx.Response, parts: list[bytes]) -> Answer:
        return Answer(response.status_code, Headers(response.headers.raw), b"".join(parts))


class _Flight:
    """A request on its way through somebody else's transport.

    One that stands on httpcore tells its steps; any other may have sent it from the start.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        # Whoever takes it, in one step, decides whether the request leaves.
        self._chance = [attempt]
        self._is_told = self.is_over = self.has_begun = False

    def note(self, event: str, _: object) -> None:
        """Take note of a step of httpcore."""
        if event.endswith("send_request_headers.started"):
            self.has_begun = True
            if self._taken():
                if not self._attempt.has_left:
                    self._attempt.leave()
            elif self.is_over:
                raise httpx.ConnectTimeout("nobody waits for it")
        elif not (self._is_told or self.is_over):
            self._attempt.take_back()
        self._is_told = True

    async def note_async(self, event: str, info: object) -> None:
        """Take note of a step of httpcore."""
        self.note(event, info)

    def give_up(self) -> None:
        """Let nothing leave any more."""
        self.is_over = True
        if not self._taken() and not self._attempt.has_left:
            self._attempt.leave()  # it is leaving right now

    def _taken(self) -> bool:
        try:
            self._chance.pop()
        except IndexError:
            return False
        return True


def _failure(error: Exception, attempt: Attempt, flight: _Flight) -> TransportError:
    """Return the failure without the texts of the transport, which may quote the request."""
    name = type(error).__name__
    # One that retries by itself may fail to connect after a request of its own has left.
    if isinstance(error, NEVER_SENT) and attempt.has_left and not flight.has_begun:
        attempt.take_back()
    if not attempt.has_left:
        return NotConnectedError(name)
    if isinstance(error, TimeoutError):
        return SilenceError("no whole answer came in time")
    if isinstance(error, httpx.TimeoutException):
        return SilenceError(name)
    return BrokenError(name)


def _too_long() -> NoReturn:
    raise httpx.RemoteProtocolError("the answer is too long")


class ThreadsThroughHttpx(_ThroughHttpx):
    """An httpx transport for threads.

    Each request runs in a thread of its own, because there is no other way to end one whose answer
    arrives byte by byte.

    Args:
        transport: The transport.
    """

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def connect(self, origin: Origin, attempt: Attempt) -> Origin:  # noqa: ARG002 - its own
        """Return a placeholder for a connection."""
        return origin

    def exchange(self, connection: Origin, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return the complete answer; see `threads`."""
        flight, done = _Flight(attempt), ThreadSignal()
        request = self._request(connection, data, attempt, flight.note)
        came: list[Answer | BaseException] = []
        attempt.leave()

        def run() -> None:
            try:
                came.append(self._answered(request, flight))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                came.append(error)
            done.set()

        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(run,), name="bitopro httpx", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            attempt.take_back()
            raise NotConnectedError("no thread can be started") from None
        try:
            done.wait(attempt.deadline - attempt.monotonic())
        finally:
            flight.give_up()
        result = came[0] if came else TimeoutError()
        if isinstance(result, Exception):
            result = _failure(result, attempt, flight)
        if isinstance(result, BaseException):
            raise result.with_traceback(None)
        return result

    def _answered(self, request: httpx.Request, flight: _Flight) -> Answer:
        response = self._transport.handle_request(request)
        try:
            parts, size = [], 0
            for part in cast("Iterable[bytes]", response.stream):
                size += len(part)
                if size > LONGEST_ANSWER or flight.is_over:
                    _too_long()
                parts.append(part)
        finally:
            response.close()
        return self._answer(response, parts)


class TasksThroughHttpx(_ThroughHttpx):
    """An httpx transport for tasks.

    Args:
        transport: The transport.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._closing: set[asyncio.Task[None]] = set()

    async def connect(self, origin: Origin, attempt: Attempt) -> Origin:  # noqa: ARG002 - its own
        """Return a placeholder for a connection."""
        return origin

    async def exchange(self, connection: Origin, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return the complete answer; see `tasks`."""
        flight = _Flight(attempt)
        request = self._request(connection, data, attempt, flight.note_async)
        failure: TransportError
        attempt.leave()
        try:
            async with asyncio.timeout(attempt.deadline - attempt.monotonic()):
                response = await self._transport.handle_async_request(request)
                try:
                    parts, size = [], 0
                    async for part in cast("AsyncIterable[bytes]", response.stream):
                        size += len(part)
                        if size > LONGEST_ANSWER:
                            _too_long()
                        parts.append(part)
                    attempt.answer = answer = self._answer(response, parts)
                finally:
                    await self._closed(response)
        except Exception as error:  # noqa: BLE001 - any transport's own
            failure = _failure(error, attempt, flight)
        else:
            return answer
        raise failure

    async def _closed(self, response: httpx.Response) -> None:
        """Close a response, for as long as the deadline lets it: then it ends by itself."""
        closing = asyncio.ensure_future(response.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._is_closed)
        await asyncio.wait([closing], timeout=CLOSE_SECONDS)

    def _is_closed(self, closing: "asyncio.Task[None]") -> None:
        self._closing.discard(closing)
        if not closing.cancelled():
            closing.exception()
