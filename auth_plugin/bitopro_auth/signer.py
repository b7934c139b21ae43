"""Signs requests for certain hosts, whatever client sends them."""

import ipaddress
from collections.abc import Collection
from functools import cache

from .credentials import Credentials
from .signing import identity_json, signed_headers

DEFAULT_HOSTS = frozenset({"api.bitopro.com"})


class UnsignableRequestError(Exception):
    """The request was not signed and not sent: its host, scheme, method or body is wrong."""


class Signer:
    """Signs requests for certain hosts and for no others, whatever client sends them.

    Args:
        credentials: The account's credentials.
        hosts: The host names to sign for. The signature does not cover the method and the path, so
            a host that receives it could use it for another call.
    """

    def __init__(self, credentials: Credentials, hosts: Collection[str] = DEFAULT_HOSTS) -> None:
        self._credentials = credentials
        self._hosts = frozenset(hosts)

    def check(self, method: str, scheme: str, host: str, body: bytes) -> None:
        """Raise if the request must not be signed: its host, scheme, method or body breaks a rule.

        Raises:
            UnsignableRequestError: If it must not be sent.
        """
        if host not in self._hosts:
            raise UnsignableRequestError(f"{host} is not among the hosts to sign for")
        if scheme != "https" and not is_loopback(host):
            raise UnsignableRequestError("only https is signed, and http to this machine itself")
        if method not in {"GET", "DELETE"} and not (method in {"POST", "PUT"} and body):
            raise UnsignableRequestError(f"a {method} without a body has nothing to sign")

    def headers(self, method: str, body: bytes, nonce: int) -> dict[str, str]:
        """Return the three signed headers of a request that passed `check`.

        Args:
            method: GET and DELETE sign the e-mail address and the nonce, other methods the body.
            body: The body, as it is sent.
            nonce: The nonce, in milliseconds since the epoch.
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
