"""The authentication plugin for httpx."""

from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any

import httpx

from .credentials import Credentials
from .nonce import NonceSource
from .signer import DEFAULT_HOSTS, Signer


class BitoProAuth(httpx.Auth):
    """Signs each request that httpx sends, sync or async, with a nonce of its own.

    Args:
        credentials: The account's credentials.
        hosts: The host names to sign for, see `Signer`.
        nonce: Returns the next nonce, in milliseconds since the epoch; by default a `NonceSource`.
    """

    requires_request_body = True

    def __init__(
        self,
        credentials: Credentials,
        *,
        hosts: Collection[str] = DEFAULT_HOSTS,
        nonce: Callable[[], int] | None = None,
    ) -> None:
        self._signer = Signer(credentials, hosts)
        self._nonce = nonce or NonceSource()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign the request.

        Raises:
            UnsignableRequestError: If the request must not be signed; it is not sent.
        """
        url = request.url
        self._signer.check(request.method, url.scheme, url.host, request.content)
        nonce = self._nonce() if request.method in {"GET", "DELETE"} else 0
        request.headers = SignedHeaders(
            request.headers, self._signer.headers(request.method, request.content, nonce)
        )
        yield request


class SignedHeaders(httpx.Headers):
    """The headers of a request, with a signature that appears only when the request is written.

    httpx copies the headers of a request into the request of a redirect, without asking for a new
    signature. A signature among them would be sent to another host, and would be seen by whatever
    shows or records the headers.

    Args:
        headers: The headers of the request.
        signed: The headers of the signature.
    """

    def __init__(self, headers: httpx.Headers, signed: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._signed = [(name.encode(), text.encode()) for name, text in signed.items()]

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """All headers, including the signature, as they are written to the connection."""
        return [*super().raw, *self._signed]

    def copy(self) -> httpx.Headers:
        """Return the headers without the signature."""
        return httpx.Headers(self.multi_items())

    def __reduce__(self) -> tuple[Any, ...]:
        return httpx.Headers, (self.multi_items(),)
