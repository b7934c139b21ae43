"""The orders that the user names, checked before anything is sent."""

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import click

from bitopro_client.models import Order
from bitopro_orders.errors import InvalidArgumentError
from bitopro_orders.run import asked

#: Of the bad lines of a file, so many are told.
MOST_TOLD = 10
HEADER = ("pair", "id")
RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def named(pair: str, order_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Return the orders that the arguments name.

    Raises:
        InvalidArgumentError: If an argument names no order.
    """
    return [_order(pair, order_id) for order_id in order_ids]


def in_capitals(pair: str) -> str:
    """Return a pair in capitals; one that is not ASCII is returned as it is, and refused later."""
    # Some letters of other scripts are ASCII letters in capitals: the pair would be another one.
    return pair.upper() if pair.isascii() else pair


def _order(pair: str, order_id: str) -> tuple[str, str]:
    order = asked((in_capitals(pair), order_id))
    return order.pair, order.order_id


def from_file(path: Path) -> list[tuple[str, str]]:
    """Return the orders of a file with lines of `pair,id`; `-` is stdin.

    Raises:
        UsageError: If the file cannot be read, or any line is wrong. Then none of it is cancelled,
            because it may be another file than the one that was meant.
    """
    try:
        with click.open_file(f"{path}", encoding="utf-8-sig") as file:
            return _read(file, "stdin" if f"{path}" == "-" else f"{path}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not text of lines  pair,id"
        raise click.UsageError(f"{path} cannot be read: {reason}.") from None


def _read(file: IO[str], name: str) -> list[tuple[str, str]]:
    orders, wrong = [], []
    lines = csv.reader(file, skipinitialspace=True, strict=True)
    for fields in lines:
        cells = tuple(cell.strip() for cell in fields)
        is_header = lines.line_num == 1 and tuple(map(str.lower, cells)) == HEADER
        if is_header or not any(cells):
            continue
        try:
            pair, order_id = cells
            orders.append(_order(pair, order_id))
        except InvalidArgumentError as error:
            wrong.append(f"line {lines.line_num}: {error}")
        except ValueError:
            wrong.append(f"line {lines.line_num}: not a pair and an id, but {len(cells)} fields")
    if wrong:
        told = "; ".join(wrong[:MOST_TOLD])
        more = f"; and {len(wrong) - MOST_TOLD} more" if len(wrong) > MOST_TOLD else ""
        raise click.UsageError(f"nothing was sent, as {name} has bad lines: {told}{more}.")
    return orders


def client_ids(text: str) -> Callable[[Order], bool]:
    """Return a predicate for the orders whose clientId is in a range.

    Args:
        text: The range, such as 1000-1999, or one number, such as 1000.

    Raises:
        BadParameter: If the text is neither.
    """
    found = RANGE.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise click.BadParameter("must be a range such as 1000-1999, or one id such as 1000")

    def picks(order: Order) -> bool:
        # An order that has none is somebody else's.
        return isinstance(order.client_id, int) and first <= order.client_id <= last

    return picks
