"""The command `bitopro`, which needs the extra `cli`. docs/cli.md describes it."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the arguments of this process name, and exit with its exit code."""
    try:
        from .app import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in {"click", "rich"}:
            raise
        sys.exit("bitopro: run  pip install 'bitopro-orders[cli]'  first")
    except KeyboardInterrupt:
        print("bitopro: stopped; nothing was sent", file=sys.stderr)
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))
