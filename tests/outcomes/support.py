"""What the tests of the outcomes share."""

import json
from typing import Any

from attrs import evolve

from bitopro_client.models import Order
from bitopro_orders import OrdersClient, SendingPolicy, connect
from bitopro_sandbox import Entry, Fault, Sandbox
from bitopro_sandbox.faults import Answer
from tests.support import HASTE, HASTY, credentials_of

ORDER = ("BTC_TWD", "2959906694")
PARTLY_FILLED = ("ETH_TWD", "2959906696")
FILLED = ("BTC_USDT", "2959906697")
NOT_TRIGGERED = ("BTC_USDT", "SL-9014867155")
NOWHERE = ("BTC_TWD", "1")

#: Gives up soon, and leaves the exchange's limits to the sandbox.
QUICK = SendingPolicy(
    deadline_seconds=0.5,
    attempts=2,
    fresh_nonces=2,
    backoff_seconds=0.01,
    longest_backoff_seconds=0.02,
    limit_share=None,
)


def client_of(sandbox: Sandbox, **options: Any) -> OrdersClient:
    """Return a client of the sandbox's account that gives up soon."""
    options = {"base_url": sandbox.base_url, "timeout": 0.2, "policy": QUICK, **options}
    return connect(credentials_of(sandbox), **options)


def hasty_client_of(sandbox: Sandbox, **options: Any) -> OrdersClient:
    """Return a client whose seconds pass quickly, with time enough for what is asked."""
    return client_of(sandbox, **{"timing": HASTY, "timeout": 5 * HASTE, **options})


def edited(**fields: object) -> Fault:
    """Process the request; a 200 has other values in these fields, or lacks those that are `...`.

    Decimals are written as JSON numbers.
    """

    def rewrite(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        content = {**json.loads(answer.body), **fields}
        kept = {name: value for name, value in content.items() if value is not ...}
        return evolve(answer, body=json.dumps(kept).encode())

    return Fault(name="edited", rewrite=rewrite)


def requests_for(sandbox: Sandbox, order_id: str, method: str | None = None) -> list[Entry]:
    """Return the journal's entries about one order, oldest first."""
    return [
        entry
        for entry in sandbox.journal
        if entry.path.endswith(f"/{order_id}") and method in (None, entry.method)
    ]


def order_in(sandbox: Sandbox, order_id: str) -> Order:
    """Return the order as the sandbox would answer it now."""
    return Order.from_dict(sandbox.book.get(order_id).to_json())
