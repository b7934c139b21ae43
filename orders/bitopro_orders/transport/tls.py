"""TLS without IO: what asyncio's own does costs a cancel more than parsing its answer."""

import contextlib
import ssl

READ_SIZE = 65536


class Tls:
    """The TLS of one connection.

    Args:
        context: Says whom to trust.
        host: Whose certificate is expected.

    Attributes:
        is_up: Whether the handshake is done.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "is_up")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.is_up: bool = False

    def shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is done.

        Raises:
            ssl.SSLError: If it fails; then there is an alert to send.
        """
        with contextlib.suppress(ssl.SSLWantReadError):
            self._object.do_handshake()
            self.is_up = True
        return self.is_up

    def take(self, data: bytes) -> None:
        """Take in what came."""
        self._incoming.write(data)

    def read(self) -> bytes | None:
        """Return text that came; None if there is no more of it now, empty after the last.

        Raises:
            ssl.SSLError: If what came is not what the other side sealed.
        """
        if not (self._incoming.pending or self._object.pending()):
            return None
        try:
            return self._object.read(READ_SIZE)
        except ssl.SSLWantReadError:
            return None

    def seal(self, text: bytes) -> bytes:
        """Return what to send for a text."""
        self._object.write(text)
        return self._outgoing.read()

    def to_send(self) -> bytes:
        """Return what the protocol itself has to send."""
        return self._outgoing.read() if self._outgoing.pending else b""
