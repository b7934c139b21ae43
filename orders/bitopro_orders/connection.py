"""`connect()`: a client that signs its calls, and whose errors say what happened."""

import contextlib
import os
import re
import ssl
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

from attrs import define, evolve, field

from bitopro_auth import Credentials, CredentialsError, base_url_from_env
from bitopro_auth.credentials import Secret
from bitopro_auth.signer import is_loopback
from bitopro_client import Client
from bitopro_client.client import DEFAULT_BASE_URL
from bitopro_client.types import Call, Response

from .errors import InvalidArgumentError
from .message import HEADERS, Route
from .policy import AttemptRecord, SendingPolicy, require_seconds
from .sending import Sender
from .steps import Step, TaskChannel, TaskTransport, ThreadChannel, drive, drive_async
from .throttle import Key, StoreError, Throttle, throttle_of
from .timing import Timing
from .transport import Origin, Tally
from .transport.threads import Threads

if TYPE_CHECKING:
    import asyncio

    import httpx

T = TypeVar("T")

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*")


def connect(
    credentials: Credentials | None = None,
    *,
    base_url: str | None = None,
    timeout: float = 10.0,
    policy: SendingPolicy | None = None,
    shared: str | os.PathLike[str] | None = None,
    egress: str = "",
    tls: ssl.SSLContext | None = None,
    transport: "httpx.BaseTransport | httpx.AsyncBaseTransport | None" = None,
    on_attempt: Callable[[AttemptRecord], object] | None = None,
    timing: Timing | None = None,
) -> "OrdersClient":
    """Return a client that signs its calls, keeps the rate limits and retries where that is safe.

    Use it in a `with` or an `async with` block; the end of the block closes its connections. The
    client follows no redirects, keeps no cookies and ignores the proxy settings of the environment,
    because each of these could send the credentials to another host.

    Args:
        credentials: The credentials of the account; by default those of the environment
            (`BITOPRO_API_KEY`, `BITOPRO_API_SECRET`, `BITOPRO_EMAIL`).
        base_url: The URL of the API; by default `BITOPRO_BASE_URL` of the environment, or the
            exchange if that is not set. It must be https, or http to this machine itself.
        timeout: How long each phase of an attempt (connect, write, each read) may take, in seconds.
            The policy's deadline bounds the whole call.
        policy: How calls are sent, see `SendingPolicy`.
        shared: The store through which processes that use the same key share the rate limits and
            the order of the nonces. None if only this process uses the key; a folder for several
            processes of this machine; a `redis://` URL for several machines (extra `redis`).
        egress: A name for the public IP address that requests come from, because the exchange also
            counts its limits per IP address. By default all processes that share a store count as
            one address; if their machines have different addresses, give each address a name.
        tls: The SSL context that verifies the server; by default with the certificates of certifi.
            Pass one if your company has its own certificate authority.
        transport: An httpx transport in place of the package's own, for proxies, recorders and
            mocks. Its errors then decide whether a byte was sent. It must not retry by itself,
            because that would use a nonce twice. Each request gets its own connection, so that late
            bytes of one answer are never taken for the next answer. You close the transport
            yourself.
        on_attempt: Called with an `AttemptRecord` after each attempt, for metrics.
        timing: The clocks, the sleeps and the randomness.

    Raises:
        InvalidArgumentError: If an argument or a variable of the environment is missing or
            breaks its rule.
    """
    # Hidden before anything can be raised: a URL may hold a password, and tracebacks show it.
    if base_url is None:
        base_url = base_url_from_env() or DEFAULT_BASE_URL
    given_url, where = Secret(base_url), _hidden(shared)
    del base_url, shared
    url = _checked_base_url(given_url)
    origin = Origin.of(url)
    require_seconds("timeout", timeout)
    if not isinstance(egress, str):
        raise InvalidArgumentError("egress must be text, such as office-1")
    policy, timing = policy or SendingPolicy(), timing or Timing()
    credentials = given_or_from_env(credentials)
    throttle = _throttle(f"{origin.scheme}://{origin.authority}", where, timing)
    sender = Sender(
        credentials,
        frozenset({origin.host}),
        throttle,
        Key.of(credentials, egress),
        policy,
        timing,
        on_attempt,
    )
    return OrdersClient(
        base_url=url.rstrip("/"),
        headers=dict(HEADERS),
        timeout=timeout,
        verify_ssl=True if tls is None else tls,
        sender=sender,
        **_channels(transport, _Context(tls), timing),
    )


