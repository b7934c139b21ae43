"""The house rules of the spec: `make lint` runs them, so that the next operation keeps them."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

SPEC = Path(__file__).resolve().parent / "bitopro.yaml"
SECURITY = {"apiKey", "payload", "signature"}
ERRORS = {"400", "401", "403", "404", "408", "409", "422", "429", "500", "502", "503", "default"}
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
# What JavaScript's regular expressions and Python's read alike, so a pattern means one thing.
COMMON_PATTERN = re.compile(r"\^(?:[A-Za-z0-9_.|?*+()-]|\[[A-Za-z0-9_.-]+\]|\{\d+(?:,\d+)?\})+\$")
UNITS = {"timestamp": "milliseconds", "amount": "decimal text", "price": "decimal text"}

# What an answer names: a property, every key of an object (`{}`), every item of a list (`[]`).
ECHO = re.compile(r"\w+(?:\{\}|\[\]|\.\w+)*")
ECHO_STEP = re.compile(r"\{\}|\[\]|\w+")
# What the generated client checks of a body, by its type; nothing else may be demanded.
BODY_KEYS: Mapping[str, tuple[set[str], set[str]]] = {
    "object": ({"additionalProperties"}, {"properties", "required", "minProperties"}),
    "array": ({"items", "minItems"}, {"maxItems", "uniqueItems"}),
    "string": ({"pattern", "minLength", "maxLength"}, {"format"}),
    "integer": ({"minimum", "maximum"}, {"format"}),
    "boolean": (set(), set()),
}

Node = Mapping[str, Any]


def violations(document: Node) -> Iterator[str]:
    """Say, a line each, what in the document breaks OpenAPI 3.1 or a rule of this house."""
    yield from (f"openapi: {e.message}" for e in OpenAPIV31SpecValidator(document).iter_errors())
    yield from house_violations(document)


def house_violations(document: Node) -> Iterator[str]:
    """Say, a line each, what in the document breaks a rule of this house."""
    required = document.get("security", [])
    if len(required) != 1 or set(required[0]) != SECURITY:
        yield f"security: the root must require {', '.join(sorted(SECURITY))} together"
    names: set[str] = set()
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield from _operation(document, f"{method.upper()} {path}", item, method)
                yield from _neighbours(document, path, item, item[method])
                names.add(item[method].get("operationId", ""))
    if len(names) != sum(m in i for i in document.get("paths", {}).values() for m in METHODS):
        yield "paths: operationIds must be unique"
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        yield from _schema(f"schema {name}", schema)


def _operation(document: Node, where: str, item: Node, method: str) -> Iterator[str]:
    operation = item[method]
    if not re.fullmatch(r"[a-z]+([A-Z][a-z0-9]*)*", operation.get("operationId", "")):
        yield f"{where}: operationId must be in camelCase"
    for key in ("summary", "description"):
        if not operation.get(key):
            yield f"{where}: has no {key}"
    for key in ("security", "servers"):
        if key in operation:
            yield f"{where}: {key} belongs at the root"
    if len(operation.get("tags", [])) != 1:
        yield f"{where}: must have one tag"
    limit = operation.get("x-rate-limit", {})
    if limit.keys() != {"group", "requests", "period-seconds", "per"}:
        yield f"{where}: x-rate-limit must give group, requests, period-seconds and per"
    parameters = _parameters(document, item, operation)
    for parameter in parameters:
        yield from _parameter(f"{where}: parameter {parameter['name']}", parameter)
    yield from _request_body(document, where, operation, method)
    yield from _responses(document, where, operation.get("responses", {}))
    yield from _echo(document, where, operation, {p["name"]: p for p in parameters})


def _parameters(document: Node, item: Node, operation: Node) -> list[Node]:
    raw = [*item.get("parameters", []), *operation.get("parameters", [])]
    return [_resolved(document, each) for each in raw]


def _neighbours(document: Node, path: str, item: Node, operation: Node) -> Iterator[str]:
    """Say which fixed path an argument could turn this one into."""
    schemas = {p["name"]: p.get("schema", {}) for p in _parameters(document, item, operation)}
    segments = path.split("/")
    for other in document.get("paths", {}):
        fixed = other.split("/")
        differ = [(a, b) for a, b in zip(segments, fixed, strict=False) if a != b]
        if len(fixed) != len(segments) or any("{" in b or "{" not in a for a, b in differ):
            continue
        patterns = [schemas.get(a.strip("{}"), {}).get("pattern", "") for a, _ in differ]
        texts = [b for _, b in differ]
        if differ and all(
            re.fullmatch(pattern, text, re.IGNORECASE)
            for pattern, text in zip(patterns, texts, strict=True)
        ):
            yield f"{path}: an argument could turn it into {other}"


def _request_body(document: Node, where: str, operation: Node, method: str) -> Iterator[str]:
    if (method in {"put", "post"}) is not ("requestBody" in operation):
        yield f"{where}: PUT and POST sign a JSON body, and nothing else has one"
    if "requestBody" not in operation:
        return
    body = _resolved(document, operation["requestBody"])
    media = body.get("content", {}).get("application/json", {})
    if set(body.get("content", {})) != {"application/json"} or body.get("required") is not True:
        yield f"{where}: a body must be required, and JSON alone"
    elif "example" not in media or "schema" not in media:
        yield f"{where}: a body needs a schema and an example"
    else:
        yield from _part(document, f"{where}: body", media["schema"])


def _part(document: Node, where: str, raw: Node) -> Iterator[str]:
    """Say what in a body's schema the generated client would not check."""
    schema = _resolved(document, raw)
    kind = str(schema.get("type"))
    must, may = BODY_KEYS.get(kind, (set(), set()))
    if kind not in BODY_KEYS:
        yield f"{where}: the type must be one of {', '.join(BODY_KEYS)}; money is decimal text"
        return
    if kind == "object" and schema.get("additionalProperties"):
        must = must | {"propertyNames"}
    if kind != "boolean":
        must = must | {"example"}
    if missing := must - schema.keys():
        yield f"{where}: has no {', '.join(sorted(missing))}"
    if unknown := schema.keys() - must - may - {"type", "description", "example"}:
        yield f"{where}: nothing checks {', '.join(sorted(unknown))}"
    if "pattern" in schema and not COMMON_PATTERN.fullmatch(schema["pattern"]):
        yield f"{where}: the pattern must be anchored, ASCII and plain"
    if not set(schema.get("required", ())) <= schema.get("properties", {}).keys():
        yield f"{where}: a required key must be among the properties"
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(key), Mapping):
            yield from _part(document, f"{where}: {key}", schema[key])
    for name, each in schema.get("properties", {}).items():
        yield from _part(document, f"{where}: {name}", each)


