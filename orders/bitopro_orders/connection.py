"""The everyday door: a generated client that signs, and whose errors say what happened."""

import os
import ssl
from collections.abc import Callable, Generator
from typing import Any, NoReturn, Self, TypeVar

import httpx
from attrs import define, field

from bitopro_auth import Credentials, CredentialsError, base_url_from_env
from bitopro_auth.auth import is_loopback
from bitopro_client import Client
from bitopro_client.client import DEFAULT_BASE_URL
from bitopro_client.types import Call, Response

from .errors import InvalidArgumentError, NotSentError
from .forks import ForkSafeLock
from .lanes import LaneTimeoutError, lane_of
from .sending import (
    HEADERS,
    AttemptRecord,
    Channel,
    Route,
    Sender,
    SendingPolicy,
    Step,
    Tally,
    drive,
    drive_async,
    require_seconds,
)
from .sharing import SharedStoreError
from .timing import Timing
from .transport import AsyncTransport, Transport

T = TypeVar("T")


def connect(
    credentials: Credentials | None = None,
    *,
    base_url: str | None = None,
    timeout: float = 10.0,
    policy: SendingPolicy | None = None,
    shared: str | os.PathLike[str] | None = None,
    tls: ssl.SSLContext | None = None,
    on_attempt: Callable[[AttemptRecord], object] | None = None,
    timing: Timing | None = None,
) -> "OrdersClient":
    """Return a client that is ready to call: signed, limited, retried where that is safe.

    It is used as `with` and as `async with`; leaving closes its connections. Redirects are never
    followed, cookies never kept, and proxies of the environment never used: each would carry the
    credentials elsewhere.

    Args:
        credentials: The account's; by default those of the environment (`BITOPRO_API_KEY`,
            `BITOPRO_API_SECRET`, `BITOPRO_EMAIL`).
        base_url: Where the API is; by default `BITOPRO_BASE_URL` of the environment, else the
            exchange. https, or http to this machine itself.
        timeout: How long each phase of an attempt (connect, write, each read) may take, in
            seconds. The policy's deadline bounds the whole call.
        policy: How calls are sent, see `SendingPolicy`.
        shared: Who else uses the key: None if only this process does; a folder that the processes
            of this machine share; or the `redis://` URL that several machines share (extra
            `redis`). It keeps the limit and the order of the nonces for all of them.
        tls: What verifies the server; by default the certificates that certifi brings. A company's
            own authority is a reason to give one.
        on_attempt: Called with an `AttemptRecord` after each attempt, for metrics.
        timing: The clocks, the sleeps and the randomness.

    Raises:
        InvalidArgumentError: If an argument or a variable of the environment is missing or
            breaks its rule.
    """
    if base_url is None:
        base_url = base_url_from_env() or DEFAULT_BASE_URL
    url = _checked_base_url(base_url)
    require_seconds("timeout", timeout)
    policy, timing = policy or SendingPolicy(), timing or Timing()
    credentials = given_or_from_env(credentials)
    try:
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        fall_back = policy.local_if_shared_fails
        where = None if shared is None else os.fspath(shared)
        lane = lane_of(credentials, where, origin, timing, fall_back=fall_back)
    except SharedStoreError as error:
        raise InvalidArgumentError(f"shared must name a usable store: {error}") from None
    except (TypeError, ValueError):
        # Not quoted: the URL may hold a password.
        raise InvalidArgumentError("shared must be a folder or a redis:// URL") from None
    return OrdersClient(
        base_url=str(url).rstrip("/"),
        headers=dict(HEADERS),
        timeout=httpx.Timeout(timeout),
        verify_ssl=True if tls is None else tls,
        sender=Sender(credentials, frozenset({url.host}), lane, policy, timing, on_attempt),
    )


def given_or_from_env(credentials: Credentials | None) -> Credentials:
    """Return the credentials, by default those of the environment.

    Raises:
        InvalidArgumentError: Naming every variable of the environment that is missing.
    """
    try:
        return credentials or Credentials.from_env()
    except CredentialsError as error:
        raise InvalidArgumentError(f"credentials are needed: {error}") from error


def _checked_base_url(text: str) -> httpx.URL:
    # The URL is not quoted in the message: it may hold a password.
    rule = "base_url must be https://host[:port][/path], or http:// to this machine itself"
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidArgumentError(rule) from error
    allowed = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host))
    if not allowed or not url.host or url.userinfo or url.query or url.fragment:
        raise InvalidArgumentError(rule)
    return url