def _channels(
    transport: "httpx.BaseTransport | httpx.AsyncBaseTransport | None",
    context: "_Context",
    timing: Timing,
) -> dict[str, Any]:
    """Return what carries out the steps, in threads and in tasks."""
    if transport is None:

        def tasks_transport() -> TaskTransport:
            # Imported when a task asks: whoever has only threads does without asyncio.
            from .transport.tasks import Tasks

            return Tasks(context, timing.monotonic)

        return {
            "threads": ThreadChannel(timing, Threads(context, timing.monotonic)),
            "tasks": TaskChannel(timing, tasks_transport),
        }
    import httpx

    from .transport.through_httpx import TasksThroughHttpx, ThreadsThroughHttpx

    threads = tasks = None
    if isinstance(transport, httpx.BaseTransport):
        threads = ThreadChannel(timing, ThreadsThroughHttpx(transport))
    if isinstance(transport, httpx.AsyncBaseTransport):
        tasks = TaskChannel(timing, partial(TasksThroughHttpx, transport))
    if threads is None and tasks is None:
        raise InvalidArgumentError(
            "transport must be an httpx transport, such as httpx.HTTPTransport(proxy=...), not "
            f"{type(transport).__name__}"
        )
    return {"threads": threads, "tasks": tasks}


class _Context:
    """The one TLS context of a client, made when it is needed: it reads all the certificates."""

    def __init__(self, given: ssl.SSLContext | None) -> None:
        self._context = given

    def __call__(self) -> ssl.SSLContext:
        if self._context is None:
            import certifi

            # Not `create_default_context`: it writes down the keys if SSLKEYLOGFILE says so.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(certifi.where())
            # Not before: another thread would take one without certificates, and trust nobody.
            self._context = context
        return self._context


def given_or_from_env(credentials: Credentials | None) -> Credentials:
    """Return the credentials, by default those of the environment.

    Raises:
        InvalidArgumentError: Naming every variable of the environment that is missing.
    """
    try:
        return credentials or Credentials.from_env()
    except CredentialsError as error:
        raise InvalidArgumentError(f"credentials are needed: {error}") from error


def _hidden(shared: str | os.PathLike[str] | None) -> Secret | None:
    try:
        return None if shared is None else Secret(os.fspath(shared))
    except TypeError:
        return Secret("")


def _throttle(origin: str, where: Secret | None, timing: Timing) -> Throttle:
    try:
        return throttle_of(origin, where, timing)
    except StoreError as error:
        reason = f"shared must name a usable store: {error}"
    except (TypeError, ValueError):
        reason = "shared must be a folder or a redis:// URL, such as redis://localhost:6379/0"
    # Not in the `except`: the frames of what was raised there hold the URL.
    raise InvalidArgumentError(reason)


def _checked_base_url(text: Secret) -> str:
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        if _may_be_signed_for(text.reveal()):
            return text.reveal()
    # Not in the function that takes it apart: tracebacks show variables.
    raise InvalidArgumentError(
        "base_url must be https://host[:port][/path], or http:// to this machine itself, such as "
        "https://api.bitopro.com/v3"
    )


def _may_be_signed_for(base_url: str) -> bool:
    # What `urlsplit` would drop without a word, or take for something else than a path.
    if not base_url.isascii() or not base_url.isprintable() or {*base_url} & {*" \\?#@"}:
        return False
    url = urlsplit(base_url)
    host = url.hostname or ""
    allowed = url.scheme == "https" or (url.scheme == "http" and is_loopback(host))
    return allowed and url.port != 0 and _HOST.fullmatch(host) is not None


