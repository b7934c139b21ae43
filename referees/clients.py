"""Two other clients of the exchange, as their users call them, and what they say in one form."""

import asyncio
import time
from decimal import Decimal
from importlib import import_module
from typing import Any, NamedTuple, Self

from bitopro_auth import system_clock_ms
from bitopro_sandbox import Sandbox

SYNC, ASYNC = "ccxt", "ccxt.async_support"

Ids = set[tuple[str, str]]


class Seen(NamedTuple):
    """An order as a client tells it."""

    pair: str
    id: str
    side: str
    price: Decimal
    amount: Decimal
    filled: Decimal
    remaining: Decimal
    type: str
    created_ms: int


class Accepted(NamedTuple):
    """The cancel of an order as a client tells it."""

    id: str
    side: str
    price: Decimal
    amount: Decimal


def await_another_millisecond() -> None:
    """Wait until the clock shows another one: theirs takes it for the nonce of its next request."""
    last = system_clock_ms()
    while system_clock_ms() <= last:
        time.sleep(0.0002)


class Official:
    """bitopro-client, the exchange's own, which is synchronous alone.

    Args:
        sandbox: Where it sends to, and as whom.
        secret: Another secret than the account's.
    """

    def __init__(self, sandbox: Sandbox, secret: str | None = None) -> None:
        module: Any = import_module("bitoproClient.bitopro_restful_client")
        account = sandbox.account
        self._client = module.BitoproRestfulClient(account.api_key, secret or account.api_secret)
        self._client.baseUrl = sandbox.base_url

    def call(self, name: str, *arguments: object) -> Any:
        """Call one of its methods; it returns what went wrong, too."""
        await_another_millisecond()
        return getattr(self._client, name)(*arguments)

    def read(self, pair: str, order_id: str) -> Seen:
        """Read an order."""
        return self._seen(self.call("get_an_order", pair, order_id))

    def listed(self, pair: str | None = None) -> list[Seen]:
        """List the open orders."""
        return [self._seen(each) for each in self.call("get_open_orders", pair)["data"]]

    def cancel(self, pair: str, order_id: str) -> Accepted:
        """Cancel an order."""
        said = self.call("cancel_an_order", order_id, pair)
        return Accepted(
            said["orderId"], said["action"], Decimal(said["price"]), Decimal(said["amount"])
        )

    def cancel_batch(self, pair: str, *order_ids: str) -> Ids:
        """Cancel some orders of a pair."""
        return self._ids(self.call("cancel_multiple_orders", {pair: list(order_ids)}))

    def cancel_pair(self, pair: str) -> Ids:
        """Cancel all orders of a pair."""
        return self._ids(self.call("cancel_all_orders", pair))

    def cancel_all(self) -> Ids:
        """Cancel all orders: they are "of the pair all"."""
        return self._ids(self.call("cancel_all_orders", "all"))

    def _seen(self, said: dict[str, Any]) -> Seen:
        return Seen(
            pair=said["pair"].upper(),
            id=said["id"],
            side=said["action"],
            price=Decimal(said["price"]),
            amount=Decimal(said["originalAmount"]),
            filled=Decimal(said["executedAmount"]),
            remaining=Decimal(said["remainingAmount"]),
            type=said["type"],
            created_ms=said["createdTimestamp"],
        )

    def _ids(self, said: dict[str, Any]) -> Ids:
        return {(pair, each) for pair, ids in said["data"].items() for each in ids}


class Ccxt:
    """ccxt, one of its halves. It is told its markets, so that it does not look them up.

    Args:
        sandbox: Where it sends to, and as whom.
        half: The module, `SYNC` or `ASYNC`.
        secret: Another secret than the account's.
    """

    def __init__(self, sandbox: Sandbox, half: str, secret: str | None = None) -> None:
        self._half = half
        self._settings = {
            "apiKey": sandbox.account.api_key,
            "secret": secret or sandbox.account.api_secret,
            "urls": {"api": {"rest": sandbox.base_url}},
            "enableRateLimit": False,
        }
        self._exchange = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._half == SYNC:
            self._exchange.close()

    def _opened(self) -> Any:
        exchange: Any = import_module(self._half).bitopro(self._settings)
        pairs = ("btc_twd", "eth_twd", "bito_eth", "btc_usdt")
        exchange.set_markets([exchange.parse_market(_market(pair)) for pair in pairs])
        return exchange

    def call(self, name: str, *arguments: object) -> Any:
        """Call one of its methods; it raises what went wrong."""
        await_another_millisecond()
        if self._half == SYNC:
            return getattr(self._exchange, name)(*arguments)
        return asyncio.run(self._call(name, *arguments))

    async def _call(self, name: str, *arguments: object) -> Any:
        exchange = self._opened()
        try:
            return await getattr(exchange, name)(*arguments)
        finally:
            await exchange.close()

    def read(self, pair: str, order_id: str) -> Seen:
        """Read an order."""
        return self._seen(self.call("fetch_order", order_id, _symbol(pair)))

    def listed(self, pair: str | None = None) -> list[Seen]:
        """List the open orders."""
        asked = [_symbol(pair)] if pair else []
        # It sorts by the time of creation; the exchange's order is by the last update.
        return [self._seen(each) for each in self.call("fetch_open_orders", *asked)]

    def cancel(self, pair: str, order_id: str) -> Accepted:
        """Cancel an order."""
        said = self.call("cancel_order", order_id, _symbol(pair))
        return Accepted(
            said["id"], said["side"].upper(), _decimal(said["price"]), _decimal(said["amount"])
        )

    def cancel_batch(self, pair: str, *order_ids: str) -> Ids:
        """Cancel some orders of a pair."""
        return self._ids(self.call("cancel_orders", list(order_ids), _symbol(pair)))

    def cancel_pair(self, pair: str) -> Ids:
        """Cancel all orders of a pair."""
        return self._ids(self.call("cancel_all_orders", _symbol(pair)))

    def cancel_all(self) -> Ids:
        """Cancel all orders."""
        return self._ids(self.call("cancel_all_orders"))

    def _seen(self, said: dict[str, Any]) -> Seen:
        return Seen(
            pair=said["symbol"].replace("/", "_"),
            id=said["id"],
            side=said["side"].upper(),
            price=_decimal(said["price"]),
            amount=_decimal(said["amount"]),
            filled=_decimal(said["filled"]),
            remaining=_decimal(said["remaining"]),
            type=said["type"].upper(),
            created_ms=said["timestamp"],
        )

    def _ids(self, said: list[dict[str, Any]]) -> Ids:
        # It names the pair of many as the exchange does, and not by its own symbol.
        return {(each["symbol"], each["id"]) for each in said}


def _symbol(pair: str) -> str:
    return pair.replace("_", "/")


def _decimal(number: float) -> Decimal:
    return Decimal(str(number))


def _market(pair: str) -> dict[str, Any]:
    """Return a market as the exchange tells it to who looks markets up."""
    base, quote = pair.split("_")
    return {
        "pair": pair,
        "base": base,
        "quote": quote,
        "amountPrecision": "8",
        "basePrecision": "8",
        "quotePrecision": "8",
        "maintain": False,
        "maxLimitBaseAmount": "100000000",
        "minLimitBaseAmount": "0.0001",
        "minMarketBuyQuoteAmount": "1",
        "orderOpenLimit": "200",
    }
