"""A bot as a child process, and how the guard notices that it has ended or hangs."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field

from bitopro_orders.timing import Timing

#: What asks the guard to stop, and is passed on to the bot.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
#: How often is looked at what nothing tells of, in seconds.
LOOK_SECONDS = 0.05
#: A look that takes longer, in seconds, is one at a machine that is gone.
STUCK_SECONDS = 1.0
#: How long the killed are waited for: nothing may be left of them but what its parent never asked.
DEAD_SECONDS = 5.0


class Heartbeat:
    """A file that the bot touches regularly.

    A separate thread looks at it, because a file on a machine that has failed may block without
    end. What counts is when this process saw the file change, on the monotonic clock of this
    machine.

    Args:
        path: The file. A missing file counts as no heartbeat.
        after: How long the file may stay unchanged, in seconds.
        timing: The clocks.
    """

    def __init__(self, path: Path, after: float, timing: Timing) -> None:
        self._path, self._after, self._timing = path, after, timing
        self._seen: int | None = None
        self._last_beat = self._looked = timing.monotonic()
        self._looks_since: float | None = None
        threading.Thread(target=self._look, name="heartbeat", daemon=True).start()

    @property
    def is_silent(self) -> bool:
        """Whether the file has not changed for too long."""
        now, since = self._timing.monotonic(), self._looks_since
        # This process may have been stopped meanwhile: what counts is that it has looked since.
        is_stuck = since is not None and now - since >= STUCK_SECONDS
        return (now if is_stuck else self._looked) - self._last_beat >= self._after

    def __str__(self) -> str:
        return f"no heartbeat for {self._after:g} s in {self._path}"

    def _look(self) -> None:
        while True:
            self._looks_since = looked = self._timing.monotonic()
            with contextlib.suppress(OSError):
                written = self._path.stat().st_mtime_ns
                if written != self._seen:
                    self._seen, self._last_beat = written, self._timing.monotonic()
            self._looked, self._looks_since = looked, None
            self._timing.sleep(min(LOOK_SECONDS, self._after / 10))


@define(eq=False)
class Bot:
    """A command as a child process, in a process group of its own that can be signalled as a whole.

    The group is in the foreground of the terminal while it runs. Ctrl-Z is ignored, because a
    suspended bot could not look after its orders.

    Attributes:
        code: Its exit code, as a shell reports it; None while it is not known.
    """

    _process: subprocess.Popen[bytes]
    _terminal: int | None
    code: int | None = None

    @classmethod
    def start(cls, command: Sequence[str]) -> "Bot":
        """Start the command; it inherits stdin, stdout and stderr.

        Raises:
            OSError: If there is no such command.
        """
        terminal = _terminal()
        # Inherited, unlike a handler.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        process = subprocess.Popen(command, process_group=0)  # noqa: S603 - what was asked for
        # Not inherited any more: who is in the background must be able to write, and to take the
        # terminal back.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        bot = cls(process, terminal)
        if bot._hand_terminal(process.pid):
            # It may have wanted to read before.
            bot.signal(signal.SIGCONT)
        return bot

    def _hand_terminal(self, group: int) -> bool:
        with contextlib.suppress(OSError):  # it has ended, or the terminal has
            if self._terminal is not None:
                os.tcsetpgrp(self._terminal, group)
                return True
        return False

    def signal(self, number: int) -> bool:
        """Send a signal to the bot and to its process group; say whether any of them is left."""
        pid, is_there = self._process.pid, self.code is None
        with contextlib.suppress(PermissionError):  # another user's, now
            if is_there and os.getpgid(pid) != pid:
                os.kill(pid, number)  # it has left its group
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return is_there
        except PermissionError:
            pass  # some of them are another user's
        return True

    @property
    def has_ended(self) -> bool:
        """Whether the bot itself has ended; other processes of its group may still run."""
        if self.code is not None or not hasattr(os, "waitid"):
            return self._process.poll() is not None
        # Not taken note of yet: its number must not become another's before its group is killed.
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, how) is not None

    @property
    def is_gone(self) -> bool:
        """Whether the bot and all processes of its group have ended."""
        return self.code is not None and not self.signal(0)

    def bury(self) -> int:
        """Wait for the bot that has ended, take the terminal back, and return its exit code."""
        code = self._process.wait()
        self.code = code if code >= 0 else 128 - code
        self._hand_terminal(os.getpgrp())
        return self.code

    def __str__(self) -> str:
        code = self._process.returncode
        if code is None or code >= 0:
            return f"the bot ended with exit code {code}"
        return f"the bot was killed by {signal.Signals(-code).name}"


def _terminal() -> int | None:
    """Return stdin if it is a terminal and this process is in its foreground."""
    with contextlib.suppress(OSError, ValueError):
        stdin = sys.stdin.fileno()
        if os.tcgetpgrp(stdin) == os.getpgrp():
            return stdin
    return None


@define(eq=False)
class Watch:
    """Waits until the bot has ended or hangs, or the guard is told to stop.

    Attributes:
        grace: How long a bot may take to end after a signal, in seconds.
        note: Prints what happens.
        timing: The clocks.
        bot: The bot, if it is a child process.
        heartbeat: The heartbeat file, if there is one.
        asked: The signals that told the guard to stop.
        ended: Why the wait ended.
        is_disarmed: Whether the guard was told to stop while the heartbeat of a bot that it did not
            start went on.
    """

    grace: float
    note: Callable[[str], object]
    timing: Timing
    bot: Bot | None = field(default=None, init=False)
    heartbeat: Heartbeat | None = field(default=None, init=False)
    asked: list[signal.Signals] = field(factory=list, init=False)
    ended: str = field(default="", init=False)
    is_disarmed: bool = field(default=False, init=False)
    _passed_on: int = field(default=0, init=False)
    _woken: asyncio.Event = field(factory=asyncio.Event, init=False)

    def take_signals(self) -> None:
        """Handle the signals that tell the guard to stop, except those that nohup has it ignore."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._woken.set)
        for each in STOPPING:
            if signal.getsignal(each) is not signal.SIG_IGN:
                loop.add_signal_handler(each, self._ask, each)

    def leave_signals(self) -> None:
        """Ignore further signals, except Ctrl-C: the guard cancels now, as the first signal asked.

        A terminal that is closed sends more than one signal.
        """
        for each in {*STOPPING} - {signal.SIGINT}:
            signal.signal(each, signal.SIG_IGN)

    def _ask(self, number: signal.Signals) -> None:
        self.asked.append(number)
        self._woken.set()

    async def until_over(self) -> None:
        """Wait until the bot has ended, its heartbeat stops or the guard is told to stop.

        A bot that is a child process, and its process group, have ended when this returns.
        """
        while not (self.asked or self._is_silent or (self.bot and self.bot.has_ended)):
            await self._wait(LOOK_SECONDS if self.heartbeat else 1.0)
        if self._is_silent:
            self.ended = f"{self.heartbeat}"
        elif self.asked:
            self.ended = f"the guard was asked to stop by {self.asked[0].name}"
            self.is_disarmed = self.bot is None
        if self.bot is not None:
            await self._end(self.bot)

    @property
    def _is_silent(self) -> bool:
        return self.heartbeat is not None and self.heartbeat.is_silent

    async def _end(self, bot: Bot) -> None:
        if self.ended:
            self.note(f"{self.ended}: the bot has {self.grace:g} s to end")
            if not self.asked:
                bot.signal(signal.SIGTERM)
            await self._until_gone(bot, self.grace)
        if not bot.is_gone:
            if self.ended:
                self.note("it has not ended: it is killed")
            # If it has ended by itself, nobody is there to end in order what it has left behind.
            bot.signal(signal.SIGKILL)
            await self._until_gone(bot, DEAD_SECONDS)
        if not bot.is_gone:
            self.note("some of the bot's processes are not gone: their nonces may be in the way")
        self.ended = self.ended or f"{bot}"

    async def _until_gone(self, bot: Bot, seconds: float) -> None:
        deadline = self.timing.monotonic() + seconds
        while not bot.is_gone and self.timing.monotonic() < deadline:
            for each in self.asked[self._passed_on :]:
                bot.signal(each)
            self._passed_on = len(self.asked)
            if bot.code is None and bot.has_ended:
                bot.bury()
            else:
                await self._wait(LOOK_SECONDS)

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
