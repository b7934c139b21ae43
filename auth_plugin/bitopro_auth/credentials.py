"""Credentials that cannot be printed, read from environment variables or a file.

Only this module reads the environment variables `BITOPRO_*`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Self, TextIO

from attrs import Attribute, field, frozen

API_KEY = "BITOPRO_API_KEY"
API_SECRET = "BITOPRO_API_SECRET"  # noqa: S105 - the variable's name
EMAIL = "BITOPRO_EMAIL"
NAMES = (API_KEY, API_SECRET, EMAIL)
BASE_URL = "BITOPRO_BASE_URL"
STREAM_URL = "BITOPRO_STREAM_URL"


class CredentialsError(ValueError):
    """Credentials are missing or malformed. The message says which, but never contains a value."""


class Secret:
    """A text that cannot be printed; only `reveal()` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Do not assign it to a variable: tracebacks may show local variables."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


def _masked(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _check(_: object, attribute: "Attribute[Secret]", secret: Secret) -> None:
    if not isinstance(secret.reveal(), str) or not secret.reveal():
        raise CredentialsError(f"{attribute.name} must be a non-empty text")
    if secret.reveal() != secret.reveal().strip() or not secret.reveal().isprintable():
        raise CredentialsError(f"{attribute.name} must have no control characters or outer spaces")
    if attribute.name == "api_key" and not secret.reveal().isascii():
        raise CredentialsError("api_key must be ASCII: it is sent as a header")


@frozen(init=False)
class Credentials:
    """The API key, the API secret and the e-mail address that sign a request; none can be printed.

    Attributes:
        api_key: The API key.
        api_secret: The API secret.
        identity: The account's e-mail address.

    Raises:
        CredentialsError: If a value is empty, contains control characters, or begins or ends with
            white space, or if the API key is not ASCII.
    """

    api_key: Secret = field(validator=_check)
    api_secret: Secret = field(validator=_check)
    identity: Secret = field(validator=_check)

    def __init__(
        self, api_key: str | Secret, api_secret: str | Secret, identity: str | Secret
    ) -> None:
        # Masked before anything can be raised: tracebacks print arguments too.
        api_key, api_secret, identity = map(_masked, (api_key, api_secret, identity))
        self.__attrs_init__(api_key, api_secret, identity)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read BITOPRO_API_KEY, BITOPRO_API_SECRET and BITOPRO_EMAIL from the environment.

        Raises:
            CredentialsError: If some are missing or empty (it names all of these), or break a rule.
        """
        found = {name: Secret(_read(name, environ)) for name in NAMES}
        missing = [name for name, secret in found.items() if not secret.reveal()]
        if missing:
            raise CredentialsError(f"set {', '.join(missing)} in the environment")
        return cls(*(found[name] for name in NAMES))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file with lines such as BITOPRO_EMAIL=me@example.com, without quotes.

        Empty lines and lines that begin with # are skipped.

        Raises:
            CredentialsError: If others than its owner can read the file, or if a line is wrong.
        """
        found = {}
        with _opened(path) as lines:
            for number, line in enumerate(map(Secret, lines), 1):
                name = _name_of(line)
                if name in found or name not in {"", *NAMES}:
                    rule = f"one of {'=…, '.join(NAMES)}=…, each once"
                    raise CredentialsError(f"line {number} of {path} must be {rule}")
                if name:
                    found[name] = Secret(line.reveal().partition("=")[2].strip())
        if missing := [name for name in NAMES if name not in found]:
            raise CredentialsError(f"{path} lacks {', '.join(missing)}")
        return cls(*(found[name] for name in NAMES))


def _opened(path: str | os.PathLike[str]) -> TextIO:
    try:
        file = Path(path).open(encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}") from None
    # What was opened is looked at: its name may lead to another file by now.
    status = os.fstat(file.fileno())
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        file.close()
        raise CredentialsError(f"{path} must be its owner's alone: run chmod 600 {path}")
    return file


def _name_of(line: Secret) -> str:
    """Return which of `NAMES` a line gives; "" if it says nothing, "?" if something else."""
    if not line.reveal().strip() or line.reveal().lstrip().startswith("#"):
        return ""
    return next((name for name in NAMES if line.reveal().partition("=")[0].strip() == name), "?")


def base_url_from_env(environ: Mapping[str, str] | None = None) -> str | None:
    """Return BITOPRO_BASE_URL of the environment; None if it is missing or empty."""
    return _read(BASE_URL, environ) or None


def stream_url_from_env(environ: Mapping[str, str] | None = None) -> str | None:
    """Return BITOPRO_STREAM_URL of the environment; None if it is missing or empty."""
    return _read(STREAM_URL, environ) or None


def _read(name: str, environ: Mapping[str, str] | None) -> str:
    # os.environ is never bound to a name here: tracebacks print local variables.
    return (os.environ if environ is None else environ).get(name, "")
