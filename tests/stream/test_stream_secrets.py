"""A canary goes in as key, secret and e-mail; it comes out nowhere but in the handshake."""

import asyncio
import gc
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.datastructures import Headers

from bitopro_auth import Credentials
from bitopro_orders import BitoProError
from bitopro_orders.stream import OrderHistory, order_history
from tests.stream.server import StreamServer, drops, message, playing, sends, stays, wire_order
from tests.test_secrets import as_printed, leaks

CREDENTIALS = Credentials("CANARY-key", "CANARY-secret", "CANARY@example.com")


def history_of(server: StreamServer, **options: Any) -> OrderHistory:
    options = {"first_backoff_seconds": 0.01, "deadline_seconds": 0.1, **options}
    return order_history(CREDENTIALS, stream_url=server.url, **options)


def signed_values(server: StreamServer) -> list[str]:
    names = ("X-BITOPRO-APIKEY", "X-BITOPRO-PAYLOAD", "X-BITOPRO-SIGNATURE")
    return [headers[name] for headers in server.handshakes for name in names]


async def ending(server: StreamServer, **options: Any) -> BitoProError:
    async def follow() -> None:
        async with asyncio.timeout(5), history_of(server, **options) as history:
            async for _ in history:
                pass

    with pytest.raises(BitoProError) as caught:
        await follow()
    return caught.value


@pytest.mark.parametrize(
    "script", [301, 401, 403, 409, 429, 503, drops, stays], ids=lambda s: getattr(s, "__name__", s)
)
async def test_no_error_shows_it(script: Any) -> None:
    async with playing(script) as server:
        server.answer_body = b'{"error": "no such key: CANARY-key"}'
        server.answer_headers = {"Location": "ws://127.0.0.1:1/"}
        options = {"silence_seconds": 0.05, "longest_backoff_seconds": 60.0}
        error = await ending(server, first_backoff_seconds=60.0, **options)
        printed = as_printed(error) + str(pickle.loads(pickle.dumps(error)).__dict__)
        assert not leaks(printed)
        assert not any(value in printed for value in signed_values(server))
    assert error.__context__ is error.__cause__ is None


async def test_no_error_shows_it_when_the_handshake_has_no_answer() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(mute, "127.0.0.1", 0)
    server = StreamServer([])
    server.url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        error = await ending(server, connect_timeout_seconds=0.05)
    assert not leaks(as_printed(error))


@pytest.fixture
def loud() -> Iterator[None]:
    """Let everything log at DEBUG, as a program may that looks for something else."""
    names = ("", "websockets", "websockets.client", "bitopro_orders", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("loud")
async def test_no_log_at_debug_shows_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    asyncio.get_running_loop().set_debug(True)
    scripts: list[Any] = [503, sends("?", message(wire_order("1")), then=drops), sends("?"), 401]
    async with playing(*scripts) as server:
        async with history_of(server, silence_seconds=0.05, deadline_seconds=9) as history:
            with pytest.raises(BitoProError):
                async for _ in history:
                    pass
    shown = "".join(record.getMessage() + repr(vars(record)) for record in caplog.records)
    shown += caplog.text + "".join(capfd.readouterr())
    assert "connecting again" in shown
    assert not leaks(shown)
    assert not any(value in shown for value in signed_values(server))
    assert not any(record.name.startswith("websockets") for record in caplog.records)


async def test_no_form_of_the_history_shows_it() -> None:
    async with playing(stays) as server, history_of(server) as history:
        state = {
            name: getattr(history, name) for name in OrderHistory.__slots__ if name[:2] != "__"
        }
        assert not leaks(f"{history!r} {history} {state!r} {state['_task'].get_stack()}")
        with pytest.raises(TypeError):
            pickle.dumps(history)


async def test_the_signed_headers_do_not_outlive_the_handshake() -> None:
    async with playing(stays) as server, history_of(server):
        server_side = [*server.handshakes]
        gc.collect()
        for each in gc.get_objects():
            if isinstance(each, Headers) and not any(each is kept for kept in server_side):
                assert "X-BITOPRO-APIKEY" not in each
            if type(each) is dict:
                # pytest keeps a dict of a test's keywords, where the name stands for True.
                assert not isinstance(each.get("X-BITOPRO-APIKEY"), str)
