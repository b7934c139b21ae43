"""What all who use one key share: the limits, and whose turn it is with which nonce.

In one process this is memory and, so that a forked child goes on where its parent is, an unnamed
file. Processes of one machine share a folder, machines share a Redis server.
"""

import contextlib
import copy
import hashlib
import logging
import os
import sqlite3
import struct
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem, RedisBucket, SQLiteBucket
from pyrate_limiter.abstracts import AbstractBucket

from bitopro_auth import Credentials, system_clock_ms
from bitopro_client.types import RateLimit

from .forks import ForkSafeLock
from .timing import Timing

if TYPE_CHECKING:
    from redis import Redis

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has neither fork nor these locks
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
R = TypeVar("R")

REDIS_SCHEMES = ("redis://", "rediss://")
#: Requests take unequal time to arrive, so the exchange's window is never quite ours.
WINDOW_SLACK_MS = 1000
#: How far nonces may run ahead of the clock: a fraction of any window an exchange may check.
LARGEST_DRIFT_MS = 5000
#: How long a shared store that failed is left alone.
STORE_PAUSE_MS = 2000
LEAK_EVERY = 64
#: How often a file's lock is tried for: some 0.2 seconds.
LOCK_TRIES = 200


class SharedStoreError(Exception):
    """The shared store did not answer."""


class Turn(NamedTuple):
    """A turn, or how long to wait for one.

    Attributes:
        nonce: The nonce of the turn, in milliseconds; 0 if there is none yet.
        wait_ms: How long until there may be one, in milliseconds.
        is_early: Whether the wait is for the clock, which the nonces are too far ahead of.
    """

    nonce: int
    wait_ms: int = 0
    is_early: bool = False


class Limits(Protocol):
    """The exchange's limits, counted for all who share them."""

    def admit(self, limit: RateLimit, share: float, now_ms: int) -> int:
        """Count one request, or return the milliseconds to wait before asking again."""

    def cool_down(self, group: str, until_ms: int) -> None:
        """Admit nothing of this group until then."""


class Turns(Protocol):
    """The key's nonces, and whose request may leave."""

    def take(self, now_ms: int, hold_ms: int, floor: int) -> Turn:
        """Take a turn: its nonce is above every earlier one, above `floor`, and at least `now_ms`.

        The next turn begins when this one is released, or `hold_ms` later; 0 holds nothing back.
        """

    def release(self, nonce: int, *, processed: bool) -> None:
        """End a turn; `processed` says whether the exchange may have used the nonce up."""

    def rewind(self) -> None:
        """Forget the nonces that were refused: the clock has been set back."""


def store_of(where: str | None) -> str | None:
    """Return the one name of what is shared: a folder goes by many.

    Raises:
        SharedStoreError: If it is neither a folder nor a URL of Redis.
    """
    if where is None or where.startswith(REDIS_SCHEMES):
        return where
    if not where or "://" in where:
        raise SharedStoreError("it is neither a folder nor a redis:// or rediss:// URL")
    return str(Path(where).resolve())


def key_of(credentials: Credentials) -> str:
    """Return a name for the API key that does not reveal it."""
    return hashlib.sha256(credentials.api_key.reveal().encode()).hexdigest()[:16]


def next_turn(now_ms: int, last: int, floor: int) -> Turn:
    """Return the turn after `last` and `floor`, or the wait until its nonce is not too early."""
    nonce = max(now_ms, last + 1, floor + 1)
    wait_ms = nonce - now_ms - LARGEST_DRIFT_MS
    return Turn(0, wait_ms, is_early=True) if wait_ms > 0 else Turn(nonce)


