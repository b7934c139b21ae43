"""A name server that does not answer keeps one thread, and nobody longer than its deadline."""

import socket
import threading

import pytest

from bitopro_orders import NotSentError, OrdersClient, SendingPolicy, connect
from tests.policy.scripted import CREDENTIALS, ORDER_ID
from tests.policy.servers import always, answer, serving
from tests.throttle.panic import WAYS, Run, Way, at_once, cancel, eventually, kinds

LOOKING = "bitopro names"
MANY = 4


def looking() -> int:
    """Return how many threads look up a name."""
    return sum(thread.name == LOOKING for thread in threading.enumerate())


@pytest.mark.parametrize("way", WAYS)
def test_those_who_wait_for_a_name_share_a_thread_and_who_comes_later_looks_anew(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, released = threading.Event(), threading.Event()
    asked, before = list[str](), looking()
    with serving(always(answer())) as server:

        def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
            asked.append(host)
            if not works.is_set():
                released.wait(10)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

        def client(seconds: float) -> OrdersClient:
            policy = SendingPolicy(
                deadline_seconds=seconds, attempts=1, in_flight=2 * MANY, limit_share=None
            )
            return connect(
                CREDENTIALS, base_url=f"http://localhost:{server.port}/v3", policy=policy
            )

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        try:
            # Its time is up last, so that nobody asks after somebody has given up.
            first = Run(way, [one := client(1.5)], [cancel(one, ORDER_ID)])
            assert eventually(lambda: len(asked) == 1)
            results = at_once(way, others := client(1), [cancel(others, ORDER_ID)] * MANY)
            assert (len(asked), looking() - before) == (1, 1)
            assert kinds([*results, *first.results(within=5)]) == {"NotSentError": MANY + 1}
            assert all(isinstance(each, NotSentError) and not each.attempts for each in results)
            assert "looking up the host's name took too long" in str(results[0])
            assert (server.opened, looking() - before) == (0, 1)
            works.set()
            one.close()
            later = client(5)
            assert kinds(at_once(way, later, [cancel(later, ORDER_ID)])) == {"accepted": 1}
            assert (len(asked), len(server.requests)) == (2, 1)
        finally:
            released.set()
        assert eventually(lambda: looking() == before)
