"""On the wire: a request goes out once, connections are kept, and no answer is trusted too far."""

import asyncio
import functools
import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import certifi
import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import (
    BitoProError,
    NotSentError,
    OrdersClient,
    OutcomeUnknownError,
    RejectedError,
    SendingPolicy,
    connect,
)
from bitopro_orders.transport import LONGEST_ANSWER
from bitopro_sandbox import Sandbox, faults
from tests.policy.scripted import CANCELLED, CREDENTIALS, ORDER_ID, PAIR, Way
from tests.policy.servers import Peer, Server, always, answer, serving
from tests.support import TIMELESS, credentials_of

UNLIMITED = SendingPolicy(limit_share=None)
SHORT = SendingPolicy(deadline_seconds=0.3)


class Caller:
    """Cancels through one client, from a thread or from tasks of one loop."""

    def __init__(self, way: Way, client: OrdersClient, runner: asyncio.Runner) -> None:
        self.way, self.client, self._runner = way, client, runner

    def cancel(self, order_id: str = ORDER_ID) -> CancelledOrder:
        if self.way == "sync":
            return cancel_order.sync(PAIR, order_id, client=self.client)
        return self._runner.run(cancel_order.asyncio(PAIR, order_id, client=self.client))

    def fails(self) -> BitoProError:
        with pytest.raises(BitoProError) as caught:
            self.cancel()
        return caught.value

    def at_once(self, count: int) -> list[Any]:
        """Cancel as often at once; return the answers and errors."""
        if self.way == "sync":

            def one(_: int) -> Any:
                try:
                    return self.cancel()
                except BitoProError as error:
                    return error

            with ThreadPoolExecutor(count) as threads:
                return list(threads.map(one, range(count)))

        async def main() -> list[Any]:
            calls = [cancel_order.asyncio(PAIR, ORDER_ID, client=self.client) for _ in range(count)]
            return await asyncio.gather(*calls, return_exceptions=True)

        return self._runner.run(main())

    def close(self) -> None:
        async def leave() -> None:
            async with self.client:
                pass

        if self.way == "sync":
            self.client.close()
        else:
            self._runner.run(leave())


NewCaller = Callable[..., Caller]


@pytest.fixture
def new_caller(way: Way) -> Iterator[NewCaller]:
    callers: list[Caller] = []
    with asyncio.Runner() as runner:

        def make(base_url: str, **options: Any) -> Caller:
            credentials = options.pop("credentials", CREDENTIALS)
            client = connect(credentials, base_url=base_url, **options)
            callers.append(Caller(way, client, runner))
            return callers[-1]

        yield make
        for each in callers:
            each.close()


# Once


def read_and_close(peer: Peer, _: int) -> None:
    peer.read()


def test_a_server_that_reads_and_closes_gets_one_request(new_caller: NewCaller) -> None:
    with serving(read_and_close) as server:
        error = new_caller(server.base_url).fails()
        time.sleep(0.05)
        assert (len(server.requests), server.opened) == (1, 1)
    assert type(error) is OutcomeUnknownError
    assert error.attempts == 1


