"""A canary goes in as key, secret and e-mail; it comes out nowhere but on the wire."""

import base64
import gc
import hmac
import itertools
import json
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bitopro_auth import BitoProAuth, Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import (
    BitoProError,
    InvalidArgumentError,
    OrdersClient,
    connect,
    order_history,
)
from bitopro_orders.message import Message
from bitopro_orders.transport import Answer, Headers
from bitopro_sandbox import Account, Sandbox, Settings, faults, serve
from bitopro_sandbox.faults import Fault
from tests.support import ROOT, credentials_of, wire

CANARY = "CANARY"
ACCOUNT = Account("CANARY-key", "CANARY-secret", "CANARY@example.com")
ORDER = ("BTC_TWD", "2959906694")
CancelAt = Callable[..., CancelledOrder]


def leaks(text: str) -> bool:
    """Say whether the text holds the canary, plain or inside a payload."""
    return CANARY in text or base64.b64encode(b'{"identity":"CANARY').decode()[:24] in text


@pytest.fixture
def canary() -> Iterator[Sandbox]:
    with serve(Settings(accounts=(ACCOUNT,))) as sandbox:
        yield sandbox


@pytest.fixture
def client_of(canary: Sandbox) -> Callable[[], OrdersClient]:
    return lambda: connect(credentials_of(canary), base_url=canary.base_url, timeout=0.5)


