"""A server of one stream that plays a script, one step list for each connection."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

PAIR = "btc_twd"
Script = Callable[[ServerConnection], Awaitable[None]]


def wire_order(order_id: str = "1", **changes: Any) -> dict[str, Any]:
    """Return an order as the stream sends it: filled, unless changed."""
    return {
        "id": order_id,
        "pair": PAIR,
        "price": "100",
        "avgExecutionPrice": "100",
        "action": "BUY",
        "type": "LIMIT",
        "status": 2,
        "originalAmount": "5",
        "remainingAmount": "0",
        "executedAmount": "5",
        "updatedTimestamp": 1_700_000_000_000,
        **changes,
    }


def message(*orders: Any, event_id: object = None, **more: Any) -> str:
    body = {"event": "RECENT_HISTORY_ORDERS", "timestamp": 1, "data": {PAIR: list(orders)}, **more}
    return json.dumps(body | ({} if event_id is None else {"eventID": event_id}))


class StreamServer:
    """Plays the scripts in turn, the last one again and again, and keeps what it received."""

    def __init__(self, scripts: Iterable[Script | int]) -> None:
        self._scripts = list(scripts)
        self.handshakes: list[Headers] = []
        self.paths: list[str] = []
        self.answer_headers: dict[str, str] = {}
        self.answer_body = b""
        self.url = ""
        self.server: Server | None = None

    def _next(self) -> Script | int:
        return self._scripts[min(len(self.handshakes), len(self._scripts)) - 1]

    def refuse(self, _: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request.headers)
        self.paths.append(request.path)
        script = self._next()
        if not isinstance(script, int):
            return None
        length = {"Content-Length": str(len(self.answer_body))}
        headers = Headers({**length, **self.answer_headers})
        return Response(script, "", headers, self.answer_body)

    async def handle(self, connection: ServerConnection) -> None:
        script = self._next()
        assert not isinstance(script, int)
        await script(connection)


def sends(*messages: str | bytes, then: Script | None = None) -> Script:
    """Send these, and then stay, or do something else."""

    async def script(connection: ServerConnection) -> None:
        for each in messages:
            await connection.send(each)
        await (then or stays)(connection)

    return script


async def stays(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def drops(connection: ServerConnection) -> None:
    connection.transport.abort()


async def closes(connection: ServerConnection) -> None:
    await connection.close(1001)


@asynccontextmanager
async def playing(*scripts: Script | int, **options: Any) -> AsyncIterator[StreamServer]:
    """Serve a stream that plays these scripts; a number is a refusal with that status."""
    stream = StreamServer(scripts)
    quiet = logging.Logger("quiet", logging.CRITICAL + 1)  # noqa: LOG001 - not under test
    options = {"ping_interval": None, "close_timeout": 0.2, "logger": quiet, **options}
    async with serve(
        stream.handle, "127.0.0.1", 0, process_request=stream.refuse, **options
    ) as server:
        stream.server = server
        stream.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        yield stream
        for connection in server.connections:
            connection.transport.abort()
        await asyncio.sleep(0)
