"""Nonces: strictly increasing, whatever the clock and the threads do."""

import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from bitopro_auth import NonceSource, system_clock_ms


@given(st.lists(st.integers(1, 2**53), min_size=1, max_size=200))
def test_nonces_increase_under_any_clock(times: list[int]) -> None:
    clock = iter(times)
    nonce = NonceSource(lambda: next(clock))
    given_out = [nonce() for _ in times]
    assert all(a < b for a, b in itertools.pairwise(given_out))
    assert all(value >= time for value, time in zip(given_out, times, strict=True))


def test_a_clock_that_moves_on_is_the_nonce() -> None:
    times = iter([1000, 2000, 3500])
    nonce = NonceSource(lambda: next(times))
    assert [nonce(), nonce(), nonce()] == [1000, 2000, 3500]


def test_sixteen_threads_never_share_a_nonce_nor_see_it_go_back() -> None:
    nonce = NonceSource(lambda: 1_700_000_000_000)
    start = threading.Barrier(16)
    taken: list[list[int]] = [[] for _ in range(16)]

    def take(mine: list[int]) -> None:
        start.wait()
        mine.extend(nonce() for _ in range(500))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(n for mine in taken for n in mine) == [1_700_000_000_000 + i for i in range(8000)]
    assert all(mine == sorted(mine) for mine in taken)


def test_the_default_clock_is_milliseconds_since_the_epoch() -> None:
    before = system_clock_ms()
    assert before <= NonceSource()() <= system_clock_ms() + 1
    assert before > 1_700_000_000_000
