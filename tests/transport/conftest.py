"""Fixtures of the transport's suite: certificates, servers with TLS, and the four ways."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.policy.servers import Peer, Server, serving
from tests.policy.test_transport import deaf as deaf
from tests.transport import certificates
from tests.transport.ways import OURS, WAYS, Caller, Way

Serving = Callable[[Callable[[Peer, int], None]], AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the certificates are."""
    folder = tmp_path_factory.mktemp("certificates")
    certificates.make(folder)
    return folder


@pytest.fixture(scope="session")
def tls(folder: Path) -> ssl.SSLContext:
    """Return what verifies the servers."""
    return certificates.of_client(folder)


@pytest.fixture
def securely(folder: Path) -> Serving:
    """Serve over TLS with a certificate that holds."""
    return partial(serving, context=certificates.of_server(folder, "good"))


def _caller(way: Way, tls: ssl.SSLContext) -> Iterator[Caller]:
    with asyncio.Runner() as runner:
        caller = Caller(way, runner, tls)
        yield caller
        caller.close()


@pytest.fixture(params=WAYS)
def caller(request: pytest.FixtureRequest, tls: ssl.SSLContext) -> Iterator[Caller]:
    """Yield each of the four ways."""
    yield from _caller(request.param, tls)


@pytest.fixture(params=OURS)
def our_caller(request: pytest.FixtureRequest, tls: ssl.SSLContext) -> Iterator[Caller]:
    """Yield each of our own two."""
    yield from _caller(request.param, tls)
