"""The nonces behind a lane: never lower than one that the exchange accepted."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitopro_client.api.orders import cancel_order
from bitopro_orders.sharing import (
    FileLimits,
    FileTurns,
    Limits,
    MemoryLimits,
    MemoryTurns,
    SharedStoreError,
    Turns,
)

NOW_MS = 1_700_000_000_000
LIMIT = cancel_order.OPERATION.rate_limit


@pytest.mark.parametrize("make", [MemoryTurns, FileTurns])
def test_a_nonce_accepted_after_a_rewind_stays_used(make: Callable[[], Turns]) -> None:
    turns = make()
    refused = turns.take(NOW_MS, 0, 0).nonce
    on_its_way = turns.take(NOW_MS, 0, 0).nonce
    turns.release(refused, processed=False)
    turns.rewind()
    turns.release(on_its_way, processed=True)
    assert turns.take(NOW_MS - 3000, 0, 0).nonce > on_its_way


@given(
    st.lists(
        st.tuples(st.integers(-2000, 2000), st.sampled_from(["use", "refuse", "hold", "rewind"])),
        max_size=60,
    )
)
def test_no_nonce_is_accepted_twice_nor_below_an_accepted_one(
    steps: list[tuple[int, str]],
) -> None:
    turns, accepted, held = MemoryTurns(), [0], []
    for offset, step in steps:
        nonce = turns.take(NOW_MS + offset, 0, 0).nonce
        if not nonce:
            continue
        assert nonce not in accepted
        if step == "use":
            assert nonce > max(accepted)
        if step == "hold":
            held.append(nonce)
            continue
        turns.release(nonce, processed=step == "use")
        if step == "use":
            accepted.append(nonce)
        if step == "rewind":
            turns.rewind()


@pytest.mark.parametrize("where", ["memory", "file"])
def test_a_clock_set_back_frees_what_was_counted_later(where: str, tmp_path: Path) -> None:
    def make() -> Limits:
        return MemoryLimits() if where == "memory" else FileLimits(tmp_path / "limits.sqlite")

    limits = make()
    for _ in range(LIMIT.requests):
        assert limits.admit(LIMIT, 1.0, NOW_MS) == 0
    assert limits.admit(LIMIT, 1.0, NOW_MS) > 0
    assert limits.admit(LIMIT, 1.0, NOW_MS - 3_600_000) == 0
    assert make().admit(LIMIT, 1.0, NOW_MS - 3_600_000) == 0


@pytest.mark.parametrize("where", ["memory", "file"])
def test_a_cool_down_is_never_shortened(where: str, tmp_path: Path) -> None:
    file = tmp_path / "limits.sqlite"
    limits: Limits = MemoryLimits() if where == "memory" else FileLimits(file)
    limits.cool_down(LIMIT.group, NOW_MS + 86_400_000)
    limits.cool_down(LIMIT.group, NOW_MS + 1000)
    others: Limits = limits if where == "memory" else FileLimits(file)
    assert others.admit(LIMIT, 1.0, NOW_MS) == 86_400_000
    assert others.admit(LIMIT, 1.0, NOW_MS + 86_400_000) == 0


def test_unequal_shares_of_a_limit_count_together() -> None:
    limits = MemoryLimits()
    whole = sum(limits.admit(LIMIT, 1.0, NOW_MS) == 0 for _ in range(LIMIT.requests // 2))
    assert whole == LIMIT.requests // 2
    assert limits.admit(LIMIT, 0.5, NOW_MS) > 0
    assert limits.admit(LIMIT, 1.0, NOW_MS) == 0


HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_that_stopped_with_the_lock_holds_nobody_for_long(tmp_path: Path) -> None:
    file = tmp_path / "key.nonces"
    turns = FileTurns(file)
    assert turns.take(NOW_MS, 0, 0).nonce
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, os.fspath(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SharedStoreError, match="another process"):
            turns.take(NOW_MS, 0, 0)
        assert holder.stdin is not None
        holder.stdin.close()
    assert turns.take(NOW_MS, 0, 0).nonce
