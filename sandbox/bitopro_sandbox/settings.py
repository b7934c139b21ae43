"""How the sandbox behaves: its accounts, its limits, and the answers the documents leave open.

Where the exchange's documents are silent the value is an *assumption*. Such values are settings,
so that a client can be shown to be safe under more than one answer.
"""

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

Permission: TypeAlias = Literal["read", "trade"]
StreamEvent: TypeAlias = Literal["ACTIVE_ORDERS", "RECENT_HISTORY_ORDERS"]


def now_ms() -> int:
    """Return this machine's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _masked(_value: str) -> str:
    return "'***'"


@attrs.frozen
class Account:
    """An API key with its secret. The defaults are for demonstrations and are obviously fake.

    All accounts see the same book: they stand for several keys of one customer.

    Attributes:
        api_key: Sent in ``X-BITOPRO-APIKEY``.
        api_secret: Key of the HMAC; never sent.
        identity: The account's e-mail address.
        permissions: What the key may do: ``"read"`` (GET), ``"trade"`` (everything else).
    """

    api_key: str = attrs.field(default="demo-key-worth-nothing", repr=_masked)
    api_secret: str = attrs.field(default="demo-secret-worth-nothing", repr=_masked)
    identity: str = "demo@example.com"
    permissions: frozenset[Permission] = frozenset({"read", "trade"})


@attrs.frozen(kw_only=True)
class Settings:
    """The sandbox's behaviour, fixed while it serves.

    Attributes:
        accounts: The known API keys; the first is the default one.
        clock: The server's time in milliseconds since the epoch: for the nonce's window, the rate
            limits, every timestamp and the ``Date`` header.
        nonce_rule: What a key's next nonce must be: larger than its last (``"increasing"``,
            assumption: one document says so, the others do not), never used before (``"unique"``),
            or anything (``"none"``). A broken rule is a 409 (documented).
        clock_window_ms: How far, in milliseconds, a nonce may be from ``clock``, either way; beyond
            it is a 409 (documented; the distance is an assumption).
        requests_per_minute: Cancels of one order, per key and per IP address (documented: 900).
        general_requests_per_minute: Other signed calls, likewise (documented: 600).
        open_orders_per_second: ``GET /orders/open``, likewise (documented: 5).
        cancel_all_per_second: Cancels of many orders, likewise (documented as 1 and as 2).
        retry_after: Seconds in the ``Retry-After`` header of a 429; None sends no such header,
            which is what the documents (do not) say.
        second_cancel: HTTP status that answers the cancel of an order that is final already
            (assumption).
        cancel_takes_ms: Milliseconds between the 200 to a cancel, which means "accepted", and the
            change in the book. An order filled in between stays filled.
        ping_interval_ms: Milliseconds between a stream's pings (documented: 20 seconds).
        ping_timeout_ms: Milliseconds in which a pong must come, or else the stream is closed
            (documented: 5 seconds).
    """

    accounts: tuple[Account, ...] = attrs.field(
        default=(Account(),), validator=attrs.validators.min_len(1)
    )
    clock: Callable[[], int] = now_ms
    nonce_rule: Literal["increasing", "unique", "none"] = "increasing"
    clock_window_ms: int = 60_000
    requests_per_minute: int = 900
    general_requests_per_minute: int = 600
    open_orders_per_second: int = 5
    cancel_all_per_second: int = 2
    retry_after: int | None = None
    second_cancel: Literal[200, 400, 404, 409, 422] = 400
    cancel_takes_ms: int = 0
    ping_interval_ms: int = 20_000
    ping_timeout_ms: int = 5_000
