"""The command line `bitopro`: the extra `cli`. docs/cli.md is its manual."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the arguments of this process name, and exit with its code."""
    try:
        from .app import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in {"click", "rich"}:
            raise
        sys.exit("bitopro: run  pip install 'bitopro-orders[cli]'  first")
    sys.exit(run(sys.argv[1:]))
