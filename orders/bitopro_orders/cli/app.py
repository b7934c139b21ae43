"""The group of commands, the options that they share, and the line and exit code of an error."""

import asyncio
import contextlib
import logging
import math
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import define, field

from bitopro_auth import Credentials, CredentialsError
from bitopro_orders import __version__
from bitopro_orders.connection import OrdersClient, connect
from bitopro_orders.policy import require_seconds

from . import codes
from .output import Output, open_streams

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

PIPE = "this is no terminal, so nothing can be confirmed: add --yes (or --dry-run to look)"


@define
class Options:
    """The values of the options that all commands share, given before or after the command's name.

    Attributes:
        json: Whether stdout gets JSON objects.
        yes: Whether nobody needs to be asked for confirmation.
        dry_run: Whether nothing may be sent that changes anything.
        journal: The file to write the journal to; None for a new file in the state folder.
        no_journal: Whether to write no journal.
        timeout: The time limit, in seconds; None where none was given and the command has no
            default.
        base_url: The URL of the API; None for that of the environment.
        credentials: The file with the credentials; None for those of the environment.
        out: Prints.
    """

    json: bool = False
    yes: bool = False
    dry_run: bool = False
    journal: Path | None = None
    no_journal: bool = False
    timeout: float | None = None
    base_url: str | None = None
    credentials: Path | None = None
    out: Output = field(factory=Output)
    _runner: asyncio.Runner = field(factory=asyncio.Runner, init=False)
    _client: OrdersClient | None = field(default=None, init=False)

    @property
    def client(self) -> OrdersClient:
        """The client of this command.

        Raises:
            CredentialsError: If credentials are missing, or others can read their file.
        """
        if self._client is None:
            self._client = connect(self._credentials(), base_url=self.base_url)
        return self._client

    @property
    def seconds(self) -> float:
        """How long it may take."""
        return math.inf if self.timeout is None else self.timeout

    def _credentials(self) -> Credentials:
        if self.credentials is not None:
            return Credentials.from_file(self.credentials)
        try:
            return Credentials.from_env()
        except CredentialsError as error:
            raise CredentialsError(f"{error}, or give --credentials FILE") from None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the only event loop of this process.

        Raises:
            StoppedError: At Ctrl-C, if the coroutine does not handle it itself.
        """
        try:
            return self._runner.run(work)
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise codes.StoppedError from None

    def close(self) -> None:
        """Close the client's connections and the event loop."""
        if self._client is not None:
            with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
                self._runner.run(self._client.__aexit__())
        self._runner.close()

    def require_confirmable(self) -> None:
        """Raise unless there is --yes or --dry-run, or a terminal to ask on.

        Raises:
            NotConfirmedError: If nobody can be asked.
        """
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        if not (self.yes or self.dry_run or is_terminal):
            raise codes.NotConfirmedError(PIPE)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401
    """Keep an option that may stand before and after the command's name."""
    options = context.ensure_object(Options)
    name = str(parameter.name)
    source = context.get_parameter_source(name)
    if source is not None and source.name == "COMMANDLINE":
        setattr(options, name, value)
        if name == "json":
            options.out.is_json = value
        if name == "timeout":
            require_seconds("--timeout", value)
    elif name == "timeout" and options.timeout is None:
        options.timeout = value


def _option(*names: str, **attributes: Any) -> Callable[[F], F]:  # noqa: ANN401
    return click.option(*names, expose_value=False, callback=_keep, **attributes)


_REACHING = (
    _option("--json", is_flag=True, help="Print one JSON object per line on stdout."),
    _option(
        "--base-url",
        metavar="URL",
        help="The URL of the API; by default BITOPRO_BASE_URL, or else the exchange.",
    ),
    _option(
        "--credentials",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A file with lines such as BITOPRO_API_KEY=…, which only you can read.",
    ),
)


def dry(command: F) -> F:
    """Add the option --dry-run to a command."""
    option = _option(
        "--dry-run",
        is_flag=True,
        help="Show what would be done, and change nothing at the exchange.",
    )
    return option(command)


_CHANGING = (
    _option("--yes", "-y", is_flag=True, help="Do not ask for confirmation."),
    dry,
    _option(
        "--journal",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The file to write the journal to.",
    ),
    _option("--no-journal", is_flag=True, help="Write no journal."),
)


def reaching(seconds: float | None = None) -> Callable[[F], F]:
    """Add the options of a command that sends requests, and its default time limit."""
    timeout = _option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=seconds,
        show_default=seconds is not None,
        help="The time limit.",
    )

    def add(command: F) -> F:
        for option in (*reversed(_REACHING), timeout):
            command = option(command)
        return command

    return add


def changing(seconds: float | None = None) -> Callable[[F], F]:
    """Add the options of a command that changes something, and its default time limit."""

    def add(command: F) -> F:
        for option in reversed(_CHANGING):
            command = option(command)
        return reaching(seconds)(command)

    return add


def scoped(command: F) -> F:
    """Add the options that select open orders."""
    for option in (
        click.option(
            "--lists-untriggered",
            is_flag=True,
            help="State that the exchange's listing contains stop-limit orders that are not "
            "triggered.",
        ),
        click.option(
            "--client-id", metavar="A-B", help="Only orders whose clientId is from A to B."
        ),
        click.option("--pair", metavar="PAIR", help="Only orders of this pair."),
    ):
        command = option(command)
    return command


class _Notes(logging.Handler):
    """Prints what the library warns of, above the bar, in a line."""

    def __init__(self, out: Output) -> None:
        super().__init__(logging.WARNING)
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Print it without a traceback."""
        self._out.note(f"bitopro: {record.getMessage()}", "yellow")


def examples(*lines: str) -> str:
    """Return lines as a help text that is not wrapped."""
    return "\n".join(["\b", *lines])


@click.group(
    epilog=examples(
        "Examples:",
        "  bitopro open                         list the open orders",
        "  bitopro cancel BTC_TWD 2959906694    cancel it, and find out what became of it",
        "  bitopro cancel-all                   cancel every open order",
        "  bitopro resolve                      find out what became of unknown orders",
        "",
        "\b",
        "Exit codes (if several apply, the worst):",
        *(f"  {code:<4} {meaning}" for code, meaning in codes.MEANINGS.items()),
    ),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="bitopro %(version)s")
@changing()
@click.pass_context
def app(context: click.Context) -> None:
    """Cancel orders on the BitoPro exchange, and find out what became of each."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: The arguments of the command line.

    Returns:
        The exit code.
    """
    open_streams()
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    options = Options(out=Output(is_json="--json" in ours))
    logging.getLogger("bitopro_orders").addHandler(_Notes(options.out))
    # What others log is for nobody here, and asyncio logs tracebacks.
    logging.getLogger().addHandler(logging.NullHandler())
    error: BaseException | None = None
    code: Any = codes.OK
    try:
        try:
            from . import changing, commands, guarding  # noqa: F401 - they add their commands

            code = app.main(
                list(arguments), prog_name="bitopro", obj=options, standalone_mode=False
            )
        finally:
            options.close()
    except BaseException as failure:
        if isinstance(failure, SystemExit):
            raise
        error = failure
    if error is not None:
        code = options.out.fail(error)
    with contextlib.suppress(KeyboardInterrupt):
        options.out.close(code or codes.OK)
    return code or codes.OK
