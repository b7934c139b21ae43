"""Adding an operation to the spec and generating is all it takes: this test adds one.

It describes the open orders in a copy of the spec, generates a client from it, and uses that client
through `connect()` in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bitopro_sandbox import Sandbox, faults
from tests.support import ROOT
from tests.test_generated import GENERATOR, needs_generator
from tests.test_spec import DOCUMENT, rules

USE = """
import sys
sys.path.insert(0, sys.argv[1])
import asyncio, json
from bitopro_client.api.orders import cancel_batch, get_open_orders
from bitopro_client.models import OrderIds
from bitopro_orders import InvalidArgumentError, SendingPolicy, connect

records = []
with connect(policy=SendingPolicy(backoff_seconds=0.01), on_attempt=records.append) as client:
    found = get_open_orders.sync(pair="BTC_TWD", client=client)
    again = asyncio.run(get_open_orders.asyncio(client=client))
    try:
        get_open_orders.sync(pair="..", client=client)
    except InvalidArgumentError as error:
        refused = str(error)
    batch = cancel_batch.sync(body=OrderIds.from_dict({"BTC_TWD": ["2959906694"]}), client=client)
print(json.dumps({
    "ids": [order.id for order in found.data],
    "all": len(again.data),
    "refused": refused,
    "batch": batch.data.to_dict(),
    "outcomes": [str(record.outcome) for record in records],
    "limit": get_open_orders.OPERATION.rate_limit.requests,
}))
"""
TYPED = """
from bitopro_client.api.orders import get_open_orders
from bitopro_orders import connect

price: str = get_open_orders.sync(client=connect()).data[0].price
"""


def with_open_orders() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(DOCUMENT))
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
    document["components"]["schemas"]["OrderIds"] = {
        "description": "Order ids by pair.",
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    }
    document["components"]["schemas"]["CancelledOrders"] = {
        "description": "The cancelled orders.",
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"$ref": "#/components/schemas/OrderIds"}},
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
    account = bitopro_sandbox.account
    run = subprocess.run(
        [sys.executable, "-c", USE, str(client.parent)],
        env={
            "BITOPRO_API_KEY": account.api_key,
            "BITOPRO_API_SECRET": account.api_secret,
            "BITOPRO_EMAIL": account.identity,
            "BITOPRO_BASE_URL": bitopro_sandbox.base_url,
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stderr == ""
    result = json.loads(run.stdout)
    assert set(result["ids"]) == {"2959906694", "2959906695"}
    assert result["all"] == len(bitopro_sandbox.book.open_orders()) + 1
    assert result["refused"].startswith("pair must be text")
    assert result["outcomes"] == ["unknown", "accepted", "accepted", "accepted"]
    assert result["batch"] == {"BTC_TWD": ["2959906694"]}
    assert not bitopro_sandbox.book.get("2959906694").status.is_live
    assert result["limit"] == 5
    assert [(e.method, e.path, e.query, e.status) for e in bitopro_sandbox.journal] == [
        ("GET", "/v3/orders/open", "pair=BTC_TWD", 500),
        ("GET", "/v3/orders/open", "pair=BTC_TWD", 200),
        ("GET", "/v3/orders/open", "", 200),
        ("PUT", "/v3/orders", "", 200),
    ]
    fingerprints = {entry.triple_fingerprint for entry in bitopro_sandbox.journal}
    assert len(fingerprints) == 4, "each attempt is signed afresh"

    script = tmp_path / "typed.py"
    script.write_text(TYPED)
    check = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    typed = subprocess.run(
        [*check, str(script)],
        env={"MYPYPATH": str(client.parent), "PATH": ""},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert typed.returncode == 0, typed.stdout