class MemoryLimits:
    """Limits counted by pyrate-limiter, for the threads and tasks of this process."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._buckets: dict[str, AbstractBucket] = {}
        self._cooling: dict[str, int] = {}
        self._admitted = 0
        self._latest_ms = 0
        self._process = os.getpid()

    def admit(self, limit: RateLimit, share: float, now_ms: int) -> int:
        """See `Limits.admit`."""
        with self._exclusive():
            was_set_back = now_ms < self._latest_ms - WINDOW_SLACK_MS
            if was_set_back or not self._latest_ms:
                self._forget_after(now_ms + WINDOW_SLACK_MS, and_cooling=was_set_back)
            self._latest_ms = now_ms
            wait_ms = self._cooling_until_ms(limit.group) - now_ms
            if wait_ms > 0:
                return wait_ms
            bucket = self._bucket(limit, max(1, int(limit.requests * share)))
            self._admitted += 1
            if self._admitted % LEAK_EVERY == 0:
                bucket.leak(now_ms)
            if bucket.put(item := RateItem("request", now_ms)):
                return 0
            return max(1, cast("int", bucket.waiting(item)))

    def cool_down(self, group: str, until_ms: int) -> None:
        """See `Limits.cool_down`."""
        with self._exclusive():
            self._cooling[group] = max(until_ms, self._cooling.get(group, 0))

    def _exclusive(self) -> AbstractContextManager[Any]:
        return self._lock

    def _forget_after(self, moment_ms: int, *, and_cooling: bool) -> None:  # noqa: ARG002
        """Forget what was counted later than that: the clock was set back since."""
        self._buckets.clear()
        if and_cooling:
            self._cooling.clear()

    def _cooling_until_ms(self, group: str) -> int:
        return self._cooling.get(group, 0)

    def _bucket(self, limit: RateLimit, requests: int) -> AbstractBucket:
        if self._process != os.getpid():
            self._process = os.getpid()
            # A copy has a lock of its own: the parent's may be held by a thread that is not here.
            self._buckets = {name: copy.copy(each) for name, each in self._buckets.items()}
        found = self._buckets.get(limit.group)
        if found is None or found.rates[0].limit != requests:
            rate = Rate(requests, limit.period_seconds * 1000 + WINDOW_SLACK_MS)
            if found is None:
                found = self._buckets[limit.group] = self._new_bucket(limit.group, rate)
            # Clients with unequal shares count together, each against its own.
            found.rates = [rate]
        return found

    def _new_bucket(self, group: str, rate: Rate) -> AbstractBucket:  # noqa: ARG002
        return InMemoryBucket([rate])


class FileLimits(MemoryLimits):
    """The same in an SQLite file, for the processes of one machine.

    Args:
        file: The database; it is made if it is not there.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock:
            connection = self._open()
            # Counting and recording are two statements of the bucket's: together or not at all.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def _open(self) -> sqlite3.Connection:
        # SQLite forbids to carry a connection over a fork.
        if self._connection is None or self._process != os.getpid():
            self._buckets.clear()
            self._process = os.getpid()
            self._connection = None
            connection = sqlite3.connect(
                self._file, timeout=1.0, isolation_level=None, check_same_thread=False
            )
            try:
                # Of processes that start together one does this, and SQLite lets none wait for it.
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=OFF")  # a lost count harms nobody
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS cooling (name TEXT PRIMARY KEY, until_ms INTEGER)"
                )
            except BaseException:
                connection.close()
                raise
            weakref.finalize(self, connection.close)
            self._connection = connection
        return self._connection

    def _forget_after(self, moment_ms: int, *, and_cooling: bool) -> None:
        connection = self._open()
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'requests_%'"
        )
        for (table,) in tables.fetchall():
            connection.execute(f"DELETE FROM '{table}' WHERE item_timestamp > ?", (moment_ms,))  # noqa: S608
        if and_cooling:
            connection.execute("DELETE FROM cooling")

    def _new_bucket(self, group: str, rate: Rate) -> AbstractBucket:
        connection = self._open()
        table = f"requests_{group}"
        connection.execute(f"CREATE TABLE IF NOT EXISTS '{table}' (name, item_timestamp INTEGER)")
        connection.execute(f"CREATE INDEX IF NOT EXISTS 'at_{table}' ON '{table}' (item_timestamp)")
        return SQLiteBucket([rate], cast("sqlite3.Connection", _InTransaction(connection)), table)

    def _cooling_until_ms(self, group: str) -> int:
        query = "SELECT until_ms FROM cooling WHERE name = ?"
        row = self._open().execute(query, (group,)).fetchone()
        return int(row[0]) if row else 0

    def cool_down(self, group: str, until_ms: int) -> None:
        """See `Limits.cool_down`."""
        with self._exclusive():
            self._open().execute(
                "INSERT INTO cooling VALUES (?1, ?2) ON CONFLICT (name)"
                " DO UPDATE SET until_ms = max(until_ms, ?2)",
                (group, until_ms),
            )


