"""The steps of the sending policy, and what runs them in a thread or in a task.

The policy is written once, as a generator of steps. Only this module differs between threads and
tasks.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from attrs import define, field

from .signals import Signal, TaskSignal, ThreadSignal, running_loop
from .timing import Timing
from .transport import Answer, Attempt, Origin

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
MACHINES_OWN = Timing()
Connection = Any  # each transport's own


class Transport(Protocol):
    """The part of a transport that never waits; `transport.threads` documents more."""

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection."""

    def put(self, connection: Connection) -> None:
        """Put a connection into the pool."""

    def close(self) -> None:
        """Close all idle connections."""


class ThreadTransport(Transport, Protocol):
    """A transport for threads."""

    def connect(self, origin: Origin, attempt: Attempt) -> Connection:
        """Open a connection."""

    def exchange(self, connection: Connection, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return its complete answer."""


class TaskTransport(Transport, Protocol):
    """A transport for tasks."""

    async def connect(self, origin: Origin, attempt: Attempt) -> Connection:
        """Open a connection."""

    async def exchange(self, connection: Connection, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return its complete answer."""


@define
class ThreadChannel:
    """Runs steps in a thread."""

    timing: Timing
    transport: ThreadTransport

    def close(self) -> None:
        """Close all idle connections."""
        self.transport.close()

    def signal(self) -> Signal:
        """Return a signal that wakes this thread."""
        return ThreadSignal()


@define
class TaskChannel:
    """Runs steps in a task.

    Attributes:
        timing: The clocks.
        open: Returns the transport; called when there is a first task.
    """

    timing: Timing
    open: Callable[[], TaskTransport]
    _transport: TaskTransport | None = field(default=None, init=False)
    _left_alone: set["asyncio.Future[Any]"] = field(factory=set, init=False, repr=False)

    @property
    def transport(self) -> TaskTransport:
        """The transport."""
        if self._transport is None:
            self._transport = self.open()
        return self._transport

    def close(self) -> None:
        """Close all idle connections."""
        if self._transport is not None:
            self._transport.close()

    def signal(self) -> Signal:
        """Return a signal that wakes this task."""
        return TaskSignal()

    def leave_alone(self, task: "asyncio.Future[Any]") -> None:
        """Keep a reference to a task that nobody awaits; an event loop holds only weak ones."""
        self._left_alone.add(task)
        task.add_done_callback(self._left_alone.discard)

    def end_tasks(self) -> list["asyncio.Future[Any]"]:
        """Cancel the tasks that nobody awaits; return those of the running loop."""
        here = running_loop()
        ended = list(self._left_alone)
        for task in ended:
            if task.get_loop() is here:
                task.cancel()
            else:
                with contextlib.suppress(RuntimeError):  # its loop is closed
                    task.get_loop().call_soon_threadsafe(task.cancel)
        return [task for task in ended if task.get_loop() is here]


Channel = ThreadChannel | TaskChannel


class Step(Protocol):
    """Something that may wait; it can be run in a thread or in a task."""

    def run(self, channel: ThreadChannel) -> Any:  # noqa: ANN401 - each step's own
        """Run it in this thread."""

    async def run_async(self, channel: TaskChannel) -> Any:  # noqa: ANN401 - each step's own
        """Run it in this task."""


class Where:
    """Ask for the channel."""

    def run(self, channel: ThreadChannel) -> Channel:
        """Return it."""
        return channel

    async def run_async(self, channel: TaskChannel) -> Channel:
        """Return it."""
        return channel


@define
class Wait:
    """Sleep for seconds."""

    seconds: float

    def run(self, channel: ThreadChannel) -> None:
        """Sleep in this thread."""
        channel.timing.sleep(self.seconds)

    async def run_async(self, channel: TaskChannel) -> None:
        """Sleep in this task."""
        await channel.timing.sleep_async(self.seconds)


def _passes_by_itself(timing: Timing) -> bool:
    return (
        timing.monotonic is MACHINES_OWN.monotonic
        or timing.sleep is MACHINES_OWN.sleep
        or timing.sleep_async is MACHINES_OWN.sleep_async
    )


@define
class Listen:
    """Wait for a signal, for a number of seconds at most.

    If neither the clock nor the sleep is the machine's own, only that sleep makes time pass.
    """

    signal: Signal
    seconds: float

    def run(self, channel: ThreadChannel) -> None:
        """Wait in this thread."""
        if _passes_by_itself(channel.timing):
            cast("ThreadSignal", self.signal).wait(self.seconds)
        else:
            channel.timing.sleep(self.seconds)

    async def run_async(self, channel: TaskChannel) -> None:
        """Wait in this task."""
        if _passes_by_itself(channel.timing):
            await cast("TaskSignal", self.signal).wait(self.seconds)
        else:
            await channel.timing.sleep_async(self.seconds)


@define
class Connect:
    """Open a connection."""

    origin: Origin
    attempt: Attempt

    def run(self, channel: ThreadChannel) -> Connection:
        """Open it from this thread."""
        return channel.transport.connect(self.origin, self.attempt)

    async def run_async(self, channel: TaskChannel) -> Connection:
        """Open it from this task."""
        return await channel.transport.connect(self.origin, self.attempt)


@define
class Send:
    """Send a signed request once and read its complete answer."""

    connection: Connection = field(repr=False)
    data: bytes = field(repr=False)
    attempt: Attempt

    def run(self, channel: ThreadChannel) -> Answer:
        """Send from this thread."""
        return channel.transport.exchange(self.connection, self.data, self.attempt)

    async def run_async(self, channel: TaskChannel) -> Answer:
        """Send from this task."""
        return await channel.transport.exchange(self.connection, self.data, self.attempt)


def drive(steps: Generator[Step, Any, T], channel: ThreadChannel) -> T:
    """Run the steps in this thread and return their result."""
    try:
        step = next(steps)
        while True:
            failure: BaseException | None = None
            try:
                result = step.run(channel)
            except BaseException as error:  # noqa: BLE001 - the generator decides
                failure = error
            # Not inside the `except`: what the generator raises would have the transport's error
            # as its context, and with it the signed request.
            step = steps.send(result) if failure is None else steps.throw(failure)
    except StopIteration as finished:
        value: T = finished.value
        return value


async def drive_async(steps: Generator[Step, Any, T], channel: TaskChannel) -> T:
    """Run the steps in this task and return their result."""
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
        value: T = finished.value
        return value
