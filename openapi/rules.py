"""The house rules of the spec: what the templates and the tests know is allowed, and nothing else.

`make generate` asks them before it generates, and `make lint` next to OpenAPI's own. Each violation
is a line that names the place and the rule. tests/test_shapes.py generates an operation from every
shape that is allowed here, and uses it.
"""

import builtins
import keyword
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

SPEC = Path(__file__).resolve().parent / "bitopro.yaml"
# What the signer sends: another name, or another header, would not follow from the spec.
SECURITY = {
    "apiKey": "X-BITOPRO-APIKEY",
    "payload": "X-BITOPRO-PAYLOAD",
    "signature": "X-BITOPRO-SIGNATURE",
}
SUCCESSES = {"200", "201", "202"}
ERRORS = {"400", "401", "403", "404", "408", "409", "422", "429", "500", "502", "503", "default"}
METHODS = {"get", "put", "post", "delete"}
CALLERS = {"ip", "account"}
# What is larger, the throttle and the generator cannot count with.
MOST_OF_LIMIT = 1_000_000
MOST_OF_NUMBER = 2**63 - 1
UNITS = {"timestamp": "milliseconds", "amount": "decimal text", "price": "decimal text"}

# What JavaScript's regular expressions and Python's read alike, so a pattern means one thing.
COMMON_PATTERN = re.compile(r"\^(?:[A-Za-z0-9_.|?*+()-]|\[[A-Za-z0-9_.-]+\]|\{\d+(?:,\d+)?\})+\$")
# Repeated groups: a text that nearly matches may be looked at for ever.
REPEATED_GROUP = re.compile(r"\)[*+{]")
# Python alone knows them.
POSSESSIVE = re.compile(r"[*+?}]\+")
GROUP = re.compile(r"\([^()]*\)")
SERVER = re.compile(r"https://[a-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~-]+)*")
FIXED_SEGMENT = re.compile(r"[a-z0-9-]+")
OPERATION_ID = re.compile(r"[a-z]+([A-Z][a-z0-9]*)*")
SURROGATE = re.compile("[\ud800-\udfff]")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
MODEL = re.compile(r"[A-Z][A-Za-z0-9]*")
# What an answer names: a property, every key of an object (`{}`), every item of a list (`[]`).
ECHO = re.compile(r"\w+(?:\{\}|\[\]|\.\w+)*")
ECHO_STEP = re.compile(r"\{\}|\[\]|\w+")

# What the generated client checks of what is sent, by its type: what must and what may be said.
CHECKED: Mapping[str, tuple[set[str], set[str]]] = {
    "object": ({"additionalProperties"}, {"properties", "required", "minProperties"}),
    "array": ({"items", "minItems"}, {"maxItems", "uniqueItems"}),
    "string": ({"pattern", "minLength", "maxLength"}, {"format"}),
    "integer": ({"minimum", "maximum"}, {"format"}),
    "boolean": (set(), set()),
}
# What it understands of an answer.
UNDERSTOOD: Mapping[str, tuple[set[str], set[str]]] = {
    "object": (set(), {"properties", "required", "additionalProperties"}),
    "array": ({"items"}, set()),
    "string": (set(), set()),
    "integer": (set(), {"format"}),
    "boolean": (set(), set()),
    "string or integer": (set(), set()),
}
PLAIN = {"string", "integer", "boolean"}
FORMATS = {"string": {"decimal"}, "integer": {"int32", "int64"}}
AN_ENUM = (
    "in an answer it would refuse a value that the exchange adds tomorrow; what is sent has a "
    "pattern, such as ^(BUY|SELL)$"
)
WHY = {
    "const": AN_ENUM,
    "default": "it would always be sent",
    "enum": AN_ENUM,
    "security": "it belongs at the root",
    "servers": "it belongs at the root",
}

