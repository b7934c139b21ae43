"""Shared stores, and what can go wrong with them: Redis gone, stopped or slow, a folder locked."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

#: Holds the lock of each file in a folder for a time, lets go for a time, until its input ends.
HOLDER = """
import fcntl, pathlib, select, sys, time

def take(file):
    for _ in range(200):
        try:
            return fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.001)
    for byte in range(512):  # some of it is never free: take the rest
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            pass

folder, hold, pause = pathlib.Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
files = [path.open("r+b") for path in folder.iterdir()]
while True:
    for file in files:
        take(file)
    print(len(files), flush=True)
    ended = select.select([sys.stdin], [], [], hold)[0]
    for file in files:
        fcntl.lockf(file, fcntl.LOCK_UN)
    if ended or select.select([sys.stdin], [], [], pause)[0]:
        break
"""


class RedisServer:
    """A redis-server on a free port of this machine, without a file of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(folder),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        give_up = time.monotonic() + 30
        with self.open() as redis:
            while True:
                # Somebody may have taken the port meanwhile, for a connection of his own.
                if self._process is None or self._process.poll() is not None:
                    self._process = subprocess.Popen(
                        self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                    )
                with contextlib.suppress(Exception):
                    # Another server there would have another process.
                    if redis.info("server")["process_id"] == self._process.pid:
                        return
                assert time.monotonic() < give_up, "redis-server did not start"
                time.sleep(0.01)

    def stop(self) -> None:
        """Let it answer nobody, with all its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it, with all it knew."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def open(self) -> Redis:
        """Return a client of the test's own."""
        return Redis(port=self.port)


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a redis-server; skip the test where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def slow_redis(server: RedisServer, seconds: float) -> Iterator[str]:
    """Yield the URL of a proxy before Redis, through which each answer comes that much later."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def forward(source: socket.socket, target: socket.socket, delay: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(delay)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    threads: list[threading.Thread] = []

    def begin(target: Callable[..., None], *args: object) -> None:
        threads.append(threading.Thread(target=target, args=args, daemon=True))
        threads[-1].start()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                redis = socket.create_connection(("127.0.0.1", server.port))
                open_ones.extend((client, redis))
                begin(forward, client, redis, 0)
                begin(forward, redis, client, seconds)

    begin(accept)
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        # `close` alone would leave the threads in their `accept` and `recv`.
        for each in (listener, *open_ones):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for each in (listener, *open_ones):
            each.close()


@contextmanager
def locked(folder: Path, *, hold: float, pause: float) -> Iterator[None]:
    """Let another process hold each file's lock for `hold` seconds, again after each `pause`."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(hold), str(pause)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert int(holder.stdout.readline()) >= 1
        yield
        holder.stdin.close()
        assert holder.wait(10) == 0
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
