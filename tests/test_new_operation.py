"""Adding an operation to the spec and generating is all it takes: this test adds one.

It describes the open orders, a batch, and new orders as a list of models in a copy of the spec
that knows none of them, generates a client from it, and uses that client through `connect()` in a
process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bitopro_sandbox import Sandbox, faults
from tests.support import ROOT, environment_of
from tests.test_generated import GENERATOR, needs_generator
from tests.test_spec import DOCUMENT, rules

USE = """
import sys
sys.path.insert(0, sys.argv[1])
import asyncio, json
from decimal import Decimal
from bitopro_client.api.orders import cancel_batch, get_open_orders, place_orders
from bitopro_client.models import NewOrder, OrderIds
from bitopro_orders import InvalidArgumentError, RejectedError, SendingPolicy, connect

def said(body):
    try:
        place_orders.sync(body=body, client=client)
    except (InvalidArgumentError, RejectedError) as error:
        return str(error).split("; nothing")[0]

def order(**changes):
    return NewOrder(**{"pair": "BTC_TWD", "price": "1.5", "client_id": 1, **changes})

records = []
with connect(policy=SendingPolicy(backoff_seconds=0.01), on_attempt=records.append) as client:
    found = get_open_orders.sync(pair="BTC_TWD", client=client)
    again = asyncio.run(get_open_orders.asyncio(client=client))
    try:
        get_open_orders.sync(pair="..", client=client)
    except InvalidArgumentError as error:
        refused = str(error)
    bodies = [said(body) for body in json.loads(sys.argv[2])]
    models = [said([order(price=Decimal(price))]) for price in ("-1.5", "NaN", "1E+999999", "1E+2")]
    models += [said([order(client_id=True)]), said([order(), None])]
    batch = cancel_batch.sync(body=OrderIds.from_dict({"BTC_TWD": ["2959906694"]}), client=client)
print(json.dumps({
    "ids": [order.id for order in found.data],
    "all": len(again.data),
    "refused": refused,
    "batch": batch.data.to_dict(),
    "bodies": bodies,
    "models": models,
    "outcomes": [str(record.outcome) for record in records],
    "limit": get_open_orders.OPERATION.rate_limit.requests,
}))
"""
TYPED = """
from bitopro_client.api.orders import get_open_orders
from bitopro_orders import connect

