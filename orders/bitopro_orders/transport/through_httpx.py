"""Any transport of httpx in the place of ours: proxies, recorders, mocks.

Whether a byte has left is judged from its errors. One that retries by itself repeats a nonce.
"""

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import NoReturn, cast

import httpx

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
    def _request(origin: Origin, data: bytes, attempt: Attempt) -> httpx.Request:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, text) for name, _, text in (line.partition(": ") for line in lines)]
        timeout = httpx.Timeout(attempt.seconds_left()).as_dict()
        return httpx.Request(
            method,
            f"{origin.scheme}://{origin.authority}{target}",
            headers=headers,
            content=body or None,
            extensions={"timeout": timeout},
        )

    @staticmethod
    def _answer(response: httpx.Response, parts: list[bytes]) -> Answer:
        return Answer(response.status_code, Headers(response.headers.raw), b"".join(parts))


def _failure(error: Exception, attempt: Attempt) -> TransportError:
    """Return the failure without the texts of the transport, which may quote the request."""
    name = type(error).__name__
    if isinstance(error, NEVER_SENT):
        attempt.take_back()
        return NotConnectedError(name)
    if isinstance(error, httpx.TimeoutException):
        return SilenceError(name)
    return BrokenError(name)


def _too_long() -> NoReturn:
    raise httpx.RemoteProtocolError("the answer is too long")


class ThreadsThroughHttpx(_ThroughHttpx):
    """A transport of httpx for threads.

    Args:
        transport: The transport.
    """

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def connect(self, origin: Origin, attempt: Attempt) -> Origin:  # noqa: ARG002 - its own
        """Return what stands for a connection."""
        return origin

    def exchange(self, connection: Origin, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return its whole answer; see `threads`."""
        request = self._request(connection, data, attempt)
        failure: TransportError
        try:
            attempt.leave()
            response = self._transport.handle_request(request)
            try:
                parts, size = [], 0
                for part in cast("Iterable[bytes]", response.stream):
                    size += len(part)
                    if size > LONGEST_ANSWER:
                        _too_long()
                    parts.append(part)
            finally:
                response.close()
            return self._answer(response, parts)
        except Exception as error:  # noqa: BLE001 - any transport's own
            failure = _failure(error, attempt)
        raise failure


class TasksThroughHttpx(_ThroughHttpx):
    """A transport of httpx for tasks.

    Args:
        transport: The transport.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def connect(self, origin: Origin, attempt: Attempt) -> Origin:  # noqa: ARG002 - its own
        """Return what stands for a connection."""
        return origin

    async def exchange(self, connection: Origin, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return its whole answer; see `tasks`."""
        request = self._request(connection, data, attempt)
        failure: TransportError
        try:
            attempt.leave()
            async with asyncio.timeout(attempt.deadline - attempt.monotonic()):
                response = await self._transport.handle_async_request(request)
                try:
                    parts, size = [], 0
                    async for part in cast("AsyncIterable[bytes]", response.stream):
                        size += len(part)
                        if size > LONGEST_ANSWER:
                            _too_long()
                        parts.append(part)
                finally:
                    await response.aclose()
            return self._answer(response, parts)
        except TimeoutError:
            failure = SilenceError("no whole answer came in time")
        except Exception as error:  # noqa: BLE001 - any transport's own
            failure = _failure(error, attempt)
        raise failure
