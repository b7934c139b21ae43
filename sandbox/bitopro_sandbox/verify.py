"""The protocol's checks: key, signature, payload, nonce and rate limit, as the documents say."""

import base64
import hashlib
import hmac
import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from bitopro_sandbox.settings import Account

KEY_HEADER = "x-bitopro-apikey"
PAYLOAD_HEADER = "x-bitopro-payload"
SIGNATURE_HEADER = "x-bitopro-signature"

_STANDARD_ALPHABET = str.maketrans("-_", "+/")


class ApiError(Exception):
    """A request that the API refuses.

    Attributes:
        status: The HTTP status of the answer.
        text: The text of the answer's ``error`` field.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.headers = headers


@attrs.frozen
class SignedRequest:
    """The content of the three headers, after they were verified.

    Attributes:
        account: The account of the key.
        payload: The signed text.
        content: The JSON object in the payload.
        nonce: The nonce, in milliseconds since the epoch; None for POST and PUT, whose payload is
            the body.
    """

    account: Account = attrs.field(repr=False)
    payload: str = attrs.field(repr=False)
    content: dict[str, Any] = attrs.field(repr=False)
    nonce: int | None


def sign(api_secret: str, payload: str) -> str:
    """Return the HMAC-SHA384 of the payload's text, in lower-case hex (documented)."""
    return hmac.new(api_secret.encode(), payload.encode("latin-1"), hashlib.sha384).hexdigest()


def _decoded(payload: str) -> bytes:
    return base64.b64decode(payload.translate(_STANDARD_ALPHABET), validate=True)


def decode_payload(payload: str) -> dict[str, Any]:
    """Return the JSON object in a payload, from standard or URL-safe base64 (both are in use).

    Raises:
        ApiError: 400 if it is not base64 of a JSON object.
    """
    try:
        content = json.loads(_decoded(payload).decode())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ApiError(400, "Invalid payload")
    return content


def nonce_of(content: Mapping[str, Any]) -> int | None:
    """Return the payload's nonce; None if it has no nonce that is an integer."""
    nonce = content.get("nonce")
    return nonce if type(nonce) is int else None


def verify(
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    accounts: Mapping[str, Account],
    *,
    body_match: Literal["bytes", "json"] = "bytes",
) -> SignedRequest:
    """Check a request's key, signature and payload, in this order.

    Neither path nor query is an argument: the signature does not cover them (documented).

    Args:
        method: HTTP method in upper case.
        headers: The request's headers by lower-case name.
        body: The request's body.
        accounts: The known accounts by API key.
        body_match: See ``Settings.body_match``.

    Raises:
        ApiError: 401 for the key or the signature, 400 for the payload.
    """
    for name in (KEY_HEADER, PAYLOAD_HEADER, SIGNATURE_HEADER):
        if not headers.get(name):
            raise ApiError(401, f"Missing header {name.upper()}")
    payload = headers[PAYLOAD_HEADER]
    account = accounts.get(headers[KEY_HEADER])
    given = headers[SIGNATURE_HEADER].encode("latin-1")
    if account is None or not hmac.compare_digest(
        sign(account.api_secret, payload).encode(), given
    ):
        raise ApiError(401, "Invalid Signature")

    content = decode_payload(payload)
    if method in ("POST", "PUT"):
        try:
            same = json.loads(body) == content
        except (ValueError, RecursionError):
            same = False
        if not same or (body_match == "bytes" and _decoded(payload) != body):
            raise ApiError(400, "Invalid body")
        return SignedRequest(account, payload, content, None)

    nonce = nonce_of(content)
    if nonce is None:
        raise ApiError(400, "Wrong parameter: nonce")
    # Assumption: an empty or absent identity is fine (clients in wide use send none), a wrong not.
    if content.get("identity") not in (None, "", account.identity):
        raise ApiError(400, "Wrong parameter: identity")
    return SignedRequest(account, payload, content, nonce)


class Nonces:
    """Refuses requests with a wrong nonce, and bodies that were sent before.

    Args:
        rule: See ``Settings.nonce_rule``.
        window_ms: See ``Settings.clock_window_ms``.
        same_body_again: See ``Settings.same_body_again``.
    """

    def __init__(
        self,
        rule: Literal["increasing", "unique", "none"],
        window_ms: int,
        *,
        same_body_again: bool = False,
    ) -> None:
        self._rule = rule
        self._window_ms = window_ms
        self._same_body_again = same_body_again
        self._last: dict[str, int] = {}
        self._used: set[tuple[str, int | str]] = set()

    def spend(self, request: SignedRequest, now_ms: int) -> None:
        """Accept a request's nonce once. A body has no nonce: the body itself is accepted once.

        Raises:
            ApiError: 409 if the nonce is too far from ``now_ms`` or breaks the rule.
        """
        key, nonce = request.account.api_key, request.nonce
        if nonce is not None and abs(nonce - now_ms) > self._window_ms:
            raise ApiError(409, "Invalid nonce: too far from the server's time")
        if self._rule == "none" or (nonce is None and self._same_body_again):
            return
        if nonce is not None and self._rule == "increasing":
            if nonce <= self._last.get(key, nonce - 1):
                raise ApiError(409, "Invalid nonce: not larger than the last")
            self._last[key] = nonce
            return
        once = (key, request.payload if nonce is None else nonce)
        if once in self._used:
            raise ApiError(409, "Invalid nonce: used before")
        self._used.add(once)


@attrs.frozen
class Limit:
    """A rate limit: at most ``count`` requests in any ``window_ms`` milliseconds.

    Attributes:
        name: The name; each name is counted separately.
        count: How many requests are allowed.
        window_ms: The length of the window, in milliseconds.
        per: Which callers are counted.
    """

    name: str
    count: int
    window_ms: int
    per: tuple[Literal["key", "ip"], ...] = ("key", "ip")


class RateLimiter:
    """Counts requests in sliding windows. A refused request does not count (assumption)."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], deque[int]] = {}

    def spend(self, limit: Limit, callers: Iterable[str], now_ms: int) -> None:
        """Count a request for each caller (a key, an IP address); if one has no room, count none.

        Raises:
            ApiError: 429 if one of the callers has used up its limit.
        """
        windows = [self._times.setdefault((limit.name, caller), deque()) for caller in callers]
        for times in windows:
            while times and times[0] <= now_ms - limit.window_ms:
                times.popleft()
            if len(times) >= limit.count:
                raise ApiError(429, "Too many requests")
        for times in windows:
            times.append(now_ms)
