"""The server of the sandbox, on uvicorn: it needs the extra `sandbox`."""

import asyncio
import itertools
import socket
import threading

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bitopro_sandbox.app import Api
from bitopro_sandbox.connection import Connection, StreamSocket
from bitopro_sandbox.settings import Settings


class Server(uvicorn.Server):
    """uvicorn's server without polling, without signal handlers, and without waiting at the end.

    Args:
        api: The application to serve.
        settings: The settings, for the pings of the streams.

    Attributes:
        ready: Set when the server accepts connections.
    """

    def __init__(self, api: Api, settings: Settings) -> None:
        self.ready: threading.Event = threading.Event()
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
        """Wait until the server is stopped."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.ready.set()
        await self._stop.wait()

    def stop(self) -> None:
        """Stop the server; any thread may call it."""
        self._loop.call_soon_threadsafe(self._stop.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Close every connection, and give up the requests in progress."""
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
