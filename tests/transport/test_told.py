"""What is told of a request: to the server who asks, and to the program how long it took."""

import importlib.metadata
import time

import pytest

from bitopro_orders import AttemptRecord, SendingPolicy, version
from tests.policy.servers import Peer, always, answer
from tests.transport.conftest import Serving
from tests.transport.ways import Caller

SLOW_SECONDS = 0.2


def test_the_user_agent_names_the_package_and_its_version(
    caller: Caller, securely: Serving
) -> None:
    with securely(always(answer())) as server:
        caller.cancel(caller.connect(server.base_url))
        (request,) = server.requests
    agents = [line for line in request.split(b"\r\n") if line.lower().startswith(b"user-agent:")]
    assert agents == [f"User-Agent: bitopro-orders/{version.__version__}".encode()]
    assert importlib.metadata.metadata("bitopro-orders")["Name"] == "bitopro-orders"


def test_the_milliseconds_of_an_attempt_begin_when_it_leaves(
    caller: Caller, securely: Serving
) -> None:
    """The first waits for nothing, the second until its limit's spacing has passed."""
    records: list[AttemptRecord] = []

    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            time.sleep(SLOW_SECONDS)
            peer.send(answer())

    with securely(serve) as server:
        client = caller.connect(server.base_url, on_attempt=records.append)
        caller.at_once(client, 2)
    assert len(records) == 2
    for each in records:
        assert each.milliseconds >= SLOW_SECONDS * 1000 - 5
    assert max(each.waited_milliseconds for each in records) > 40


def test_what_never_left_took_no_time_but_its_wait(caller: Caller) -> None:
    records: list[AttemptRecord] = []
    policy = SendingPolicy(attempts=1)
    client = caller.connect("http://127.0.0.1:9/v3", policy=policy, on_attempt=records.append)
    caller.fails(client)
    (record,) = records
    assert (record.status, record.milliseconds) == (None, 0)
    assert record.waited_milliseconds > 0


def test_a_slow_handshake_is_part_of_the_wait(
    caller: Caller, securely: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[AttemptRecord] = []
    with securely(always(answer())) as server:
        run = server._run

        def slowly(*args: object) -> None:
            time.sleep(SLOW_SECONDS)  # the kernel has connected; nobody answers the handshake yet
            run(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(server, "_run", slowly)
        caller.cancel(caller.connect(server.base_url, on_attempt=records.append))
    (record,) = records
    assert record.waited_milliseconds >= SLOW_SECONDS * 1000 - 5
    assert record.milliseconds < record.waited_milliseconds
