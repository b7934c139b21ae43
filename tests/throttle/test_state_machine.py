"""Whatever processes, clocks and stores do: the limits hold, and nobody is kept from what is left.

A state machine drives real processes against a sandbox. Its oracle is the sandbox's journal of what
arrived, and what each call said of itself; it knows nothing of the throttle's inside.
"""

import math
import os
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from attrs import define, field
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.types import RateLimit
from bitopro_orders import SendingPolicy
from bitopro_sandbox import Account, Sandbox, Settings, faults, serve
from bitopro_sandbox.journal import Entry, fingerprint
from tests.throttle.machine import PAIR, SHORT, Pool, Redis, Stalls, Worker

#: A call may end so much later than its deadline: the machine has other work too.
GRACE_MS = 500
#: A store that failed is left alone for two seconds; then everybody asks it again.
STORE_PAUSE_MS = 2500
#: A capacity is left unused, and somebody starves, only if it lasts so long.
LASTS_MS = 1000
#: A refusal lets all wait as long as the exchange says (here a second), or for a backoff.
COOL_DOWN_MS = 2500
#: What is counted arrives so much later: meanwhile the others are told that there is no room.
TRAVEL_MS = 100
#: So many requests may be lost between the count and the wire, when their process is killed.
LOST_BY_A_KILL = 2
#: Which part of the spec's limits counts, where those are used: 30 cancels and 20 readings.
SHARE = 1 / 30
SPEC = {"cancel": cancel_order.OPERATION.rate_limit, "read": get_order.OPERATION.rate_limit}
MANY = 1_000_000

FAULTS = {
    "slow to begin": faults.delay(before_ms=350),
    "slow to answer": faults.delay(after_ms=150),
    "slower to answer": faults.delay(after_ms=500),
    "drop": faults.drop(),
    "reset": faults.drop(reset=True),
    "drop_answer": faults.drop_answer(),
    "truncate": faults.truncate(),
    "close": faults.close_after_answer(),
    "empty": faults.empty_object(),
    "408": faults.status(408),
    "409": faults.status(409),
    "429": faults.status(429, headers={"Retry-After": "1"}),
    "429 without a time": faults.status(429),
    "500": faults.status(500, processed=True),
    "502": faults.status(502, html=True),
}


@define(eq=False)
class Call:
    """One call, as it was ordered and as it ended.

    Attributes:
        order_id: Only this call names it.
        kind: "cancel", "read" or "confirm".
        worker: Which life of which process was told to make it.
        account: Whose key.
        egress: What its client says of its address.
        deadline_ms: How long it may take.
        may_vanish: Whether its process was killed, so that it need not end.
        end: What it said of itself.
    """

    order_id: str
    kind: str
    worker: int
    account: int
    egress: str
    deadline_ms: float
    how: str
    may_vanish: bool = False
    end: dict[str, Any] | None = None


@define
class Report:
    """What all examples did and found; soak prints it."""

    counts: Counter[str] = field(factory=Counter)
    outcomes: Counter[str] = field(factory=Counter)
    violations: list[str] = field(factory=list)


@define(eq=False)
class Life:
    """A process while it lives, with its clients by number."""

    number: int
    worker: Worker
    clients: dict[int, tuple[int, str]] = field(factory=dict)
    opened: int = 0


