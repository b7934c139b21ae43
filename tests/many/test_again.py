"""What did not come off the book at first is tried again for as long as it is listed."""

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from bitopro_orders import (
    Book,
    Journal,
    NotSentError,
    OutcomeUnknownError,
    SendingPolicy,
    State,
    cancel_everything_async,
    unresolved,
)
from bitopro_sandbox import Sandbox
from tests.many.support import cancels_of, client_of, exchange, named, place, until, until_async
from tests.many.test_cancel_many import states
from tests.many.test_everything import DEMO, hasty, live
from tests.support import HASTE
from tests.support import hasty as hasty_timing

Do = Any


class Unreachable(httpx.AsyncBaseTransport):
    """An exchange that cannot be reached by the first requests to cancel.

    Each request has a pool of its own, closed with it: one that is cut off may leave its connection
    there, and nobody else could close it in the loop that opened it.
    """

    def __init__(self, times: int) -> None:
        self.times = times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET" and self.times > 0:
            self.times -= 1
            raise httpx.ConnectError("no route", request=request)
        async with httpx.AsyncHTTPTransport() as pool:
            response = await pool.handle_async_request(request)
            content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content)


def unreachable(sandbox: Sandbox, times: int) -> Any:
    return client_of(
        sandbox,
        transport=Unreachable(times),
        policy=SendingPolicy(limit_share=None, attempts=1),
        timing=hasty_timing(60),
        timeout=5 * HASTE,
    )


def test_an_order_that_was_not_sent_is_tried_again(clear: Do, tmp_path: Path) -> None:
    file = tmp_path / "cancels.jsonl"
    with exchange() as sandbox:
        orders = place(sandbox, 12)
        with Journal(file) as journal:
            ends, account = clear(sandbox, client=unreachable(sandbox, 20), journal=journal)
        assert live(sandbox) == set()
    told = states(ends)
    assert told.keys() == DEMO | {order_id for _, order_id in orders}
    assert len(ends) == len(told) == account.taken, "one end for each"
    assert set(told.values()) == {State.CANCELLED, State.PARTLY_FILLED}
    assert (account.book, account.under_way) == (Book.CLEAN, 0)
    assert not account.counts
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    of_each = Counter(line["order_id"] for line in lines if line["event"] == "end")
    assert set(of_each.values()) == {1}
    assert "it is still listed" in {line["why"] for line in lines}
    assert unresolved(file) == []


def test_an_order_that_stays_out_of_reach_is_told_once(clear: Do) -> None:
    with exchange() as sandbox:
        ends, account = clear(sandbox, client=unreachable(sandbox, 10**6), timeout=30)
        assert live(sandbox) == DEMO
        assert not {entry.call for entry in sandbox.journal} - {"open_orders"}
    assert {named(end): type(end) for end in ends} == dict.fromkeys(DEMO, NotSentError)
    assert len(ends) == account.taken == account.counts["not sent"] == 5
    assert account.under_way == 0


def test_an_order_that_was_open_is_cancelled_when_it_may_be(clear: Do) -> None:
    with exchange() as sandbox:
        sandbox.book.lock("2959906694")

        def open_it() -> None:
            # Refused again after the lag: that proves it as open.
            until(lambda: cancels_of(sandbox, "2959906694") >= 3, 20)
            sandbox.book.lock("2959906694", locked=False)

        opening = threading.Thread(target=open_it)
        opening.start()
        ends, account = clear(sandbox, client=hasty(sandbox))
        opening.join()
        assert live(sandbox) == set()
        assert cancels_of(sandbox, "2959906694") >= 4
    told = states(ends)
    assert told["2959906694"] is State.CANCELLED
    assert len(ends) == len(told) == account.taken
    assert account.book is Book.CLEAN
    (end,) = (end for end in ends if named(end) == "2959906694")
    assert end.attempts >= 4, "those before count, too"


async def test_an_unknown_one_is_read_before_it_is_cancelled_again() -> None:
    with exchange() as sandbox:
        for order_id in DEMO - {"2959906694"}:
            sandbox.book.cancel(order_id)
        broken = iter([True])

        async with hasty(sandbox) as client:
            many = cancel_everything_async(client, timeout=300, lists_untriggered=True)
            work = many._run.work

            async def cut(order: Any, escort: Any) -> Any:
                if next(broken, False):
                    escort.tally.sent += 1
                    error = OutcomeUnknownError("nobody knows")
                    error.sent_ms = client.timing.now_ms()
                    raise order.about(error, 1)
                return await work(order, escort)

            many._run.work = cut
            ends = [end async for end in many]
        calls = [entry.call for entry in sandbox.journal if entry.call != "open_orders"]
        assert calls[:3] == ["get_order", "cancel_order", "get_order"]
    assert {getattr(end, "state", end) for end in ends} == {State.CANCELLED}
    assert [end.attempts for end in ends] == [2]


async def test_ends_that_are_kept_back_are_in_the_account_when_it_is_ended() -> None:
    for stops in (False, True):
        with exchange() as sandbox:
            async with unreachable(sandbox, 10**6) as client:
                async with cancel_everything_async(client, timeout=3000) as many:
                    first = asyncio.create_task(anext(aiter(many)))
                    await until_async(lambda: len(many._run.kept) == 5)
                    assert (many.account.under_way, many.account.taken) == (5, 5)
                    assert not many.account.not_sent
                    if stops:
                        many.stop()
                        await first
                first.cancel()
                await asyncio.wait([first])
        assert many.account.counts == {"not sent": 5}
        assert (many.account.under_way, many.account.taken) == (0, 5)
