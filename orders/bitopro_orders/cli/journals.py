"""The journals of the runs: each run writes a file of its own in the user's state folder."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from bitopro_orders.timing import Timing

WAYS_OUT = "give --journal FILE, or --no-journal to do without"


def state_folder() -> Path:
    """Return the user's state folder of `bitopro`, which may not exist.

    Raises:
        UsageError: If the user has no home folder.
    """
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        # The XDG specification: what is not absolute is ignored.
        return (root if root.is_absolute() else Path.home() / ".local" / "state") / "bitopro"
    except RuntimeError:
        raise click.UsageError(f"there is no home folder for a journal: {WAYS_OUT}") from None


def new_path() -> Path:
    """Return the path of a new journal, in a folder that exists and can be written.

    Raises:
        UsageError: If there is no such folder.
    """
    folder = state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "not yours to write")
    except OSError as error:
        raise click.UsageError(
            f"no journal can be made in {folder} ({error.strerror}): {WAYS_OUT}."
        ) from None
    now = datetime.fromtimestamp(Timing().now_ms() / 1000, UTC)
    return folder / f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z-{os.getpid()}.jsonl"


def kept() -> Iterator[Path]:
    """Return the journals of the state folder, the oldest first."""
    yield from sorted(state_folder().glob("*.jsonl"))
