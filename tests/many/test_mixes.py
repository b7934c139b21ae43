"""Many orders under mixes of faults; `make soak` plays more of them."""

import pytest

from tests.many.mixes import play


@pytest.mark.parametrize("seed", range(12))
def test_a_mix_of_faults(mode: str, seed: int) -> None:
    assert play(seed, mode) == []
