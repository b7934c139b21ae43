"""The sending policy: how one call becomes one or more attempts, for every operation.

It sits above signing, so each attempt has its own nonce and signature. It is written once, as a
generator of steps; a sync and an async driver carry the steps out. A call waits for the limit, then
for its turn in the key's lane, is signed, sent, and judged by `failures`.
"""

import asyncio
import logging
import math
import zlib
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import httpx
from attrs import asdict, define, field, frozen

from bitopro_auth import BitoProAuth, Credentials, UnsignableRequestError
from bitopro_client.errors import InvalidArgument, UnreadableAnswer
from bitopro_client.types import Call, Response

from . import failures
from .answers import error_of
from .errors import (
    BitoProError,
    ClockMismatchError,
    InvalidArgumentError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from .failures import Failure, Outcome, Retry
from .forks import ForkSafeLock
from .lanes import Lane, LaneTimeoutError
from .sharing import SharedStoreError
from .timing import Timing
from .transport import LONGEST_ANSWER, Attempt

T = TypeVar("T")
E = TypeVar("E", bound=BitoProError)
logger = logging.getLogger("bitopro_orders")

HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}
#: A `Date` has whole seconds, so clocks that differ by less may well be the same.
CLOCK_TOLERANCE_MS = 1500

#: Before any of these is raised, no byte of the request has left this machine.
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    UnsignableRequestError,
)


@frozen(kw_only=True)
class SendingPolicy:
    """How calls are sent. The defaults suit one account on one machine.

    Attributes:
        deadline_seconds: How long a call may take, with all its waits and attempts.
        attempts: How many requests a call may send, not counting fresh nonces.
        fresh_nonces: How many times a call is signed again after a 409.
        backoff_seconds: The longest first backoff; it doubles each time, up to
            `longest_backoff_seconds`, and a random part of it is waited ("full jitter").
        longest_backoff_seconds: The longest backoff.
        retry_ratio: How many retries each call adds to the budget that all retries are taken from.
        retry_reserve: How many retries the budget holds at most, and at first.
        limit_share: Which part of the exchange's limits these clients may use, above 0 up to 1;
            None counts nothing, for an exchange of your own.
        in_flight: How many requests of the key may be under way at once before one is answered;
            more than 1 is faster if the exchange does not want nonces in order, which is not
            known. After a 409 it is 1 for a minute.
        local_if_shared_fails: Whether a shared store that is down is replaced by local counting,
            with a warning, so that a cancel is not held back.
    """

    deadline_seconds: float = 10.0
    attempts: int = 4
    fresh_nonces: int = 4
    backoff_seconds: float = 0.1
    longest_backoff_seconds: float = 2.0
    retry_ratio: float = 0.2
    retry_reserve: float = 20.0
    limit_share: float | None = 1.0
    in_flight: int = 1
    local_if_shared_fails: bool = True

    def __attrs_post_init__(self) -> None:
        """Check every setting.

        Raises:
            InvalidArgumentError: Naming the setting and its rule.
        """
        for name in ("deadline_seconds", "backoff_seconds", "longest_backoff_seconds"):
            require_seconds(name, getattr(self, name))
        for name in ("attempts", "in_flight"):
            _require(name, "a whole number from 1 up", _whole(getattr(self, name), 1))
        _require("fresh_nonces", "a whole number from 0 up", _whole(self.fresh_nonces, 0))
        for name in ("retry_ratio", "retry_reserve"):
            value = getattr(self, name)
            _require(name, "a finite number from 0 up", _finite(value) and value >= 0)
        share = self.limit_share
        _require(
            "limit_share",
            "above 0 and up to 1, or None",
            share is None or (_finite(share) and 0 < share <= 1),
        )


def require_seconds(name: str, value: object) -> None:
    """Raise unless `value` is a number of seconds.

    Raises:
        InvalidArgumentError: Naming the parameter and the rule.
    """
    _require(
        name, "a finite number of seconds above 0", _finite(value) and cast("float", value) > 0
    )


def _require(name: str, rule: str, holds: bool) -> None:
    if not holds:
        raise InvalidArgumentError(f"{name} must be {rule}")


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@frozen(kw_only=True)
class AttemptRecord:
    """One attempt as it ended: what the log says of it, and what a metrics hook gets.

    Attributes:
        operation: The operation's name in the spec.
        arguments: The arguments that name the order: `pair` and `orderId`.
        attempt: Which attempt of the call it was, from 1.
        status: The answer's HTTP status; None without an answer.
        milliseconds: How long it took, from the turn in the lane to the answer.
        outcome: What it came to.
        clock_correction_ms: What is added to this machine's clock, in milliseconds.
    """

    operation: str
    arguments: Mapping[str, str]
    attempt: int
    status: int | None
    milliseconds: float
    outcome: Outcome
    clock_correction_ms: int


