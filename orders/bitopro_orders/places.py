"""Where an exchange has its API and its streams, and which of them belong together."""

from urllib.parse import urlsplit

from bitopro_auth import base_url_from_env, stream_url_from_env
from bitopro_auth.credentials import Secret
from bitopro_auth.signer import is_loopback
from bitopro_client.client import DEFAULT_BASE_URL

from .errors import InvalidArgumentError

STREAM_URL = "wss://stream.bitopro.com:443/ws"
#: Where a sandbox has its streams, on the port of its API.
SANDBOX_PATH = "/ws"


def stream_and_base_url(given: Secret | None, base_url: str | None) -> tuple[str, str]:
    """Return where the streams and the API of one exchange are.

    Args:
        given: Where the streams are; by default `BITOPRO_STREAM_URL` of the environment, else what
            belongs to the API.
        base_url: Where the client's API is; by default `BITOPRO_BASE_URL` of the environment, else
            what belongs to the streams that were given, else the exchange.

    Raises:
        InvalidArgumentError: If an URL breaks its rule, is missing, or they do not belong together.
    """
    from_env = stream_url_from_env()
    text = Secret(from_env) if given is None and from_env else given
    base_url = base_url or base_url_from_env()
    if base_url is None:
        base_url = DEFAULT_BASE_URL if given is None else _base_url_beside(checked_url(given))
    stream_url = _stream_url_beside(base_url) if text is None else checked_url(text)
    if not belong_together(base_url, stream_url):
        raise InvalidArgumentError(
            "stream_url (or BITOPRO_STREAM_URL) and base_url (or BITOPRO_BASE_URL) must lead to "
            f"one exchange, such as {STREAM_URL} and {DEFAULT_BASE_URL}, not to two: what one "
            "tells proves nothing at the other"
        )
    return stream_url, base_url


def belong_together(base_url: str, stream_url: str) -> bool:
    """Say whether an API and streams may be of one exchange.

    Those of the real one do; on this machine itself the port tells exchanges apart; of others it
    is not known.
    """
    api, streams = urlsplit(base_url), urlsplit(stream_url)
    is_real = api.hostname == urlsplit(DEFAULT_BASE_URL).hostname
    if is_real or streams.hostname == urlsplit(STREAM_URL).hostname:
        return is_real and streams.hostname == urlsplit(STREAM_URL).hostname
    if is_loopback(api.hostname or "") or is_loopback(streams.hostname or ""):
        both = is_loopback(api.hostname or "") and is_loopback(streams.hostname or "")
        return both and api.port == streams.port
    return True


def checked_url(text: Secret) -> str:
    """Return where streams are, without a slash at its end.

    Raises:
        InvalidArgumentError: If it is no place to send a signature to.
    """
    if not _is_stream_url(text):
        raise InvalidArgumentError(
            "stream_url must be wss://host[:port][/path], or ws:// to this machine itself, such "
            f"as {STREAM_URL}"
        )
    return text.reveal().rstrip("/")


def _is_stream_url(text: Secret) -> bool:
    try:
        url = urlsplit(text.reveal())
        host, _ = url.hostname or "", url.port
    except (ValueError, AttributeError, TypeError):
        return False
    allowed = url.scheme == "wss" or (url.scheme == "ws" and is_loopback(host))
    plain = "@" not in url.netloc and "?" not in text.reveal() and "#" not in text.reveal()
    return allowed and bool(host) and plain


def _stream_url_beside(base_url: str) -> str:
    url = urlsplit(base_url)
    if url.hostname == urlsplit(DEFAULT_BASE_URL).hostname:
        return STREAM_URL
    if is_loopback(url.hostname or ""):
        return f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc}{SANDBOX_PATH}"
    raise InvalidArgumentError(
        "stream_url is needed (or BITOPRO_STREAM_URL), such as "
        f"{STREAM_URL}: base_url is not the exchange's own, so where its streams are is not known"
    )


def _base_url_beside(stream_url: str) -> str:
    """Return where the API of streams is: what has them elsewhere has both at the same place."""
    url = urlsplit(stream_url)
    if url.hostname == urlsplit(STREAM_URL).hostname:
        return DEFAULT_BASE_URL
    return f"{'https' if url.scheme == 'wss' else 'http'}://{url.netloc}"
