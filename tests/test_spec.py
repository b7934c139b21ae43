"""The house rules of the spec: the spec keeps them, and each of them can be broken."""

import copy
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import yaml

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


def a_body(document: Document) -> Document:
    return {"requestBody": copy.deepcopy(operation(document, "cancelOrderBatch")["requestBody"])}


BREAKS: dict[str, tuple[Callable[[Document], object], str]] = {
    "not OpenAPI": (lambda d: d.pop("info"), "openapi"),
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


def test_two_operations_may_not_share_a_name() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/orders/{pair}/{orderId}"]["get"]["operationId"] = "cancelOrder"
    assert any("unique" in violation for violation in rules.violations(document))


def test_the_document_is_the_seeds() -> None:
    """Every fact that the exchange's page gives is in the spec."""
    operation = cancel(DOCUMENT)
    assert operation["x-rate-limit"] == {
        "group": "cancelOrder",
        "requests": 900,
        "period-seconds": 60,
        "per": ["ip", "account"],
    }
    flag = operation["parameters"][2]
    assert (flag["name"], flag["in"], flag["required"]) == ("isAllStrategyCanceled", "query", False)
    assert flag["schema"]["type"] == "boolean"
    names = {s["name"] for s in DOCUMENT["components"]["securitySchemes"].values()}
    assert names == {"X-BITOPRO-APIKEY", "X-BITOPRO-PAYLOAD", "X-BITOPRO-SIGNATURE"}
    assert operation["responses"]["200"]["content"]["application/json"]["example"] == {
        "action": "BUY",
        "amount": "2.3",
        "orderId": "12234566",
        "price": "1.2",
        "timestamp": 1504262258000,
    }


def test_a_pair_and_an_id_have_one_rule_each() -> None:
    """In the path, in the query and in a body."""
    ids = body(DOCUMENT)["additionalProperties"]["items"]
    pairs = [operation(DOCUMENT, "listOpenOrders")["parameters"][0]["schema"]]
    pairs.append(body(DOCUMENT)["propertyNames"])
    for name, found in [("orderId", [ids]), ("pair", pairs)]:
        rule = parameter(DOCUMENT, name)["schema"]
        for each in found:
            assert {**each, **rule} == each | {"example": rule["example"]}


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("cancelOrderBatch", ("cancelOrderBatch", 2, 1, ["ip"])),
        ("cancelAllOrdersOfPair", ("cancelAllOrders", 1, 1, ["ip", "account"])),
        ("cancelAllOrdersOfAllPairs", ("cancelAllOrders", 1, 1, ["ip", "account"])),
        ("listOpenOrders", ("listOpenOrders", 5, 1, ["ip", "account"])),
    ],
)
def test_the_limits_are_the_documents(name: str, limit: tuple[object, ...]) -> None:
    assert tuple(operation(DOCUMENT, name)["x-rate-limit"].values()) == limit


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