class RetryBudget:
    """What keeps a broken exchange from being hammered: retries are a share of the calls.

    Args:
        ratio: What each call adds.
        reserve: What there is at most, and at first.
    """

    def __init__(self, ratio: float, reserve: float) -> None:
        self._ratio, self._reserve, self._left = ratio, reserve, reserve
        self._lock = ForkSafeLock()

    def earn(self) -> None:
        """Count a call."""
        with self._lock:
            self._left = min(self._reserve, self._left + self._ratio)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


@define
class Answer:
    """What came back, whole: status, headers, and the body as it was sent."""

    status: int
    # Not shown: a server may echo what it was sent, and tracebacks show local variables.
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


@define
class Route:
    """Where a client's requests go, and how.

    Attributes:
        base_url: Where the API is.
        headers: Headers of every request.
        cookies: Cookies of every request; None for none.
        phase_seconds: How long each phase of an attempt may take.
    """

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    cookies: dict[str, str] | None = field(repr=False)
    phase_seconds: float


@define
class Tally:
    """Counts the requests that have left this machine, over several calls."""

    sent: int = 0


class Step(Protocol):
    """Something that waits, done in a thread or in a task."""

    def run(self, channel: "Channel") -> Any:  # noqa: ANN401 - each step's own
        """Do it in this thread."""

    async def run_async(self, channel: "Channel") -> Any:  # noqa: ANN401 - each step's own
        """Do it in this task."""


@define
class Channel:
    """What a driver needs to carry out the steps."""

    timing: Timing
    transport: httpx.BaseTransport | None = None
    async_transport: httpx.AsyncBaseTransport | None = None


@define
class Wait:
    """Sleep for seconds."""

    seconds: float

    def run(self, channel: Channel) -> None:
        """Sleep in this thread."""
        channel.timing.sleep(self.seconds)

    async def run_async(self, channel: Channel) -> None:
        """Sleep in this task."""
        await channel.timing.sleep_async(self.seconds)


@define
class Ask:
    """Ask a store that is beyond a network."""

    question: Callable[[], Any]

    def run(self, channel: Channel) -> Any:  # noqa: ANN401, ARG002 - the question's
        """Ask in this thread."""
        return self.question()

    async def run_async(self, channel: Channel) -> Any:  # noqa: ANN401, ARG002 - the question's
        """Ask in a thread, so that the loop goes on."""
        return await asyncio.to_thread(self.question)


@define
class TakeTurn:
    """Wait for the call's turn in the lane."""

    lane: Lane
    call: Call[Any]
    in_flight: int
    attempt: Attempt

    def run(self, channel: Channel) -> int:  # noqa: ARG002 - the lane has its own clocks
        """Wait in this thread; return the nonce."""
        return self.lane.take(self.call.operation.rate_limit, self.in_flight, self.attempt)

    async def run_async(self, channel: Channel) -> int:  # noqa: ARG002 - the lane has its own
        """Wait in this task; return the nonce."""
        limit = self.call.operation.rate_limit
        return await self.lane.take_async(limit, self.in_flight, self.attempt)


@define
class Send:
    """Send a signed request once and read its whole answer."""

    request: httpx.Request

    def run(self, channel: Channel) -> Answer:
        """Send from this thread."""
        transport = cast("httpx.BaseTransport", channel.transport)
        response = transport.handle_request(self.request)
        try:
            content = b"".join(cast("Iterable[bytes]", response.stream))
        finally:
            response.close()
        return Answer(response.status_code, response.headers, content)

    async def run_async(self, channel: Channel) -> Answer:
        """Send from this task."""
        transport = cast("httpx.AsyncBaseTransport", channel.async_transport)
        response = await transport.handle_async_request(self.request)
        try:
            stream = cast("AsyncIterable[bytes]", response.stream)
            content = b"".join([part async for part in stream])
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, content)


def drive(steps: Generator[Step, Any, T], channel: Channel) -> T:
    """Carry out the steps in this thread and return what they come to."""
    try:
        step = next(steps)
        while True:
            failure: BaseException | None = None
            try:
                result = step.run(channel)
            except BaseException as error:  # noqa: BLE001 - the generator decides
                failure = error
            # Not inside the `except`: what the generator raises would have httpx's error as its
            # context, and with it the signed request.
            step = steps.send(result) if failure is None else steps.throw(failure)
    except StopIteration as finished:
        return cast("T", finished.value)


