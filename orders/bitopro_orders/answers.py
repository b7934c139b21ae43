"""Reads status, headers and error body of an answer, with pure functions."""

import base64
import contextlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC
from urllib.parse import quote

from bitopro_auth.credentials import Secret
from bitopro_client.models import Error

from .errors import (
    AuthenticationError,
    BadRequestError,
    BitoProError,
    ClockMismatchError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RejectedError,
)

LONGEST_MESSAGE = 300
#: What a message quotes of a secret is masked from so many characters on.
LEAST_PREFIX = 8
#: What is shorter hides nothing, and would be found in any text.
LEAST_SECRET = 4
#: What asks for more than a year has not understood the header.
LONGEST_WAIT_SECONDS = 366 * 86400

#: What routers, frameworks and proxies say of a path that they do not know. The exchange's own
#: words for an order that is not there are not documented; these are not about an order.
UNKNOWN_PATH = re.compile(r"(404 )?(page |url |path |route )?not found|no route .*")
BASE_URL_ADVICE = "Check base_url, such as https://api.bitopro.com/v3: no such path is known there"
IDENTITY_ADVICE = "Check the account's e-mail (identity, BITOPRO_EMAIL)"

REFUSALS: Mapping[int, type[RejectedError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: BadRequestError,
}


def error_of(
    status: int,
    content: bytes,
    headers: Mapping[str, str],
    *,
    now_ms: int,
    secrets: Collection[Secret],
) -> BitoProError:
    """Return the error for an answer that is not a success.

    Only a 4xx is a refusal, and not every one: a 408 is unknown, because the documents do not say
    whether the request was processed. So is a 404 that is not the exchange's `{"error": ...}`,
    because it comes from a proxy and says nothing about an order. Anything else, such as a 5xx, a
    CDN's own status or a redirect, is unknown, too.

    Args:
        status: The HTTP status; anything but a 2xx.
        content: The body.
        headers: The headers of the answer.
        now_ms: This machine's time when the answer came, in milliseconds since the epoch.
        secrets: Texts that the error's message must not contain.
    """
    if status == 408 or not 400 <= status < 500:
        return OutcomeUnknownError(f"the exchange answered {status}", status=status)
    message = exchange_message(content, secrets)
    if status == 404 and not message:
        reason = "a 404 that is not the exchange's own; base_url may be wrong, or a proxy answered"
        return OutcomeUnknownError(reason, status=status)
    if status == 409:
        return ClockMismatchError(
            status, message, difference_ms=clock_difference_ms(headers, now_ms)
        )
    if status == 429:
        return RateLimitedError(status, message, retry_after=retry_after_seconds(headers, now_ms))
    advice = ""
    if status == 404 and not is_about_order(message):
        advice = BASE_URL_ADVICE
    elif status == 400 and is_about_identity(message):
        advice = IDENTITY_ADVICE
    return REFUSALS.get(status, RejectedError)(status, message, advice=advice)


def is_about_order(message: str) -> bool:
    """Say whether the text of a 404 may be about an order, and not about the path."""
    return bool(message) and not UNKNOWN_PATH.fullmatch(message.strip(" .!").lower())


def is_about_identity(message: str) -> bool:
    """Say whether the text of a refusal is about the account's e-mail."""
    return re.search(r"identity|e-?mail", message, re.IGNORECASE) is not None


def exchange_message(content: bytes, secrets: Collection[Secret] = ()) -> str:
    """Return the text of `{"error": "<text>"}`, in one line, masked; empty for any other body."""
    try:
        body = json.loads(content)
        message: object = Error.from_dict(body).error if isinstance(body, dict) else ""
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    if not isinstance(message, str):
        return ""
    for secret in [*_rewritten(secrets), *secrets]:
        if len(secret.reveal()) >= LEAST_SECRET:
            message = _masked(message, secret)
    return " ".join(message.split())[:LONGEST_MESSAGE]


def _rewritten(secrets: Collection[Secret]) -> Iterator[Secret]:
    """Return what stands in the payloads among the secrets, and the secrets as in a URL."""
    for secret in secrets:
        with contextlib.suppress(ValueError):
            yield Secret(base64.b64decode(secret.reveal(), validate=True).decode())
        yield Secret(quote(secret.reveal(), safe=""))


def _masked(text: str, secret: Secret) -> str:
    """Return the text without the secret, in any case, whatever part of its beginning is quoted."""
    sought, folded = Secret(_folded(secret.reveal())), _folded(text)
    shown, end = [], 0
    while (at := folded.find(sought.reveal()[:LEAST_PREFIX], end)) >= 0:
        shown += [text[end:at], "***"]
        # No longer than the secret, so that a message which quotes often takes no time.
        quoted = folded[at : at + len(sought.reveal())]
        end = at + len(os.path.commonprefix([quoted, sought.reveal()]))  # noqa: RUF071
    return "".join([*shown, text[end:]])


def _folded(text: str) -> str:
    """Return the text in lower case, each character in its place."""
    # The two that `lower` would make longer, or read by their neighbours.
    return text.replace("\u0130", "i").replace("\u03a3", "\u03c3").lower()


def clock_difference_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """Return `now_ms` minus the answer's `Date`, in milliseconds; None without a valid `Date`."""
    date = date_ms(headers.get("Date", ""))
    return None if date is None else now_ms - date


def retry_after_seconds(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Return the wait that `Retry-After` asks for, in seconds; None without a valid one.

    The header is a number of seconds or a date (RFC 9110, 10.2.3). A date is compared with the
    answer's own `Date`, if there is one, because the two clocks may differ.
    """
    value = headers.get("Retry-After", "").strip()
    try:
        # The same header twice comes as a list.
        seconds = max(map(float, value.split(",")))
    except ValueError:
        until_ms = date_ms(value)
        if until_ms is None:
            return None
        since_ms = date_ms(headers.get("Date", ""))
        seconds = max(0.0, (until_ms - (now_ms if since_ms is None else since_ms)) / 1000)
    return seconds if 0 <= seconds <= LONGEST_WAIT_SECONDS else None


def date_ms(text: str) -> int | None:
    """Return the date in a header, in milliseconds since the epoch; None if it is not a date."""
    # Few answers need it, and importing it takes as long as all of this package's models.
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        # "-0000" and a missing zone are UTC as well (RFC 5322, 3.3), not this machine's zone.
        return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
