"""The everyday door: a generated client that signs, and whose errors say what happened."""

import math
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx
from attrs import define, field

from bitopro_auth import (
    BitoProAuth,
    Credentials,
    CredentialsError,
    UnsignableRequestError,
    base_url_from_env,
    system_clock_ms,
)
from bitopro_auth.auth import is_loopback
from bitopro_client import Client
from bitopro_client.client import DEFAULT_BASE_URL
from bitopro_client.errors import InvalidArgument, UnreadableAnswer
from bitopro_client.types import Call, Response

from .answers import error_of
from .errors import BitoProError, InvalidArgumentError, NotSentError, OutcomeUnknownError

T = TypeVar("T")

#: Before any of these is raised, no byte of the request has left this machine.
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    UnsignableRequestError,
)


def connect(
    credentials: Credentials | None = None,
    *,
    base_url: str | None = None,
    timeout: float = 10.0,
    clock_ms: Callable[[], int] = system_clock_ms,
) -> "OrdersClient":
    """Return a client that is ready to call: signed, with timeouts, with typed errors.

    It is used as `with` and as `async with`. Redirects are never followed, cookies never kept,
    and proxies of the environment never used: each would carry the credentials elsewhere.

    Args:
        credentials: The account's; by default those of the environment (`BITOPRO_API_KEY`,
            `BITOPRO_API_SECRET`, `BITOPRO_EMAIL`).
        base_url: Where the API is; by default `BITOPRO_BASE_URL` of the environment, else the
            exchange. https, or http to this machine itself.
        timeout: How long each phase of a call (connect, write, read, wait for a free connection)
            may take, in seconds.
        clock_ms: Returns milliseconds since the epoch.

    Raises:
        InvalidArgumentError: If an argument or a variable of the environment is missing or
            breaks its rule.
    """
    url = _checked_base_url(base_url or base_url_from_env() or DEFAULT_BASE_URL)
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (number and math.isfinite(timeout) and timeout > 0):
        raise InvalidArgumentError("timeout must be a finite number of seconds above 0")
    if credentials is None:
        try:
            credentials = Credentials.from_env()
        except CredentialsError as error:
            raise InvalidArgumentError(f"credentials are needed: {error}") from error
    return OrdersClient(
        base_url=str(url),
        timeout=httpx.Timeout(timeout),
        verify_ssl=httpx.create_ssl_context(trust_env=False),
        follow_redirects=False,
        httpx_args={
            "auth": BitoProAuth(credentials, hosts={url.host}),
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),
            "trust_env": False,
        },
        clock_ms=clock_ms,
    )


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


@define
class OrdersClient(Client):
    """The generated client, whose calls raise the errors of `bitopro_orders` and no others."""

    _clock_ms: Callable[[], int] = field(default=system_clock_ms, kw_only=True, alias="clock_ms")

    def send(self, call: Call[T]) -> Response[T]:
        """Send one call and return its answer.

        Raises:
            BitoProError: One of its three kinds, by what happened.
        """
        kwargs = _request_kwargs(call)
        try:
            answer: httpx.Response | Exception = self.get_httpx_client().request(**kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller learns what it means
            answer = error
        return self._read(call, answer)

    async def send_async(self, call: Call[T]) -> Response[T]:
        """Send one call and return its answer; raises what `send` raises."""
        kwargs = _request_kwargs(call)
        try:
            answer: httpx.Response | Exception = await self.get_async_httpx_client().request(
                **kwargs
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller learns what it means
            answer = error
        return self._read(call, answer)

    def _read(self, call: Call[T], answer: httpx.Response | Exception) -> Response[T]:
        # Nothing is raised inside an `except` that caught httpx's error: as the context of ours
        # it would carry the signed request along.
        if isinstance(answer, Exception):
            raise _meaning_of(answer) from _without_request(answer)
        if not 200 <= answer.status_code < 300:
            raise error_of(
                answer.status_code,
                answer.content,
                answer.headers,
                now_ms=self._clock_ms(),
                secrets=_signed_values(answer.request),
            )
        try:
            return call.read(answer)
        except UnreadableAnswer as error:
            raise OutcomeUnknownError(str(error), status=error.status_code) from error


def _request_kwargs(call: Call[T]) -> dict[str, Any]:
    try:
        return call.request_kwargs()
    except InvalidArgument as error:
        raise InvalidArgumentError(str(error)) from error


def _meaning_of(failure: Exception) -> BitoProError:
    name = f"{type(failure).__name__}: {failure}"
    if isinstance(failure, NEVER_SENT):
        return NotSentError(f"nothing was sent ({name}). Calling again is safe")
    return OutcomeUnknownError(f"no answer came ({name})")


def _signed_values(request: httpx.Request) -> list[str]:
    return [value for name, value in request.headers.items() if name.startswith("x-bitopro-")]


def _without_request(failure: Exception) -> Exception:
    """Return the failure anew: httpx's holds the signed request, as do the frames below it."""
    return type(failure)(str(failure))
