"""The httpx plugin."""

import ipaddress
from collections.abc import Callable, Collection, Generator

import httpx

from .credentials import Credentials
from .nonce import NonceSource
from .signing import identity_json, signed_headers

DEFAULT_HOSTS = frozenset({"api.bitopro.com"})


class UnsignableRequestError(Exception):
    """The request was not signed and not sent: wrong host, scheme, method or body."""


class BitoProAuth(httpx.Auth):
    """Signs each request that goes on the wire, sync or async, with a nonce of its own.

    Args:
        credentials: The account's credentials.
        hosts: The host names to sign for. The signature covers neither method nor path, so
            whoever receives it could use it elsewhere.
        nonce: Returns the next nonce, in milliseconds since the epoch.
    """

    requires_request_body = True

    def __init__(
        self,
        credentials: Credentials,
        *,
        hosts: Collection[str] = DEFAULT_HOSTS,
        nonce: Callable[[], int] | None = None,
    ) -> None:
        self._credentials = credentials
        self._hosts = frozenset(hosts)
        self._nonce = nonce or NonceSource()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign the request, or refuse to.

        Raises:
            UnsignableRequestError: If the request must not be signed; it is not sent.
        """
        self._check_destination(request.url)
        request.headers.update(signed_headers(self._signed_json(request), self._credentials))
        yield request

    def _check_destination(self, url: httpx.URL) -> None:
        if url.host not in self._hosts:
            raise UnsignableRequestError(f"{url.host} is not among the hosts to sign for")
        if url.scheme != "https" and not is_loopback(url.host):
            raise UnsignableRequestError("only https is signed, and http to this machine itself")

    def _signed_json(self, request: httpx.Request) -> bytes:
        if request.method in {"GET", "DELETE"}:
            return identity_json(self._credentials.identity, self._nonce())
        if request.method in {"POST", "PUT"} and request.content:
            return request.content
        raise UnsignableRequestError(f"a {request.method} without a body has nothing to sign")


def is_loopback(host: str) -> bool:
    """Say whether the host is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
