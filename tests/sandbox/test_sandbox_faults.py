"""Each fault, as an HTTP client sees it."""

import base64
import hashlib
import hmac
import itertools
import json
import time
import zlib
from collections.abc import Iterator

import httpx
import pytest

from bitopro_sandbox import Fault, OrderStatus, Sandbox, faults, serve

PATH = "/orders/BTC_TWD/2959906694"
NO_TLS = False  # as `verify`: loading certificates takes longer than most of the tests
_numbers = itertools.count()


def next_nonce() -> int:
    # Close to the clock and larger than the last, also when several are drawn in a millisecond.
    return time.time_ns() // 1_000_000 + next(_numbers)


class Cancels:
    """Sends cancels of one order over one client."""

    def __init__(self, sandbox: Sandbox, client: httpx.Client) -> None:
        self.sandbox = sandbox
        self.client = client

    def headers(self) -> dict[str, str]:
        account = self.sandbox.account
        payload = base64.b64encode(json.dumps({"nonce": next_nonce()}).encode())
        signature = hmac.new(account.api_secret.encode(), payload, hashlib.sha384).hexdigest()
        return {
            "X-BITOPRO-APIKEY": account.api_key,
            "X-BITOPRO-PAYLOAD": payload.decode(),
            "X-BITOPRO-SIGNATURE": signature,
        }

    def send(self, fault: Fault | None = None, timeout: float = 5) -> httpx.Response:
        if fault:
            self.sandbox.faults.add(fault)
        return self.client.delete(
            self.sandbox.base_url + PATH, headers=self.headers(), timeout=timeout
        )

    @property
    def cancelled(self) -> bool:
        cancelled = self.sandbox.book.get("2959906694").status is OrderStatus.CANCELLED
        assert self.sandbox.journal[-1].processed is cancelled
        return cancelled


@pytest.fixture
def cancels(bitopro_sandbox: Sandbox) -> Iterator[Cancels]:
    with httpx.Client(verify=NO_TLS) as client:
        yield Cancels(bitopro_sandbox, client)


