"""`make demo` shows what it should."""

import subprocess
import sys
import time

from tests.support import ROOT


def test_the_demo_reads_as_promised() -> None:
    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, "docs/demo.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert time.monotonic() - started < 10
    assert run.stderr == ""
    for line in (
        "2959906694     BTC_TWD   BUY       0.05 at   2800000  open",
        "accepted: BUY 0.05 at 2800000, order 2959906694",
        "DELETE /v3/orders/BTC_TWD/2959906694 -> 200",
        "X-BITOPRO-APIKEY: ***",
        "X-BITOPRO-PAYLOAD: ***",
        "X-BITOPRO-SIGNATURE: ***",
        "2959906694     BTC_TWD   BUY       0.05 at   2800000  cancelled",
        "OutcomeUnknownError: the outcome is unknown",
        "resolve(client, error): cancelled, 0 executed",
        "partly filled, rest cancelled: 0.6 executed at 110000, 0.9 not",
        "cancels sent: 1, confirmed by reading the order",
        "InvalidArgumentError: orderId must be",
        "requests sent: 0",
        "AuthenticationError: the exchange refused with 401: Invalid Signature",
    ):
        assert " ".join(line.split()) in " ".join(run.stdout.split())
    assert max(map(len, run.stdout.splitlines())) <= 100
