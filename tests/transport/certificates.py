"""Throwaway certificates for this machine, each of which signs itself, made by openssl."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

#: Name, the names it holds for, and until when.
KINDS = {
    "good": ("IP:127.0.0.1,DNS:localhost", "20991231235959Z"),
    "expired": ("IP:127.0.0.1,DNS:localhost", "20200102000000Z"),
    "wrong name": ("DNS:elsewhere.example", "20991231235959Z"),
    "unknown": ("IP:127.0.0.1,DNS:localhost", "20991231235959Z"),
}
CONFIGURATION = """
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
subjectAltName = {names}
basicConstraints = critical,CA:true
[req]
distinguished_name = any
"""


def make(folder: Path) -> None:
    """Make one certificate of each kind."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl makes the throwaway certificates")
    for kind, (names, until) in KINDS.items():
        own = folder / kind
        own.mkdir()
        (own / "index").touch()
        (own / "ca.cnf").write_text(CONFIGURATION.format(names=names))
        for command in (
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config ca.cnf "
            f"-subj /CN={kind.replace(' ', '-')} -keyout key.pem -out asked.pem",
            "ca -selfsign -batch -notext -config ca.cnf -keyfile key.pem -in asked.pem "
            f"-startdate 20200101000000Z -enddate {until} -out certificate.pem",
        ):
            subprocess.run([openssl, *command.split()], cwd=own, check=True, capture_output=True)


def of_server(folder: Path, kind: str) -> ssl.SSLContext:
    """Return a server's context with a certificate of this kind."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / kind / "certificate.pem", folder / kind / "key.pem")
    return context


def of_client(folder: Path) -> ssl.SSLContext:
    """Return a client's context that trusts all of them but the unknown one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for kind in KINDS:
        if kind != "unknown":
            context.load_verify_locations(folder / kind / "certificate.pem")
    return context
