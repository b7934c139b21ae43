# /// script
# requires-python = ">=3.11"
# dependencies = ["bitopro-orders"]
# ///
"""A back office that finds out what became of yesterday's cancels.

    python back_office.py journals/*.jsonl            # reads; cancels nothing
    python back_office.py --finish journals/*.jsonl   # cancels again what is still open

Each journal is one that a `Journal` has written. A run that was killed, or that lost an answer,
leaves cancels in it whose outcome nobody knows. Each is settled by reading its order, and is then
written down in the same journal: run again, it has nothing left to do.

It prints a JSON object per order. The exit code is 0 if it is proved what became of every order
and, with `--finish`, none is open; else 1. A journal that another process has open is left alone.
"""

import argparse
import json
import sys

from bitopro_orders import (
    BitoProError,
    CancelOutcome,
    Journal,
    OrdersClient,
    OutcomeUnknownError,
    State,
    connect,
    resolve_many,
    resume,
    unresolved,
)


def settle(client: OrdersClient, path: str, *, finish: bool) -> bool:
    """Settle one journal; say whether nothing is left to do."""
    # `Journal` would make a file that is not there: nothing is settled by a wrong name.
    unresolved(path)
    with Journal(path) as journal:
        if finish:
            ends = resume(client, journal)
        else:
            ends = resolve_many(client, unresolved(journal), journal=journal)
        is_settled = True
        for end in ends:
            if isinstance(end, CancelOutcome | OutcomeUnknownError):
                print(json.dumps({"journal": path, **end.to_json()}), flush=True)
            else:
                print(f"{path}: {dict(end.arguments)}: {end}", file=sys.stderr)
            is_settled &= isinstance(end, CancelOutcome) and not (
                finish and end.state is State.OPEN
            )
        print(f"{path}: {ends.account}", file=sys.stderr)
        return is_settled


def main() -> int:
    """Settle every journal; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("journals", nargs="+", metavar="journal")
    parser.add_argument("--finish", action="store_true", help="cancel again what is still open")
    given = parser.parse_args()
    is_settled = True
    try:
        with connect() as client:
            for path in given.journals:
                try:
                    is_settled &= settle(client, path, finish=given.finish)
                except BitoProError as error:
                    # Such as one that is still being written: the others go on.
                    print(f"{path}: {error}", file=sys.stderr)
                    is_settled = False
    except BitoProError as error:
        print(f"back_office: {error}", file=sys.stderr)
        return 1
    return 0 if is_settled else 1


if __name__ == "__main__":
    sys.exit(main())
