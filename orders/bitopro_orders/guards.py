"""A dead man's switch in a thread of the bot: without heartbeats, its open orders are cancelled.

It ends when the bot's process ends; `bitopro guard` is a process of its own. docs/guard.md compares
them.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from attrs import frozen

from .account import Account
from .connection import OrdersClient
from .errors import InvalidArgumentError
from .everything import Only, cancel_everything_async
from .journal import Journal
from .policy import require_seconds

logger: logging.Logger = logging.getLogger("bitopro_orders")

#: How long the cancels of a guard may take by default: the network may be what the bot died of.
TIMEOUT_SECONDS = 300.0


@frozen
class Scope:
    """Which open orders a guard cancels; the fields mean the same as in `cancel_everything`.

    Attributes:
        pair: The pair whose orders are cancelled; by default those of all pairs.
        only: Called with each listed order; says whether to cancel it. By default all are
            cancelled.
        lists_untriggered: See `cancel_everything`.
    """

    pair: str | None = None
    only: Only | None = None
    lists_untriggered: bool = False


class GuardFiredError(RuntimeError):
    """The guard has fired: it is cancelling the orders, or has cancelled them.

    A bot that hung and then continues gets this error from `beat()`, or at the end of the block.

    Attributes:
        reason: Why the guard fired.
        account: What became of the orders so far.
    """

    def __init__(self, reason: str, account: Account) -> None:
        self.reason: str = reason
        self.account: Account = account
        super().__init__(f"the guard has fired: {reason}. Its cancels: {account}")

    def __reduce__(self) -> tuple[type[Self], tuple[str, Account]]:
        return type(self), (self.reason, self.account)


def guard(
    client: OrdersClient,
    scope: Scope,
    *,
    after: float,
    timeout: float = TIMEOUT_SECONDS,
    journal: Journal | None = None,
    on_fire: Callable[["Guard"], object] | None = None,
    fire_on_exit: bool = False,
) -> "Guard":
    """Return a guard for a `with` block, or in a task an `async with` block; call `beat()` in it.

    The guard fires when `beat()` was not called for `after` seconds, or when an exception leaves
    the block (also `KeyboardInterrupt`, `SystemExit` and the cancellation of the task). It then
    runs `cancel_everything` for the scope; an exception propagates when the cancels are done. A
    block that ends normally disarms the guard. Until the guard fires, nothing is sent.

    The guard runs in a thread with an event loop of its own, so an event loop that hangs does not
    delay it. An extension that blocks the interpreter and lets no other thread run does block it.

    Args:
        client: From `connect()`. If it has a `transport=`, that must be an async one.
        scope: Which orders are cancelled; `Scope()` means every open order of the account.
        after: The longest time without a `beat()`, in seconds.
        timeout: How long the cancels may take, in seconds.
        journal: Where each decision is written before it is carried out. Keep it open until the
            block has ended.
        on_fire: Called with the guard when the cancels are done, in the guard's thread. An
            exception that it raises is logged.
        fire_on_exit: Whether the guard also fires when the block ends normally.

    Raises:
        InvalidArgumentError: If an argument breaks its rule.
    """
    return Guard(client, scope, after, timeout, journal, on_fire, fire_on_exit)


class Guard:
    """What `guard()` returns. It can be used for one block.

    Attributes:
        reason: Why the guard fired; None if it did not.
        error: What ended the cancels early, such as a refusal of the API key; None if nothing did.
    """

    def __init__(
        self,
        client: OrdersClient,
        scope: Scope,
        after: float,
        timeout: float,
        journal: Journal | None,
        on_fire: Callable[["Guard"], object] | None,
        fire_on_exit: bool,
    ) -> None:
        if not isinstance(scope, Scope):
            raise InvalidArgumentError(
                f"scope must be a Scope, such as Scope(pair='BTC_TWD'), not {type(scope).__name__}"
            )
        require_seconds("after", after)
        # Made now, so that a wrong argument is told before there is anything to guard.
        self._many = cancel_everything_async(
            client, pair=scope.pair, only=scope.only, lists_untriggered=scope.lists_untriggered,
            timeout=timeout, journal=journal,
        )  # fmt: skip
        self._timing, self._after = client.timing, after
        self._on_fire, self._fire_on_exit = on_fire, fire_on_exit
        self.reason: str | None = None
        self.error: Exception | None = None
        self._last_beat = 0.0
        self._owner: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._done: Future[None] = Future()

    @property
    def account(self) -> Account:
        """What became of the orders; complete when the block has ended."""
        return self._many.account

    def beat(self) -> None:
        """Tell the guard that the bot is working.

        It never waits; any thread of the process may call it.

        Raises:
            GuardFiredError: If the guard has fired. A beat that comes too late makes it fire.
            RuntimeError: If it is called outside the block, or in a process forked inside the
                block, because no guard runs there.
        """
        if self.reason is None and self._owner != os.getpid():
            raise RuntimeError("beat() is for the guard's block and the process that entered it")
        if self._is_silent():
            self._wake(self._silence)
        self._last_beat = self._timing.monotonic()
        if self.reason is not None:
            raise GuardFiredError(self.reason, self.account)

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("a guard is for one block: make another one")
        self._last_beat, self._owner = self._timing.monotonic(), os.getpid()
        self._loop = asyncio.new_event_loop()
        self._done.set_running_or_notify_cancel()
        # No daemon: an interpreter that ends waits for the cancels.
        threading.Thread(target=self._work, args=(self._loop,), name="guard").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._leave(kind):
            self._done.result()
            self._tell(kind)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._leave(kind):
            await asyncio.wrap_future(self._done)
            self._tell(kind)

    def _leave(self, kind: type[BaseException] | None) -> bool:
        """End the watch; say whether its end is to be waited for: not in a forked child."""
        if self._owner != os.getpid():
            return False
        self._owner = None
        if kind is not None:
            self._wake(f"the block ended in {kind.__name__}")
        else:
            self._wake("the block ended" if self._fire_on_exit else None)
        return True

    def _tell(self, kind: type[BaseException] | None) -> None:
        """Raise if whoever leaves as if all was well may not know that it has fired."""
        if kind is None and self.reason is not None and not self._fire_on_exit:
            raise GuardFiredError(self.reason, self.account)

    def _wake(self, reason: str | None) -> None:
        self.reason = self.reason or reason
        with contextlib.suppress(RuntimeError):  # it has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    @property
    def _silence(self) -> str:
        return f"there was no beat for {self._after:g} s"

    def _seconds_left(self) -> float:
        return self._after - (self._timing.monotonic() - self._last_beat)

    def _is_silent(self) -> bool:
        return self._seconds_left() <= 0

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._watch())
        finally:
            self._done.set_result(None)

    async def _watch(self) -> None:
        waking = asyncio.create_task(self._woken.wait())
        while not waking.done() and not self._is_silent():
            sleeping = asyncio.ensure_future(self._timing.sleep_async(self._seconds_left()))
            await asyncio.wait({waking, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            sleeping.cancel()
        if not waking.done():
            waking.cancel()
            self.reason = self.reason or self._silence
        if self.reason is not None:
            await self._fire(self.reason)

    async def _fire(self, reason: str) -> None:
        logger.warning("the guard cancels the orders: %s", reason)
        try:
            async with self._many as many:
                async for _ in many:
                    pass
        except Exception as error:  # noqa: BLE001 - it is for whoever leaves the block
            self.error = error
        told = f"{self.account}; the book: {self.account.book}"
        logger.warning("the guard has ended: %s; %s", told, self.error or "nothing ended it early")
        if self._on_fire is not None:
            try:
                self._on_fire(self)
            except Exception:
                logger.warning("the on_fire hook failed", exc_info=True)