class Throttled(RuleBasedStateMachine):
    """Drives the processes; a subclass says what they share."""

    kind: ClassVar[str]
    pool: ClassVar[Pool]
    folder: ClassVar[Path]
    redis: ClassVar[Redis | None] = None
    report: ClassVar[Report]

    # What happens

    @initialize(
        processes=st.integers(1, 3),
        short=st.sampled_from([True, True, False]),
        deadline=st.sampled_from([1.0, 2.0]),
        in_flight=st.sampled_from([1, 1, 1, 4]),
        has_egresses=st.booleans(),
    )
    def begin(
        self, processes: int, short: bool, deadline: float, in_flight: int, has_egresses: bool
    ) -> None:
        self._began = time.time() * 1000
        self._log: list[str] = []
        self._lock = threading.RLock()
        self._calls: dict[str, Call] = {}
        self._stalls: list[tuple[float, float]] = []
        self._failures: list[list[float]] = []  # of the store: from, until, restarts empty
        self._kills: list[float] = []
        self._first_call: dict[int, float] = {}
        self._clock_steps: list[float] = []
        self._early_faults: list[float] = []
        self._lives: list[Life] = []
        self._numbers = 0
        self._limits = SHORT if short else SPEC
        self._short = short
        self._policy = {
            "deadline_seconds": deadline,
            "in_flight": in_flight,
            "limit_share": 1.0 if short else SHARE,
        }
        self._egresses = ["one", "two"] if has_egresses else [""]
        self._stalled = Stalls(self._note_stall)
        self._stalled.start()
        self._shared: str | None = None
        if self.kind == "folder":
            self._shared = str(self.folder / os.urandom(4).hex())
        elif self.redis is not None:
            self._repair()
            self._failures.clear()
            self._shared = self.redis.url
        accounts = tuple(
            Account(os.urandom(8).hex(), os.urandom(8).hex(), f"{number}@example.com")
            for number in range(8 if self.kind == "memory" else 2)
        )
        self._serving = serve(
            Settings(
                accounts=accounts,
                requests_per_minute=MANY,
                general_requests_per_minute=MANY,
                second_cancel=200,
            )
        )
        self._sandbox: Sandbox = self._serving.__enter__()
        self._note(f"begin: {processes} {self._shared} {self._policy} short={short}")
        for _ in range(1 if self.kind == "memory" else processes):
            self._new_life()
        self.report.counts["examples"] += 1

    which = st.integers(0, 5)

    @rule(
        process=which,
        client=which,
        count=st.integers(1, 8),
        how=st.sampled_from(["threads", "threads", "tasks", "fork"]),
        kind=st.sampled_from(["cancel", "cancel", "cancel", "read", "confirm"]),
    )
    def calls(self, process: int, client: int, count: int, how: str, kind: str) -> None:
        self._call(self._life(process), client, count, how, kind)

    @rule(client=which, count=st.integers(4, 10))
    def all_at_once(self, client: int, count: int) -> None:
        for life in list(self._lives):
            self._call(life, client, count, "threads", "cancel")

    @rule(process=which, client=which)
    def another_client(self, process: int, client: int) -> None:
        life = self._life(process)
        if life.clients and len(life.clients) > 2:
            number = sorted(life.clients)[client % len(life.clients)]
            del life.clients[number]
            life.worker.tell("close", client=str(number))
        self._open(life)

    @rule(process=which)
    def kill(self, process: int) -> None:
        if self.kind == "memory":  # what it has counted would be gone with it
            return
        life = self._life(process)
        life.worker.kill()
        self._kills.append(time.time() * 1000)
        self._note(f"kill {life.number}")
        self.report.counts["kills"] += 1
        with self._lock:
            for call in self._calls.values():
                # A child that was not forked yet never will be.
                call.may_vanish |= call.worker == life.number and call.end is None
        self._lives.remove(life)
        self.pool.give(life.worker) if not self._children_of(life) else self._graves.append(life)
        self._new_life()

    @rule(
        process=which, offset_ms=st.sampled_from([0, 0, 2_000, -2_000, 30_000, -300_000, 300_000])
    )
    def step_clock(self, process: int, offset_ms: int) -> None:
        life = self._life(process)
        self._clock_steps.append(time.time() * 1000)
        self._note(f"clock {life.number} {offset_ms:+d}")
        self.report.counts["clock steps"] += 1
        life.worker.tell("clock", offset_ms=offset_ms)

    @rule(name=st.sampled_from(sorted(FAULTS)), times=st.integers(1, 3))
    def misbehave(self, name: str, times: int) -> None:
        self._note(f"fault {name} x{times}")
        self.report.counts["faults"] += times
        if "slow to begin" in name:
            self._early_faults.append(time.time() * 1000)
        self._sandbox.faults.add(FAULTS[name], times=times)

    @precondition(lambda self: self.redis is not None and self.redis.state == "up")
    @rule(how=st.sampled_from(["stop", "kill"]))
    def break_redis(self, how: str) -> None:
        assert self.redis is not None
        self._note(f"redis {how}")
        self.report.counts["store failures"] += 1
        self._failures.append([time.time() * 1000, math.inf, float(how == "kill")])
        self.redis.stop() if how == "stop" else self.redis.kill()

    @precondition(lambda self: self.redis is not None and self.redis.state != "up")
    @rule()
    def mend_redis(self) -> None:
        self._repair()

    @rule(seconds=st.sampled_from([0.05, 0.2, 0.5]))
    def time_passes(self, seconds: float) -> None:
        time.sleep(seconds)

    @rule()
    def settle(self) -> None:
        """Wait until every call has ended, or should have."""
        deadline_ms = self._policy["deadline_seconds"] * 1000
        give_up = time.monotonic() + (deadline_ms + 2 * GRACE_MS) / 1000 + 3
        while time.monotonic() < give_up:
            with self._lock:
                if all(each.end or each.may_vanish for each in self._calls.values()):
                    return
            time.sleep(0.01)

    # How it is done

    @property
    def _graves(self) -> list[Life]:
        if not hasattr(self, "_buried"):
            self._buried: list[Life] = []
        return self._buried

    def _children_of(self, life: Life) -> bool:
        with self._lock:
            return any(
                call.how == "fork" and call.worker == life.number and call.end is None
                for call in self._calls.values()
            )

    @staticmethod
    def _now() -> float:
        return time.time() * 1000

    def _note(self, text: str) -> None:
        self._log.append(f"{self._now() - self._began:7.0f} {text}")

    def _note_stall(self, at: float, late: float) -> None:
        self._stalls.append((at, late))

    def _life(self, process: int) -> Life:
        return self._lives[process % len(self._lives)]

    def _new_life(self) -> None:
        life = Life(self._numbers, self.pool.take(self._hear))
        self._numbers += 1
        self._lives.append(life)
        self._open(life)

    def _open(self, life: Life, **policy: Any) -> int:
        number = life.opened
        life.opened += 1
        account = number % len(self._sandbox.accounts) if self.kind != "memory" else 0
        egress = self._egresses[number // 2 % len(self._egresses)]
        owner = self._sandbox.accounts[account]
        life.clients[number] = account, egress
        life.worker.tell(
            "open",
            client=str(number),
            credentials=[owner.api_key, owner.api_secret, owner.identity],
            policy={**self._policy, **policy},
            base_url=self._sandbox.base_url,
            shared=self._shared,
            egress=egress,
        )
        return number

    def _call(
        self,
        life: Life,
        client: int,
        count: int,
        how: str,
        kind: str,
        deadline: float | None = None,
    ) -> list[Call]:
        if how == "fork" and self.kind == "memory":  # a child counts for itself there
            how = "tasks"
        number = sorted(life.clients)[client % len(life.clients)]
        account, egress = life.clients[number]
        deadline = deadline or self._policy["deadline_seconds"]
        if how == "fork":
            self._numbers += 1
            self.report.counts["forks"] += 1
            self._first_call.setdefault(-self._numbers, self._now())
        self._first_call.setdefault(life.number, self._now())
        ordered = []
        for _ in range(count):
            order = self._sandbox.book.place(PAIR, "BUY", amount="1", price="1000")
            ordered.append(Call(order.id, kind, life.number, account, egress, deadline * 1000, how))
        with self._lock:
            self._calls.update({each.order_id: each for each in ordered})
        self._note(f"{life.number}: {count} {kind} by {how}, key {account} {egress}")
        self.report.counts["calls"] += count * (how != "one by one")
        life.worker.tell(
            "call",
            client=str(number),
            how=how,
            kind=kind,
            short=self._short and kind != "confirm",
            deadline=deadline,
            ids=[each.order_id for each in ordered],
        )
        return ordered

    def _hear(self, line: dict[str, Any]) -> None:
        with self._lock:
            if "call" in line and line["call"] in self._calls:
                self._calls[line["call"]].end = line
            elif "stall" in line:
                self._note_stall(line["at"], line["stall"])
            elif "warning" in line:
                self._note(f"warning: {line['warning']}")
                if "store failed" in line["warning"] and not self._is_failed(line["at"]):
                    self.report.counts["store failures nobody asked for"] += 1
                    self._failures.append([line["at"] - 1000, line["at"], 0])

    def _repair(self) -> None:
        if self.redis is None or self.redis.state == "up":
            return
        if self.redis.state == "stopped":
            self.redis.go_on()
        else:
            self.redis.start()
        for each in self._failures:
            each[1] = min(each[1], self._now())
        if hasattr(self, "_log"):
            self._note("redis is mended")

    # The oracle

    def teardown(self) -> None:
        if not hasattr(self, "_sandbox"):
            return
        try:
            self.settle()
            self._repair()
            self._use_up_what_is_left()
            found = Oracle(self).violations()
            if found:
                text = "\n".join([*found, *self._log, *self._recent()])
                self.report.violations.append(text)
                raise AssertionError(text)
        finally:
            self._end()

    def _recent(self) -> Iterator[str]:
        ids = {entry.path.rsplit("/", 1)[-1] for entry in self._sandbox.journal}
        for entry in self._sandbox.journal:
            order_id = entry.path.rsplit("/", 1)[-1]
            call = self._calls[order_id]
            yield (
                f"{entry.at_ms - self._began:7.0f} {entry.method} {order_id} of {call.worker} key "
                f"{call.account} {call.egress} nonce {entry.nonce} {entry.fault} {entry.status}"
            )
        for call in self._calls.values():
            end = call.end
            if end is not None and call.order_id not in ids and end["outcome"] != "never tried":
                yield f"never arrived: {end['started'] - self._began:.0f} {end}"
        yield f"stalls: {[(round(at - self._began), round(ms)) for at, ms in self._stalls]}"

    def _use_up_what_is_left(self) -> None:
        """Let a new client send until the limit is used up: it finds what nobody has used."""
        self._sandbox.faults.clear()
        length = _length_ms(self._limits["cancel"])
        last = max((e.at_ms for e in self._sandbox.journal if e.status == 429), default=0)
        ready: float = last + COOL_DOWN_MS
        if self._failures and self._short:
            ready = max(ready, *(each[1] for each in self._failures)) + STORE_PAUSE_MS + length
        time.sleep(max(0, ready - self._now()) / 1000)
        life = self._lives[0]
        number = self._open(life, deadline_seconds=0.4)
        most = self._most("cancel") + 5
        place = sorted(life.clients).index(number)
        self._probe = self._call(life, place, most, "one by one", "cancel", 0.4)
        self._probe_began = self._now()
        give_up = time.monotonic() + 15
        while time.monotonic() < give_up and not all(each.end for each in self._probe):
            time.sleep(0.01)

    def _most(self, kind: str) -> int:
        limit = self._limits[kind]
        return limit.requests if self._short else max(1, int(limit.requests * SHARE))

    def _is_failed(self, at: float, before: float = 0) -> bool:
        return any(
            begins <= at and at - before <= until + STORE_PAUSE_MS
            for begins, until, _ in self._failures
        )

    def _end(self) -> None:
        self._stalled.end()
        for life in self._lives:
            self.pool.give(life.worker)
        for life in self._graves:
            life.worker.close()
        self._serving.__exit__(None, None, None)
        if self.kind == "folder" and self._shared is not None:
            shutil.rmtree(self._shared, ignore_errors=True)


def _length_ms(limit: RateLimit) -> float:
    """How long a request counts, as documented: the period and a slack for unequal travel."""
    return (limit.period_seconds + min(1.0, limit.period_seconds / 20)) * 1000


class Oracle:
    """Judges what arrived, and what the calls said."""

    def __init__(self, machine: Throttled) -> None:
        self._m = machine
        self._entries = list(machine._sandbox.journal)
        self._by_call: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._entries:
            self._by_call[entry.path.rsplit("/", 1)[-1]].append(entry)
        self._found: list[str] = []

    def violations(self) -> list[str]:
        counts = self._m.report.counts
        counts["arrivals"] += len(self._entries)
        for call in list(self._m._calls.values()):
            self._outcome(call)
        for kind in ("cancel", "read"):
            for who, counted in self._counters(kind).items():
                self._windows(kind, who, counted)
        self._nonces()
        self._nobody_starves()
        self._all_is_used_up()
        return self._found

    def _say(self, text: str) -> None:
        self._found.append(f"VIOLATION: {text}")

    def _at(self, at: float) -> float:
        return round(at - self._m._began)

    # Whom a request counts for

    def _counters(self, kind: str) -> dict[str, list[float]]:
        """Return when what counts arrived, by whom it counts for."""
        found: dict[str, list[float]] = defaultdict(list)
        method = "DELETE" if kind == "cancel" else "GET"
        for order_id, entries in self._by_call.items():
            call = self._m._calls[order_id]
            if call.kind == "confirm" and self._m._short:
                continue  # it goes by the spec's own limits, which nothing here reaches
            for name in self._names(call):
                found[name] += [entry.at_ms for entry in entries if entry.method == method]
        return {name: sorted(found[name]) for name in found}

    def _names(self, call: Call) -> tuple[str, str]:
        own = f" of process {call.worker}" if self._m.kind == "memory" else ""
        return f"account {call.account}{own}", f"address {call.egress!r}{own}"

    def _late(self, begins: float, ends: float) -> float:
        """Return for how many milliseconds a process did not run then."""
        return max(
            (late for at, late in self._m._stalls if begins <= at and at - late <= ends), default=0
        )

    def _is_loose(self, begins: float, ends: float, after: float = 0) -> bool:
        return any(
            each[0] <= ends and begins <= each[1] + STORE_PAUSE_MS + after
            for each in self._m._failures
        )

    # 1. Never more than N in any window

    def _windows(self, kind: str, who: str, counted: list[float]) -> None:
        limit, most = self._m._limits[kind], self._m._most(kind)
        period = limit.period_seconds * 1000
        slack = _length_ms(limit) - period
        oldest = 0
        for place, at in enumerate(counted):
            # What a process was late by, its requests travelled longer than others.
            late = max(0, self._late(at - period, at) - slack)
            while counted[oldest] <= at - period + late:
                oldest += 1
            here = place + 1 - oldest
            allowed = most + self._extra(most, at - period, at)
            self._m.report.counts["windows"] += 1
            if here > allowed:
                self._say(
                    f"{here} {kind} of {allowed} for {who} within {period} ms until {self._at(at)}"
                )
                return

    def _extra(self, most: int, begins: float, ends: float) -> float:
        """Return how many more are documented while the store is away.

        Each member goes on with its share of the limit, divided by the members seen last: it does
        not learn what the others have sent since. Who never saw the store knows of nobody; and one
        that begins empty learns of each member's requests when that member asks again.
        """
        period = ends - begins
        failures = [
            each
            for each in self._m._failures
            if each[0] <= ends and begins <= each[1] + STORE_PAUSE_MS + period
        ]
        if not failures:
            return 0
        members = len(self._m._first_call)
        born = self._born(failures)
        emptied = sum(each[2] for each in failures)
        return most * ((members - 1) / members + born + emptied)

    def _born(self, failures: list[list[float]]) -> int:
        """Return how many processes began while the store was away."""
        return sum(
            any(each[0] - 500 <= at <= each[1] + STORE_PAUSE_MS for each in failures)
            for at in self._m._first_call.values()
        )

    # 2. Nothing is counted that did not arrive or could not have

    def _all_is_used_up(self) -> None:
        probe = self._m._probe
        refused = [each for each in probe if (each.end or {}).get("outcome") == "NotSentError"]
        if any(each.end is None for each in probe):
            self._say("the last client did not come to an end")
            return
        self._m.report.counts["probes"] += 1
        if not refused:
            return  # then the windows tell
        end = cast("dict[str, Any]", refused[0].end)
        at = end["started"] + refused[0].deadline_ms
        until = end["started"] + end["seconds"] * 1000
        length, most = _length_ms(self._m._limits["cancel"]), self._m._most("cancel")
        begins = at - length
        if self._late(end["started"], until) > 100 or self._is_loose(begins, until):
            return
        if not self._is_full("cancel", refused[0], begins - 50, until):
            self._say(
                f"a quiet limit of {most} left no room at {self._at(end['started'])}: {end['text']}"
            )

    def _is_full(self, kind: str, call: Call, begins: float, ends: float) -> bool:
        lost = LOST_BY_A_KILL * sum(begins <= at <= ends for at in self._m._kills)
        lost += self._never_arrived(begins, ends)
        counters = self._counters(kind)
        arrived_by = ends + TRAVEL_MS + self._late(ends, ends + TRAVEL_MS)
        return any(
            sum(begins <= at <= arrived_by for at in counters.get(who, [])) + lost
            >= self._m._most(kind)
            for who in self._names(call)
        )

    def _never_arrived(self, begins: float, ends: float) -> int:
        """Return how many requests left and were lost, such as on a connection that just ended."""
        return sum(
            max(0, (end["attempts"] or 0) - len(self._by_call.get(call.order_id, ())))
            for call in self._m._calls.values()
            if (end := call.end) is not None
            and call.kind != "confirm"
            and end.get("attempts") is not None
            and begins - call.deadline_ms <= end["started"] <= ends
        )

    # 3. Nonces

    def _nonces(self) -> None:
        by_key: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._entries:
            by_key[entry.key_fingerprint or ""].append(entry)
        for entries in by_key.values():
            seen: dict[int, Entry] = {}
            highest = 0
            for entry in entries:
                nonce = entry.nonce or 0
                if nonce in seen and seen[nonce].status == 409:
                    # It was refused, and has not counted: a correction may come to it again.
                    self._m.report.counts["refused nonces sent again"] += 1
                elif (
                    nonce in seen
                    and self._is_loose(entry.at_ms, entry.at_ms)
                    and self._born(self._m._failures)
                ):
                    # Who never saw the store draws where its nonces lie, and draws again.
                    self._m.report.counts["nonces drawn by two"] += 1
                elif nonce in seen and entry.status == 409 and self._is_corrected(entry.at_ms):
                    # A correction went back to what is known to be used, with more under way.
                    self._m.report.counts["nonces given again by a correction"] += 1
                elif nonce in seen and not self._is_amnesia(entry.at_ms):
                    self._say(
                        f"nonce {nonce} twice: {self._at(seen[nonce].at_ms)} and "
                        f"{self._at(entry.at_ms)}"
                    )
                seen[nonce] = entry
                self._m.report.counts["nonces"] += 1
                if nonce < highest:
                    self._m.report.counts["nonces out of order"] += 1
                    if not self._is_explained(entry.at_ms):
                        self._say(f"nonce {nonce} after {highest} at {self._at(entry.at_ms)}")
                highest = max(highest, nonce)
                if entry.status == 409 and entry.fault != "status_409":
                    self._m.report.counts["409s"] += 1
                    begun_late = any(at <= entry.at_ms for at in self._m._early_faults)
                    if not begun_late and not self._is_explained(entry.at_ms):
                        self._say(f"409 to nonce {nonce} at {self._at(entry.at_ms)}")

    def _is_corrected(self, at: float) -> bool:
        return any(step <= at for step in self._m._clock_steps)

    def _is_amnesia(self, at: float) -> bool:
        """Say whether whoever sent nonces ahead of time was killed, and the store is a new one."""
        return (
            self._is_corrected(at)
            and any(killed <= at for killed in self._m._kills)
            and any(each[2] and each[0] <= at for each in self._m._failures)
        )

    def _is_explained(self, at: float) -> bool:
        gap = min(
            limit.period_seconds * 1000 / limit.requests for limit in self._m._limits.values()
        )
        return (
            self._is_corrected(at)
            or self._is_loose(at, at, 1000)
            or cast("int", self._m._policy["in_flight"]) > 1
            or self._late(at - 1000, at + 100) > gap / 2
        )

    # 4. Nobody outlives a deadline, and every outcome is one of four

    def _outcome(self, call: Call) -> None:
        entries, end = self._by_call.get(call.order_id, []), call.end
        if end is None:
            if not call.may_vanish:
                self._say(f"a call did not end: {call}")
            return
        outcome, started, seconds = end["outcome"], end["started"], end["seconds"]
        if outcome == "never tried":
            return
        self._m.report.outcomes[outcome] += 1
        what = f"{call.kind} {call.order_id} ended as {outcome} ({end.get('text')})"
        late = self._late(started, started + seconds * 1000)
        if seconds * 1000 > call.deadline_ms + GRACE_MS + late:
            self._say(f"{what} after {seconds:.2f} s at {self._at(started)}")
        statuses = [entry.status for entry in entries]
        is_live = self._m._sandbox.book.get(call.order_id).status.is_live
        attempts: int = end["attempts"] or 0
        fits = {
            "accepted": 200 in statuses,
            "confirmed CANCELLED": any(e.processed and e.method == "DELETE" for e in entries),
            # Every cancel that arrived was refused, and the book says so too.
            "confirmed OPEN": is_live
            and all(e.method == "GET" or e.status in range(400, 500) for e in entries),
            "NotSentError": not entries and not attempts,
            "OutcomeUnknownError": attempts > 0,
            "RateLimitedError": 429 in statuses,
            "ClockMismatchError": 409 in statuses,
        }.get(outcome, False)
        if not fits:
            self._say(f"{what} though {statuses} arrived")
        if end["attempts"] is not None and call.kind != "confirm" and attempts < len(entries):
            self._say(f"{what} with {attempts} attempts, though {statuses} arrived")
        if outcome in {"accepted", "confirmed CANCELLED"} and call.kind != "read" and is_live:
            self._say(f"{what} and the order is live")
        if outcome == "ClockMismatchError" and not any(e.fault == "status_409" for e in entries):
            self._m.report.counts["refused for their nonces"] += 1
            # Less than all fresh nonces means that the limit or the deadline was in the way.
            if attempts > SendingPolicy().fresh_nonces and not self._m._clock_steps:
                self._say(f"{what} with every clock right")

    # 5. Nobody starves

    def _nobody_starves(self) -> None:
        for call in self._m._calls.values():
            end = call.end
            if end is None or end["outcome"] != "NotSentError" or call in self._m._probe:
                continue
            started, ended = end["started"], end["started"] + end["seconds"] * 1000
            given_up = ended - started < call.deadline_ms * 0.7
            until = started + call.deadline_ms if given_up else ended
            kinds = ("cancel", "read") if call.kind == "confirm" else (call.kind,)
            if self._is_loose(started, ended, 1000) or self._late(started, ended) > 250:
                continue
            if call.kind == "confirm" and self._m._short:
                full = False
            else:
                full = any(
                    self._is_full(
                        kind,
                        call,
                        until - LASTS_MS - _length_ms(self._m._limits[kind]),
                        ended,
                    )
                    for kind in kinds
                )
            cooled = any(
                e.status == 429 and started - COOL_DOWN_MS <= e.at_ms <= ended
                for e in self._entries
            )
            # Others went first: one after another, as the order of nonces asks for.
            key = fingerprint(self._m._sandbox.accounts[call.account].api_key)
            others = sum(
                ended - LASTS_MS <= e.at_ms <= ended and e.key_fingerprint == key
                for e in self._entries
            )
            gap = max(e.period_seconds * 1000 / e.requests for e in self._m._limits.values())
            if not (full or cooled or others >= LASTS_MS // gap - 1):
                self._say(
                    f"{call.kind} {call.order_id} of key {call.account} starved from "
                    f"{self._at(started)} to {self._at(ended)}: {end['text']}"
                )


def machine_of(
    kind: str, folder: Path, report: Report, pool: Pool, redis: Redis | None = None
) -> type[Throttled]:
    """Return the machine.

    Args:
        kind: What the processes share: "memory", "folder" or "redis".
        folder: Where their files may be.
        report: Told of what happens.
        pool: The processes.
        redis: The server, for "redis".
    """
    members = {"kind": kind, "folder": folder, "report": report, "pool": pool, "redis": redis}
    return cast("type[Throttled]", type("Machine", (Throttled,), members))


def run(machine: type[Throttled], **options: Any) -> None:
    """Run it, with further settings of hypothesis."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            # An example is a matter of seconds and of chance: it is not worth shrinking.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            **options,
        ),
    )


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    found = Pool()
    yield found
    found.close()


@pytest.fixture(params=["memory", "folder", "redis"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, pool: Pool
) -> Iterator[type[Throttled]]:
    redis = None
    if request.param == "redis":
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        redis = Redis(program, tmp_path)
    yield machine_of(request.param, tmp_path, Report(), pool, redis)
    if redis is not None:
        redis.kill()


def test_the_throttle_holds_whatever_happens(machine: type[Throttled]) -> None:
    run(machine, max_examples=3, stateful_step_count=12, derandomize=True)
    assert machine.report.counts["examples"] >= 3


def test_the_throttle_holds_when_it_all_happens_at_once(machine: type[Throttled]) -> None:
    """One example with each of the rules, so that none of them depends on chance."""
    it = machine()
    try:
        it.begin(processes=3, short=True, deadline=1.0, in_flight=1, has_egresses=False)
        it.misbehave("drop_answer", 2)
        it.misbehave("502", 1)
        it.all_at_once(0, 4)
        it.another_client(1, 0)
        it.calls(1, 1, 4, "tasks", "cancel")
        it.calls(2, 0, 4, "fork", "cancel")
        it.time_passes(0.05)
        it.kill(0)
        it.misbehave("409", 1)
        it.step_clock(1, 300_000)
        it.calls(0, 0, 3, "threads", "read")
        it.calls(1, 0, 2, "threads", "confirm")
        it.settle()
        if it.redis is not None:
            it.break_redis("kill")
            it.all_at_once(0, 4)
            it.mend_redis()
            it.break_redis("stop")
            it.all_at_once(0, 4)
        it.step_clock(1, -2_000)
        it.misbehave("429", 1)
        it.all_at_once(0, 8)
    finally:
        it.teardown()
    counts = it.report.counts
    assert counts["arrivals"] > 20
    assert counts["probes"] == 1
    if it.kind != "memory":
        assert counts["kills"] == counts["forks"] == 1


def test_the_throttle_holds_for_many_at_once_with_nothing_in_the_way(
    machine: type[Throttled],
) -> None:
    """No step of a clock and no fault, which would explain nonces that are out of order."""
    it = machine()
    try:
        it.begin(processes=3, short=True, deadline=2.0, in_flight=1, has_egresses=True)
        for _ in range(3):
            it.all_at_once(0, 4)
            it.calls(0, 0, 5, "tasks", "confirm")
            it.calls(1, 0, 5, "threads", "confirm")
            it.calls(2, 0, 5, "fork", "confirm")
    finally:
        it.teardown()
    assert it.report.counts["nonces"] > 15


@pytest.mark.parametrize("arrived", [14, 15])
def test_the_oracle_knows_that_what_is_counted_has_to_travel(tmp_path: Path, arrived: int) -> None:
    """The last permit of a limit is out, and its request arrives after the others were told so."""
    it = machine_of("folder", tmp_path, Report(), cast("Pool", None), None)()
    key = Account("key", "secret", "1@example.com")
    told_at = 3916.0
    travelled = [2000.0 + 20 * place for place in range(14)] + [told_at + 2]
    calls = [
        Call(str(number), "cancel", 0, 0, "", 2000, "threads") for number in range(arrived + 1)
    ]
    calls[-1].end = {"outcome": "NotSentError", "started": 3403.0, "seconds": 0.513, "text": ""}
    calls[-1].end["attempts"] = 0
    journal = [
        Entry(
            sequence=number, at_ms=round(travelled[number]), method="DELETE",
            path=f"/v3/orders/{PAIR}/{number}", call="cancel_order", query="", header_names=(),
            body_length=0, nonce=number, key_fingerprint=fingerprint("another"),
            triple_fingerprint=None, http_connection=1, fault=None, status=200,
        )
        for number in range(arrived)
    ]  # fmt: skip
    it._began, it._short, it._limits = 0.0, True, SHORT
    it._calls = {each.order_id: each for each in calls}
    it._stalls, it._failures, it._kills, it._probe, it._policy = [], [], [], [], {"in_flight": 1}
    it._sandbox = cast("Sandbox", SimpleNamespace(journal=journal, accounts=(key,)))
    oracle = Oracle(it)
    oracle._nobody_starves()
    assert len(oracle._found) == (arrived < 15)
