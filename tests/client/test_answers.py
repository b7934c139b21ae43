"""Every answer and every silence ends in the right exception, and the book is as it should be."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from bitopro_auth import Credentials
from bitopro_client import Client
from bitopro_client.errors import UnexpectedStatus, UnreadableAnswer
from bitopro_client.models import CancelledOrder
from bitopro_orders import (
    AuthenticationError,
    BadRequestError,
    BitoProError,
    ClockMismatchError,
    NotFoundError,
    NotSentError,
    OrdersClient,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RejectedError,
    SendingPolicy,
    connect,
)
from bitopro_sandbox import Account, OrderStatus, Sandbox, Settings, faults, serve
from bitopro_sandbox.faults import Fault
from tests.conftest import Canceller
from tests.support import credentials_of, wire

ORDER = ("BTC_TWD", "2959906694")
CancelAt = Callable[..., CancelledOrder]


@contextlib.contextmanager
def only_this_changes(sandbox: Sandbox, *order_ids: str) -> Iterator[None]:
    """Check that no order but the named ones changes, and that each of these is cancelled."""
    before = sandbox.book.snapshot()
    yield
    after = sandbox.book.snapshot()
    assert {key for key in after if after[key] != before[key]} == set(order_ids)
    assert all(after[key].status is OrderStatus.CANCELLED for key in order_ids)


def test_a_cancel_cancels_its_order_and_no_other(
    bitopro_sandbox: Sandbox, cancel: Canceller
) -> None:
    with only_this_changes(bitopro_sandbox, ORDER[1]):
        cancelled = cancel(*ORDER)
    assert cancelled.order_id == ORDER[1]
    assert cancelled.action in {"BUY", "SELL"}
    (entry,) = bitopro_sandbox.journal
    assert (entry.method, entry.status) == ("DELETE", 200)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 422, 429, 451])
def test_each_refusal_has_its_error(
    bitopro_sandbox: Sandbox, cancel: Canceller, status: int
) -> None:
    expected = {
        400: BadRequestError,
        401: AuthenticationError,
        403: PermissionDeniedError,
        404: NotFoundError,
        409: ClockMismatchError,
        422: BadRequestError,
        429: RateLimitedError,
    }.get(status, RejectedError)
    bitopro_sandbox.faults.add(faults.status(status), times=100)
    with only_this_changes(bitopro_sandbox), pytest.raises(RejectedError) as caught:
        cancel(*ORDER)
    assert type(caught.value) is expected
    assert caught.value.status == status
    assert caught.value.message
    assert str(caught.value).endswith(caught.value.advice)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 524, 527, 599])
@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize("processed", [False, True])
def test_a_failure_of_the_exchange_is_unknown(
    bitopro_sandbox: Sandbox, cancel: Canceller, status: int, html: bool, processed: bool
) -> None:
    bitopro_sandbox.faults.add(faults.status(status, html=html, processed=processed))
    touched = [ORDER[1]] if processed else []
    with only_this_changes(bitopro_sandbox, *touched), pytest.raises(OutcomeUnknownError) as caught:
        cancel(*ORDER)
    assert caught.value.status == status
    assert "read the order" in str(caught.value)
    assert len(bitopro_sandbox.journal) == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.drop_answer(),
        faults.drop_answer(reset=True),
        faults.truncate(),
        faults.html(),
        faults.invalid_json(),
        faults.empty_object(),
        faults.wrong_order_id(),
    ],
    ids=lambda fault: fault.name,
)
def test_a_lost_or_garbled_answer_to_a_cancel_that_happened_is_unknown(
    bitopro_sandbox: Sandbox, cancel: Canceller, fault: Fault
) -> None:
    bitopro_sandbox.faults.add(fault)
    with only_this_changes(bitopro_sandbox, ORDER[1]), pytest.raises(OutcomeUnknownError):
        cancel(*ORDER)
    assert len(bitopro_sandbox.journal) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_before_the_cancel_is_unknown_too(
    bitopro_sandbox: Sandbox, cancel: Canceller, reset: bool
) -> None:
    bitopro_sandbox.faults.add(faults.drop(reset=reset))
    with only_this_changes(bitopro_sandbox), pytest.raises(OutcomeUnknownError):
        cancel(*ORDER)


@pytest.mark.parametrize(
    ("fault", "field", "value"),
    [
        (faults.unknown_action("BORROW"), "action", "BORROW"),
        (faults.extra_fields(), "order_id", ORDER[1]),
        (faults.close_after_answer(), "order_id", ORDER[1]),
        (faults.delay(before_ms=20, after_ms=20), "order_id", ORDER[1]),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_an_answer_that_is_merely_new_or_slow_is_a_success(
    bitopro_sandbox: Sandbox, cancel: Canceller, fault: Fault, field: str, value: str
) -> None:
    bitopro_sandbox.faults.add(fault)
    with only_this_changes(bitopro_sandbox, ORDER[1]):
        cancelled = cancel(*ORDER)
    assert getattr(cancelled, field) == value


def test_an_unknown_field_is_kept(bitopro_sandbox: Sandbox, cancel: Canceller) -> None:
    bitopro_sandbox.faults.add(faults.extra_fields())
    assert cancel(*ORDER).additional_properties["isNew"] is True


def test_a_timeout_after_sending_is_unknown_and_soon(
    bitopro_sandbox: Sandbox,
    cancel_at: CancelAt,
    make_client: Callable[..., OrdersClient],
) -> None:
    bitopro_sandbox.faults.add(faults.delay(after_ms=5000))
    started = time.monotonic()
    with only_this_changes(bitopro_sandbox, ORDER[1]), pytest.raises(OutcomeUnknownError) as caught:
        cancel_at(lambda: make_client(timeout=0.3), *ORDER)
    assert time.monotonic() - started < 2
    assert "no answer came (no whole answer came in time)" in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    bitopro_sandbox: Sandbox, cancel: Canceller, status: int
) -> None:
    with wire(b"{}") as elsewhere:
        bitopro_sandbox.faults.add(faults.redirect(elsewhere.base_url, status))
        with only_this_changes(bitopro_sandbox), pytest.raises(OutcomeUnknownError):
            cancel(*ORDER)
    assert not elsewhere.requests


def test_nothing_listens(cancel_at: CancelAt) -> None:
    with wire(b"") as server:
        base_url = server.base_url
    with pytest.raises(NotSentError, match="Calling again is safe") as caught:
        cancel_at(lambda: connect(Credentials("k", "s", "i"), base_url=base_url), *ORDER)
    assert type(caught.value.__cause__).__name__ == "NotConnectedError"


def test_a_wrong_secret(bitopro_sandbox: Sandbox, cancel_at: CancelAt) -> None:
    wrong = Credentials(bitopro_sandbox.account.api_key, "wrong", "demo@example.com")
    with only_this_changes(bitopro_sandbox), pytest.raises(AuthenticationError) as caught:
        cancel_at(lambda: connect(wrong, base_url=bitopro_sandbox.base_url), *ORDER)
    assert caught.value.message == "Invalid Signature"


def test_an_unknown_key(bitopro_sandbox: Sandbox, cancel_at: CancelAt) -> None:
    wrong = Credentials("nobody", "wrong", "demo@example.com")
    with only_this_changes(bitopro_sandbox), pytest.raises(AuthenticationError):
        cancel_at(lambda: connect(wrong, base_url=bitopro_sandbox.base_url), *ORDER)


def test_a_key_without_the_permission(cancel_at: CancelAt) -> None:
    reader = Account(permissions=frozenset({"read"}))
    with serve(Settings(accounts=(reader,))) as sandbox:
        with only_this_changes(sandbox), pytest.raises(PermissionDeniedError):
            cancel_at(lambda: connect(credentials_of(sandbox), base_url=sandbox.base_url), *ORDER)


@pytest.mark.parametrize("order", [("BTC_TWD", "1"), ("ETH_TWD", ORDER[1])])
def test_an_order_that_is_not_there(
    bitopro_sandbox: Sandbox, cancel: Canceller, order: tuple[str, str]
) -> None:
    with only_this_changes(bitopro_sandbox), pytest.raises(NotFoundError):
        cancel(*order)


def test_a_second_cancel(bitopro_sandbox: Sandbox, cancel: Canceller) -> None:
    cancel(*ORDER)
    with only_this_changes(bitopro_sandbox), pytest.raises(RejectedError):
        cancel(*ORDER)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_clock_that_is_off_is_measured(cancel_at: CancelAt, minutes: int) -> None:
    offset_ms = minutes * 60_000
    account = Account(api_key=f"clock-{minutes}-{cancel_at.__name__}")
    settings = Settings(accounts=(account,), clock=lambda: time.time_ns() // 1_000_000 - offset_ms)
    policy = SendingPolicy(fresh_nonces=0)
    with serve(settings) as sandbox:
        with only_this_changes(sandbox), pytest.raises(ClockMismatchError) as caught:
            cancel_at(
                lambda: connect(credentials_of(sandbox), base_url=sandbox.base_url, policy=policy),
                *ORDER,
            )
    assert caught.value.difference_ms is not None
    assert abs(caught.value.difference_ms - offset_ms) <= 2000
    assert "clock" in str(caught.value)
    assert ("ahead of" if minutes > 0 else "behind") in str(caught.value)


LATER = format_datetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=90), usegmt=True)
NOW = format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("", None),
        ("Retry-After: 7\r\n", 7),
        ("Retry-After: 0.5\r\n", 0.5),
        (f"Date: {NOW}\r\nRetry-After: {LATER}\r\n", 90),
        (f"Date: {LATER}\r\nRetry-After: {NOW}\r\n", 0),
        ("Retry-After: soon\r\n", None),
        ("Retry-After: -1\r\n", None),
        ("Retry-After: nan\r\n", None),
        ("Retry-After: inf\r\n", None),
        ("Retry-After: 1e308\r\n", None),
        ("Retry-After: 86400\r\n", 86400),
    ],
)
def test_retry_after_in_both_its_forms(
    cancel_at: CancelAt, headers: str, seconds: float | None
) -> None:
    policy = SendingPolicy(attempts=1)
    with wire(b'{"error":"slow down"}', "429 Too Many Requests", headers) as server:

        def make() -> OrdersClient:
            return connect(Credentials("k", "s", "i"), base_url=server.base_url, policy=policy)

        with pytest.raises(RateLimitedError) as caught:
            cancel_at(make, *ORDER)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"Wrong parameter: x"}', "Wrong parameter: x"),
        (b'{"error":"two\\r\\nlines"}', "two lines"),
        (b'{"error":{"deep":1}}', ""),
        (b"<html>no</html>", ""),
        (b"", ""),
        (b"[" * 100_000, ""),
        (b'{"error":"' + b"x" * 5000 + b'"}', "x" * 300),
        (b"\xff\xfe\xfd", ""),
    ],
    ids=range(8),
)
def test_the_exchanges_own_text(cancel_at: CancelAt, body: bytes, message: str) -> None:
    with wire(body, "400 Bad Request") as server, pytest.raises(BadRequestError) as caught:
        cancel_at(lambda: connect(Credentials("k", "s", "i"), base_url=server.base_url), *ORDER)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"1", b'"x"', b"{}", b"[" * 100_000, b"\xff", b"<html>",
        b'{"action":"BUY","amount":"1","price":"1","timestamp":1}',
        b'{"action":"BUY","amount":"1","price":"1","timestamp":1,"orderId":null}',
        b'{"action":"BUY","amount":"1","price":"1","timestamp":1,"orderId":["2959906694"]}',
        b'{"action":"BUY","amount":"1","price":"1","timestamp":1,"orderId":"29599066940"}',
        b'{"data":{"BTC_TWD":["2959906694"]}}',
    ],
    ids=range(14),
)  # fmt: skip
@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content"])
def test_a_success_that_does_not_name_the_order_is_unknown(
    cancel_at: CancelAt, body: bytes, status: str
) -> None:
    with wire(b"" if "204" in status else body, status) as server:
        with pytest.raises(OutcomeUnknownError):
            cancel_at(lambda: connect(Credentials("k", "s", "i"), base_url=server.base_url), *ORDER)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("520 Web server error", b"<html>", UnexpectedStatus),
        ("404 Not Found", b'{"error":"x"}', UnexpectedStatus),
        ("200 OK", b"<html>", UnreadableAnswer),
    ],
)
def test_the_generated_client_alone_raises_and_never_returns_none(
    cancel_at: CancelAt, status: str, body: bytes, error: type[Exception]
) -> None:
    with wire(body, status) as server, pytest.raises(error) as caught:
        cancel_at(lambda: Client(server.base_url), *ORDER)
    assert not isinstance(caught.value, BitoProError)
    assert getattr(caught.value, "content") == body  # noqa: B009 - both errors have it
    assert getattr(caught.value, "status_code") == int(status[:3])  # noqa: B009


def test_a_detailed_answer_has_status_headers_and_model(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient]
) -> None:
    from bitopro_client.api.orders import cancel_order

    with make_client() as client:
        detailed: Any = cancel_order.sync_detailed(*ORDER, client=client)
    assert detailed.status_code == 200
    assert detailed.headers["content-type"] == "application/json"
    assert detailed.parsed.order_id == ORDER[1]
