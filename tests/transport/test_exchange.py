"""One request, and whatever a server does then: which case it is, in time, and what of its line."""

import asyncio
import socket
import ssl
import threading
import time
from typing import Literal, NamedTuple

import pytest

from bitopro_orders import (
    BitoProError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    SendingPolicy,
)
from bitopro_orders.transport import Attempt, Origin, SilenceError
from bitopro_orders.transport.tasks import Tasks
from bitopro_orders.transport.threads import Threads
from tests.policy.scripted import CANCELLED, ORDER_ID
from tests.policy.servers import Peer, Server, always, answer, serving
from tests.transport.conftest import Serving
from tests.transport.ways import Caller

Then = Literal["waits", "ends", "resets"]
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CANCELLED), CANCELLED)
NOT_FOUND = answer(b'{"error":"no"}', "404 Not Found")
WITHOUT_LENGTH = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + CANCELLED
INTERIM = {
    number: b"HTTP/1.1 %d Interim\r\nX: %d\r\n\r\n" % (number, number) for number in (100, 102, 103)
}


class Case(NamedTuple):
    """What a server sends to the first request and does then.

    Attributes:
        then: What it does until the client ends the connection.
        expected: What is raised; None for an accepted cancel.
        is_kept: Whether the connection carries the next request.
        is_ours_alone: Whether only our transport sees that it must not be kept.
    """

    sends: bytes
    then: Then = "waits"
    expected: type[BitoProError] | None = None
    is_kept: bool = False
    is_ours_alone: bool = False


CASES = {
    "an answer": Case(answer(), is_kept=True),
    "a refusal": Case(NOT_FOUND, expected=NotFoundError, is_kept=True),
    "chunks": Case(CHUNKED_HEAD + CHUNKED, is_kept=True),
    "a chunk with an extension": Case(
        CHUNKED_HEAD + CHUNKED.replace(b"\r\n", b";a=b\r\n", 1), is_kept=True
    ),
    "100 first": Case(INTERIM[100] + answer(), is_kept=True),
    "102 first": Case(INTERIM[102] + answer(), is_kept=True),
    "103 first": Case(INTERIM[103] + answer(), is_kept=True),
    "all three first": Case(b"".join(INTERIM.values()) + NOT_FOUND, "waits", NotFoundError, True),
    "100 alone, then the end": Case(INTERIM[100], "ends", OutcomeUnknownError),
    "the end": Case(b"", "ends", OutcomeUnknownError),
    "a reset": Case(b"", "resets", OutcomeUnknownError),
    "silence": Case(b"", "waits", OutcomeUnknownError),
    "half a header block, then the end": Case(answer()[:30], "ends", OutcomeUnknownError),
    "half a header block, then silence": Case(answer()[:30], "waits", OutcomeUnknownError),
    "half a body, then the end": Case(answer()[:-5], "ends", OutcomeUnknownError),
    "half a body, then a reset": Case(answer()[:-5], "resets", OutcomeUnknownError),
    "half a body, then silence": Case(answer()[:-5], "waits", OutcomeUnknownError),
    "half the chunks, then the end": Case(
        CHUNKED_HEAD + CHUNKED[:-5], "ends", OutcomeUnknownError
    ),
    "no chunk": Case(CHUNKED_HEAD + b"no chunk\r\n", "waits", OutcomeUnknownError),
    "a chunk longer than it says": Case(
        CHUNKED_HEAD + b"2\r\n" + CANCELLED + b"\r\n0\r\n\r\n", "waits", OutcomeUnknownError
    ),
    "a chunk of minus one": Case(CHUNKED_HEAD + b"-1\r\n{}\r\n", "waits", OutcomeUnknownError),
    "garbage": Case(bytes(range(256)) * 4, "waits", OutcomeUnknownError),
    "another protocol": Case(b"SSH-2.0-x\r\n\r\n", "waits", OutcomeUnknownError),
    "a body without a length, then the end": Case(WITHOUT_LENGTH, "ends"),
    "a body without a length, then a reset": Case(
        WITHOUT_LENGTH, "resets", OutcomeUnknownError
    ),
    "a body without a length, then silence": Case(WITHOUT_LENGTH, "waits", OutcomeUnknownError),
    "10 MB of headers": Case(
        b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyy\r\n" * 600_000, "waits", OutcomeUnknownError
    ),
    "one header of 10 MB": Case(
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000_000, "waits", OutcomeUnknownError
    ),
    # httpx keeps such a connection, and takes what is left over for the next answer.
    "two answers in one read": Case(answer() + NOT_FOUND, is_ours_alone=True),
    "bytes after the answer": Case(answer() + b"bytes", is_ours_alone=True),
    "both lengths": Case(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        is_ours_alone=True,
    ),
}  # fmt: skip


def _ends(peer: Peer, then: Then) -> None:
    if then == "resets":
        linger = (1).to_bytes(4, "little") + bytes(4)
        peer.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    time.sleep(0.05)  # in which the answer is read: a reset may overtake it


