"""The transport for threads, with blocking sockets."""

import socket
import ssl
from collections.abc import Callable

from attrs import define

from bitopro_orders.signals import ThreadSignal

from . import Answer, Attempt, BrokenError, NotConnectedError, Origin, SilenceError, TransportError
from .http1 import AnswerParser
from .idle import Idle, is_silent
from .names import Address, Lookup

READ_SIZE = 65536


@define(eq=False)
class Connection:
    """A connected socket."""

    socket: socket.socket
    origin: Origin
    generation: int
    idle_since: float = 0.0

    def is_open(self) -> bool:
        """Say whether it can be used: not closed, and nothing received since its answer."""
        return is_silent(self.socket)

    def close(self) -> None:
        """Close it."""
        self.socket.close()


class Threads:
    """The transport for threads.

    Args:
        context: Returns the TLS context; called for the first connection that needs it.
        monotonic: Returns seconds since any fixed moment.
    """

    def __init__(
        self, context: Callable[[], ssl.SSLContext], monotonic: Callable[[], float]
    ) -> None:
        self._context = context
        self._idle: Idle[Connection] = Idle(monotonic)
        self._worked: dict[Origin, Address] = {}

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection."""
        return self._idle.take(origin)

    def put(self, connection: Connection) -> None:
        """Put a connection into the pool."""
        self._idle.put(connection.origin, connection)

    def connect(self, origin: Origin, attempt: Attempt) -> Connection:
        """Open a connection.

        Raises:
            NotConnectedError: If no connection is open in time.
        """
        reason, generation = "no address answered in time", self._idle.generation
        for number, address in (addresses := self._addresses(origin, attempt)):
            plain = socket.socket(address[0], socket.SOCK_STREAM)
            try:
                # Each gets a share of the time: the first one may lead nowhere.
                plain.settimeout(attempt.seconds_left() / (len(addresses) - number))
                plain.connect(address[1])
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                plain.settimeout(attempt.seconds_left())
                wire = self._secured(plain, origin)
            except (OSError, ValueError) as error:
                plain.close()
                reason = why_not_connected(error)
            except BaseException:
                plain.close()
                raise
            else:
                self._worked[origin] = address
                return Connection(wire, origin, generation)
        raise NotConnectedError(reason)

    def _addresses(self, origin: Origin, attempt: Attempt) -> list[tuple[int, Address]]:
        lookup = Lookup(origin.host, origin.port, ThreadSignal)
        if isinstance(lookup.signal, ThreadSignal):
            lookup.signal.wait(attempt.phase_end() - attempt.monotonic())
        return list(enumerate(lookup.ordered(self._worked.get(origin))))

    def _secured(self, plain: socket.socket, origin: Origin) -> socket.socket:
        if origin.scheme != "https":
            return plain
        return self._context().wrap_socket(plain, server_hostname=origin.host)

    def exchange(self, connection: Connection, data: bytes, attempt: Attempt) -> Answer:
        """Send a request once and return the complete answer.

        Raises:
            SilenceError: If the answer is not complete in time.
            BrokenError: If the connection ends before, or the bytes received are not an answer.
        """
        parser, wire = AnswerParser(), connection.socket
        reason: TransportError | None = None
        try:
            wire.settimeout(attempt.seconds_left())
            attempt.leave()
            wire.sendall(data)
            while True:
                if not _read(wire, parser):
                    break
                wire.settimeout(attempt.seconds_left())
        except TimeoutError:
            reason = SilenceError("no whole answer came in time")
        except OSError as error:
            reason = BrokenError(f"the connection broke ({type(error).__name__})")
        except BaseException:
            connection.close()
            raise
        if reason is None and not parser.is_broken:
            if parser.may_reuse:
                self._idle.put(connection.origin, connection)
            else:
                connection.close()
            return parser.answer()
        connection.close()
        raise reason or broken(parser)

    def close(self) -> None:
        """Close all idle connections."""
        self._idle.close()


def _read(wire: socket.socket, parser: AnswerParser) -> bool:
    """Read once; return whether there is more to wait for."""
    # Not bound to a name that a traceback could show: a server may echo what it was sent.
    if (data := wire.recv(READ_SIZE)) and not parser.feed(data):
        return True
    if not data:
        parser.end()
    return False


def why_not_connected(error: Exception) -> str:
    """Return the reason why a connection could not be opened."""
    if isinstance(error, TimeoutError):
        return "connecting took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate does not hold: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    return f"connecting failed ({getattr(error, 'strerror', None) or type(error).__name__})"


def broken(parser: AnswerParser) -> BrokenError:
    """Return the error of an answer that is not one, without any text from the other side."""
    if parser.is_too_long:
        return BrokenError("the answer is too long")
    return BrokenError("the connection ended without a whole answer, or it is no HTTP")
