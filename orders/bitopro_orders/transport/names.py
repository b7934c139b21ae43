"""DNS lookups, each in a thread of its own, because there is no other way to end one in time."""

# Imported by the first look-up otherwise: a child forked in that moment could never look up again.
import encodings.idna  # noqa: F401
import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from itertools import zip_longest

from bitopro_orders.signals import Signal

from . import NotConnectedError

Address = tuple[socket.AddressFamily, tuple[str, int]]


class _Search:
    """A look-up under way, for all who ask for the same host meanwhile.

    Args:
        host: The name.
        port: The port.

    Attributes:
        found: The addresses; None while nothing is known.
    """

    def __init__(self, host: str, port: int) -> None:
        self._name = host, port
        self.found: list[Address] | None = None
        self._signals: list[Signal] = []
        # Whoever takes it, in one step, looks up.
        self._chance = [True]

    def tell(self, signal: Signal) -> None:
        """Set the signal when something is found; whoever asks first begins."""
        self._signals.append(signal)
        try:
            self._chance.pop()
            threading.Thread(target=self._run, name="bitopro names", daemon=True).start()
        except IndexError:
            pass
        except RuntimeError:
            # There can be no more threads, or the interpreter is ending: late beats never.
            self._run()
        except BaseException:
            self.forget()
            raise
        if self.found is not None:
            signal.set()

    def forget(self) -> None:
        """Let those who ask from now on look up anew."""
        if _searches.get(self._name) is self:
            _searches.pop(self._name, None)

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(*self._name, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        self.forget()
        self.found = [
            (family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found
        ]
        for signal in list(self._signals):
            signal.set()


_searches: dict[tuple[str, int], _Search] = {}

if hasattr(os, "register_at_fork"):
    # The thread that looks up is the parent's.
    os.register_at_fork(after_in_child=_searches.clear)


class Lookup:
    """A DNS lookup of a host.

    Args:
        host: A host name or an IP address.
        port: The port.
        signal: Makes the signal that tells when the addresses are known; not called for an IP
            address.

    Attributes:
        signal: Tells when the addresses are known.
    """

    def __init__(self, host: str, port: int, signal: Callable[[], Signal]) -> None:
        self.signal: Signal | None = None
        self._search = _Search(host, port)
        try:
            kind = ipaddress.ip_address(host).version
        except ValueError:
            self._search = _searches.setdefault((host, port), self._search)
            self.signal = signal()
            self._search.tell(self.signal)
        else:
            family = socket.AF_INET if kind == 4 else socket.AF_INET6
            self._search.found = [(family, (host, port))]

    def ordered(self, worked: Address | None) -> list[Address]:
        """Return the addresses to try: the one that worked last, then IPv6 and IPv4 in turn.

        Raises:
            NotConnectedError: If there are none.
        """
        if self._search.found is None:
            self._search.forget()
            raise NotConnectedError("looking up the host's name took too long")
        if not (found := self._search.found):
            raise NotConnectedError("the host's name is not known")
        family = found[0][0]
        ones = [each for each in found if each[0] == family]
        others = [each for each in found if each[0] != family]
        mixed = [each for pair in zip_longest(ones, others) for each in pair if each is not None]
        return sorted(mixed, key=lambda each: each != worked)
