"""A spec with an operation for every shape that `openapi/rules.py` allows."""

import copy
from typing import Any

from tests.test_spec import DOCUMENT

Node = dict[str, Any]

CODE = {
    "type": "string",
    "pattern": "^[A-Z]{1,4}(_[A-Z]{1,4})?$",
    "minLength": 1,
    "maxLength": 9,
    "example": "AB_CD",
}
NUMBER = {"type": "integer", "minimum": 0, "maximum": 1000, "example": 7}
SIGNED = {"type": "integer", "format": "int32", "minimum": -5, "maximum": 5, "example": -1}
FLAG = {"type": "boolean", "example": True}
MONEY = {
    "type": "string",
    "format": "decimal",
    "pattern": "^[0-9]{1,9}([.][0-9]{1,8})?$",
    "minLength": 1,
    "maxLength": 18,
    "example": "1.5",
}
TEXT: Node = {"type": "string"}
WHOLE: Node = {"type": "integer"}
TRUTH: Node = {"type": "boolean"}
#: What must not end a docstring, nor be taken for an escape.
AWKWARD = 'Awkward: """ \\ \\N{x} {braces} %s, and "quotes".'


def ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def said(schema: Node, example: object = None) -> Node:
    found = {"description": AWKWARD, **schema}
    return found if example is None else {**found, "example": example}


def parameter(name: str, where: str, schema: Node, *, required: bool = True) -> Node:
    return {
        "name": name, "in": where, "required": required, "description": AWKWARD,
        "schema": copy.deepcopy(schema), "example": schema["example"],
    }  # fmt: skip


def operation(
    name: str, answer: Node, *, status: str = "200", repeats: Node | None = None, **more: object
) -> Node:
    errors = DOCUMENT["paths"]["/orders/all"]["delete"]["responses"]
    media = {"schema": answer, "example": {}}
    nothing = {"x-answer-repeats-nothing": "It is another shape."}
    return {
        "operationId": name,
        "tags": ["shapes"],
        "summary": f"Use {name}.",
        "description": AWKWARD,
        "x-rate-limit": {"group": name, "requests": 1000, "period-seconds": 1, "per": ["ip"]},
        "responses": {
            **{key: value for key, value in errors.items() if key != "200"},
            status: {"description": "Done.", "content": {"application/json": media}},
        },
        **({"x-answer-repeats": repeats} if repeats else nothing),
        **more,
    }


def sending(schema: Node) -> Node:
    media = {"schema": schema, "example": schema.get("example", {})}
    return {"required": True, "content": {"application/json": media}}


def listed(items: Node, example: object, **more: object) -> Node:
    return {"type": "array", "minItems": 1, "items": items, "example": example, **more}


def mapped(more: Node, example: object, **rules: object) -> Node:
    return {
        "type": "object", "propertyNames": CODE, "additionalProperties": more,
        "example": {"AB": example}, **rules,
    }  # fmt: skip


SCHEMAS: dict[str, Node] = {
    "Done": {
        "description": AWKWARD,
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": said(TEXT, "a"), "number": said(WHOLE, 1), "flag": said(TRUTH, True),
        },
    },
    "Everything": {
        "description": AWKWARD,
        "type": "object",
        "required": ["text", "number", "flag", "either", "texts", "done", "doneByKey", "inlineMap"],
        "properties": {
            "text": said(TEXT, "a"),
            "number": said(WHOLE | {"format": "int64"}, 1),
            "flag": said(TRUTH, True),
            "either": said({"type": ["string", "integer"]}, 1),
            "texts": said({"type": "array", "items": TEXT}, ["a"]),
            "done": ref("Done"),
            "doneByKey": ref("DoneByKey"),
            "inlineMap": said({"type": "object", "additionalProperties": WHOLE}, {"A": 1}),
            "maybeText": said(TEXT, "a"),
            "maybeNumber": said(WHOLE | {"format": "int32"}, 1),
            "maybeFlag": said(TRUTH, True),
            "maybeEither": said({"type": ["string", "integer"]}, "a"),
            "maybeNumbers": said({"type": "array", "items": WHOLE}, [1]),
            "maybeFlags": said({"type": "array", "items": TRUTH}, [True]),
            "maybeMany": said({"type": "array", "items": ref("Done")}, []),
            "maybeDone": ref("Done"),
            "maybeTextsByKey": ref("TextsByKey"),
            # What Python and the generator have words of their own for.
            "type": said(TEXT, "a"),
            "from": said(TEXT, "a"),
            "list": said(TEXT, "a"),
        },
    },
    **{
        f"{name}ByKey": {"description": AWKWARD, "type": "object", "additionalProperties": more}
        for name, more in {
            "Text": TEXT,
            "Number": WHOLE,
            "Flag": TRUTH,
            "Done": ref("Done"),
            "Texts": {"type": "array", "items": TEXT},
            "DoneLists": {"type": "array", "items": ref("Done")},
        }.items()
    },
    "Named": {
        "description": AWKWARD,
        "type": "object",
        "required": ["data"],
        "properties": {"data": said({"type": "array", "items": ref("Name")}, [])},
    },
    "Name": {
        "description": AWKWARD,
        "type": "object",
        "required": ["code", "number"],
        "properties": {"code": said(TEXT, "AB"), "number": said(WHOLE, 1)},
    },
    "NamedKeys": {
        "description": AWKWARD,
        "type": "object",
        "required": ["data"],
        "properties": {"data": ref("TextsByKey")},
    },
    "Inner": {
        "description": AWKWARD,
        "type": "object",
        "additionalProperties": False,
        "required": ["code"],
        "properties": {"code": said(CODE), "money": said(MONEY)},
        "example": {"code": "AB"},
    },
    "Sent": {
        "description": AWKWARD,
        "type": "object",
        "additionalProperties": False,
        "required": ["code", "number", "flag"],
        "properties": {
            "code": said(CODE),
            "number": said(NUMBER),
            "flag": said(FLAG),
            "maybeMoney": said(MONEY),
            "maybeSigned": said(SIGNED),
            "codes": said(listed(CODE, ["AB"], maxItems=2, uniqueItems=True)),
            "numbers": said(listed(NUMBER, [1])),
            "flags": said(listed(FLAG, [True])),
            "inners": said(listed(ref("Inner"), [{"code": "AB"}])),
            "inner": ref("Inner"),
            "byKey": ref("SentNumbers"),
        },
        "example": {"code": "AB", "number": 1, "flag": True},
    },
    "SentNumbers": said(mapped(NUMBER, 1, minProperties=1)),
    "SentInners": said(mapped(ref("Inner"), {"code": "AB"})),
    "SentLists": said(mapped(listed(CODE, ["AB"]), ["AB"])),
}  # fmt: skip


