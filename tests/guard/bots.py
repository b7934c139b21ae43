"""A bot, as the guard's child: it does what its arguments say, in their order."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def obey(word: str, what: str) -> None:
    match word:
        case "exit":
            sys.exit(int(what))
        case "die":
            os.kill(os.getpid(), int(what))
        case "ignore":
            signal.signal(int(what), lambda *_: print("told", flush=True))
        case "heed":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(what)))
        case "print":
            print(what, flush=True)
        case "child":
            child = subprocess.Popen([sys.executable, "-m", "tests.guard.bots", *what.split()])
            print(child.pid, flush=True)
        case "beat":
            for _ in range(int(what)):
                Path(os.environ["BEAT"]).touch()
                time.sleep(0.05)
        case "read":
            print(f"read {sys.stdin.readline().strip()}", flush=True)
        case "wait":
            # Not for ever, should the test that has started it have failed.
            time.sleep(120)


print(os.getpid(), flush=True)
for argument in sys.argv[1:]:
    obey(*argument.partition("=")[::2])