# What the generated code uses itself, in small letters without underscores.
OF_MODULES = {
    "asyncio", "asynciodetailed", "body", "call", "cast", "checkbody", "checkboolean",
    "checknumber", "checktext", "client", "given", "headers", "jsontext", "k", "params", "partial",
    "plain", "quote", "shaped", "snapshot", "sync", "syncdetailed", "url", "v", "warndeprecated",
}  # fmt: skip
OF_MODELS = {
    "additionalkeys", "additionalproperties", "additionalproperty", "additionalpropertydata",
    "additionalpropertyitem", "additionalpropertyitemdata", "cast", "cls", "d", "fielddict",
    "fromdict", "prop", "propdict", "propname", "self", "srcdict", "todict",
}  # fmt: skip
OF_TYPES = {
    "any", "annotations", "binaryio", "body", "call", "client", "final", "generator", "mapping",
    "names", "operation", "ratelimit", "response", "shape", "t", "textio", "typechecking",
    "typevar", "unset",
}  # fmt: skip

Node = Mapping[str, Any]
#: What looking at a document raises that is not even of the form in which it is looked at.
NOT_OF_FORM = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, re.error,
)  # fmt: skip


def violations(document: Node) -> Iterator[str]:
    """Say, a line each, what in the document breaks a rule of this house, or else OpenAPI 3.1."""
    # The generator's environment has no need of it.
    from openapi_spec_validator import OpenAPIV31SpecValidator

    yield from (broken := list(house_violations(document)))
    if not broken:  # or it would fail where a reference leads nowhere
        found = OpenAPIV31SpecValidator(document).iter_errors()
        yield from (f"openapi: {each.message}" for each in found)


def house_violations(document: Node) -> Iterator[str]:
    """Say, a line each, what in the document breaks a rule of this house; whatever it is."""
    broken = list(_surely("the document", _formal("the document", document, document)))
    yield from broken
    if not broken:
        yield from _surely("the document", _root(document))
        yield from _surely("paths", _paths(document))
        yield from _surely("components", _components(document))


def _surely(where: str, found: Iterator[str]) -> Iterator[str]:
    """Refuse also what is not even of the form in which a rule looks at it."""
    try:
        yield from found
    except NOT_OF_FORM as error:
        yield f"{where}: is not in the form of OpenAPI 3.1 ({type(error).__name__}: {error})"


def _formal(where: str, node: object, document: Node) -> Iterator[str]:
    """Say which texts cannot be written, which keys are none, and which references lead nowhere."""
    if isinstance(node, str) and SURROGATE.search(node):
        yield f"{where}: a text must be one that UTF-8 can write, without half a surrogate pair"
    if isinstance(node, list):
        for at, each in enumerate(node):
            yield from _formal(f"{where}[{at}]", each, document)
    if not isinstance(node, Mapping):
        return
    for key, each in node.items():
        if not isinstance(key, str):
            yield f"{where}: the key {key!r} must be text, in quotes"
        yield from _formal(f"{where}: {key}", each, document)
    if "$ref" in node:
        match str(node["$ref"]).split("/"):
            case ["#", "components", ("parameters" | "responses" | "schemas") as kind, name]:
                target = (document.get("components") or {}).get(kind) or {}
                if not isinstance(target.get(name), Mapping) or "$ref" in target[name]:
                    yield f"{where}: {node['$ref']} must lead to a component"
            case _:
                yield f"{where}: {node['$ref']} must lead to a component of this document"
        if len(node) > 1:
            yield f"{where}: nothing may stand beside a $ref"


def _keys(
    where: str, node: Node, must: Collection[str], may: Collection[str] = ()
) -> Iterator[str]:
    if missing := sorted({*must} - node.keys()):
        yield f"{where}: has no {', '.join(missing)}"
    for key in sorted(node.keys() - {*must, *may}):
        why = WHY.get(key, "nothing checks it or makes use of it")
        yield f"{where}: {key} is not allowed: {why}"


def _texts(where: str, node: Node, *keys: str) -> Iterator[str]:
    for key in keys:
        if not isinstance(node.get(key, "-"), str) or not node.get(key, "-").strip():
            yield f"{where}: {key} must be text"


