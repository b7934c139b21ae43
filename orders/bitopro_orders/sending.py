"""The sending policy: how one call becomes one or more attempts, for every operation.

Each attempt is signed by itself, with its own nonce. The policy is written once, as a generator of
steps: an attempt waits in its queue, opens a connection, asks the throttle, is signed and sent, and
`failures` says what its result means.
"""

import contextlib
import logging
import threading
import zlib
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

from attrs import asdict, define, field

from bitopro_auth import Credentials, Signer, UnsignableRequestError
from bitopro_auth.credentials import Secret
from bitopro_client.api.orders import get_order
from bitopro_client.errors import InvalidArgument, UnreadableAnswer
from bitopro_client.types import Call, Operation, Response

from . import failures
from .answers import date_ms, error_of, retry_after_seconds
from .errors import (
    BitoProError,
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
)
from .failures import Failure, Outcome, Retry
from .message import Message, Route
from .policy import AttemptRecord, RetryBudget, SendingPolicy
from .signals import is_cancellation, running_loop
from .steps import (
    Channel,
    Connect,
    Connection,
    Listen,
    Send,
    Step,
    TaskTransport,
    ThreadTransport,
    Wait,
    Where,
)
from .throttle import (
    LEASE_SECONDS,
    SECOND,
    Fate,
    Job,
    Key,
    Part,
    Pass,
    Question,
    Queue,
    StoreError,
    Throttle,
    Waiter,
    new_token,
)
from .throttle import Wait as NotYet
from .timing import Timing
from .transport import (
    LONGEST_ANSWER,
    Answer,
    Attempt,
    Origin,
    SilenceError,
    Tally,
    TransportError,
)
from .transport.http1 import request_bytes

T = TypeVar("T")
E = TypeVar("E", bound=BitoProError)
logger: logging.Logger = logging.getLogger("bitopro_orders")

#: A nonce that is so far from a right clock was refused for it.
FAR_MS = 1500
#: A collision is answered with a nonce that is further ahead each time, up to this far.
JUMPS_MS = (0, 0, 50, 200, 800)
#: A `Date` outside of 2020 to 2100 is none.
PLAUSIBLE_MS = range(1_577_836_800_000, 4_102_444_800_000)
#: These answers come from behind the check of the nonce; others may come from before it.
PROCESSED = frozenset({*range(200, 300), 400, 404, 422})
#: So long a wait is waited with the connection in hand, in microseconds.
LONGEST_HOLD = SECOND
#: How often a shared store is looked after that does not answer.
LOOK_AFTER_SECONDS = 0.25
#: What estimates must leave of the time that a call has.
MOST_OF_THE_TIME = 4
GENERAL = get_order.OPERATION.rate_limit
#: A handshake is a signed GET, and as such one of the general signed calls.
HANDSHAKE = Operation("orderHistory", "GET", "", GENERAL, {})


class _NoTransport:
    """Stands in where the connection is somebody else's."""

    def take(self, origin: Origin) -> "_NoTransport":  # noqa: ARG002 - a transport's
        return self

    def put(self, connection: Connection) -> None:
        pass


@define
class _Progress:
    """A call on its way.

    Attributes:
        call: The operation with its arguments.
        route: Where it goes.
        seconds: How long it may take.
        deadline: When it must be over, on the monotonic clock.
        answer_share: See `Sender.steps`.
        message: The request.
        sent: How many requests have left.
        tries: How many attempts failed, but for refused nonces.
        fresh: How many nonces were refused.
        token: The attempt's name in the throttle.
        nonce: The attempt's nonce.
        rewound: Whether one was refused that was far from the clock.
        at_top: Whether the next one must be above all that were ever given out.
        waited: Whether the attempt has waited for its turn.
        correction_ms: What was added to this machine's clock when the attempt was signed.
        last_answer: What the last request that left has come to.
    """

    call: Call[Any]
    route: Route
    seconds: float
    deadline: float
    answer_share: float = 1.0
    message: Message = field(init=False)
    sent: int = 0
    tries: int = 0
    fresh: int = 0
    token: int = 0
    nonce: int = 0
    rewound: bool = False
    at_top: bool = False
    waited: bool = False
    correction_ms: int = 0
    last_answer: BitoProError | None = None

    @property
    def again(self) -> bool:
        """Whether an attempt had its turn before."""
        return self.fresh + self.tries > 0

    def about(self, error: E) -> E:
        """Say in the error which call it is about."""
        error.operation = self.call.operation.name
        error.arguments = {name: str(value) for name, value in self.call.arguments.items()}
        error.attempts = self.sent
        return error