@pytest.mark.parametrize("reset", [False, True])
def test_it_gets_one_request_on_a_kept_connection_too(new_caller: NewCaller, reset: bool) -> None:
    def serve(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(answer())
        peer.read()
        if reset:
            linger = (1).to_bytes(4, "little") + bytes(4)
            peer.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    with serving(serve) as server:
        caller = new_caller(server.base_url)
        caller.cancel()
        error = caller.fails()
        time.sleep(0.05)
        assert (len(server.requests), server.opened) == (2, 1)
    assert type(error) is OutcomeUnknownError


# Connections


def test_connections_are_kept_and_reused(new_caller: NewCaller, bitopro_sandbox: Sandbox) -> None:
    caller = new_caller(bitopro_sandbox.base_url, credentials=credentials_of(bitopro_sandbox))
    for _ in range(5):
        caller.at_once(1)
    assert len(bitopro_sandbox.journal) == 5
    assert {entry.http_connection for entry in bitopro_sandbox.journal} == {1}


@pytest.mark.parametrize("polite", [False, True], ids=["unannounced", "announced"])
def test_an_idle_connection_that_the_server_closes_is_not_used_again(
    new_caller: NewCaller, polite: bool
) -> None:
    def serve(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(answer(headers="Connection: close\r\n" if polite else ""))

    with serving(serve) as server:
        caller = new_caller(server.base_url)
        for count in range(1, 4):
            caller.cancel()
            # No event loop runs meanwhile, as in a program that is busy elsewhere.
            assert server.wait_until(lambda: server.closed == count)  # noqa: B023
            assert (len(server.requests), server.opened) == (count, count)


def test_what_a_server_says_unasked_is_no_answer_to_the_next_request(
    new_caller: NewCaller,
) -> None:
    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            peer.send(answer() + answer(b'{"error":"slow"}', "404 Not Found"))

    with serving(serve) as server:
        caller = new_caller(server.base_url)
        for _ in range(3):
            assert caller.cancel().order_id == ORDER_ID


async def test_what_a_server_says_late_is_no_answer_to_the_next_request() -> None:
    goodbye = answer(b'{"error":"idle"}', "404 Not Found")
    arrived, said = threading.Semaphore(0), threading.Semaphore(0)

    def serve(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(answer())
        arrived.acquire(timeout=5)
        peer.send(goodbye)
        said.release()
        peer.read()

    with serving(serve) as server:
        async with connect(CREDENTIALS, base_url=server.base_url) as client:
            for _ in range(2):
                await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
                arrived.release()
                assert await asyncio.to_thread(said.acquire, timeout=5)
                await asyncio.sleep(0.02)  # in which the loop reads it
        assert server.opened == 2


@pytest.mark.parametrize("in_flight", [1, 8])
def test_there_are_never_more_connections_than_requests_in_flight(
    new_caller: NewCaller, in_flight: int
) -> None:
    lock = threading.Lock()
    now = most = 0

    def serve(peer: Peer, _: int) -> None:
        nonlocal now, most
        while peer.read():
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= 1
            peer.send(answer())

    policy = SendingPolicy(in_flight=in_flight, limit_share=None)
    with serving(serve) as server:
        answers = new_caller(server.base_url, policy=policy, timing=TIMELESS).at_once(50)
        assert all(isinstance(each, CancelledOrder) for each in answers)
        assert len(server.requests) == 50
        assert server.opened <= in_flight
        assert most <= in_flight


def test_closing_closes_every_connection_and_the_client_can_be_used_again(
    new_caller: NewCaller,
) -> None:
    policy = SendingPolicy(in_flight=4, limit_share=None)

    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            time.sleep(0.02)
            peer.send(answer())

    with serving(serve) as server:
        caller = new_caller(server.base_url, policy=policy)
        caller.at_once(8)
        opened = server.opened
        assert opened > 1
        caller.close()
        assert server.wait_until(lambda: server.ended == opened)
        caller.cancel()
        assert server.opened == opened + 1
        caller.close()
        assert server.wait_until(lambda: server.ended == opened + 1)


def test_five_hundred_cancels_leave_nothing_open(new_caller: NewCaller) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("descriptors are counted in /proc")

    def serve(peer: Peer, _: int) -> None:
        for number in range(10):  # so that connections come and go
            if not peer.read():
                return
            peer.send(answer(headers="Connection: close\r\n" if number == 9 else ""))

    def used() -> int:
        return len(list(descriptors.iterdir()))

    with serving(serve) as server:
        caller = new_caller(server.base_url, policy=UNLIMITED)
        for _ in range(20):
            caller.cancel()
        before = used()
        for _ in range(500):
            caller.cancel()
        assert used() <= before + 3
        assert server.opened == 52


def test_a_client_of_several_event_loops_serves_each() -> None:
    with serving(always(answer())) as server:
        client = connect(CREDENTIALS, base_url=server.base_url, policy=UNLIMITED)

        async def some() -> None:
            for _ in range(20):
                await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
                await asyncio.sleep(0.001)
            client.close()
            await asyncio.sleep(0.05)

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(asyncio.run, some(), debug=True) for _ in range(2)]:
                done.result()
        assert len(server.requests) == 40
        assert server.opened <= 5  # one for each, and what the first one to end has closed


# The deadline


def _drips(first: bytes, drop: bytes) -> Callable[[Peer, int], None]:
    def serve(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(first)
        while True:
            time.sleep(0.05)
            peer.send(drop)

    return serve


@pytest.mark.parametrize(
    "serve",
    [
        _drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b" "),
        _drips(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        _drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        _drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        _drips(b"", b""),
    ],
    ids=["body", "headers", "chunks", "continue", "nothing"],
)
def test_a_server_that_drips_is_given_up_at_the_deadline(
    new_caller: NewCaller, serve: Callable[[Peer, int], None]
) -> None:
    with serving(serve) as server:
        caller = new_caller(server.base_url, policy=SHORT)
        started = time.monotonic()
        error = caller.fails()
        assert 0.25 < time.monotonic() - started < 1.2
    assert type(error) is OutcomeUnknownError
    assert "no answer came (no whole answer came in time)" in str(error)


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """Return an address that answers no attempt to connect, as behind some firewalls."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(address)
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(address) == 0:
                pytest.skip("this system accepts more connections than a server asks for")
        yield address
        for each in fillers:
            each.close()


def test_the_deadline_covers_all_addresses_of_a_host(
    new_caller: NewCaller, deaf: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", deaf)] * 4
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    caller = new_caller(f"http://localhost:{deaf[1]}/v3", policy=SHORT)
    started = time.monotonic()
    error = caller.fails()
    assert time.monotonic() - started < 1.2
    assert type(error) is NotSentError
    assert error.attempts == 0


def test_a_later_address_is_tried(new_caller: NewCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(answer())) as server, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (nobody.getsockname()[1], server.port)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert new_caller(f"http://localhost:{server.port}/v3").cancel().order_id == ORDER_ID


# The size


def _chunked(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        len(data),
        data,
    )


AT_THE_CAP = CANCELLED + b" " * (LONGEST_ANSWER - len(CANCELLED))


@pytest.mark.parametrize("form", [answer, _chunked], ids=["length", "chunked"])
def test_a_body_of_eight_mebibytes_is_the_largest(
    new_caller: NewCaller, form: Callable[[bytes], bytes]
) -> None:
    with serving(always(form(AT_THE_CAP))) as server:
        assert new_caller(server.base_url).cancel().order_id == ORDER_ID
    with serving(always(form(AT_THE_CAP + b" "))) as server:
        assert type(new_caller(server.base_url).fails()) is OutcomeUnknownError


def test_an_endless_body_ends_at_the_cap(new_caller: NewCaller) -> None:
    sent = 0

    def serve(peer: Peer, _: int) -> None:
        nonlocal sent
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b" " * 65536)
            sent += 65536

    with serving(serve) as server:
        assert type(new_caller(server.base_url).fails()) is OutcomeUnknownError
    assert sent < 32 * 2**20  # the cap and what the system's buffers hold


@functools.cache
def a_gzip_bomb() -> bytes:
    return gzip.compress(b" " * (64 * 2**20), 9)


def test_a_gzip_bomb_costs_a_few_mebibytes(new_caller: NewCaller) -> None:
    bomb = a_gzip_bomb()
    assert len(bomb) < 2**20
    with serving(always(answer(bomb, headers="Content-Encoding: gzip\r\n"))) as server:
        caller = new_caller(server.base_url)
        tracemalloc.start()
        try:
            error = caller.fails()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert type(error) is OutcomeUnknownError
    assert peak < 6 * LONGEST_ANSWER


# What is not an answer


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        answer(headers=f"Content-Length: {len(CANCELLED)}\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["no HTTP", "length", "lengths", "equal lengths", "chunks", "headers", "upgrade"],
)
def test_what_is_not_http_is_an_unknown_outcome_and_its_connection_is_gone(
    new_caller: NewCaller, data: bytes
) -> None:
    with serving(always(data)) as server:
        caller = new_caller(server.base_url)
        assert type(caller.fails()) is OutcomeUnknownError
        assert server.wait_until(lambda: server.ended == 1)
        assert len(server.requests) == 1


def test_a_refusal_keeps_its_connection(new_caller: NewCaller) -> None:
    with serving(always(answer(b'{"error":"no"}', "404 Not Found"))) as server:
        caller = new_caller(server.base_url)
        for _ in range(3):
            assert isinstance(caller.fails(), RejectedError)
        assert (server.opened, len(server.requests)) == (1, 3)


# Threads and tasks of the same client


def test_threads_and_tasks_share_a_client_and_closing_it_closes_both(
    bitopro_sandbox: Sandbox,
) -> None:
    bitopro_sandbox.faults.add(faults.status(404), times=100)

    def serve_both(server: Server) -> None:
        client = connect(CREDENTIALS, base_url=server.base_url)

        async def main() -> None:
            await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
            await asyncio.to_thread(cancel_order.sync, PAIR, ORDER_ID, client=client)
            client.close()
            await asyncio.sleep(0.05)

        asyncio.run(main())

    with serving(always(answer())) as server:
        serve_both(server)
        assert server.wait_until(lambda: server.ended == 2)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl makes the throwaway certificate")
    file = tmp_path_factory.mktemp("tls") / "self-signed.pem"
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
    return file


@pytest.fixture
def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def test_a_certificate_that_is_not_trusted_gets_nothing(
    new_caller: NewCaller, server_context: ssl.SSLContext
) -> None:
    with serving(always(answer()), server_context) as server:
        error = new_caller(server.base_url, policy=SendingPolicy(attempts=1)).fails()
        assert server.requests == []
    assert type(error) is NotSentError
    assert "the server's certificate does not hold" in str(error)


def test_a_trusted_server_is_asked_over_one_tls_context(
    new_caller: NewCaller,
    server_context: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    def where() -> str:
        nonlocal asked
        asked += 1
        return str(certificate)

    monkeypatch.setattr(certifi, "where", where)
    with serving(always(answer()), server_context) as server:
        caller = new_caller(server.base_url)
        for _ in range(3):
            assert caller.cancel().order_id == ORDER_ID
        with ThreadPoolExecutor(1) as thread:  # from a thread too, whatever the way
            thread.submit(cancel_order.sync, PAIR, ORDER_ID, client=caller.client).result()
        caller.close()
        caller.cancel()
        assert len(server.requests) == 5
    assert asked == 1


def test_a_company_may_bring_its_own_authority(
    new_caller: NewCaller, server_context: ssl.SSLContext, certificate: Path
) -> None:
    context = ssl.create_default_context(cafile=certificate)
    with serving(always(answer()), server_context) as server:
        assert new_caller(server.base_url, tls=context).cancel().order_id == ORDER_ID


def test_a_server_that_does_not_speak_tls_gets_nothing(new_caller: NewCaller) -> None:
    with serving(lambda peer, _: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        base_url = server.base_url.replace("http:", "https:")
        error = new_caller(base_url, policy=SendingPolicy(attempts=1, deadline_seconds=2)).fails()
        assert server.requests == []
    assert type(error) is NotSentError
