# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
"""The types and functions that all operations share."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final, Generic, Literal, NoReturn, TypeVar

from attrs import field, fields, frozen, has

from .errors import InvalidArgument, UnexpectedStatus, UnreadableAnswer


class Unset:
    """The type of `UNSET`: an argument or a field that is left out."""

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        # There is one, also after pickling and copying: code asks whether a value is it.
        return "UNSET"


UNSET: Unset = Unset()

#: What the body is called in `Call.arguments` and in `Operation.answer_repeats`.
BODY_NAME: Final = "body"

T = TypeVar("T")

# Made once: `json.loads` makes a decoder each time it is asked for other numbers. NaN and Infinity
# are no JSON and no number either: they count as null.
_DECODE = json.JSONDecoder(parse_float=str, parse_constant=lambda _: None).decode
_PLAIN = {"str": str, "int": int, "bool": bool}
_EXACT = {"integer": int, "boolean": bool}
_STEP = re.compile(r"\{\}|\[\]|\w+")
# No documented body is so deep; one that contains itself is.
_DEEPEST = 20
_PACKAGE = __name__.removesuffix("types")
# A number in a text is no secret, and shows what is wrong.
_NUMBER = re.compile(r"[-+]?[0-9.]{1,24}")


@frozen
class RateLimit:
    """A documented rate limit.

    Attributes:
        group: The name of the limit. Operations with the same group share it.
        requests: How many requests may be sent in each period.
        period_seconds: The length of the period, in seconds.
        per: What the exchange counts by, such as `ip` and `account`.
    """

    group: str
    requests: int
    period_seconds: int
    per: tuple[str, ...]


@frozen
class Operation:
    """What the spec says about one operation.

    Attributes:
        name: The operationId, such as `cancelOrder`.
        method: The HTTP method, in capitals.
        path: The path below the base URL, with its parameters in braces.
        rate_limit: The documented limit that the operation counts towards.
        answer_repeats: For each parameter, the places in the answer that must repeat its value: a
            property, such as `orderId`; every key of an object, such as `data{}`; a property of
            every item of a list, such as `data[].pair`. For `body`, `data{}[]` means every item
            under every key of `data`; each must be in the body under the same key.
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
        content: The body, as it was received.
        headers: The headers of the answer.
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
        arguments: The texts in the path and the query, by the exchange's names; and under `body`,
            the body as JSON text.
        body: The body that is sent, as plain objects and lists.
    """

    operation: Operation
    arguments: Mapping[str, str]
    _get_kwargs: Callable[[], dict[str, Any]] = field(repr=False, alias="get_kwargs")
    _parse: Callable[[Any], T] = field(repr=False, alias="parse")
    body: Any = field(default=None, repr=False)

    def request_kwargs(self) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.request`.

        Raises:
            errors.InvalidArgument: If an argument breaks its rule.
        """
        return self._get_kwargs()

    def read(self, status: int, content: bytes, headers: Mapping[str, str]) -> Response[T]:
        """Read the answer of this call.

        Args:
            status: The HTTP status.
            content: The body.
            headers: The headers of the answer.

        Raises:
            errors.UnexpectedStatus: If the status is not a success.
            errors.UnreadableAnswer: If the body is not what the spec says, or does not repeat what
                was requested.
        """
        if not 200 <= status < 300:
            raise UnexpectedStatus(status, content)
        try:
            # Decimal text stays text even where the exchange sends a number: never a float.
            body = _DECODE(content.decode())
            parsed = fitted(self._parse(body))
            strange = [name for name in self.operation.answer_repeats if self._differs(name, body)]
        except Exception as error:
            raise UnreadableAnswer(status, content, f"{type(error).__name__}: {error}") from error
        if strange:
            raise UnreadableAnswer(status, content, f"it is not about the {strange[0]} asked for")
        return Response(status_code=status, content=content, headers=headers, parsed=parsed)

    def _differs(self, parameter: str, answer: Any) -> bool:
        """Say whether the answer names something else than what was asked for."""
        steps = _steps(self.operation.answer_repeats[parameter])
        if parameter == BODY_NAME:
            places = [at for at, step in enumerate(steps) if step in {"{}", "[]"}]
            asked = set(_named(self.body, steps[places[0] :]))
        elif parameter in self.arguments:
            asked = {(self.arguments[parameter].lower(),)}
        else:
            return False
        return not asked.issuperset(_named(answer, steps))


@cache
def _steps(echo: str) -> tuple[str, ...]:
    """Return `data[].pair` as `data`, `[]`, `pair`."""
    return tuple(_STEP.findall(echo))