def resolved(document: Node, node: Any) -> Any:  # noqa: ANN401 - as YAML gives it
    """Return what a reference within the document leads to; anything else as it is."""
    while isinstance(node, Mapping) and str(node.get("$ref", "")).startswith("#/"):
        target: Any = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def _same(name: str) -> str:
    """Return what two names share that Python, or the generator, takes for one."""
    return name.replace("_", "").lower()


def _twice(names: Collection[str]) -> list[str]:
    same = [_same(name) for name in names]
    return sorted({name for name in names if same.count(_same(name)) > 1})


def _is_pythons(name: str) -> bool:
    return keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name)


# The root ----------------------------------------------------------------------------------------


def _root(document: Node) -> Iterator[str]:
    yield from _keys(
        "the document",
        document,
        {"openapi", "info", "servers", "tags", "security", "paths", "components"},
        {"externalDocs"},
    )
    if not re.fullmatch(r"3\.1\.\d+", str(document.get("openapi"))):
        yield "openapi: must be 3.1, such as 3.1.0"
    about = ("title", "version", "summary", "description")
    info = document.get("info", {})
    yield from _keys("info", info, about, {"contact", "license", "termsOfService"})
    yield from _texts("info", info, *about)
    required = document.get("security", [])
    if len(required) != 1 or required[0] != {name: [] for name in SECURITY}:
        yield f"security: the root must require {', '.join(SECURITY)} together"
    yield from _servers(document.get("servers", []))
    for tag in document.get("tags", []):
        yield from _keys(f"tag {tag.get('name')}", tag, {"name", "description"})
        if not re.fullmatch("[a-z]+", str(tag.get("name"))) or _is_pythons(tag["name"]):
            yield f"tag {tag.get('name')}: must be one word in small letters, and not Python's"


def _servers(servers: list[Node]) -> Iterator[str]:
    if len(servers) != 1:
        yield "servers: there must be one: the client goes to the first"
    for server in servers:
        yield from _keys("servers", server, {"url", "description"})
        if not SERVER.fullmatch(str(server.get("url"))):
            yield "servers: the url must be https://host[/path], without a slash at its end"


# Operations --------------------------------------------------------------------------------------


def _paths(document: Node) -> Iterator[str]:
    names: list[str] = []
    limits: dict[str, tuple[str, Node]] = {}
    for path, item in document["paths"].items():
        yield from _keys(path, item, (), METHODS)
        if not item:
            yield f"{path}: has no operation"
        for method in sorted(METHODS & item.keys()):
            where, operation = f"{method.upper()} {path}", item[method]
            yield from _surely(where, _operation(document, where, path, method, operation))
            yield from _surely(where, _neighbours(document, path, operation))
            names.append(str(operation.get("operationId")))
            limit = operation.get("x-rate-limit")
            if isinstance(limit, Mapping):
                first, other = limits.setdefault(str(limit.get("group")), (where, limit))
                if other != limit:
                    yield (
                        f"{where}: x-rate-limit: {first} gives the group {limit.get('group')} "
                        "another limit"
                    )
    for name in _twice(names):
        yield f"paths: operationIds must be unique, also without regard to case: {name}"


def _operation(
    document: Node, where: str, path: str, method: str, operation: Node
) -> Iterator[str]:
    yield from _keys(
        where,
        operation,
        {"operationId", "tags", "summary", "description", "x-rate-limit", "responses"},
        {
            *{"parameters", "requestBody", "deprecated"},
            *{"x-answer-repeats", "x-answer-repeats-nothing"},
        },
    )
    name = operation.get("operationId", "")
    if not OPERATION_ID.fullmatch(name) or _is_pythons(name):
        yield f"{where}: operationId must be in camelCase, and no word of Python's"
    yield from _texts(where, operation, "summary", "description")
    tags = operation.get("tags", [])
    if len(tags) != 1 or tags[0] not in [tag.get("name") for tag in document.get("tags", [])]:
        yield f"{where}: must have one tag, of those at the root"
    if not isinstance(operation.get("deprecated", True), bool):
        yield f"{where}: deprecated must be true or false"
    yield from _limit(f"{where}: x-rate-limit", operation.get("x-rate-limit", {}))
    yield from _path(where, path, _parameters(document, operation))
    yield from _request_body(document, where, operation, method)
    yield from _responses(document, where, operation.get("responses", {}))
    yield from _echo(document, where, operation)


