"""The rows of the panic path that take up to two minutes each; not collected by default.

Run them with `python -m pytest tests/throttle/slow_rows.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bitopro_orders import CancelOutcome, OutcomeUnknownError, SendingPolicy, State
from bitopro_sandbox import OrderStatus, Sandbox, faults
from tests.throttle.panic import (
    Run,
    Way,
    arrived,
    bound,
    cancel,
    client_of,
    confirm,
    deletes_per_order,
    door,
    exchange,
    kinds,
    most_in_a_minute,
    orders,
    states,
    tls_contexts,
)


@pytest.fixture(params=[100, 300])
def latency_ms(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def sandbox(latency_ms: int) -> Iterator[Sandbox]:
    with exchange() as found:
        found.faults.add(faults.delay(after_ms=latency_ms), probability=1.0)
        yield found


@pytest.mark.parametrize(
    ("number", "way", "options"),
    [(150, "tasks", {}), (150, "threads", {}), (300, "tasks", {"timeout": 90})],
)
def test_all_are_confirmed(
    sandbox: Sandbox, latency_ms: int, number: int, way: Way, options: dict[str, float]
) -> None:
    ids, client = orders(sandbox, number), client_of(sandbox)
    run = Run(way, [client], [confirm(client, order, **options) for order in ids])
    assert kinds(run.results(within=120)) == {"cancelled": number}
    client.close()
    print(f"{number} at {latency_ms} ms: {run.seconds:.2f} s of {bound(number, latency_ms):.2f}")
    assert run.seconds <= 1.15 * bound(number, latency_ms)
    assert states(sandbox, ids) == {OrderStatus.CANCELLED}
    assert deletes_per_order(sandbox, ids) == {1}


def test_of_300_with_the_default_timeout_every_cancel_leaves(sandbox: Sandbox) -> None:
    ids, client = orders(sandbox, 300), client_of(sandbox)
    run = Run("tasks", [client], [confirm(client, order) for order in ids])
    results = run.results(within=120)
    print(f"{run.seconds:.2f} s: {kinds(results)}")
    assert deletes_per_order(sandbox, ids) == {1}, kinds(results)
    assert states(sandbox, ids) == {OrderStatus.CANCELLED}
    for result in results:
        if isinstance(result, CancelOutcome):
            assert result.state is State.CANCELLED
        else:
            assert isinstance(result, OutcomeUnknownError)
            assert result.accepted


@pytest.mark.parametrize("latency_ms", [300])
def test_of_900_within_ten_seconds_120_leave(sandbox: Sandbox) -> None:
    client = client_of(sandbox)
    run = Run("tasks", [client], [cancel(client, order) for order in orders(sandbox, 900)])
    found = kinds(run.results())
    print(found)
    assert arrived(sandbox) >= 120
    assert found["accepted"] <= arrived(sandbox) <= 900 - found["NotSentError"]


def test_after_a_start_of_20_seconds_no_window_holds_more_than_the_limit(tmp_path: Path) -> None:
    server, trusting = tls_contexts(tmp_path)
    policy = SendingPolicy(limit_share=60 / 900, deadline_seconds=100)
    # The order of the nonces is not what this is about.
    with exchange(nonce_rule="unique") as sandbox, door(sandbox, server) as slow:
        client = client_of(sandbox, policy=policy, base_url=slow.base_url, tls=trusting, timeout=60)
        run = Run("tasks", [client], [cancel(client, order) for order in orders(sandbox, 120)])
        slow.open(after=20)
        found = kinds(run.results(within=120))
        print(f"{run.seconds:.1f} s: {found}, {most_in_a_minute(sandbox)} in a minute")
        assert most_in_a_minute(sandbox) == 60
        assert found == {"accepted": 120}
