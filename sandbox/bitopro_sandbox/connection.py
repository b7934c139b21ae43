"""The TCP connection of a client, for faults that ASGI cannot express."""

import asyncio
import logging
import socket
import struct
from typing import Any

import attrs
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

# Under no configuration of logging does it say anything: websockets logs the handshake's headers,
# which are secrets, and a client's mistakes with tracebacks.
_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)  # noqa: LOG001 - out of reach


@attrs.frozen
class Connection:
    """The TCP connection of a request; the server puts it in ``scope["state"]``.

    Attributes:
        number: The number of the connection, counted from 1.
        transport: The transport of asyncio, for faults that ASGI cannot express.
    """

    number: int
    transport: asyncio.Transport

    def drop(self, *, reset: bool) -> None:
        """Close the connection at once; what is not sent yet is discarded."""
        if reset:
            linger_zero_seconds = struct.pack("ii", 1, 0)
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero_seconds)
        self.transport.abort()


class StreamSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, found in ``scope["state"]["socket"]``; it sends without a task."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "socket": self}, _loop)
        self.logger = self.conn.logger = _SILENT
        self.conn.debug = False  # was taken from the logger it had

    def push(self, frame: str | bytes) -> None:
        """Send a text or binary message."""
        if isinstance(frame, str):
            self.conn.send_text(frame.encode())
        else:
            self.conn.send_binary(frame)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def hush(self, *, pongs: bool) -> None:
        """Send no more pings.

        Args:
            pongs: Whether to answer the client's pings and its closing handshake.
        """
        self.stop_keepalive()
        if not pongs:
            self.transport.pause_reading()
