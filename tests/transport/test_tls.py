"""Whom it speaks to: a server whose certificate does not hold gets no byte of a request."""

import asyncio
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import certifi
import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import NotSentError, SendingPolicy, connect
from tests.policy.scripted import CREDENTIALS, ORDER_ID, PAIR
from tests.policy.servers import Peer, always, answer, serving
from tests.transport import certificates
from tests.transport.conftest import Serving
from tests.transport.ways import Caller

ONCE = SendingPolicy(attempts=1)
REASONS = {
    "wrong name": "IP address mismatch",
    "expired": "certificate has expired",
    "unknown": "self-signed certificate",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_certificate_that_does_not_hold_gets_nothing(
    caller: Caller, folder: Path, kind: str
) -> None:
    with serving(always(answer()), certificates.of_server(folder, kind)) as server:
        error = caller.fails(caller.connect(server.base_url, policy=ONCE))
        assert server.requests == []
    assert (type(error), error.attempts) == (NotSentError, 0)
    if caller.is_ours:
        assert "the server's certificate does not hold: " in str(error)
        assert REASONS[kind] in str(error)


def test_a_server_that_holds_is_asked_over_one_connection(
    caller: Caller, securely: Serving
) -> None:
    with securely(always(answer())) as server:
        client = caller.connect(server.base_url)
        for _ in range(3):
            assert caller.cancel(client).order_id == ORDER_ID
        assert (len(server.requests), server.opened) == (3, 1 if caller.is_ours else 3)


def test_a_thread_trusts_the_authorities_while_another_one_still_loads_them(
    securely: Serving, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, may_go_on = threading.Event(), threading.Event()

    def where() -> str:
        if not loading.is_set():
            loading.set()
            assert may_go_on.wait(20)
        return str(folder / "good" / "certificate.pem")

    monkeypatch.setattr(certifi, "where", where)
    policy = SendingPolicy(attempts=1, in_flight=2)
    with (
        securely(always(answer())) as server,
        connect(CREDENTIALS, base_url=server.base_url, policy=policy) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(cancel_order.sync, PAIR, ORDER_ID, client=client)
        try:
            assert loading.wait(20)
            assert cancel_order.sync(PAIR, ORDER_ID, client=client).order_id == ORDER_ID
        finally:
            may_go_on.set()
        assert first.result(20).order_id == ORDER_ID


def test_a_handshake_that_never_ends_is_not_sent_at_the_deadline(caller: Caller) -> None:
    def drip(peer: Peer, _: int) -> None:
        peer.send(b"\x16\x03\x03\x40\x00")
        while True:  # the record never becomes whole
            time.sleep(0.05)
            peer.send(b"\x02")

    with serving(drip) as server:
        # httpcore leaves open what is cancelled in its handshake: there its own timeout ends it.
        policy = SendingPolicy(deadline_seconds=0.5) if caller.is_ours else ONCE
        url = server.base_url.replace("http:", "https:")
        client, started = caller.connect(url, policy=policy), time.monotonic()
        error = caller.fails(client if caller.is_ours else client.with_timeout(0.4))
        assert time.monotonic() - started < 2
    assert (type(error), error.attempts) == (NotSentError, 0)


async def test_calls_that_are_given_up_at_any_moment_leave_nothing_in_the_loop(
    securely: Serving, tls: ssl.SSLContext
) -> None:
    policy = SendingPolicy(limit_share=None, attempts=1, in_flight=50)
    with securely(always(answer())) as server:
        async with connect(CREDENTIALS, base_url=server.base_url, tls=tls, policy=policy) as client:
            for steps in range(80):
                client.close()
                tasks = [
                    asyncio.ensure_future(cancel_order.asyncio(PAIR, ORDER_ID, client=client))
                    for _ in range(3)
                ]
                for step in range(steps):
                    # Some of the steps only come when the server has answered.
                    await asyncio.sleep(0 if step % 8 else 0.0005)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for _ in range(10):
                client.close()
                cancelled = await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
                assert cancelled.order_id == ORDER_ID


def test_the_keys_of_a_connection_are_written_nowhere(
    folder: Path, securely: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    monkeypatch.setattr(certifi, "where", lambda: str(folder / "good" / "certificate.pem"))
    with securely(always(answer())) as server:
        with connect(CREDENTIALS, base_url=server.base_url) as client:
            cancel_order.sync(PAIR, ORDER_ID, client=client)

        async def main() -> None:
            async with connect(CREDENTIALS, base_url=server.base_url) as client:
                await cancel_order.asyncio(PAIR, ORDER_ID, client=client)

        asyncio.run(main())
        assert len(server.requests) == 2
    assert not keys.exists()
    ssl.create_default_context()
    assert keys.exists(), "the file is honoured by others, so the check above means something"
