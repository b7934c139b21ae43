"""The URLs of an exchange's API and streams, and whether two URLs belong to the same exchange."""

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
    """Return the URLs of the streams and of the API of one exchange.

    Args:
        given: The URL of the streams; by default `BITOPRO_STREAM_URL` of the environment, or else
            the one that belongs to the API.
        base_url: The URL of the client's API; by default `BITOPRO_BASE_URL` of the environment, or
            else the one that belongs to the given streams, or else the exchange's.

    Raises:
        InvalidArgumentError: If a URL breaks its rule or is missing, or if the two do not belong
            together.
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
    """Say whether an API and streams may belong to the same exchange.

    The URLs of the real exchange are known. On this machine itself, each exchange has its own port.
    For any other host it is not known, so the answer is yes.
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
    """Return the URL of the streams, without a slash at its end.

    Raises:
        InvalidArgumentError: If no signature may be sent to it.
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
