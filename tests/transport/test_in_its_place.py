"""Any transport of httpx in the place of ours: mocks, recorders, and what is refused."""

import asyncio
import json
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import vcr  # type: ignore[import-untyped]

from bitopro_client.api.orders import cancel_order
from bitopro_orders import (
    AttemptRecord,
    NotFoundError,
    NotSentError,
    OrdersClient,
    OutcomeUnknownError,
    SendingPolicy,
    connect,
)
from tests.policy.scripted import CANCELLED, CREDENTIALS, ORDER_ID, PAIR
from tests.policy.servers import Peer, always, answer, serving
from tests.transport.ways import Caller

NOWHERE = "http://127.0.0.1:9/v3"
Handler = Callable[[httpx.Request], httpx.Response]


def both(client: OrdersClient) -> list[str]:
    """Cancel in a thread and in a task; return what was cancelled."""
    ours = cancel_order.sync(PAIR, ORDER_ID, client=client)
    theirs = asyncio.run(cancel_order.asyncio(PAIR, ORDER_ID, client=client))
    return [ours.order_id, theirs.order_id]


def test_a_mock_sees_the_signed_request_and_nothing_is_sent() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=CANCELLED)

    client = connect(CREDENTIALS, base_url=NOWHERE, transport=httpx.MockTransport(handle))
    assert both(client) == [ORDER_ID] * 2
    assert [(each.method, str(each.url)) for each in seen] == [
        ("DELETE", f"{NOWHERE}/orders/{PAIR}/{ORDER_ID}")
    ] * 2
    for each in seen:
        assert each.headers["X-BITOPRO-APIKEY"] == CREDENTIALS.api_key.reveal()
        assert {"x-bitopro-payload", "x-bitopro-signature", "user-agent"} <= each.headers.keys()
        assert each.content == b""


def test_a_mock_of_tasks_may_be_a_coroutine() -> None:
    async def handle(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return httpx.Response(404, json={"error": "no"})

    client = connect(CREDENTIALS, base_url=NOWHERE, transport=httpx.MockTransport(handle))
    with pytest.raises(NotFoundError, match="no"):
        asyncio.run(cancel_order.asyncio(PAIR, ORDER_ID, client=client))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx.ConnectError("quoted"), NotSentError),
        (httpx.ConnectTimeout("quoted"), NotSentError),
        (httpx.PoolTimeout("quoted"), NotSentError),
        (httpx.ProxyError("quoted"), NotSentError),
        (httpx.ReadTimeout("quoted"), OutcomeUnknownError),
        (httpx.WriteError("quoted"), OutcomeUnknownError),
        (httpx.RemoteProtocolError("quoted"), OutcomeUnknownError),
        (RuntimeError("quoted"), OutcomeUnknownError),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
@pytest.mark.parametrize(
    "cancel",
    [
        cancel_order.sync,
        lambda *order, client: asyncio.run(cancel_order.asyncio(*order, client=client)),
    ],
    ids=["threads", "tasks"],
)
def test_what_a_mock_raises_is_one_of_the_cases_and_not_quoted(
    raised: Exception, expected: type[Exception], cancel: Callable[..., object]
) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise raised

    transport, policy = httpx.MockTransport(handle), SendingPolicy(attempts=1)
    client = connect(CREDENTIALS, base_url=NOWHERE, transport=transport, policy=policy)
    with pytest.raises(expected) as caught:
        cancel(PAIR, ORDER_ID, client=client)
    assert type(caught.value) is expected
    assert type(raised).__name__ in str(caught.value)
    assert "quoted" not in str(caught.value)


def test_a_recorder_replays_what_it_recorded_when_the_server_is_gone(tmp_path: Path) -> None:
    cassette, policy = tmp_path / "cassette.yaml", SendingPolicy(attempts=1)
    recorder: Any = vcr.VCR(match_on=["method", "path"], filter_headers=["x-bitopro-apikey"])

    def cancels(base_url: str) -> list[str]:
        with httpx.HTTPTransport() as threads:
            with connect(
                CREDENTIALS, base_url=base_url, transport=threads, policy=policy
            ) as client:
                ours = cancel_order.sync(PAIR, ORDER_ID, client=client).order_id

        async def main() -> str:
            async with httpx.AsyncHTTPTransport() as tasks:
                client = connect(CREDENTIALS, base_url=base_url, transport=tasks, policy=policy)
                return (await cancel_order.asyncio(PAIR, ORDER_ID, client=client)).order_id

        return [ours, asyncio.run(main())]

    with serving(always(answer())) as server:
        with recorder.use_cassette(str(cassette), record_mode="new_episodes"):
            assert cancels(server.base_url) == [ORDER_ID] * 2
        assert 1 <= len(server.requests) <= 2
        gone = server.base_url
    assert cassette.exists()
    with recorder.use_cassette(str(cassette), record_mode="none", allow_playback_repeats=True):
        assert cancels(gone) == [ORDER_ID] * 2


