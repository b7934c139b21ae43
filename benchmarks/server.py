"""The exchange's stand-in: nginx on 127.0.0.1, with a certificate made for one run.

It has to be faster than every client, or the figures would be its own. It answers each signed
`DELETE /v3/orders/{pair}/{orderId}` with that order's id, and verifies nothing beyond that. Another
address leads to it by a wire with latency.
"""

import http.client
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

HOST = "127.0.0.1"
START_SECONDS = 5.0
LATENCY_SECONDS = 0.02
HELP = (
    "nginx is needed, as a server that is faster than the clients: `apt-get install nginx`, "
    "`dnf install nginx` or `brew install nginx`"
)
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    keepalive_timeout 600s;
    default_type application/json;
    server {{
        listen {host}:{port} ssl backlog=1024;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        location ~ "^/v3/orders/[A-Za-z0-9]+_[A-Za-z0-9]+/(?<order>[A-Z0-9-]+)$" {{
            if ($request_method != DELETE) {{ return 405; }}
            if ($http_x_bitopro_apikey = "") {{ return 401; }}
            if ($http_x_bitopro_payload = "") {{ return 401; }}
            if ($http_x_bitopro_signature !~ "^[0-9a-f]{{96}}$") {{ return 401; }}
            return 200 '{{"action":"BUY","amount":"2.3","orderId":"$order","price":"1.2",\
"timestamp":1504262258000}}';
        }}
    }}
    server {{
        listen {host}:{status_port};
        location = /status {{ stub_status; }}
    }}
}}
"""


class ServerError(Exception):
    """The server is missing or did not start."""


class Counts(NamedTuple):
    """What the server has seen so far.

    Attributes:
        connections: TLS connections that it accepted.
        requests: Requests that it answered.
    """

    connections: int
    requests: int


class Server:
    """A running server.

    Attributes:
        base_url: Where the API is.
        distant_url: Where it is when all that it says comes 20 ms later.
        bundle: The file of the certificates to trust: the usual ones, so that loading them costs
            what it always costs, and the throwaway one.
        version: nginx's own version.
    """

    def __init__(
        self, port: int, distant_port: int, status_port: int, bundle: Path, version: str
    ) -> None:
        self.base_url = f"https://{HOST}:{port}/v3"
        self.distant_url = f"https://{HOST}:{distant_port}/v3"
        self.bundle = str(bundle)
        self.version = version
        self._status_port = status_port
        self._asked = 0

    def counts(self) -> Counts:
        """Return what the server has seen so far, without these questions themselves."""
        self._asked += 1
        connection = http.client.HTTPConnection(HOST, self._status_port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/status", headers={"Connection": "close"})
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        accepted, _, requests = map(int, lines[2].split())
        return Counts(accepted - self._asked, requests - self._asked)


@contextmanager
def serve() -> Iterator[Server]:
    """Run the server, and stop it and remove its files whatever happens.

    Raises:
        ServerError: If nginx is missing or does not start.
    """
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise ServerError(HELP)
    with tempfile.TemporaryDirectory(prefix="bitopro-benchmarks-") as name:
        folder = Path(name)
        port, status_port = _free_ports(2)
        bundle = _certificates(folder)
        (folder / "nginx.conf").write_text(
            CONFIGURATION.format(folder=folder, host=HOST, port=port, status_port=status_port)
        )
        log = folder / "error.log"
        version = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
        process = subprocess.Popen(
            [nginx, "-p", name, "-e", str(log), "-c", str(folder / "nginx.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(process, (port, status_port), log)
            with _wire(port) as distant_port:
                yield Server(
                    port, distant_port, status_port, bundle, version.split(":")[-1].strip()
                )
        finally:
            _end(process)


@contextmanager
def _wire(port: int) -> Iterator[int]:
    """Run the wire with latency to a port; its own port."""
    command = [sys.executable, "-m", "benchmarks.wire", str(port), str(LATENCY_SECONDS)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        _end(process)
        process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _certificates(folder: Path) -> Path:
    trustme: Any = import_module("trustme")
    certifi: Any = import_module("certifi")
    authority = trustme.CA()
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    bundle = folder / "trusted.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    return bundle


def _wait_until_ready(process: subprocess.Popen[bytes], ports: tuple[int, ...], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    for port in ports:
        while True:
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    text = log.read_text() if log.exists() else ""
                    raise ServerError(f"nginx did not start: {text}") from error
                time.sleep(0.02)