async def drive_async(steps: Generator[Step, Any, T], channel: Channel) -> T:
    """Carry out the steps in this task and return what they come to."""
    try:
        step = next(steps)
        while True:
            failure: BaseException | None = None
            try:
                result = await step.run_async(channel)
            except BaseException as error:  # noqa: BLE001 - the generator decides
                failure = error
            step = steps.send(result) if failure is None else steps.throw(failure)
    except StopIteration as finished:
        return cast("T", finished.value)


@define
class Sender:
    """Sends calls by the policy; one for all clients that come from one `connect()`.

    Attributes:
        credentials: Whose key signs.
        hosts: The hosts to sign for.
        lane: The key's lane.
        policy: How.
        timing: The clocks.
        on_attempt: Called with the record of each attempt.
    """

    credentials: Credentials
    hosts: frozenset[str]
    lane: Lane
    policy: SendingPolicy
    timing: Timing
    on_attempt: Callable[[AttemptRecord], object] | None = None
    _budget: RetryBudget = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Fill the retry budget."""
        self._budget = RetryBudget(self.policy.retry_ratio, self.policy.retry_reserve)

    def auth(self, nonce: Callable[[], int]) -> BitoProAuth:
        """Return what signs with this nonce."""
        return BitoProAuth(self.credentials, hosts=self.hosts, nonce=nonce)

    def steps(
        self, call: Call[T], route: Route, seconds: float, tally: Tally
    ) -> Generator[Step, Any, Response[T]]:
        """Send one call and return its answer.

        Args:
            call: The operation with its arguments.
            route: Where it goes.
            seconds: How long it may take.
            tally: Counts the requests that leave this machine.

        Raises:
            BitoProError: One of its three kinds, by what happened.
        """
        deadline = self.timing.monotonic() + seconds
        tries = fresh = sent = 0
        self._budget.earn()
        try:
            kwargs = call.request_kwargs()
        except InvalidArgument as error:
            raise self._about(call, 0, InvalidArgumentError(str(error))) from error
        kwargs["url"] = route.base_url + kwargs["url"]
        kwargs["headers"] = {**route.headers, **kwargs.get("headers", {})}
        refused: RejectedError | None = None
        while True:
            attempt = Attempt(deadline, self.timing.monotonic, route.phase_seconds)
            started = self.timing.monotonic()
            extensions = {"attempt": attempt}
            request = httpx.Request(**kwargs, cookies=route.cookies, extensions=extensions)
            try:
                if not self._is_admitted(call):
                    yield from self._admit(call, deadline, sent)
                answer = yield from self._exchange(call, request, attempt, sent)
            except NotSentError as error:
                # What left before and was refused is the better news.
                raise refused or error from None
            if attempt.sent is not False:
                sent, tally.sent = sent + 1, tally.sent + 1
            result, failure = self._judge(call, answer, attempt, request)
            self._record(call, tries + fresh + 1, answer, failure, started)
            if not isinstance(result, BitoProError):
                return result
            request.headers = httpx.Headers()  # tracebacks lead to it
            refusal = self._about(call, sent, result)
            if isinstance(refusal, OutcomeUnknownError):
                refusal.sent_ms = attempt.sent_ms
            if isinstance(refusal, RejectedError):
                refused = refusal
            if failure is failures.NONCE and fresh < self.policy.fresh_nonces:
                fresh += 1
                yield from self._set_clock(cast("ClockMismatchError", refusal))
                continue
            tries += 1
            pause = self._pause(call, failure, refusal, tries)
            if isinstance(refusal, RateLimitedError):
                yield from self._tell(partial(self._cool_down, call, refusal, pause))
            if pause is None or self.timing.monotonic() + pause >= deadline:
                if isinstance(refusal, NotSentError) and refused is not None:
                    raise refused
                raise refusal from _without_request(answer)
            yield Wait(pause)

    def _tell(self, news: Callable[[], object]) -> Generator[Step, Any, None]:
        """Tell all who share the key; that they cannot be told changes no outcome."""
        try:
            yield Ask(news)
        except SharedStoreError as error:
            logger.warning("%s", error)

    def _is_admitted(self, call: Call[Any]) -> bool:
        """Ask a limit that is at hand once; this is all there is to it for most calls."""
        shared, share = self.lane.shared, self.policy.limit_share
        if share is None or shared.is_remote:
            return share is None
        try:
            return not shared.admit(call.operation.rate_limit, share, self.timing.now_ms())
        except SharedStoreError:
            return False

    def _admit(self, call: Call[T], deadline: float, sent: int) -> Generator[Step, Any, None]:
        """Wait until the limit lets one more request through."""
        limit, share = call.operation.rate_limit, self.policy.limit_share
        while share is not None:
            question = partial(self.lane.shared.admit, limit, share, self.timing.now_ms())
            try:
                wait_ms = (yield Ask(question)) if self.lane.shared.is_remote else question()
            except SharedStoreError as error:
                raise self._about(call, sent, NotSentError(f"{error}")) from None
            if not wait_ms:
                return
            if self.timing.monotonic() + wait_ms / 1000 >= deadline:
                reason = f"the limit has room again in {wait_ms / 1000:.1f} s, after the deadline"
                raise self._about(call, sent, NotSentError(reason))
            yield Wait(wait_ms / 1000)

    def _exchange(
        self, call: Call[T], request: httpx.Request, attempt: Attempt, sent: int
    ) -> Generator[Step, Any, Answer | BaseException]:
        """Take a turn, sign, send once; return the answer or what came in its place."""
        try:
            nonce = yield TakeTurn(self.lane, call, self.policy.in_flight, attempt)
        except (LaneTimeoutError, SharedStoreError) as error:
            reason = str(error)
        else:
            reason = ""
        if reason:
            raise self._about(call, sent, NotSentError(reason))
        answer: Answer | BaseException
        try:
            next(self.auth(lambda: nonce).auth_flow(request))
            attempt.sent_ms = self.timing.now_ms()
            answer = yield Send(request)
        except UnsignableRequestError as error:
            attempt.sent, answer = False, error
        except BaseException as error:  # noqa: BLE001 - whatever it is, the turn ends first
            answer = error
        # Only a definite answer says that the nonce was used; a lost one may have been refused.
        used = (
            isinstance(answer, Answer) and answer.status not in {408, 409} and answer.status < 500
        )
        release = partial(self.lane.release, nonce, processed=used)
        try:
            if self.lane.shared.is_remote and not _is_interruption(answer):
                yield Ask(release)
            else:
                release()
        except Exception as error:  # noqa: BLE001 - what came back stands
            name = type(error).__name__
            logger.warning("the turn was not given back (%s); it ends by itself", name)
        except BaseException as error:  # noqa: BLE001 - the task was cancelled just then
            answer = error
        if not _is_interruption(answer):
            return answer
        unsettled = attempt.sent is not False and call.operation.method != "GET"
        if unsettled and isinstance(answer, asyncio.CancelledError):
            return answer
        raise cast("BaseException", answer).with_traceback(None)

    def _judge(
        self,
        call: Call[T],
        answer: Answer | BaseException,
        attempt: Attempt,
        request: httpx.Request,
    ) -> tuple[Response[T] | BitoProError, Failure | None]:
        """Say what an attempt came to, by the table in `failures`."""
        if isinstance(answer, asyncio.CancelledError):
            reason = "the task was cancelled after the request had left"
            return OutcomeUnknownError(reason), failures.CANCELLED
        if isinstance(answer, BaseException):
            name = f"{type(answer).__name__}: {answer}"
            if isinstance(answer, UnsignableRequestError):
                return NotSentError(f"nothing was sent ({name})"), failures.ARGUMENT
            if attempt.sent is False or isinstance(answer, NEVER_SENT):
                text = f"nothing was sent ({name}). Calling again is safe"
                return NotSentError(text), failures.NO_CONNECTION
            silent = isinstance(answer, httpx.TimeoutException)
            failure = failures.SILENCE if silent else failures.BROKEN
            return OutcomeUnknownError(f"no answer came ({name})"), failure
        if 200 <= answer.status < 300:
            try:
                content = _decoded(answer)
                return call.read(answer.status, content, answer.headers), None
            except UnreadableAnswer as error:
                return OutcomeUnknownError(str(error), status=answer.status), failures.GARBLED
        refusal = error_of(
            answer.status,
            answer.content,
            answer.headers,
            now_ms=self.timing.now_ms(),
            secrets=_signed_values(request),
        )
        if isinstance(refusal, OutcomeUnknownError):
            down = answer.status == 408 or answer.status >= 500
            return refusal, failures.SERVER if down else failures.REDIRECT
        special = {409: failures.NONCE, 429: failures.RATE}
        return refusal, special.get(answer.status, failures.REFUSAL)

    def _pause(
        self, call: Call[Any], failure: Failure | None, error: BitoProError, tries: int
    ) -> float | None:
        """Return how long to wait before the next attempt, in seconds; None for no next one."""
        retry = Retry.NO if failure is None else failure.retry
        if retry is Retry.READS and call.operation.method == "GET":
            retry = Retry.BACKOFF
        if retry not in {Retry.BACKOFF, Retry.AS_TOLD}:
            return None
        if tries >= self.policy.attempts or not self._budget.spend():
            return None
        longest: float = min(
            self.policy.longest_backoff_seconds,
            self.policy.backoff_seconds * 2 ** (tries - 1),
        )
        told = error.retry_after if isinstance(error, RateLimitedError) else None
        return max(told or 0.0, self.timing.random() * longest)

    def _cool_down(self, call: Call[Any], error: RateLimitedError, pause: float | None) -> None:
        """Tell all who share the limit to wait as long as this call does."""
        if self.policy.limit_share is not None:
            seconds = max(error.retry_after or 0.0, pause or self.policy.backoff_seconds)
            until_ms = self.timing.now_ms() + round(seconds * 1000)
            self.lane.shared.cool_down(call.operation.rate_limit.group, until_ms)

    def _set_clock(self, error: ClockMismatchError) -> Generator[Step, Any, None]:
        """Correct the clock by a 409's `Date`, or if it is right, let no requests overlap."""
        # The `Date` is cut to the second, so the exchange's time is half a second later on average.
        measured = None if error.difference_ms is None else error.difference_ms - 500
        if measured is None or abs(measured + self.lane.correction_ms) <= CLOCK_TOLERANCE_MS:
            self.lane.be_careful()
            return
        yield from self._tell(partial(self.lane.correct_clock, measured))
        logger.warning(
            "this machine's clock is %.1f s ahead of the exchange's; nonces are corrected",
            measured / 1000,
            extra={"clock_correction_ms": -measured},
        )

    def _record(
        self,
        call: Call[Any],
        number: int,
        answer: Answer | BaseException,
        failure: Failure | None,
        started: float,
    ) -> None:
        """Log an attempt and hand it to the hook."""
        if self.on_attempt is None and not logger.isEnabledFor(logging.INFO):
            return
        record = AttemptRecord(
            operation=call.operation.name,
            arguments=call.arguments,
            attempt=number,
            status=answer.status if isinstance(answer, Answer) else None,
            milliseconds=(self.timing.monotonic() - started) * 1000,
            outcome=Outcome.ACCEPTED if failure is None else failure.outcome,
            clock_correction_ms=self.lane.correction_ms,
        )
        logger.info(
            "%s %s attempt %d: %s",
            record.operation,
            " ".join(record.arguments.values()),
            number,
            record.outcome,
            extra=asdict(record),
        )
        if self.on_attempt is not None:
            try:
                self.on_attempt(record)
            except Exception:
                logger.warning("the on_attempt hook failed", exc_info=True)

    def _about(self, call: Call[Any], sent: int, error: E) -> E:
        """Say in the error which call it is about."""
        error.operation = call.operation.name
        error.arguments = {name: str(value) for name, value in call.arguments.items()}
        error.attempts = sent
        return error