def _limit(where: str, limit: Node) -> Iterator[str]:
    yield from _keys(where, limit, {"group", "requests", "period-seconds", "per"})
    if not NAME.fullmatch(str(limit.get("group"))):
        yield f"{where}: group must be a name, such as cancelOrder"
    for key in ("requests", "period-seconds"):
        if type(limit.get(key)) is not int or not 1 <= limit[key] <= MOST_OF_LIMIT:
            yield f"{where}: {key} must be a whole number from 1 to {MOST_OF_LIMIT}"
    per = limit.get("per")
    if not isinstance(per, list) or not per or {*per} - CALLERS or len({*per}) < len(per):
        yield f"{where}: per must be a list of {' and '.join(sorted(CALLERS))}"


def _parameters(document: Node, operation: Node) -> list[Node]:
    return [resolved(document, each) for each in operation.get("parameters", [])]


def _path(where: str, path: str, parameters: list[Node]) -> Iterator[str]:
    for parameter in parameters:
        place = f"{where}: parameter {parameter.get('name')}"
        yield from _surely(place, _parameter(place, parameter))
    names = [str(parameter.get("name")) for parameter in parameters]
    for name in _twice(names):
        yield f"{where}: parameter {name}: another has the same name, or nearly"
    segments = path.split("/")[1:]
    fixed = [each for each in segments if not re.fullmatch(r"\{\w+\}", each)]
    if not path.startswith("/") or not all(map(FIXED_SEGMENT.fullmatch, fixed)):
        yield f"{where}: a path is of /fixed-parts and of /{{parameters}}"
    in_path = sorted(p["name"] for p in parameters if p.get("in") == "path")
    if in_path != sorted(each[1:-1] for each in segments if each not in fixed):
        yield f"{where}: the parameters in the path must be those that are described, once each"


def _parameter(where: str, parameter: Node) -> Iterator[str]:
    yield from _keys(
        where, parameter, {"name", "in", "required", "description", "schema", "example"}
    )
    yield from _texts(where, parameter, "description")
    name, place, schema = parameter["name"], parameter["in"], parameter["schema"]
    if not NAME.fullmatch(name):
        yield f"{where}: the name must be letters and digits, such as orderId"
    if _same(name) in OF_MODULES:
        yield f"{where}: the generated code uses this name itself"
    if place not in ("path", "query"):
        yield f"{where}: must be in path or query; headers are the security schemes' business"
    if type(parameter["required"]) is not bool or (place == "path" and not parameter["required"]):
        yield f"{where}: required must be true or false, and true in a path"
    kind = schema.get("type")
    if kind not in PLAIN or (kind == "boolean" and place == "path"):
        yield f"{where}: only texts, whole numbers and, in the query, booleans are checked"
        return
    must, may = CHECKED[kind]
    yield from _keys(where, schema, must | {"type", "example"}, may)
    yield from _leaf(where, schema)
    if schema.get("format") == "decimal":
        yield f"{where}: format decimal is for what stands in a body"
    if parameter.get("example") != schema.get("example"):
        yield f"{where}: the example on itself and on its schema must be the same"
    if place == "path" and kind == "integer" and schema.get("minimum", 0) < 0:
        yield f"{where}: minimum must be 0 or more in a path"
    others = ("", ".", "..", "all", "a/b") if place == "path" and kind == "string" else ()
    if any(re.fullmatch(schema.get("pattern", ""), text) for text in others):
        yield f"{where}: the pattern lets through what would turn into another path"


