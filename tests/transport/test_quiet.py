"""What a server echoes of a request is told by no message, pickle, log or traceback."""

import asyncio
import base64
import json
import logging
import pickle
import re
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from bitopro_orders import AuthenticationError, BitoProError, RejectedError
from bitopro_orders.stream import order_history
from tests.policy.scripted import CREDENTIALS
from tests.policy.servers import Peer, answer, serving
from tests.test_secrets import everything_reachable
from tests.transport.conftest import Serving
from tests.transport.ways import Caller

HERE = str(Path(__file__).parent)
SIGNED = re.compile(rb"(?im)^x-bitopro-(apikey|payload|signature): *(.*?)\r$")
#: These are of the libraries that an httpx transport stands on, and whoever gave it answers for.
NOT_OURS = ("httpcore", "httpx")


def signed(request: bytes) -> dict[str, str]:
    """Return key, payload and signature of a request, and what the payload says."""
    found = {name.decode().lower(): text.decode() for name, text in SIGNED.findall(request)}
    assert len(found) == 3
    return {**found, "decoded": base64.b64decode(found["payload"]).decode()}


def told(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that a program may show of an error, frames' variables and logs included."""
    shown = [str(pickle.loads(pickle.dumps(error)).__dict__), pickle.dumps(error).decode("latin-1")]
    for each in everything_reachable(error):
        shown += [str(each), repr(each), repr(vars(each))]
        frames = traceback.TracebackException.from_exception(each, capture_locals=True).stack
        for frame in frames:
            if not frame.filename.startswith(HERE):
                shown += (frame.locals or {}).values()
    for record in caplog.records:
        if not record.name.startswith(NOT_OURS):
            shown += [record.getMessage(), repr(record.__dict__)]
    return "\n".join(shown)


def flat(request: bytes) -> bytes:
    return request.replace(b"\r\n", b" ")


ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "first line": lambda request: flat(request) + b"\r\n\r\n",
    "reason": lambda request: b"HTTP/1.1 200 " + flat(request) + b"\r\n\r\n",
    "refusal's reason": lambda request: (
        b"HTTP/1.1 404 " + flat(request) + b"\r\nContent-Length: 0\r\n\r\n"
    ),
    "header": lambda request: answer(
        b"{}", "500 Oops", f"X-Echo: {flat(request).decode()}\r\nBad\r\n"
    ),
    "header of a refusal": lambda request: answer(
        b"{}", "403 No", f"X-Echo: {flat(request).decode()}\r\n"
    ),
    "name of a header": lambda request: b"HTTP/1.1 200 OK\r\n" + flat(request) + b": x\r\n\r\n",
    "chunk header": lambda request: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + flat(request) + b"\r\n"
    ),
    "body": answer,
    "body of JSON": lambda request: answer(json.dumps({"orderId": request.decode()}).encode()),
    "body of an error": lambda request: answer(request, "500 Oops"),
    "body of a refusal": lambda request: answer(request, "401 No"),
    "body that is cut": lambda request: answer(request)[:-1],
    "all of it": lambda request: request,
}


@pytest.mark.parametrize("place", ECHOES)
def test_a_server_that_echoes_a_request_is_not_quoted(
    caller: Caller, securely: Serving, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    caplog.set_level(logging.DEBUG)

    def serve(peer: Peer, _: int) -> None:
        if request := peer.read():
            peer.send(ECHOES[place](request))

    with securely(serve) as server:
        error = caller.fails(caller.connect(server.base_url))
        (request,) = server.requests
    shown = told(error, caplog)
    for name, text in (*signed(request).items(), ("e-mail", CREDENTIALS.identity.reveal())):
        assert text not in shown, name
        assert text[:12] not in shown, f"the beginning of the {name}"
    assert "X-BITOPRO" not in shown.upper()


def test_the_check_above_would_see_a_leak(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").debug("of a log")

    def fail(of_a_frame: str) -> None:
        raise BitoProError("of a message")

    with pytest.raises(BitoProError) as caught:
        fail("x")
    caught.value.arguments = {"of": "an attribute"}
    shown = told(caught.value, caplog)
    for text in ("of a log", "of a message", "an attribute"):
        assert text in shown


#: What an error of the exchange may quote: each with what is kept of it.
QUOTES: dict[str, Callable[[dict[str, str]], str]] = {
    "key": lambda own: own["apikey"],
    "payload": lambda own: own["payload"],
    "signature": lambda own: own["signature"],
    "decoded payload": lambda own: own["decoded"],
    "e-mail": lambda _: CREDENTIALS.identity.reveal(),
    "key's beginning": lambda own: own["apikey"][:8],
    "payload's beginning": lambda own: own["payload"][:20],
    "signature's beginning": lambda own: own["signature"][:8],
    "signature's half": lambda own: own["signature"][:48],
    "decoded payload's beginning": lambda own: own["decoded"][:21],
    "e-mail's beginning": lambda _: CREDENTIALS.identity.reveal()[:9],
    "key in capitals": lambda own: own["apikey"].upper(),
    "signature in capitals": lambda own: own["signature"].upper(),
    "e-mail in another case": lambda _: CREDENTIALS.identity.reveal().swapcase(),
    "e-mail of a URL": lambda _: quote(CREDENTIALS.identity.reveal()),
    "all": lambda own: " / ".join(own.values()),
}


@pytest.mark.parametrize("part", QUOTES)
def test_the_exchanges_own_message_is_masked(
    caller: Caller, securely: Serving, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    caplog.set_level(logging.DEBUG)
    quoted: list[str] = []

    def serve(peer: Peer, _: int) -> None:
        while request := peer.read():
            quoted.append(QUOTES[part](signed(request)))
            body = {"error": f"not valid: <{quoted[-1]}> <{quoted[-1]}> is what came"}
            peer.send(answer(json.dumps(body).encode(), "400 Bad Request"))

    with securely(serve) as server:
        error = caller.fails(caller.connect(server.base_url))
    assert isinstance(error, RejectedError)
    assert error.message.startswith("not valid: <")
    assert "is what came" in error.message
    shown = told(error, caplog)
    assert quoted[0] not in shown
    assert CREDENTIALS.identity.reveal()[:8] not in shown


async def test_the_refusal_of_a_stream_is_masked_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    arrived = threading.Event()
    own: dict[str, str] = {}

    def serve(peer: Peer, _: int) -> None:
        own.update(signed(peer.read()))
        arrived.set()
        quotes = [part(own) for part in QUOTES.values()]
        body = json.dumps({"error": f"not valid: {' | '.join(quotes)}"}).encode()
        peer.send(answer(body, "401 Unauthorized"))

    with serving(serve) as server:
        url = server.base_url.replace("http:", "ws:")
        with pytest.raises(AuthenticationError) as caught:
            async with asyncio.timeout(10), order_history(CREDENTIALS, stream_url=url):
                pass
    assert arrived.is_set()
    assert caught.value.message.startswith("not valid: ")
    shown = told(caught.value, caplog)
    assert "the stream ends" in caplog.text
    for name in ("apikey", "payload", "signature"):
        assert own[name][:8] not in shown, name
    assert CREDENTIALS.identity.reveal()[:8] not in shown