@pytest.mark.parametrize(
    ("fault", "error", "cancelled"),
    [
        (faults.drop(), httpx.RemoteProtocolError, False),
        (faults.drop(reset=True), httpx.ReadError, False),
        (faults.drop_answer(), httpx.RemoteProtocolError, True),
        (faults.drop_answer(reset=True), httpx.ReadError, True),
        (faults.truncate(), httpx.RemoteProtocolError, True),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_lost_answers(
    cancels: Cancels, fault: Fault, error: type[Exception], cancelled: bool
) -> None:
    with pytest.raises(error):
        cancels.send(fault)
    assert cancels.cancelled is cancelled
    entry = cancels.sandbox.journal[-1]
    assert entry.fault == fault.name
    assert entry.status == (200 if fault.name == "truncate" else None)
    assert cancels.send().status_code == (400 if cancelled else 200)
    assert cancels.sandbox.journal[-1].http_connection == 2


def test_a_truncated_answer_ends_in_the_middle(cancels: Cancels) -> None:
    cancels.sandbox.faults.add(faults.truncate())
    parts: list[bytes] = []
    with cancels.client.stream(
        "DELETE", cancels.sandbox.base_url + PATH, headers=cancels.headers()
    ) as response:
        with pytest.raises(httpx.RemoteProtocolError):
            parts.extend(response.iter_raw())
        assert len(b"".join(parts)) == int(response.headers["content-length"]) // 2
    assert parts[0].startswith(b'{"action":"BUY"')


@pytest.mark.parametrize(
    ("fault", "cancelled"),
    [(faults.delay(before_ms=150), False), (faults.delay(after_ms=5000), True)],
    ids=["before", "after"],
)
def test_delays(cancels: Cancels, fault: Fault, cancelled: bool) -> None:
    with pytest.raises(httpx.ReadTimeout):
        cancels.send(fault, timeout=0.05)
    assert cancels.cancelled is cancelled
    assert cancels.sandbox.journal[-1].fault == "delay"


def test_a_late_request_is_processed_though_the_client_is_gone(cancels: Cancels) -> None:
    with pytest.raises(httpx.ReadTimeout):
        cancels.send(faults.delay(before_ms=60), timeout=0.02)
    assert not cancels.cancelled
    time.sleep(0.1)
    assert cancels.cancelled


def test_a_delayed_answer_is_still_right(cancels: Cancels) -> None:
    assert cancels.send(faults.delay(before_ms=10, after_ms=10)).json()["orderId"] == "2959906694"


@pytest.mark.parametrize("code", [400, 408, 429, 500, 502, 503, 520, 527])
@pytest.mark.parametrize("processed", [False, True])
@pytest.mark.parametrize("html", [False, True])
def test_statuses(cancels: Cancels, code: int, processed: bool, html: bool) -> None:
    response = cancels.send(
        faults.status(code, processed=processed, html=html, headers={"Retry-After": "7"})
    )
    assert response.status_code == code
    assert response.headers["retry-after"] == "7"
    assert cancels.cancelled is processed
    assert cancels.sandbox.journal[-1].status == code
    if html:
        assert response.text.startswith("<!DOCTYPE html>")
        assert response.headers["content-type"].startswith("text/html")
    else:
        assert response.json()["error"]


def test_a_success_is_no_status_fault() -> None:
    with pytest.raises(ValueError, match="200"):
        faults.status(200)


def test_a_redirect(cancels: Cancels) -> None:
    response = cancels.send(faults.redirect("https://elsewhere.example/", 302))
    assert (response.status_code, response.headers["location"]) == (
        302,
        "https://elsewhere.example/",
    )
    assert not cancels.cancelled


@pytest.mark.parametrize(
    ("fault", "start"),
    [
        (faults.html(), "<!DOCTYPE html>"),
        (faults.invalid_json(), '{"action": "BUY", "amo'),
        (faults.empty_object(), "{}"),
        (faults.wrong_order_id(), '{"action":"BUY","amount":"0.05","orderId":"99999999"'),
        (faults.unknown_action(), '{"action":"BORROW","amount":"0.05","orderId":"2959906694"'),
        (faults.numbers(), '{"action":"BUY","amount":0.05,"orderId":2959906694,"price":2800000,'),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_strange_successes(cancels: Cancels, fault: Fault, start: str) -> None:
    response = cancels.send(fault)
    assert response.status_code == 200
    assert response.text.startswith(start)
    assert cancels.cancelled


def test_extra_fields(cancels: Cancels) -> None:
    content = cancels.send(faults.extra_fields()).json()
    assert content.keys() >= {"orderId", "novelty", "isNew"}


def test_edits_leave_refusals_alone(cancels: Cancels) -> None:
    cancels.send()
    assert cancels.send(faults.wrong_order_id()).json() == {"error": "Invalid order status"}


def test_a_dripping_answer(cancels: Cancels) -> None:
    cancels.sandbox.faults.add(faults.drip(bytes_per_second=1000))
    with cancels.client.stream(
        "DELETE", cancels.sandbox.base_url + PATH, headers=cancels.headers()
    ) as response:
        chunks = list(response.iter_raw())
    assert len(chunks) > 10
    assert json.loads(b"".join(chunks))["orderId"] == "2959906694"
    assert cancels.cancelled


def test_a_gzip_bomb(cancels: Cancels) -> None:
    cancels.sandbox.faults.add(faults.gzip_bomb(32))
    with cancels.client.stream(
        "DELETE", cancels.sandbox.base_url + PATH, headers=cancels.headers()
    ) as response:
        assert response.headers["content-encoding"] == "gzip"
        body = b"".join(response.iter_raw())
    assert len(body) < 40_000
    text = zlib.decompress(body, wbits=31)
    assert len(text) == 32 * 2**20 + 2
    assert json.loads(text) == {}


def test_a_connection_that_is_not_kept_alive(cancels: Cancels) -> None:
    response = cancels.send(faults.close_after_answer())
    assert response.headers["connection"] == "keep-alive"
    assert response.json()["orderId"] == "2959906694"
    time.sleep(0.02)
    assert cancels.send().status_code == 400
    assert [entry.http_connection for entry in cancels.sandbox.journal] == [1, 2]


def test_times_method_and_order(cancels: Cancels) -> None:
    armed = cancels.sandbox.faults
    armed.add(faults.status(500), method="get")
    armed.add(faults.status(501), times=2)
    armed.add(faults.status(502))
    assert len(armed) == 3
    assert [cancels.send().status_code for _ in range(4)] == [501, 501, 502, 200]
    assert len(armed) == 1
    armed.clear()
    assert len(armed) == 0


def test_chances_are_repeatable(cancels: Cancels) -> None:
    def fired(seed: int) -> list[bool]:
        cancels.sandbox.faults.clear()
        cancels.sandbox.faults.add(faults.status(500), probability=0.3, seed=seed)
        return [cancels.send().status_code == 500 for _ in range(40)]

    first = fired(7)
    assert first == fired(7) != fired(8)
    assert 3 < sum(first) < 25


def test_a_stop_does_not_wait_for_faults() -> None:
    with httpx.Client(verify=NO_TLS) as client:
        with serve() as sandbox:
            cancels = Cancels(sandbox, client)
            for fault in (faults.delay(before_ms=60_000), faults.drip(0.001)):
                with pytest.raises(httpx.ReadTimeout):
                    cancels.send(fault, timeout=0.05)
            start = time.monotonic()
        assert time.monotonic() - start < 0.5
