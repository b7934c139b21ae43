"""A store that other processes share. A separate thread uses it, and it may fail at any time.

Using it may block on a lock or on the network. So only this thread does it: no task, no event loop
and no Ctrl-C has to wait for it. If the store fails, this process goes on with the state that it
saw last, within its share of the limit.
"""

import contextlib
import logging
import os
import queue
import secrets
import threading
import uuid
from collections.abc import Callable
from typing import Protocol, TypeVar

from attrs import define, field

from bitopro_orders.signals import Signal

from .memory import MemoryStore, Part
from .rules import MEMBERSHIP, SECOND, SLOTS, Fate, Pass, State, Wait, joined, put_back

R = TypeVar("R")
logger: logging.Logger = logging.getLogger("bitopro_orders")

#: How long a store that failed is left alone.
PAUSE_SECONDS = 2.0
#: After so many collisions in a row a slot is drawn anew.
MOST_COLLISIONS = 3
#: How long the store may take for one job, before the others are done without it.
PATIENCE_SECONDS = 1.0
#: The store's clock was set if it moved against this machine's by more, in microseconds.
CLOCK_WAS_SET = SECOND
#: How often a member says that it is here.
HERE = SECOND
#: So much of what left from here is known, should the store forget it.
LONGEST_WINDOW = 2 * MEMBERSHIP
MOST_OWN = 4096


class StoreError(Exception):
    """The shared store cannot be used, or has not answered."""


class Backend(Protocol):
    """Keeps the state where other processes change it, too. Any exception means that it failed."""

    def transact(
        self, part: Part, change: Callable[[State, int, str], tuple[State, R]], wall_ms: int
    ) -> tuple[R, State, int]:
        """Change a part of the state atomically.

        Args:
            part: The part.
            change: Gets the part, the store's time and its epoch; it may be called several times.
            wall_ms: This machine's time, to decide what can be deleted.

        Returns:
            What `change` returned, the part as it is now, and the store's time.
        """


class Change(Protocol):
    """A change of a part of the state."""

    def __call__(
        self, state: State, now: int, *, members: int, slot: int | None
    ) -> tuple[State, Pass | Wait | None]:
        """Do it.

        Args:
            state: The part.
            now: The state's time, in microseconds.
            members: How many share the limit without knowing of each other: 1 with a store.
            slot: The millisecond of `rules.SLOTS` to leave in then; None with a store.
        """


@define(eq=False)
class Job:
    """A change of the state that was requested, and its result.

    Attributes:
        part: The part of the state.
        token: The token of the request.
        change: Makes the change.
        fate: What became of the request, if the job reports that.
        wall_ms: The exchange's time, in milliseconds since the epoch.
        needs_store: Whether the job must not be done without the store.
        signal: Set when the job is done.
        is_done: Whether the job is done.
        result: The result; an error if the store was needed and has failed.
    """

    part: Part
    token: int
    change: Change
    wall_ms: int
    needs_store: bool = False
    fate: Fate | None = None
    signal: Signal | None = None
    is_done: bool = False
    result: Pass | Wait | StoreError | None = None


@define(eq=False)
class _Own:
    """What left from this process: by counter and token, when by this machine's clock."""

    left_at: dict[str, dict[int, int]] = field(factory=dict)
    unrecorded: dict[str, dict[int, int]] = field(factory=dict)
    nonces: dict[str, int] = field(factory=dict)

    def note(self, part: Part, token: int, given: Pass, shift: int) -> None:
        """Remember a pass."""
        left_at = given.left_at - shift
        self.nonces[part.lane] = max(self.nonces.get(part.lane, 0), given.nonce)
        for name in part.counters:
            stamps = self.left_at.setdefault(name, {})
            stamps[token] = left_at
            # A copy: one whom the store holds up may still be at it.
            for old, at in stamps.copy().items():
                if at < left_at - LONGEST_WINDOW:
                    stamps.pop(old, None)
            while len(stamps) > MOST_OWN:
                del stamps[next(iter(stamps))]

    def forget(self, part: Part, token: int) -> None:
        """Take a request back that did not leave."""
        for stamps in (self.left_at, self.unrecorded):
            for name in part.counters:
                stamps.get(name, {}).pop(token, None)