price: str = get_open_orders.sync(client=connect()).data[0].price
"""


#: What is placed, and where it breaks its rule.
BODIES: list[tuple[Any, str]] = [
    (None, "body must be a list of at least 1 items and at most 10, such as [{'pair'"),
    ([], "body must be a list"),
    ({}, "body must be a list"),
    ("[]", "body must be a list"),
    ([{}] * 11, "body must be a list"),
    ([[]], "body[0] must be an object"),
    ([{"price": "1", "clientId": 1}], "body[0].pair must be given, such as 'BTC_TWD'"),
    ([{"pair": "BTC", "price": "1"}], "body[0].pair must be text of 3 to 41 characters"),
    (
        [{"pair": "BTC_TWD", "price": "-1"}],
        "body[0].price must be text of 1 to 40 characters that matches "
        "^[0-9]{1,20}([.][0-9]{1,18})?$, such as '210000', not '-1'",
    ),
    ([{"pair": "BTC_TWD", "price": 1.5}], "body[0].price must be text"),
    ([{"pair": "BTC_TWD", "price": "1e5"}], "body[0].price must be text"),
    ([{"pair": "BTC_TWD", "price": "1", "clientId": 0}], "body[0].clientId must be a whole number"),
    ([{"pair": "BTC_TWD", "price": "1", "clientId": 2**31}], "body[0].clientId must be a whole"),
    ([{"pair": "BTC_TWD", "price": "1", "clientId": "1"}], "body[0].clientId must be a whole"),
    ([{"pair": "BTC_TWD", "price": "1", "hidden": "no"}], "body[0].hidden must be True or False"),
    ([{"pair": "BTC_TWD", "price": "1", "prise": "2"}], "each key of body[0] must be one of pair"),
]


def with_open_orders() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(DOCUMENT))
    one_path = "/orders/{pair}/{orderId}"
    document["paths"] = {one_path: document["paths"][one_path]}
    one = document["paths"]["/orders/{pair}/{orderId}"]["get"]
    document["paths"]["/orders/open"] = {
        "get": {
            "operationId": "getOpenOrders",
            "tags": ["orders"],
            "summary": "List the open orders.",
            "description": "Newest update first. Limit: 5 requests per second.",
            "x-rate-limit": {
                "group": "openOrders", "requests": 5, "period-seconds": 1, "per": ["ip", "account"],
            },
            "x-answer-repeats": {"pair": "data[].pair"},
            "parameters": [
                {**document["components"]["parameters"]["pair"], "in": "query", "required": False}
            ],
            "responses": {
                **one["responses"],
                "200": {
                    "description": "The open orders.",
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/OpenOrders"},
                            "example": {"data": []},
                        }
                    },
                },
            },
        }
    }  # fmt: skip
    document["components"]["schemas"]["OpenOrders"] = {
        "description": "The open orders.",
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {
                "description": "The orders.",
                "type": "array",
                "items": {"$ref": "#/components/schemas/Order"},
                "example": [],
            }
        },
    }
    document["paths"]["/orders"] = {
        "put": {
            "operationId": "cancelBatch",
            "tags": ["orders"],
            "summary": "Cancel orders by pair.",
            "description": "The body is what is signed. Limit: 2 requests per second.",
            "x-rate-limit": {
                "group": "cancelBatch", "requests": 2, "period-seconds": 1, "per": ["ip"],
            },
            "x-answer-repeats": {"body": "data{}[]"},
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/OrderIds"},
                        "example": {"BTC_TWD": ["2959906694"]},
                    }
                },
            },
            "responses": {
                **one["responses"],
                "200": {
                    "description": "The cancelled orders.",
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/CancelledOrders"},
                            "example": {"data": {"BTC_TWD": ["2959906694"]}},
                        }
                    },
                },
            },
        }
    }  # fmt: skip
    del document["components"]["schemas"]["OrderIdsByPair"]
    del document["components"]["responses"]["ConflictOfBody"]
    document["components"]["schemas"]["OrderIds"] = {
        "description": "Order ids by pair.",
        "type": "object",
        "propertyNames": document["components"]["parameters"]["pair"]["schema"],
        "additionalProperties": {
            "type": "array",
            "minItems": 1,
            "items": document["components"]["parameters"]["orderId"]["schema"],
            "example": ["2959906694"],
        },
        "example": {"BTC_TWD": ["2959906694"]},
    }
    document["paths"]["/orders/batch"] = {
        "post": {
            "operationId": "placeOrders",
            "tags": ["orders"],
            "summary": "Place orders.",
            "description": "Limit: 90 requests per minute.",
            "x-rate-limit": {
                "group": "placeOrders", "requests": 90, "period-seconds": 60, "per": ["ip"],
            },
            "x-answer-repeats-nothing": "The exchange gives the orders ids of its own.",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 10,
                            "items": {"$ref": "#/components/schemas/NewOrder"},
                            "example": [{"pair": "BTC_TWD", "price": "210000"}],
                        },
                        "example": [{"pair": "BTC_TWD", "price": "210000"}],
                    }
                },
            },
            "responses": document["paths"]["/orders/open"]["get"]["responses"],
        }
    }  # fmt: skip
    document["components"]["schemas"]["NewOrder"] = {
        "description": "An order to place.",
        "type": "object",
        "required": ["pair", "price"],
        "additionalProperties": False,
        "properties": {
            "pair": document["components"]["parameters"]["pair"]["schema"] | {"description": "It."},
            "price": {
                "description": "The price, as decimal text.",
                "type": "string",
                "format": "decimal",
                "pattern": "^[0-9]{1,20}([.][0-9]{1,18})?$",
                "minLength": 1,
                "maxLength": 40,
                "example": "210000",
            },
            "clientId": {
                "description": "The client's number.",
                "type": "integer",
                "minimum": 1,
                "maximum": 2147483647,
                "example": 123,
            },
            "hidden": {"description": "Whether.", "type": "boolean", "example": True},
        },
        "example": {"pair": "BTC_TWD", "price": "210000"},
    }
    document["components"]["schemas"]["CancelledOrders"] = {
        "description": "The cancelled orders.",
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"$ref": "#/components/schemas/CancelledIdsByPair"}},
    }
    return document


@needs_generator
def test_an_operation_that_is_only_described_is_signed_limited_retried_and_typed(
    tmp_path: Path, bitopro_sandbox: Sandbox
) -> None:
    document = with_open_orders()
    assert list(rules.violations(document)) == []
    spec, client = tmp_path / "bitopro.yaml", tmp_path / "new" / "bitopro_client"
    spec.write_text(yaml.safe_dump(document, sort_keys=False))
    client.parent.mkdir()
    generate: list[str | Path] = [GENERATOR, ROOT / "openapi" / "generate.py", "--spec", spec]
    subprocess.run([*generate, "--output", client], check=True, capture_output=True)

    bitopro_sandbox.faults.add(faults.status(500), method="GET")
    run = subprocess.run(
        [sys.executable, "-c", USE, str(client.parent), json.dumps([body for body, _ in BODIES])],
        env=environment_of(bitopro_sandbox),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stderr == ""
    result = json.loads(run.stdout)
    assert set(result["ids"]) == {"2959906694", "2959906695"}
    assert result["all"] == len(bitopro_sandbox.book.open_orders()) + 1
    assert result["refused"].startswith("pair must be text")
    for said, (_, expected) in zip(result["bodies"], BODIES, strict=True):
        assert said.startswith(expected)
    price = "body[0].price must be text"
    assert all(said.startswith(price) for said in result["models"][:3])
    assert result["models"][0].endswith("not '-1.5'")
    assert "404" in result["models"][3], "100 is sent, and the sandbox places no orders"
    assert result["models"][4].startswith("body[0].clientId must be")
    assert result["models"][5].startswith("body[1] must be an object")
    assert result["outcomes"] == ["unknown", "accepted", "accepted", "refused", "accepted"]
    assert result["batch"] == {"BTC_TWD": ["2959906694"]}
    assert not bitopro_sandbox.book.get("2959906694").status.is_live
    assert result["limit"] == 5
    assert [(e.method, e.path, e.query, e.status) for e in bitopro_sandbox.journal] == [
        ("GET", "/v3/orders/open", "pair=BTC_TWD", 500),
        ("GET", "/v3/orders/open", "pair=BTC_TWD", 200),
        ("GET", "/v3/orders/open", "", 200),
        ("POST", "/v3/orders/batch", "", 404),
        ("PUT", "/v3/orders", "", 200),
    ]
    fingerprints = {entry.triple_fingerprint for entry in bitopro_sandbox.journal}
    assert len(fingerprints) == 5, "each attempt is signed afresh"

    script = tmp_path / "typed.py"
    script.write_text(TYPED)
    check = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    typed = subprocess.run(
        [*check, str(script)],
        env={"MYPYPATH": str(client.parent), "PATH": ""},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert typed.returncode == 0, typed.stdout
