"""What the tests of the panic path share: many callers at once, and what the exchange saw."""

import asyncio
import itertools
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import frozen

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import (
    CancelOutcome,
    NotSentError,
    OrdersClient,
    cancel_and_confirm,
    cancel_and_confirm_async,
    connect,
)
from bitopro_sandbox import Account, OrderStatus, Sandbox, Settings, serve
from tests.support import credentials_of

Way = Literal["threads", "tasks"]
WAYS: tuple[Way, ...] = ("threads", "tasks")
PAIR = "BTC_TWD"

# Below the ports that the system gives away, and none twice: what is counted for an exchange
# outlives the test.
_ports = itertools.count(10_000 + os.getpid() % 20_000)


@contextmanager
def exchange(*, at: Sandbox | None = None, **settings: Any) -> Iterator[Sandbox]:
    """Serve an exchange with an address and a key of its own, whose limits nobody reaches.

    Args:
        at: One that is gone, whose address and key it has instead.
        settings: Its further settings.
    """
    settings = {
        "requests_per_minute": 100_000,
        "general_requests_per_minute": 100_000,
        "second_cancel": 200,
        "accounts": (Account(api_key=f"key-{secrets.token_hex(8)}"),),
        **settings,
    }
    if at is not None:
        with serve(Settings(**{**settings, "accounts": at.accounts}), port=port_of(at)) as again:
            yield again
        return
    with ExitStack() as stack:
        for port in itertools.islice(_ports, 100):
            with suppress(OSError):
                sandbox = stack.enter_context(serve(Settings(**settings), port=port))
                break
        yield sandbox


def port_of(sandbox: Sandbox) -> int:
    """Return the port of an exchange."""
    return int(sandbox.base_url.split(":")[2].split("/")[0])


def client_of(sandbox: Sandbox, **options: Any) -> OrdersClient:
    """Return a client of the exchange's account."""
    return connect(credentials_of(sandbox), **{"base_url": sandbox.base_url, **options})


def orders(sandbox: Sandbox, number: int) -> list[str]:
    """Place so many orders and return their ids."""
    place = sandbox.book.place
    return [place(PAIR, "BUY", amount="0.01", price="1000000").id for _ in range(number)]


@frozen
class Job:
    """One call, for a thread or for a task."""

    in_thread: Callable[[], Any]
    in_task: Callable[[], Awaitable[Any]]


def cancel(client: OrdersClient, order: str) -> Job:
    """Cancel an order."""
    return Job(
        lambda: cancel_order.sync(PAIR, order, client=client),
        lambda: cancel_order.asyncio(PAIR, order, client=client),
    )


def read(client: OrdersClient, order: str) -> Job:
    """Read an order."""
    return Job(
        lambda: get_order.sync(PAIR, order, client=client),
        lambda: get_order.asyncio(PAIR, order, client=client),
    )


def confirm(client: OrdersClient, order: str, **options: Any) -> Job:
    """Cancel an order and confirm it."""
    return Job(
        lambda: cancel_and_confirm(client, PAIR, order, **options),
        lambda: cancel_and_confirm_async(client, PAIR, order, **options),
    )


class Run:
    """Jobs that all run at once, each in a thread or in a task of its own.

    Attributes:
        seconds: How long they took together.
    """

    def __init__(
        self, way: Way, clients: Sequence[OrdersClient], jobs: Sequence[Job], *, pause: float = 0
    ) -> None:
        self.seconds = 0.0
        self._started = time.monotonic()
        self._results: dict[int, object] = {}
        self._threads: list[threading.Thread] = []
        if way == "tasks":
            self._start(lambda: asyncio.run(self._tasks(clients, jobs, pause)))
            return
        for number, job in enumerate(jobs):
            self._start(partial(self._call, number, job))
            time.sleep(pause)

    def _start(self, run: Callable[[], None]) -> None:
        # A daemon: if it hangs the test fails, and the run of the tests still ends.
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _call(self, number: int, job: Job) -> None:
        try:
            self._results[number] = job.in_thread()
        except Exception as error:  # noqa: BLE001 - the test judges it
            self._results[number] = error

    async def _tasks(
        self, clients: Sequence[OrdersClient], jobs: Sequence[Job], pause: float
    ) -> None:
        async with AsyncExitStack() as stack:
            for client in clients:
                await stack.enter_async_context(client)
            tasks = []
            for job in jobs:
                tasks.append(asyncio.ensure_future(job.in_task()))
                if pause:
                    await asyncio.sleep(pause)
            results = await asyncio.gather(*tasks, return_exceptions=True)
        self._results = dict(enumerate(results))

    def results(self, *, within: float = 20) -> list[Any]:
        """Wait for them all; return for each what it returned or raised, in order."""
        for thread in self._threads:
            thread.join(max(0, self._started + within - time.monotonic()))
            assert not thread.is_alive(), f"a call still hangs after {within} s"
        self.seconds = time.monotonic() - self._started
        return [self._results[number] for number in range(len(self._results))]


