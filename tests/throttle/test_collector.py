"""An abandoned cancel is closed by the garbage collector, in whatever the thread is doing then."""

from pathlib import Path

import pytest

from bitopro_sandbox import faults, serve
from tests.throttle.programs import MANY, exchange, start, store


@pytest.mark.parametrize(
    ("way", "name", "tries"),
    [
        ("sync", "memory", 50),
        ("async", "memory", 40),
        ("sync", "folder", 40),
        ("async", "redis", 30),
    ],
)
def test_an_abandoned_cancel_may_be_collected_at_any_place_of_another(
    way: str, name: str, tries: int, tmp_path: Path
) -> None:
    # With several in flight no cancel waits for the one that is lost.
    policy = {"deadline_seconds": 3, "in_flight": 8, "limit_share": None}
    more = {"way": way, "tries": tries, "policy": policy}
    with serve(exchange(nonce_rule="unique")) as sandbox, store(name, tmp_path) as shared:
        # Longer than what is lost lives, so that it is under way then.
        sandbox.faults.add(faults.delay(after_ms=15), times=MANY)
        with start("collected", sandbox, shared, **more) as program:
            found = program.result()
    assert found["problems"] == []
    assert found["accepted"] == found["tries"] > 20
    assert (found["slow"], found["threads left"]) == (0, 0)
