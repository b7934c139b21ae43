"""The stream against a server that plays a script."""

import asyncio
import base64
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from bitopro_auth import Credentials, NonceSource
from bitopro_client.api.orders import get_order
from bitopro_client.models import Order
from bitopro_orders import (
    AuthenticationError,
    BadRequestError,
    ClockMismatchError,
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RejectedError,
)
from bitopro_orders.stream import OrderHistory, order_history
from bitopro_orders.timing import Timing
from tests.stream.server import (
    Script,
    StreamServer,
    closes,
    drops,
    message,
    playing,
    sends,
    stays,
    wire_order,
)

CREDENTIALS = Credentials("a-key", "a-secret", "me@example.com")
TIME = 1_700_000_000_000


def history_of(server: StreamServer | str, **options: Any) -> OrderHistory:
    url = server if isinstance(server, str) else server.url
    options = {"first_backoff_seconds": 0.01, "longest_backoff_seconds": 0.02, **options}
    return order_history(CREDENTIALS, stream_url=url, **options)


async def take(history: OrderHistory, number: int) -> list[Order]:
    async with asyncio.timeout(5):
        return [await anext(history) for _ in range(number)]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - it is the other side's state
            await asyncio.sleep(0.005)


def tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


def nonces(server: StreamServer) -> list[int]:
    payloads = [headers["X-BITOPRO-PAYLOAD"] for headers in server.handshakes]
    return [json.loads(base64.b64decode(payload))["nonce"] for payload in payloads]


async def test_the_snapshot_comes_first_and_then_each_change() -> None:
    first = message(wire_order("1"), wire_order("2"), event_id="a")
    second = message(wire_order("3"), event_id="b")
    async with playing(sends(first, first, second)) as server:
        async with history_of(server) as history:
            assert [order.id for order in await take(history, 3)] == ["1", "2", "3"]
            connected = [history.connected]
        assert [*connected, history.connected] == [True, False]
    assert server.paths == ["/ws/v1/pub/auth/orders/histories"]


async def test_without_the_snapshot_changes_alone_are_seen() -> None:
    script = sends("?", message(wire_order("1")), message(wire_order("1"), wire_order("2")))
    async with playing(script) as server, history_of(server, snapshot=False) as history:
        assert [order.id for order in await take(history, 1)] == ["2"]
        assert (await history.final("btc_twd", "1")).id == "1"


async def test_every_handshake_is_signed_afresh() -> None:
    async with playing(sends(message(wire_order("1")), then=drops)) as server:
        async with history_of(server, nonce=NonceSource(lambda: 1)):
            await until(lambda: len(server.handshakes) >= 3)
    assert nonces(server)[:3] == [1, 2, 3]
    assert len({each["X-BITOPRO-SIGNATURE"] for each in server.handshakes}) == len(nonces(server))


async def test_a_reconnect_shows_what_changed_and_repeats_nothing() -> None:
    snapshot = message(wire_order("1"))
    again = message(wire_order("1"), wire_order("2"))
    async with playing(sends(snapshot, then=drops), sends(again)) as server:
        async with history_of(server) as history:
            assert [order.id for order in await take(history, 2)] == ["1", "2"]
            await until(lambda: history.connected)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(history)


@pytest.mark.parametrize("end", [drops, closes], ids=["dropped", "closed by the exchange"])
async def test_a_broken_connection_is_made_again_with_backoff(end: Script) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    timing = Timing(sleep_async=sleep, random=lambda: 0.5)
    async with playing(*[sends(then=end)] * 6, stays) as server:
        options = {"first_backoff_seconds": 1, "longest_backoff_seconds": 10, "timing": timing}
        async with history_of(server, **options):
            await until(lambda: len(server.handshakes) == 7)
    assert waits == [0.5, 1, 2, 4, 5, 5]


async def test_a_connection_that_lasted_starts_the_backoff_anew() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def drops_later(connection: ServerConnection) -> None:
        await asyncio.sleep(0.1)
        connection.transport.abort()

    timing = Timing(sleep_async=sleep, random=lambda: 1.0)
    async with playing(503, 503, drops_later, stays) as server:
        options = {"first_backoff_seconds": 0.01, "longest_backoff_seconds": 0.09}
        async with history_of(server, timing=timing, **options):
            await until(lambda: len(server.handshakes) == 4)
    assert waits == [0.01, 0.02, 0.01]