@define
class Sender:
    """Sends calls by the policy. All clients that are copies of one client share it.

    Attributes:
        credentials: The credentials that sign.
        hosts: The hosts to sign for.
        throttle: Decides when a request may be sent.
        key: The names that requests are counted under.
        policy: The policy.
        timing: The clocks.
        on_attempt: Called with the record of each attempt.
    """

    credentials: Credentials
    hosts: frozenset[str]
    throttle: Throttle
    key: Key
    policy: SendingPolicy
    timing: Timing
    on_attempt: Callable[[AttemptRecord], object] | None = None
    _budget: RetryBudget = field(init=False)
    _signer: Signer = field(init=False)
    _questions: dict[str, tuple[Question, Part]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        """Fill the retry budget."""
        self._budget = RetryBudget(self.policy.retry_ratio, self.policy.retry_reserve)
        self._signer = Signer(self.credentials, self.hosts)

    def steps(
        self,
        call: Call[T],
        route: Route,
        seconds: float,
        tally: Tally,
        answer_share: float = 1.0,
    ) -> Generator[Step, Any, Response[T]]:
        """Send one call and return its answer.

        Args:
            call: The operation with its arguments.
            route: Where it is sent.
            seconds: How long it may take, in seconds.
            tally: Counts the requests that are sent.
            answer_share: The part of the time left, when a request is sent, that may be spent on
                waiting for its answer.

        Raises:
            BitoProError: An error of one of the three kinds.
        """
        channel: Channel = yield Where()
        deadline = self.timing.monotonic() + seconds
        progress = _Progress(call, route, seconds, deadline, answer_share)
        progress.message = self._checked(progress)
        self._budget.earn()
        while True:
            attempt = Attempt(progress.deadline, self.timing.monotonic, route.phase_seconds, tally)
            started = self.timing.monotonic()
            try:
                answer = yield from self._attempt(progress, attempt, channel)
            except NotSentError as error:
                # What left before is the news, whatever came of it.
                raise progress.last_answer or error from None
            progress.sent += attempt.has_left
            result, failure = self._judge(progress, answer, attempt)
            self._record(progress, answer, failure, attempt, started)
            if not isinstance(result, BitoProError):
                return result
            refusal = progress.about(result)
            if isinstance(refusal, OutcomeUnknownError):
                refusal.sent_ms = attempt.sent_ms
            if attempt.has_left:
                progress.last_answer = refusal
            if failure is failures.NONCE and progress.fresh < self.policy.fresh_nonces:
                progress.fresh += 1
                continue
            progress.tries += 1
            pause = self._pause(progress, failure, refusal)
            if pause is None or self.timing.monotonic() + pause >= progress.deadline:
                if isinstance(refusal, NotSentError) and progress.last_answer is not None:
                    raise progress.last_answer
                raise refusal from _bare(answer)
            yield Wait(pause)

    def handshake(self, route: Route, seconds: float) -> Generator[Step, Any, int]:
        """Wait for the turn of a stream's handshake, and return its nonce, in milliseconds.

        The handshake counts towards the rate limits like a request. The caller opens its
        connection.

        Args:
            route: Where requests are sent.
            seconds: How long it may take, in seconds.

        Raises:
            NotSentError: If its turn does not come in time.
        """
        channel: Channel = yield Where()
        call: Call[None] = Call(HANDSHAKE, {}, dict, lambda _: None)
        deadline = self.timing.monotonic() + seconds
        progress = _Progress(call, route, seconds, deadline)
        progress.token = new_token()
        question, part = self._question(HANDSHAKE)
        queue = self.throttle.queue(part, HANDSHAKE.name, None)
        attempt = Attempt(deadline, self.timing.monotonic, seconds)
        try:
            _, given = yield from self._turn(
                progress, question, part, queue, attempt, channel, _NoTransport()
            )
        except BaseException:
            self.throttle.leave(part, progress.token, None, Fate.UNSENT)
            raise
        return given.nonce

    def cool_down(self, seconds: float | None, operation: Operation = HANDSHAKE) -> None:
        """After a refusal, send nothing under the same limit for so long (at least one backoff)."""
        if self.policy.limit_share is not None:
            _, part = self._question(operation)
            self.throttle.cool_down(part, max(seconds or 0.0, self.policy.backoff_seconds))

    def _checked(self, progress: _Progress) -> Message:
        """Return the request of a call whose arguments keep their rules."""
        origin = progress.route.origin
        try:
            message = Message.of(progress.call, progress.route)
            self._signer.check(message.method, origin.scheme, origin.host, message.body)
        except InvalidArgument as error:
            raise progress.about(InvalidArgumentError(str(error))) from None
        except (UnsignableRequestError, TypeError, ValueError) as error:
            reason = f"nothing was sent ({type(error).__name__}: {error})"
            raise progress.about(NotSentError(reason)) from None
        return message

    def _question(self, operation: Operation) -> tuple[Question, Part]:
        """Return what every request of an operation asks the throttle, and what that is about."""
        found = self._questions.get(operation.name)
        if found is None:
            limit, share = operation.rate_limit, self.policy.limit_share
            windows = () if share is None else self.key.windows(limit, share)
            if share is not None and self.policy.counts_as_general and limit.group != GENERAL.group:
                windows += self.key.windows(GENERAL, share)
            question = Question(
                token=0,
                windows=windows,
                gap=limit.period_seconds * SECOND // limit.requests,
                changes=operation.method != "GET",
                carries_nonce=operation.method in {"GET", "DELETE"},
                in_flight=self.policy.in_flight,
                wall_ms=0,
            )
            found = self._questions[operation.name] = question, self.key.part(windows)
        return found

    def _attempt(
        self, progress: _Progress, attempt: Attempt, channel: Channel
    ) -> Generator[Step, Any, Answer | BaseException]:
        """Take a turn, sign, send once; return the answer or what came in its place.

        Raises:
            NotSentError: If there was no turn.
        """
        operation = progress.call.operation
        question, part = self._question(operation)
        progress.token = new_token()
        group, share = operation.rate_limit.group, self.policy.limit_share
        # Who is signed again has had its turn: it does not wait behind those who have not.
        queue = self.throttle.queue(part, f"{group} again" if progress.again else group, share)
        given: Pass | None = None
        answer: Answer | BaseException
        try:
            connection, given = yield from self._turn(
                progress, question, part, queue, attempt, channel, channel.transport
            )
            attempt.sent_ms, progress.nonce = self.timing.now_ms(), given.nonce
            progress.correction_ms = self.throttle.clock.correction_ms
            attempt.deadline = self._answer_deadline(progress)
            try:
                # Not bound to a name of its own: tracebacks show variables, and a step hides it.
                send = Send(connection, self._written(progress.message, given.nonce), attempt)
            except BaseException:
                channel.transport.put(connection)
                raise
            answer = yield send
        except BaseException as error:  # noqa: BLE001 - whatever it is, the turn ends first
            answer = error
        came = attempt.answer
        if is_cancellation(answer) and came is not None and came.status < 300 and question.changes:
            # The answer was whole when the task was cancelled: it is the news.
            answer, attempt.tally.is_interrupted = came, True
        attempt.tally.is_under_way = False
        try:
            fate = self._fate(progress, question, given, answer, attempt)
            if isinstance(answer, Answer) and answer.status == 429:
                # Before its turn ends: then the next one leaves.
                told = retry_after_seconds(answer.headers, self.timing.now_ms())
                self.cool_down(told, operation)
            self.throttle.leave(part, progress.token, given, fate)
        except Exception as error:  # noqa: BLE001 - what came back stands
            logger.warning(
                "the turn was not given back (%s); it ends by itself", type(error).__name__
            )
        if isinstance(answer, Answer):
            return answer
        if isinstance(answer, Exception) and not isinstance(answer, NotSentError):
            return answer
        # A cancelled task learns that its request is out. Ctrl-C is Ctrl-C.
        if is_cancellation(answer) and attempt.has_left and question.changes:
            return answer
        raise answer.with_traceback(None)

    def _turn(
        self,
        progress: _Progress,
        question: Question,
        part: Part,
        queue: Queue,
        attempt: Attempt,
        channel: Channel,
        transport: "ThreadTransport | TaskTransport | _NoTransport",
    ) -> Generator[Step, Any, tuple[Connection, Pass]]:
        """Wait for the turn, with a connection open when it comes."""
        now, token = self.timing.monotonic, progress.token
        waiter = Waiter(attempt.deadline, running_loop() or threading.get_ident())
        origin = progress.route.origin
        progress.waited = False
        connection: Connection | None = None
        try:
            queue.join(token, waiter)
            while seconds := queue.seconds_until_first(token, waiter, question.in_flight):
                reason = _crowd(queue)
                yield from self._listen(progress, waiter, seconds, channel, reason)
            while True:
                if connection is None:
                    # Whether one is open is asked of the system, and meanwhile other threads run:
                    # those who may be in flight beside this one are not to wait for that.
                    waiter.is_opening = True
                    connection = transport.take(origin)
                    waiter.is_opening = False
                self._check_time(progress, queue)
                needs, spare = self._pressure(progress, question, queue)
                asked = question._replace(
                    token=token,
                    wall_ms=self.throttle.clock.now_ms(),
                    needs=needs,
                    spare=spare,
                    at_top=progress.at_top,
                    ahead_ms=JUMPS_MS[min(progress.fresh, len(JUMPS_MS) - 1)],
                    again=progress.again,
                )
                if connection is None:
                    # Those who are connecting will be under way before it.
                    room = max(1, question.in_flight - queue.opening())
                    asked = asked._replace(only_looks=True, in_flight=room)
                answer = self.throttle.enter(
                    part,
                    asked,
                    needs_store=not self.policy.local_if_shared_fails,
                    signal=channel.signal,
                )
                if isinstance(answer, Job):
                    waiter.due = now() + LEASE_SECONDS
                    answer = yield from self._settled(progress, answer)
                if isinstance(answer, Pass) and connection is not None:
                    self._check_time(progress, queue)
                    given, connection = connection, None
                    return given, answer
                if isinstance(answer, Pass):
                    waiter.due, waiter.is_opening = now() + LEASE_SECONDS, True
                    if question.in_flight > 1:
                        queue.wake()
                    connection = yield Connect(origin, attempt)
                    waiter.is_opening = False
                    continue
                if connection is not None and answer.microseconds > LONGEST_HOLD:
                    # In this order: cut off in between, it must not be put back twice.
                    unused, connection = connection, None
                    transport.put(unused)
                reason = self._why(progress, answer, queue)
                waiter.due = now() + answer.microseconds / SECOND + LEASE_SECONDS
                yield from self._listen(
                    progress, waiter, answer.microseconds / SECOND, channel, reason
                )
        finally:
            queue.leave(token, waiter)
            if connection is not None:
                transport.put(connection)

    def _pressure(self, progress: _Progress, question: Question, queue: Queue) -> tuple[int, int]:
        """Return how long those who wait here need, and how long the first of them has."""
        if not question.changes:
            return 0, 0
        # A tenth is left for what no estimate knows.
        spare = queue.seconds_to_first_deadline() - progress.seconds / 10
        spare -= self._round_trip(progress)
        return len(queue) * question.gap // question.in_flight, round(spare * SECOND)

    def _round_trip(self, progress: _Progress) -> float:
        return min(self.throttle.round_trip.seconds, progress.seconds / MOST_OF_THE_TIME)

    def _answer_deadline(self, progress: _Progress) -> float:
        """Return until when an answer is waited for, on the monotonic clock."""
        now = self.timing.monotonic()
        left = progress.deadline - now
        usual = 2 * self.throttle.round_trip.seconds
        return now + min(left, max(left * progress.answer_share, usual))

    def _check_time(self, progress: _Progress, queue: Queue) -> None:
        """Send nothing whose answer cannot come in time, if it has waited."""
        left = progress.deadline - self.timing.monotonic()
        if left > 0 and not progress.waited:
            return
        needed = self._round_trip(progress)
        if left < needed or left <= 0:
            reason = f"its turn came too late: {_crowd(queue)}, and an answer takes {needed:.2f} s"
            raise progress.about(NotSentError(reason))

    def _why(self, progress: _Progress, answer: NotYet, queue: Queue) -> str:
        """Say why a request waits; give up at once if the limit has no room in time."""
        if not answer.limit:
            return _crowd(queue)
        reason = f"the limit has room again in {answer.limit / SECOND:.1f} s"
        if self.timing.monotonic() + answer.limit / SECOND >= progress.deadline:
            raise progress.about(NotSentError(f"{reason}, after the deadline"))
        return reason

    def _listen(
        self, progress: _Progress, waiter: Waiter, seconds: float, channel: Channel, reason: str
    ) -> Generator[Step, Any, None]:
        """Wait until something may have changed."""
        progress.waited = True
        if waiter.signal is None:
            # Somebody may have called before there was a signal: it looks again at once.
            waiter.signal = channel.signal()
            return
        left = progress.deadline - self.timing.monotonic()
        if left <= 0:
            raise progress.about(NotSentError(f"its turn did not come in time: {reason}"))
        yield Listen(waiter.signal, min(seconds, left))

    def _settled(self, progress: _Progress, job: Job) -> Generator[Step, Any, Pass | NotYet]:
        """Wait for what a shared store says."""
        while not job.is_done:
            left = progress.deadline - self.timing.monotonic()
            if left <= 0 or job.signal is None:
                raise progress.about(NotSentError("the shared store did not answer in time"))
            yield Listen(job.signal, min(left, LOOK_AFTER_SECONDS))
            self.throttle.hurry()
        if isinstance(job.result, StoreError):
            raise progress.about(NotSentError(str(job.result)))
        return cast("Pass | NotYet", job.result)

    def _written(self, message: Message, nonce: int) -> bytes:
        """Return the signed request; only here do its secrets have names."""
        signed = self._signer.headers(message.method, message.body, nonce)
        headers = {**message.headers, **signed}
        return request_bytes(message.method, message.target, headers, message.body)

    def _secrets(self, progress: _Progress) -> list[Secret]:
        """Return what no message of the other side may repeat: what the attempt was signed with."""
        message = progress.message
        # The headers have no name here: a traceback may show variables.
        return [
            self.credentials.identity,
            *map(
                Secret,
                self._signer.headers(message.method, message.body, progress.nonce).values(),
            ),
        ]

    def _fate(
        self,
        progress: _Progress,
        question: Question,
        given: Pass | None,
        answer: Answer | BaseException,
        attempt: Attempt,
    ) -> Fate:
        """Say what became of the nonce, and learn from the answer what time it is."""
        if given is None or not attempt.has_left or attempt.left_at is None:
            return Fate.UNSENT
        if not isinstance(answer, Answer):
            return Fate.UNKNOWN
        took = self.timing.monotonic() - attempt.left_at
        self.throttle.round_trip.note(took)
        if answer.status != 409 or not question.carries_nonce:
            return Fate.USED if answer.status in PROCESSED else Fate.UNKNOWN
        clock, date = self.throttle.clock, date_ms(answer.headers.get("Date", "")) or 0
        if date in PLAUSIBLE_MS and not clock.is_right(date, took * 1000):
            clock.correct(date, took * 1000)
            correction = clock.correction_ms
            logger.warning(
                "this machine's clock is %.1f s %s the exchange's; nonces are corrected",
                abs(correction) / 1000,
                "behind" if correction > 0 else "ahead of",
                extra={"clock_correction_ms": correction},
            )
            is_far = given.nonce > clock.now_ms() + FAR_MS
            return Fate.CLOCK if is_far else Fate.UNKNOWN
        if given.nonce > clock.now_ms() + FAR_MS and not progress.rewound:
            # An earlier clock was ahead. If nothing was accepted since, the right time will do.
            progress.rewound = True
            return Fate.CLOCK
        # Refused again by the right time: an answer that was lost must have accepted more.
        progress.at_top = progress.rewound
        return Fate.COLLISION

    def _judge(
        self, progress: _Progress, answer: Answer | BaseException, attempt: Attempt
    ) -> tuple[Response[Any] | BitoProError, Failure | None]:
        """Say what an attempt came to, by the table in `failures`."""
        try:
            return self._meaning(progress, answer, attempt)
        except Exception as error:  # noqa: BLE001 - it is accepted or not, whatever ails us
            status = answer.status if isinstance(answer, Answer) else None
            reason = f"the answer was not understood ({type(error).__name__})"
            return OutcomeUnknownError(reason, status=status), failures.GARBLED

    def _meaning(
        self, progress: _Progress, answer: Answer | BaseException, attempt: Attempt
    ) -> tuple[Response[Any] | BitoProError, Failure | None]:
        if is_cancellation(answer):
            reason = "the task was cancelled after the request had left"
            return OutcomeUnknownError(reason), failures.CANCELLED
        if isinstance(answer, BaseException):
            is_ours = isinstance(answer, TransportError)
            name = f"{answer}" if is_ours else type(answer).__name__
            if not attempt.has_left:
                text = f"nothing was sent ({name}). Calling again is safe"
                return NotSentError(text), failures.NO_CONNECTION if is_ours else failures.FOREIGN
            kind = failures.SILENCE if isinstance(answer, SilenceError) else failures.BROKEN
            unknown = OutcomeUnknownError(f"no answer came ({name})")
            return unknown, kind if is_ours else failures.CANCELLED
        if 200 <= answer.status < 300:
            try:
                content = _decoded(answer)
                return progress.call.read(answer.status, content, answer.headers), None
            except UnreadableAnswer as error:
                return OutcomeUnknownError(str(error), status=answer.status), failures.GARBLED
        if answer.status == 409 and progress.call.operation.method not in {"GET", "DELETE"}:
            # Its signed bytes hold no nonce: they may have been refused, or taken before.
            reason = "the exchange answered 409 to what carries no nonce"
            return OutcomeUnknownError(reason, status=409), failures.REPEATED
        refusal = error_of(
            answer.status,
            answer.content,
            answer.headers,
            now_ms=self.timing.now_ms(),
            secrets=self._secrets(progress),
        )
        if isinstance(refusal, OutcomeUnknownError):
            if answer.status == 404:
                return refusal, failures.STRANGER
            down = answer.status == 408 or answer.status >= 500
            return refusal, failures.SERVER if down else failures.REDIRECT
        special = {409: failures.NONCE, 429: failures.RATE}
        return refusal, special.get(answer.status, failures.REFUSAL)

    def _pause(
        self, progress: _Progress, failure: Failure | None, error: BitoProError
    ) -> float | None:
        """Return how long to wait before the next attempt, in seconds; None for no next one."""
        retry = Retry.NO if failure is None else failure.retry
        if retry is Retry.READS and progress.call.operation.method == "GET":
            retry = Retry.BACKOFF
        if retry not in {Retry.BACKOFF, Retry.AS_TOLD}:
            return None
        if progress.tries >= self.policy.attempts or not self._budget.spend():
            return None
        longest: float = min(
            self.policy.longest_backoff_seconds,
            self.policy.backoff_seconds * 2 ** (progress.tries - 1),
        )
        backoff = self.timing.random() * longest
        if isinstance(error, RateLimitedError):
            # Nothing of the same limit leaves before, see `_attempt`.
            return max(backoff, error.retry_after or 0.0, self.policy.backoff_seconds)
        return backoff

    def _record(
        self,
        progress: _Progress,
        answer: Answer | BaseException,
        failure: Failure | None,
        attempt: Attempt,
        started: float,
    ) -> None:
        """Log an attempt and hand it to the hook; whatever ails them changes no outcome."""
        if self.on_attempt is None and not logger.isEnabledFor(logging.INFO):
            return
        try:
            ended = self.timing.monotonic()
            left_at = ended if attempt.left_at is None else attempt.left_at
            self._tell(
                AttemptRecord(
                    operation=progress.call.operation.name,
                    arguments=progress.call.arguments,
                    attempt=progress.tries + progress.fresh + 1,
                    status=answer.status if isinstance(answer, Answer) else None,
                    milliseconds=(ended - left_at) * 1000,
                    waited_milliseconds=(left_at - started) * 1000,
                    outcome=Outcome.ACCEPTED if failure is None else failure.outcome,
                    clock_correction_ms=progress.correction_ms,
                )
            )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - also what a hook takes for a cancellation
            with contextlib.suppress(Exception):
                logger.warning("the record of an attempt failed: %s", type(error).__name__)

    def _tell(self, record: AttemptRecord) -> None:
        logger.info(
            "%s %s attempt %d: %s",
            record.operation,
            " ".join(record.arguments.values()),
            record.attempt,
            record.outcome,
            extra=asdict(record),
        )
        if self.on_attempt is not None:
            try:
                self.on_attempt(record)
            except Exception:
                logger.warning("the on_attempt hook failed", exc_info=True)


def _crowd(queue: Queue) -> str:
    return f"{len(queue)} requests of this key wait for the same limit"


def _decoded(answer: Answer) -> bytes:
    """Return the body, decompressed if a server compresses it unasked, and never more than a cap.

    Raises:
        UnreadableAnswer: If it cannot be decompressed, or is too large then.
    """
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return answer.content
    if encoding not in {"gzip", "deflate"}:
        raise UnreadableAnswer(answer.status, b"", "its encoding is not understood")
    try:
        # 47: gzip or zlib, told apart by the header.
        content = zlib.decompressobj(47).decompress(answer.content, LONGEST_ANSWER + 1)
    except zlib.error as error:
        raise UnreadableAnswer(answer.status, b"", f"{error}") from None
    if len(content) > LONGEST_ANSWER:
        raise UnreadableAnswer(answer.status, b"", f"it is longer than {LONGEST_ANSWER} bytes")
    return content


def _bare(answer: Answer | BaseException) -> BaseException | None:
    """Return a failure without its frames, which hold the signed request."""
    if not isinstance(answer, BaseException):
        return None
    if isinstance(answer, TransportError) or is_cancellation(answer):
        return answer.with_traceback(None)
    return TransportError(type(answer).__name__)
