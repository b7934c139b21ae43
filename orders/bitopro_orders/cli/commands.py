"""The commands that only read, and those that send nothing to the exchange."""

import asyncio
import os
import sys

import click
from click.shell_completion import BashComplete, ZshComplete

from bitopro_client.api.orders import get_order
from bitopro_client.models import Order
from bitopro_orders.connection import OrdersClient
from bitopro_orders.listing import Listings

from .app import Options, app, examples, reaching
from .given import in_capitals

#: How long a single question to the exchange may take by default, in seconds.
QUESTION_SECONDS = 10.0


async def listed(client: OrdersClient, pair: str | None, seconds: float) -> list[Order]:
    """Return the open orders as the exchange lists them."""
    return await Listings(client, None if pair is None else in_capitals(pair)).look(seconds)


async def read(client: OrdersClient, pair: str, order_id: str, seconds: float) -> Order:
    """Return an order as the exchange shows it."""
    call = get_order.call(pair=in_capitals(pair), order_id=order_id)
    return (await client.run_async(client.steps(call, seconds=seconds))).parsed


@app.command("open", epilog=examples("bitopro open", "bitopro open --pair BTC_TWD"))
@click.option("--pair", metavar="PAIR", help="Only orders of this pair.")
@reaching(QUESTION_SECONDS)
@click.pass_obj
def open_(options: Options, pair: str | None) -> None:
    """List the open orders."""
    orders = options.run(listed(options.client, pair, options.seconds))
    options.out.orders(orders)
    options.out.summary |= {"open": len(orders)}
    options.out.say(f"{len(orders)} open")


@app.command(epilog=examples("bitopro status BTC_TWD 2959906694"))
@click.argument("pair")
@click.argument("order_id", metavar="ID")
@reaching(QUESTION_SECONDS)
@click.pass_obj
def status(options: Options, pair: str, order_id: str) -> None:
    """Read one order."""
    found = options.run(read(options.client, pair, order_id, options.seconds))
    options.out.orders([found])


@app.command(epilog=examples("bitopro watch", "bitopro watch --json | jq .status"))
@reaching()
@click.pass_obj
def watch(options: Options) -> None:
    """Print each change of an order that is filled or cancelled, until Ctrl-C or --timeout."""
    options.run(_watch(options))


async def _watch(options: Options) -> None:
    from bitopro_orders.stream import order_history

    try:
        history = order_history(client=options.client)
    except ModuleNotFoundError as missing:
        raise click.ClickException(
            "watch needs the stream: run  pip install 'bitopro-orders[stream]'"
        ) from missing
    out = options.out
    limit = asyncio.timeout(options.timeout)
    try:
        async with limit, history:
            async for order in history:
                out.change(order)
                if not out.is_read:
                    return
    except TimeoutError:
        if not limit.expired():
            raise


@app.command(epilog=examples("bitopro sandbox", "bitopro sandbox --port 8787"))
@click.option("--port", type=int, default=8787, show_default=True, help="The TCP port.")
def sandbox(port: int) -> None:
    """Run a local exchange for trying things out, until Ctrl-C."""
    arguments = [sys.executable, "-m", "bitopro_sandbox", "--port", f"{port}"]
    os.execv(sys.executable, arguments)  # noqa: S606 - no shell is wanted


@app.command(
    epilog=examples(
        'eval "$(bitopro completion bash)"    in ~/.bashrc',
        'eval "$(bitopro completion zsh)"     in ~/.zshrc',
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
def completion(shell: str) -> None:
    """Print the script for shell completion of commands and options."""
    kinds = {"bash": BashComplete, "zsh": ZshComplete}
    click.echo(kinds[shell](app, {}, "bitopro", "_BITOPRO_COMPLETE").source())
