"""An error that was caught earlier is settled by reading alone."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import (
    CancelOutcome,
    InvalidArgumentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    State,
    cancel_and_confirm,
)
from bitopro_sandbox import Account, Sandbox, Settings, faults, serve
from tests.outcomes.support import (
    FILLED,
    NOWHERE,
    ORDER,
    PARTLY_FILLED,
    client_of,
    edited,
    order_in,
    requests_for,
)
from tests.support import environment_of

Settle = Callable[..., CancelOutcome]
IN_ANOTHER_PROCESS = """
import asyncio, pickle, sys
from bitopro_orders import connect, resolve, resolve_async

error = pickle.load(sys.stdin.buffer)
with connect() as client:
    outcome = resolve(client, error, timeout=5)
    same = asyncio.run(resolve_async(client, error, timeout=5))
sys.stdout.buffer.write(pickle.dumps((outcome, same)))
"""


def lost_cancel(sandbox: Sandbox, order: tuple[str, str] = ORDER) -> OutcomeUnknownError:
    """Return the error of a cancel that was processed and whose answer was lost."""
    sandbox.faults.add(faults.drop_answer(), method="DELETE")
    with client_of(sandbox) as client, pytest.raises(OutcomeUnknownError) as caught:
        cancel_order.sync(*order, client=client)
    sandbox.journal.clear()
    return caught.value


def error_about(**arguments: Any) -> OutcomeUnknownError:
    error = OutcomeUnknownError("made by hand")
    error.operation, error.arguments, error.attempts = "cancelOrder", arguments, 2
    return error


def only_read(sandbox: Sandbox) -> bool:
    return {entry.method for entry in sandbox.journal} == {"GET"}


@pytest.mark.parametrize(
    ("order", "state"),
    [(ORDER, State.CANCELLED), (PARTLY_FILLED, State.PARTLY_FILLED), (FILLED, State.FILLED)],
)
def test_a_lost_cancel_is_settled(
    bitopro_sandbox: Sandbox, settle: Settle, order: tuple[str, str], state: State
) -> None:
    error = lost_cancel(bitopro_sandbox, order)
    before = bitopro_sandbox.book.snapshot()
    outcome = settle(bitopro_sandbox, error)
    assert outcome.state is state
    assert (outcome.pair, outcome.order_id) == order
    assert outcome.evidence == order_in(bitopro_sandbox, order[1])
    assert (outcome.attempts, outcome.seen_by) == (1, "reading")
    assert only_read(bitopro_sandbox)
    assert bitopro_sandbox.book.snapshot() == before


def test_an_error_is_settled_in_another_process(bitopro_sandbox: Sandbox) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=pickle.dumps(lost_cancel(bitopro_sandbox)),
        env={**os.environ, **environment_of(bitopro_sandbox)},
        capture_output=True,
        check=True,
        timeout=30,
    )
    outcome, same = pickle.loads(ran.stdout)
    assert (outcome.state, outcome.attempts) == (same.state, same.attempts) == (State.CANCELLED, 1)
    assert outcome.executed == same.executed == 0
    assert outcome.evidence.id == ORDER[1]
    assert outcome.evidence.status == 4
    assert only_read(bitopro_sandbox)


def test_a_pickled_error_keeps_what_was_last_seen() -> None:
    with serve(Settings(cancel_takes_ms=60_000)) as sandbox, client_of(sandbox) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            cancel_and_confirm(client, *ORDER, timeout=0.2)
        error = pickle.loads(pickle.dumps(caught.value))
        assert error.last_seen.id == ORDER[1]
        assert error.last_seen.status == 0
        kept = ("operation", "arguments", "attempts", "sent_ms", "status")
        assert all(getattr(error, name) == getattr(caught.value, name) for name in kept)
        assert str(error) == str(caught.value)


def test_what_an_order_lacks_it_still_lacks_after_it_was_pickled(bitopro_sandbox: Sandbox) -> None:
    order = order_in(bitopro_sandbox, ORDER[1])
    again = pickle.loads(pickle.dumps(order))
    assert again == order
    assert again.to_dict() == order.to_dict()


def test_a_cancel_that_still_takes_a_while_is_waited_for(settle: Settle) -> None:
    with serve(Settings(cancel_takes_ms=300)) as sandbox:
        outcome = settle(sandbox, lost_cancel(sandbox))
        assert len(requests_for(sandbox, ORDER[1], "GET")) > 2
        assert only_read(sandbox)
    assert outcome.state is State.CANCELLED


@pytest.mark.parametrize(("order", "seen"), [(ORDER, 0), (PARTLY_FILLED, 1), (NOWHERE, None)])
def test_an_order_that_is_not_final_in_time_stays_unknown(
    bitopro_sandbox: Sandbox, settle: Settle, order: tuple[str, str], seen: int | None
) -> None:
    error = error_about(pair=order[0], orderId=order[1])
    error.sent_ms = time.time_ns() // 1_000_000
    began = time.monotonic()
    with pytest.raises(OutcomeUnknownError) as caught:
        settle(bitopro_sandbox, error, timeout=0.2)
    assert time.monotonic() - began < 0.6
    again = caught.value
    assert (again.last_seen.status if again.last_seen else None) == seen
    assert dict(again.arguments) == error.arguments
    assert (again.operation, again.attempts, again.sent_ms) == ("cancelOrder", 2, error.sent_ms)
    assert only_read(bitopro_sandbox)
    assert all(entry.order.status == entry.new for entry in bitopro_sandbox.book.changes)
    if seen is not None:  # and the new error is settled as the old one would be
        bitopro_sandbox.book.cancel(order[1])
        assert not bitopro_sandbox.book.get(order[1]).status.is_live
        assert settle(bitopro_sandbox, again).evidence == order_in(bitopro_sandbox, order[1])


def test_an_unknown_status_is_not_final(bitopro_sandbox: Sandbox, settle: Settle) -> None:
    bitopro_sandbox.faults.add(edited(status=5), method="GET", times=1000)
    error = error_about(pair=ORDER[0], orderId=ORDER[1])
    with pytest.raises(OutcomeUnknownError):
        settle(bitopro_sandbox, error, timeout=0.2)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"pair": ORDER[0]}, {"orderId": ORDER[1]}, {"pair": ORDER[0], "orderId": ".."}],
)
def test_an_error_that_is_not_about_an_order(
    bitopro_sandbox: Sandbox, settle: Settle, arguments: dict[str, str]
) -> None:
    with pytest.raises(InvalidArgumentError):
        settle(bitopro_sandbox, error_about(**arguments))
    assert len(bitopro_sandbox.journal) == 0


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", None])
def test_a_bad_timeout(bitopro_sandbox: Sandbox, settle: Settle, timeout: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        settle(bitopro_sandbox, error_about(pair=ORDER[0], orderId=ORDER[1]), timeout=timeout)
    assert len(bitopro_sandbox.journal) == 0


def test_a_key_that_may_not_read(settle: Settle) -> None:
    with serve(Settings(accounts=(Account(permissions=frozenset({"trade"})),))) as sandbox:
        with pytest.raises(PermissionDeniedError):
            settle(sandbox, lost_cancel(sandbox))