def _named(node: Any, steps: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield what stands at the end of the steps, with the keys on the way, in lower case."""
    if not steps:
        yield (_text(node).lower(),)
        return
    step, *rest = steps
    if step == "[]":
        if not isinstance(node, list):
            raise TypeError(f"a list is {type(node).__name__}")
        for each in node:
            yield from _named(each, rest)
    elif not isinstance(node, dict):
        raise TypeError(f"an object is {type(node).__name__}")
    elif step == "{}":
        for key, value in node.items():
            if rest:
                yield from ((key.lower(), *names) for names in _named(value, rest))
            else:
                yield (key.lower(),)
    else:
        yield from _named(node[step], rest)


def shaped(value: Any, shape: Mapping[str, Any]) -> Any:
    """Return an answer after checking that objects and lists are where the spec has them.

    The models do not check this. In a list of texts, a whole number becomes a text, because ids are
    compared as texts.

    Raises:
        TypeError: If something else is there.
    """
    kind = shape.get("type")
    if kind == "object":
        if not isinstance(value, dict):
            raise TypeError(f"an object is {type(value).__name__}")
        known, more = shape.get("properties", {}), shape.get("additionalProperties", {})
        return {key: shaped(each, known.get(key, more)) for key, each in value.items()}
    if kind == "array":
        if not isinstance(value, list):
            raise TypeError(f"a list is {type(value).__name__}")
        return [shaped(each, shape["items"]) for each in value]
    if kind == "string":
        return _text(value)
    if kind in _EXACT and type(value) is not _EXACT[kind]:
        raise TypeError(f"{kind} is {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise TypeError(f"a text is {type(value).__name__}")
    return str(value)


def fitted(value: T) -> T:
    """Return a model after checking the type of each of its fields.

    In place of a text, a whole number becomes a text. Any other value of a wrong type, such as
    null, is left out: the field is `UNSET`. If the field is required and a text, it is empty.

    Raises:
        TypeError: If another required field has a wrong type.
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
            got = getattr(value, name)
            if not kinds:
                fitted(got)
            elif type(got) not in kinds and got is not UNSET:
                if type(got) is int and str in kinds:
                    setattr(value, name, str(got))
                elif may_lack:
                    setattr(value, name, UNSET)
                elif str in kinds:
                    setattr(value, name, "")
                else:
                    raise TypeError(f"{name} is not of its type")
    return value


@cache
def _fields_of(model: type) -> list[tuple[str, frozenset[type], bool]]:
    """Return each field's name, its plain types (none for a model), and if it may be left out."""
    found = []
    for each in fields(model):
        names = [name.strip() for name in str(each.type).split("|")]
        plain = frozenset(_PLAIN[name] for name in names if name in _PLAIN)
        found.append((each.name, plain, "Unset" in names))
    return found


def plain(value: Any) -> Any:
    """Return a text as a plain `str`, and anything else as it is.

    This way the text that is checked is also the text that is sent: a subclass, such as a member of
    an enum, may print as another text.
    """
    return str.__str__(value) if isinstance(value, str) else value


def given(name: str, value: object) -> dict[str, str]:
    """Return a text or a number under its name, as text; empty if it is left out or neither."""
    return {name: str(value)} if type(value) is str or type(value) is int else {}


def snapshot(value: Any, depth: int = 0) -> Any:
    """Return a body as plain objects, lists and texts; anything else is returned as it is.

    This way the body that is checked is also the body that is sent, even if the caller changes the
    model meanwhile.
    """
    try:
        if depth <= _DEEPEST and isinstance(value, Mapping):
            return {plain(key): snapshot(each, depth + 1) for key, each in value.items()}
        if depth <= _DEEPEST and isinstance(value, list | tuple):
            return [snapshot(each, depth + 1) for each in value]
        if depth <= _DEEPEST and hasattr(type(value), "to_dict"):
            return snapshot(value.to_dict(), depth + 1)
    except Exception:
        # A model with something strange in it; the check says what should be there.
        return value
    return plain(value)


def json_text(value: Any) -> str:
    """Return a body as compact JSON text; empty if it has no such text, as the check reports."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except Exception:
        return ""


def check_text(
    parameter: str,
    value: object,
    *,
    pattern: str,
    min_length: int,
    max_length: int,
    example: str,
) -> None:
    """Raise unless `value` is a text of which all matches the pattern.

    Raises:
        errors.InvalidArgument: Names the parameter, the rule, and what was passed.
    """
    if type(value) is not str:
        raise InvalidArgument(parameter, f"text such as {example}", type(value).__name__)
    if not min_length <= len(value) <= max_length or not _compiled(pattern).fullmatch(value):
        rule = f"text of {min_length} to {max_length} characters that matches {pattern}"
        _refuse(parameter, rule, example, value)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def check_number(
    parameter: str, value: object, *, minimum: int, maximum: int, example: int
) -> None:
    """Raise unless `value` is a whole number within the bounds.

    Raises:
        errors.InvalidArgument: Names the parameter, the rule, and what was passed.
    """
    if type(value) is not int or not minimum <= value <= maximum:
        _refuse(parameter, f"a whole number from {minimum} to {maximum}", example, value)


def check_boolean(parameter: str, value: object) -> None:
    """Raise unless `value` is True or False. The text "false" would count as true.

    Raises:
        errors.InvalidArgument: Names the parameter, the rule, and what was passed.
    """
    if type(value) is not bool:
        raise InvalidArgument(parameter, "True or False", _shown(value))


def warn_deprecated(operation: Operation) -> None:
    """Warn that an operation is deprecated. The warning names the line outside this package."""
    # Imported when it is needed: both take long, and few operations are deprecated.
    import inspect
    import warnings

    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"{operation.name} is deprecated by the exchange, which may take it away",
        DeprecationWarning,
        stacklevel=level,
    )


def check_body(value: Any, schema: Mapping[str, Any], name: str = "body") -> Any:
    """Return the body to send, after checking every part of it.

    Args:
        value: The body or a part of it, from `snapshot`.
        schema: The rule for it: the part of JSON Schema that `openapi/rules.py` allows.
        name: Its name in an error.

    Raises:
        errors.InvalidArgument: Names the place, the rule, and what was there.
    """
    kind, example = schema["type"], schema.get("example")
    if kind == "object":
        return _checked_object(value, schema, name)
    if kind == "array":
        least, most = schema["minItems"], schema.get("maxItems")
        different = "different " if schema.get("uniqueItems") else ""
        rule = f"a list of at least {least} {different}items"
        rule += "" if most is None else f" and at most {most}"
        fits = type(value) is list and least <= len(value)
        if not fits or (most is not None and len(value) > most):
            _refuse(name, rule, example, value)
        items = [check_body(each, schema["items"], f"{name}[{i}]") for i, each in enumerate(value)]
        if different and len(set(map(json_text, items))) < len(items):
            raise InvalidArgument(name, rule, "a list with the same item twice")
        return items
    if kind == "string":
        if schema.get("format") == "decimal" and isinstance(value, Decimal):
            # `str` would write an exponent; written out, a large one would fill the memory.
            fits = value.is_finite() and abs(value.adjusted()) <= schema["maxLength"]
            value = format(value, "f") if fits else value
        check_text(
            name,
            value,
            pattern=schema["pattern"],
            min_length=schema["minLength"],
            max_length=schema["maxLength"],
            example=schema["example"],
        )
    elif kind == "integer":
        check_number(
            name,
            value,
            minimum=schema["minimum"],
            maximum=schema["maximum"],
            example=schema["example"],
        )
    else:
        check_boolean(name, value)
    return value


def _checked_object(value: Any, schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    least, known = schema.get("minProperties", 0), schema.get("properties", {})
    if type(value) is not dict or len(value) < least:
        rule = f"an object with at least {least} keys" if least else "an object"
        _refuse(name, rule, schema.get("example"), value)
    for key in schema.get("required", ()):
        if key not in value:
            raise InvalidArgument(
                f"{name}.{key}", f"given, such as {known[key]['example']!r}", "left out"
            )
    result = {}
    for key, each in value.items():
        if key in known:
            result[key] = check_body(each, known[key], f"{name}.{key}")
        elif schema["additionalProperties"] is False:
            raise InvalidArgument(f"each key of {name}", f"one of {', '.join(known)}", _shown(key))
        else:
            check_body(key, schema["propertyNames"], f"each key of {name}")
            result[key] = check_body(each, schema["additionalProperties"], f"{name}[{key!r}]")
    return result


def _refuse(parameter: str, rule: str, example: object, value: object) -> NoReturn:
    raise InvalidArgument(parameter, f"{rule}, such as {example!r}", _shown(value))


def _shown(value: object) -> str:
    """Say what a value is, without quoting what may be a secret."""
    if type(value) is str:
        length = f"text of {len(value)} characters"
        return repr(value) if _NUMBER.fullmatch(value) else length
    if type(value) is dict or type(value) is list:
        return f"{'an object' if type(value) is dict else 'a list'} of {len(value)}"
    if value is None or type(value) is bool:
        return repr(value)
    if type(value) is float or (type(value) is int and abs(value) < 10**24):
        return f"the number {value!r}"
    return type(value).__name__


__all__ = [
    "BODY_NAME",
    "UNSET",
    "Call",
    "Operation",
    "RateLimit",
    "Response",
    "Unset",
    "check_body",
    "check_boolean",
    "check_number",
    "check_text",
    "fitted",
    "given",
    "json_text",
    "plain",
    "shaped",
    "snapshot",
    "warn_deprecated",
]
