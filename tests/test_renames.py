"""A name that changes in the spec is followed, or a type checker says where it is not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bitopro_sandbox import Sandbox, faults
from tests.support import ROOT, environment_of
from tests.test_generated import needs_generator
from tests.test_shapes import generated
from tests.test_spec import DOCUMENT, STREAMS

USE = """
import asyncio
from bitopro_client.api.orders import cancel_order
from bitopro_orders import (
    OutcomeUnknownError, SendingPolicy, connect, resolve, resolve_async, resolve_many,
)

async def again(error):
    async with connect() as client:
        return (await resolve_async(client, error)).state

with connect(policy=SendingPolicy(attempts=1)) as client:
    try:
        cancel_order.sync("BTC_TWD", "2959906694", client=client)
    except OutcomeUnknownError as error:
        unknown = OutcomeUnknownError.from_json(error.to_json())
    ends = [resolve(client, unknown), *resolve_many(client, [unknown])]
print(dict(unknown.arguments), unknown.advice[:27])
print(*[end.state for end in ends], asyncio.run(again(unknown)))
"""


def renamed(new: str) -> Any:
    """Return the spec with another name for the order's id in paths."""
    text = json.dumps(DOCUMENT).replace("{orderId}", f"{{{new}}}")
    text = text.replace('"x-answer-repeats": {"orderId"', f'"x-answer-repeats": {{"{new}"')
    return json.loads(text.replace('"name": "orderId"', f'"name": "{new}"'))


@needs_generator
def test_another_name_at_the_exchange_is_followed(tmp_path: Path, bitopro_sandbox: Sandbox) -> None:
    client = generated(tmp_path, renamed("orderID"))
    bitopro_sandbox.faults.add(faults.drop_answer(), method="DELETE")
    run = subprocess.run(
        [sys.executable, "-c", USE],
        env={"PYTHONPATH": str(client), **environment_of(bitopro_sandbox)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "{'pair': 'BTC_TWD', 'orderID': '2959906694'} Find out with resolve(), or",
        "cancelled cancelled cancelled",
    ]


@needs_generator
def test_another_name_in_python_is_seen_by_a_type_checker(tmp_path: Path) -> None:
    client = generated(tmp_path, renamed("orderNumber"))
    typed = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, "errors.py"],
        env={"MYPYPATH": str(client), "PATH": ""},
        capture_output=True, text=True, check=False, cwd=ROOT / "orders" / "bitopro_orders",
    )  # fmt: skip
    assert "errors.py" in typed.stdout
    assert '"type[Names]" has no attribute "order_id"' in typed.stdout


def test_what_is_read_of_a_message_is_in_the_spec() -> None:
    """Each order of a message is read by itself, so the message is not read by its model."""
    message = DOCUMENT["components"]["schemas"]["OrdersMessage"]
    assert "data" in message["required"]
    assert "eventID" in message["properties"]
    assert "clientID" in str(DOCUMENT["components"]["schemas"]["Order"]["properties"]["clientId"])
    assert "OrdersMessage" in str(STREAMS)


@needs_generator
def test_a_session_without_outcomes_ends_before_its_first_test(tmp_path: Path) -> None:
    """Each test would wait for its own until the timeout: many minutes."""
    spec = json.loads(json.dumps(DOCUMENT).replace("executedAmount", "executed_amount"))
    client = generated(tmp_path, spec)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/auth/test_nonce.py"],
        env={"PYTHONPATH": str(client), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert run.returncode == 1
    assert (
        "the client does not read what the sandbox answers: "
        "getOrder: the answer cannot be understood: KeyError: 'executed_amount'"
    ) in run.stdout + run.stderr
    assert "collected" not in run.stdout
