"""The commands that only look."""

import click

from bitopro_client.api.orders import get_order, list_open_orders
from bitopro_client.models import Order
from bitopro_client.types import UNSET
from bitopro_orders.connection import OrdersClient

from .app import Options, app, examples, reaching

#: How long a single question to the exchange may take by default, in seconds.
QUESTION_SECONDS = 10.0


async def listed(client: OrdersClient, pair: str | None, seconds: float) -> list[Order]:
    """Return the open orders as the exchange lists them."""
    call = list_open_orders.call(pair=UNSET if pair is None else pair.upper())
    return (await client.run_async(client.steps(call, seconds=seconds))).parsed.data


async def read(client: OrdersClient, pair: str, order_id: str, seconds: float) -> Order:
    """Return an order as the exchange tells it."""
    call = get_order.call(pair.upper(), order_id)
    return (await client.run_async(client.steps(call, seconds=seconds))).parsed


@app.command("open", epilog=examples("bitopro open", "bitopro open --pair BTC_TWD"))
@click.option("--pair", metavar="PAIR", help="Those of this pair alone.")
@reaching
@click.pass_obj
def open_(options: Options, pair: str | None) -> None:
    """List the open orders."""
    orders = options.run(listed(options.client, pair, options.timeout or QUESTION_SECONDS))
    options.out.orders(orders)
    options.out.summary |= {"open": len(orders)}
    options.out.say(f"{len(orders)} open")


@app.command(epilog=examples("bitopro status BTC_TWD 2959906694"))
@click.argument("pair")
@click.argument("order_id", metavar="ID")
@reaching
@click.pass_obj
def status(options: Options, pair: str, order_id: str) -> None:
    """Read one order."""
    seconds = options.timeout or QUESTION_SECONDS
    options.out.orders([options.run(read(options.client, pair, order_id, seconds))])