def _is_interruption(answer: Answer | BaseException) -> bool:
    return isinstance(answer, BaseException) and not isinstance(answer, Exception)


def _decoded(answer: Answer) -> bytes:
    """Return the body, decompressed if a server compresses it unasked, and never more than a cap.

    Raises:
        UnreadableAnswer: If it cannot be decompressed, or is too large then.
    """
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return answer.content
    if encoding not in {"gzip", "deflate"}:
        raise UnreadableAnswer(answer.status, b"", f"its encoding is {encoding!r}")
    try:
        # 47: gzip or zlib, told apart by the header.
        content = zlib.decompressobj(47).decompress(answer.content, LONGEST_ANSWER + 1)
    except zlib.error as error:
        raise UnreadableAnswer(answer.status, b"", f"{error}") from None
    if len(content) > LONGEST_ANSWER:
        raise UnreadableAnswer(answer.status, b"", f"it is longer than {LONGEST_ANSWER} bytes")
    return content


def _signed_values(request: httpx.Request) -> list[str]:
    return [value for name, value in request.headers.items() if name.startswith("x-bitopro-")]


def _without_request(answer: Answer | BaseException) -> BaseException | None:
    """Return the failure anew: httpx's holds the signed request, as do the frames below it."""
    if not isinstance(answer, BaseException):
        return None
    try:
        return type(answer)(str(answer))
    except TypeError:  # some want more than a message
        return Exception(f"{type(answer).__name__}: {answer}")
