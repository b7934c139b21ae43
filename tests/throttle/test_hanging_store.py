"""A Redis that is never done, though nothing about it fails: no single wait is too long for it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from bitopro_orders import NotSentError, OrdersClient, SendingPolicy
from bitopro_sandbox import Sandbox
from tests.policy.servers import Peer, serving
from tests.throttle.panic import Run, Way, arrived, cancel, client_of, exchange, kinds, orders

DEADLINE_SECONDS = 6.0
FEW = 4


@contextmanager
def dripping(_: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve an answer of which a byte comes now and then."""
    released = threading.Event()

    def serve(peer: Peer, _: int) -> None:
        while not released.wait(0.05):
            peer.send(b"+")

    with serving(serve) as server:
        try:
            yield f"redis://127.0.0.1:{server.port}/0"
        finally:
            released.set()


@contextmanager
def unknown(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let nobody find out the address of a host."""
    released, look_up = threading.Event(), socket.getaddrinfo

    def hang(host: str, *args: object, **options: object) -> object:
        if host != "redis.internal":
            return look_up(host, *args, **options)  # type: ignore[arg-type]
        released.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    patch.setattr(socket, "getaddrinfo", hang)
    try:
        yield "redis://redis.internal:6379/0"
    finally:
        released.set()


@pytest.mark.parametrize(
    ("hanging", "way"),
    [(dripping, "threads"), (unknown, "tasks")],
    ids=["drips", "name hangs"],
)
def test_a_redis_that_hangs_holds_up_no_call_for_long(
    hanging: Callable[..., AbstractContextManager[str]], way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client(sandbox: Sandbox, shared: str, *, local: bool) -> OrdersClient:
        policy = SendingPolicy(deadline_seconds=DEADLINE_SECONDS, local_if_shared_fails=local)
        return client_of(sandbox, shared=shared, policy=policy)

    with exchange() as sandbox, hanging(monkeypatch) as shared:
        lenient = client(sandbox, shared, local=True)
        strict = client(sandbox, shared, local=False)
        ids = orders(sandbox, 2 * FEW)
        jobs = [
            *(cancel(lenient, order) for order in ids[:FEW]),
            *(cancel(strict, order) for order in ids[FEW:]),
        ]
        run = Run(way, [lenient, strict], jobs)
        results = run.results()
        assert run.seconds < 3
        assert kinds(results[:FEW]) == {"accepted": FEW}, results
        for error in results[FEW:]:
            assert isinstance(error, NotSentError)
            assert "the shared store failed" in str(error)
        assert arrived(sandbox) == FEW
        lenient.close()
        strict.close()