def document() -> Node:
    """Return the spec of the exchange with these shapes beside it."""
    whole: Node = copy.deepcopy(DOCUMENT)
    whole["tags"].append({"name": "shapes", "description": "All of them."})
    whole["components"]["schemas"].update(SCHEMAS)
    done = ref("Done")
    whole["components"]["parameters"]["code"] = parameter("code", "path", CODE)
    code = {"$ref": "#/components/parameters/code"}
    whole["paths"] |= {
        "/texts/{code}": {
            "get": operation(
                "takeText", done, parameters=[code], repeats={"code": "text"}
            ),
            "delete": operation("dropText", done, status="202", parameters=[code], deprecated=True),
        },
        "/numbers/{theNumber}/{code}": {
            "get": operation(
                "takeNumber",
                ref("Name"),
                # Described in another order than the path has them.
                parameters=[code, parameter("theNumber", "path", NUMBER)],
                repeats={"theNumber": "number", "code": "code"},
            ),
        },
        "/query": {
            "get": operation(
                "takeQuery",
                ref("Named"),
                parameters=[
                    parameter("mustText", "query", CODE),
                    parameter("mustNumber", "query", SIGNED),
                    parameter("mustFlag", "query", FLAG),
                    parameter("mayText", "query", CODE, required=False),
                    parameter("limit", "query", NUMBER, required=False),
                    parameter("mayFlag", "query", FLAG, required=False),
                    parameter("type", "query", CODE, required=False),
                    parameter("from", "query", NUMBER, required=False),
                ],
                repeats={"mayText": "data[].code", "limit": "data[].number"},
            ),
        },
        "/keys": {
            "get": operation(
                "takeKeys",
                ref("NamedKeys"),
                parameters=[parameter("code", "query", CODE, required=False)],
                repeats={"code": "data{}"},
            ),
            "post": operation(
                "sendLists",
                ref("NamedKeys"),
                requestBody=sending(ref("SentLists")),
                repeats={"body": "data{}[]"},
            ),
        },
        "/everything": {
            "get": operation("takeEverything", ref("Everything")),
            "post": operation(
                "sendEverything", done, status="201", requestBody=sending(ref("Sent"))
            ),
            "put": operation("sendInners", done, requestBody=sending(ref("SentInners"))),
        },
    }  # fmt: skip
    for name, items in LISTS.items():
        whole["paths"][f"/lists/{name}"] = {
            "get": operation(f"take{name.title()}", {"type": "array", "items": items})
        }
    for name, body in SENT_LISTS.items():
        whole["paths"][f"/lists/{name}"]["post"] = operation(
            f"send{name.title()}", done, requestBody=sending(body)
        )
    for name in MAPS:
        whole["paths"][f"/maps/{name.lower()}"] = {"get": operation(f"take{name}", ref(name))}
    return whole


LISTS = {"texts": TEXT, "numbers": WHOLE, "flags": TRUTH, "models": ref("Done")}
SENT_LISTS = {
    "texts": listed(CODE, ["AB"]),
    "numbers": listed(NUMBER, [1]),
    "flags": listed(FLAG, [True]),
    "models": listed(ref("Inner"), [{"code": "AB"}], maxItems=2),
}
MAPS = ["TextByKey", "NumberByKey", "FlagByKey", "DoneByKey", "TextsByKey", "DoneListsByKey"]
