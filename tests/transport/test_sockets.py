"""The sockets themselves: deaf addresses, dead connections, and none that is left unclosed."""

import asyncio
import gc
import socket
import threading
import time
import warnings
from pathlib import Path

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import OrdersClient, SendingPolicy, Timing, connect
from tests.policy.scripted import CREDENTIALS, ORDER_ID, PAIR
from tests.policy.servers import Peer, always, answer, serving
from tests.transport.conftest import Serving
from tests.transport.ways import Caller

CONNECTIONS = Path("/proc/self/net/tcp")
CLOSE_WAIT = "08"
MANY = 50
AT_ONCE = SendingPolicy(in_flight=MANY, limit_share=None)


def _found(*addresses: tuple[str, int]) -> list[tuple[object, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


@pytest.mark.parametrize("deaf_ones", [1, 3])
def test_a_deaf_first_address_costs_a_share_of_the_deadline_and_only_once(
    our_caller: Caller,
    securely: Serving,
    deaf: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    deaf_ones: int,
) -> None:
    """The deadline is shorter than the default one, 10 seconds; shares are parts of it."""
    goodbye = answer(headers="Connection: close\r\n")
    with securely(always(goodbye)) as server:
        found = _found(*[deaf] * deaf_ones, ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        policy = SendingPolicy(deadline_seconds=2)
        client = our_caller.connect(f"https://localhost:{server.port}/v3", policy=policy)
        assert our_caller.cancel(client).order_id == ORDER_ID
        started = time.monotonic()
        for _ in range(2):
            assert our_caller.cancel(client).order_id == ORDER_ID
        assert time.monotonic() - started < 0.9, "the deaf address was tried again"
        assert (len(server.requests), server.opened) == (3, 3)


def _waiting_to_be_closed(port: int) -> int:
    rows = [line.split() for line in CONNECTIONS.read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == CLOSE_WAIT for row in rows)


@pytest.mark.parametrize("survivors", [0, 1])
def test_idle_connections_that_the_server_closed_do_not_wait_to_be_closed(
    caller: Caller, survivors: int
) -> None:
    if not CONNECTIONS.exists():
        pytest.skip("connections are counted in /proc")
    if not caller.is_ours:
        pytest.skip("through httpx no connection is kept")
    everybody = threading.Barrier(MANY)
    closing = threading.Event()

    def serve(peer: Peer, number: int) -> None:
        peer.read()
        if number <= MANY:
            everybody.wait(10)
        peer.send(answer())
        if number <= MANY - survivors:
            closing.wait(10)
        else:
            while peer.read():
                peer.send(answer())

    with serving(serve) as server:
        client = caller.connect(server.base_url, policy=AT_ONCE)
        answers = caller.at_once(client, MANY)
        assert all(isinstance(each, CancelledOrder) for each in answers)
        assert server.opened == MANY
        closing.set()
        assert server.wait_until(lambda: server.closed >= MANY - survivors)
        # The one that lives may be on top, and each cancel closes one at the bottom.
        for _ in range(MANY + 1 if survivors else 2):
            caller.cancel(client)
        assert _waiting_to_be_closed(server.port) == 0
        assert server.opened <= MANY + 1


def test_one_client_of_several_loops_in_turn_and_its_copies_leave_no_socket_open() -> None:
    with serving(always(answer())) as server, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        client = connect(CREDENTIALS, base_url=server.base_url, policy=AT_ONCE)

        async def some(client: OrdersClient) -> None:
            copies = [client, client.with_headers({"X-Copy": "1"}), client.with_timeout(5.0)]
            calls = [cancel_order.asyncio(PAIR, ORDER_ID, client=copy) for copy in copies * 3]
            await asyncio.gather(*calls)

        for _ in range(3):
            asyncio.run(some(client))
            gc.collect()
        opened = server.opened
        assert server.wait_until(lambda: server.ended == opened), "a loop's end closes its own"
        for copy in (client, client.with_headers({"X-Copy": "2"}), client.with_timeout(5.0)):
            cancel_order.sync(PAIR, ORDER_ID, client=copy)
        assert server.opened == opened + 1, "copies share the connections"
        with client.with_headers({"X-Copy": "3"}):
            pass
        assert server.wait_until(lambda: server.ended == opened + 1)
        asyncio.run(some(client))
        del client
        gc.collect()
    assert [str(each.message) for each in warned] == []


def test_a_request_that_is_given_up_leaves_no_socket_open(
    our_caller: Caller, securely: Serving
) -> None:
    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            pass

    with securely(serve) as server, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        client = our_caller.connect(server.base_url, policy=SendingPolicy(deadline_seconds=0.3))
        our_caller.fails(client)
        assert server.wait_until(lambda: server.ended == 1)
        gc.collect()
    assert [str(each.message) for each in warned] == []


def test_a_connection_that_was_under_way_when_its_client_was_closed_is_not_kept(
    our_caller: Caller,
) -> None:
    has_come, closed = threading.Event(), threading.Event()

    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            has_come.set()
            closed.wait(5)
            peer.send(answer())

    with serving(serve) as server:
        client = our_caller.connect(server.base_url)

        def close() -> None:
            has_come.wait(5)
            client.close()
            closed.set()

        closing = threading.Thread(target=close)
        closing.start()
        for _ in range(2):
            assert our_caller.cancel(client).order_id == ORDER_ID
        closing.join()
        assert server.wait_until(lambda: server.ended == 1)
        assert server.opened == 2


def test_a_client_that_is_closed_at_any_moment_of_a_request_leaves_no_socket_open(
    our_caller: Caller,
) -> None:
    """Any of the moments at which the time is told, as if by another thread."""
    moment = tells = 0

    def monotonic() -> float:
        nonlocal tells
        tells += 1
        if tells == moment:
            client.close()
        return time.monotonic()

    with serving(always(answer())) as server:
        while moment <= tells:
            tells = 0
            client = our_caller.connect(server.base_url, timing=Timing(monotonic=monotonic))
            assert our_caller.cancel(client).order_id == ORDER_ID
            our_caller.leave(client)
            assert server.wait_until(lambda: server.ended == server.opened)
            moment += 1
    assert moment > 5
