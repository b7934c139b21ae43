"""schemathesis drives the sandbox from the spec, and finds that they agree."""

import base64
import os
import re
import subprocess
import sys

import pytest

from bitopro_sandbox import Book, Change, Fault, Sandbox, Settings, faults, serve
from tests.support import ROOT, environment_of

SPEC = ROOT / "openapi" / "bitopro.yaml"
# Whom the limits refuse has shown nothing, so there are none. Whether the exchange refuses a second
# cancel, a batch of unknown orders, or the same batch again is documented nowhere; here it does
# not, as what the spec allows must be taken. What is signed is not sent in the same order.
NONE = 10**9
SETTINGS = Settings(
    requests_per_minute=NONE,
    general_requests_per_minute=NONE,
    open_orders_per_second=NONE,
    cancel_batch_per_second=NONE,
    cancel_all_per_second=NONE,
    second_cancel=200,
    batch_unknown="skip",
    nonce_rule="unique",
    clock_window_ms=600_000,
    same_body_again=True,
)


def drive(sandbox: Sandbox, *options: str) -> tuple[int, str]:
    """Return how it ends, and what it reports."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file"]
    command += [str(ROOT / "referees" / "schemathesis.toml"), "run", str(SPEC)]
    done = subprocess.run(
        [*command, "--url", sandbox.base_url, *options],
        env={**os.environ, **environment_of(sandbox)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def shows_no_credential(report: str, sandbox: Sandbox) -> bool:
    """Say whether the report keeps the account's secrets, and what it signed, to itself."""
    account = sandbox.account
    begin_of_payload = base64.b64encode(b'{"identity":"').decode()[:16]
    secrets = (account.api_key, account.api_secret, account.identity, begin_of_payload)
    return not any(each in report for each in secrets) and not re.search("[0-9a-f]{96}", report)


def never_run_out(book: Book) -> None:
    """Place an order like it whenever one is cancelled."""

    def replace(change: Change) -> None:
        old = change.order
        if change.cause == "cancel":
            book.place(
                old.pair, old.action, amount=old.original_amount, price=old.price,
                order_type=old.type, stop_price=old.stop_price, condition=old.condition,
            )  # fmt: skip

    book.subscribe(replace)


def test_the_sandbox_does_what_the_spec_says() -> None:
    with serve(SETTINGS) as sandbox:
        never_run_out(sandbox.book)
        code, report = drive(sandbox)
        answers = {(entry.call, entry.status) for entry in sandbox.journal}
    assert code == 0, report
    assert "Selected: 6/6\n  Tested: 6\n" in report
    assert "No issues found" in report
    assert shows_no_credential(report, sandbox)
    # It was let in, and it reached the orders.
    calls = {
        "cancel_order",
        "get_order",
        "open_orders",
        "cancel_batch",
        "cancel_pair",
        "cancel_all",
    }
    assert {(call, 200) for call in calls} <= answers
    assert {(call, 401) for call in calls} <= answers
    assert {status for _, status in answers} <= {200, 400, 401, 404, 405}


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (faults.numbers(), "Response violates schema"),
        (faults.empty_object(), "Response violates schema"),
        (faults.html(), "Undocumented Content-Type"),
    ],
)
def test_it_would_find_a_disagreement(fault: Fault, finding: str) -> None:
    with serve(SETTINGS) as sandbox:
        sandbox.faults.add(fault, times=1000)
        code, report = drive(sandbox, "--phases", "examples")
    assert code == 1
    assert finding in report
    assert "curl -X " in report
    assert shows_no_credential(report, sandbox)
