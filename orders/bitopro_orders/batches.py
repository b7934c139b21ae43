"""Sends cancels in batches, when that is faster than one by one."""

import asyncio
import math
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from attrs import define, field

from bitopro_client.api.orders import cancel_order, cancel_order_batch
from bitopro_client.models import OrderIdsByPair

from .connection import OrdersClient
from .errors import BitoProError, NotSentError, OutcomeUnknownError, RejectedError
from .outcomes import INTERRUPTED, Begun
from .refusals import is_about_key
from .run import Asked, Escort
from .states import Key, key_of
from .transport import Tally

_SINGLE, _BATCH = cancel_order.OPERATION.rate_limit, cancel_order_batch.OPERATION.rate_limit
#: A batch takes as much of the time that the limits give as so many cancels one by one.
WORTH_A_BATCH = math.ceil(
    (_BATCH.period_seconds / _BATCH.requests) / (_SINGLE.period_seconds / _SINGLE.requests)
)
#: Orders that come so soon after one another are sent together; one alone waits as long.
GATHER_SECONDS = 0.005


@define(eq=False)
class _Member:
    """An order that waits to be sent.

    Attributes:
        order: The order.
        escort: Who goes with it.
        answer: Set to the cancel that may have worked, or to None if it is to be sent alone.
        tally: Counts the requests of the batch that it is in.
        task: What sends that batch.
    """

    order: Asked
    escort: Escort
    answer: "asyncio.Future[Begun | None]"
    tally: Tally = field(factory=Tally)
    task: "asyncio.Task[None] | None" = None


@define(eq=False)
class Batches:
    """Collects the orders that wait to be sent: many are sent as a batch, few are sent one by one.

    Args:
        client: Sends the requests.
        size: How many ids a batch holds at most; halved each time a batch is refused.
        seconds: Returns how long a batch may take, in seconds.
    """

    _client: OrdersClient
    _size: int
    _seconds: Callable[[], float]
    _waiting: list[_Member] = field(factory=list, init=False)
    _tasks: "set[asyncio.Task[None]]" = field(factory=set, init=False)
    _is_gathering: bool = field(default=False, init=False)

    async def join(self, order: Asked, escort: Escort) -> Begun | None:
        """Wait for the result of a batch for an order; None if the order is to be sent alone.

        Raises:
            OutcomeUnknownError: If the task is cancelled after the batch was sent.
        """
        if self._size < WORTH_A_BATCH:
            return None
        member = _Member(order, escort, asyncio.get_running_loop().create_future())
        self._waiting.append(member)
        if not self._is_gathering:
            self._is_gathering = True
            self._start(self._gather())
        try:
            return await member.answer
        except asyncio.CancelledError:
            # Only all of them are cancelled at once: what has not left must not leave any more.
            if member.task is not None:
                member.task.cancel()
            if member in self._waiting:
                self._waiting.remove(member)
            if not member.tally.sent and not escort.tally.sent:
                raise
            unknown = OutcomeUnknownError(INTERRUPTED)
            unknown.sent_ms = self._client.timing.now_ms()
            if not member.answer.cancelled() and (begun := member.answer.result()):
                # The answer came at the same moment.
                unknown.accepted, unknown.sent_ms = begun.accepted, begun.sent_ms
            raise order.about(unknown, escort.tally.sent + member.tally.sent) from None

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _gather(self) -> None:
        """Send full batches as they are there; when no more orders come at once, send the rest."""
        number = -1
        while number != len(self._waiting):
            while len(self._waiting) >= self._size:
                self._send_first(self._size)
            number = len(self._waiting)
            await self._client.timing.sleep_async(GATHER_SECONDS)
        self._is_gathering = False
        if len(self._waiting) >= WORTH_A_BATCH:
            self._send_first(len(self._waiting))
        alone, self._waiting = self._waiting, []
        _release(alone, None)

    def _send_first(self, number: int) -> None:
        part, self._waiting = self._waiting[:number], self._waiting[number:]
        task = self._start(self._send(part))
        for member in part:
            member.task = task

    async def _send(self, members: Sequence[_Member]) -> None:
        """Send a batch; if it is refused, send it in smaller ones, and then one by one."""
        parts = [members]
        deadline = self._client.timing.monotonic() + self._seconds()
        try:
            while parts:
                part = parts.pop(0)
                left = deadline - self._client.timing.monotonic()
                is_held = any(each.escort.is_held for each in part)
                if len(part) < WORTH_A_BATCH or left <= 0 or is_held:
                    _release(part, None)
                elif await self._is_refused(part, left):
                    middle = len(part) // 2
                    self._size = min(self._size, middle)
                    parts += [part[:middle], part[middle:]]
        finally:
            # Whatever went wrong: each goes on alone, and is read where it may have worked.
            _release(members, None)

    async def _is_refused(self, part: Sequence[_Member], seconds: float) -> bool:
        """Send one batch and tell its orders what it came to; say whether a smaller one may do."""
        orders: dict[str, list[str]] = {}
        for member in part:
            orders.setdefault(member.order.pair, []).append(member.order.order_id)
        call = cancel_order_batch.call(body=OrderIdsByPair.from_dict(orders))
        name, tally, now_ms = secrets.token_hex(8), Tally(), self._client.timing.now_ms
        await asyncio.gather(*(each.escort.before_batch(name, seconds) for each in part))
        for member in part:
            member.tally = tally
        named: set[Key] = set()
        failure: BitoProError | None = None
        sent_ms = now_ms()
        try:
            steps = self._client.steps(call, seconds=seconds, tally=tally, answer_share=0.5)
            guarded = part[0].escort.guard(steps)
            answer = (await self._client.run_async(guarded)).parsed
            named = {key_of(p, i) for p, ids in answer.data.to_dict().items() for i in ids}
        except BitoProError as error:
            failure = error
            sent_ms = getattr(error, "sent_ms", 0) or sent_ms
        except Exception as error:  # noqa: BLE001 - it may have left, whatever ails us
            failure = OutcomeUnknownError(f"it ended in a {type(error).__name__}")
        for member in part:
            escort = member.escort
            escort.tally.sent, member.tally = escort.tally.sent + tally.sent, Tally()
            if member.order.key in named:
                escort.after(None, sent_ms)
                _release([member], Begun(True, sent_ms))
            elif failure is None:
                escort.why = "the answer to a batch did not name it"
                escort.note(OutcomeUnknownError(escort.why), sent_ms)
                _release([member], None)
            elif isinstance(failure, OutcomeUnknownError):
                escort.after(failure, sent_ms)
                _release([member], Begun(False, sent_ms))
            else:
                escort.why = "a batch with it was refused, or did not leave"
                escort.note(failure, sent_ms)
        if isinstance(failure, NotSentError) or (failure and is_about_key(failure)):
            _release(part, None)
            return False
        return isinstance(failure, RejectedError)


def _release(members: Sequence[_Member], begun: Begun | None) -> None:
    for member in members:
        if not member.answer.done():
            member.answer.set_result(begun)
