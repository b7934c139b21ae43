"""A bot as a child of this process, and what tells that it is dead, hangs or is to stop."""

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
#: How long the killed are waited for: nothing may be left of them but what its parent never asked.
DEAD_SECONDS = 5.0


class Heartbeat:
    """A file that is to be renewed.

    A thread looks at it, as one on a machine that is gone may be waited for without end. What
    counts is when a change was seen, by this machine's monotonic clock.

    Args:
        path: The file. That it is not there is no beat.
        after: How long it may stay as it is, in seconds.
        timing: The clocks.
    """

    def __init__(self, path: Path, after: float, timing: Timing) -> None:
        self._path, self._after, self._timing = path, after, timing
        self._seen: int | None = None
        self._last_beat = timing.monotonic()
        threading.Thread(target=self._look, name="heartbeat", daemon=True).start()

    @property
    def is_silent(self) -> bool:
        """Whether it was not renewed for too long."""
        return self._timing.monotonic() - self._last_beat >= self._after

    def __str__(self) -> str:
        return f"no heartbeat for {self._after:g} s in {self._path}"

    def _look(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                written = self._path.stat().st_mtime_ns
                if written != self._seen:
                    self._seen, self._last_beat = written, self._timing.monotonic()
            self._timing.sleep(min(LOOK_SECONDS, self._after / 10))


@define(eq=False)
class Bot:
    """A command as a child in a process group of its own, so that the group can be signalled.

    A terminal's foreground is the group's as long as it lives. Its Ctrl-Z is ignored: a bot that is
    stopped leaves its orders alone.

    Attributes:
        code: What it exited with, as a shell says it; None while it is not known.
    """

    _process: subprocess.Popen[bytes]
    _terminal: int | None
    code: int | None = None

    @classmethod
    def start(cls, command: Sequence[str]) -> "Bot":
        """Start it; its files are those of this process.

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
        """Send a signal to all of the group; say whether there is anybody."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # some of them are another user's
        return True

    @property
    def has_ended(self) -> bool:
        """Whether it has ended; the others of its group may not have."""
        if self.code is not None or not hasattr(os, "waitid"):
            return self._process.poll() is not None
        # Not taken note of yet: its number must not become another's before its group is killed.
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, how) is not None

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, and all of its group."""
        return self.code is not None and not self.signal(0)

    def bury(self) -> int:
        """Take note of its end, take the terminal back, and return its exit code."""
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
    """Waits until there is nobody whose orders are to be left alone.

    Attributes:
        grace: How long a bot that is told to end may take, in seconds.
        note: Says what is going on.
        timing: The clocks.
        bot: The bot, if it is a child.
        heartbeat: The file that is to be renewed, if there is one.
        asked: The signals by which the guard was asked to stop.
        ended: Why it is over.
        is_disarmed: Whether it was asked to stop while the heart beat of a bot that is no child.
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
        """Be asked to stop by signals from now on, but for those that are ignored, as by nohup."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._woken.set)
        for each in STOPPING:
            if signal.getsignal(each) is not signal.SIG_IGN:
                loop.add_signal_handler(each, self._ask, each)

    def leave_signals(self) -> None:
        """Be asked no more: what is begun then is what a signal asks for. Ctrl-C is not among them.

        A terminal that is closed sends more than one.
        """
        for each in {*STOPPING} - {signal.SIGINT}:
            signal.signal(each, signal.SIG_IGN)

    def _ask(self, number: signal.Signals) -> None:
        self.asked.append(number)
        self._woken.set()

    async def until_over(self) -> None:
        """Wait until the bot is gone, its heart stands still or the guard is asked to stop.

        A bot that is a child is gone when this returns, with all of its process group.
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
