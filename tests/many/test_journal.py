"""The journal: what it says is so, wherever a process died, and it costs no order."""

import asyncio
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bitopro_orders import (
    CancelOutcome,
    InvalidArgumentError,
    Journal,
    NotSentError,
    OutcomeUnknownError,
    State,
    Timing,
    cancel_many,
    cancel_many_async,
    resolve_many,
    resolve_many_async,
    resume,
    resume_async,
    unresolved,
)
from bitopro_sandbox import Fault, Sandbox, faults
from bitopro_sandbox.faults import Answer
from tests.many.support import (
    PAIR,
    cancels_of,
    client_of,
    collect,
    exchange,
    ids,
    named,
    place,
    until,
    until_async,
)
from tests.outcomes.support import client_of as limited_client_of
from tests.support import HASTE, HASTY, ROOT

Do = Any


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cancels.jsonl"


@pytest.fixture
def resume_all(mode: str) -> Any:
    return collect(mode, resume, resume_async)


@pytest.fixture
def resolve_all(mode: str) -> Any:
    return collect(mode, resolve_many, resolve_many_async)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def open_orders(file: Path) -> set[str]:
    return {error.arguments["orderId"] for error in unresolved(file)}


def test_each_decision_is_a_line(sandbox: Sandbox, cancel_all: Do, file: Path) -> None:
    orders = place(sandbox, 3)
    sandbox.book.fill(orders[0][1])
    with Journal(file) as journal:
        cancel_all(sandbox, orders, journal=journal)
        assert unresolved(journal) == []
    assert unresolved(file) == []
    for pair, order_id in orders:
        told = [line for line in lines(file) if line["order_id"] == order_id]
        assert [line["event"] for line in told] == ["cancel", "answer", "end"]
        assert len({line["call"] for line in told}) == 1
        assert {(line["v"], line["pair"], line["attempt"]) for line in told} == {(1, pair, 1)}
        cancel, answer, end = told
        assert cancel["at_ms"] <= answer["sent_ms"] <= cancel["until_ms"]
        assert cancel["why"] == "it was asked for"
        refused = order_id == orders[0][1]
        assert answer["outcome"] == ("refused" if refused else "accepted")
        assert end["outcome"] == end["form"]["state"] == ("FILLED" if refused else "CANCELLED")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_line_is_on_the_disk_before_its_request_arrives(
    sandbox: Sandbox, cancel_all: Do, file: Path
) -> None:
    orders, missing = place(sandbox, 20), []

    def look() -> None:
        order_id = sandbox.journal[-1].path.rpartition("/")[2]
        if not any(line["order_id"] == order_id for line in lines(file)):
            missing.append(order_id)

    sandbox.faults.add(faults.meanwhile(before=look), probability=1, call="cancel_order")
    with Journal(file) as journal:
        cancel_all(sandbox, orders, journal=journal)
    assert missing == []


def test_a_repeated_cancel_says_why(cancel_all: Do, file: Path) -> None:
    with exchange() as sandbox:
        (order,) = place(sandbox, 1)
        sandbox.faults.add(faults.status(502), call="cancel_order")
        with Journal(file) as journal:
            cancel_all(sandbox, [order], journal=journal)
    told = [(line["event"], line["attempt"], line.get("outcome")) for line in lines(file)]
    assert told == [
        ("cancel", 1, None), ("answer", 1, "unknown"),
        ("cancel", 2, None), ("answer", 2, "accepted"), ("end", 2, "CANCELLED"),
    ]  # fmt: skip
    assert lines(file)[2]["why"] == "it was read as live"


def test_nothing_secret_is_in_it(sandbox: Sandbox, cancel_all: Do, file: Path) -> None:
    sandbox.faults.add(faults.status(401), times=2)
    sandbox.faults.add(faults.status(502), times=2)
    with Journal(file) as journal:
        cancel_all(sandbox, [*place(sandbox, 6), (PAIR, "no-id")], journal=journal, timeout=1)
    account, text = sandbox.account, file.read_text()
    for secret in (account.api_key, account.api_secret, account.identity, "X-BITOPRO", "no-id"):
        assert secret.lower() not in text.lower()


