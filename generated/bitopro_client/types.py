# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
"""What all the endpoints share."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from attrs import field, fields, frozen, has

from .errors import InvalidArgument, UnexpectedStatus, UnreadableAnswer


class Unset:
    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        # There is one, also after pickling and copying: code asks whether a value is it.
        return "UNSET"


UNSET: Unset = Unset()

T = TypeVar("T")

# Made once: `json.loads` makes a decoder each time it is asked for other numbers. NaN and Infinity
# are no JSON and no number either: they count as null.
_DECODE = json.JSONDecoder(parse_float=str, parse_constant=lambda _: None).decode
_PLAIN = {"str": str, "int": int, "bool": bool}


@frozen
class RateLimit:
    """A documented limit.

    Attributes:
        group: The operations with the same group share the limit.
        requests: How many requests may be sent in each period.
        period_seconds: The period's length, in seconds.
        per: What the exchange counts by, such as `ip` and `account`.
    """

    group: str
    requests: int
    period_seconds: int
    per: tuple[str, ...]


@frozen
class Operation:
    """What the spec says of one operation.

    Attributes:
        name: The operationId, such as `cancelOrder`.
        method: The HTTP method, in capitals.
        path: The path below the base URL, with its parameters in braces.
        rate_limit: The documented limit that the operation counts towards.
        answer_repeats: By path parameter, the property of the answer that must repeat it.
    """

    name: str
    method: str
    path: str
    rate_limit: RateLimit
    answer_repeats: Mapping[str, str]


@frozen
class Response(Generic[T]):
    """An answer that was understood.

    Attributes:
        status_code: The HTTP status.
        content: The body as it came.
        headers: The answer's headers.
        parsed: The body as a model.
    """

    status_code: int
    content: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    parsed: T


@frozen
class Call(Generic[T]):
    """An operation with its arguments: what a client sends, and how it reads the answer.

    Attributes:
        operation: The operation.
        arguments: The path's arguments, by their names in the exchange's documents.
    """

    operation: Operation
    arguments: Mapping[str, str]
    _get_kwargs: Callable[[], dict[str, Any]] = field(repr=False, alias="get_kwargs")
    _parse: Callable[[Any], T] = field(repr=False, alias="parse")

    def request_kwargs(self) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.request`.

        Raises:
            errors.InvalidArgument: If an argument breaks its rule.
        """
        return self._get_kwargs()

    def read(self, status: int, content: bytes, headers: Mapping[str, str]) -> Response[T]:
        """Return the answer of this call.

        Args:
            status: The HTTP status.
            content: The body.
            headers: The answer's headers.

        Raises:
            errors.UnexpectedStatus: If the status is not that of a success.
            errors.UnreadableAnswer: If the body is not what the document promises, or is the
                answer to another question.
        """
        if not 200 <= status < 300:
            raise UnexpectedStatus(status, content)
        try:
            # Decimal text stays text even where the exchange sends a number: never a float.
            body = _DECODE(content.decode())
            parsed = fitted(self._parse(body))
            repeated = {
                parameter: str(body[name])
                for parameter, name in self.operation.answer_repeats.items()
            }
        except Exception as error:
            raise UnreadableAnswer(status, content, f"{type(error).__name__}: {error}") from error
        for parameter, text in repeated.items():
            if text.lower() != self.arguments[parameter].lower():
                raise UnreadableAnswer(
                    status, content, f"it is not about the {parameter} asked for"
                )
        return Response(status_code=status, content=content, headers=headers, parsed=parsed)


def fitted(value: T) -> T:
    """Return a model each of whose fields is of its type, or left out.

    A whole number in place of text is written as text, which is as exact. What else is not of its
    type, such as null, is left out: the field is `UNSET`. A text that must be there is empty.

    Raises:
        TypeError: If it is another field that must be there.
    """
    if isinstance(value, list):
        for each in value:
            fitted(each)
    elif isinstance(value, dict):
        for each in value.values():
            fitted(each)
    elif has(type(value)):
        model: type = type(value)
        for name, kinds, may_lack in _fields_of(model):
            given = getattr(value, name)
            if not kinds:
                fitted(given)
            elif type(given) not in kinds and given is not UNSET:
                if type(given) is int and str in kinds:
                    setattr(value, name, str(given))
                elif may_lack:
                    setattr(value, name, UNSET)
                elif str in kinds:
                    setattr(value, name, "")
                else:
                    raise TypeError(f"{name} is not of its type")
    return value


@cache
def _fields_of(model: type) -> list[tuple[str, frozenset[type], bool]]:
    """Return each field's name, its plain types (none for other models) and if it may be left out."""
    found = []
    for each in fields(model):
        names = [name.strip() for name in str(each.type).split("|")]
        plain = frozenset(_PLAIN[name] for name in names if name in _PLAIN)
        found.append((each.name, plain, "Unset" in names))
    return found


def plain(value: Any) -> Any:
    """Return a text as a plain `str`, anything else as it is.

    What is checked is then what is sent: a subclass, such as an enum's member, may print as
    something else than it is.
    """
    return str.__str__(value) if isinstance(value, str) else value


def check_text(
    parameter: str, value: object, *, pattern: str, min_length: int, max_length: int, example: str
) -> None:
    """Raise unless `value` is a text that matches the whole pattern.

    Raises:
        errors.InvalidArgument: Naming the parameter, the rule and what was got, never its content.
    """
    rule = f"text such as {example}, not "
    if type(value) is not str:
        raise InvalidArgument(parameter, f"{rule}{type(value).__name__}")
    if not min_length <= len(value) <= max_length or re.fullmatch(pattern, value, re.ASCII) is None:
        rule += f"a text of {len(value)} characters that does not match {pattern}"
        raise InvalidArgument(parameter, rule if value else f"text such as {example}, not empty")


def check_boolean(parameter: str, value: object) -> None:
    """Raise unless `value` is True, False or UNSET: the text "false" would count as true.

    Raises:
        errors.InvalidArgument: Naming the parameter, the rule and the type that was got.
    """
    if not isinstance(value, bool | Unset):
        raise InvalidArgument(parameter, f"True or False, not {type(value).__name__}")


__all__ = [
    "UNSET",
    "Call",
    "Operation",
    "RateLimit",
    "Response",
    "Unset",
    "check_boolean",
    "check_text",
    "fitted",
    "plain",
]
