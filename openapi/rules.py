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
COMMON_PATTERN = re.compile(r"\^(?:[A-Za-z0-9_.|?*+()-]|\[[A-Za-z0-9_-]+\]|\{\d+(?:,\d+)?\})+\$")
UNITS = {"timestamp": "milliseconds", "amount": "decimal text", "price": "decimal text"}

Node = Mapping[str, Any]


def violations(document: Node) -> Iterator[str]:
    """Say, a line each, what in the document breaks OpenAPI 3.1 or a rule of this house."""
    yield from (f"openapi: {e.message}" for e in OpenAPIV31SpecValidator(document).iter_errors())
    required = document.get("security", [])
    if len(required) != 1 or set(required[0]) != SECURITY:
        yield f"security: the root must require {', '.join(sorted(SECURITY))} together"
    names: set[str] = set()
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield from _operation(document, f"{method.upper()} {path}", item, method)
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
    if "{" in where and not operation.get("x-answer-repeats"):
        yield f"{where}: x-answer-repeats must say how the answer names what was asked for"
    for raw in [*item.get("parameters", []), *operation.get("parameters", [])]:
        parameter = _resolved(document, raw)
        yield from _parameter(f"{where}: parameter {parameter['name']}", parameter)
    yield from _responses(document, where, operation.get("responses", {}))


def _parameter(where: str, parameter: Node) -> Iterator[str]:
    schema = parameter.get("schema", {})
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
