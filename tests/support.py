"""What tests share besides fixtures."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitopro_auth import Credentials
from bitopro_orders import Timing
from bitopro_sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
#: No time passes, so that nobody goes on before an answer has come, however busy the machine is.
TIMELESS = Timing(
    monotonic=lambda: 1000.0,
    sleep=lambda _: time.sleep(0.001),
    sleep_async=lambda _: asyncio.sleep(0.001),
)
#: How many of its seconds pass in one of ours.
HASTE = 25


def hasty(haste: float) -> Timing:
    """Return seconds that pass quickly, for what takes many of them.

    What goes over a socket takes its time all the same, so give it many, too.
    """

    async def sleep_async(seconds: float) -> None:
        await asyncio.sleep(seconds / haste)

    return Timing(
        monotonic=lambda: time.monotonic() * haste,
        sleep=lambda seconds: time.sleep(seconds / haste),
        sleep_async=sleep_async,
    )


def leaping() -> Timing:
    """Return seconds that pass only while somebody waits, however busy the machine is.

    For one caller at a time: what goes over a socket takes none of them.
    """
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)
        await asyncio.sleep(0)

    return Timing(monotonic=lambda: now, sleep=sleep, sleep_async=sleep_async)


HASTY = hasty(HASTE)


def credentials_of(sandbox: Sandbox) -> Credentials:
    """Return the credentials of the sandbox's account."""
    account = sandbox.account
    return Credentials(account.api_key, account.api_secret, account.identity)


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    """Return the variables that lead a process to the sandbox, as its account."""
    account = sandbox.account
    return {
        "BITOPRO_API_KEY": account.api_key,
        "BITOPRO_API_SECRET": account.api_secret,
        "BITOPRO_EMAIL": account.identity,
        "BITOPRO_BASE_URL": sandbox.base_url,
        "BITOPRO_STREAM_URL": sandbox.stream_url,
    }


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= int(length[1] if length else 0)


class Wire:
    """A server that keeps the bytes it receives and answers each request with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v3"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                received = b""
                while not _is_whole(received) and (chunk := connection.recv(65536)):
                    received += chunk
                self.requests.append(received)
                connection.sendall(self._answer)

    def close(self) -> None:
        # `close` alone would leave the thread in its `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@contextmanager
def wire(body: bytes, status: str = "200 OK", headers: str = "") -> Iterator[Wire]:
    """Serve one answer, whatever is asked."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    server = Wire(head.encode() + body)
    try:
        yield server
    finally:
        server.close()
