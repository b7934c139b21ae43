"""A process that cancels when it is told to, and what starts it and asks it.

Its settings are JSON on the command line. It says "ready", waits for a line with the number of
cancels, and prints what became of them as JSON; then it waits for the next line.
"""

import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from attrs import frozen

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, SendingPolicy, connect
from bitopro_sandbox import Account, Sandbox
from tests.support import ROOT

PAIR, ORDER_ID = "BTC_TWD", "2959906694"
#: No process is waited for longer than this, whatever happens to it.
PATIENCE_SECONDS = 60


class Warnings(logging.Handler):
    """Keeps what the package warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def main(settings: dict[str, Any]) -> None:
    """Cancel as told on the standard input until it ends."""
    warnings, lock = Warnings(), threading.Lock()
    logging.getLogger("bitopro_orders").addHandler(warnings)
    client = connect(
        Credentials(*settings["account"]),
        policy=SendingPolicy(**settings["policy"]),
        **settings["connect"],
    )
    print("ready", flush=True)
    for line in sys.stdin:
        outcomes: Counter[str] = Counter()
        slowest = 0.0

        def cancel(_: int) -> None:
            nonlocal slowest
            started = time.monotonic()
            try:
                cancel_order.sync(PAIR, ORDER_ID, client=client)
                outcome = "accepted"
            except BitoProError as error:
                outcome = type(error).__name__
            with lock:
                outcomes[outcome] += 1  # noqa: B023 - the threads end before the loop goes on
                slowest = max(slowest, time.monotonic() - started)

        with ThreadPoolExecutor(settings["threads"]) as pool:
            list(pool.map(cancel, range(int(line))))
        report = {"outcomes": outcomes, "slowest": slowest, "warnings": warnings.texts}
        print(json.dumps(report), flush=True)
    client.close()


@frozen
class Report:
    """What became of a process's cancels.

    Attributes:
        outcomes: How many ended how.
        slowest: How long the slowest took, in seconds.
        warnings: What the package has warned of so far.
    """

    outcomes: Counter[str]
    slowest: float
    warnings: list[str]


class Member:
    """The process, seen from the test.

    Args:
        sandbox: The exchange.
        shared: What it shares with the others.
        account: Whose key it uses; the sandbox's first by default.
        threads: How many cancels it begins at once.
        policy: The arguments of its `SendingPolicy`.
        options: Further arguments of its `connect`.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        shared: str,
        *,
        account: Account | None = None,
        threads: int = 4,
        policy: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        account = account or sandbox.account
        settings = {
            "account": [account.api_key, account.api_secret, account.identity],
            "connect": {"base_url": sandbox.base_url, "shared": shared, **(options or {})},
            "policy": policy or {},
            "threads": threads,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.throttle.member", json.dumps(settings)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # A process that hangs is ended, and the line that the test waits for is then empty.
        self._bound = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        self._bound.start()

    def hears(self) -> str:
        """Return the next line it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def begin(self, calls: int) -> None:
        """Let it cancel that many times."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()

    def report(self) -> Report:
        """Wait for the end of what it began."""
        found = json.loads(self.hears())
        return Report(Counter(found["outcomes"]), found["slowest"], found["warnings"])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            assert self._process.wait(10) == 0
        finally:
            self._bound.cancel()
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


@contextmanager
def members(*starting: Member) -> Iterator[list[Member]]:
    """Wait until all are ready, and end them afterwards."""
    with ExitStack() as stack:
        for each in starting:
            stack.callback(each.close)
        assert [each.hears() for each in starting] == ["ready\n"] * len(starting)
        yield list(starting)


def all_at_once(found: Iterable[Member], calls: int) -> list[Report]:
    """Let all of them cancel that many times."""
    found = list(found)
    for each in found:
        each.begin(calls)
    return [each.report() for each in found]


def total(reports: Iterable[Report]) -> Counter[str]:
    """Return how many cancels of all processes ended how."""
    found: Counter[str] = Counter()
    for each in reports:
        found.update(each.outcomes)
    return found


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
