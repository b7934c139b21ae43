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
CallName: TypeAlias = Literal[
    "cancel_order", "get_order", "open_orders", "cancel_batch", "cancel_pair", "cancel_all"
]
"""What the sandbox calls each documented call, in its journal and where a fault is aimed."""
ItemRule: TypeAlias = Literal["refuse", "stop", "skip", "echo"]
"""What a cancel of many does about an order that it does not cancel.

``"refuse"`` answers with an error and cancels nothing; ``"stop"`` too, but what came before it in
the request is cancelled; ``"skip"`` leaves it out of the answer; ``"echo"`` names it in the answer
as if it were cancelled.
"""


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
        cancel_batch_per_second: ``PUT /orders``, per IP address (documented: 2).
        cancel_all_per_second: Both cancels of all orders, counted together (assumption), per key
            and per IP address (documented as 1 per address, and as 2 per address and account).
        retry_after: Seconds in the ``Retry-After`` header of a 429; None sends no such header,
            which is what the documents (do not) say.
        second_cancel: HTTP status that answers the cancel of an order that is final already
            (assumption).
        refused_cancel: HTTP status that answers the cancel of a live order that is ``locked``
            (assumption).
        batch_unknown: What a batch does about an id that is unknown, or another pair's
            (assumption).
        batch_final: What a batch does about an order that is final already (assumption).
        many_locked: What a batch, and a cancel of all orders, do about a live order that is
            ``locked`` (assumption).
        batch_at_most: How many ids a batch may hold, beyond which it is a 400; None for any
            number (not documented).
        body_match: How a signed body must be the one that was sent: byte for byte (``"bytes"``), or
            only in its meaning (``"json"``). The documents say "the body in JSON".
        same_body_again: Whether a signed body is taken again; otherwise it is a 409 (an older
            document: "try to send the same request more than once"; not verified).
        lists_untriggered: Whether ``GET /orders/open`` contains stop-limit orders that are not
            triggered (the document's example does; not verified).
        cancels_untriggered: Whether the cancels of all orders reach them (not documented).
        open_orders_at_most: How many orders ``GET /orders/open`` lists, the newest; None for all
            (no pages are documented; not verified).
        listing_lag_ms: Milliseconds by which ``GET /orders/open`` is behind the book (assumption).
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
    cancel_batch_per_second: int = 2
    cancel_all_per_second: int = 1
    retry_after: int | None = None
    second_cancel: Literal[200, 400, 404, 409, 422] = 400
    refused_cancel: Literal[400, 403, 409, 422] = 422
    batch_unknown: ItemRule = "refuse"
    batch_final: ItemRule = "skip"
    many_locked: ItemRule = "skip"
    batch_at_most: int | None = None
    body_match: Literal["bytes", "json"] = "bytes"
    same_body_again: bool = False
    lists_untriggered: bool = True
    cancels_untriggered: bool = True
    open_orders_at_most: int | None = None
    listing_lag_ms: int = 0
    cancel_takes_ms: int = 0
    ping_interval_ms: int = 20_000
    ping_timeout_ms: int = 5_000
