"""A request before it is signed. It is built once for a call, and completed for each attempt."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from attrs import field, frozen

from bitopro_client.types import Call

from .errors import InvalidArgumentError
from .transport import Origin
from .version import __version__

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"bitopro-orders/{__version__}",
}
OURS = {"host", "content-length", "transfer-encoding", "connection"}
_KNOWN = {"method", "url", "params", "headers", "json", "content"}


@frozen
class Route:
    """Where a client's requests are sent, and how.

    Attributes:
        origin: The scheme, host and port.
        path: The path of the base URL, without a slash at its end.
        headers: The headers of every request.
        phase_seconds: How long each phase of an attempt may take, in seconds.
    """

    origin: Origin
    path: str
    headers: Mapping[str, str] = field(repr=False)
    phase_seconds: float

    @classmethod
    def of(
        cls,
        base_url: str,
        headers: Mapping[str, str],
        cookies: Mapping[str, str],
        phase_seconds: float,
    ) -> "Route":
        """Return the route to a base URL that was checked before.

        Raises:
            InvalidArgumentError: If a header cannot be sent.
        """
        origin = Origin.of(base_url)
        all_headers = {"Host": origin.authority, **headers}
        if cookies:
            all_headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in cookies.items())
        for name in headers:
            if name.lower() in OURS or name.lower().startswith("x-bitopro-"):
                raise InvalidArgumentError(f"the header {name!r} is this package's own")
        for name, text in all_headers.items():
            if not isinstance(text, str) or not f"{name}{text}".isprintable() or not _fits(text):
                raise InvalidArgumentError(
                    f"the header {name!r} must be text of one line in Latin-1, such as 'a value'"
                )
        return cls(origin, urlsplit(base_url).path.rstrip("/"), all_headers, phase_seconds)


def _fits(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


@frozen
class Message:
    """A request without its signature.

    Attributes:
        method: The method, in capitals.
        target: The path with the query.
        headers: The headers, by name.
        body: The body, as it is sent.
    """

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, call: Call[Any], route: Route) -> "Message":
        """Return the request of a call.

        Raises:
            bitopro_client.errors.InvalidArgument: If an argument breaks its rule.
            TypeError: If the operation has a kind of body that is not supported.
        """
        kwargs = call.request_kwargs()
        if not kwargs.keys() <= _KNOWN:
            unknown = kwargs.keys() - _KNOWN
            raise TypeError(f"{call.operation.name} has {', '.join(sorted(unknown))}")
        params = kwargs.get("params")
        query = urlencode({name: _text(v) for name, v in params.items()}, True) if params else ""
        target = f"{route.path}{kwargs['url']}{'?' if query else ''}{query}"
        body = kwargs.get("content", b"")
        if "json" in kwargs:
            body = json.dumps(
                kwargs["json"], ensure_ascii=False, separators=(",", ":"), allow_nan=False
            ).encode()
        headers = {**route.headers, **kwargs.get("headers", {})}
        return cls(call.operation.method, target, headers, body)


def _text(value: Any) -> Any:  # noqa: ANN401 - what the generated client passes
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return [_text(each) for each in value]
    return "" if value is None else str(value)
