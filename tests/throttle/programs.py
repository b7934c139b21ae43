"""Runs what may hang in a process of its own, and makes the exchange and the stores it needs."""

import faulthandler
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Account, Sandbox, Settings
from tests.support import ROOT
from tests.throttle.stores import redis_server

PAIR, ORDER_ID = "BTC_TWD", "2959906694"
MANY = 1_000_000


def exchange(**settings: Any) -> Settings:
    """Return an exchange whose limits are in nobody's way, with an account nobody else uses."""
    account = Account(api_key=secrets.token_hex(8), api_secret=secrets.token_hex(8))
    defaults = {
        "accounts": (account,),
        "requests_per_minute": MANY,
        "general_requests_per_minute": MANY,
        "second_cancel": 200,
    }
    return Settings(**{**defaults, **settings})


@contextmanager
def store(name: str, folder: Path) -> Iterator[str | None]:
    """Return what `connect(shared=...)` takes for "memory", "folder" or "redis"."""
    if name == "memory":
        yield None
    elif name == "folder":
        yield str(folder / "shared")
    else:
        with redis_server(folder) as server:
            yield server.url


def start(program: str, sandbox: Sandbox, shared: str | None, **more: Any) -> "Program":
    """Start `tests.throttle.<program>`; `more` goes to it as it is."""
    account = sandbox.account
    settings = {
        "base_url": sandbox.base_url,
        "credentials": [account.api_key, account.api_secret, account.identity],
        "shared": shared,
        **more,
    }
    return Program(program, settings)


class Program:
    """A process that prints what it found as JSON, and which ends in any case."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.throttle.{name}", json.dumps(settings)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_running(self) -> bool:
        return self._process.poll() is None

    def result(self, seconds: float = 60) -> dict[str, Any]:
        """Wait for what it found; a process that hangs is killed and fails the test."""
        try:
            output, errors = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, errors = self._process.communicate()
            pytest.fail(f"the process hung for {seconds} s; it had said: {output}{errors[-2000:]}")
        assert self._process.returncode == 0, errors[-3000:]
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


# In the program


def client_of(settings: dict[str, Any]) -> OrdersClient:
    return connect(
        Credentials(*settings["credentials"]),
        base_url=settings["base_url"],
        shared=settings["shared"],
        policy=SendingPolicy(**settings["policy"]),
    )


def cancel(client: OrdersClient) -> None:
    assert cancel_order.sync(PAIR, ORDER_ID, client=client).order_id == ORDER_ID


def finish(found: dict[str, Any]) -> None:
    """Print it and end, also if another thread is stuck."""
    print(json.dumps(found), flush=True)
    os._exit(0)


class StuckError(BaseException):
    """What was watched did not end in time."""


def watched(action: Callable[[], object], seconds: float) -> None:
    """Do it in the main thread.

    Raises:
        StuckError: If it takes longer; a lock that is waited for is left by it.
    """
    found: list[StuckError] = []

    def give_up(_: int, frame: FrameType | None) -> None:
        where: list[str] = []
        while frame is not None and len(where) < 4:
            name = Path(frame.f_code.co_filename).name
            where.append(f"{name}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        found.append(StuckError(f"it hung for {seconds} s in " + " < ".join(where)))
        if len(found) > 3:
            faulthandler.dump_traceback()
            os._exit(1)
        raise found[-1]

    before = signal.signal(signal.SIGALRM, give_up)
    # Again and again: a finalizer swallows what is raised in it.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        action()
    except Exception:
        if not found:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if found:
        raise found[0]


_LOCKING = re.compile(r"bitopro_orders|/threading\.py|/contextlib\.py|/queue\.py")
_GENERATORS = 0x20 | 0x80 | 0x200


class AtPlace:
    """A profile function that acts at the n-th place where Python may look for signals.

    These are the beginning of a function and the return of a function of C; on the way into
    `with lock` of a lock of C there is none. Only the package counts, and what it may lock with.

    Args:
        number: Which place, from 1; with 0 they are only counted.
        action: What happens there, once.
    """

    def __init__(self, number: int, action: Callable[[], object]) -> None:
        self.seen = 0
        self.where = ""
        self._number, self._action = number, action

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        code = frame.f_code
        # A generator also "begins" when it goes on.
        begins = event == "call" and not code.co_flags & _GENERATORS
        if not begins and event != "c_return":
            return
        if not _LOCKING.search(code.co_filename):
            return
        self.seen += 1
        if self.seen == self._number:
            sys.setprofile(None)
            name = Path(code.co_filename).name
            self.where = f"{name}:{frame.f_lineno} {code.co_name} {event}"
            self._action()


def places(action: Callable[[], object]) -> int:
    """Return how many such places there are on the way through `action`."""
    counting = AtPlace(0, lambda: None)
    sys.setprofile(counting)
    try:
        action()
    finally:
        sys.setprofile(None)
    return counting.seen
