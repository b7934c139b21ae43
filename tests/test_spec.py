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


BREAKS: dict[str, tuple[Callable[[Document], object], str]] = {
    "not OpenAPI": (lambda d: d.pop("info"), "openapi"),
    "no security": (lambda d: d.pop("security"), "security"),
    "alternatives": (
        lambda d: d.update(security=[{"apiKey": []}, {"payload": []}, {"signature": []}]),
        "security",
    ),
    "security on the operation": (lambda d: cancel(d).update(security=[]), "root"),
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
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_rule_can_be_broken(name: str) -> None:
    edit, expected = BREAKS[name]
    document = copy.deepcopy(DOCUMENT)
    edit(document)
    assert any(expected in violation for violation in rules.violations(document))


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