@pytest.mark.parametrize("name", CASES)
def test_each_ends_as_its_case_says_and_a_spoilt_connection_carries_nothing_more(
    caller: Caller, securely: Serving, name: str
) -> None:
    case = CASES[name]

    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            if len(server.requests) > 1:
                peer.send(answer())
            else:
                peer.send(case.sends)
                if case.then != "waits":
                    _ends(peer, case.then)
                    break

    # Python's ssl tells a reset from the end in tasks alone.
    with (serving if case.then == "resets" else securely)(serve) as server:
        client = caller.connect(server.base_url)
        first = client.with_timeout(0.4) if "silence" in name else client
        started = time.monotonic()
        if case.expected is None:
            assert caller.cancel(first).order_id == ORDER_ID
        else:
            error = caller.fails(first)
            assert (type(error), error.attempts) == (case.expected, 1)
        assert time.monotonic() - started < 3
        opened = server.opened
        assert len(server.requests) == 1
        if caller.is_ours or not case.is_ours_alone:
            assert caller.cancel(client).order_id == ORDER_ID
            assert len(server.requests) == 2
            assert server.opened == opened + (not (case.is_kept and caller.is_ours))
            if not case.is_kept and case.then == "waits":
                assert server.wait_until(lambda: server.closed >= opened), "it was left open"


def test_bytes_that_come_later_are_no_answer_to_the_next_request(
    caller: Caller, securely: Serving
) -> None:
    def serve(peer: Peer, number: int) -> None:
        while peer.read():
            peer.send(answer())
            if number == 1:
                time.sleep(0.05)
                peer.send(NOT_FOUND)

    with securely(serve) as server:
        client = caller.connect(server.base_url)
        for _ in range(2):
            assert caller.cancel(client).order_id == ORDER_ID
            time.sleep(0.2)
        assert (len(server.requests), server.opened) == (2, 2)


@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_before_the_request_was_whole_counts(
    caller: Caller, securely: Serving, status: int
) -> None:
    def serve(peer: Peer, _: int) -> None:
        assert peer.wire.recv(10)
        peer.send(answer() if status == 200 else NOT_FOUND)
        peer.read()

    with securely(serve) as server:
        client = caller.connect(server.base_url)
        if status == 200:
            assert caller.cancel(client).order_id == ORDER_ID
        else:
            assert type(caller.fails(client)) is NotFoundError
        assert server.opened == 1


def test_the_rest_of_a_long_request_does_not_get_into_the_next_one() -> None:
    """Only a loop reads while it writes; a thread writes on until its time is up."""
    let_go = threading.Event()

    def serve(peer: Peer, _: int) -> None:
        peer.wire.recv(10)
        peer.send(answer())
        let_go.wait(5)

    data = b"PUT / HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000)

    def attempt(seconds: float) -> Attempt:
        return Attempt(time.monotonic() + seconds, time.monotonic, seconds)

    async def main(server: Server) -> None:
        transport, origin = Tasks(ssl.create_default_context, time.monotonic), server_origin(server)
        connection = await transport.connect(origin, attempt(5))
        found = await transport.exchange(connection, data, attempt(5))
        assert (found.status, found.content) == (200, CANCELLED)
        assert transport.take(origin) is None
        await asyncio.sleep(0.01)

    with serving(serve) as server:
        asyncio.run(main(server))
        threads, origin = Threads(ssl.create_default_context, time.monotonic), server_origin(server)
        connection = threads.connect(origin, attempt(5))
        with pytest.raises(SilenceError):
            threads.exchange(connection, data, attempt(0.4))
        assert threads.take(origin) is None
        let_go.set()


def server_origin(server: Server) -> Origin:
    return Origin.of(server.base_url)


def test_what_a_server_says_before_it_is_asked_is_never_a_cancel_that_stayed_at_home(
    caller: Caller, securely: Serving
) -> None:
    """It may be taken for the answer or spoil the connection, but one request leaves at the most.

    A request that left is never called one that did not.
    """

    def serve(peer: Peer, _: int) -> None:
        peer.send(NOT_FOUND)
        peer.read()

    with securely(serve) as server:
        policy = SendingPolicy(attempts=2, backoff_seconds=0.01)
        error = caller.fails(caller.connect(server.base_url, policy=policy))
        time.sleep(0.05)
        assert error.attempts == len(server.requests) <= 1


DRIPS = {
    "first line": (b"", b"H"),
    "interim answers": (b"", INTERIM[100]),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b" "),
    "chunks": (CHUNKED_HEAD, b"1\r\n \r\n"),
    "a chunk's length": (CHUNKED_HEAD, b"0"),
    "body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
}


def test_a_server_that_drips_is_given_up_at_the_deadline_at_every_stage(
    caller: Caller, securely: Serving
) -> None:
    stages = list(DRIPS.values())

    def serve(peer: Peer, number: int) -> None:
        first, drop = stages[number - 1]
        peer.read()
        peer.send(first)
        while True:
            time.sleep(0.05)
            peer.send(drop)

    # All of them at once, each on a connection of its own.
    policy = SendingPolicy(deadline_seconds=1, in_flight=len(stages), limit_share=None)
    with securely(serve) as server:
        client, started = caller.connect(server.base_url, policy=policy), time.monotonic()
        errors = caller.at_once(client, len(stages))
        assert time.monotonic() - started < 2.5
        assert {(type(error), error.attempts) for error in errors} == {(OutcomeUnknownError, 1)}
        assert len(server.requests) == server.opened == len(stages)


def test_two_equal_waits_that_a_refusal_asks_for_are_one(caller: Caller) -> None:
    refusal = answer(b"{}", "429 Too Many Requests", "Retry-After: 2\r\n" * 2)
    with serving(always(refusal)) as server:
        client = caller.connect(server.base_url, policy=SendingPolicy(attempts=1))
        error = caller.fails(client)
        assert len(server.requests) == 1
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 2
