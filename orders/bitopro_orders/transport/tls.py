"""TLS without IO, because asyncio's own TLS is slower."""

import contextlib
import ssl

READ_SIZE = 65536


class Tls:
    """The TLS state of one connection.

    Args:
        context: The TLS context, with the certificates to trust.
        host: The host whose certificate is expected.

    Attributes:
        is_up: Whether the handshake is done.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "is_up")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.is_up: bool = False

    def shake_hands(self) -> bool:
        """Continue the handshake; return whether it is done.

        Raises:
            ssl.SSLError: If it fails; an alert must be sent then.
        """
        with contextlib.suppress(ssl.SSLWantReadError):
            self._object.do_handshake()
            self.is_up = True
        return self.is_up

    def take(self, data: bytes) -> None:
        """Take in received bytes."""
        self._incoming.write(data)

    def read(self) -> bytes | None:
        """Return decrypted bytes; None if there are none now, empty at the end of the connection.

        Raises:
            ssl.SSLError: If the received bytes are not valid TLS.
        """
        if not (self._incoming.pending or self._object.pending()):
            return None
        try:
            return self._object.read(READ_SIZE)
        except ssl.SSLWantReadError:
            return None

    def seal(self, text: bytes) -> bytes:
        """Return the encrypted bytes to send."""
        self._object.write(text)
        return self._outgoing.read()

    def to_send(self) -> bytes:
        """Return the bytes that the TLS protocol itself has to send."""
        return self._outgoing.read() if self._outgoing.pending else b""
