"""Processes that obey lines of JSON, for the state machine: the program, and what starts it.

A line on the program's standard input is an order; each call's end is a line on its output. Calls
run side by side, in threads, in tasks or in a forked child, while the next order is read.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.types import Call as Request
from bitopro_client.types import RateLimit
from bitopro_orders import (
    BitoProError,
    OrdersClient,
    SendingPolicy,
    Timing,
    cancel_and_confirm,
    cancel_and_confirm_async,
    connect,
)
from tests.support import ROOT
from tests.throttle.stores import RedisServer

PAIR = "BTC_TWD"
#: A forked child ends by itself after so long, whatever happens to it.
CHILD_SECONDS = 30
#: How late a thread may wake up before it is told.
STALL_SECONDS = 0.04

#: Small limits of a short period, in place of the spec's: group, requests, seconds.
SHORT = {"cancel": RateLimit("shortCancel", 15, 3, ("ip", "account"))}
SHORT["read"] = RateLimit("shortRead", 10, 3, ("ip", "account"))


class Stalls(threading.Thread):
    """Tells when this process did not get to run: who is late then is not to blame.

    Args:
        tell: Gets the wall time in milliseconds, and for how many milliseconds nothing ran.
    """

    def __init__(self, tell: Callable[[float, float], object]) -> None:
        super().__init__(name="stalls", daemon=True)
        self._tell = tell
        self._ends = threading.Event()

    def run(self) -> None:
        while True:
            before = time.monotonic()
            if self._ends.wait(0.01):
                return
            late = time.monotonic() - before - 0.01
            if late > STALL_SECONDS:
                self._tell(time.time() * 1000, late * 1000)

    def end(self) -> None:
        self._ends.set()
        self.join(5)


# The program


def emit(**line: Any) -> None:
    # One write, so that lines of a forked child do not mix with those of its parent.
    os.write(1, json.dumps(line).encode() + b"\n")


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        emit(warning=record.getMessage(), at=time.time() * 1000)


class Program:
    """What the process is while it runs."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self.clients: dict[str, OrdersClient] = {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.timing = Timing(now_ms=self.now_ms)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset_ms

    def obey(self, do: str, **order: Any) -> None:
        getattr(self, f"do_{do}")(**order)

    def do_open(self, client: str, credentials: list[str], policy: Any, **options: Any) -> None:
        self.clients[client] = connect(
            Credentials(*credentials),
            policy=SendingPolicy(**policy),
            timing=self.timing,
            **options,
        )

    def do_close(self, client: str) -> None:
        self.clients.pop(client).close()

    def do_clock(self, offset_ms: int) -> None:
        self.offset_ms = offset_ms

    def do_reset(self) -> None:
        for client in list(self.clients):
            self.do_close(client)
        self.offset_ms = 0
        emit(reset=True)

    def do_call(self, client: str, how: str, ids: list[str], **options: Any) -> None:
        calls = [_Call(self.clients[client], each, **options) for each in ids]
        if how == "tasks":
            for each in calls:
                asyncio.run_coroutine_threadsafe(each.run_async(), self.loop)
        elif how == "one by one":
            threading.Thread(target=one_by_one, args=(calls,), daemon=True).start()
        elif how == "fork":
            fork(calls)
        else:
            start(calls)


def start(calls: "list[_Call]") -> list[threading.Thread]:
    threads = [threading.Thread(target=each.run, daemon=True) for each in calls]
    for each in threads:
        each.start()
    return threads


def one_by_one(calls: "list[_Call]") -> None:
    for number, each in enumerate(calls):
        if each.run() == "NotSentError":
            for never in calls[number + 1 :]:
                emit(call=never.order_id, outcome="never tried", started=0, seconds=0)
            return


def fork(calls: "list[_Call]") -> None:
    if child := os.fork():
        threading.Thread(target=os.waitpid, args=(child, 0), daemon=True).start()
        return
    signal.alarm(CHILD_SECONDS)
    emit(child=os.getpid())
    Stalls(tell_stall).start()
    for thread in start(calls):
        thread.join()
    os._exit(0)


