"""No thread can be started: a limit is reached, or the interpreter is ending."""

import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import NotSentError, OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Sandbox
from tests.policy.scripted import CANCELLED, CREDENTIALS, ORDER_ID, PAIR

CancelAt = Callable[..., CancelledOrder]
MakeClient = Callable[..., OrdersClient]


@pytest.fixture
def no_threads(bitopro_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Refuse every thread, once the exchange runs, until it is undone."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return monkeypatch


@pytest.mark.usefixtures("no_threads")
def test_a_host_is_looked_up_by_name_without_a_thread(
    bitopro_sandbox: Sandbox, make_client: MakeClient, cancel_at: CancelAt
) -> None:
    base_url = f"http://localhost:{urlsplit(bitopro_sandbox.base_url).port}/v3"
    policy = SendingPolicy(deadline_seconds=3)
    cancelled = cancel_at(lambda: make_client(base_url=base_url, policy=policy), PAIR, ORDER_ID)
    assert cancelled.order_id == ORDER_ID
    assert [entry.status for entry in bitopro_sandbox.journal] == [200]


@pytest.mark.usefixtures("no_threads")
def test_a_folder_that_no_thread_can_ask_counts_as_one_that_failed(
    bitopro_sandbox: Sandbox, make_client: MakeClient, cancel_at: CancelAt, tmp_path: Path
) -> None:
    def make(*, local: bool) -> OrdersClient:
        policy = SendingPolicy(deadline_seconds=3, local_if_shared_fails=local)
        return make_client(shared=str(tmp_path), policy=policy)

    with pytest.raises(NotSentError, match="the shared store failed"):
        cancel_at(lambda: make(local=False), PAIR, ORDER_ID)
    assert cancel_at(lambda: make(local=True), PAIR, ORDER_ID).order_id == ORDER_ID
    assert [entry.status for entry in bitopro_sandbox.journal] == [200]


def test_a_transport_that_has_no_thread_to_run_in_has_not_sent(
    no_threads: pytest.MonkeyPatch,
) -> None:
    arrived: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        arrived.append(request)
        return httpx.Response(200, content=CANCELLED)

    transport, policy = httpx.MockTransport(handle), SendingPolicy(attempts=1)
    with connect(CREDENTIALS, transport=transport, policy=policy) as client:
        with pytest.raises(NotSentError, match="no thread can be started") as caught:
            cancel_order.sync(PAIR, ORDER_ID, client=client)
        assert (arrived, caught.value.attempts) == ([], 0)
        no_threads.undo()
        assert cancel_order.sync(PAIR, ORDER_ID, client=client).order_id == ORDER_ID
        assert len(arrived) == 1
