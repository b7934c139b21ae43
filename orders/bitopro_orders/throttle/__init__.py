"""The throttle: decides whether the next request of a key may be sent now, and with which nonce.

The first request of each queue asks, when its connection is open. Its rate limits (by address and
by account), its turn and its nonce are decided together in one atomic step; `rules` decides. The
state is kept in memory, in a folder or in Redis, and outlives the clients.
"""

import hashlib
import itertools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bitopro_auth import Credentials
from bitopro_auth.credentials import Secret
from bitopro_client.types import RateLimit
from bitopro_orders.signals import Signal
from bitopro_orders.timing import Timing

from .clock import ExchangeClock, RoundTrip
from .memory import MemoryStore, Part
from .queue import LEASE_SECONDS, Queue, Waiter
from .rules import SECOND, Fate, Pass, Question, State, Wait, Window, cool_down, enter, leave
from .shared import Backend, Job, SharedStore, StoreError

__all__ = [
    "LEASE_SECONDS",
    "SECOND",
    "Fate",
    "Job",
    "Key",
    "Part",
    "Pass",
    "Question",
    "Queue",
    "StoreError",
    "Throttle",
    "Wait",
    "Waiter",
    "new_token",
    "throttle_of",
]

REDIS_SCHEMES = ("redis://", "rediss://")
#: Another process wakes nobody here, so its answers are looked for this often.
LEAST_POLL = SECOND // 500
#: With more queues than these, for as many keys, those in which nobody waits are dropped.
MOST_QUEUES = 1000

# Tokens of different processes differ, also after a fork.
_numbers = itertools.count(1)
_prefix = int.from_bytes(os.urandom(8))


def new_token() -> int:
    """Return a unique token for a request."""
    return (_prefix ^ (os.getpid() << 32)) + next(_numbers)


class Key(NamedTuple):
    """The API key, the account and the address of requests, as hashes that reveal nothing.

    Attributes:
        key: The API key. Its nonces are kept in order.
        account: The account. The exchange counts limits per account; the keys of an account share
            them.
        address: The public IP address that requests come from; empty if all who share the store
            have the same one.
    """

    key: str
    account: str
    address: str

    @classmethod
    def of(cls, credentials: Credentials, address: str) -> "Key":
        """Return the hashes of these credentials and this address."""
        return cls(
            _hidden(credentials.api_key.reveal()),
            _hidden(credentials.identity.reveal().lower()),
            _hidden(address),
        )

    def part(self, windows: tuple[Window, ...]) -> Part:
        """Return the part of the state that a question about these windows needs."""
        return Part(tuple(window.counter for window in windows), self.key)

    def windows(self, limit: RateLimit, share: float) -> tuple[Window, ...]:
        """Return the windows in which a request under this limit is counted."""
        who = {"ip": self.address, "account": self.account}
        requests = max(1, int(limit.requests * share))
        return tuple(
            Window(
                f"{per}-{who.get(per, self.account)}-{quote(limit.group, safe='')}",
                requests,
                limit.period_seconds * SECOND,
                limit.requests,
            )
            for per in limit.per
        )


