"""A wire with latency: a TCP proxy that passes on what the server says a little later.

nginx cannot wait, and it does the TLS, so that this passes on bytes and is no bottleneck: fifty
answers at once cost it less than any client. It prints its port and serves until it is ended.

python -m benchmarks.wire SERVER_PORT SECONDS
"""

import asyncio
import sys

HOST = "127.0.0.1"


class _Far(asyncio.Protocol):
    """The side of the server."""

    def __init__(self, near: asyncio.Transport, seconds: float) -> None:
        self._near, self._seconds = near, seconds

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._near.write, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._near.close()


class _Near(asyncio.Protocol):
    """The side of the client."""

    def __init__(self, server_port: int, seconds: float) -> None:
        self._server_port, self._seconds = server_port, seconds
        self._far: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self._connecting = asyncio.create_task(self._connect(transport))

    async def _connect(self, near: asyncio.Transport) -> None:
        try:
            self._far, _ = await asyncio.get_running_loop().create_connection(
                lambda: _Far(near, self._seconds), HOST, self._server_port
            )
        except OSError:
            near.abort()
        else:
            near.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._far is not None:
            self._far.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._connecting.cancel()
        if self._far is not None:
            self._far.close()


async def main(server_port: int, seconds: float) -> None:
    """Serve."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Near(server_port, seconds), HOST, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
