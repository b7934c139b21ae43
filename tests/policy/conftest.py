"""Fixtures of the tests of the sending policy."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.policy.scripted import Player, Way
from tests.throttle import stores


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture
def new_player(way: Way) -> Callable[..., Player]:
    """Make a player, sync and async in turn."""
    return lambda *args, **options: Player(way, *args, **options)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[stores.RedisServer]:
    """Run a Redis for one test, which may kill it."""
    with stores.redis_server(tmp_path) as server:
        yield server