async def test_it_may_wait_before_it_can_connect() -> None:
    async with playing(stays) as server:
        nowhere = server.url
    async with history_of(nowhere) as history:
        assert not history.connected
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(history)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (418, RejectedError),
    ],
)
async def test_what_cannot_heal_is_raised_on_entering(
    status: int, error: type[RejectedError]
) -> None:
    async with playing(status) as server:
        server.answer_body = b'{"error": "no such key: a-key"}'
        with pytest.raises(error, match=r"no such key: \*\*\*") as caught:
            async with history_of(server):
                pytest.fail("entered")
        assert caught.value.status == status
    assert len(server.handshakes) == 1
    assert "order history" not in tasks()


async def test_what_cannot_heal_later_is_raised_to_all_who_wait() -> None:
    async with playing(sends(message(wire_order("1")), then=drops), 401) as server:
        async with history_of(server) as history:
            waiting = [asyncio.create_task(history.final("btc_twd", "9")) for _ in range(2)]
            assert [order.id for order in await take(history, 1)] == ["1"]
            with pytest.raises(AuthenticationError) as first:
                await take(history, 1)
            for each in waiting:
                with pytest.raises(AuthenticationError):
                    await each
            with pytest.raises(AuthenticationError) as last:
                await history.final("btc_twd", "9")
            assert first.value is not last.value
            assert (await history.final("btc_twd", "1")).id == "1"


@pytest.mark.parametrize("status", [302, 404, 408, 409, 429, 500, 502, 503, 520])
async def test_what_may_heal_is_tried_again(status: int) -> None:
    async with playing(status, status, sends(message(wire_order("1")))) as server:
        async with history_of(server) as history:
            assert len(await take(history, 1)) == 1
    assert len(server.handshakes) == 3


async def test_the_wait_that_the_exchange_asks_for_is_kept() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with playing(429, stays) as server:
        server.answer_headers = {"retry-after": "0.3"}
        async with history_of(server, timing=Timing(sleep_async=sleep)):
            await until(lambda: len(server.handshakes) == 2)
    assert waits == [0.3]


async def test_a_deadline_gives_up_with_the_last_error() -> None:
    async with playing(409) as server:
        server.answer_headers = {"Date": "Thu, 01 Jan 1970 00:00:10 GMT"}
        timing = Timing(now_ms=lambda: 11_000)
        async with history_of(server, deadline_seconds=0.1, timing=timing) as history:
            with pytest.raises(ClockMismatchError) as caught:
                await take(history, 1)
    assert caught.value.difference_ms == 1000
    assert len(server.handshakes) > 1


async def test_a_deadline_counts_from_the_last_connection() -> None:
    async with playing(sends(message(wire_order("1")), then=drops)) as server:
        async with history_of(server, deadline_seconds=0.2) as history:
            await asyncio.sleep(0.4)
            assert len(await take(history, 1)) == 1
            server.server.close()  # type: ignore[union-attr]
            with pytest.raises(OutcomeUnknownError, match="no connection"):
                await take(history, 1)


async def test_a_redirect_is_tried_again_and_its_target_gets_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with playing(stays) as target, playing(302, sends(message(wire_order("1")))) as server:
        server.answer_headers = {"Location": target.url}
        async with history_of(server) as history:
            assert len(await take(history, 1)) == 1
    assert not target.handshakes
    assert "a redirect (302), which is never followed" in caplog.text


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with playing(stays) as proxy, playing(sends(message(wire_order("1")))) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "socks_proxy"):
            monkeypatch.setenv(name, proxy.url.replace("ws", "http"))
        monkeypatch.setenv("no_proxy", "")
        async with history_of(server) as history:
            assert len(await take(history, 1)) == 1
    assert not proxy.handshakes


async def test_a_malformed_message_is_reported_and_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reasons: list[str] = []
    bad = message(wire_order("1"), wire_order("2", price="CANARY"))
    script = sends("CANARY", b"\x00", "{}", bad, message(wire_order("3")))
    async with playing(script) as server:
        async with history_of(server, on_malformed=reasons.append) as history:
            assert [order.id for order in await take(history, 2)] == ["1", "3"]
            assert history.malformed == 4
            assert history.connected
    assert reasons[:3] == ["it is not JSON", "it is binary", "it has no data"]
    logged = [record for record in caplog.records if record.name == "bitopro_orders.stream"]
    assert [vars(record)["reason"] for record in logged if "understood" in record.msg] == reasons
    assert "CANARY" not in caplog.text
    assert len(server.handshakes) == 1


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_a_message_that_is_too_long_breaks_the_connection(compression: str | None) -> None:
    big = message(wire_order("1", more="x" * 2**20))
    scripts = [sends(big), sends(message(wire_order("2")))]
    async with playing(*scripts, compression=compression) as server:
        async with history_of(server) as history:
            assert [order.id for order in await take(history, 1)] == ["2"]
    assert "Sec-WebSocket-Extensions" not in server.handshakes[0]
    assert len(server.handshakes) == 2