@define(eq=False)
class OrdersClient(Client):
    """The generated client, whose calls go through the sending policy.

    They raise the errors of `bitopro_orders` and no others. Made by `connect()`.
    """

    _sender: Sender = field(kw_only=True, alias="sender")
    _opening: ForkSafeLock = field(factory=ForkSafeLock, init=False, repr=False)
    _context: ssl.SSLContext | None = field(default=None, init=False, repr=False)
    _transport: Transport | None = field(default=None, init=False, repr=False)
    _async_transport: AsyncTransport | None = field(default=None, init=False, repr=False)

    def send(self, call: Call[T]) -> Response[T]:
        """Send one call by the policy and return its answer.

        Raises:
            BitoProError: One of its three kinds, by what happened.
        """
        return self.run(self.steps(call))

    async def send_async(self, call: Call[T]) -> Response[T]:
        """Send one call by the policy and return its answer; raises what `send` raises."""
        return await self.run_async(self.steps(call))

    def steps(
        self, call: Call[T], *, seconds: float | None = None, tally: Tally | None = None
    ) -> Generator[Step, Any, Response[T]]:
        """Return the steps of a call, for `run` and `run_async`.

        Args:
            call: The operation with its arguments.
            seconds: How long it may take, if that is less than the policy's deadline.
            tally: Counts the requests that leave this machine.
        """
        phase = self._timeout.read if self._timeout else None
        route = Route(
            base_url=self._base_url,
            headers=self._headers,
            cookies=self._cookies or None,
            phase_seconds=phase or float("inf"),
        )
        limit = self._sender.policy.deadline_seconds
        allowed = limit if seconds is None else min(limit, seconds)
        return self._sender.steps(call, route, allowed, tally or Tally())

    def run(self, steps: Generator[Step, Any, T]) -> T:
        """Carry out steps in this thread."""
        return drive(steps, Channel(self._sender.timing, transport=self._threads()))

    async def run_async(self, steps: Generator[Step, Any, T]) -> T:
        """Carry out steps in this task."""
        channel = Channel(self._sender.timing, async_transport=self._tasks())
        return await drive_async(steps, channel)

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        transport, self._transport = self._transport, None
        async_transport, self._async_transport = self._async_transport, None
        self._client = self._async_client = None
        if transport is not None:
            transport.close()
        if async_transport is not None:
            async_transport.close_now()

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
        self.close()
        await self._sender.timing.sleep_async(0)

    @property
    def timing(self) -> Timing:
        """The clocks, the sleeps and the randomness."""
        return self._sender.timing

    @property
    def credentials(self) -> Credentials:
        """Whose key signs."""
        return self._sender.credentials

    def next_nonce(self) -> int:
        """Return a nonce of the client's key, in milliseconds since the epoch.

        Raises:
            NotSentError: If there is none: the nonces are ahead of the clock, or the shared store
                does not answer.
        """
        try:
            return self._sender.lane.next_nonce()
        except (LaneTimeoutError, SharedStoreError) as error:
            raise NotSentError(str(error)) from None

    def set_httpx_client(self, client: httpx.Client) -> NoReturn:  # noqa: ARG002
        """Refuse: calls would not go through it. Point `base_url` at a server of your own."""
        raise TypeError("calls of connect() have connections of their own; use base_url in tests")

    def set_async_httpx_client(
        self,
        async_client: httpx.AsyncClient,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse: calls would not go through it. Point `base_url` at a server of your own."""
        raise TypeError("calls of connect() have connections of their own; use base_url in tests")

    def _tls(self) -> ssl.SSLContext:
        """Return the one TLS context; it loads no certificates where there is no TLS."""
        if isinstance(self._verify_ssl, ssl.SSLContext):
            return self._verify_ssl
        if self._context is None:
            encrypted = self._base_url.startswith("https:")
            self._context = (
                httpx.create_ssl_context(trust_env=False)
                if encrypted
                else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
        return self._context

    def _threads(self) -> Transport:
        if (transport := self._transport) is None:
            # Sixteen threads that start at once still share one pool and one TLS context.
            with self._opening:
                if (transport := self._transport) is None:
                    transport = Transport(self._tls(), self.timing.monotonic)
                    self._transport = transport
        return transport

    def _tasks(self) -> AsyncTransport:
        if (transport := self._async_transport) is None:
            with self._opening:
                if (transport := self._async_transport) is None:
                    transport = AsyncTransport(self._tls(), self.timing.monotonic)
                    self._async_transport = transport
        return transport

    def _httpx_settings(self) -> dict[str, Any]:
        auth = self._sender.auth(self.next_nonce)
        return {**super()._httpx_settings(), "auth": auth, "trust_env": False}

    def get_httpx_client(self) -> httpx.Client:
        """Return an httpx.Client on the same connections: signed, but without the policy."""
        if self._client is None:
            settings = {**self._httpx_settings(), "transport": self._threads()}
            self._client = httpx.Client(**settings)
        return self._client

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """Return an httpx.AsyncClient on the same connections: signed, but without the policy."""
        if self._async_client is None:
            settings = {**self._httpx_settings(), "transport": self._tasks()}
            self._async_client = httpx.AsyncClient(**settings)
        return self._async_client
