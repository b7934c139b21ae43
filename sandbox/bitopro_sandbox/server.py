"""Runs the exchange in a thread of this process."""

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bitopro_sandbox.app import Api
from bitopro_sandbox.book import Book, demo_book
from bitopro_sandbox.connection import Connection, StreamSocket
from bitopro_sandbox.faults import Faults
from bitopro_sandbox.journal import Journal
from bitopro_sandbox.settings import Account, Settings
from bitopro_sandbox.streams import Streams

HOST = "127.0.0.1"


@attrs.frozen
class Sandbox:
    """A running exchange. Everything in it may be used from any thread while it serves.

    Attributes:
        base_url: Where it serves, with the API's version: ``http://127.0.0.1:{port}/v3``.
        stream_url: Where its streams begin, on the same port: ``ws://127.0.0.1:{port}/ws``.
        settings: How it behaves.
        book: Its orders.
        faults: How it is to misbehave.
        journal: What it was asked.
    """

    base_url: str
    stream_url: str
    settings: Settings
    book: Book
    faults: Faults
    journal: Journal
    _streams: Streams = attrs.field(repr=False)

    @property
    def stream_count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def close_streams(self) -> None:
        """Close all open streams, abruptly; other connections stay."""
        self._streams.close()

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The API keys it knows."""
        return self.settings.accounts

    @property
    def account(self) -> Account:
        """The first of them."""
        return self.accounts[0]


@contextmanager
def serve(settings: Settings | None = None, *, port: int = 0) -> Iterator[Sandbox]:
    """Serve a new exchange with the demonstration book on 127.0.0.1 until the context ends.

    On leaving, open connections are closed and what still waits in them is given up.

    Args:
        settings: How it behaves; default: ``Settings()``.
        port: TCP port; 0 takes a free one.

    Raises:
        OSError: The port is taken.
    """
    settings = settings or Settings()
    listener = socket.create_server((HOST, port))
    # asyncio sets this only on sockets made for TCP by name; without it every answer takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"{HOST}:{listener.getsockname()[1]}"
    book, faults, journal = demo_book(settings.clock), Faults(), Journal()
    api = Api(settings, book, faults, journal)
    server = _Server(api, settings)
    thread = threading.Thread(
        target=server.run, args=([listener],), name="bitopro-sandbox", daemon=True
    )
    thread.start()
    if not server.ready.wait(timeout=10):
        raise RuntimeError("the sandbox's server did not start")
    try:
        yield Sandbox(
            base_url=f"http://{address}/v3",
            stream_url=f"ws://{address}/ws",
            settings=settings,
            book=book,
            faults=faults,
            journal=journal,
            streams=api.streams,
        )
    finally:
        server.stop()
        thread.join()


class _Server(uvicorn.Server):
    """uvicorn's server without its polling, signal handling and patience."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self.ready = threading.Event()
        super().__init__(
            uvicorn.Config(
                api,
                http=_protocol(),
                ws=StreamSocket,
                ws_ping_interval=settings.ping_interval_ms / 1000,
                ws_ping_timeout=settings.ping_timeout_ms / 1000,
                ws_per_message_deflate=False,
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                # The API sends the date of its own clock.
                date_header=False,
                server_header=False,
                # An access log would show paths and queries; uvicorn's configuration of logging
                # would change the host program's.
                access_log=False,
                log_config=None,
                # These two are read from the environment unless given.
                forwarded_allow_ips=[],
                workers=1,
                proxy_headers=False,
                timeout_keep_alive=75,
            )
        )

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.ready.set()
        await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        # What is neither this task nor a request's is asyncio accepting a connection; closing the
        # server under it would leak the socket.
        this = asyncio.current_task()
        while accepting := asyncio.all_tasks() - self.server_state.tasks - {this}:
            await asyncio.gather(*accepting, return_exceptions=True)
        for server in self.servers:
            server.close()
        for connection in self.server_state.connections:
            connection.transport.abort()
        await asyncio.sleep(0)  # in which the requests learn of it
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _protocol() -> type[H11Protocol]:
    numbers = itertools.count(1)

    class Protocol(H11Protocol):
        """Gives each request its connection: uvicorn copies ``app_state`` to ``scope["state"]``."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.app_state = {
                **self.app_state,
                "connection": Connection(next(numbers), transport),
            }

    return Protocol