@define
class _Call:
    client: OrdersClient
    order_id: str
    kind: str
    short: bool
    deadline: float

    def request(self) -> Request[Any]:
        request: Request[Any] = (cancel_order if self.kind == "cancel" else get_order).call(
            PAIR, self.order_id
        )
        if not self.short:
            return request
        limit = SHORT[self.kind]
        operation = evolve(request.operation, name=limit.group, rate_limit=limit)
        return evolve(request, operation=operation)

    def run(self) -> str:
        started = time.time()
        try:
            if self.kind == "confirm":
                outcome = cancel_and_confirm(
                    self.client, PAIR, self.order_id, timeout=self.deadline
                )
                return self.tell(started, f"confirmed {outcome.state.name}")
            self.client.send(self.request())
            return self.tell(started, "accepted")
        except BaseException as error:  # noqa: BLE001 - what it is, is what is asked
            return self.tell(started, type(error).__name__, error)

    async def run_async(self) -> str:
        started = time.time()
        try:
            if self.kind == "confirm":
                outcome = await cancel_and_confirm_async(
                    self.client, PAIR, self.order_id, timeout=self.deadline
                )
                return self.tell(started, f"confirmed {outcome.state.name}")
            await self.client.send_async(self.request())
            return self.tell(started, "accepted")
        except BaseException as error:  # noqa: BLE001 - what it is, is what is asked
            return self.tell(started, type(error).__name__, error)

    def tell(self, started: float, outcome: str, error: BaseException | None = None) -> str:
        emit(
            call=self.order_id,
            outcome=outcome,
            started=started * 1000,
            seconds=time.time() - started,
            status=getattr(error, "status", None),
            attempts=getattr(error, "attempts", None),
            text=str(error)[:300] if isinstance(error, BitoProError) else repr(error)[:300],
        )
        return outcome


def tell_stall(at: float, late: float) -> None:
    emit(at=at, stall=late)


def main() -> None:
    logger = logging.getLogger("bitopro_orders")
    logger.addHandler(_Warnings(logging.WARNING))
    logger.propagate = False
    program = Program()
    Stalls(tell_stall).start()
    emit(ready=os.getpid())
    for line in sys.stdin:
        program.obey(**json.loads(line))
    os._exit(0)


# Seen from the test


class Redis(RedisServer):
    """One that is stopped, goes on, is killed and begins anew."""

    state = "dead"

    def start(self) -> None:
        super().start()
        self.state = "up"

    def stop(self) -> None:
        super().stop()
        self.state = "stopped"

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self.state = "up"

    def kill(self) -> None:
        super().kill()
        self.state = "dead"


@define(eq=False)
class Worker:
    """The program, running.

    Attributes:
        hear: Gets each line it prints.
        is_alive: Whether nobody has killed it.
    """

    hear: Callable[[dict[str, Any]], object]
    is_alive: bool = True
    _process: subprocess.Popen[bytes] = field(init=False)
    _reader: threading.Thread = field(init=False)
    _ready: threading.Event = field(init=False, factory=threading.Event)
    _reset: threading.Event = field(init=False, factory=threading.Event)

    def __attrs_post_init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.throttle.machine"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            with contextlib.suppress(ValueError):  # cut off by a kill
                line = json.loads(text)
                if "ready" in line:
                    self._ready.set()
                elif "reset" in line:
                    self._reset.set()
                else:
                    self.hear(line)

    def wait(self) -> None:
        assert self._ready.wait(20), "a worker did not start"

    def tell(self, do: str, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
        self._process.stdin.flush()

    def reset(self) -> bool:
        """Let it begin anew; return whether it did."""
        if not self.is_alive:
            return False
        self._reset.clear()
        with contextlib.suppress(OSError):
            self.tell("reset")
            return self._reset.wait(5)
        return False

    def kill(self) -> None:
        """Kill it, but not its children: what they say is still heard."""
        self.is_alive = False
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it and its children."""
        self.is_alive = False
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()


class Pool:
    """Keeps processes from one example to the next: starting one takes longer than most rules."""

    def __init__(self, spare: int = 2) -> None:
        self._spare = spare
        self._free: list[Worker] = []
        self._fill()

    def _fill(self) -> None:
        while len(self._free) < self._spare:
            self._free.append(Worker(lambda _: None))

    def take(self, hear: Callable[[dict[str, Any]], object]) -> Worker:
        worker = self._free.pop(0)
        self._fill()
        worker.wait()
        worker.hear = hear
        return worker

    def give(self, worker: Worker) -> None:
        worker.hear = lambda _: None
        if len(self._free) < 4 and worker.reset():
            self._free.insert(0, worker)
        else:
            worker.close()

    def close(self) -> None:
        for worker in self._free:
            worker.close()
        self._free = []


if __name__ == "__main__":
    main()