async def test_silence_counts_as_broken() -> None:
    async with playing(sends(then=stays), sends(message(wire_order("1")))) as server:
        async with history_of(server, silence_seconds=0.2) as history:
            assert len(await take(history, 1)) == 1
    assert len(server.handshakes) == 2


async def test_silence_after_messages_counts_as_broken() -> None:
    async with playing(sends(message(wire_order("1"))), stays) as server:
        async with history_of(server, silence_seconds=0.2):
            await until(lambda: len(server.handshakes) == 2)


async def test_pings_alone_keep_the_connection() -> None:
    async with playing(stays, ping_interval=0.05) as server:
        async with history_of(server, silence_seconds=0.2) as history:
            await asyncio.sleep(0.6)
            assert history.connected
    assert len(server.handshakes) == 1


async def test_a_peer_that_does_not_even_close_is_left() -> None:
    """It accepts the connection, and then its machine is gone."""
    gone: list[ServerConnection] = []

    async def dead(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        gone.append(connection)
        await asyncio.sleep(0.5)
        connection.transport.abort()

    async with playing(dead, sends(message(wire_order("1")))) as server:
        async with asyncio.timeout(0.5), history_of(server, silence_seconds=0.1) as history:
            assert len(await take(history, 1)) == 1
        assert len(gone) == 1


async def test_a_peer_that_says_goodbye_and_stays_is_left() -> None:
    async def lingers(connection: ServerConnection) -> None:
        connection.transport.pause_reading()  # so it never closes its side
        connection.protocol.send_close(1001)
        connection.send_data()
        await asyncio.sleep(0.5)
        connection.transport.abort()

    async with playing(lingers, sends(message(wire_order("1")))) as server:
        async with asyncio.timeout(0.4), history_of(server) as history:
            assert len(await take(history, 1)) == 1


async def test_a_handshake_without_an_answer_is_tried_again() -> None:
    met = 0

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, history_of(f"ws://127.0.0.1:{port}", connect_timeout_seconds=0.05):
        await until(lambda: met >= 2)


async def test_final_is_told_while_nobody_iterates() -> None:
    go = asyncio.Event()

    async def later(connection: ServerConnection) -> None:
        await go.wait()
        await connection.send(message(wire_order("7", status=4)))
        await stays(connection)

    live = wire_order("7", status=0, executedAmount="0", remainingAmount="5")
    async with playing(sends(message(live), then=later)) as server, history_of(server) as history:
        waiting = [asyncio.create_task(history.final("BTC_TWD", "7")) for _ in range(3)]
        waiting.pop().cancel()
        await asyncio.sleep(0.02)
        assert not any(each.done() for each in waiting)
        go.set()
        async with asyncio.timeout(5):
            assert [(await each).status for each in waiting] == [4, 4]
            assert (await history.final("btc_twd", "7")).status == 4


@pytest.mark.parametrize("arguments", [("", "1"), ("btc_twd", ""), ("btc_twd", None)])
async def test_final_refuses_what_names_no_order(arguments: Any) -> None:
    async with playing(stays) as server, history_of(server) as history:
        with pytest.raises(InvalidArgumentError):
            await history.final(*arguments)


async def test_a_repeated_message_is_reported_once() -> None:
    bad = message("?", event_id="a")
    async with playing(sends(bad, bad, message(wire_order("1"), event_id="a"))) as server:
        async with history_of(server) as history:
            assert len(await take(history, 1)) == 1
            assert history.malformed == 1


async def test_a_hook_that_fails_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def hook(_: str) -> None:
        raise LookupError("mine")

    async with playing(sends("?", message(wire_order("1")))) as server:
        async with history_of(server, on_malformed=hook) as history:
            assert len(await take(history, 1)) == 1
    assert "LookupError: mine" in caplog.text


async def test_more_changes_than_may_wait_lose_the_oldest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = sends(message(*[wire_order(str(number)) for number in range(5)]))
    async with playing(script) as server:
        async with history_of(server, max_waiting_orders=2) as history:
            await history.final("btc_twd", "4")
            assert [order.id for order in await take(history, 2)] == ["3", "4"]
            assert (await history.final("btc_twd", "0")).id == "0"
    assert "lost" in caplog.text


def reading(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[Order | Exception]]
) -> list[tuple[str, str]]:
    """Answer the reads of orders, and return what is asked."""
    asked: list[tuple[str, str]] = []

    async def read(pair: str, order_id: str, *, client: object) -> Order:
        asked.append((pair, order_id))
        answer = answers[order_id].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(get_order, "asyncio", read)
    return asked