def _echo(
    document: Node, where: str, operation: Node, parameters: Mapping[str, Node]
) -> Iterator[str]:
    repeats = operation.get("x-answer-repeats", {})
    why = operation.get("x-answer-repeats-nothing", "")
    if bool(repeats) is bool(why) or not isinstance(why, str):
        yield (
            f"{where}: x-answer-repeats must say how the answer names what was asked for, or "
            "x-answer-repeats-nothing why it does not"
        )
    success = next((v for k, v in operation.get("responses", {}).items() if k[0] == "2"), {})
    media = _resolved(document, success).get("content", {}).get("application/json", {})
    for name, echo in repeats.items():
        place = f"{where}: x-answer-repeats: {name}"
        is_body = name == "body" and "requestBody" in operation
        if not is_body and parameters.get(name, {}).get("schema", {}).get("type") != "string":
            yield f"{place}: is neither a text of path or query nor the body"
        if not isinstance(echo, str) or not ECHO.fullmatch(echo):
            yield f"{place}: must be such as orderId, data{{}}, data[].pair or data{{}}[]"
        elif is_body and not {"{}", "[]"} & set(ECHO_STEP.findall(echo)):
            yield f"{place}: must name keys or items, such as data{{}}[]"
        elif not _leads_somewhere(document, media.get("schema", {}), ECHO_STEP.findall(echo)):
            yield f"{place}: the answer's schema does not demand it"


def _leads_somewhere(document: Node, raw: Node, steps: list[str]) -> bool:
    """Say whether an answer by this schema always has what the steps lead to."""
    schema = _resolved(document, raw)
    if not steps:
        return schema.get("type") in ("string", "integer")
    step, *rest = steps
    if step == "[]":
        return _leads_somewhere(document, schema.get("items", {}), rest)
    if step == "{}":
        more = schema.get("additionalProperties", {})
        return bool(more) and (not rest or _leads_somewhere(document, more, rest))
    is_there = step in schema.get("required", ())
    return is_there and _leads_somewhere(document, schema["properties"][step], rest)


def _parameter(where: str, parameter: Node) -> Iterator[str]:
    schema = parameter.get("schema", {})
    if schema.get("type") not in ("string", "boolean"):
        yield f"{where}: only texts and booleans are checked before they are sent"
    if parameter.get("in") == "header":
        yield f"{where}: headers are the security schemes' business"
    if not parameter.get("description"):
        yield f"{where}: has no description"
    if "example" not in parameter or "example" not in schema:
        yield f"{where}: has no example, on itself and on its schema"
    if "default" in schema:
        yield f"{where}: a default would always be sent"
    if schema.get("type") == "string":
        if not {"pattern", "minLength", "maxLength"} <= schema.keys():
            yield f"{where}: a text needs pattern, minLength and maxLength"
        elif not COMMON_PATTERN.fullmatch(schema["pattern"]):
            yield f"{where}: the pattern must be anchored, ASCII and plain"
        elif any(re.fullmatch(schema["pattern"], text) for text in ("", ".", "..", "all", "a/b")):
            yield f"{where}: the pattern lets through what would turn into another path"


def _responses(document: Node, where: str, responses: Node) -> Iterator[str]:
    if missing := ERRORS - responses.keys():
        yield f"{where}: has no response for {', '.join(sorted(missing))}"
    if len([status for status in responses if status.startswith("2")]) != 1:
        yield f"{where}: must have one success"
    for status, raw in responses.items():
        response = _resolved(document, raw)
        media = response.get("content", {}).get("application/json", {})
        if "schema" not in media or "example" not in media:
            yield f"{where}: response {status} needs a JSON schema and an example body"


def _schema(where: str, schema: Node) -> Iterator[str]:
    if not schema.get("description"):
        yield f"{where}: has no description"
    for name, value in schema.get("properties", {}).items():
        place = f"{where}: property {name}"
        if "$ref" in value:
            continue
        description = value.get("description", "")
        if not description:
            yield f"{place}: has no description"
        if "example" not in value:
            yield f"{place}: has no example"
        if "enum" in value or "const" in value:
            yield f"{place}: an enum would refuse a value that the exchange adds tomorrow"
        if value.get("type") == "number":
            yield f"{place}: a number would become a float; money is decimal text"
        for ending, unit in UNITS.items():
            if name.lower().endswith(ending) and unit not in description:
                yield f"{place}: the description must name the unit, {unit}"


def _resolved(document: Node, node: Node) -> Node:
    while "$ref" in node:
        target: Any = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def main() -> int:
    """Print the violations of `openapi/bitopro.yaml`; return the exit code."""
    found = list(violations(yaml.safe_load(SPEC.read_text("utf-8"))))
    print("\n".join(found) or f"openapi/{SPEC.name} keeps the rules of the house")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