def everything_reachable(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and every exception it leads to, chained or suppressed."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        current = todo.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            todo += [current.__cause__, current.__context__]


def as_printed(error: BaseException) -> str:
    """Return all that a program may print of an error: messages, attributes, frames' locals."""
    shown = traceback.format_exception(error)
    for each in everything_reachable(error):
        shown += [str(each), repr(each), repr(vars(each)), repr(each.args)]
        for value in vars(each).values():
            shown += [repr(vars(value))] if hasattr(value, "__dict__") else []
        frames = [frame for frame, _ in traceback.walk_tb(each.__traceback__)]
        shown += [
            repr(value)
            for frame in frames
            if not frame.f_code.co_filename.startswith(str(ROOT / "tests"))
            for value in frame.f_locals.values()
        ]
    return "\n".join(shown)


FAULTS = [
    *(faults.status(code) for code in (400, 401, 403, 404, 409, 429, 500, 520)),
    faults.drop(),
    faults.drop(reset=True),
    faults.drop_answer(),
    faults.truncate(),
    faults.html(),
    faults.empty_object(),
    faults.delay(after_ms=3000),
    faults.redirect("https://elsewhere.example/"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_error_shows_it(
    canary: Sandbox, cancel_at: CancelAt, client_of: Callable[[], OrdersClient], fault: Fault
) -> None:
    canary.faults.add(fault, times=100)
    with pytest.raises(BitoProError) as caught:
        cancel_at(client_of, *ORDER)
    assert not leaks(as_printed(caught.value))
    assert not leaks(str(pickle.loads(pickle.dumps(caught.value)).__dict__))
    assert len(canary.journal) >= 1


def test_no_error_shows_it_when_nothing_listens(cancel_at: CancelAt, canary: Sandbox) -> None:
    with wire(b"") as server:
        nowhere = server.base_url
    with pytest.raises(BitoProError) as caught:
        cancel_at(lambda: connect(credentials_of(canary), base_url=nowhere), *ORDER)
    assert not leaks(as_printed(caught.value))


def test_the_check_above_would_see_a_leak() -> None:
    leaking = BitoProError()
    leaking.__dict__["headers"] = {"X-BITOPRO-APIKEY": "CANARY-key"}
    assert leaks(as_printed(leaking))
    payload = base64.b64encode(b'{"identity":"CANARY@example.com","nonce":1}').decode()
    assert leaks(f"x{payload}x")


def test_an_error_that_echoes_the_key_is_not_passed_on(
    canary: Sandbox, cancel_at: CancelAt
) -> None:
    body = json.dumps({"error": "no such key: CANARY-key, got CANARY-key"}).encode()
    with wire(body, "401 Unauthorized") as server, pytest.raises(BitoProError) as caught:
        cancel_at(lambda: connect(credentials_of(canary), base_url=server.base_url), *ORDER)
    assert "no such key: ***, got ***" in str(caught.value)
    assert not leaks(as_printed(caught.value))


def test_no_log_at_debug_shows_it(
    canary: Sandbox,
    cancel_at: CancelAt,
    client_of: Callable[[], OrdersClient],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "bitopro_orders", "bitopro_auth", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    cancel_at(client_of, *ORDER)
    canary.faults.add(faults.drop_answer(), times=100)
    with pytest.raises(BitoProError):
        cancel_at(client_of, *ORDER)
    assert any(record.name == "bitopro_orders" for record in caplog.records)
    for record in caplog.records:
        assert not leaks(record.getMessage() + repr(record.args) + repr(record.__dict__))


def test_no_form_of_the_client_shows_it(client_of: Callable[[], OrdersClient]) -> None:
    with client_of() as client:
        forms: list[Any] = [repr, str, "{}".format, "{!r}".format]
        assert not leaks("".join(form(client) for form in forms))
        with pytest.raises(TypeError) as caught:
            pickle.dumps(client)
        assert not leaks(str(caught.value))
        call = cancel_order.call(*ORDER)
        steps = client.steps(call)
        assert not leaks(repr(steps) + repr(call) + repr(client._routed()))
        parts = [client._sender, client._sender._signer, client._threads, client._tasks]
        assert not leaks("".join(map(repr, parts)))


def test_an_error_leaves_no_signed_request_behind(
    canary: Sandbox, client_of: Callable[[], OrdersClient]
) -> None:
    canary.faults.add(faults.drop_answer())
    with client_of() as client, pytest.raises(BitoProError) as caught:
        cancel_order.sync(*ORDER, client=client)
    error = caught.value
    del caught
    gc.collect()
    for each in everything_reachable(error):
        for found in gc.get_referents(each, vars(each)):
            assert not isinstance(found, bytes | Answer | Headers | Message)


FAILING = """
from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import connect
from bitopro_sandbox import Account, Settings, faults, serve
import asyncio, logging, pytest

logging.basicConfig(level=logging.DEBUG)


@pytest.fixture
def sandbox():
    with serve(Settings(accounts=(Account("CANARY-" + "key", "CANARY-" + "secret"),))) as sandbox:
        yield sandbox


@pytest.fixture
def credentials(sandbox):
    account = sandbox.account
    return Credentials(account.api_key, account.api_secret, account.identity)


@pytest.mark.parametrize("fault", ["drop_answer", "truncate", "html", "drop"])
def test_sync(sandbox, credentials, fault):
    sandbox.faults.add(getattr(faults, fault)(), times=100)
    with connect(credentials, base_url=sandbox.base_url) as client:
        cancel_order.sync("BTC_TWD", "2959906694", client=client)


@pytest.mark.parametrize("fault", ["drop_answer", "truncate", "html", "drop"])
def test_async(sandbox, credentials, fault):
    async def main():
        async with connect(credentials, base_url=sandbox.base_url) as client:
            await cancel_order.asyncio("BTC_TWD", "2959906694", client=client)

    sandbox.faults.add(getattr(faults, fault)(), times=100)
    asyncio.run(main())
"""


def test_the_output_of_a_failing_test_does_not_show_it(tmp_path: Any) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-vv", "--showlocals", "--full-trace", "-p",
         "no:cacheprovider", "--log-level=DEBUG", str(tmp_path)],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert "8 failed" in run.stdout
    printed = [line for line in run.stdout.splitlines() if '"CANARY-" + ' not in line]
    assert not leaks("\n".join(printed) + run.stderr)


def test_no_cassette_shows_a_credential_header() -> None:
    cassettes = list((ROOT / "tests" / "cassettes").rglob("*.yaml"))
    assert cassettes
    for cassette in cassettes:
        text = cassette.read_text().lower()
        assert "x-bitopro" not in text
        assert "authorization" not in text
        assert "eyjpzgvudgl0" not in text, "a payload's beginning, in base64"


PASSWORD = "pass-word-worth-nothing"
CREDENTIALS = Credentials("key", "secret", "demo@example.com")


@pytest.mark.parametrize(
    "use",
    [
        lambda: connect(CREDENTIALS, base_url=f"https://user:{PASSWORD}@host/v3"),
        lambda: connect(CREDENTIALS, base_url=f"https://user:{PASSWORD}@host:port/v3"),
        lambda: connect(CREDENTIALS, shared=f"redis://:{PASSWORD}@127.0.0.1:notaport/0"),
        lambda: connect(CREDENTIALS, shared=f"reddis://:{PASSWORD}@127.0.0.1/0"),
        lambda: order_history(CREDENTIALS, stream_url=f"wss://user:{PASSWORD}@host/ws"),
        lambda: order_history(CREDENTIALS, stream_url=f"wss://user:{PASSWORD}@host:port/ws"),
    ],
)
def test_the_password_of_a_malformed_url_is_in_no_traceback(use: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        use()
    chain: BaseException | None = caught.value
    while chain is not None:
        told = traceback.TracebackException.from_exception(chain, capture_locals=True)
        # The first frame is this test's own.
        for frame in told.stack[1:]:
            for text in (frame.locals or {}).values():
                assert PASSWORD not in text, frame
        assert PASSWORD not in str(chain)
        chain = chain.__context__


def _ours(credentials: Credentials, base_url: str) -> None:
    with connect(credentials, base_url=base_url) as client:
        cancel_order.sync(*ORDER, client=client)


def _through_httpx(credentials: Credentials, base_url: str) -> None:
    with httpx.Client(auth=BitoProAuth(credentials, hosts={"127.0.0.1"})) as client:
        client.delete(f"{base_url}/orders/BTC_TWD/2959906694")


@pytest.mark.parametrize(
    ("send", "time"),
    [(_ours, 1), (_ours, 2), (_through_httpx, 1)],
    ids=["to send", "at a refusal", "through httpx"],
)
def test_ctrl_c_while_a_request_is_signed_shows_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, send: Callable[[Credentials, str], None], time: int
) -> None:
    """At a refusal it is signed again, to know what the exchange's message must not quote."""
    times, sign = itertools.count(1), hmac.digest

    def digest(key: bytes, text: bytes, kind: Any) -> bytes:
        if next(times) == time:
            raise KeyboardInterrupt
        return sign(key, text, kind)

    credentials = Credentials("CANARY-key", "CANARY-secret", "CANARY@example.com")
    with wire(b'{"error": "no"}', "401 Unauthorized") as server:
        monkeypatch.setattr(hmac, "digest", digest)
        with pytest.raises(KeyboardInterrupt) as caught:
            send(credentials, server.base_url)
    assert not leaks(as_printed(caught.value))


def test_a_refusal_that_quotes_the_key_without_end_is_masked_and_holds_up_nothing() -> None:
    body = json.dumps({"error": "CANARY-key " * 500_000}).encode()
    credentials = Credentials("CANARY-key", "CANARY-secret", "CANARY@example.com")
    with wire(body, "401 Unauthorized") as server, pytest.raises(BitoProError) as caught:
        _ours(credentials, server.base_url)
    assert "*** *** ***" in str(caught.value)
    assert not leaks(as_printed(caught.value))