def _hidden(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Throttle:
    """The throttle of one exchange, for all processes that share a store.

    Args:
        store: Keeps the state.
        timing: The clocks.

    Attributes:
        clock: The exchange's time.
        round_trip: How long an answer takes.
    """

    def __init__(self, store: MemoryStore | SharedStore, timing: Timing) -> None:
        self._store, self._timing = store, timing
        self.clock: ExchangeClock = ExchangeClock(timing)
        self.round_trip: RoundTrip = RoundTrip(timing.monotonic)
        self._queues: dict[tuple[str, str, float | None], Queue] = {}

    def renew(self) -> None:
        """Start with empty queues, as in a forked child."""
        self._store.renew()
        self._queues = {}

    def queue(self, part: Part, group: str, share: float | None) -> Queue:
        """Return this process's queue for one limit of a key.

        Clients with different shares of a limit have separate queues: a client with a larger share
        does not wait behind one with a smaller share.
        """
        name = part.lane, group, share
        found = self._queues.get(name)
        if found is None:
            if len(self._queues) >= MOST_QUEUES:
                for each in [each for each, queue in self._queues.copy().items() if not queue]:
                    self._queues.pop(each, None)
            found = self._queues.setdefault(name, Queue(self._timing.monotonic))
        return found

    def enter(
        self, part: Part, question: Question, *, needs_store: bool, signal: Callable[[], Signal]
    ) -> Pass | Wait | Job:
        """Ask whether a request may be sent now.

        Args:
            part: The part of the state that the question needs.
            question: The request.
            needs_store: Whether the request must not be sent if the shared store fails.
            signal: Makes the signal that tells when the job is done.

        Returns:
            The answer, or a job that will bring it.
        """
        if isinstance(self._store, MemoryStore):
            change = partial(enter, question=question)
            return self._store.transact(part, change, question.wall_ms)

        def ask(
            state: State, now: int, *, members: int, slot: int | None
        ) -> tuple[State, Pass | Wait]:
            asked = question if slot is None else question._replace(weight=members, slot=slot)
            state, answer = enter(state, now, question=asked)
            if isinstance(answer, Wait) and not answer.limit:
                poll = max(LEAST_POLL, question.gap // 8)
                answer = Wait(min(answer.microseconds, poll))
            return state, answer

        job = Job(
            part, question.token, ask, question.wall_ms, needs_store=needs_store, signal=signal()
        )
        self._store.do(job)
        return job

    def hurry(self) -> None:
        """Go on without a store that does not answer in time; call it now and then."""
        if isinstance(self._store, SharedStore):
            self._store.overtake()

    def leave(self, part: Part, token: int, given: Pass | None, fate: Fate) -> None:
        """Finish what `enter` began, and let the next request ask; it never waits."""
        wall_ms = self.clock.now_ms()
        change = partial(leave, token=token, given=given, fate=fate, wall_ms=wall_ms)
        self._change(part, change, token, fate)
        for (name, _, _), queue in self._queues.copy().items():
            if name == part.lane and len(queue):
                queue.wake()

    def cool_down(self, part: Part, seconds: float) -> None:
        """Send nothing under the same limits for so long; it never waits."""
        change = partial(cool_down, microseconds=round(seconds * SECOND))
        self._change(part, change)

    def _change(
        self,
        part: Part,
        change: Callable[..., tuple[State, None]],
        token: int = 0,
        fate: Fate | None = None,
    ) -> None:
        wall_ms = self.clock.now_ms()
        if isinstance(self._store, MemoryStore):
            self._store.transact(part, change, wall_ms)
            return

        def ask(state: State, now: int, *, members: int, slot: int | None) -> tuple[State, None]:
            # Without the store, each request was counted once for every member.
            alone = fate is not None and slot is not None
            return change(state, now, weight=members) if alone else change(state, now)

        self._store.do(Job(part, token, ask, wall_ms, fate=fate))


_throttles: dict[tuple[str, Secret | None, Timing], Throttle] = {}
_shared_stores: dict[tuple[str, Secret], SharedStore] = {}


def throttle_of(origin: str, where: Secret | None, timing: Timing) -> Throttle:
    """Return the throttle of an exchange. All clients of this process with the same store share it.

    Args:
        origin: The exchange, as scheme, host and port.
        where: The store: None for this process, a folder for the processes of this machine, or a
            `redis://` or `rediss://` URL for several machines; the URL may hold a password.
        timing: The clocks. Clients with different clocks share nothing.

    Raises:
        StoreError: If the store cannot be used.
        ValueError: If the URL of Redis is not understood.
    """
    if where is not None and not where.reveal().startswith(REDIS_SCHEMES):
        if not where.reveal() or "://" in where.reveal():
            raise StoreError("it is neither a folder nor a redis:// or rediss:// URL")
        where = Secret(str(Path(where.reveal()).resolve()))
    name = (origin, where, timing)
    found = _throttles.get(name)
    if found is None:
        store: MemoryStore | SharedStore
        if where is None:
            store = MemoryStore(lambda: int(timing.monotonic() * SECOND))
        else:
            store = _shared_store(origin, where)
        found = _throttles.setdefault(name, Throttle(store, timing))
    return found


def _shared_store(origin: str, where: Secret) -> SharedStore:
    """Return the one of this process: a file's lock keeps processes apart, not threads."""
    found = _shared_stores.get((origin, where))
    if found is None:
        # What several processes share goes by the machine's clock, whatever clock a client has.
        machine, name = Timing(), _hidden(origin)

        def clock() -> int:
            return int(machine.monotonic() * SECOND)

        open_backend: Callable[[], Backend]
        try:
            if where.reveal().startswith(REDIS_SCHEMES):
                from .redis import RedisStore

                open_backend = partial(RedisStore, where, f"bitopro:throttle:{name}", machine)
            else:
                from .folder import FolderStore

                file = Path(where.reveal()) / f"{name}.throttle"
                open_backend = partial(FolderStore, file, clock, machine.sleep)
        except ModuleNotFoundError as error:
            needs = {"redis": "pip install 'bitopro-orders[redis]'", "fcntl": "a system with POSIX"}
            raise StoreError(f"it needs {needs.get(error.name or '', error.name)}") from None
        found = _shared_stores.setdefault((origin, where), SharedStore(open_backend, clock))
    return found


def _renew_all() -> None:
    for throttle in list(_throttles.values()):
        throttle.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
