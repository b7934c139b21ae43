"""A bot, as the guard's child: it does what its arguments say, in their order."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def say(text: object) -> None:
    """Print a line at once: a bot and its child write to the same pipe."""
    os.write(1, f"{text}\n".encode())


def obey(word: str, what: str) -> None:
    match word:
        case "exit":
            sys.exit(int(what))
        case "die":
            os.kill(os.getpid(), int(what))
        case "ignore":
            signal.signal(int(what), lambda *_: say("told"))
        case "heed":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(what)))
        case "print":
            say(what)
        case "child":
            child = subprocess.Popen([sys.executable, "-m", "tests.guard.bots", *what.split()])
            say(child.pid)
        case "beat":
            for _ in range(int(what)):
                Path(os.environ["BEAT"]).touch()
                time.sleep(0.05)
        case "leave":
            os.setpgid(0, os.getpgid(os.getppid()))
        case "read":
            say(f"read {sys.stdin.readline().strip()}")
        case "wait":
            # Not for ever, should the test that has started it have failed.
            time.sleep(120)


say(os.getpid())
for argument in sys.argv[1:]:
    obey(*argument.partition("=")[::2])
