"""Servers for what the sandbox does not do: scripted connections, and a slow network before it."""

import asyncio
import contextlib
import random
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from bitopro_sandbox import Sandbox
from tests.policy.scripted import CANCELLED


def answer(body: bytes = CANCELLED, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


class Server:
    """Runs `serve(peer, number)` in a thread for each connection, numbered from 1.

    Attributes:
        requests: The requests' bytes, in order of arrival.
        opened: How many connections there have been.
        ended: How many of them the client has ended.
        closed: How many of them the server has closed.
    """

    def __init__(
        self, serve: Callable[["Peer", int], None], context: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[bytes] = []
        self.opened = self.ended = self.closed = 0
        self.changed = threading.Condition()
        self._serve, self._context = serve, context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        scheme = "https" if context else "http"
        self.base_url = f"{scheme}://127.0.0.1:{self.port}/v3"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        self._sockets: list[socket.socket] = []

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with self.changed:
                self.opened += 1
            thread = threading.Thread(target=self._run, args=(plain, self.opened), daemon=True)
            self._sockets.append(plain)
            self._threads.append(thread)
            thread.start()

    def _run(self, plain: socket.socket, number: int) -> None:
        plain.settimeout(10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), plain:
            wire = plain
            if self._context is not None:
                wire = self._context.wrap_socket(plain, server_side=True)
                self._sockets.append(wire)
            with wire:
                self._serve(Peer(self, wire), number)
        with self.changed:
            self.closed += 1
            self.changed.notify_all()

    def wait_until(self, what: Callable[[], bool], seconds: float = 5) -> bool:
        with self.changed:
            return self.changed.wait_for(what, seconds)

    def close(self) -> None:
        # `close` alone would leave the thread in its `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


class Peer:
    """The server's end of a connection."""

    def __init__(self, server: Server, wire: socket.socket) -> None:
        self._server, self.wire = server, wire

    def read(self) -> bytes:
        """Return one request, or nothing at the end."""
        received = b""
        while b"\r\n\r\n" not in received:
            try:
                part = self.wire.recv(65536)
            except ConnectionResetError:
                part = b""
            if not part:
                break
            received += part
        with self._server.changed:
            if received:
                self._server.requests.append(received)
            else:
                self._server.ended += 1
            self._server.changed.notify_all()
        return received

    def send(self, data: bytes) -> None:
        self.wire.sendall(data)


@contextmanager
def serving(
    serve: Callable[[Peer, int], None], context: ssl.SSLContext | None = None
) -> Iterator[Server]:
    server = Server(serve, context)
    try:
        yield server
    finally:
        server.close()


def always(data: bytes) -> Callable[[Peer, int], None]:
    """Answer every request of every connection with these bytes."""

    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            peer.send(data)

    return serve


class _Network:
    """A TCP proxy that delays what passes: each request by itself, so that they overtake."""

    def __init__(self, port: int, there: Callable[[], float], back: Callable[[], float]) -> None:
        self._port, self._there, self._back = port, there, back
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        self.base_url = f"http://127.0.0.1:{self._own_port}/v3"

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._connections: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._own_port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)  # in which the sockets are closed

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(task := asyncio.ensure_future(self._connect(reader, writer)))
        try:
            await asyncio.wait([task])
        finally:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways: list[Coroutine[Any, Any, None]] = [
            self._pass(reader, up_writer, self._there),
            self._pass(up_reader, writer, self._back),
        ]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First of all, as this may be cancelled once more.
            up_writer.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        delay: Callable[[], float],
    ) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(delay())
            writer.write(data)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@contextmanager
def network(
    sandbox: Sandbox, *, there_ms: tuple[float, float], back_ms: float = 0
) -> Iterator[str]:
    """Put a network before the sandbox and return its base URL.

    Args:
        sandbox: The exchange.
        there_ms: How long a request takes to arrive: at random between these.
        back_ms: How long an answer takes.
    """
    dice = random.Random(7)
    port = int(sandbox.base_url.split(":")[2].split("/")[0])
    proxy = _Network(port, lambda: dice.uniform(*there_ms) / 1000, lambda: back_ms / 1000)
    try:
        yield proxy.base_url
    finally:
        proxy.close()