def _leaf(where: str, schema: Node) -> Iterator[str]:
    """Say what is wrong with the rule of a text, a whole number or a boolean that is sent."""
    kind = schema["type"]
    example: Any = schema.get("example")
    if "format" in schema and schema["format"] not in FORMATS.get(kind, ()):
        yield f"{where}: format must be {' or '.join(sorted(FORMATS.get(kind, {'left out'})))}"
    if kind == "boolean":
        if "example" in schema and type(example) is not bool:
            yield f"{where}: the example must be true or false"
        return
    least, most = ("minLength", "maxLength") if kind == "string" else ("minimum", "maximum")
    low, high = schema.get(least), schema.get(most)
    if type(low) is not int or type(high) is not int or low > high:
        yield f"{where}: {least} and {most} must be whole numbers, in this order"
        return
    if max(-low, high) > MOST_OF_NUMBER:
        yield f"{where}: {least} and {most} must be numbers of 64 bits"
    if kind == "integer":
        if type(example) is not int or not low <= example <= high:
            yield f"{where}: the example must keep the rule"
        return
    pattern = schema.get("pattern")
    if not isinstance(pattern, str) or not COMMON_PATTERN.fullmatch(pattern):
        yield f"{where}: the pattern must be anchored, ASCII and plain"
        return
    inner = pattern
    while inner != (inner := GROUP.sub("", inner)):
        pass
    if POSSESSIVE.search(pattern):
        yield f"{where}: the pattern must have no possessive quantifier, such as ++"
    elif REPEATED_GROUP.search(pattern) or "|" in inner:
        yield f"{where}: a group of the pattern must not be repeated, an alternative be in a group"
    elif not low <= len(str(example)) <= high or not re.fullmatch(pattern, example):
        yield f"{where}: the example must keep the rule"
    if low < 1:
        yield f"{where}: minLength must be 1 or more: an empty text may mean all"


def _neighbours(document: Node, path: str, operation: Node) -> Iterator[str]:
    """Say which fixed path an argument could turn this one into."""
    schemas = {p["name"]: p.get("schema", {}) for p in _parameters(document, operation)}
    segments = path.split("/")
    for other in document["paths"]:
        fixed = other.split("/")
        differ = [(a, b) for a, b in zip(segments, fixed, strict=False) if a != b]
        if len(fixed) != len(segments) or any("{" in b or "{" not in a for a, b in differ):
            continue
        rules = [schemas.get(a.strip("{}"), {}) for a, _ in differ]
        if differ and all(
            text.isdecimal()
            if rule.get("type") == "integer"
            else re.fullmatch(rule.get("pattern", ""), text, re.IGNORECASE)
            for rule, (_, text) in zip(rules, differ, strict=True)
        ):
            yield f"{path}: an argument could turn it into {other}"


# What is sent ------------------------------------------------------------------------------------


def _request_body(document: Node, where: str, operation: Node, method: str) -> Iterator[str]:
    if (method in {"put", "post"}) is not ("requestBody" in operation):
        yield f"{where}: PUT and POST sign a JSON body, and nothing else has one"
    if "requestBody" not in operation:
        return
    body = operation["requestBody"]
    yield from _keys(f"{where}: body", body, {"required", "content"}, {"description"})
    content = body.get("content", {})
    if set(content) != {"application/json"} or body.get("required") is not True:
        yield f"{where}: a body must be required, and JSON alone"
        return
    media = content["application/json"]
    if media.keys() != {"schema", "example"}:
        yield f"{where}: a body needs a schema and an example, and nothing else"
        return
    kind = resolved(document, media["schema"]).get("type")
    if kind == "object" and "$ref" not in media["schema"]:
        yield f"{where}: body: an object must be named in components/schemas"
    elif kind not in ("object", "array"):
        yield f"{where}: body: must be an object or a list"
    yield from _part(document, f"{where}: body", media["schema"])


