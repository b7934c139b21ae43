"""Signs requests, whatever sends them, and says to whom."""

import ipaddress
from collections.abc import Collection
from functools import cache

from .credentials import Credentials
from .signing import identity_json, signed_headers

DEFAULT_HOSTS = frozenset({"api.bitopro.com"})


class UnsignableRequestError(Exception):
    """The request was not signed and not sent: wrong host, scheme, method or body."""


class Signer:
    """Signs requests to some hosts and no others, whatever sends them.

    Args:
        credentials: The account's credentials.
        hosts: The host names to sign for. The signature covers neither method nor path, so
            whoever receives it could use it elsewhere.
    """

    def __init__(self, credentials: Credentials, hosts: Collection[str] = DEFAULT_HOSTS) -> None:
        self._credentials = credentials
        self._hosts = frozenset(hosts)

    def check(self, method: str, scheme: str, host: str, body: bytes) -> None:
        """Raise unless the request may be signed.

        Raises:
            UnsignableRequestError: It must not be sent.
        """
        if host not in self._hosts:
            raise UnsignableRequestError(f"{host} is not among the hosts to sign for")
        if scheme != "https" and not is_loopback(host):
            raise UnsignableRequestError("only https is signed, and http to this machine itself")
        if method not in {"GET", "DELETE"} and not (method in {"POST", "PUT"} and body):
            raise UnsignableRequestError(f"a {method} without a body has nothing to sign")

    def headers(self, method: str, body: bytes, nonce: int) -> dict[str, str]:
        """Return the three headers of a request that was checked.

        Args:
            method: GET and DELETE sign the account and the nonce, others their body.
            body: The body as it is sent.
            nonce: Milliseconds since the epoch.
        """
        try:
            return signed_headers(
                identity_json(self._credentials.identity, nonce)
                if method in {"GET", "DELETE"}
                else body,
                self._credentials,
            )
        except BaseException as error:
            # Should Ctrl-C come, its traceback would show the variables of the signing.
            error.__traceback__ = None
            raise


@cache
def is_loopback(host: str) -> bool:
    """Say whether the host is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
