"""Runs a sandbox for other programs: ``python -m bitopro_sandbox [--port N]``."""

import argparse
import contextlib
import signal
import threading

from bitopro_sandbox.server import Sandbox, serve


def main() -> None:
    """Print the variables to export, and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="bitopro_sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8787, help="TCP port (default: %(default)s)")
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt), serve(port=port) as sandbox:
            print(_introduction(sandbox), flush=True)
            threading.Event().wait()
    except ModuleNotFoundError as error:
        parser.exit(1, f"{error}\n")
    except (OSError, OverflowError) as error:
        parser.exit(1, f"Cannot serve on port {port}: {error}\n")


def _introduction(sandbox: Sandbox) -> str:
    account = sandbox.account
    return "\n".join(
        [
            "# BitoPro sandbox. The credentials are fake and worth nothing. Ctrl-C ends it.",
            f"export BITOPRO_BASE_URL={sandbox.base_url}",
            f"export BITOPRO_STREAM_URL={sandbox.stream_url}",
            f"export BITOPRO_API_KEY={account.api_key}",
            f"export BITOPRO_API_SECRET={account.api_secret}",
            f"export BITOPRO_EMAIL={account.identity}",
            *(
                f"# live: {order.pair} {order.id} {order.action} {order.status.name}"
                for order in sandbox.book.open_orders()
            ),
        ]
    )


if __name__ == "__main__":
    main()
