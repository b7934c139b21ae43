"""Whatever the sequence of failures: deadlines hold, attempts are bounded, the outcome is right.

A state machine sends calls through one sender, sync and async, while hypothesis writes what the
exchange does. The rules are written down here a second time, by their meaning.
"""

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from bitopro_orders import (
    ClockMismatchError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
    SendingPolicy,
)
from bitopro_orders.transport import BrokenError, NotConnectedError, SilenceError
from tests.policy.scripted import (
    CANCELLED,
    ORDER_ID,
    Break,
    Event,
    Player,
    Reply,
    Seen,
    Way,
    World,
    a_cancel,
    a_read,
)

SECONDS = st.sampled_from([0.001, 0.03, 0.4, 4.9, 7.0])
UNSENT_ERRORS: list[type[Exception]] = [NotConnectedError]
SENT_ERRORS: list[type[Exception]] = [BrokenError, SilenceError]


def _breaks(kinds: list[type[Exception]], *, sent: bool) -> st.SearchStrategy[Event]:
    def make(kind: type[Exception], seconds: float) -> Event:
        return Break(lambda: kind("broken"), sent=sent, seconds=seconds)

    return st.builds(make, st.sampled_from(kinds), SECONDS)


def _replies(statuses: list[int], *headers: Any) -> st.SearchStrategy[Event]:
    given = st.sampled_from(headers) if headers else st.just({})
    return st.builds(Reply, st.sampled_from(statuses), st.none(), given, SECONDS)


UNSENT = _breaks(UNSENT_ERRORS, sent=False)
BROKEN = _breaks(SENT_ERRORS, sent=True)
GOOD = _replies([200])
GARBLED = st.builds(
    Reply,
    st.sampled_from([200, 201]),
    st.sampled_from([b"", b"{}", b"null", b"<html>", CANCELLED.replace(ORDER_ID.encode(), b"7")]),
    st.just({}),
    SECONDS,
)
REFUSED = _replies([400, 401, 403, 404, 418, 422, 451])
NONCE = _replies([409], {}, lambda world: {"Date": world.date()})
RATE = _replies(
    [429],
    {},
    {"Retry-After": "1"},
    {"Retry-After": "2.5"},
    {"Retry-After": "60"},
    {"Retry-After": "soon"},
    lambda world: {"Retry-After": world.date(3), "Date": world.date()},
)
SERVER = _replies([408, 500, 502, 503, 504, 520, 599])
REDIRECT = _replies([301, 302, 307, 308])
CANCELLATION = st.builds(Break, st.just(asyncio.CancelledError), st.booleans(), SECONDS)
EVENTS = st.one_of(
    UNSENT, BROKEN, GOOD, GARBLED, REFUSED, NONCE, RATE, SERVER, REDIRECT, CANCELLATION
)


def kind_of(seen: Seen, *, deadline: float, phase: float = 5.0) -> str:
    """Say what an attempt came to, as an outsider would."""
    event = seen.event
    in_time = event.seconds <= min(phase, deadline - seen.at)
    if isinstance(event, Break):
        if not in_time:
            return "unknown" if event.sent else "unsent"
        if isinstance(event.error(), asyncio.CancelledError):
            return "cancelled after sending" if event.sent else "cancelled before sending"
        return "unknown" if event.sent else "unsent"
    if not in_time or event.status in {408, *range(500, 600)}:
        return "unknown"
    if event.status < 300:
        return "good" if event.status == 200 and event.body is None else "unknown"
    if event.status < 400:
        return "redirect"
    return {409: "nonce", 429: "rate"}.get(event.status, "refused")


def expected(kind: str, method: str) -> type[BaseException] | None:
    """Return what a call raises whose last attempt came to this."""
    if kind == "cancelled after sending" and method == "DELETE":
        return OutcomeUnknownError
    if kind.startswith("cancelled"):
        return asyncio.CancelledError
    return {
        "good": None,
        "unsent": NotSentError,
        "refused": RejectedError,
        "nonce": ClockMismatchError,
        "rate": RateLimitedError,
    }.get(kind, OutcomeUnknownError)


def told_to_wait(event: Event) -> float:
    headers = event.headers if isinstance(event, Reply) else {}
    if callable(headers):  # a date
        return 3.0  # both dates are cut to the second
    text = headers.get("Retry-After", "0")
    return float(text) if text != "soon" else 0.0