@define(eq=False)
class _Worker:
    """The thread that does the jobs, of which there is one at a time.

    Attributes:
        jobs: What is to be done.
        baton: Held by the thread.
        job: What it does now.
        since: When it began with that, by this machine's clock, in microseconds.
        before: The one that it goes on for, which the store holds up.
    """

    jobs: "queue.SimpleQueue[Job]" = field(factory=queue.SimpleQueue)
    baton: threading.Lock = field(factory=threading.Lock)
    job: Job | None = None
    since: int = 0
    before: "_Worker | None" = None


def _move(source: _Worker, target: _Worker) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            target.jobs.put(source.jobs.get_nowait())


class SharedStore:
    """A backend, the thread that uses it, and the local state that replaces it when it fails.

    Args:
        open_backend: Opens the backend.
        clock: Returns this machine's time, in microseconds since any fixed moment.

    Raises:
        StoreError: If the backend cannot be used.
    """

    def __init__(self, open_backend: Callable[[], Backend], clock: Callable[[], int]) -> None:
        self._open_backend = open_backend
        self._clock = clock
        self._backend: Backend | None = open_backend()
        self._begin()

    def renew(self) -> None:
        """Become a new member of the store, as in a forked child."""
        # The parent's was perhaps in use, and its locks are held for ever.
        self._backend = None
        self._begin()

    def _begin(self) -> None:
        self._member = uuid.uuid4().hex[:12]
        # Those of one machine differ by their process, also if they never saw the store.
        self._wanted_slot = (os.getpid() + uuid.getnode()) % SLOTS
        self._shift = self._collisions = 0
        self._local = MemoryStore(lambda: self._clock() + self._shift)
        self._epoch: str | None = None
        self._own = _Own()
        self._paused_until: int | None = None
        self._worker = _Worker()
        self._lock = threading.Lock()

    def do(self, job: Job) -> None:
        """Queue a job; its signal tells when it is done."""
        worker = self._worker
        worker.jobs.put(job)
        if self._worker is not worker:
            _move(worker, self._worker)
        self._start(self._worker)

    def overtake(self) -> None:
        """Go on without the store if it has not answered for too long."""
        worker = self._worker
        if worker.job is not None and self._clock() > worker.since + PATIENCE_SECONDS * SECOND:
            successor = _Worker(before=worker)
            with self._lock:
                if self._worker is worker:
                    self._worker = successor
            self._start(self._worker)

    def _start(self, worker: _Worker) -> None:
        if worker.baton.locked():
            return
        thread = threading.Thread(
            target=self._serve, args=(worker,), name="bitopro throttle", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # There can be no more threads, or the interpreter is ending.
            self._pause("no thread can be started")
            with contextlib.suppress(queue.Empty):
                while True:
                    self._finish(worker.jobs.get_nowait(), worker)

    def _serve(self, worker: _Worker) -> None:
        # Of several threads that were started at once, one serves; no signal comes here.
        if not worker.baton.acquire(blocking=False):
            return
        if worker.before is not None:
            self._pause("it did not answer in time")
            if (job := worker.before.job) is not None:
                worker.jobs.put(job)
            _move(worker.before, worker)
            worker.before = None
        while self._worker is worker:
            job = worker.jobs.get()
            worker.since, worker.job = self._clock(), job
            self._finish(job, worker)
            worker.job = None

    def _finish(self, job: Job, worker: _Worker) -> None:
        try:
            result = self._run(job, worker)
        except Exception as error:
            logger.exception("the throttle failed")
            result = StoreError(f"the throttle failed ({type(error).__name__})")
        if self._worker is not worker:
            return  # the one that goes on for it has done it
        job.result, job.is_done = result, True
        if job.signal is not None:
            job.signal.set()

    def _run(self, job: Job, worker: _Worker) -> Pass | Wait | StoreError | None:
        if self._paused_until is None or self._clock() >= self._paused_until:
            try:
                result = self._ask(job, worker)
            except Exception as error:  # noqa: BLE001 - whatever ails the store
                if self._worker is worker:
                    self._pause(
                        str(error) if isinstance(error, StoreError) else type(error).__name__
                    )
            else:
                if self._paused_until is not None:
                    logger.info("the shared store answers again")
                self._paused_until = None
                return result
        if job.needs_store:
            return StoreError("the shared store failed")
        return self._stand_in(job)

    def _pause(self, reason: str) -> None:
        if self._paused_until is None:
            logger.warning("shared store failed, limit is local: %s", reason)
        self._paused_until = self._clock() + round(PAUSE_SECONDS * SECOND)

    def _ask(self, job: Job, worker: _Worker) -> Pass | Wait | None:
        own, part = self._own, job.part
        missing: dict[str, dict[int, int]] = {}

        def change(state: State, now: int, epoch: str) -> tuple[State, Pass | Wait | None]:
            shift = now - self._clock()
            if self._epoch is not None and (
                self._epoch != epoch or abs(shift - self._shift) > CLOCK_WAS_SET
            ):
                # It forgot. What this process knows of its own requests goes back in.
                own.unrecorded = {name: dict(stamps) for name, stamps in own.left_at.copy().items()}
            self._epoch = epoch
            slot, seen = state.members.get(self._member, (self._wanted_slot, now - HERE))
            if not 0 <= now - seen < HERE:
                state = joined(state, self._member, slot, now)
            missing.update({name: dict(own.unrecorded.get(name, {})) for name in part.counters})
            stamps = [[at + shift for at in each.values()] for each in missing.values()]
            nonce = own.nonces.get(part.lane, 0)
            if any(stamps) or state.lane.highest < nonce:
                state = put_back(state, now, stamps, nonce)
            return job.change(state, now, members=1, slot=None)

        backend = self._backend = self._backend or self._open_backend()
        result, state, now = backend.transact(part, change, job.wall_ms)
        for name, stamps in missing.items():
            for token in stamps:
                own.unrecorded.get(name, {}).pop(token, None)
        if self._worker is not worker:
            raise StoreError("it answered too late")
        self._shift = now - self._clock()
        self._local.everything = self._local.everything.with_part(part, state)
        if isinstance(result, Pass):
            own.note(part, job.token, result, self._shift)
        elif job.fate is Fate.UNSENT:
            own.forget(part, job.token)
        return result

    def _stand_in(self, job: Job) -> Pass | Wait | None:
        own, members = self._own, self._local.everything.members
        newest = max((seen for _, seen in members.values()), default=0)
        here = sum(newest - seen < MEMBERSHIP for _, seen in members.values())
        slot, _ = members.get(self._member, (self._wanted_slot, 0))

        def change(state: State, now: int) -> tuple[State, Pass | Wait | None]:
            return job.change(state, now, members=max(1, here), slot=slot)

        result = self._local.transact(job.part, change, job.wall_ms)
        if isinstance(result, Pass):
            own.note(job.part, job.token, result, self._shift)
            for name in job.part.counters:
                left_at = result.left_at - self._shift
                own.unrecorded.setdefault(name, {})[job.token] = left_at
        elif job.fate is Fate.UNSENT:
            own.forget(job.part, job.token)
        elif job.fate is Fate.COLLISION and self._member not in members:
            # Who never saw the store may have drawn the slot of another: then it goes on and on.
            self._collisions += 1
            if self._collisions % MOST_COLLISIONS == 0:
                self._wanted_slot = secrets.randbelow(SLOTS)
        elif job.fate is Fate.USED:
            self._collisions = 0
        return result
