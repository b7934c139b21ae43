"""Every rule of the sending policy, against a scripted exchange, in time that does not pass."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import logging
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.types import Call, Operation, RateLimit
from bitopro_orders import (
    AttemptRecord,
    BitoProError,
    ClockMismatchError,
    InvalidArgumentError,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
    SendingPolicy,
)
from bitopro_orders.failures import TABLE, Retry
from bitopro_orders.message import Route
from bitopro_orders.sending import Sender
from bitopro_orders.steps import TaskChannel, drive_async
from bitopro_orders.transport import LONGEST_ANSWER, Answer, Attempt, Origin, Tally
from tests.policy.scripted import (
    CANCELLED,
    GARBLED,
    NO_CONNECTION,
    ORDER_ID,
    PAIR,
    PHASE_SECONDS,
    RESET,
    SECRET,
    SILENCE,
    Break,
    Event,
    Player,
    Reply,
    World,
    a_cancel,
    a_read,
)

NewPlayer = Callable[..., Player]
GOOD = Reply()
BUSY = Reply(429)


def failing(player: Player, call: Call[Any], script: list[Event]) -> BitoProError:
    """Play the script and return the error that it ends in."""
    with pytest.raises(BitoProError) as caught:
        player.play(call, script)
    return caught.value


# Retries


def test_a_good_answer_is_one_attempt_without_a_wait(new_player: NewPlayer) -> None:
    player = new_player()
    assert player.play(a_cancel(), [GOOD]).parsed.order_id == ORDER_ID
    assert (len(player.seen), player.world.slept) == (1, [])


@pytest.mark.parametrize("dice", [0.0, 0.25, 0.999])
def test_what_was_never_sent_is_tried_again_after_a_random_part_of_a_doubling_backoff(
    new_player: NewPlayer, dice: float
) -> None:
    policy = SendingPolicy(attempts=6, backoff_seconds=0.1, longest_backoff_seconds=0.5)
    player = new_player(policy, World(dice=[dice]))
    player.play(a_cancel(), [*[NO_CONNECTION] * 5, GOOD])
    assert player.world.slept == pytest.approx([dice * top for top in (0.1, 0.2, 0.4, 0.5, 0.5)])
    assert player.tally.sent == 1


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_attempts_are_bounded(new_player: NewPlayer, attempts: int) -> None:
    player = new_player(SendingPolicy(attempts=attempts))
    error = failing(player, a_cancel(), [NO_CONNECTION])
    assert type(error) is NotSentError
    assert (len(player.seen), error.attempts) == (attempts, 0)
    assert [record.attempt for record in player.records] == list(range(1, attempts + 1))


MAYBE_PROCESSED: dict[str, Event] = {
    "reset": RESET,
    "silence": Reply(seconds=PHASE_SECONDS + 1),
    "garbled": GARBLED,
    "another order": Reply(body=CANCELLED.replace(ORDER_ID.encode(), b"1")),
    **{str(status): Reply(status) for status in (408, 500, 502, 503, 504, 520, 524, 527, 599)},
}


@pytest.mark.parametrize("event", MAYBE_PROCESSED.values(), ids=MAYBE_PROCESSED.keys())
def test_what_may_be_processed_is_never_repeated_for_a_cancel_but_for_a_read(
    new_player: NewPlayer, event: Event
) -> None:
    player = new_player()
    error = failing(player, a_cancel(), [event, GOOD])
    assert type(error) is OutcomeUnknownError
    assert (len(player.seen), error.attempts) == (1, 1)
    assert error.sent_ms == round(player.seen[0].at * 1000)
    assert player.play(a_read(), [event, GOOD]).parsed.id == ORDER_ID
    assert len(player.seen) == 3


@pytest.mark.parametrize("call", [a_cancel, a_read])
@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 418, 422, 451])
def test_a_refusal_and_a_redirect_are_final(
    new_player: NewPlayer, call: Callable[[], Call[Any]], status: int
) -> None:
    player = new_player()
    event = Reply(status, headers={"Location": "https://api.bitopro.com/elsewhere"})
    error = failing(player, call(), [event, GOOD])
    assert isinstance(error, RejectedError if status >= 400 else OutcomeUnknownError)
    assert len(player.seen) == 1


def test_an_unknown_outcome_after_attempts_that_were_not_sent_is_the_end(
    new_player: NewPlayer,
) -> None:
    player = new_player()
    error = failing(player, a_cancel(), [NO_CONNECTION, BUSY, RESET, GOOD])
    assert type(error) is OutcomeUnknownError
    assert (len(player.seen), error.attempts) == (3, 2)


# 429


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (lambda _: {"Retry-After": "3"}, 3),
        (lambda _: {"Retry-After": "0.7"}, 0.7),
        (lambda world: {"Retry-After": world.date(4), "Date": world.date()}, 4),
        (lambda world: {"Retry-After": world.date(4)}, 3.9),
        (lambda world: {"Retry-After": "1", "Date": world.date(-1000)}, 1),
    ],
    ids=["seconds", "a fraction", "a date", "a date without Date", "seconds, clock off"],
)
@pytest.mark.parametrize("dice", [0.0, 0.999])
def test_retry_after_is_never_shortened(
    new_player: NewPlayer,
    headers: Callable[[World], dict[str, str]],
    seconds: float,
    dice: float,
) -> None:
    player = new_player(world=World(dice=[dice]))
    event = Reply(429, headers=headers)
    player.play(a_cancel(), [event, GOOD])
    first, second = player.seen
    waited = second.at - first.at - event.seconds
    assert seconds - 1e-6 <= waited <= seconds + 0.102


def test_without_retry_after_a_429_is_tried_again_after_a_backoff(new_player: NewPlayer) -> None:
    player = new_player(world=World(dice=[0.75]))
    player.play(a_cancel(), [BUSY, BUSY, GOOD])
    assert player.world.slept == pytest.approx([0.1, 0.15], abs=0.002)


def test_a_wait_past_the_deadline_is_not_waited_for_and_holds_back_all_who_share_the_limit(
    new_player: NewPlayer,
) -> None:
    player = new_player()
    event = Reply(429, headers={"Retry-After": "30"})
    error = failing(player, a_cancel(), [event, GOOD])
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 30
    assert player.world.slept == []
    with pytest.raises(NotSentError, match=r"limit has room again in 30\.0 s"):
        player.play(a_cancel(), [GOOD])
    player.play(a_read(), [GOOD])  # another group
    player.world.seconds += 25
    player.play(a_cancel(), [GOOD])  # after the 5 seconds that are left
    assert [round(each.at - player.seen[0].at) for each in player.seen] == [0, 0, 30]


def test_a_long_retry_after_is_not_shortened_for_the_others_either(new_player: NewPlayer) -> None:
    player = new_player()
    error = failing(player, a_cancel(), [Reply(429, headers={"Retry-After": "86400"})])
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 86400
    player.world.seconds += 86400 - 20
    assert type(failing(player, a_cancel(), [GOOD])) is NotSentError
    player.world.seconds += 20
    player.play(a_cancel(), [GOOD])


def test_without_a_limit_a_429_holds_back_nobody_else(new_player: NewPlayer) -> None:
    player = new_player(SendingPolicy(limit_share=None))
    failing(player, a_cancel(), [Reply(429, headers={"Retry-After": "30"})])
    player.play(a_cancel(), [GOOD])
    assert player.world.slept == []


# The deadline, the limit and the budget


@pytest.mark.parametrize("seconds", [0.5, 10.0])
@pytest.mark.parametrize(
    "event",
    [NO_CONNECTION, BUSY, Reply(503), SILENCE, Break(NO_CONNECTION.error, sent=False, seconds=60)],
    ids=["no connection", "429", "503", "silence", "hanging connect"],
)
def test_one_deadline_bounds_the_whole_call(
    new_player: NewPlayer, event: Event, seconds: float
) -> None:
    policy = SendingPolicy(deadline_seconds=seconds, attempts=10**6, retry_reserve=1e6)
    player = new_player(policy)
    started = player.world.seconds
    failing(player, a_read(), [event])
    assert player.world.seconds - started <= seconds + 1e-6
    # It ends because the time is used up, not before.
    assert player.world.seconds - started >= seconds - policy.longest_backoff_seconds
    assert len(player.seen) > 1 or seconds <= 0.5 or event is not NO_CONNECTION


def test_the_limit_is_waited_for_before_signing(new_player: NewPlayer) -> None:
    player = new_player(SendingPolicy(limit_share=3 / 900, deadline_seconds=100))
    for _ in range(4):
        player.play(a_cancel(), [GOOD])
    fourth = player.seen[3]
    assert fourth.at - player.seen[0].at >= 60
    assert fourth.nonce == round(fourth.at * 1000)


def test_a_limit_without_room_before_the_deadline_is_not_waited_for(new_player: NewPlayer) -> None:
    player = new_player(SendingPolicy(limit_share=3 / 900))
    for _ in range(3):
        player.play(a_cancel(), [GOOD])
    with pytest.raises(NotSentError, match="after the deadline") as caught:
        player.play(a_cancel(), [GOOD])
    assert type(caught.value) is NotSentError
    assert (len(player.seen), player.world.slept, caught.value.attempts) == (3, [], 0)


def test_a_retry_counts_towards_the_limit_too(new_player: NewPlayer) -> None:
    player = new_player(SendingPolicy(limit_share=2 / 900))
    assert isinstance(failing(player, a_cancel(), [BUSY]), RateLimitedError)
    assert len(player.seen) == 2
    with pytest.raises(NotSentError, match="the limit has room again in"):
        player.play(a_cancel(), [GOOD])


def test_what_did_not_leave_does_not_count_towards_the_limit(new_player: NewPlayer) -> None:
    player = new_player(SendingPolicy(limit_share=2 / 900))
    player.play(a_cancel(), [*[NO_CONNECTION] * 3, GOOD])
    player.play(a_cancel(), [GOOD])
    with pytest.raises(NotSentError, match="the limit has room again in"):
        player.play(a_cancel(), [GOOD])
    assert player.tally.sent == 2


@pytest.mark.parametrize(("ratio", "retries"), [(0.0, 3), (0.5, 3 + 5 - 1)])
def test_a_budget_bounds_the_retries_of_all_calls_together(
    new_player: NewPlayer, ratio: float, retries: int
) -> None:
    player = new_player(SendingPolicy(retry_reserve=3, retry_ratio=ratio, attempts=100))
    for _ in range(10):
        failing(player, a_cancel(), [NO_CONNECTION])
        player.world.seconds += 10
    # What the first calls earn while the reserve is full is lost.
    assert 10 + retries - 1 <= len(player.seen) <= 10 + retries + 1
    before = len(player.seen)
    failing(player, a_cancel(), [NO_CONNECTION])
    assert len(player.seen) - before <= 1 + ratio * 2


# 409


def test_a_409_is_signed_again_with_fresh_nonces_and_ends_in_a_clock_mismatch(
    new_player: NewPlayer,
) -> None:
    player = new_player(SendingPolicy(fresh_nonces=3))
    event = Reply(409, headers=lambda world: {"Date": world.date()})
    error = failing(player, a_cancel(), [event])
    assert isinstance(error, ClockMismatchError)
    assert error.difference_ms is not None
    assert abs(error.difference_ms) <= 1000
    assert (len(player.seen), error.attempts) == (4, 4)
    assert all(a < b for a, b in pairwise(player.nonces))
    assert player.world.slept == []


def test_no_fresh_nonce_is_an_option(new_player: NewPlayer) -> None:
    player = new_player(SendingPolicy(fresh_nonces=0))
    error = failing(player, a_cancel(), [Reply(409), GOOD])
    assert isinstance(error, ClockMismatchError)
    assert error.difference_ms is None
    assert len(player.seen) == 1


@pytest.mark.parametrize("off_by_ms", [-300_000, -2600, 2600, 300_000])
def test_the_clock_is_corrected_by_the_date_and_the_correction_is_reported(
    new_player: NewPlayer, caplog: pytest.LogCaptureFixture, off_by_ms: int
) -> None:
    player = new_player(world=World(seconds=1_800_000_000.4, off_by_ms=off_by_ms))
    event = Reply(409, headers=lambda world: {"Date": world.date()})
    with caplog.at_level(logging.WARNING, "bitopro_orders"):
        player.play(a_cancel(), [event, GOOD])
    first, second = player.seen
    assert abs(first.nonce - first.at * 1000 - off_by_ms) <= 1
    assert abs(second.nonce - second.at * 1000) <= 1000
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    correction = vars(warning)["clock_correction_ms"]
    assert abs(correction + off_by_ms) <= 1000
    assert [record.clock_correction_ms for record in player.records] == [0, correction]
    player.play(a_cancel(), [GOOD])
    assert abs(player.seen[2].nonce - player.seen[2].at * 1000) <= 1000
    assert player.seen[2].nonce > second.nonce


def test_a_clock_that_is_still_refused_is_reported_with_its_difference(
    new_player: NewPlayer,
) -> None:
    player = new_player(SendingPolicy(fresh_nonces=2), World(off_by_ms=90_000))
    event = Reply(409, headers=lambda world: {"Date": world.date()})
    error = failing(player, a_cancel(), [event])
    assert isinstance(error, ClockMismatchError)
    assert error.difference_ms == pytest.approx(90_000, abs=1000)
    assert "90." in str(error)
    assert len(set(player.nonces)) == 3


def test_a_clock_that_is_set_right_again_is_no_longer_corrected(new_player: NewPlayer) -> None:
    player = new_player(world=World(off_by_ms=300_000))
    event = Reply(409, headers=lambda world: {"Date": world.date()})
    player.play(a_cancel(), [event, GOOD])
    player.world.off_by_ms = 0
    player.world.seconds += 10
    player.play(a_cancel(), [event, GOOD])
    assert abs(player.nonces[-1] - player.seen[-1].at * 1000) <= 1000


# Signing


def test_each_attempt_is_signed_afresh(new_player: NewPlayer) -> None:
    player = new_player()
    player.play(a_cancel(), [NO_CONNECTION, BUSY, Reply(409), GOOD])
    for each in player.seen:
        payload = each.headers["x-bitopro-payload"]
        expected = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha384).hexdigest()
        assert each.headers["x-bitopro-signature"] == expected
        assert json.loads(base64.b64decode(payload))["nonce"] == each.nonce
    assert all(a < b for a, b in pairwise(player.nonces))
    assert len({each.headers["x-bitopro-signature"] for each in player.seen}) == 4


def test_a_clock_set_back_a_little_still_gives_larger_nonces(new_player: NewPlayer) -> None:
    player = new_player()
    player.play(a_cancel(), [GOOD])
    player.world.off_by_ms = -3000
    player.play(a_cancel(), [GOOD])
    assert player.nonces[1] == player.nonces[0] + 1


@pytest.mark.parametrize("call", [a_cancel, a_read])
def test_nonces_far_ahead_of_the_clock_stop_nobody(
    new_player: NewPlayer, call: Callable[[], Call[Any]]
) -> None:
    player = new_player()
    player.play(call(), [GOOD])
    player.world.off_by_ms = -3_600_000
    player.play(call(), [GOOD])
    player.play(call(), [GOOD])
    assert player.nonces == [player.nonces[0] + each for each in range(3)]
    assert all(a.at - b.at < 1 for a, b in pairwise(player.seen))


# What counts as an answer


@pytest.mark.parametrize(
    ("encoding", "body", "good"),
    [
        ("gzip", gzip.compress(CANCELLED), True),
        ("deflate", zlib.compress(CANCELLED), True),
        ("GZip", gzip.compress(CANCELLED), True),
        ("gzip", gzip.compress(CANCELLED)[:-20], False),
        ("gzip", CANCELLED, False),
        ("br", CANCELLED, False),
        ("gzip", gzip.compress(CANCELLED + b" " * LONGEST_ANSWER), False),
        ("gzip", gzip.compress(CANCELLED + b" " * (LONGEST_ANSWER - len(CANCELLED))), True),
    ],
    ids=["gzip", "deflate", "case", "cut", "not gzip", "unknown", "8 MiB and more", "8 MiB"],
)
def test_a_body_compressed_unasked(
    new_player: NewPlayer, encoding: str, body: bytes, good: bool
) -> None:
    player = new_player()
    event = Reply(body=body, headers={"Content-Encoding": encoding})
    if good:
        assert player.play(a_cancel(), [event]).parsed.order_id == ORDER_ID
    else:
        assert type(failing(player, a_cancel(), [event])) is OutcomeUnknownError


# Being observed


def test_each_attempt_is_one_log_record_and_one_call_of_the_hook(
    new_player: NewPlayer, caplog: pytest.LogCaptureFixture
) -> None:
    player = new_player()
    script: list[Event] = [NO_CONNECTION, Reply(429, seconds=0.25), Reply(409), Reply(502)]
    with caplog.at_level(logging.INFO, "bitopro_orders"):
        failing(player, a_cancel(), script)
    records = [record for record in caplog.records if record.levelno == logging.INFO]
    expected = [
        (1, None, Outcome.NOT_SENT),
        (2, 429, Outcome.REFUSED),
        (3, 409, Outcome.REFUSED),
        (4, 502, Outcome.UNKNOWN),
    ]
    assert [(r.attempt, r.status, r.outcome) for r in player.records] == expected
    for record, hooked in zip(records, player.records, strict=True):
        extra = vars(record)
        assert extra["operation"] == hooked.operation == "cancelOrder"
        assert extra["arguments"] == hooked.arguments == {"pair": PAIR, "orderId": ORDER_ID}
        for name in ("attempt", "status", "milliseconds", "outcome"):
            assert extra[name] == getattr(hooked, name)
        assert all(text in record.getMessage() for text in (PAIR, ORDER_ID, str(hooked.outcome)))
    assert player.records[1].milliseconds == pytest.approx(250)
    everything = "".join(str(vars(record)) for record in caplog.records)
    for seen in player.seen:
        for name in ("x-bitopro-apikey", "x-bitopro-payload", "x-bitopro-signature"):
            assert seen.headers[name] not in everything
    assert "x-bitopro" not in everything.lower()


def test_a_good_answer_is_observed_too(new_player: NewPlayer) -> None:
    player = new_player()
    player.play(a_read(), [GOOD])
    (record,) = player.records
    assert (record.operation, record.status, record.outcome) == ("getOrder", 200, "accepted")


def test_a_hook_that_raises_changes_nothing(
    new_player: NewPlayer, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(_: AttemptRecord) -> None:
        raise ZeroDivisionError

    player = new_player()
    player.sender.on_attempt = hook
    assert player.play(a_cancel(), [NO_CONNECTION, GOOD]).status_code == 200
    assert type(failing(player, a_cancel(), [RESET])) is OutcomeUnknownError
    hints = [r for r in caplog.records if "on_attempt" in r.getMessage()]
    assert len(hints) == len(player.seen) == 3


# The table

CAUSES: dict[str, Event] = {
    "NO_CONNECTION": NO_CONNECTION,
    "FOREIGN": Break(ZeroDivisionError, sent=False),
    "NONCE": Reply(409),
    "RATE": BUSY,
    "REFUSAL": Reply(404),
    "SILENCE": SILENCE,
    "BROKEN": RESET,
    "SERVER": Reply(502),
    "STRANGER": Reply(404, b"<html>"),
    "REDIRECT": Reply(302),
    "GARBLED": GARBLED,
    "CANCELLED": Break(asyncio.CancelledError, sent=True),
}


@pytest.mark.parametrize(("sent", "kind"), [(False, NotSentError), (True, OutcomeUnknownError)])
def test_what_a_signal_handler_raises_ends_the_call(
    new_player: NewPlayer, sent: bool, kind: type[BitoProError]
) -> None:
    player = new_player()
    error = failing(player, a_read(), [Break(ZeroDivisionError, sent=sent), GOOD])
    assert (type(error), len(player.seen)) == (kind, 1)
    assert "ZeroDivisionError" in str(error)


# For two of them no attempt is made, so none is observed; the third is not about a cancel.
ELSEWHERE = {"ARGUMENT", "LIMIT", "REPEATED"}
OF_OUTCOME = {
    Outcome.NOT_SENT: NotSentError,
    Outcome.REFUSED: RejectedError,
    Outcome.UNKNOWN: OutcomeUnknownError,
}


def test_every_failure_of_the_table_has_a_test() -> None:
    assert set(TABLE) == set(CAUSES) | ELSEWHERE


@pytest.mark.parametrize("name", CAUSES)
def test_a_cancel_fails_as_the_table_says(new_player: NewPlayer, name: str) -> None:
    failure, player = TABLE[name], new_player()
    if name == "CANCELLED" and player.way == "sync":
        pytest.skip("only tasks are cancelled")
    error = failing(player, a_cancel(), [CAUSES[name]])
    assert isinstance(error, OF_OUTCOME[failure.outcome])
    assert {record.outcome for record in player.records} == {failure.outcome}
    repeated = {Retry.BACKOFF, Retry.AS_TOLD, Retry.FRESH_NONCE}
    assert (len(player.seen) > 1) == (failure.retry in repeated)


@pytest.mark.parametrize("name", sorted(set(CAUSES) - {"CANCELLED"}))
def test_a_read_is_repeated_as_the_table_says(new_player: NewPlayer, name: str) -> None:
    failure, player = TABLE[name], new_player()
    error = failing(player, a_read(), [CAUSES[name]])
    assert isinstance(error, OF_OUTCOME[failure.outcome])
    assert (len(player.seen) > 1) == (failure.retry is not Retry.NO)


def test_a_409_to_what_carries_no_nonce_is_unknown_and_touches_no_clock(
    new_player: NewPlayer,
) -> None:
    player = new_player(world=World(off_by_ms=90_000))
    limit = RateLimit("cancelBatch", 2, 1, ("ip",))
    operation = Operation("cancelBatch", "PUT", "/orders", limit, {})
    batch = Call(operation, {}, lambda: {"url": "/orders", "json": {PAIR: [ORDER_ID]}}, str)
    event = Reply(409, headers=lambda world: {"Date": world.date()})
    error = failing(player, batch, [event, GOOD])
    failure = TABLE["REPEATED"]
    assert isinstance(error, OF_OUTCOME[failure.outcome])
    assert [record.outcome for record in player.records] == [failure.outcome]
    assert (len(player.seen), failure.retry) == (1, Retry.NO)
    assert player.sender.throttle.clock.correction_ms == 0


def test_an_argument_that_breaks_its_rule_is_not_sent(new_player: NewPlayer) -> None:
    player = new_player()
    error = failing(player, cancel_order.call(PAIR, ".."), [GOOD])
    assert type(error) is InvalidArgumentError
    assert (error.operation, error.attempts, player.seen) == ("cancelOrder", 0, [])


@pytest.mark.parametrize("base_url", ["https://example.com/v3", "http://api.bitopro.com/v3"])
def test_a_request_to_elsewhere_is_neither_signed_nor_sent(
    new_player: NewPlayer, base_url: str
) -> None:
    player = new_player(base_url=base_url)
    error = failing(player, a_cancel(), [GOOD])
    assert type(error) is NotSentError
    assert (player.seen, player.tally.sent) == ([], 0)
    assert player.records == []


# Tasks that are cancelled


class HangingTransport:
    """Never answers; says when it was reached."""

    def __init__(self, *, sent: bool) -> None:
        self.sent, self.reached = sent, asyncio.Event()

    def take(self, origin: Origin) -> Origin:
        return origin

    def put(self, connection: Origin) -> None:
        pass

    def close(self) -> None:
        pass

    async def connect(self, origin: Origin, attempt: Attempt) -> Origin:
        raise AssertionError("there is a connection")

    async def exchange(self, connection: Origin, data: bytes, attempt: Attempt) -> Answer:
        if self.sent:
            attempt.leave()
        self.reached.set()
        await asyncio.sleep(60)
        raise AssertionError("it should have been cancelled")


@pytest.mark.parametrize(
    ("call", "sent", "error"),
    [
        (a_cancel, True, OutcomeUnknownError),
        (a_cancel, False, asyncio.CancelledError),
        (a_read, True, asyncio.CancelledError),
    ],
    ids=["sent cancel", "unsent cancel", "sent read"],
)
async def test_a_cancelled_task_learns_that_its_cancel_is_out(
    call: Callable[[], Call[Any]], sent: bool, error: type[BaseException]
) -> None:
    sender, timing = _sender()
    transport = HangingTransport(sent=sent)
    route = Route.of("https://api.bitopro.com/v3", {}, {}, 5.0)
    steps = sender.steps(call(), route, 10, Tally())
    task = asyncio.create_task(drive_async(steps, TaskChannel(timing, lambda: transport)))
    await transport.reached.wait()
    task.cancel()
    with pytest.raises(error) as caught:
        await task
    if isinstance(caught.value, OutcomeUnknownError):
        assert caught.value.arguments == {"pair": PAIR, "orderId": ORDER_ID}
        assert caught.value.attempts == 1


def _sender() -> tuple[Sender, Any]:
    player = Player("async")
    return player.sender, player.world.timing()
