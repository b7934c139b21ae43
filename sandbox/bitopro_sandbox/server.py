"""Runs the exchange in a thread of this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from bitopro_sandbox.book import Book, demo_book
from bitopro_sandbox.faults import Faults
from bitopro_sandbox.journal import Journal
from bitopro_sandbox.settings import Account, Settings

if TYPE_CHECKING:
    from bitopro_sandbox.streams import Streams

HOST = "127.0.0.1"
#: What the extra `sandbox` brings.
_EXTRA = {"h11", "starlette", "uvicorn", "websockets"}


@attrs.frozen
class Sandbox:
    """A running exchange. While it serves, any thread may use everything in it.

    Attributes:
        base_url: The URL of its API: ``http://127.0.0.1:{port}/v3``.
        stream_url: The URL of its streams, on the same port: ``ws://127.0.0.1:{port}/ws``.
        settings: Its behaviour.
        book: Its orders.
        faults: The faults to inject.
        journal: The requests that arrived.
    """

    base_url: str
    stream_url: str
    settings: Settings
    book: Book
    faults: Faults
    journal: Journal
    _streams: "Streams" = attrs.field(repr=False)

    @property
    def stream_count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def close_streams(self) -> None:
        """Close all open streams without a closing handshake; other connections stay open."""
        self._streams.close()

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The accounts that the exchange knows, each with an API key."""
        return self.settings.accounts

    @property
    def account(self) -> Account:
        """The first of the accounts."""
        return self.accounts[0]


@contextmanager
def serve(settings: Settings | None = None, *, port: int = 0) -> Iterator[Sandbox]:
    """Run a new exchange with the demonstration book on 127.0.0.1, until the ``with`` block ends.

    At the end of the block, all connections are closed, and requests in progress are given up.

    Args:
        settings: The behaviour of the exchange; by default ``Settings()``.
        port: The TCP port; 0 takes a free one.

    Raises:
        ModuleNotFoundError: If the extra ``sandbox`` is not installed.
        OSError: If the port is in use.
    """
    try:
        from bitopro_sandbox.app import Api
        from bitopro_sandbox.serving import Server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ModuleNotFoundError(
            f"The sandbox needs {error.name}: pip install 'bitopro-orders[sandbox]'",
            name=error.name,
        ) from error
    settings = settings or Settings()
    listener = socket.create_server((HOST, port))
    # asyncio sets this only on sockets made for TCP by name; without it every answer takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"{HOST}:{listener.getsockname()[1]}"
    book, faults, journal = demo_book(settings.clock), Faults(), Journal()
    api = Api(settings, book, faults, journal)
    server = Server(api, settings)
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