def _part(document: Node, where: str, raw: Node) -> Iterator[str]:
    """Say what in a body's schema the generated client would not check."""
    schema = resolved(document, raw)
    kind = str(schema.get("type"))
    if kind not in CHECKED:
        yield f"{where}: the type must be one of {', '.join(CHECKED)}; money is decimal text"
        return
    must, may = CHECKED[kind]
    must, may = must | {"type"}, may | {"description", "example"}
    if kind == "object" and schema.get("additionalProperties"):
        must, may = must | {"propertyNames"}, may - {"properties"}
    elif kind == "object":
        must, may = must | {"properties"}, may - {"minProperties"}
    if kind != "boolean":
        must = must | {"example"}
    yield from _keys(where, schema, must, may)
    if kind in PLAIN:
        yield from _leaf(where, schema)
    if kind == "array":
        yield from _counts(where, schema, "minItems", "maxItems")
        yield from _inside(document, f"{where}: items", schema.get("items"))
        if type(schema.get("uniqueItems", True)) is not bool:
            yield f"{where}: uniqueItems must be true or false"
    if kind == "object":
        yield from _counts(where, schema, "minProperties", "maxProperties")
        if not set(schema.get("required", ())) <= schema.get("properties", {}).keys():
            yield f"{where}: a required key must be among the properties"
        more = schema.get("additionalProperties")
        if more is not False:
            yield from _inside(document, f"{where}: additionalProperties", more)
            yield from _part(document, f"{where}: propertyNames", schema.get("propertyNames", {}))
            if schema.get("propertyNames", {}).get("type") != "string":
                yield f"{where}: propertyNames: keys are texts"
        for name, each in schema.get("properties", {}).items():
            yield from _inside(document, f"{where}: {name}", each)


def _counts(where: str, schema: Node, least: str, most: str) -> Iterator[str]:
    low, high = schema.get(least, 0), schema.get(most, sys.maxsize)
    if type(low) is not int or type(high) is not int or not 0 <= low <= high:
        yield f"{where}: {least} and {most} must be whole numbers, in this order"


def _inside(document: Node, where: str, raw: object) -> Iterator[str]:
    """Say what is wrong with what stands in an object or in a list that is sent."""
    if not isinstance(raw, Mapping):
        yield f"{where}: must be a schema"
        return
    if raw.get("type") == "object":
        yield f"{where}: an object must be named in components/schemas"
    yield from _part(document, where, raw)


# What is answered --------------------------------------------------------------------------------


def _responses(document: Node, where: str, responses: Node) -> Iterator[str]:
    if missing := ERRORS - responses.keys():
        yield f"{where}: has no response for {', '.join(sorted(missing))}"
    if len(SUCCESSES & responses.keys()) != 1:
        yield f"{where}: must have one success, of {', '.join(sorted(SUCCESSES))}"
    for status, raw in responses.items():
        place = f"{where}: response {status}"
        if status not in SUCCESSES | {"default"} and not re.fullmatch(r"[45]\d\d", status):
            yield f"{place}: must be one of the successes, a 4xx, a 5xx, or default"
        response = resolved(document, raw)
        yield from _keys(place, response, {"description", "content"})
        content = response.get("content", {})
        if set(content) != {"application/json"}:
            yield f"{place}: must be JSON alone"
            continue
        media = content["application/json"]
        if media.keys() != {"schema", "example"}:
            yield f"{place}: needs a JSON schema and an example body, and nothing else"
            continue
        kind = media["schema"].get("type")
        if "$ref" not in media["schema"] and kind != "array":
            yield f"{place}: must be an object of components/schemas, or a list"
        elif "$ref" not in media["schema"]:
            yield from _answer(place, media["schema"])