# What is left


def leave_unknown(sandbox: Sandbox, file: Path, number: int) -> list[tuple[str, str]]:
    """Leave orders of unknown outcome in a journal."""
    orders = place(sandbox, number)
    sandbox.faults.add(faults.delay(before_ms=300), probability=1)
    with Journal(file) as journal, client_of(sandbox) as client:
        assert len(list(cancel_many(client, orders, journal=journal, timeout=0.15))) == number
    sandbox.faults.clear()
    time.sleep(0.4)  # until they have arrived
    return orders


def test_the_next_morning(sandbox: Sandbox, resolve_all: Do, file: Path) -> None:
    orders = leave_unknown(sandbox, file, 3)
    assert open_orders(file) == ids(orders)
    with Journal(file) as journal:
        errors = unresolved(journal)
        assert all(error.sent_ms and error.attempts == 1 for error in errors)
        seen = len(sandbox.journal)
        _, account = resolve_all(sandbox, errors, journal=journal)
        assert unresolved(journal) == []
    assert account.done == {State.CANCELLED: 3}
    assert {entry.call for entry in sandbox.journal[seen:]} == {"get_order"}
    assert open_orders(file) == set()


def test_a_key_that_may_not_read_settles_nothing(
    sandbox: Sandbox, resolve_all: Do, file: Path
) -> None:
    orders = leave_unknown(sandbox, file, 3)
    sandbox.faults.add(faults.status(401), times=3, call="get_order")
    with Journal(file) as journal:
        errors = unresolved(journal)
        _, account = resolve_all(sandbox, errors, journal=journal)
        assert account.counts == {"refused": 3}
        assert ids(orders) == {error.arguments["orderId"] for error in unresolved(journal)}
    assert open_orders(file) == ids(orders)
    with Journal(file) as journal:
        _, account = resolve_all(sandbox, unresolved(journal), journal=journal)
    assert account.done == {State.CANCELLED: 3}
    assert unresolved(file) == []


def test_what_the_exchange_says_may_be_no_text(
    sandbox: Sandbox, cancel_all: Do, file: Path
) -> None:
    def halved(answer: Answer) -> Answer:
        return Answer(answer.status, answer.body.replace(b"BUY", b"\\ud800"))

    orders = place(sandbox, 3)
    fault = Fault(name="halved", rewrite=halved)
    sandbox.faults.add(fault, probability=1, call="get_order")
    with Journal(file) as journal:
        ends, account = cancel_all(sandbox, orders, journal=journal)
    assert ids(orders) == {named(end) for end in ends}
    assert account.done == {State.CANCELLED: 3}
    assert unresolved(file) == []


def test_what_stays_unknown_stays_in_the_journal(
    sandbox: Sandbox, resolve_all: Do, resume_all: Do, file: Path
) -> None:
    orders = leave_unknown(sandbox, file, 2)
    sandbox.faults.add(faults.status(502), probability=1)
    with Journal(file) as journal:
        resolve_all(sandbox, unresolved(journal), journal=journal, timeout=0.1)
    assert open_orders(file) == ids(orders)
    with Journal(file) as journal:
        resume_all(sandbox, journal, timeout=0.1)
    assert open_orders(file) == ids(orders)
    sandbox.faults.clear()
    with Journal(file) as journal:
        _, account = resume_all(sandbox, journal)
    assert account.done == {State.CANCELLED: 2}
    assert open_orders(file) == set()


