"""Looking up a host's name: in a thread of its own, as nothing else can end it in time."""

# Imported by the first look-up otherwise: a child forked in that moment could never look up again.
import encodings.idna  # noqa: F401
import ipaddress
import socket
import threading
from collections.abc import Callable
from itertools import zip_longest

from bitopro_orders.signals import Signal

from . import NotConnectedError

Address = tuple[socket.AddressFamily, tuple[str, int]]


class Lookup:
    """The addresses of a host, as soon as they are known.

    Args:
        host: A name or an address.
        port: The port.
        signal: Makes what tells that they are known; not called for an address.

    Attributes:
        addresses: What was found; None while nothing is known.
        signal: Tells when.
    """

    def __init__(self, host: str, port: int, signal: Callable[[], Signal]) -> None:
        self.addresses: list[Address] | None = None
        self.signal: Signal | None = None
        try:
            kind = ipaddress.ip_address(host).version
        except ValueError:
            self.signal = signal()
            threading.Thread(
                target=self._look_up, args=(host, port), name="bitopro names", daemon=True
            ).start()
        else:
            family = socket.AF_INET if kind == 4 else socket.AF_INET6
            self.addresses = [(family, (host, port))]

    def _look_up(self, host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        self.addresses = [
            (family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found
        ]
        if self.signal is not None:
            self.signal.set()

    def ordered(self, worked: Address | None) -> list[Address]:
        """Return the addresses to try: the one that worked last, then each family in turn.

        Raises:
            NotConnectedError: If there are none.
        """
        if self.addresses is None:
            raise NotConnectedError("looking up the host's name took too long")
        if not self.addresses:
            raise NotConnectedError("the host's name is not known")
        family = self.addresses[0][0]
        ones = [each for each in self.addresses if each[0] == family]
        others = [each for each in self.addresses if each[0] != family]
        mixed = [each for pair in zip_longest(ones, others) for each in pair if each is not None]
        return sorted(mixed, key=lambda each: each != worked)
