"""The commands that cancel, and the command that resolves unknown outcomes."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bitopro_client.models import Order
from bitopro_orders.cancels import cancel_many_async, resolve_many_async
from bitopro_orders.connection import OrdersClient
from bitopro_orders.errors import (
    BitoProError,
    InvalidArgumentError,
    NotFoundError,
    OutcomeUnknownError,
)
from bitopro_orders.everything import cancel_everything_async
from bitopro_orders.journal import Journal, unresolved
from bitopro_orders.many import AsyncManyOutcomes

from . import codes, given, journals
from .app import Options, app, changing, dry, examples, reaching, scoped
from .commands import QUESTION_SECONDS, listed, read
from .following import Followed, conclude, follow, named_in, show
from .output import ORDER_COLUMNS, order_row

#: So many orders are read one by one before they are confirmed; more are looked up in a listing.
MOST_READ = 20
CANCEL_SECONDS = 30.0
EVERYTHING_SECONDS = 60.0

Orders = list[tuple[str, str]]


@app.command(
    epilog=examples(
        "bitopro cancel BTC_TWD 2959906694 2959906695",
        "bitopro cancel --file orders.csv       a file with lines of pair,id",
        "… | bitopro cancel --file - --yes      the same, from a pipe",
    )
)
@click.argument("pair", required=False)
@click.argument("order_ids", metavar="ID...", nargs=-1)
@click.option(
    "--file", type=click.Path(path_type=Path), help="A file with lines of pair,id; - is stdin."
)
@changing(CANCEL_SECONDS)
@click.pass_obj
def cancel(
    options: Options, pair: str | None, order_ids: tuple[str, ...], file: Path | None
) -> int:
    """Cancel orders by their ids, and find out what became of each.

    --timeout limits the time for each order.
    """
    if (file is None) == (not order_ids) or (file is not None and pair is not None):
        raise click.UsageError("give either a PAIR and IDs, or --file FILE.")
    orders = given.from_file(file) if file else given.named(f"{pair}", order_ids)
    options.require_confirmable()
    path = journal_path(options)
    client = options.client
    if not options.yes or options.dry_run:
        rows = options.run(_looked_up(client, orders))
        if options.out.is_json:
            for row in rows:
                options.out.form("order", dict(zip(ORDER_COLUMNS, row, strict=True)))
        options.out.table(ORDER_COLUMNS, rows)
    if options.dry_run:
        return _dry(options, len(orders))
    if not options.yes and not click.confirm(f"Cancel these {len(orders)}?", err=True):
        raise codes.DeclinedError("not confirmed; nothing was sent")
    return _changed(
        options,
        path,
        lambda journal: cancel_many_async(client, orders, timeout=options.seconds, journal=journal),
        orders,
    )


async def _looked_up(client: OrdersClient, orders: Orders) -> list[list[str]]:
    """Return the rows of a table: what cannot be read is shown all the same, and why."""
    found: dict[tuple[str, str], Order | BaseException] = {}
    why = "not listed as open"
    if len(orders) <= MOST_READ:
        readings = [read(client, *order, QUESTION_SECONDS) for order in orders]
        told = await asyncio.gather(*readings, return_exceptions=True)
        found = dict(zip(orders, told, strict=True))
    else:
        try:
            open_orders = await listed(client, None, QUESTION_SECONDS)
            found = {(order.pair.upper(), order.id): order for order in open_orders}
        except BitoProError as error:
            why = f"not read: {error}"
    rows = []
    for key in orders:
        match found.get(key):
            case Order() as order:
                rows.append(order_row(order))
            case NotFoundError():
                rows.append([*key, *["-"] * 4, "not found"])
            case BitoProError() as failure:
                rows.append([*key, *["-"] * 4, f"not read: {failure}"])
            case BaseException() as failure:
                raise failure
            case _:
                rows.append([*key, *["-"] * 4, why])
    return rows


@app.command(
    "cancel-all",
    epilog=examples(
        "bitopro cancel-all",
        "bitopro cancel-all --pair BTC_TWD",
        "bitopro cancel-all --client-id 1000-1999   only orders whose clientId is in this range",
    ),
)
@scoped
@changing(EVERYTHING_SECONDS)
@click.pass_obj
def cancel_all(
    options: Options, pair: str | None, client_id: str | None, lists_untriggered: bool
) -> int:
    """Cancel every open order, until none is listed any more.

    Orders that appear meanwhile are cancelled, too. --timeout limits the time as a whole.
    """
    only = None if client_id is None else given.client_ids(client_id)
    options.require_confirmable()
    path = journal_path(options)
    client = options.client
    pair = None if pair is None else given.in_capitals(pair)
    if not options.yes or options.dry_run:
        orders = options.run(listed(client, pair, QUESTION_SECONDS))
        orders = [order for order in orders if only is None or only(order)]
        options.out.orders(orders)
        if options.dry_run:
            return _dry(options, len(orders))
        _confirm_all(orders, pair, client_id)
    return _changed(
        options,
        path,
        lambda journal: cancel_everything_async(
            client,
            pair=pair,
            only=only,
            timeout=options.seconds,
            lists_untriggered=lists_untriggered,
            journal=journal,
        ),
        proves_book=only is None,
        leaves_none_listed=True,
    )


def _confirm_all(orders: Sequence[Order], pair: str | None, client_id: str | None) -> None:
    word = pair or "all"
    scope = "" if client_id is None else f" of clientId {client_id}"
    text = f"Type  {word}  to cancel {len(orders)} and all{scope} that appear meanwhile"
    typed = click.prompt(text, default="", show_default=False, err=True)
    if typed.strip().lower() != word.lower():
        raise codes.DeclinedError("not confirmed; nothing was sent")


def journal_path(options: Options) -> Path | None:
    """Return the path of the run's journal; None for no journal.

    Raises:
        UsageError: If there is no place for it.
    """
    if options.journal is not None and options.no_journal:
        raise click.UsageError("give either --journal FILE or --no-journal.")
    if options.no_journal or options.dry_run:
        return None
    return options.journal or journals.new_path()


def _dry(options: Options, number: int) -> int:
    options.out.summary |= {"dry_run": True, "orders": number}
    options.out.say(f"{number} would be cancelled; nothing was sent that changes anything")
    return codes.OK


def _changed(
    options: Options,
    path: Path | None,
    make: Callable[[Journal | None], AsyncManyOutcomes],
    orders: Orders | None = None,
    *,
    proves_book: bool = False,
    leaves_none_listed: bool = False,
) -> int:
    """Cancel, with a journal, and print the account.

    Args:
        options: What was said.
        path: The journal's.
        make: Makes what is followed.
        orders: They, if they were given.
        proves_book: Whether the book is to be clean.
        leaves_none_listed: Whether none of them may be left in the listing.
    """
    journal = None if path is None else Journal(path)
    try:

        async def work() -> Followed:
            return await follow(options.out, make(journal), orders)

        followed = options.run(work())
    finally:
        if journal is not None:
            journal.close()
    kept = [] if journal is None else [journal]
    return conclude(
        options.out,
        followed,
        kept,
        proves_book=proves_book,
        leaves_none_listed=leaves_none_listed,
    )


@app.command(
    epilog=examples(
        "bitopro resolve                     all journals in the state folder",
        "bitopro resolve cancels.jsonl",
    )
)
@click.argument("paths", metavar="[JOURNAL]...", nargs=-1, type=click.Path(path_type=Path))
@dry
@reaching(CANCEL_SECONDS)
@click.pass_obj
def resolve(options: Options, paths: tuple[Path, ...]) -> int:
    """Find out what became of orders whose outcome is unknown. Nothing is cancelled.

    JOURNAL is the journal of an earlier run; by default all journals in the state folder are read.
    --timeout limits the time for each order.
    """
    left, code = [(path, unresolved(path)) for path in paths], codes.OK
    if not paths:
        left, code = _left_in_folder(options)
    options.out.summary |= {"journals": []}
    for path, errors in left:
        options.out.say(f"{path}: {len(errors)} unknown")
        if options.dry_run or not errors:
            for error in errors:
                show(options.out, error)
            continue
        result, is_stopped = _resolved(options, path)
        code = codes.worst([code, result])
        if is_stopped:
            break
    return code


def _left_in_folder(options: Options) -> tuple[list[tuple[Path, list[OutcomeUnknownError]]], int]:
    """Return what is not known by the state folder, and a code if it cannot all be read."""
    left, code = [], codes.OK
    for path in journals.kept():
        try:
            if errors := unresolved(path):
                left.append((path, errors))
        except InvalidArgumentError as error:
            code = codes.UNKNOWN
            options.out.note(f"{path}: {error}", "bold red")
    options.out.say(f"{len(left)} of the journals in {journals.state_folder()} leave some unknown")
    return left, code


def _resolved(options: Options, path: Path) -> tuple[int, bool]:
    """Resolve what a journal leaves unknown; return the code, and whether it was stopped."""
    try:
        journal = Journal(path)
    except InvalidArgumentError as error:
        # Its run may be going on.
        options.out.note(f"{path}: {error}", "bold red")
        return codes.UNKNOWN, False
    with journal:
        errors = unresolved(journal)

        async def work() -> Followed:
            many = resolve_many_async(
                options.client, errors, timeout=options.seconds, journal=journal
            )
            return await follow(options.out, many, [named_in(error) for error in errors])

        followed = options.run(work())
    return conclude(options.out, followed, [journal]), followed.is_stopped
