"""What the referees share. They run against the sandbox, and reach nothing else."""

from collections.abc import Iterator

import pytest

import referees.loopback  # noqa: F401 - what it does holds from here on
from bitopro_sandbox import Sandbox
from referees.clients import ASYNC, SYNC, Ccxt, Official


@pytest.fixture
def official(bitopro_sandbox: Sandbox) -> Official:
    """Return the exchange's own client."""
    return Official(bitopro_sandbox)


@pytest.fixture(params=[SYNC, ASYNC])
def ccxt(request: pytest.FixtureRequest, bitopro_sandbox: Sandbox) -> Iterator[Ccxt]:
    """Return ccxt, its synchronous and its asynchronous half."""
    with Ccxt(bitopro_sandbox, request.param) as client:
        yield client


@pytest.fixture(params=["bitopro-client", SYNC, ASYNC])
def referee(request: pytest.FixtureRequest, bitopro_sandbox: Sandbox) -> Iterator[Official | Ccxt]:
    """Return each of the clients."""
    if request.param == "bitopro-client":
        yield Official(bitopro_sandbox)
    else:
        with Ccxt(bitopro_sandbox, request.param) as client:
            yield client
