"""The behaviour of the sandbox: its accounts, its rate limits, and its assumptions.

Where the exchange's documents leave something open, the sandbox has to assume an answer. Each such
*assumption* is a setting, so that you can test a client with each possible answer.
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
"""The names of the documented calls, in the journal and in ``faults.add(call=...)``."""
ItemRule: TypeAlias = Literal["refuse", "stop", "skip", "echo"]
"""What a batch or a cancel-all call does with an order that it does not cancel.

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
    """An API key with its secret. The defaults are for demonstrations, and obviously not real.

    All accounts share one book, like several keys of one customer.

    Attributes:
        api_key: The API key, sent in ``X-BITOPRO-APIKEY``.
        api_secret: The API secret, which is the key of the HMAC and is never sent.
        identity: The account's e-mail address.
        permissions: What the key may do: ``"read"`` (GET), ``"trade"`` (everything else).
    """

    api_key: str = attrs.field(default="demo-key-worth-nothing", repr=_masked)
    api_secret: str = attrs.field(default="demo-secret-worth-nothing", repr=_masked)
    identity: str = "demo@example.com"
    permissions: frozenset[Permission] = frozenset({"read", "trade"})


@attrs.frozen(kw_only=True)
class Settings:
    """The sandbox's behaviour. It cannot be changed while the sandbox serves.

    Attributes:
        accounts: The accounts that the exchange knows; the first one is the default.
        clock: Returns the server's time, in milliseconds since the epoch. It is used for nonces,
            rate limits, all timestamps and the ``Date`` header.
        nonce_rule: The rule for the next nonce of a key: larger than the last one
            (``"increasing"``, assumption: one document says so, the others do not), not used before
            (``"unique"``), or anything (``"none"``). A nonce that breaks the rule is answered with
            409 (documented).
        clock_window_ms: How far a nonce may be from ``clock``, before or after it, in milliseconds.
            Beyond that it is answered with 409 (documented; the number is an assumption).
        requests_per_minute: The rate limit of single cancels, in requests per minute, per key and
            per IP address (documented: 900).
        general_requests_per_minute: The rate limit of other signed calls, in requests per minute,
            per key and per IP address (documented: 600).
        open_orders_per_second: The rate limit of ``GET /orders/open``, in requests per second, per
            key and per IP address (documented: 5).
        cancel_batch_per_second: The rate limit of ``PUT /orders``, in requests per second, per IP
            address (documented: 2).
        cancel_all_per_second: The rate limit of the two cancel-all calls, in requests per second,
            per key and per IP address (documented as 1 per address, and as 2 per address and
            account). Both calls count together (assumption).
        retry_after: The ``Retry-After`` header of a 429, in seconds; None sends no such header,
            because the documents mention none.
        second_cancel: The HTTP status that answers the cancel of an order that is already final
            (assumption).
        refused_cancel: The HTTP status that answers the cancel of a live order that is ``locked``
            (assumption).
        batch_unknown: What a batch does with an id that does not exist, or belongs to another pair
            (assumption).
        batch_final: What a batch does with an order that is already final (assumption).
        many_locked: What a batch or a cancel-all call does with a live order that is ``locked``
            (assumption).
        batch_at_most: How many ids a batch may hold; a larger one is answered with 400. None for no
            limit (not documented).
        body_match: How exactly a signed body must match the body that was sent: byte for byte
            (``"bytes"``), or only as JSON values (``"json"``). The documents say "the body in
            JSON".
        same_body_again: Whether the same signed body is accepted again; otherwise it is answered
            with 409 (an older document: "try to send the same request more than once"; not
            verified).
        lists_untriggered: Whether ``GET /orders/open`` contains stop-limit orders that are not
            triggered (the document's example does; not verified).
        cancels_untriggered: Whether the cancel-all calls cancel stop-limit orders that are not
            triggered (not documented).
        open_orders_at_most: How many orders ``GET /orders/open`` lists at most, the newest first;
            None for all (the documents mention no paging; not verified).
        listing_lag_ms: How far ``GET /orders/open`` lags behind the book, in milliseconds
            (assumption).
        cancel_takes_ms: How many milliseconds after the 200 to a cancel the book changes, because
            the 200 only means "accepted". An order that is filled in between stays filled.
        ping_interval_ms: How often a stream sends a ping, in milliseconds (documented: 20 seconds).
        ping_timeout_ms: How long a stream waits for the pong before it is closed, in milliseconds
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