def _answer(where: str, schema: Node) -> Iterator[str]:
    """Say what in an answer's schema the generated client would not understand."""
    kind = schema.get("type")
    if isinstance(kind, list) and sorted(kind) == ["integer", "string"]:
        kind = "string or integer"
    if not isinstance(kind, str) or kind not in UNDERSTOOD:
        yield (
            f"{where}: the type must be one of {', '.join(UNDERSTOOD)}: a number would become a "
            "float, money is decimal text"
        )
        return
    must, may = UNDERSTOOD[kind]
    yield from _keys(where, schema, must | {"type"}, may | {"description", "example"})
    if "format" in may and schema.get("format", "int64") not in FORMATS["integer"]:
        yield f"{where}: format must be int32 or int64"
    if kind == "array":
        yield from _answer_inside(f"{where}: items", schema.get("items"), PLAIN)
    if kind == "object":
        if ("properties" in schema) is ("additionalProperties" in schema):
            yield f"{where}: an object has properties, or additionalProperties"
        if "additionalProperties" in schema:
            more = schema["additionalProperties"]
            yield from _answer_inside(f"{where}: additionalProperties", more, PLAIN | {"array"})


def _answer_inside(where: str, schema: object, kinds: Collection[str]) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        yield f"{where}: must be a schema"
    elif "$ref" not in schema and schema.get("type") not in kinds:
        yield f"{where}: must be of components/schemas, or one of {', '.join(sorted(kinds))}"
    elif "$ref" not in schema:
        yield from _answer(where, schema)


def _echo(document: Node, where: str, operation: Node) -> Iterator[str]:
    repeats, why = operation.get("x-answer-repeats", {}), operation.get("x-answer-repeats-nothing")
    if bool(repeats) is bool(why) or not isinstance(why, str | None):
        yield (
            f"{where}: x-answer-repeats must say how the answer names what was asked for, or "
            "x-answer-repeats-nothing why it does not"
        )
    parameters = {p["name"]: p for p in _parameters(document, operation)}
    responses: Node = operation.get("responses", {})
    success: Node = next((v for k, v in responses.items() if k in SUCCESSES), {})
    media = resolved(document, success).get("content", {}).get("application/json", {})
    for name, echo in repeats.items():
        place = f"{where}: x-answer-repeats: {name}"
        is_body = name == "body" and "requestBody" in operation
        kind = parameters.get(name, {}).get("schema", {}).get("type")
        if not is_body and kind not in ("string", "integer"):
            yield f"{place}: is neither a text or number of path or query nor the body"
        if not isinstance(echo, str) or not ECHO.fullmatch(echo):
            yield f"{place}: must be such as orderId, data{{}}, data[].pair or data{{}}[]"
            continue
        steps = ECHO_STEP.findall(echo)
        places = [at for at, step in enumerate(steps) if step in ("{}", "[]")]
        if not _leads_somewhere(document, media.get("schema", {}), steps):
            yield f"{place}: the answer's schema does not demand it"
        if is_body and not places:
            yield f"{place}: must name keys or items, such as data{{}}[]"
        elif is_body:
            sent = operation["requestBody"]["content"]["application/json"]["schema"]
            if not _leads_somewhere(document, sent, steps[places[0] :]):
                yield f"{place}: the body's schema does not demand it"


def _leads_somewhere(document: Node, raw: Node, steps: list[str]) -> bool:
    """Say whether what is of this schema always has what the steps lead to."""
    schema = resolved(document, raw)
    if not steps:
        return schema.get("type") in ("string", "integer")
    step, *rest = steps
    if step == "[]":
        items = schema["items"] if schema.get("type") == "array" else {}
        return _leads_somewhere(document, items, rest)
    if step == "{}":
        more = schema.get("additionalProperties", {})
        return bool(more) and (not rest or _leads_somewhere(document, more, rest))
    is_there = step in schema.get("required", ())
    return is_there and _leads_somewhere(document, schema["properties"][step], rest)


# Components --------------------------------------------------------------------------------------


