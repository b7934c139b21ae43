"""`make demo`: cancel an order on a local exchange, and see what a wrong call ends in."""

import textwrap

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import (
    AuthenticationError,
    InvalidArgumentError,
    OutcomeUnknownError,
    cancel_and_confirm,
    connect,
    resolve,
)
from bitopro_sandbox import Order, Sandbox, faults, serve

PAIR, ORDER_ID, OTHER_ID = "BTC_TWD", "2959906694", "2959906695"


def main() -> None:
    """Show the whole round on the screen."""
    with serve() as sandbox:
        account = sandbox.account
        credentials = Credentials(account.api_key, account.api_secret, account.identity)

        title(f"A local exchange at {sandbox.base_url}, with these open orders")
        for order in sandbox.book.open_orders():
            print_order(order)

        title(f"cancel_order.sync({PAIR!r}, {ORDER_ID!r}, client=client)")
        with connect(credentials, base_url=sandbox.base_url) as client:
            cancelled = cancel_order.sync(PAIR, ORDER_ID, client=client)
        print(
            f"  accepted: {cancelled.action} {cancelled.amount} at {cancelled.price}, "
            f"order {cancelled.order_id}"
        )

        title("What the exchange saw, and verified")
        entry = sandbox.journal[-1]
        print(f"  {entry.method} {entry.path} -> {entry.status}")
        for name in entry.header_names:
            if name.startswith("x-bitopro-"):
                print(f"  {name.upper()}: ***")

        title("The order after")
        print_order(sandbox.book.get(ORDER_ID))

        show_lost_answer(sandbox, credentials)
        show_refusals(sandbox, credentials)


def show_lost_answer(sandbox: Sandbox, credentials: Credentials) -> None:
    """Lose the answers to two cancels on the way, and find out what became of the orders."""
    with connect(credentials, base_url=sandbox.base_url) as client:
        title("The exchange cancels an order, and the answer is lost in the network")
        sandbox.faults.add(faults.drop_answer(), method="DELETE")
        try:
            cancel_order.sync(PAIR, OTHER_ID, client=client)
        except OutcomeUnknownError as error:
            say(f"OutcomeUnknownError: {error}")
            outcome = resolve(client, error)
            print(f"  resolve(client, error): {outcome.state}, {outcome.executed} executed")

        title("The same in one call: cancel_and_confirm(client, 'ETH_TWD', '2959906696')")
        sandbox.faults.add(faults.drop_answer(), method="DELETE")
        outcome = cancel_and_confirm(client, "ETH_TWD", "2959906696")
        print(
            f"  {outcome.state}: {outcome.executed} executed at {outcome.average_price}, "
            f"{outcome.remaining} not"
        )
        print(f"  cancels sent: {outcome.attempts}, confirmed by {outcome.seen_by} the order")


def show_refusals(sandbox: Sandbox, credentials: Credentials) -> None:
    """Show an empty id that is never sent and a signature that is not accepted."""
    requests = len(sandbox.journal)
    title("An empty id would cancel every order of the pair")
    with connect(credentials, base_url=sandbox.base_url) as client:
        try:
            cancel_order.sync(PAIR, "", client=client)
        except InvalidArgumentError as error:
            say(f"InvalidArgumentError: {error}")
    print(f"  requests sent: {len(sandbox.journal) - requests}")

    title("A wrong secret")
    wrong = Credentials(sandbox.account.api_key, "not-the-secret", sandbox.account.identity)
    with connect(wrong, base_url=sandbox.base_url) as client:
        try:
            cancel_order.sync(PAIR, OTHER_ID, client=client)
        except AuthenticationError as error:
            say(f"AuthenticationError: {error}")


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}")


def say(text: str) -> None:
    """Print a long line in several."""
    print(textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="    "))


def print_order(order: Order) -> None:
    """Print one order in a line."""
    print(
        f"  {order.id:<14} {order.pair:<9} {order.action:<5} {order.original_amount:>8} "
        f"at {order.price or 'market':>9}  {order.status.name.lower().replace('_', ' ')}"
    )


if __name__ == "__main__":
    main()
