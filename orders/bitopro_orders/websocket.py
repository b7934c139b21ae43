"""The connection of a stream, with the library websockets: it needs the extra `stream`."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request
from websockets.protocol import State

from bitopro_auth.credentials import Secret

from .answers import error_of
from .errors import RejectedError
from .lost import LostError
from .timing import Timing

# websockets logs the headers of a handshake, which are secrets, at DEBUG. This logger is outside
# the hierarchy, so that no configuration reaches it, and says nothing.
_mute = logging.Logger(f"{__name__}.websockets")  # noqa: LOG001 - not to be found by name
_mute.disabled = True


class Connection(ClientConnection):
    """A connection that signs its handshake as late as possible, and records when it received data.

    The nonce is drawn when nothing is left to wait for: after DNS, TCP and TLS.

    Args:
        protocol: From websockets.
        sign: Returns the headers that sign the handshake.
        identity: The account's e-mail address, which no message may contain.
        timing: The clocks.
        options: From websockets.

    Attributes:
        heard_at: When data was last received, on the monotonic clock, in seconds.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        *,
        sign: Callable[[], Awaitable[dict[str, str]]],
        identity: Secret,
        timing: Timing,
        **options: Any,  # noqa: ANN401 - passed through
    ) -> None:
        super().__init__(protocol, **options)
        self._sign = sign
        self._identity = identity
        self._timing = timing
        self.heard_at: float = timing.monotonic()

    async def handshake(self, *_: object) -> None:
        """Send the signed request and read the answer.

        Raises:
            RejectedError: If the exchange refuses it.
            LostError: If it failed, but a retry may help. websockets does not know this error, so
                it follows no redirect.
        """
        headers = await self._sign()
        try:
            await super().handshake(headers)
        except InvalidStatus as error:
            raise self._refusal(error, headers) from None
        finally:
            # It holds the signed headers.
            self.request: Request | None = None

    def _refusal(self, error: InvalidStatus, headers: Mapping[str, str]) -> Exception:
        answer = error.response
        if 300 <= answer.status_code < 400:
            return LostError(f"a redirect ({answer.status_code}), which is never followed")
        if answer.status_code == 404:
            # While the exchange is deployed there may be nothing; or there never was.
            return LostError("the exchange answered 404; stream_url may be wrong")
        meaning = error_of(
            answer.status_code,
            bytes(answer.body or b""),
            {name.title(): value for name, value in answer.headers.raw_items()},
            now_ms=self._timing.now_ms(),
            secrets=[*map(Secret, headers.values()), self._identity],
        )
        if isinstance(meaning, RejectedError):
            return meaning
        return LostError(f"the exchange answered {answer.status_code}")

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            LostError: If the connection is closed.
        """
        try:
            return await self.recv()
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else error.sent.code if error.sent else None
            reason = f"the stream's connection was lost (close code {code})"
        raise LostError(reason)

    def data_received(self, data: bytes) -> None:
        """Handle received data: a message, a ping or a part of one."""
        self.heard_at = self._timing.monotonic()
        super().data_received(data)
        if self.state is State.CLOSING:
            # The close frame has been answered or sent; the peer may never close its side.
            self.transport.abort()


async def open_connection(
    url: str,
    *,
    sign: Callable[[], Awaitable[dict[str, str]]],
    identity: Secret,
    timing: Timing,
    connect_timeout_seconds: float,
    max_message_bytes: int,
) -> Connection:
    """Connect to a stream.

    Args:
        url: The URL of the stream.
        sign: See `Connection`.
        identity: See `Connection`.
        timing: See `Connection`.
        connect_timeout_seconds: How long it may take, in seconds.
        max_message_bytes: The largest message that is accepted, in bytes.

    Raises:
        RejectedError: If the exchange refuses it.
        LostError: If it failed, but a retry may help. Any other exception means the same.
    """
    connection = await connect(
        url,
        compression=None,
        proxy=None,
        open_timeout=connect_timeout_seconds,
        # A pong would only say that something answers; the exchange's own pings must come.
        ping_interval=None,
        # The close frame is sent, its answer not waited for.
        close_timeout=0,
        max_size=max_message_bytes,
        logger=_mute,
        create_connection=partial(  # type: ignore[arg-type] # a wrapper, as documented
            Connection, sign=sign, identity=identity, timing=timing
        ),
    )
    return cast(Connection, connection)