@define(eq=False)
class OrdersClient(Client):
    """The client that `connect()` returns: the generated client with the sending policy.

    Its calls raise the errors of `bitopro_orders` and no others.
    """

    _sender: Sender = field(kw_only=True, alias="sender")
    _threads: ThreadChannel | None = field(kw_only=True, alias="threads", repr=False)
    _tasks: TaskChannel | None = field(kw_only=True, alias="tasks", repr=False)
    _route: Route | None = field(default=None, init=False, repr=False)

    def send(self, call: Call[T]) -> Response[T]:
        """Send one call by the policy and return its answer.

        Raises:
            BitoProError: An error of one of the three kinds.
        """
        return self.run(self.steps(call))

    async def send_async(self, call: Call[T]) -> Response[T]:
        """Send one call by the policy and return its answer; raises what `send` raises."""
        return await self.run_async(self.steps(call))

    def steps(
        self,
        call: Call[T],
        *,
        seconds: float | None = None,
        tally: Tally | None = None,
        answer_share: float = 1.0,
    ) -> Generator[Step, Any, Response[T]]:
        """Return the steps of a call, for `run` and `run_async`.

        Args:
            call: The operation with its arguments.
            seconds: How long it may take; by default the policy's deadline.
            tally: Counts the requests that leave this machine.
            answer_share: Which part of the time that is left when a request leaves may be spent
                on waiting for its answer.
        """
        allowed = self._sender.policy.deadline_seconds if seconds is None else seconds
        tally = Tally() if tally is None else tally
        return self._sender.steps(call, self._routed(), allowed, tally, answer_share)

    def _routed(self) -> Route:
        if self._route is None:
            timeout = self._timeout
            phase = timeout if isinstance(timeout, int | float | None) else timeout.read
            self._route = Route.of(
                self._base_url, self._headers, self._cookies, phase or float("inf")
            )
        return self._route

    def run(self, steps: Generator[Step, Any, T]) -> T:
        """Carry out steps in this thread."""
        if self._threads is None:
            raise TypeError(_FOR_TASKS)
        return drive(steps, self._threads)

    async def run_async(self, steps: Generator[Step, Any, T]) -> T:
        """Carry out steps in this task."""
        if self._tasks is None:
            raise TypeError(_FOR_THREADS)
        return await drive_async(steps, self._tasks)

    def leave_alone(self, task: "asyncio.Future[Any]") -> None:
        """Keep a task that nobody waits for until it is done, or until the client is closed."""
        if self._tasks is not None:
            self._tasks.leave_alone(task)

    def close(self) -> None:
        """Close all connections, also those of copies of this client; later calls open new ones."""
        self._close()

    def _close(self) -> list["asyncio.Future[Any]"]:
        for channel in (self._threads, self._tasks):
            if channel is not None:
                channel.close()
        return [] if self._tasks is None else self._tasks.end_tasks()

    def __enter__(self) -> Self:
        """Return the client; leaving closes its connections."""
        return self

    def __exit__(self, *args: object, **kwargs: object) -> None:
        """Close all connections."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the client; leaving closes its connections."""
        return self

    async def __aexit__(self, *args: object, **kwargs: object) -> None:
        """Close all connections, and let the loop see them closed."""
        if ending := self._close():
            from asyncio import wait

            await wait(ending)
        await self._sender.timing.sleep_async(0)

    @property
    def has_tasks(self) -> bool:
        """Whether the transport is an async one."""
        return self._tasks is not None

    @property
    def base_url(self) -> str:
        """The URL of the API."""
        return self._base_url

    @property
    def timing(self) -> Timing:
        """The clocks, the sleeps and the randomness."""
        return self._sender.timing

    @property
    def credentials(self) -> Credentials:
        """The credentials that sign the calls."""
        return self._sender.credentials

    async def handshake_nonce(self, seconds: float) -> int:
        """Wait for the turn of a stream's handshake, and return its nonce, in milliseconds.

        Raises:
            NotSentError: If the wait takes longer than `seconds`.
        """
        return await self.run_async(self._sender.handshake(self._routed(), seconds))

    def handshake_refused(self, retry_after: float | None) -> None:
        """Take note that a handshake was refused with a 429.

        Args:
            retry_after: The seconds that the exchange asked to wait; None if it did not say.
        """
        self._sender.cool_down(retry_after)

    def with_headers(self, headers: dict[str, str]) -> Self:
        """Return a copy of the client with these headers added; it shares the connections."""
        return evolve(self, headers={**self._headers, **headers})

    def with_cookies(self, cookies: dict[str, str]) -> Self:
        """Return a copy of the client with these cookies added; it shares the connections."""
        return evolve(self, cookies={**self._cookies, **cookies})

    def with_timeout(self, timeout: "httpx.Timeout | float") -> Self:
        """Return a copy with another timeout for each phase; it shares the connections."""
        if not hasattr(timeout, "read"):
            require_seconds("timeout", timeout)
        return evolve(self, timeout=timeout)

    def get_httpx_client(self) -> NoReturn:
        """Raise `TypeError`: its requests would not be counted, nor have nonces in order."""
        raise TypeError(_NO_HTTPX)

    def get_async_httpx_client(self) -> NoReturn:
        """Raise `TypeError`: its requests would not be counted, nor have nonces in order."""
        raise TypeError(_NO_HTTPX)

    def set_httpx_client(self, client: "httpx.Client") -> NoReturn:  # noqa: ARG002
        """Raise `TypeError`: calls would not use it. Set `base_url` to a server of your own."""
        raise TypeError(_NO_HTTPX)

    def set_async_httpx_client(
        self,
        async_client: "httpx.AsyncClient",  # noqa: ARG002
    ) -> NoReturn:
        """Raise `TypeError`: calls would not use it. Set `base_url` to a server of your own."""
        raise TypeError(_NO_HTTPX)


_FOR_TASKS = "the transport given to connect() is for tasks: use the async functions"
_FOR_THREADS = "the transport given to connect() is for threads: use the sync functions"
_NO_HTTPX = (
    "a client of connect() counts its requests and keeps their nonces in order, so it has no httpx "
    "client: describe the operation in the spec, or use bitopro_client.Client with BitoProAuth"
)
