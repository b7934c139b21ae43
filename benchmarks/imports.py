"""What a large spec costs those who cancel: `python -m benchmarks.imports [OPERATIONS]`.

The client of today's spec and that of one with so many operations take turns, round after round;
each is a process of its own, with its bytecode written before. What is measured is the process's
CPU time, which hardly notices what else runs. It needs `.venv-generator`.
"""

import copy
import os
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "openapi" / "bitopro.yaml"
OPERATIONS = 200
ROUNDS = 21
USE = """
from time import process_time
start = process_time()
import bitopro_orders
print(process_time() - start)
from bitopro_client.api.orders import cancel_order
from bitopro_auth import Credentials
with bitopro_orders.connect(Credentials("key", "secret", "me@example.com")) as client:
    assert cancel_order.sync("BTC_TWD", "2959906694", client=client).order_id == "2959906694"
print(process_time() - start)
"""


def multiplied(document: dict[str, Any], count: int) -> dict[str, Any]:
    """Return a spec with so many operations: copies of those on one order, and of their models."""
    spec = copy.deepcopy(document)
    paths, schemas = spec["paths"], spec["components"]["schemas"]
    path = "/orders/{pair}/{orderId}"
    number = 0
    while sum(map(len, paths.values())) < count:
        number += 1
        item = copy.deepcopy(paths[path])
        for operation in item.values():
            operation["operationId"] += f"N{number}"
            media = operation["responses"]["200"]["content"]["application/json"]
            model = media["schema"]["$ref"].rpartition("/")[2]
            schemas[f"{model}N{number}"] = copy.deepcopy(schemas[model])
            media["schema"] = {"$ref": f"#/components/schemas/{model}N{number}"}
        paths[f"{path}/n{number}"] = item
    return spec


def generate(spec: dict[str, Any], folder: Path) -> None:
    """Write the client of a spec into a folder."""
    folder.mkdir()
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), "utf-8")
    command: list[str | Path] = [
        ROOT / ".venv-generator" / "bin" / "python",
        ROOT / "openapi" / "generate.py",
    ]
    command += ["--spec", folder / "spec.yaml", "--output", folder / "bitopro_client"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Exchange(BaseHTTPRequestHandler):
    """Says of every order that its cancel is accepted."""

    protocol_version = "HTTP/1.1"

    def do_DELETE(self) -> None:
        """Answer."""
        order = self.path.rpartition("/")[2]
        body = (
            f'{{"action": "BUY", "amount": "1", "orderId": "{order}", "price": "1",'
            ' "timestamp": 1504262258000}'
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def seconds(folder: Path, base_url: str) -> tuple[float, float]:
    """Return the CPU time of the import, and of all up to the end of the first cancel."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(folder), "BITOPRO_BASE_URL": base_url}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    command = [sys.executable, "-c", USE]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    first, second = re.findall(r"\S+", run.stdout)
    return float(first), float(second)


def main() -> None:
    """Measure, and print the medians and the median of the ratios within a round."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else OPERATIONS
    document = yaml.safe_load(SPEC.read_text("utf-8"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base_url = f"http://127.0.0.1:{server.server_port}/v3"
    with tempfile.TemporaryDirectory() as name:
        today, large = Path(name) / "today", Path(name) / "large"
        generate(document, today)
        generate(multiplied(document, count), large)
        for folder in (today, large):
            seconds(folder, base_url)
        rounds = [(seconds(today, base_url), seconds(large, base_url)) for _ in range(ROUNDS)]
    server.shutdown()
    for place, what in enumerate(("import", "import, connect and first cancel")):
        pairs = [(before[place], after[place]) for before, after in rounds]
        middle = [1000 * median(column) for column in zip(*pairs, strict=True)]
        ratio = median(after / before for before, after in pairs)
        print(
            f"{what}: {middle[0]:.1f} ms today, {middle[1]:.1f} ms with {count} operations, "
            f"ratio {ratio:.3f}"
        )


if __name__ == "__main__":
    main()