def read_order(order_id: str, **changes: Any) -> Order:
    return Order.from_dict(wire_order(order_id, **changes))


async def test_what_is_waited_for_is_read_once_a_late_connection_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading(monkeypatch, {"9": [read_order("9", status=4)]})
    async with playing(503, stays) as server:
        options = {"client": object(), "timing": Timing(random=lambda: 1.0)}
        async with history_of(server, first_backoff_seconds=0.05, **options) as history:
            async with asyncio.timeout(5):
                assert (await history.final("btc_twd", "9")).status == 4


async def test_the_gap_of_a_reconnect_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    later = {"updatedTimestamp": TIME // 1000 + 1}
    answers: dict[str, list[Order | Exception]] = {
        "1": [read_order("1", status=3, **later)],
        "9": [NotSentError("no"), OSError("no"), read_order("9", status=4, **later)],
        "404": [RejectedError(404, "none")],
    }
    asked = reading(monkeypatch, answers)
    live = wire_order("1", status=1, executedAmount="1", remainingAmount="4")
    go = asyncio.Event()

    async def drops_later(connection: ServerConnection) -> None:
        await go.wait()
        connection.transport.abort()

    script = sends(message(live, wire_order("2")), then=drops_later)
    async with playing(script, stays) as server, history_of(server, client=object()) as history:
        waiting = asyncio.create_task(history.final("BTC_TWD", "9"))
        absent = asyncio.create_task(history.final("btc_twd", "404"))
        await take(history, 2)
        await asyncio.sleep(0.02)
        assert not asked, "on connecting first, the exchange pushes everything"
        go.set()
        assert sorted((each.id, each.status) for each in await take(history, 2)) == [
            ("1", 3),
            ("9", 4),
        ]
        assert (await waiting).status == 4
        assert not absent.done()
        absent.cancel()
    assert sorted(set(asked)) == [("btc_twd", "1"), ("btc_twd", "404"), ("btc_twd", "9")]
    assert asked.count(("btc_twd", "404")) == 1


async def test_what_the_stream_has_shown_in_the_end_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    shown = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if asked:
            await shown.wait()

    asked = reading(monkeypatch, {"1": [OSError("no")]})
    live = wire_order("1", status=0, executedAmount="0", remainingAmount="5")

    async def pushes_later(connection: ServerConnection) -> None:
        await until(lambda: len(waits) == 2)
        await connection.send(message(wire_order("1", status=4)))
        await stays(connection)

    async with playing(sends(message(live), then=drops), pushes_later) as server:
        options = {"client": object(), "timing": Timing(sleep_async=sleep)}
        async with history_of(server, **options) as history:
            await history.final("btc_twd", "1")
            shown.set()
            await until(lambda: not any("_fill_gap" in str(each) for each in asyncio.all_tasks()))
    assert len(asked) == 1


async def test_what_a_read_and_the_stream_both_show_is_seen_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = {"status": 3, "updatedTimestamp": TIME + 5500}
    read = {**done, "updatedTimestamp": done["updatedTimestamp"] // 1000}
    asked = reading(monkeypatch, {"1": [read_order("1", **read)]})
    live = wire_order("1", status=1, executedAmount="1", remainingAmount="4")

    async def pushes_later(connection: ServerConnection) -> None:
        await until(lambda: asked)
        await connection.send(message(wire_order("1", **done), wire_order("2")))
        await stays(connection)

    script = sends(message(live), then=drops)
    async with playing(script, pushes_later) as server:
        async with history_of(server, client=object()) as history:
            seen = [(each.id, each.status) for each in await take(history, 3)]
    assert seen == [("1", 1), ("1", 3), ("2", 2)]


async def test_closing_ends_the_iteration_and_the_waiting() -> None:
    async with playing(stays) as server, history_of(server) as history:
        iterating = asyncio.create_task(take(history, 1))
        waiting = asyncio.create_task(history.final("btc_twd", "1"))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(0.5):
            await history.aclose()
            with pytest.raises(StopAsyncIteration):
                await iterating
            with pytest.raises(OutcomeUnknownError, match="closed"):
                await waiting
            with pytest.raises(OutcomeUnknownError, match="closed"):
                await history.final("btc_twd", "1")
            await history.aclose()
        assert [order async for order in history] == []
        assert "order history" not in tasks()
        await until(lambda: not server.server.connections)  # type: ignore[union-attr]


async def test_closing_from_inside_the_loop_ends_it() -> None:
    script = sends(message(wire_order("1"), wire_order("2")))
    async with playing(script) as server, history_of(server) as history:
        seen = []
        async for order in history:
            seen.append(order.id)
            await history.aclose()
    assert seen == ["1"]


async def test_closing_says_goodbye() -> None:
    codes: list[int | None] = []

    async def listens(connection: ServerConnection) -> None:
        await connection.wait_closed()
        codes.append(connection.close_code)

    async with playing(listens) as server:
        async with history_of(server):
            pass
        await until(lambda: codes)
    assert codes == [1000]


async def test_closing_ends_connecting_and_backing_off_at_once() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        entering = asyncio.create_task(history_of(f"ws://127.0.0.1:{port}").__aenter__())
        await asyncio.sleep(0.05)
        entering.cancel()
        async with asyncio.timeout(0.5):
            with pytest.raises(asyncio.CancelledError):
                await entering
    assert "order history" not in tasks()

    timing = Timing(random=lambda: 1.0)
    options = {"first_backoff_seconds": 60, "longest_backoff_seconds": 60, "timing": timing}
    async with asyncio.timeout(0.5), history_of(f"ws://127.0.0.1:{port}", **options) as history:
        assert not history.connected
    assert "order history" not in tasks()


async def test_closing_ends_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    started = asyncio.Event()

    async def read(**_: object) -> Order:
        started.set()
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(get_order, "asyncio", read)
    live = wire_order("1", status=0, executedAmount="0", remainingAmount="5")
    async with playing(sends(message(live), then=drops), stays) as server:
        async with history_of(server, client=object()):
            async with asyncio.timeout(5):
                await started.wait()
            (read_task,) = [task for task in asyncio.all_tasks() if "_fill_gap" in str(task)]
        assert read_task.done()


async def test_it_is_entered_once_and_before_it_is_used() -> None:
    async with playing(stays) as server:
        history = history_of(server)
        with pytest.raises(RuntimeError, match="enter"):
            await anext(history)
        with pytest.raises(RuntimeError, match="enter"):
            await history.final("btc_twd", "1")
        async with history:
            with pytest.raises(RuntimeError, match="once"):
                await history.__aenter__()
    unused = history_of("ws://127.0.0.1:1")
    await unused.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(unused)


@pytest.mark.parametrize(
    "url",
    [
        "ws://stream.bitopro.com/ws",
        "http://127.0.0.1/ws",
        "https://stream.bitopro.com/ws",
        "wss:///ws",
        "wss://user:CANARY@stream.bitopro.com/ws",
        "wss://stream.bitopro.com/ws?CANARY",
        "wss://stream.bitopro.com/ws#CANARY",
        "wss://stream.bitopro.com:99999/ws",
        "ws://127.0.0.1.example.com/ws",
        "ws://[::1/ws",
        "",
        7,
    ],
)
def test_only_safe_places_are_signed_for(url: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="stream_url") as caught:
        order_history(CREDENTIALS, stream_url=url)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["wss://stream.bitopro.com:443/ws", "ws://localhost:1/ws", "ws://[::1]:1", "wss://a/"]
)
def test_safe_places_are_taken(url: str) -> None:
    order_history(CREDENTIALS, stream_url=url)


@pytest.mark.parametrize("name", ["silence_seconds", "deadline_seconds", "max_message_bytes"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "1", True, None])
def test_a_limit_is_a_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        history_of("ws://127.0.0.1:1", **{name: value})


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITOPRO_API_KEY", raising=False)
    with pytest.raises(InvalidArgumentError, match="BITOPRO_API_KEY"):
        order_history()
    for name in ("BITOPRO_API_KEY", "BITOPRO_API_SECRET", "BITOPRO_EMAIL"):
        monkeypatch.setenv(name, "value")
    order_history()


async def test_a_reconnect_is_logged_in_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bitopro_orders.stream")
    async with playing(503, stays) as server, history_of(server) as history:
        await until(lambda: history.connected)
    warning = next(each for each in caplog.records if each.levelno == logging.WARNING)
    assert vars(warning)["attempt"] == 1
    assert 0 <= vars(warning)["delay_seconds"] <= 0.01
    assert "503" in vars(warning)["reason"]
    assert any(each.message == "connected" for each in caplog.records)


def test_without_websockets_the_extra_is_named() -> None:
    program = """
import sys
sys.modules["websockets"] = None
from bitopro_orders import *
try:
    order_history()
except ImportError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "order_history needs: pip install 'bitopro-orders[stream]'\n"


def test_the_package_alone_does_not_import_websockets() -> None:
    program = "import bitopro_orders, sys; print('websockets' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"