def test_resume_cancels_only_what_it_has_read_as_live(
    sandbox: Sandbox, resume_all: Do, file: Path
) -> None:
    orders = place(sandbox, 3)
    with Journal(file) as journal:
        for pair, order_id in orders:
            line = {
                "event": "cancel", "at_ms": 1, "call": order_id, "operation": "cancelOrder",
                "pair": pair, "order_id": order_id, "attempt": 1, "until_ms": 2, "why": "",
            }  # fmt: skip
            assert journal.put(line).result(5)
    sandbox.book.cancel(orders[0][1])
    sandbox.book.fill(orders[1][1])
    with Journal(file) as journal:
        ends, _ = resume_all(sandbox, journal)
    told = {named(end): (end.state, end.attempts) for end in ends}
    assert told == {
        orders[0][1]: (State.CANCELLED, 1),
        orders[1][1]: (State.FILLED, 1),
        orders[2][1]: (State.CANCELLED, 2),
    }
    assert [cancels_of(sandbox, each) for _, each in orders] == [0, 0, 1]
    about_last = [e.call for e in sandbox.journal if e.path.endswith(orders[2][1])]
    assert about_last[:2] == ["get_order", "cancel_order"]
    assert open_orders(file) == set()


def test_an_order_told_as_open_is_settled_for_its_own_cancel_alone(
    cancel_all: Do, file: Path
) -> None:
    with exchange() as sandbox:
        (order,) = place(sandbox, 1)
        sandbox.book.lock(order[1])
        with Journal(file) as journal:
            with limited_client_of(sandbox, timing=HASTY, timeout=5 * HASTE) as client:
                ends, _ = cancel_all(sandbox, [order], client=client, timeout=60, journal=journal)
            assert [getattr(end, "state", end) for end in ends] == [State.OPEN]
            assert unresolved(journal) == []
            lost = {**lines(file)[0], "call": "lost"}
            journal.put(lost)
            journal.put({**lines(file)[-1], "call": "another"})
            assert len(unresolved(journal)) == 1, "the lost one may still arrive"


def test_resolve_many_takes_what_a_cancelled_task_raises(
    sandbox: Sandbox, resolve_all: Do, file: Path
) -> None:
    orders = place(sandbox, 4)

    async def cut() -> OutcomeUnknownError:
        async def work() -> None:
            async with client_of(sandbox) as client:
                async for _ in cancel_many_async(client, orders):
                    pass

        task = asyncio.create_task(work())
        await until_async(lambda: not any(sandbox.book.get(i).status.is_live for _, i in orders))
        task.cancel()
        with pytest.raises(OutcomeUnknownError) as caught:
            await task
        return caught.value

    sandbox.faults.add(faults.delay(before_ms=3000), probability=1, call="get_order")
    error = asyncio.run(cut())
    sandbox.faults.clear()
    _, account = resolve_all(sandbox, [error])
    assert account.done == {State.CANCELLED: 4}


@pytest.mark.parametrize("bad", [None, "x", NotSentError("x"), OutcomeUnknownError("x")], ids=repr)
def test_what_is_no_error_about_an_order_is_told(
    sandbox: Sandbox, resolve_all: Do, bad: object
) -> None:
    ends, _ = resolve_all(sandbox, [bad])
    assert [type(end) for end in ends] == [InvalidArgumentError]