class _InTransaction:
    """An SQLite connection whose commits are left to the transaction around it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the connection's
        return getattr(self._connection, name)

    def commit(self) -> None:
        pass


class RedisLimits(MemoryLimits):
    """The same in Redis, for several machines.

    Args:
        redis: The client.
        prefix: What this account's keys in Redis begin with.
    """

    def __init__(self, redis: "Redis", prefix: str) -> None:
        super().__init__()
        self._redis = redis
        self._prefix = prefix

    def admit(self, limit: RateLimit, share: float, now_ms: int) -> int:
        """See `Limits.admit`."""
        try:
            return super().admit(limit, share, now_ms)
        except Exception:
            # A server that was started anew does not know the bucket's script any more.
            self._buckets.clear()
            raise

    def _forget_after(self, moment_ms: int, *, and_cooling: bool) -> None:
        super()._forget_after(moment_ms, and_cooling=and_cooling)
        for key in self._redis.scan_iter(f"{self._prefix}:requests:*"):
            self._redis.zremrangebyscore(key, moment_ms, "+inf")

    def _new_bucket(self, group: str, rate: Rate) -> AbstractBucket:
        bucket = RedisBucket.init([rate], self._redis, f"{self._prefix}:requests:{group}")
        return cast("AbstractBucket", bucket)

    def _cooling_until_ms(self, group: str) -> int:
        return int(self._redis.zscore(f"{self._prefix}:cooling", group) or 0)

    def cool_down(self, group: str, until_ms: int) -> None:
        """See `Limits.cool_down`."""
        # gt: of several that are told at once, the longest counts.
        self._redis.zadd(f"{self._prefix}:cooling", {group: until_ms}, gt=True)


class MemoryTurns:
    """Nonces for the threads and tasks of one process; their lane orders them."""

    def __init__(self) -> None:
        self.last = 0
        self.processed = 0

    def take(self, now_ms: int, hold_ms: int, floor: int) -> Turn:  # noqa: ARG002
        """See `Turns.take`."""
        turn = next_turn(now_ms, self.last, floor)
        self.last = turn.nonce or self.last
        return turn

    def release(self, nonce: int, *, processed: bool) -> None:
        """See `Turns.release`."""
        if processed:
            self.processed = max(self.processed, nonce)
            # Also after a rewind in the meantime: it was accepted all the same.
            self.last = max(self.last, nonce)

    def rewind(self) -> None:
        """See `Turns.rewind`."""
        self.last = self.processed


class FileTurns:
    """Turns for processes of one machine, in a locked file of four numbers.

    Args:
        file: The file; it is made if it is not there. None takes an unnamed one, which only
            forked children share.
    """

    _STATE = struct.Struct("<4q")  # last nonce, last processed nonce, held until, held by

    def __init__(self, file: Path | None = None, *, last: int = 0, processed: int = 0) -> None:
        if fcntl is None:
            raise SharedStoreError("sharing through a file needs POSIX locks")
        self._sleep = Timing().sleep
        self._lock = ForkSafeLock()
        if file is None:
            self._descriptor, name = tempfile.mkstemp()
            Path(name).unlink()
            self._write(last, processed, 0, 0)
        else:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        self.close = weakref.finalize(self, os.close, self._descriptor)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        # The file's lock keeps processes apart, not threads.
        with self._lock:
            self._lock_file()
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _lock_file(self) -> None:
        for patience in range(LOCK_TRIES):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                # It is held for microseconds, unless its holder was stopped just then.
                self._sleep(0 if patience < LOCK_TRIES // 10 else 0.001)
            else:
                return
        raise SharedStoreError("another process holds the lock of the nonces' file")

    def _read(self) -> tuple[int, int, int, int]:
        data = os.pread(self._descriptor, self._STATE.size, 0)
        whole = len(data) == self._STATE.size
        last, processed, until, by = self._STATE.unpack(data) if whole else (0, 0, 0, 0)
        return last, processed, until, by

    def _write(self, last: int, processed: int, until: int, by: int) -> None:
        os.pwrite(self._descriptor, self._STATE.pack(last, processed, until, by), 0)

    def take(self, now_ms: int, hold_ms: int, floor: int) -> Turn:
        """See `Turns.take`."""
        with self._exclusive():
            last, processed, until, _ = self._read()
            wall_ms = system_clock_ms()
            # A longer wait than any hold means that the clock was set back.
            if hold_ms and 0 < until - wall_ms <= LARGEST_DRIFT_MS:
                return Turn(0, until - wall_ms)
            turn = next_turn(now_ms, last, floor)
            if turn.nonce:
                self._write(turn.nonce, processed, wall_ms + hold_ms, turn.nonce)
            return turn

    def release(self, nonce: int, *, processed: bool) -> None:
        """See `Turns.release`."""
        with self._exclusive():
            last, was_processed, until, by = self._read()
            now_processed = max(was_processed, nonce) if processed else was_processed
            self._write(max(last, now_processed), now_processed, 0 if by == nonce else until, by)

    def rewind(self) -> None:
        """See `Turns.rewind`."""
        with self._exclusive():
            _, processed, until, by = self._read()
            self._write(processed, processed, until, by)


class RedisTurns:
    """Turns for several machines; Redis' clock ends what a machine that died has held.

    Args:
        redis: The client.
        prefix: What this account's keys in Redis begin with.
    """

    _TAKE = """
        local time = redis.call('TIME')
        local wall = time[1] * 1000 + math.floor(time[2] / 1000)
        local state = redis.call('HMGET', KEYS[1], 'last', 'until')
        local now, hold = tonumber(ARGV[1]), tonumber(ARGV[2])
        local wait = (tonumber(state[2]) or 0) - wall
        if hold > 0 and wait > 0 and wait <= tonumber(ARGV[4]) then return {0, wait, 0} end
        local after = math.max(tonumber(state[1]) or 0, tonumber(ARGV[3]))
        local nonce = math.max(now, after + 1)
        local early = nonce - now - tonumber(ARGV[4])
        if early > 0 then return {0, early, 1} end
        redis.call('HSET', KEYS[1], 'last', string.format('%.0f', nonce),
                   'until', string.format('%.0f', wall + hold),
                   'by', string.format('%.0f', nonce))
        return {nonce, 0, 0}
    """
    _RELEASE = """
        local state = redis.call('HMGET', KEYS[1], 'by', 'processed', 'last')
        if state[1] == ARGV[1] then redis.call('HSET', KEYS[1], 'until', '0') end
        if ARGV[2] == '1' and tonumber(ARGV[1]) > (tonumber(state[2]) or 0) then
            redis.call('HSET', KEYS[1], 'processed', ARGV[1])
            if tonumber(ARGV[1]) > (tonumber(state[3]) or 0) then
                redis.call('HSET', KEYS[1], 'last', ARGV[1])
            end
        end
        return 1
    """
    _REWIND = """
        local processed = redis.call('HGET', KEYS[1], 'processed')
        redis.call('HSET', KEYS[1], 'last', processed or '0')
        return 1
    """

    def __init__(self, redis: "Redis", prefix: str) -> None:
        self._key = f"{prefix}:turns"
        self._take = redis.register_script(self._TAKE)
        self._release = redis.register_script(self._RELEASE)
        self._rewind = redis.register_script(self._REWIND)

    def take(self, now_ms: int, hold_ms: int, floor: int) -> Turn:
        """See `Turns.take`."""
        args = [now_ms, hold_ms, floor, LARGEST_DRIFT_MS]
        nonce, wait_ms, is_early = cast("list[int]", self._take(keys=[self._key], args=args))
        return Turn(nonce, wait_ms, bool(is_early))

    def release(self, nonce: int, *, processed: bool) -> None:
        """See `Turns.release`."""
        self._release(keys=[self._key], args=[nonce, int(processed)])

    def rewind(self) -> None:
        """See `Turns.rewind`."""
        self._rewind(keys=[self._key], args=[])


class Shared:
    """The limits and turns of one key within this process.

    Args:
        limits: The limits.
        turns: The turns.
    """

    #: Whether asking may wait for a network.
    is_remote = False

    def __init__(self, limits: Limits, turns: Turns) -> None:
        self._limits, self._turns = limits, turns

    def admit(self, limit: RateLimit, share: float, now_ms: int) -> int:
        """Count one request, or return the milliseconds to wait before asking again."""
        return self._limits.admit(limit, share, now_ms)

    def cool_down(self, group: str, until_ms: int) -> None:
        """Admit nothing of this group until then, wherever it is asked for."""
        self._limits.cool_down(group, until_ms)

    def take(self, now_ms: int, hold_ms: int) -> Turn:
        """Take a turn, or learn how long to wait for one."""
        return self._turns.take(now_ms, hold_ms, 0)

    def release(self, nonce: int, *, processed: bool) -> None:
        """End a turn; `processed` says whether the exchange may have used the nonce up."""
        self._turns.release(nonce, processed=processed)

    def rewind(self) -> None:
        """Forget the nonces that were refused: the clock has been set back."""
        self._turns.rewind()

    def share_with_children(self) -> None:
        """Move the turns from memory to an unnamed file that forked children inherit."""
        if isinstance(self._turns, MemoryTurns) and fcntl is not None:
            self._turns = FileTurns(last=self._turns.last, processed=self._turns.processed)


class GuardedShared(Shared):
    """The limits and turns of one key in a store that may fail.

    Then a local limit and local turns take over, with a warning, until the store answers again:
    a cancel is not held back by a store that is down.

    Args:
        limits: The limits in the store.
        turns: The turns in the store.
        is_remote: Whether asking may wait for a network.
        fall_back: Whether a failing store is replaced by a local one.
    """

    def __init__(self, limits: Limits, turns: Turns, *, is_remote: bool, fall_back: bool) -> None:
        super().__init__(limits, turns)
        self.is_remote = is_remote
        self._local_limits, self._local_turns = MemoryLimits(), MemoryTurns()
        self._fall_back = fall_back
        self._asking = ForkSafeLock()
        self._paused_until_ms = 0
        self._last = 0

    def admit(self, limit: RateLimit, share: float, now_ms: int) -> int:
        """Count one request, or return the milliseconds to wait before asking again."""
        return self._ask(
            lambda: self._limits.admit(limit, share, now_ms),
            lambda: self._local_limits.admit(limit, share, now_ms),
        )

    def cool_down(self, group: str, until_ms: int) -> None:
        """Admit nothing of this group until then, wherever it is asked for."""
        self._local_limits.cool_down(group, until_ms)
        self._ask(lambda: self._limits.cool_down(group, until_ms), lambda: None)

    def take(self, now_ms: int, hold_ms: int) -> Turn:
        """Take a turn, or learn how long to wait for one."""
        floor = self._last
        turn = self._ask(
            lambda: self._turns.take(now_ms, hold_ms, floor),
            lambda: self._local_turns.take(now_ms, hold_ms, floor),
        )
        self._last = max(floor, turn.nonce)
        return turn

    def release(self, nonce: int, *, processed: bool) -> None:
        """End a turn; `processed` says whether the exchange may have used the nonce up."""
        self._local_turns.release(nonce, processed=processed)
        self._ask(lambda: self._turns.release(nonce, processed=processed), lambda: None)

    def rewind(self) -> None:
        """Forget the nonces that were refused: the clock has been set back."""
        self._local_turns.rewind()
        self._last = self._local_turns.processed
        self._ask(self._turns.rewind, lambda: None)

    def _ask(self, store: Callable[[], R], local: Callable[[], R]) -> R:
        # One at a time: when it hangs, those behind do not each wait for its timeout.
        with self._asking:
            if system_clock_ms() >= self._paused_until_ms:
                try:
                    return store()
                except Exception as error:  # noqa: BLE001 - whatever ails the store
                    name = type(error).__name__
                    if not self._fall_back:
                        raise SharedStoreError(f"the shared store failed: {name}") from None
                    logger.warning("shared store failed, limit is local: %s", name)
                    self._paused_until_ms = system_clock_ms() + STORE_PAUSE_MS
        return local()


_memory_limits: "weakref.WeakValueDictionary[str, MemoryLimits]" = weakref.WeakValueDictionary()


def _limits_of(origin: str) -> MemoryLimits:
    """Return this process's limits for an exchange: it counts by IP address too, over all keys."""
    return _memory_limits.setdefault(origin, MemoryLimits())