def test_patching_httpx_clients_reaches_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`respx.mock(using="httpx")` and its like cannot be supported: no client of httpx sends."""

    def never(*_: object, **__: object) -> httpx.Response:
        raise AssertionError("patched")

    monkeypatch.setattr(httpx.Client, "send", never)
    monkeypatch.setattr(httpx.Client, "_transport_for_url", never)
    monkeypatch.setattr(httpx.AsyncClient, "send", never)
    with serving(always(answer())) as server:
        with connect(CREDENTIALS, base_url=server.base_url) as client:
            assert cancel_order.sync(PAIR, ORDER_ID, client=client).order_id == ORDER_ID
        assert len(server.requests) == 1, "it was sent for real"


async def test_a_transport_of_threads_is_refused_in_a_task_and_the_other_way_round() -> None:
    with httpx.HTTPTransport() as threads:
        client = connect(CREDENTIALS, base_url=NOWHERE, transport=threads)
        with pytest.raises(TypeError, match=r"is for threads: use the sync functions"):
            await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
    async with httpx.AsyncHTTPTransport() as tasks:
        client = connect(CREDENTIALS, base_url=NOWHERE, transport=tasks)
        with pytest.raises(TypeError, match=r"is for tasks: use the async functions"):
            cancel_order.sync(PAIR, ORDER_ID, client=client)


def test_with_timeout_takes_seconds_and_bounds_a_phase(caller: Caller) -> None:
    def serve(peer: Peer, _: int) -> None:
        while peer.read():
            pass

    with serving(serve) as server:
        client = caller.connect(server.base_url)
        assert client.with_timeout(5.0)._routed().phase_seconds == 5
        started = time.monotonic()
        error = caller.fails(client.with_timeout(0.2))
        assert time.monotonic() - started < 2
    assert type(error) is OutcomeUnknownError


def test_a_client_of_httpx_is_refused_with_a_sentence(caller: Caller) -> None:
    client = caller.connect(NOWHERE)
    for reach in (client.get_httpx_client, client.get_async_httpx_client):
        with pytest.raises(TypeError, match=r"has no httpx client: describe the operation"):
            reach()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, pytest.fail.Exception])
def test_what_is_no_failure_of_a_transport_is_raised_where_the_call_was_made(
    raised: type[BaseException],
) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise raised

    client = connect(CREDENTIALS, base_url=NOWHERE, transport=httpx.MockTransport(handle))
    with pytest.raises(raised) as caught:
        cancel_order.sync(PAIR, ORDER_ID, client=client)
    names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert "exchange" not in names, "its frame holds the signed request"


def test_what_was_given_up_before_it_left_never_leaves() -> None:
    """A thread that still waits for a connection at the deadline must not send after it."""
    let_it_connect, tried = threading.Event(), threading.Event()

    class Slow(httpx.BaseTransport):
        """Connects slowly, and tells its steps as httpcore does."""

        sent = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            trace = request.extensions["trace"]
            trace("connection.connect_tcp.started", {})
            let_it_connect.wait(5)
            try:
                trace("http11.send_request_headers.started", {})
                self.sent += 1
            finally:
                tried.set()
            return httpx.Response(200, content=CANCELLED)

    transport, policy = Slow(), SendingPolicy(deadline_seconds=0.2)
    client = connect(CREDENTIALS, base_url=NOWHERE, transport=transport, policy=policy)
    with pytest.raises(NotSentError) as caught:
        cancel_order.sync(PAIR, ORDER_ID, client=client)
    let_it_connect.set()
    assert tried.wait(5)
    assert (caught.value.attempts, transport.sent) == (0, 0)


def test_an_answer_of_a_mock_is_recorded_like_any_other() -> None:
    records: list[AttemptRecord] = []
    body = json.loads(CANCELLED)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    client = connect(CREDENTIALS, base_url=NOWHERE, transport=transport, on_attempt=records.append)
    both(client)
    assert [(each.status, each.outcome) for each in records] == [(200, "accepted")] * 2


def reads_and_ends(peer: Peer, _: int) -> None:
    peer.read()


def elsewhere(request: httpx.Request) -> httpx.Request:
    """Return the request, for where nobody listens."""
    return httpx.Request(
        request.method, NOWHERE, headers=request.headers, extensions=request.extensions
    )


class Retrying(httpx.HTTPTransport):
    """Sends what had no answer again, and then nobody listens any more."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return super().handle_request(request)
        except httpx.RemoteProtocolError:
            return super().handle_request(elsewhere(request))


class RetryingTasks(httpx.AsyncHTTPTransport):
    """The same for tasks."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except httpx.RemoteProtocolError:
            return await super().handle_async_request(elsewhere(request))


@pytest.mark.parametrize("way", ["threads", "tasks"])
def test_what_a_retrying_transport_has_sent_stays_sent_when_it_cannot_connect_again(
    way: str,
) -> None:
    policy = SendingPolicy(attempts=1)

    async def main(base_url: str) -> None:
        async with RetryingTasks() as transport:
            client = connect(CREDENTIALS, base_url=base_url, transport=transport, policy=policy)
            await cancel_order.asyncio(PAIR, ORDER_ID, client=client)

    def in_a_thread(base_url: str) -> None:
        with Retrying() as transport:
            client = connect(CREDENTIALS, base_url=base_url, transport=transport, policy=policy)
            cancel_order.sync(PAIR, ORDER_ID, client=client)

    with serving(reads_and_ends) as server:
        with pytest.raises(OutcomeUnknownError, match="ConnectError") as caught:
            asyncio.run(main(server.base_url)) if way == "tasks" else in_a_thread(server.base_url)
        assert (len(server.requests), caught.value.attempts) == (1, 1)


async def test_a_transport_that_closes_slowly_does_not_outlast_the_deadline() -> None:
    let_it_close, closed = asyncio.Event(), asyncio.Event()

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        async def aclose(self) -> None:
            async with asyncio.timeout(5):
                await let_it_close.wait()
            closed.set()

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=Endless())

    policy = SendingPolicy(deadline_seconds=0.3)
    client = connect(CREDENTIALS, base_url=NOWHERE, transport=Slow(), policy=policy)
    started = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        await cancel_order.asyncio(PAIR, ORDER_ID, client=client)
    assert time.monotonic() - started < 0.3 + 1
    let_it_close.set()
    async with asyncio.timeout(5):
        await closed.wait()
