"""Holds back requests that are not sent yet, after a stop."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar, cast

from attrs import define, field, frozen

from .errors import NotSentError
from .steps import Send, Step, TaskChannel, ThreadChannel

T = TypeVar("T")

STOPPED = "it was stopped before the cancel was sent"


@define(eq=False)
class Gate:
    """Lets the tasks of one event loop go on until it is closed.

    Attributes:
        is_closed: Whether it is closed.
    """

    is_closed: bool = False
    _waiting: "set[asyncio.Task[Any]]" = field(factory=set, init=False)

    def close(self) -> None:
        """Close it; tasks that wait in it give up."""
        self.is_closed = True
        for task in self._waiting:
            task.cancel()
        self._waiting.clear()

    def check(self) -> None:
        """Raise if it is closed.

        Raises:
            NotSentError: If it is closed.
        """
        if self.is_closed:
            raise NotSentError(STOPPED)

    async def wait(self, work: Awaitable[T]) -> T:
        """Wait for something, until the gate is closed.

        Raises:
            NotSentError: If it is closed meanwhile.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._waiting.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            # Somebody else may have cancelled it, too.
            if task in self._waiting or not self.is_closed or task.uncancel():
                raise
            raise NotSentError(STOPPED) from None
        finally:
            self._waiting.discard(task)

    def guard(self, steps: Generator[Step, Any, T]) -> Generator[Step, Any, T]:
        """Return the steps of a request. None of them is begun once the gate is closed.

        A request that waits then is given up; a request that was sent goes on.
        """
        try:
            step = next(steps)
            while True:
                failure: BaseException | None = None
                try:
                    result = yield _Guarded(step, self)
                except BaseException as error:  # noqa: BLE001 - the steps decide
                    failure = error
                step = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as finished:
            value: T = finished.value
            return value


@frozen
class _Guarded:
    """A step of a request that may be held back."""

    step: Step
    gate: Gate

    def run(self, channel: ThreadChannel) -> None:  # noqa: ARG002 - a step's
        """Refuse: a thread that waits cannot be told."""
        raise TypeError("this is for tasks")

    async def run_async(self, channel: TaskChannel) -> Any:  # noqa: ANN401 - each step's own
        """Do it in this task, if it may be done."""
        if isinstance(self.step, Send):
            if self.gate.is_closed:
                channel.transport.put(self.step.connection)
            self.gate.check()
            return await self.step.run_async(channel)
        self.gate.check()
        return await self.gate.wait(self.step.run_async(channel))
