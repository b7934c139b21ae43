"""Fixtures of the tests of the sending policy."""

from collections.abc import Callable

import pytest

from tests.policy.scripted import Player, Way


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture
def new_player(way: Way) -> Callable[..., Player]:
    """Make a player, sync and async in turn."""
    return lambda *args, **options: Player(way, *args, **options)