# Killed, torn, full, twice


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_and_resumed(sandbox: Sandbox, file: Path, seed: int) -> None:
    dice = random.Random(seed)
    at_once = (4, 40)[seed % 2]  # of 40, most leave in a batch
    orders = place(sandbox, 40)
    sandbox.faults.add(faults.drop_answer(), probability=0.1, seed=seed, method="DELETE")
    sandbox.faults.add(faults.drop_answer(), probability=0.3, seed=seed, method="PUT")
    sandbox.faults.add(faults.delay(after_ms=20), probability=0.3, seed=seed)
    account = sandbox.account
    command = [
        sys.executable, "-m", "tests.many.killed", sandbox.base_url, account.api_key,
        account.api_secret, account.identity, str(file), str(at_once),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write("\n".join(order_id for _, order_id in orders))
    process.stdin.close()
    enough = dice.randrange(1, (60, 20)[seed % 2])
    until(lambda: len(sandbox.journal) >= enough, 20)
    time.sleep(dice.random() / 50)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    told = set(process.stdout.read().split())
    process.stdout.close()
    time.sleep(0.05)  # for what has left
    sandbox.faults.clear()
    begun = {each for each in ids(orders) if not sandbox.book.get(each).status.is_live}
    assert begun <= {line["order_id"] for line in whole_lines(file)}, "nothing left unwritten"
    left = open_orders(file)
    with Journal(file) as journal, client_of(sandbox) as client:
        ends = list(resume(client, journal))
        assert unresolved(journal) == []
    assert {named(end) for end in ends} == left
    assert begun <= told | left | {line["order_id"] for line in lines_of(file, "end")}
    for order_id in begun | left:
        assert not sandbox.book.get(order_id).status.is_live
        calls = [e for e in sandbox.journal if e.path.endswith(f"/{order_id}")]
        deletes = [i for i, entry in enumerate(calls) if entry.call == "cancel_order"]
        for first, second in itertools.pairwise(deletes):
            between = calls[first + 1 : second]
            assert any(entry.call == "get_order" for entry in between), "it was read before"


def whole_lines(file: Path) -> list[dict[str, Any]]:
    return [
        json.loads(text)
        for text in file.read_bytes().splitlines(keepends=True)
        if text.endswith(b"\n")
    ]


def lines_of(file: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in whole_lines(file) if line["event"] == event]


def test_a_journal_torn_at_any_byte_says_what_its_whole_lines_say(
    sandbox: Sandbox, file: Path
) -> None:
    sandbox.faults.add(faults.drop_answer(), times=1)
    with Journal(file) as journal, client_of(sandbox) as client:
        assert len(list(cancel_many(client, place(sandbox, 2), journal=journal))) == 2
    data, torn = file.read_bytes(), file.with_name("torn")
    at_line: set[str] = set()
    for size in range(len(data) + 1):
        torn.write_bytes(data[:size])
        if data[:size].endswith(b"\n"):
            at_line = open_orders(torn)
        assert open_orders(torn) == at_line
        with Journal(torn) as journal:
            journal.put({"event": "cancel", "arguments": {}})
        assert open_orders(torn) == at_line, "what comes after it completes no line"


def test_a_torn_line_does_not_spoil_the_next(sandbox: Sandbox, cancel_all: Do, file: Path) -> None:
    file.write_bytes(b'{"v":1,"event":"canc')
    orders = place(sandbox, 2)
    with Journal(file) as journal:
        cancel_all(sandbox, orders, journal=journal)
    torn, *rest = file.read_bytes().splitlines()
    assert torn.startswith(b'{"v":1,"event":"canc')
    assert {json.loads(line)["order_id"] for line in rest} == ids(orders)
    assert unresolved(file) == []


def test_a_line_whose_time_is_no_number_holds_nobody_up(
    sandbox: Sandbox, resume_all: Do, file: Path
) -> None:
    ((pair, order_id),) = place(sandbox, 1)
    known = {"v": 1, "event": "cancel", "call": "1", "pair": pair, "order_id": order_id}
    text = json.dumps(known | {"attempt": 1, "until_ms": 1e300}).replace("1e+300", "1e999")
    file.write_text(text + "\n")
    sandbox.faults.add(faults.status(503), call="get_order", probability=1)
    with Journal(file) as journal:
        ends, _ = resume_all(sandbox, journal, timeout=0.5)
    assert [type(end) for end in ends] == [OutcomeUnknownError]


@pytest.mark.parametrize("line", [b'{"v":1}', b'{"v":1,"event":"end"}', b'{"v":1,"ev', b"", b"\n7"])
def test_a_line_that_says_nothing_is_passed_over(file: Path, line: bytes) -> None:
    file.write_bytes(line + b'\n{"v":1}\n' * (line == b"\n7") + b"\n")
    assert unresolved(file) == []
    Journal(file).close()


@pytest.mark.parametrize(
    "text", [b"[]\n", b"pair,id\nBTC_TWD,1\n", b"root:x:0\n\n7\n", b"BTC_TWD,1"]
)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    with pytest.raises(InvalidArgumentError, match="no line of this file is one of a journal"):
        unresolved(file)
    with pytest.raises(InvalidArgumentError, match="no line of this file is one of a journal"):
        Journal(file)
    assert file.read_bytes() == text


def test_a_journal_of_another_version_is_refused(file: Path) -> None:
    file.write_bytes(b'{"v":2}\n')
    with pytest.raises(InvalidArgumentError, match="version 1"):
        unresolved(file)
    with pytest.raises(InvalidArgumentError, match="version 1"):
        Journal(file)


def test_on_a_full_disk_the_cancels_go_out_with_a_warning(
    sandbox: Sandbox, cancel_all: Do, caplog: pytest.LogCaptureFixture
) -> None:
    orders = place(sandbox, 3)
    with Journal("/dev/full") as journal:
        _, account = cancel_all(sandbox, orders, journal=journal)
        assert "No space left" in str(journal.problem)
    assert account.done == {State.CANCELLED: 3}
    assert caplog.text.count("the journal cannot be written") == 1


def test_what_found_no_room_is_written_when_there_is_some(
    sandbox: Sandbox, cancel_all: Do, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    orders = place(sandbox, 6)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(file) as journal:
        try:
            # In the middle of a line.
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
            _, account = cancel_all(sandbox, orders[:3], journal=journal)
            problems = [journal.problem]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert account.done == {State.CANCELLED: 3}
        cancel_all(sandbox, orders[3:], journal=journal)
        problems.append(journal.problem)
    assert "File too large" in str(problems[0])
    assert problems[1] is None
    found = []
    for text in file.read_bytes().splitlines():
        try:
            found.append(json.loads(text)["order_id"])
        except ValueError:
            assert file.read_bytes().find(text) < 300
    assert set(found) == ids(orders)
    assert unresolved(file) == []
    assert "the journal cannot be written" in caplog.text


def test_on_a_slow_disk_the_cancels_go_out_with_a_warning(
    sandbox: Sandbox,
    cancel_all: Do,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: time.sleep(0.1))
    monkeypatch.setattr("bitopro_orders.run.PATIENCE_SECONDS", 0.02)
    with Journal(file) as journal:
        _, account = cancel_all(sandbox, place(sandbox, 2), journal=journal)
    assert account.done == {State.CANCELLED: 2}
    assert "the journal is slow" in caplog.text
    assert unresolved(file) == []


def test_many_decisions_are_written_together(
    sandbox: Sandbox, cancel_all: Do, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, fsync = [0], os.fsync

    def counted(descriptor: int) -> None:
        count[0] += 1
        time.sleep(0.02)
        fsync(descriptor)

    with Journal(file) as journal:
        monkeypatch.setattr(os, "fsync", counted)
        cancel_all(sandbox, place(sandbox, 50), journal=journal)
    assert len(lines(file)) == 150
    assert count[0] < 75


async def test_a_slow_disk_does_not_hold_up_the_loop(
    sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(file) as journal:
        monkeypatch.setattr(os, "fsync", lambda _: time.sleep(0.3))
        longest, running = 0.0, True

        async def tick() -> None:
            nonlocal longest
            while running:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)

        ticking = asyncio.create_task(tick())
        async with client_of(sandbox) as client:
            async for _ in cancel_many_async(client, place(sandbox, 3), journal=journal):
                pass
        running = False
        await ticking
    assert longest < 0.25


def test_one_process_at_a_time_has_it_open(file: Path) -> None:
    program = "import sys; from bitopro_orders import Journal; Journal(sys.argv[1]).close()"
    command = [sys.executable, "-c", program, str(file)]
    with Journal(file) as journal:
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "InvalidArgumentError: journal must be a file that nobody else" in second.stderr
        with pytest.raises(InvalidArgumentError, match="nobody else has open"):
            Journal(file)
        assert unresolved(file) == unresolved(journal) == [], "who reads it needs no lock"
    subprocess.run(command, check=True)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_lock(file: Path) -> None:
    ready, go = os.pipe(), os.pipe()
    journal = Journal(file)
    child = os.fork()
    if not child:
        os.write(ready[1], b"%d" % journal.is_open)
        os.read(go[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 1) == b"0"
        journal.close()
        Journal(file).close()
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)
        for each in (*ready, *go):
            os.close(each)


def test_what_cannot_be_opened_is_refused_before_anything_is_sent(
    sandbox: Sandbox, tmp_path: Path, file: Path
) -> None:
    for path in (tmp_path, tmp_path / "no" / "folder", tmp_path / "null\0byte"):
        with pytest.raises(InvalidArgumentError, match="journal"):
            Journal(path)
        with pytest.raises(InvalidArgumentError, match="journal"):
            unresolved(path)
    with client_of(sandbox) as client:
        with pytest.raises(InvalidArgumentError, match="journal must be a Journal"):
            cancel_many(client, [], journal=str(file))  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="journal must be a Journal"):
            resume(client, file)  # type: ignore[arg-type]
        closed = Journal(file)
        closed.close()
        for call in (cancel_many, cancel_many_async, resolve_many, resolve_many_async):
            with pytest.raises(InvalidArgumentError, match="journal must be open"):
                call(client, [], journal=closed)
        with pytest.raises(InvalidArgumentError, match="journal must be open"):
            resume(client, closed)
    assert not sandbox.journal


def test_a_journal_closed_too_early_is_told_of_and_costs_no_order(
    sandbox: Sandbox, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(sandbox) as client:
        with Journal(file) as journal:
            many = cancel_many(client, place(sandbox, 2), journal=journal)
        assert [str(end.state) for end in many if isinstance(end, CancelOutcome)] == [
            "cancelled"
        ] * 2
    assert journal.problem == "it is closed"
    assert caplog.text.count("the journal cannot be written (it is closed)") == 1


def test_an_end_that_the_journal_cannot_take_is_told_all_the_same(
    sandbox: Sandbox,
    cancel_all: Do,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    orders = place(sandbox, 3)
    with Journal(file) as journal:

        def put(line: dict[str, Any], put: Any = journal.put) -> Any:
            if line["event"] == "end":
                raise ValueError("no line")
            return put(line)

        monkeypatch.setattr(journal, "put", put)
        ends, account = cancel_all(sandbox, orders, journal=journal)
    assert [end.state for end in ends] == [State.CANCELLED] * 3
    assert (account.taken, account.under_way) == (3, 0)
    assert "no line" in caplog.text
    assert len(unresolved(file)) == 3


def test_ctrl_c_leaves_a_journal_that_knows_what_is_out(sandbox: Sandbox, file: Path) -> None:
    orders = place(sandbox, 30)
    sandbox.faults.add(faults.delay(before_ms=2000), probability=1, call="get_order")
    with Journal(file) as journal, client_of(sandbox) as client:
        with cancel_many(client, orders, journal=journal) as many:
            iterator = iter(many)

            def press(*_: object) -> None:
                raise KeyboardInterrupt

            before = signal.signal(signal.SIGALRM, press)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            try:
                with pytest.raises(KeyboardInterrupt):
                    next(iterator)
            finally:
                signal.signal(signal.SIGALRM, before)
        unknown = {named(error) for error in many.account.unknown}
        assert {named(error) for error in unresolved(journal)} == unknown
        assert unknown
    sandbox.faults.clear()
    with Journal(file) as journal, client_of(sandbox) as client:
        assert {named(end) for end in resume(client, journal)} == unknown


def test_a_cancel_that_never_left_is_not_unresolved(cancel_all: Do, file: Path) -> None:
    with exchange() as sandbox:
        client = client_of(sandbox, timing=Timing())
    with Journal(file) as journal:
        cancel_all(sandbox, [(PAIR, "1")], client=client, timeout=0.2, journal=journal)
    assert [line["event"] for line in lines(file)] == ["cancel", "answer", "end"]
    assert lines(file)[-1]["outcome"] == "not sent"
    assert unresolved(file) == []
