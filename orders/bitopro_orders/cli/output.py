"""What is printed: tables for people, tab-separated lines for pipes, JSON objects for scripts."""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from select import select
from typing import IO, Any

import click
from attrs import define, field
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bitopro_auth import CredentialsError
from bitopro_client.models import Order
from bitopro_orders import forms
from bitopro_orders.errors import BitoProError, OutcomeUnknownError
from bitopro_orders.states import time_of

from . import codes

#: The statuses of an order, in words.
STATUSES = {
    -1: "not triggered",
    0: "open",
    1: "open, partly filled",
    2: "filled",
    3: "partly filled, rest cancelled",
    4: "cancelled",
    6: "cancelled (post-only)",
}
ORDER_COLUMNS = ("pair", "id", "side", "price", "amount", "filled", "status")
#: Of a table, what may go over several lines: words. Ids, pairs and amounts stay in one piece.
WORDS = {"status", "outcome", "why"}
LEAST_WORDS = 12
#: Longer ones would keep people waiting: rich takes a millisecond for a row.
MOST_IN_TABLE = 1000
NOTHING = "-"
#: How often is looked at whether patience is over, in seconds.
LOOK_SECONDS = 0.1


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints: rich's own way ends the process, whatever is under way."""
        raise


@define
class Output:
    """Prints everything that the commands print.

    Attributes:
        is_json: Whether stdout gets JSON objects.
        summary: The fields of the last JSON object.
        has_sent: Whether a cancel may have been sent.
        is_busy: Whether orders are being cancelled. Then a reader that does not read must not delay
            them: messages that cannot be printed at once are left out.
        console: Prints for people on stdout.
        notes: Prints for people on stderr.
        patience: How long to wait for a reader that does not read, in seconds; None for no limit.
    """

    is_json: bool = False
    summary: dict[str, Any] = field(factory=dict)
    has_sent: bool = False
    is_busy: bool = False
    console: Console = field(factory=lambda: _Console(highlight=False), init=False)
    notes: Console = field(factory=lambda: _Console(stderr=True, highlight=False), init=False)
    patience: float | None = field(default=None, init=False)
    _has_failed: set[int] = field(factory=set, init=False)

    @property
    def is_taken(self) -> bool:
        """Whether stderr accepts output without waiting; a terminal held by Ctrl-S does not."""
        try:
            return bool(select([], [sys.stderr], [], 0)[1])
        except (OSError, ValueError):  # it is closed, and takes anything
            return True

    @property
    def is_table(self) -> bool:
        """Whether tables are printed, which is so on a terminal."""
        return self.console.is_terminal and not self.is_json

    def form(self, kind: str, fields: Mapping[str, object]) -> None:
        """Print a JSON object of a kind, if stdout gets JSON objects."""
        self.object(forms.write(kind, fields))

    def object(self, form: Mapping[str, object]) -> None:
        """Print a JSON object, if stdout gets JSON objects."""
        if self.is_json:
            self.text(json.dumps(form, separators=(",", ":")))

    def text(self, line: str) -> None:
        """Print a line on stdout as it is."""
        with self.kept(sys.stdout):
            print(line, flush=True)

    def note(self, line: str, style: str = "") -> None:
        """Print a line for people on stderr."""
        if self.is_busy and not self.is_taken:
            return
        with self.kept(sys.stderr):
            self.notes.print(Text(line, style), soft_wrap=True)

    def say(self, line: str, style: str = "") -> None:
        """Print a line for people: on the terminal, or on stderr in a pipe."""
        if not self.is_table:
            self.note(line, style)
        else:
            with self.kept(sys.stdout):
                self.console.print(Text(line, style), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table on a terminal, or tab-separated lines in a pipe; with --json, nothing."""
        if self.is_json or not rows:
            return
        if not self.is_table:
            for row in rows:
                self.text("\t".join(row))
            return
        said = [place for place, _ in enumerate(columns) if any(row[place] for row in rows)]
        columns = [columns[place] for place in said]
        rows = [[row[place] for place in said] for row in rows]
        with self.kept(sys.stdout):
            if len(rows) > MOST_IN_TABLE:
                for line in _lines(columns, rows):
                    print(line)
            elif _fits(columns, rows, self.console.width):
                self.console.print(_table(columns, rows))
            else:
                self.console.print(_records(columns, rows), soft_wrap=True)

    def orders(self, orders: Sequence[Order]) -> None:
        """Print orders."""
        for order in orders:
            self.form("order", forms.order_form(order) or {})
        self.table(ORDER_COLUMNS, [order_row(order) for order in orders])

    def change(self, order: Order) -> None:
        """Print an order that has changed, in one line."""
        when = time_of(order)
        at = NOTHING if when is None else when.isoformat(timespec="milliseconds")
        self.form("order", forms.order_form(order) or {})
        if self.is_table:
            self.say("  ".join([at, *order_row(order)]))
        elif not self.is_json:
            self.text("\t".join([at, *order_row(order)]))

    def fail(self, error: BaseException) -> int:
        """Print an error in one line, and return its exit code."""
        word, code = codes.word_and_code(error)
        text = "stopped" if code == codes.STOPPED and self.has_sent else _sentence(error)
        self.object(envelope(word, error, text))
        if not self.is_json:
            self.note(f"bitopro: {text}", "bold red")
        return code

    def close(self, code: int) -> None:
        """Print the last JSON object."""
        self.form("summary", {"exit_code": code, **self.summary})
        for stream in (sys.stdout, sys.stderr):
            with self.kept(stream):
                stream.flush()

    @contextlib.contextmanager
    def kept(self, stream: IO[str]) -> Iterator[None]:
        """Go on when nobody reads any more: the cancels are more important than what they print."""
        try:
            if not self._is_taken_in_time(stream):
                self.lose(stream)
            yield
        except OSError:
            self.lose(stream)

    def _is_taken_in_time(self, stream: IO[str]) -> bool:
        waited = 0.0
        while not select([], [stream], [], LOOK_SECONDS)[1]:
            waited += LOOK_SECONDS
            if self.patience is not None and waited >= self.patience:
                return False
        return True

    def lose(self, stream: IO[str]) -> None:
        """Discard everything that is printed to the stream from now on."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        self._has_failed.add(stream.fileno())

    @property
    def is_read(self) -> bool:
        """Whether somebody still reads stdout."""
        return sys.stdout.fileno() not in self._has_failed


def open_streams() -> None:
    """Replace streams that are closed, and make any text printable, whatever the locale is."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
        elif mode == "w":
            stream.reconfigure(errors="backslashreplace")


def envelope(word: str, error: BaseException, text: str = "") -> dict[str, Any]:
    """Return the JSON object of an error; for one to resolve, its JSON form."""
    if isinstance(error, OutcomeUnknownError):
        return {**error.to_json(), "error": word, "message": f"{error}"}
    fields: dict[str, object] = {"error": word, "message": text or f"{error}"}
    if isinstance(error, BitoProError):
        fields |= {"operation": error.operation, "arguments": dict(error.arguments)}
        fields |= {"attempts": error.attempts, "status": getattr(error, "status", None)}
    return forms.write("error", fields)


def order_row(order: Order) -> list[str]:
    """Return the cells of an order's row in a table."""
    status = STATUSES.get(order.status, f"status {order.status}")
    texts = (order.action, order.price, order.original_amount, order.executed_amount)
    return [order.pair.upper(), order.id, *(text or NOTHING for text in texts), status]


def _sentence(error: BaseException) -> str:
    match error:
        case KeyboardInterrupt() | click.Abort():
            return "stopped; nothing was sent"
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "bitopro"
            return f"{error.format_message()} See: {command} --help"
        case click.ClickException():
            return error.format_message()
        case BitoProError() | CredentialsError():
            return " ".join(f"{error}".split())
    # The text of any other exception may hold anything.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119
    return f"unexpected {type(error).__name__} at {where}; please report it"


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(len(column), *(len(row[place]) for row in rows)) for place, column in enumerate(columns)
    ]


def _fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    widths = zip(columns, _widths(columns, rows), strict=True)
    needed = sum(min(w, LEAST_WORDS) if name in WORDS else w for name, w in widths)
    return needed + 3 * (len(columns) - 1) <= width


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, width in zip(columns, _widths(columns, rows), strict=True):
        if column in WORDS:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, no_wrap=True, min_width=width, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = _widths(columns, rows)
    for row in (columns, *rows):
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "   ".join(cells).rstrip()


def _records(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    """Return each row over several lines, where the screen is too narrow for a table."""
    lines = []
    for row in rows:
        lines.append(" ".join(row[:2]))
        rest = zip(columns[2:], row[2:], strict=True)
        lines += [f"  {column}: {text}" for column, text in rest if text not in {"", NOTHING}]
    return Text("\n".join(lines))