def _components(document: Node) -> Iterator[str]:
    components = document["components"]
    kinds = {"securitySchemes", "parameters", "responses", "schemas"}
    yield from _keys("components", components, {"securitySchemes", "schemas"}, kinds)
    yield from _schemes(components.get("securitySchemes", {}))
    for kind in ("parameters", "responses"):
        used = _reached(document, document["paths"], kind)
        for name in components.get(kind, {}):
            if name not in used:
                yield f"components: {kind}: {name}: no operation uses it, so nothing checks it"
    schemas = components.get("schemas", {})
    # What is only sent keeps the rules of bodies, which the operations are asked about.
    bodies = [
        operation.get("requestBody", {})
        for item in document["paths"].values()
        for operation in item.values()
    ]
    sent = _reached(document, bodies) - _reached(
        document,
        [o.get("responses") for item in document["paths"].values() for o in item.values()],
    )
    inline: list[str] = []
    for name, schema in schemas.items():
        where = f"schema {name}"
        if name in _reached(document, schema):
            yield f"{where}: contains itself"
        if schema.get("type") != "object":
            yield f"{where}: only objects have a name"
        if not MODEL.fullmatch(name) or _is_pythons(name) or _same(name) in OF_TYPES:
            yield f"{where}: must be in PascalCase, and no name of Python's or of the client's"
        if not schema.get("description"):
            yield f"{where}: has no description"
        if name not in sent:
            yield from _surely(where, _answer(where, schema))
        yield from _surely(where, _properties(where, name, schema, is_sent=name in sent))
        inline += [
            f"{name}{key}"
            for key, each in schema.get("properties", {}).items()
            if each.get("type") == "object"
        ]
    for name in _twice([*schemas, *inline]):
        yield f"schema {name}: another has the same name, or nearly"


def _properties(where: str, model: str, schema: Node, *, is_sent: bool) -> Iterator[str]:
    properties = schema.get("properties", {})
    if "properties" in schema and not properties:
        yield f"{where}: has no properties"
    if not set(schema.get("required", ())) <= properties.keys():
        yield f"{where}: a required property must be among the properties"
    for name in _twice(properties):
        yield f"{where}: property {name}: another has the same name, or nearly"
    of_items = {f"{_same(name)}item{end}" for name in properties for end in ("", "data")}
    for name, value in properties.items():
        place = f"{where}: property {name}"
        if not NAME.fullmatch(name):
            yield f"{place}: the name must be letters and digits, such as orderId"
        is_plain = isinstance(value.get("type"), str) and value["type"] in PLAIN
        if _same(name) in OF_MODELS | of_items | (set() if is_plain else {_same(model)}):
            yield f"{place}: the generated code uses this name itself"
        if "$ref" in value:
            continue
        description = value.get("description", "")
        if not description:
            yield f"{place}: has no description"
        if "example" not in value:
            yield f"{place}: has no example"
        for ending, unit in UNITS.items():
            if name.lower().endswith(ending) and unit not in description:
                yield f"{place}: the description must name the unit, {unit}"
        if not is_sent and value.get("type") == "object" and "properties" in value:
            yield f"{place}: an object with properties must be named in components/schemas"
        if not is_sent:
            yield from _answer(place, value)


def _schemes(schemes: Node) -> Iterator[str]:
    yield from _keys("securitySchemes", schemes, SECURITY)
    for name in SECURITY.keys() & schemes.keys():
        fact = {key: schemes[name].get(key) for key in ("type", "in", "name")}
        if fact != {"type": "apiKey", "in": "header", "name": SECURITY[name]}:
            yield f"securitySchemes: {name}: must be the header {SECURITY[name]}, which is signed"


def _reached(document: Node, node: object, kind: str = "schemas") -> set[str]:
    """Return the components of a kind that are used in a part of the document."""
    found: set[str] = set()
    todo = [node]
    while todo:
        each = todo.pop()
        if isinstance(each, list):
            todo += each
        elif isinstance(each, Mapping):
            todo += each.values()
            if each.get("$ref", "") not in found | {""}:
                found.add(each["$ref"])
                todo.append(resolved(document, each))
    return {ref.rpartition("/")[2] for ref in found if f"/{kind}/" in ref}


def main() -> int:
    """Print the violations of `openapi/bitopro.yaml`; return the exit code."""
    import yaml

    found = list(violations(yaml.safe_load(SPEC.read_text("utf-8"))))
    print("\n".join(found) or f"openapi/{SPEC.name} keeps the rules of the house")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