class Policy(RuleBasedStateMachine):
    way: Way

    @initialize(
        attempts=st.integers(1, 5),
        fresh_nonces=st.integers(0, 3),
        deadline=st.sampled_from([0.5, 3.0, 10.0]),
        ratio=st.sampled_from([0.0, 0.5]),
        reserve=st.sampled_from([0, 2, 20]),
        off_by_ms=st.sampled_from([0, 0, -300_000, 300_000]),
    )
    def begin(
        self,
        attempts: int,
        fresh_nonces: int,
        deadline: float,
        ratio: float,
        reserve: int,
        off_by_ms: int,
    ) -> None:
        policy = SendingPolicy(
            attempts=attempts,
            fresh_nonces=fresh_nonces,
            deadline_seconds=deadline,
            retry_ratio=ratio,
            retry_reserve=reserve,
        )
        self.player = Player(self.way, policy, World(off_by_ms=off_by_ms))
        self.player.transport.window_ms = 60_000
        self.calls = self.retries = self.given_up = 0

    @rule(seconds=st.sampled_from([0.01, 5.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.player.world.seconds += seconds

    @rule(
        method=st.sampled_from(["DELETE", "GET"]),
        script=st.lists(EVENTS, min_size=1, max_size=8),
        dice=st.floats(0, 1, exclude_max=True),
    )
    def call(self, method: str, script: list[Event], dice: float) -> None:
        player, policy = self.player, self.player.policy
        player.world.dice[:] = [dice]
        before, records = len(player.seen), len(player.records)
        started = player.world.seconds
        raised: BaseException | None = None
        try:
            player.play(a_cancel() if method == "DELETE" else a_read(), script)
        except BaseException as failure:  # noqa: BLE001 - cancellation too
            raised = failure
        ended, deadline = player.world.seconds, started + policy.deadline_seconds
        seen = player.seen[before:]
        kinds = [kind_of(each, deadline=deadline) for each in seen]
        self.calls += 1

        assert ended <= deadline + 1e-6
        self._check_sequence(method, seen, kinds, deadline)
        if not seen:
            # Only a cool-down of an earlier call keeps one from being tried.
            assert type(raised) is NotSentError
            return
        if type(raised) is NotSentError and kinds[-1] == "rate":
            # The cool-down is counted in whole milliseconds: it may end just after the deadline.
            assert deadline - ended <= policy.longest_backoff_seconds + 3
            return
        error = expected(kinds[-1], method)
        left = [k for k in kinds if k in {"nonce", "rate", "unknown"}]
        if error is NotSentError and left:
            # What left before is told, not that the last one did not leave.
            error = expected(left[-1], method)
        assert raised is None if error is None else isinstance(raised, error), (kinds, raised)
        if error is not None:
            self._check_end(method, kinds, seen, ended, deadline, dice)
        sent = sum(kind not in {"unsent", "cancelled before sending"} for kind in kinds)
        assert getattr(raised, "attempts", sent) == sent
        observed = len(seen) - isinstance(raised, asyncio.CancelledError)
        assert [each.attempt for each in player.records[records:]] == list(range(1, observed + 1))

    def _may_follow(self, kind: str, method: str) -> bool:
        again = {"unsent", "rate", "nonce"} | ({"unknown"} if method == "GET" else set())
        return kind in again

    def _check_sequence(
        self, method: str, seen: list[Seen], kinds: list[str], deadline: float
    ) -> None:
        policy = self.player.policy
        assert all(self._may_follow(kind, method) for kind in kinds[:-1]), kinds
        assert kinds.count("nonce") <= policy.fresh_nonces + 1
        assert len(kinds) - min(kinds.count("nonce"), policy.fresh_nonces) <= policy.attempts
        self.retries += sum(kind != "nonce" for kind in kinds[:-1])
        for (a, b), kind in zip(pairwise(seen), kinds, strict=False):
            if kind == "rate":
                assert b.at - a.at >= told_to_wait(a.event) - 1e-6

    def _check_end(
        self,
        method: str,
        kinds: list[str],
        seen: list[Seen],
        ended: float,
        deadline: float,
        dice: float,
    ) -> None:
        """What could have been tried again was given up for a reason."""
        policy = self.player.policy
        if not self._may_follow(kinds[-1], method):
            return
        if kinds[-1] == "nonce":
            assert kinds.count("nonce") == policy.fresh_nonces + 1
            return
        tries = sum(kind != "nonce" for kind in kinds)
        backoff = dice * min(
            policy.longest_backoff_seconds, policy.backoff_seconds * 2 ** (tries - 1)
        )
        pause = max(backoff, told_to_wait(seen[-1].event))
        if kinds[-1] == "rate":
            # All who share the limit wait so long, this call too.
            pause = max(pause, policy.backoff_seconds)
        # A retry that the deadline forbids may have been paid for.
        exhausted = self.retries + self.given_up + 1 > policy.retry_reserve
        self.given_up += 1
        assert tries == policy.attempts or exhausted or ended + pause >= deadline - 1e-6

    @invariant()
    def no_nonce_is_used_twice(self) -> None:
        nonces = self.player.nonces
        assert len(set(nonces)) == len(nonces)

    @invariant()
    def retries_are_within_the_budget(self) -> None:
        policy = self.player.policy
        assert self.retries <= policy.retry_reserve + policy.retry_ratio * self.calls


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_policy_holds_whatever_happens(way: Way) -> None:
    machine = cast("type[Policy]", type("Machine", (Policy,), {"way": way}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