def at_once(
    way: Way, client: OrdersClient, jobs: Sequence[Job], *, within: float = 20
) -> list[Any]:
    """Run jobs of one client all at once and return their results; the client is closed then."""
    run = Run(way, [client], jobs)
    try:
        return run.results(within=within)
    finally:
        client.close()


def kinds(results: Sequence[object]) -> dict[str, int]:
    """Count the results by what they are."""
    return dict(Counter(_kind(result) for result in results))


def _kind(result: object) -> str:
    if isinstance(result, CancelOutcome):
        return str(result.state)
    return "accepted" if isinstance(result, CancelledOrder) else type(result).__name__


def reasons(results: Sequence[object]) -> list[str]:
    """Return why each that was not sent was not."""
    return [str(result) for result in results if isinstance(result, NotSentError)]


def seconds_named(text: str) -> list[float]:
    """Return the seconds that a message names."""
    return [float(number) for number in re.findall(r"(\d+(?:\.\d+)?) ?s\b", text)]


def arrived(sandbox: Sandbox, method: str = "DELETE") -> int:
    """Return how many requests the exchange has seen."""
    return sum(entry.method == method for entry in sandbox.journal)


def most_in_a_minute(sandbox: Sandbox, method: str = "DELETE") -> int:
    """Return the most requests that arrived within any 60 seconds."""
    times = [entry.at_ms for entry in sandbox.journal if entry.method == method]
    return max((sum(at <= each < at + 60_000 for each in times) for at in times), default=0)


def deletes_per_order(sandbox: Sandbox, ids: Sequence[str]) -> set[int]:
    """Return how many requests to cancel there were for each of the orders."""
    seen = Counter(e.path.rpartition("/")[2] for e in sandbox.journal if e.method == "DELETE")
    return {seen[order] for order in ids}


def states(sandbox: Sandbox, ids: Sequence[str]) -> set[OrderStatus]:
    """Return what the orders are in the book."""
    return {sandbox.book.get(order).status for order in ids}


def bound(number: int, latency_ms: int) -> float:
    """Return the seconds that the limits' own spacing needs, until the last answer.

    A cancel leaves 67 ms after the request before it, a reading 100 ms after, and the first at
    once.
    """
    return number * (60 / 900 + 60 / 600) - 60 / 900 + latency_ms / 1000


def eventually(holds: Callable[[], bool], seconds: float = 5) -> bool:
    """Wait until something holds; say whether it came to that."""
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


class Door:
    """A TLS server before the exchange that keeps new connections waiting until it is opened.

    Until then no byte of a request can leave the client.
    """

    def __init__(self, sandbox: Sandbox, context: ssl.SSLContext) -> None:
        self._exchange = ("127.0.0.1", port_of(sandbox))
        self._context = context
        self._opened = threading.Event()
        self._sockets: list[socket.socket] = []
        for port in itertools.islice(_ports, 100):
            with suppress(OSError):
                self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
                break
        self.base_url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/v3"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def open(self, *, after: float = 0) -> None:
        """Let everybody in from now on, or from so many seconds after now on."""
        time.sleep(after)
        self._opened.set()

    def close(self) -> None:
        """End every connection."""
        self._opened.set()
        # `close` alone would leave the thread in its `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(plain)
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._opened.wait(60)
            with self._context.wrap_socket(plain, server_side=True) as client:
                self._sockets.append(client)
                with socket.create_connection(self._exchange) as server:
                    while request := _message(client):
                        server.sendall(request)
                        client.sendall(_message(server))


def _message(wire: socket.socket) -> bytes:
    """Read one request or answer; nothing at the end."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (part := wire.recv(65536)):
            return b""
        received += part
    head = received.partition(b"\r\n\r\n")[0]
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = len(head) + 4 + (int(length[1]) if length else 0) - len(received)
    while missing > 0:
        if not (part := wire.recv(65536)):
            return b""
        received, missing = received + part, missing - len(part)
    return received


@contextmanager
def door(sandbox: Sandbox, context: ssl.SSLContext) -> Iterator[Door]:
    """Put a door before the exchange."""
    found = Door(sandbox, context)
    try:
        yield found
    finally:
        found.close()


def tls_contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS contexts of a server on this machine and of who trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl makes the throwaway certificate")
    file = folder / "self-signed.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(file.with_suffix(".key")), "-out", str(file),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file, file.with_suffix(".key"))
    return server, ssl.create_default_context(cafile=file)
