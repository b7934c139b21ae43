"""Credentials that cannot be printed, and the only place that reads the environment."""

import os
from collections.abc import Mapping
from typing import NoReturn, Self

from attrs import Attribute, field, frozen

API_KEY = "BITOPRO_API_KEY"
API_SECRET = "BITOPRO_API_SECRET"  # noqa: S105 - the variable's name
EMAIL = "BITOPRO_EMAIL"
BASE_URL = "BITOPRO_BASE_URL"
STREAM_URL = "BITOPRO_STREAM_URL"


class CredentialsError(ValueError):
    """The credentials are missing or malformed. The message names them and never quotes them."""


class Secret:
    """A text without a printable form: only `reveal()` gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. Do not bind it to a name: tracebacks print local variables."""
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
    """The three texts that sign a request; none of them has a printable form.

    Attributes:
        api_key: The API key.
        api_secret: The API secret.
        identity: The account's e-mail address.

    Raises:
        CredentialsError: If one is empty, has white space around it or control characters.
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
        """Read BITOPRO_API_KEY, BITOPRO_API_SECRET and BITOPRO_EMAIL.

        Raises:
            CredentialsError: Naming every variable that is missing or empty.
        """
        found = {name: Secret(_read(name, environ)) for name in (API_KEY, API_SECRET, EMAIL)}
        missing = [name for name, secret in found.items() if not secret.reveal()]
        if missing:
            raise CredentialsError(f"set {', '.join(missing)} in the environment")
        return cls(found[API_KEY], found[API_SECRET], found[EMAIL])


def base_url_from_env(environ: Mapping[str, str] | None = None) -> str | None:
    """Read BITOPRO_BASE_URL; None if it is missing or empty."""
    return _read(BASE_URL, environ) or None


def stream_url_from_env(environ: Mapping[str, str] | None = None) -> str | None:
    """Read BITOPRO_STREAM_URL; None if it is missing or empty."""
    return _read(STREAM_URL, environ) or None


def _read(name: str, environ: Mapping[str, str] | None) -> str:
    # os.environ is never bound to a name here: tracebacks print local variables.
    return (os.environ if environ is None else environ).get(name, "")
