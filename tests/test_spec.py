"""The house rules of the spec: the spec keeps them, and each of them can be broken."""

import copy
import importlib.util
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bitopro_orders import stream
from bitopro_sandbox.app import _STREAMS
from tests.support import ROOT

_spec = importlib.util.spec_from_file_location("rules", ROOT / "openapi" / "rules.py")
assert _spec is not None
assert _spec.loader is not None
rules = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rules)

DOCUMENT = yaml.safe_load((ROOT / "openapi" / "bitopro.yaml").read_text("utf-8"))
Document = dict[str, Any]


def cancel(document: Document) -> Document:
    found: Document = document["paths"]["/orders/{pair}/{orderId}"]["delete"]
    return found


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"]["CancelledOrder"]["properties"][name]
    return found


def parameter(document: Document, name: str) -> Document:
    found: Document = document["components"]["parameters"][name]
    return found


def test_the_spec_keeps_them() -> None:
    assert list(rules.violations(DOCUMENT)) == []


def operation(document: Document, name: str) -> Document:
    for item in document["paths"].values():
        for each in item.values():
            if each["operationId"] == name:
                found: Document = each
    return found


def body(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["OrderIdsByPair"]
    return found


def repeat(name: str, parameter: str, echo: object) -> Callable[[Document], object]:
    return lambda d: operation(d, name)["x-answer-repeats"].update({parameter: echo})


def query(document: Document) -> Document:
    """The parameter in the query of one operation."""
    found: Document = operation(document, "listOpenOrders")["parameters"][0]
    return found


def answer(document: Document) -> Document:
    """The properties of an answer."""
    found: Document = document["components"]["schemas"]["Order"]["properties"]
    return found


def limit(document: Document) -> Document:
    found: Document = cancel(document)["x-rate-limit"]
    return found


def rename(found: Document, old: str, new: str) -> None:
    renamed = {new if key == old else key: value for key, value in found.items()}
    found.clear()
    found.update(renamed)


def with_status(status: object) -> Callable[[Document], object]:
    return lambda d: rename(cancel(d)["responses"], "200", status)  # type: ignore[arg-type]


def with_parameter(**changes: object) -> Callable[[Document], object]:
    """Add to an operation a parameter that keeps the rules but for these changes."""
    return lambda d: operation(d, "listOpenOrders")["parameters"].append(
        {**copy.deepcopy(query(d)), "name": "another", **changes}
    )


def with_property(name: str, value: object) -> Callable[[Document], object]:
    return lambda d: answer(d).update({name: value})


def with_component(name: str, value: object) -> Callable[[Document], object]:
    def edit(document: Document) -> None:
        document["components"]["schemas"][name] = value
        answer(document)["another"] = {"$ref": f"#/components/schemas/{name}"}

    return edit


WHERE = "DELETE /orders/{pair}/{orderId}: "
NUMBER = {"type": "integer", "minimum": 1, "maximum": 9, "example": 1}
SIDES = {"description": "It.", "type": "string", "enum": ["BUY", "SELL"], "example": "BUY"}


def a_body(document: Document) -> Document:
    return {"requestBody": copy.deepcopy(operation(document, "cancelOrderBatch")["requestBody"])}


BREAKS: dict[str, tuple[Callable[[Document], object], str]] = {
    "not OpenAPI": (lambda d: d.update(externalDocs={"url": 5}), "openapi"),
    "no information": (lambda d: d.pop("info"), "the document: has no info"),
    "no security": (lambda d: d.pop("security"), "security"),
    "alternatives": (
        lambda d: d.update(security=[{"apiKey": []}, {"payload": []}, {"signature": []}]),
        "security",
    ),
    "security on the operation": (
        lambda d: cancel(d).update(security=[]),
        "DELETE /orders/{pair}/{orderId}: security is not allowed: it belongs at the root",
    ),
    "snake_case": (lambda d: cancel(d).update(operationId="cancel_order"), "camelCase"),
    "no summary": (lambda d: cancel(d).pop("summary"), "summary"),
    "no description": (lambda d: cancel(d).pop("description"), "description"),
    "two tags": (lambda d: cancel(d).update(tags=["a", "b"]), "tag"),
    "no limit": (lambda d: cancel(d).pop("x-rate-limit"), "x-rate-limit"),
    "half a limit": (lambda d: cancel(d)["x-rate-limit"].pop("per"), "x-rate-limit"),
    "no echo": (lambda d: cancel(d).pop("x-answer-repeats"), "x-answer-repeats"),
    "no 409": (lambda d: cancel(d)["responses"].pop("409"), "409"),
    "no default": (lambda d: cancel(d)["responses"].pop("default"), "default"),
    "no example body": (
        lambda d: d["components"]["responses"]["NotFound"]["content"]["application/json"].pop(
            "example"
        ),
        "example body",
    ),
    "two successes": (
        lambda d: cancel(d)["responses"].update({"202": cancel(d)["responses"]["200"]}),
        "one success",
    ),
    "no example": (lambda d: parameter(d, "pair").pop("example"), "example"),
    "no pattern": (lambda d: parameter(d, "orderId")["schema"].pop("pattern"), "pattern"),
    "no length": (lambda d: parameter(d, "pair")["schema"].pop("maxLength"), "maxLength"),
    "not anchored": (
        lambda d: parameter(d, "orderId")["schema"].update(pattern="[0-9]+"),
        "anchored",
    ),
    "not ASCII": (
        lambda d: parameter(d, "orderId")["schema"].update(pattern=r"^\w+$"),
        "anchored",
    ),
    "lets nothing through": (
        lambda d: parameter(d, "orderId")["schema"].update(pattern="^[0-9]*$"),
        "another path",
    ),
    "lets dots through": (
        lambda d: parameter(d, "orderId")["schema"].update(pattern="^.+$"),
        "another path",
    ),
    "a default": (
        lambda d: cancel(d)["parameters"][2]["schema"].update(default=True),
        "always be sent",
    ),
    "a header": (lambda d: cancel(d)["parameters"][2].update({"in": "header"}), "headers"),
    "an enum": (lambda d: schema(d, "action").update(enum=["BUY", "SELL"]), "enum"),
    "a float": (lambda d: schema(d, "price").update(type="number"), "float"),
    "no unit": (lambda d: schema(d, "timestamp").update(description="When."), "unit"),
    "no property example": (lambda d: schema(d, "amount").pop("example"), "example"),
    "an unchecked number": (
        lambda d: operation(d, "listOpenOrders")["parameters"][0]["schema"].update(type="integer"),
        "parameter pair: has no maximum, minimum",
    ),
    "nothing repeated, without a word why": (
        lambda d: operation(d, "cancelAllOrdersOfAllPairs").pop("x-answer-repeats-nothing"),
        "x-answer-repeats-nothing",
    ),
    "nothing repeated, for no reason": (
        lambda d: operation(d, "cancelAllOrdersOfAllPairs").update(
            {"x-answer-repeats-nothing": True}
        ),
        "x-answer-repeats-nothing",
    ),
    "something and nothing repeated": (
        lambda d: cancel(d).update({"x-answer-repeats-nothing": "It does."}),
        "x-answer-repeats-nothing",
    ),
    "repeats who is not there": (repeat("cancelOrder", "order", "orderId"), "neither"),
    "repeats a flag": (repeat("cancelOrder", "isAllStrategyCanceled", "action"), "neither"),
    "repeats a body without one": (repeat("cancelAllOrdersOfPair", "body", "data{}"), "neither"),
    "repeats in no way": (repeat("listOpenOrders", "pair", "data[0].pair"), "data[].pair"),
    "repeats a mapping": (repeat("listOpenOrders", "pair", {"data": "pair"}), "data[].pair"),
    "repeats what is not there": (repeat("listOpenOrders", "pair", "data[].base"), "demand"),
    "repeats what may be missing": (repeat("listOpenOrders", "pair", "data[].seq"), "demand"),
    "repeats keys of a list": (repeat("listOpenOrders", "pair", "data{}"), "demand"),
    "repeats items of an object": (repeat("cancelAllOrdersOfPair", "pair", "data[]"), "demand"),
    "repeats an object": (repeat("listOpenOrders", "pair", "data[]"), "demand"),
    "repeats the body as one": (repeat("cancelOrderBatch", "body", "data"), "keys or items"),
    "a DELETE with a body": (lambda d: cancel(d).update(a_body(d)), "nothing else"),
    "a PUT without a body": (
        lambda d: operation(d, "cancelOrderBatch").pop("requestBody"),
        "sign a JSON body",
    ),
    "an optional body": (
        lambda d: operation(d, "cancelOrderBatch")["requestBody"].pop("required"),
        "JSON alone",
    ),
    "a form": (
        lambda d: operation(d, "cancelOrderBatch")["requestBody"]["content"].update(
            {"multipart/form-data": {}}
        ),
        "JSON alone",
    ),
    "no example of a body": (
        lambda d: operation(d, "cancelOrderBatch")["requestBody"]["content"][
            "application/json"
        ].pop("example"),
        "a schema and an example",
    ),
    "keys of any kind": (lambda d: body(d).pop("propertyNames"), "propertyNames"),
    "more of any kind": (lambda d: body(d).pop("additionalProperties"), "additionalProperties"),
    "ids of any kind": (
        lambda d: body(d)["additionalProperties"]["items"].pop("pattern"),
        "has no pattern",
    ),
    "ids that are not ASCII": (
        lambda d: body(d)["additionalProperties"]["items"].update(pattern=r"^\\d+$"),
        "anchored",
    ),
    "an empty list of ids": (
        lambda d: body(d)["additionalProperties"].pop("minItems"),
        "has no minItems",
    ),
    "a rule that nothing checks": (lambda d: body(d).update(maxProperties=3), "nothing checks"),
    "a float in a body": (
        lambda d: body(d)["additionalProperties"].update(items={"type": "number"}),
        "decimal text",
    ),
    "a type too many": (
        lambda d: body(d)["additionalProperties"].update(items={"type": ["string", "integer"]}),
        "decimal text",
    ),
    "an unknown key demanded": (lambda d: body(d).update(required=["x"]), "among the properties"),
    # Parameters.
    "an enum as parameter": (
        with_parameter(schema={**SIDES}, example="BUY"),
        "GET /orders/open: parameter another: enum is not allowed",
    ),
    "a time as parameter": (
        lambda d: query(d)["schema"].update(format="date-time"),
        "GET /orders/open: parameter pair: format must be decimal",
    ),
    "a decimal as parameter": (
        lambda d: query(d)["schema"].update(format="decimal"),
        "format decimal is for what stands in a body",
    ),
    "a cookie": (lambda d: query(d).update({"in": "cookie"}), "must be in path or query"),
    "a list as parameter": (
        with_parameter(schema={"type": "array", "items": {"type": "string"}}, example=["a"]),
        "parameter another: only texts, whole numbers and",
    ),
    "a flag in the path": (
        lambda d: parameter(d, "pair").update(schema={"type": "boolean", "example": True}),
        WHERE + "parameter pair: only texts",
    ),
    "a number in the path without bounds": (
        lambda d: parameter(d, "orderId").update(
            schema={"type": "integer", "example": 7}, example=7
        ),
        WHERE + "parameter orderId: has no maximum, minimum",
    ),
    "a number below 0 in the path": (
        lambda d: parameter(d, "orderId").update(schema={**NUMBER, "minimum": -5}, example=1),
        WHERE + "parameter orderId: minimum must be 0 or more in a path",
    ),
    "bounds that are no numbers": (
        with_parameter(schema={**NUMBER, "minimum": "1"}, example=1),
        "parameter another: minimum and maximum must be whole numbers",
    ),
    "bounds in the wrong order": (
        with_parameter(schema={**NUMBER, "minimum": 10}, example=1),
        "parameter another: minimum and maximum must be whole numbers",
    ),
    "a step": (
        with_parameter(schema={**NUMBER, "multipleOf": 2}, example=1),
        "parameter another: multipleOf is not allowed",
    ),
    "an example that breaks its rule": (
        with_parameter(schema={**NUMBER, "example": 10}, example=10),
        "parameter another: the example must keep the rule",
    ),
    "a text that breaks its rule as example": (
        lambda d: [each.update(example="BTC") for each in (query(d), query(d)["schema"])],
        "parameter pair: the example must keep the rule",
    ),
    "a style": (with_parameter(style="form"), "parameter another: style is not allowed"),
    "a deprecated parameter": (
        with_parameter(deprecated=True),
        "parameter another: deprecated is not allowed",
    ),
    "an optional parameter in the path": (
        lambda d: parameter(d, "pair").update(required=False),
        "required must be true or false, and true in a path",
    ),
    "an empty text": (lambda d: query(d)["schema"].update(minLength=0), "minLength must be 1"),
    "a pattern that may take for ever": (
        lambda d: query(d)["schema"].update(pattern="^([A-Z]+)+_[A-Z]$"),
        "must not be repeated",
    ),
    "a pattern that is read in two ways": (
        lambda d: query(d)["schema"].update(pattern="^BTC_TWD|ETH_TWD$"),
        "an alternative be in a group",
    ),
    "a pattern that is none": (
        lambda d: query(d)["schema"].update(pattern="^(BTC_TWD$"),
        "GET /orders/open: parameter pair: is not in the form",
    ),
    **{
        f"a parameter named {name}": (
            with_parameter(name=name),
            f"GET /orders/open: parameter {name}: the generated code uses this name itself",
        )
        for name in ("call", "plain", "partial", "checkText", "syncDetailed", "client", "url")
    },
    "a parameter with a dash": (with_parameter(name="a-b"), "must be letters and digits"),
    "two parameters that Python cannot tell apart": (
        lambda d: [with_parameter(name=name)(d) for name in ("aPage", "a_page")],
        "parameter aPage: another has the same name, or nearly",
    ),
    "the same name in path and query": (
        lambda d: cancel(d)["parameters"].append(copy.deepcopy(query(d))),
        WHERE + "parameter pair: another has the same name, or nearly",
    ),
    # Paths and methods.
    "a PATCH": (
        lambda d: d["paths"]["/orders"].update(
            patch={**copy.deepcopy(operation(d, "cancelOrderBatch")), "operationId": "other"}
        ),
        "/orders: patch is not allowed",
    ),
    "parameters of a whole path": (
        lambda d: d["paths"]["/orders/all"].update(parameters=[]),
        "/orders/all: parameters is not allowed",
    ),
    "a parameter that is not in the path": (
        lambda d: cancel(d)["parameters"].pop(0),
        WHERE + "the parameters in the path must be those that are described",
    ),
    "a renamed parameter of the path": (
        lambda d: parameter(d, "orderId").update(name="orderID"),
        WHERE + "the parameters in the path must be those that are described",
    ),
    "half a segment": (
        lambda d: rename(d["paths"], "/orders/{pair}/{orderId}", "/orders/{pair}-{orderId}"),
        "a path is of /fixed-parts and of /{parameters}",
    ),
    "a name of Python's": (
        lambda d: cancel(d).update(operationId="import"),
        WHERE + "operationId must be in camelCase, and no word of Python's",
    ),
    "a name but for its case": (
        lambda d: cancel(d).update(operationId="cancelorderBatch"),
        "operationIds must be unique, also without regard to case",
    ),
    "an unknown tag": (lambda d: cancel(d).update(tags=["trades"]), "of those at the root"),
    "a callback": (lambda d: cancel(d).update(callbacks={}), WHERE + "callbacks is not allowed"),
    "servers of an operation": (
        lambda d: cancel(d).update(servers=[{"url": "https://example.com"}]),
        WHERE + "servers is not allowed: it belongs at the root",
    ),
    "deprecated in words": (
        lambda d: cancel(d).update(deprecated="yes"),
        WHERE + "deprecated must be true or false",
    ),
    # Limits.
    "no requests": (
        lambda d: limit(d).update(requests=0),
        WHERE + "x-rate-limit: requests must be a whole number from 1 to 1000000",
    ),
    "a text as limit": (
        lambda d: limit(d).update(requests="900"),
        WHERE + "x-rate-limit: requests must be a whole number from 1 to 1000000",
    ),
    "true as limit": (lambda d: limit(d).update(requests=True), "a whole number from 1 to 1000000"),
    "half a second": (
        lambda d: limit(d).update({"period-seconds": 0.5}),
        "period-seconds must be a whole number from 1 to 1000000",
    ),
    "a limit per something": (lambda d: limit(d).update(per=["host"]), "per must be a list of"),
    "a limit per text": (lambda d: limit(d).update(per="ip"), "per must be a list of"),
    "a limit per nothing": (lambda d: limit(d).update(per=[]), "per must be a list of"),
    "a limit with more": (lambda d: limit(d).update(burst=5), "burst is not allowed"),
    "no limit but a text": (
        lambda d: cancel(d).update({"x-rate-limit": "900 a minute"}),
        WHERE + "is not in the form",
    ),
    "one group with two limits": (
        lambda d: operation(d, "cancelAllOrdersOfPair")["x-rate-limit"].update(requests=2),
        "x-rate-limit: DELETE /orders/all gives the group cancelAllOrders another limit",
    ),
    # Answers.
    "no content": (with_status("204"), WHERE + "must have one success, of 200, 201, 202"),
    "any success": (with_status("2XX"), WHERE + "must have one success, of 200, 201, 202"),
    "a redirect": (
        lambda d: cancel(d)["responses"].update({"302": cancel(d)["responses"]["404"]}),
        WHERE + "response 302: must be one of",
    ),
    "a status that is a number": (with_status(200), "the key 200 must be text, in quotes"),
    "an answer in XML": (
        lambda d: rename(cancel(d)["responses"]["200"]["content"], "application/json", "text/xml"),
        WHERE + "response 200: must be JSON alone",
    ),
    "a header of an answer": (
        lambda d: cancel(d)["responses"]["200"].update(headers={}),
        WHERE + "response 200: headers is not allowed",
    ),
    "an answer without a name": (
        lambda d: cancel(d)["responses"]["200"]["content"]["application/json"].update(
            schema={"type": "object", "properties": {}}
        ),
        WHERE + "response 200: must be an object of components/schemas, or a list",
    ),
    "an enum by reference": (
        with_component("Side", SIDES),
        "schema Side: only objects have a name",
    ),
    "an enum in items": (
        with_property("sides", {"type": "array", "items": SIDES, "description": "It."}),
        "schema Order: property sides: items: enum is not allowed: in an answer it would refuse",
    ),
    "an enum inline": (
        with_property("side", SIDES),
        "schema Order: property side: enum is not allowed: in an answer it would refuse",
    ),
    "an enum by key": (
        with_property("sides", {"type": "object", "additionalProperties": SIDES}),
        "schema Order: property sides: additionalProperties: enum is not allowed",
    ),
    "a time": (
        with_property("at", {"type": "string", "format": "date-time"}),
        "schema Order: property at: format is not allowed",
    ),
    "a constant": (with_property("a", {"type": "string", "const": "a"}), "const is not allowed"),
    "a float in items": (
        with_property("a", {"type": "array", "items": {"type": "number"}}),
        "schema Order: property a: items: must be of components/schemas, or one of",
    ),
    "a null": (
        with_property("a", {"type": ["string", "null"]}),
        "schema Order: property a: the type must be one of",
    ),
    "one of two": (
        with_property("a", {"oneOf": [{"type": "string"}, {"type": "integer"}]}),
        "schema Order: property a: the type must be one of",
    ),
    "anything": (
        with_property("a", {"type": "object", "additionalProperties": True}),
        "schema Order: property a: additionalProperties: must be a schema",
    ),
    "an object in an object": (
        with_property("a", {"type": "object", "properties": {"b": {"type": "string"}}}),
        "property a: an object with properties must be named in components/schemas",
    ),
    "a pattern that nothing checks": (
        with_property("a", {"type": "string", "pattern": "^a$"}),
        "schema Order: property a: pattern is not allowed: nothing checks it",
    ),
    "itself": (
        with_property("a", {"$ref": "#/components/schemas/Order"}),
        "schema Order: contains itself",
    ),
    **{
        f"a property named {name}": (
            with_property(name, {"type": "string", "description": "It.", "example": "a"}),
            f"schema Order: property {name}: the generated code uses this name itself",
        )
        for name in ("d", "cls", "toDict", "from_dict", "additionalProperties", "srcDict", "cast")
    },
    "two properties that Python cannot tell apart": (
        with_property("client_id", {"type": "string", "description": "It.", "example": "a"}),
        "schema Order: property clientId: another has the same name, or nearly",
    ),
    "a property that is the item of another": (
        lambda d: d["components"]["schemas"]["OpenOrders"]["properties"].update(
            dataItem={"type": "string", "description": "It.", "example": "a"}
        ),
        "schema OpenOrders: property dataItem: the generated code uses this name itself",
    ),
    "a property that must be there and is not": (
        lambda d: d["components"]["schemas"]["Order"]["required"].append("nobody"),
        "schema Order: a required property must be among the properties",
    ),
    "a model named like the client": (with_component("Client", {"type": "object"}), "PascalCase"),
    "a model named like Python's": (with_component("ValueError", {}), "PascalCase"),
    "two models with one file": (
        with_component("OPENOrders", {"type": "object"}),
        "another has the same name, or nearly",
    ),
    "a model named like a part of another": (
        with_component("OrdersMessageData", {"type": "object"}),
        "schema OrdersMessageData: another has the same name, or nearly",
    ),
    # Bodies.
    "a default in a body": (
        lambda d: body(d)["additionalProperties"]["items"].update(default="1"),
        "PUT /orders: body: additionalProperties: items: default is not allowed: it would always",
    ),
    "an enum in a body": (
        lambda d: body(d)["additionalProperties"].update(items={**SIDES}),
        "PUT /orders: body: additionalProperties: items: enum is not allowed",
    ),
    "a time in a body": (
        lambda d: body(d)["additionalProperties"]["items"].update(format="date-time"),
        "items: format must be decimal",
    ),
    "a body elsewhere": (
        lambda d: operation(d, "cancelOrderBatch").update(
            requestBody={"$ref": "#/components/requestBodies/Batch"}
        ),
        "must lead to a component",
    ),
    "a body that does not have what is repeated": (
        lambda d: body(d)["additionalProperties"].update(
            type="string", pattern="^a$", minLength=1, maxLength=1, example="a"
        ),
        "x-answer-repeats: body: the body's schema does not demand it",
    ),
    "what is repeated as a text": (
        lambda d: cancel(d).update({"x-answer-repeats": "orderId"}),
        WHERE + "is not in the form",
    ),
    # The rest.
    "a second server": (
        lambda d: d["servers"].append({"url": "https://example.com", "description": "It."}),
        "servers: there must be one",
    ),
    "a server with variables": (
        lambda d: d["servers"][0].update(url="https://{host}/v3"),
        "servers: the url must be https://host[/path]",
    ),
    "another header": (
        lambda d: d["components"]["securitySchemes"]["payload"].update(name="X-PAYLOAD"),
        "securitySchemes: payload: must be the header X-BITOPRO-PAYLOAD, which is signed",
    ),
    "another scheme than https": (
        lambda d: d["servers"][0].update(url="http://api.example.com/v3"),
        "servers: the url must be https://host[/path]",
    ),
    "a server in quotes": (
        lambda d: d["servers"][0].update(url='https://api.example.com/v3"'),
        "servers: the url must be https://host[/path]",
    ),
    "a parameter that nothing uses": (
        lambda d: d["components"]["parameters"].update(zz={"name": "zz", "in": "cookie"}),
        "components: parameters: zz: no operation uses it",
    ),
    "a response that nothing uses": (
        lambda d: d["components"]["responses"].update(zz={"description": "It."}),
        "components: responses: zz: no operation uses it",
    ),
    "half a surrogate pair": (
        lambda d: cancel(d).update(description="It \ud800."),
        "description: a text must be one that",
    ),
    "more requests than can be counted": (
        lambda d: cancel(d)["x-rate-limit"].update(requests=10**30),
        WHERE + "x-rate-limit: requests must be a whole number from 1 to 1000000",
    ),
    "a longer period than can be counted": (
        lambda d: cancel(d)["x-rate-limit"].update({"period-seconds": 10**30}),
        WHERE + "x-rate-limit: period-seconds must be a whole number from 1 to 1000000",
    ),
    "a length beyond any": (
        lambda d: d["components"]["parameters"]["orderId"]["schema"].update(maxLength=10**30),
        "parameter orderId: minLength and maxLength must be numbers of 64 bits",
    ),
    "a possessive pattern": (
        lambda d: d["components"]["parameters"]["orderId"]["schema"].update(pattern="^[0-9]++$"),
        "parameter orderId: the pattern must have no possessive quantifier",
    ),
    "a pattern that repeats without end": (
        lambda d: d["components"]["parameters"]["orderId"]["schema"].update(
            pattern="^[0-9]{1,99999999999}$"
        ),
        "parameter orderId: is not in the form of OpenAPI 3.1 (OverflowError",
    ),
    "a reference to nothing": (
        lambda d: cancel(d)["parameters"].append({"$ref": "#/components/parameters/nobody"}),
        "#/components/parameters/nobody must lead to a component",
    ),
    "a reference to a file": (
        with_property("a", {"$ref": "other.yaml#/components/schemas/Order"}),
        "must lead to a component of this document",
    ),
    "words beside a reference": (
        with_property("a", {"$ref": "#/components/schemas/Error", "description": "It."}),
        "nothing may stand beside a $ref",
    ),
    "webhooks": (lambda d: d.update(webhooks={}), "the document: webhooks is not allowed"),
    "OpenAPI 3.0": (lambda d: d.update(openapi="3.0.3"), "openapi: must be 3.1"),
    "no paths": (lambda d: d.update(paths=None), "is not in the form"),
    "an argument that is a fixed path": (
        lambda d: parameter(d, "pair")["schema"].update(pattern="^[a-z_]{3,41}$"),
        "could turn it into /orders/all",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_rule_can_be_broken(name: str) -> None:
    edit, expected = BREAKS[name]
    document = copy.deepcopy(DOCUMENT)
    edit(document)
    # OpenAPI's own are slow to find, and asked only where they are expected.
    found = rules.violations if expected == "openapi" else rules.house_violations
    assert any(expected in violation for violation in found(document))


def places(node: Any) -> list[Any]:
    """Return all objects and lists of a document."""
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = [place for each in inside for place in places(each)]
    return [node, *found] if isinstance(node, dict | list) and node else found


ODD = [None, True, 0, -1, 1.5, "", "x", "$ref", [], ["x"], [None], {}, {"x": 1}, {"$ref": "x"}]


@settings(max_examples=300, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_whatever_the_document_is_the_rules_only_say_so(random: Random) -> None:
    document = copy.deepcopy(DOCUMENT)
    for _ in range(random.randint(1, 3)):
        place = random.choice(places(document))
        key = random.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if random.random() < 0.3:
            del place[key]
        else:
            place[key] = copy.deepcopy(random.choice([*ODD, random.choice(places(document))]))
        if not document:
            break
    for violation in rules.house_violations(document):
        assert "\n" not in violation


@pytest.mark.parametrize("at", ["parameters", "responses", "schemas"])
def test_what_leads_nowhere_is_said_in_a_line(at: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["components"][at].popitem()
    found = list(rules.violations(document))
    assert found
    assert all("must lead to a component" in each for each in found)


def test_two_operations_may_not_share_a_name() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/orders/{pair}/{orderId}"]["get"]["operationId"] = "cancelOrder"
    assert any("unique" in violation for violation in rules.violations(document))


def test_a_pair_and_an_id_have_one_rule_each() -> None:
    """In the path, in the query and in a body."""
    ids = body(DOCUMENT)["additionalProperties"]["items"]
    pairs = [operation(DOCUMENT, "listOpenOrders")["parameters"][0]["schema"]]
    pairs.append(body(DOCUMENT)["propertyNames"])
    for name, found in [("orderId", [ids]), ("pair", pairs)]:
        rule = parameter(DOCUMENT, name)["schema"]
        for each in found:
            assert {**each, **rule} == each | {"example": rule["example"]}


STREAMS = yaml.safe_load((ROOT / "openapi" / "streams.yaml").read_text("utf-8"))


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [each for value in node.values() for each in references(value)]
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


def test_every_reference_of_the_streams_leads_somewhere() -> None:
    found = references(STREAMS)
    assert "./bitopro.yaml#/components/schemas/OrdersMessage" in found
    for reference in found:
        file, _, path = reference.partition("#/")
        target: Any = DOCUMENT if file else STREAMS
        assert file in {"", "./bitopro.yaml"}
        for key in path.split("/"):
            target = target[key]


def test_the_streams_are_those_that_are_followed_and_served() -> None:
    assert STREAMS["asyncapi"] == "3.0.0"
    assert STREAMS.keys() <= {
        "asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components",
    }  # fmt: skip
    server = STREAMS["servers"]["exchange"]
    url = f"{server['protocol']}://{server['host']}{server['pathname']}"
    assert url == stream.STREAM_URL
    addresses = {name: each["address"] for name, each in STREAMS["channels"].items()}
    assert addresses["orderHistory"] == stream.HISTORY_PATH
    assert set(addresses.values()) == {path.removeprefix("/ws") for path in _STREAMS}
    for operation in STREAMS["operations"].values():
        assert operation["action"] == "receive"
    names = {s["name"] for s in STREAMS["components"]["securitySchemes"].values()}
    assert names == {s["name"] for s in DOCUMENT["components"]["securitySchemes"].values()}
