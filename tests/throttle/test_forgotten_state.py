"""What processes share is deleted under their hands: by a cleaner, an eviction, an empty restart.

What left stays counted, once each: every process puts back what it knows of its own.
"""

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bitopro_sandbox import Sandbox, Settings, faults, serve
from tests.throttle.member import Member, Report, members
from tests.throttle.panic import eventually
from tests.throttle.stores import redis_server

BIG = 100_000
EXCHANGE = Settings(requests_per_minute=BIG, general_requests_per_minute=BIG, second_cancel=200)
LIMIT = 20
DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def at_work(sandbox: Sandbox, shared: str, *first: int) -> Iterator[list[Member]]:
    """Run processes that have cancelled so often each."""
    policy = {"limit_share": LIMIT / 900, "deadline_seconds": 3}
    starting = [Member(sandbox, shared, threads=1, policy=policy) for _ in first]
    with members(*starting) as found:
        for each, calls in zip(found, first, strict=True):
            assert in_turn([each], calls)[0].outcomes == Counter(accepted=calls)
        yield found


def in_turn(found: list[Member], calls: int) -> list[Report]:
    """Let them cancel so often, one after the other."""
    reports = []
    for each in found:
        each.begin(calls)
        reports.append(each.report())
    return reports


def use_up(sandbox: Sandbox, found: list[Member]) -> None:
    """Cancel until the limit has no room; it is neither exceeded nor is any of it lost."""
    once = in_turn(found, 1)
    reports = in_turn(found, LIMIT)
    # Who cannot ask in time goes on alone, and says so.
    assert [report.warnings for report in reports] == [[]] * len(found)
    assert [report.outcomes for report in once] == [{"accepted": 1}] * len(found)
    assert len(sandbox.journal) == LIMIT, reports
    assert {entry.status for entry in sandbox.journal} == {200}
    assert len({entry.nonce for entry in sandbox.journal}) == LIMIT


@contextmanager
def nobody_inside(folder: Path) -> Iterator[None]:
    """Wait until no process is in the middle of a change, and let none begin."""
    (state,) = folder.glob("*.throttle")
    with state.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("lost", ["*-ip-*", "*-*"], ids=["one", "all"])
def test_counters_whose_files_are_deleted_are_counted_anew(lost: str, tmp_path: Path) -> None:
    # The last one opens them when the others' are gone.
    with serve(EXCHANGE) as sandbox, at_work(sandbox, str(tmp_path), 3, 5, 0) as found:
        files = list(tmp_path.glob(lost))
        assert len(files) == (1 if "ip" in lost else 2)
        with nobody_inside(tmp_path):
            for file in files:
                file.unlink()
        use_up(sandbox, found)


def test_a_counter_that_redis_has_evicted_is_counted_anew(tmp_path: Path) -> None:
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as server, server.open() as redis:
        with at_work(sandbox, server.url, 3, 5) as found:
            (key,) = redis.scan_iter("bitopro:*:ip-*")
            assert redis.delete(key) == 1
            use_up(sandbox, found)


def test_a_redis_that_is_emptied_while_a_request_is_under_way_is_told_all_that_left(
    tmp_path: Path,
) -> None:
    with serve(EXCHANGE) as sandbox, redis_server(tmp_path) as server, server.open() as redis:
        with at_work(sandbox, server.url, 7, 6) as found:
            sandbox.faults.add(faults.delay(after_ms=400))
            found[1].begin(1)
            assert eventually(lambda: len(sandbox.journal) == 14)
            redis.flushall()
            assert found[1].report().outcomes == {"accepted": 1}
            use_up(sandbox, found)


def open_files(member: Member, folder: Path) -> list[str]:
    """Return which files of a folder a process keeps open, by what the system calls them."""
    descriptors = Path(f"/proc/{member._process.pid}/fd").iterdir()
    return sorted(name for name in map(os.readlink, descriptors) if name.startswith(f"{folder}/"))


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="descriptors are listed in /proc")
def test_processes_whose_folder_is_deleted_meet_again_in_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    with serve(EXCHANGE) as sandbox, at_work(sandbox, str(folder), 2, 3, 1) as found:
        with nobody_inside(folder):
            shutil.rmtree(folder)
        use_up(sandbox, found)
        files = sorted(map(str, folder.iterdir()))
        assert len(files) == 3
        # One that is deleted has another name there.
        assert [open_files(each, folder) for each in found] == [files] * 3
