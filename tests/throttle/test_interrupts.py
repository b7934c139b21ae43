"""Ctrl-C at any moment, and a signal handler that itself cancels, leave nothing locked."""

import time
from pathlib import Path
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, SendingPolicy, connect
from bitopro_sandbox import Sandbox, faults, serve
from tests.support import credentials_of
from tests.throttle.programs import MANY, ORDER_ID, PAIR, exchange, start, store

#: A store that fails is not replaced: what it does to a call is seen.
POLICY: dict[str, Any] = {"deadline_seconds": 2, "local_if_shared_fails": False}
UNCOUNTED = {**POLICY, "limit_share": None}


def run(sandbox: Sandbox, shared: str | None, mode: str, **more: Any) -> dict[str, Any]:
    with start("interrupted", sandbox, shared, mode=mode, **more) as program:
        return program.result()


@pytest.mark.parametrize(("name", "tries"), [("memory", 200), ("folder", 200), ("redis", 100)])
def test_an_interrupt_at_any_place_leaves_nothing_locked(
    name: str, tries: int, tmp_path: Path
) -> None:
    with serve(exchange()) as sandbox, store(name, tmp_path) as shared:
        found = run(sandbox, shared, "at_every_place", policy=POLICY, tries=tries)
    assert found["problems"] == []
    assert found["accepted after"] == found["tries"] > 20
    assert found["interrupted"] > 0.9 * found["tries"]


@pytest.mark.parametrize(
    ("way", "name", "tries", "longest_ms"),
    [
        ("sync", "memory", 300, 0.8),
        ("sync", "folder", 300, 1),
        ("sync", "redis", 200, 2),
        ("async", "memory", 50, 2),
        ("async", "folder", 50, 2),
    ],
)
def test_after_a_real_ctrl_c_the_next_cancel_goes_out(
    way: str, name: str, tries: int, longest_ms: float, tmp_path: Path
) -> None:
    with serve(exchange()) as sandbox, store(name, tmp_path) as shared:
        more = {"way": way, "tries": tries, "longest_ms": longest_ms, "seed": 11}
        found = run(sandbox, shared, "by_signals", policy=POLICY, **more)
    assert found["problems"] == []
    assert found["accepted after"] == tries
    assert found["interrupted"] > tries / 10


def test_an_interrupted_process_holds_up_no_other_of_the_folder(tmp_path: Path) -> None:
    policy = {**POLICY, "deadline_seconds": 5}
    more = {"way": "sync", "tries": 200, "longest_ms": 1, "seed": 12, "policy": policy}
    problems, slow, accepted = list[str](), list[float](), 0
    with serve(exchange()) as sandbox, store("folder", tmp_path) as shared:
        client = connect(
            credentials_of(sandbox),
            base_url=sandbox.base_url,
            shared=shared,
            policy=SendingPolicy(**policy),
        )
        with client, start("interrupted", sandbox, shared, mode="by_signals", **more) as program:
            while program.is_running() and len(problems) < 3:
                began = time.monotonic()
                try:
                    cancel_order.sync(PAIR, ORDER_ID, client=client)
                    accepted += 1
                except BitoProError as error:
                    problems.append(f"{type(error).__name__}: {error}")
                slow.append(time.monotonic() - began)
                time.sleep(0.01)
            found = program.result()
    assert (problems, found["problems"]) == ([], [])
    assert accepted > 20
    assert found["interrupted"] > 20
    assert max(slow) < 3


@pytest.mark.parametrize(("name", "tries"), [("memory", 80), ("folder", 60), ("redis", 40)])
def test_a_signal_handler_may_cancel_at_any_place_of_a_cancel(
    name: str, tries: int, tmp_path: Path
) -> None:
    # With several in flight the handler's need not wait until what it interrupts has left.
    policy = {**POLICY, "in_flight": 8}
    with serve(exchange(nonce_rule="unique")) as sandbox, store(name, tmp_path) as shared:
        found = run(sandbox, shared, "cancelling_at_every_place", policy=policy, tries=tries)
    assert found["problems"] == []
    assert found["both accepted"] == found["tries"] > 20


@pytest.mark.parametrize("name", ["memory", "folder"])
def test_a_signal_handler_may_cancel_while_all_threads_do(name: str, tmp_path: Path) -> None:
    policy = {**UNCOUNTED, "deadline_seconds": 10, "in_flight": 8}
    with serve(exchange(nonce_rule="unique")) as sandbox, store(name, tmp_path) as shared:
        found = run(sandbox, shared, "handler_that_cancels", policy=policy, seconds=1, seed=13)
    assert found["problems"] == []
    assert found["threads left"] == 0
    assert found["handler"] > 0


def test_a_signal_handler_may_cancel_while_its_thread_waits_for_its_turn() -> None:
    policy = {**POLICY, "deadline_seconds": 6}
    with serve(exchange()) as sandbox:
        # So the six leave by the spacing, one each 67 ms.
        sandbox.faults.add(faults.delay(after_ms=350), times=MANY)
        found = run(sandbox, None, "handler_in_the_queue", policy=policy)
    assert found["problems"] == []
    assert (found["handled"], found["handler"], found["main"], found["thread"]) == (1, 1, 1, 5)
    assert found["longest"] < 5