def open_shared(where: str | None, key: str, origin: str, *, fall_back: bool) -> Shared:
    """Return what the users of a key share.

    Args:
        where: None for this process, a folder for the processes of this machine, or a
            `redis://` or `rediss://` URL for several machines.
        key: The key's name, see `key_of`.
        origin: The exchange, as scheme, host and port.
        fall_back: Whether a failing store is replaced by a local one.

    Raises:
        SharedStoreError: If the folder cannot be used, or the extra `redis` is missing.
    """
    if where is None:
        return Shared(_limits_of(origin), MemoryTurns())
    if where.startswith(REDIS_SCHEMES):
        try:
            from redis import Redis
        except ImportError as error:
            raise SharedStoreError("install the extra: bitopro-orders[redis]") from error
        client = Redis.from_url(where, socket_connect_timeout=0.25, socket_timeout=0.25)
        prefix = f"bitopro:{key}"
        limits, turns = RedisLimits(client, prefix), RedisTurns(client, prefix)
        return GuardedShared(limits, turns, is_remote=True, fall_back=fall_back)
    folder = Path(where)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        turns_file = FileTurns(folder / f"{key}.nonces")
    except OSError as error:
        raise SharedStoreError(f"{folder} cannot be used: {error.strerror}") from error
    limits_file = FileLimits(folder / "limits.sqlite")
    return GuardedShared(limits_file, turns_file, is_remote=False, fall_back=fall_back)
