"""The guard as a process of its own: when the bot has ended, its orders are cancelled."""

import contextlib
import math
import signal
import sys
from functools import partial
from pathlib import Path

import click

from bitopro_orders.everything import cancel_everything_async
from bitopro_orders.guards import TIMEOUT_SECONDS, Scope
from bitopro_orders.journal import Journal
from bitopro_orders.many import AsyncManyOutcomes
from bitopro_orders.policy import require_seconds

from . import codes, given
from .app import Options, app, changing, examples, scoped
from .bot import Bot, Heartbeat, Watch
from .changing import journal_path
from .commands import QUESTION_SECONDS, listed
from .following import PATIENCE_SECONDS, Followed, conclude, follow

GRACE_SECONDS = 10.0
#: As a shell says it.
NO_SUCH_COMMAND, NOT_STARTED = 127, 126
#: What the bot's own 0 does not hide.
FAILURES = {codes.FAILED, codes.UNKNOWN, codes.NOT_SENT, codes.REFUSED, codes.STOPPED}


@app.command(
    # What follows the bot's name is the bot's, also without the two dashes.
    context_settings={"allow_interspersed_args": False},
    epilog=examples(
        "bitopro guard -- python bot.py",
        "bitopro guard --pair BTC_TWD --heartbeat /run/bot.beat --after 30 -- python bot.py",
        "bitopro guard --heartbeat /mnt/bot.beat --after 90     a bot on another machine",
        "bitopro guard --dry-run -- true                        see what it would cancel",
    ),
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@scoped
@click.option(
    "--heartbeat",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that the bot touches regularly; see --after.",
)
@click.option(
    "--after",
    type=float,
    metavar="SECONDS",
    help="The bot counts as hanging when the heartbeat file has not changed for so long.",
)
@click.option(
    "--grace",
    type=float,
    metavar="SECONDS",
    default=GRACE_SECONDS,
    show_default=True,
    help="How long the bot may take to end after a signal, before it is killed.",
)
@changing(TIMEOUT_SECONDS)
@click.pass_obj
def guard(
    options: Options,
    command: tuple[str, ...],
    pair: str | None,
    client_id: str | None,
    lists_untriggered: bool,
    heartbeat: Path | None,
    after: float | None,
    grace: float,
) -> int:
    """Run a bot, and cancel its open orders when it has ended or hangs.

    The orders are cancelled whatever the exit code of the bot is, and also if the guard is told to
    stop (by SIGTERM, for example). Nothing is sent before the bot has ended. There is no
    confirmation. Messages go to stderr. --timeout limits the time for all cancels.

    The exit code is the bot's. If that is 0, it says whether the cancels worked.

    Without COMMAND, the guard watches the heartbeat of a bot that it did not start, and
    cancels when it stops. If this guard itself is told to stop, it cancels nothing.
    """
    # One that comes after the bot's name is the bot's.
    options.out.is_json = options.json
    if (heartbeat is None) != (after is None):
        raise click.UsageError("give --heartbeat FILE and --after SECONDS together.")
    if not command and heartbeat is None:
        raise click.UsageError("give -- COMMAND, or --heartbeat FILE and --after SECONDS.")
    if after is not None:
        require_seconds("--after", after)
    if not (0 <= grace < math.inf):
        raise click.BadParameter("must be seconds from 0 up, such as 10", param_hint="--grace")
    only = None if client_id is None else given.client_ids(client_id)
    scope = Scope(None if pair is None else given.in_capitals(pair), only, lists_untriggered)
    path = journal_path(options)
    client = options.client
    # All of this before there is a bot: it must not fail when the bot is dead.
    journal = None if path is None else Journal(path)
    # What the bot prints on stdout is not ours to mix with.
    aside = contextlib.nullcontext() if options.out.is_json else _no_stdout()
    try:
        many = cancel_everything_async(
            client, pair=scope.pair, only=only, timeout=options.seconds,
            lists_untriggered=lists_untriggered, journal=journal,
        )  # fmt: skip
        watch = Watch(grace, partial(options.out.note, style="bold yellow"), client.timing)
        with aside:
            followed = options.run(_guarded(options, watch, command, heartbeat, after, scope, many))
    finally:
        if journal is not None:
            journal.close()
    if followed is None:
        return _code(watch, codes.OK)
    with aside:
        return _code(watch, _concluded(options, followed, journal, proves_book=only is None))


def _no_stdout() -> contextlib.AbstractContextManager[object]:
    return contextlib.redirect_stdout(sys.stderr)


async def _guarded(
    options: Options,
    watch: Watch,
    command: tuple[str, ...],
    heartbeat: Path | None,
    after: float | None,
    scope: Scope,
    many: AsyncManyOutcomes,
) -> Followed | None:
    """Wait until it is over, and cancel; return None if nothing was to be cancelled."""
    # A log that is full, or a terminal that is held by Ctrl-S, must not cost an order.
    options.out.patience = PATIENCE_SECONDS
    watch.take_signals()
    if command:
        watch.bot = _started(command)
    if heartbeat is not None and after is not None:
        watch.heartbeat = Heartbeat(heartbeat, after, watch.timing)
    await watch.until_over()
    watch.leave_signals()
    options.out.summary |= {"guard": watch.ended}
    if watch.is_disarmed:
        watch.note(f"{watch.ended}: nothing is cancelled, as the bot it watched may be well")
        return None
    which = f"the open orders of {scope.pair or 'all pairs'}"
    if scope.only is not None:
        which += " with such a clientId"
    if not options.dry_run:
        watch.note(f"{watch.ended}: {which} are cancelled")
        return await follow(options.out, many)
    watch.note(f"{watch.ended}: {which} would be cancelled")
    orders = await listed(options.client, scope.pair, QUESTION_SECONDS)
    options.out.orders([order for order in orders if scope.only is None or scope.only(order)])
    return None


def _started(command: tuple[str, ...]) -> Bot:
    try:
        return Bot.start(command)
    except OSError as error:
        code = NO_SUCH_COMMAND if isinstance(error, FileNotFoundError) else NOT_STARTED
        reason = f"{command[0]} cannot be started: {error.strerror}; nothing was sent"
        raise codes.NotStartedError(reason, code) from None


def _concluded(
    options: Options, followed: Followed, journal: Journal | None, *, proves_book: bool
) -> int:
    kept = [] if journal is None else [journal]
    code = conclude(options.out, followed, kept, proves_book=proves_book, leaves_none_listed=True)
    if code in FAILURES:
        options.out.note(f"NOT ALL IS KNOWN TO BE CANCELLED: {codes.MEANINGS[code]}", "bold red")
    return code


def _code(watch: Watch, ours: int) -> int:
    if watch.is_disarmed:
        return 128 + watch.asked[0]
    if watch.bot is None or (watch.bot.code == 0 and ours in FAILURES):
        return ours
    return 128 + signal.SIGKILL if watch.bot.code is None else watch.bot.code
