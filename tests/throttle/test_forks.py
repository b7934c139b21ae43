"""A process that forks while its other threads are in the middle of the throttle's business."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from bitopro_sandbox import Settings, serve
from tests.support import ROOT
from tests.throttle.stores import redis_server

BIG = 100_000
FORKS = 25
DEADLINE_SECONDS = 5.0
EXCHANGE = Settings(requests_per_minute=BIG, general_requests_per_minute=BIG, second_cancel=200)

#: Forks again and again from its main thread; each child cancels once and says how it ended.
PROGRAM = """
import json, logging, os, select, signal, sys, threading, time

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import BitoProError, NotSentError, SendingPolicy, connect

settings = json.loads(sys.argv[1])
warnings, stop = [], threading.Event()


class Warnings(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())


logging.getLogger("bitopro_orders").addHandler(Warnings(logging.WARNING))


def client(**policy):
    return connect(
        Credentials(*settings["credentials"]), base_url=settings["base_url"],
        shared=settings["shared"],
        policy=SendingPolicy(deadline_seconds=settings["deadline"], **policy),
    )


def keep_cancelling():
    while not stop.wait(0.02):
        cancel_order.sync("BTC_TWD", "2959906694", client=mine)


def keep_being_refused():
    # One reading a minute is all it may: nearly all its time it is asking whether it may.
    while not stop.is_set():
        try:
            get_order.sync("BTC_TWD", "2959906694", client=scarce)
        except NotSentError:
            pass


def child(pipe):
    started = time.monotonic()
    try:
        cancel_order.sync("BTC_TWD", "2959906694", client=mine)
        outcome = "accepted"
    except BitoProError as error:
        outcome = f"{type(error).__name__}: {error}"
    took = time.monotonic() - started
    os.write(pipe, json.dumps([outcome, took, warnings]).encode())


mine, scarce = client(), client(limit_share=1 / 600)
cancel_order.sync("BTC_TWD", "2959906694", client=mine)
work = [keep_cancelling, keep_being_refused, keep_being_refused]
threads = [threading.Thread(target=each, daemon=True) for each in work]
for thread in threads:
    thread.start()
endings = []
for _ in range(settings["forks"]):
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            warnings.clear()
            child(writing)
        finally:
            os._exit(0)
    os.close(writing)
    if select.select([reading], [], [], settings["deadline"])[0]:
        endings.append(json.loads(os.read(reading, 65536) or '["it died", 0, []]'))
    else:
        endings.append(["it hangs", settings["deadline"], []])
        os.kill(pid, signal.SIGKILL)
        if len([each for each in endings if each[0] == "it hangs"]) == 3:
            break  # three are enough to tell
    os.waitpid(pid, 0)
    os.close(reading)
stop.set()
for thread in threads:
    thread.join(10)
print(json.dumps([endings, warnings, sum(thread.is_alive() for thread in threads)]))
"""


@pytest.mark.parametrize("kind", ["memory", "folder", "redis"])
def test_a_fork_in_the_middle_of_other_threads_business_leaves_nothing_locked(
    kind: str, tmp_path: Path
) -> None:
    # In memory a child counts for itself, so that only those who share have an order to keep.
    rule: Settings = attrs.evolve(EXCHANGE, nonce_rule="none" if kind == "memory" else "unique")
    with serve(rule) as sandbox, ExitStack() as stack:
        shared: str | None = None
        if kind == "redis":
            shared = stack.enter_context(redis_server(tmp_path)).url
        elif kind == "folder":
            shared = str(tmp_path / "shared")
        account = sandbox.account
        settings = {
            "credentials": [account.api_key, account.api_secret, account.identity],
            "base_url": sandbox.base_url,
            "shared": shared,
            "deadline": DEADLINE_SECONDS,
            "forks": FORKS,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(settings)],
            cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        endings, warnings, hanging = json.loads(done.stdout)
        assert Counter(outcome for outcome, _, _ in endings) == {"accepted": FORKS}
        # Nothing failed in the children that had to be made up for, nor in the parent.
        assert Counter(text for _, _, warned in endings for text in warned) == {}
        assert warnings == []
        assert hanging == 0
        assert max(seconds for _, seconds, _ in endings) < DEADLINE_SECONDS / 2
        nonces = [entry.nonce for entry in sandbox.journal]
        assert len(nonces) > FORKS
        if kind != "memory":
            assert len(set(nonces)) == len(nonces)


#: Forks while the thread that asks Redis is in the middle of it, with a lock of its client's.
IN_THE_MIDDLE = """
import json, os, sys, threading

import redis

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import SendingPolicy, connect

settings = json.loads(sys.argv[1])
parent, make = os.getpid(), redis.ConnectionPool.make_connection
in_the_middle, go_on = threading.Event(), threading.Event()


def make_connection(pool):
    if os.getpid() == parent:
        in_the_middle.set()
        go_on.wait(10)
    return make(pool)


def cancel():
    cancel_order.sync("BTC_TWD", "2959906694", client=client)


redis.ConnectionPool.make_connection = make_connection
client = connect(
    Credentials(*settings["credentials"]), base_url=settings["base_url"],
    shared=settings["shared"],
    policy=SendingPolicy(deadline_seconds=settings["deadline"], local_if_shared_fails=False),
)
thread = threading.Thread(target=cancel)
thread.start()
assert in_the_middle.wait(10)
pid = os.fork()
if not pid:
    status = 1
    # The system would give the next thread the number of the one that holds the lock.
    for _ in range(4):
        threading.Thread(target=go_on.wait, daemon=True).start()
    try:
        cancel()
        status = 0
    finally:
        os._exit(status)
go_on.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_child_asks_redis_though_its_parent_was_asking_when_it_forked(tmp_path: Path) -> None:
    # An answer that takes longer than the spacing lets the other one overtake.
    rule: Settings = attrs.evolve(EXCHANGE, nonce_rule="unique")
    with serve(rule) as sandbox, redis_server(tmp_path) as redis:
        account = sandbox.account
        settings = {
            "credentials": [account.api_key, account.api_secret, account.identity],
            "base_url": sandbox.base_url,
            "shared": redis.url,
            "deadline": DEADLINE_SECONDS,
        }
        done = subprocess.run(
            [sys.executable, "-c", IN_THE_MIDDLE, json.dumps(settings)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
        assert [entry.status for entry in sandbox.journal] == [200, 200]
