"""Which orders are changes, without any connection."""

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitopro_client.models import Order
from bitopro_orders.changes import OrderChanges, read_message
from bitopro_orders.states import FINAL
from tests.stream.server import message, wire_order

TIME = 1_700_000_000_000


def order(order_id: str = "1", **changes: Any) -> Order:
    (read,) = read_message(message(wire_order(order_id, **changes))).orders
    return read


def live(executed: int, time: int = TIME, **changes: Any) -> Order:
    figures = {"executedAmount": str(executed), "remainingAmount": str(5 - executed)}
    return order(**{**figures, "status": int(executed > 0), "updatedTimestamp": time, **changes})


def emitted(*orders: Order) -> list[Order]:
    changes = OrderChanges()
    return [each for each in orders if changes.accept(each)]


def test_a_repeat_is_no_change() -> None:
    assert emitted(order(), order(), order(pair="BTC_TWD")) == [order()]


def test_the_same_id_in_another_pair_is_another_order() -> None:
    assert len(emitted(order(), order(pair="eth_twd"))) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (live(1), live(2)),
        (live(1), live(1, TIME + 1)),
        (live(1), live(1, avgExecutionPrice="99")),
        (live(0), live(0, status=4)),
        (live(0, status=-1), live(0)),
        (order(status=4), order(status=4, updatedTimestamp=TIME + 1)),
    ],
    ids=["filled further", "later", "other figures", "done", "triggered", "done and updated"],
)
def test_a_change_is_seen_once_and_its_predecessor_not_again(first: Order, second: Order) -> None:
    assert emitted(first, second, second, first, second) == [first, second]


def test_text_that_means_the_same_is_no_change() -> None:
    assert len(emitted(live(1), live(1, price="100.00", executedAmount="1.0"))) == 1


def test_a_final_order_never_becomes_live_again() -> None:
    assert len(emitted(order(status=4), live(5, TIME + 10**6, status=1))) == 1


def test_that_it_is_done_counts_whatever_the_time_says() -> None:
    assert len(emitted(live(1, TIME), live(1, TIME - 5000, status=3))) == 2


def test_what_was_filled_never_becomes_less() -> None:
    assert len(emitted(live(3), live(2, TIME + 1))) == 1


def test_seconds_and_milliseconds_are_the_same_time() -> None:
    assert len(emitted(live(1, TIME + 123), live(1, TIME // 1000))) == 1
    assert len(emitted(live(1, TIME // 1000), live(1, TIME + 123))) == 1
    assert len(emitted(live(1, TIME + 123), live(1, TIME // 1000 + 1))) == 2
    assert len(emitted(live(1, TIME // 1000), live(1, TIME - 1))) == 1


def test_a_second_does_not_hide_the_millisecond_seen_before() -> None:
    late = live(1, TIME + 50, price="98")
    assert late not in emitted(live(1, TIME + 900), live(1, TIME // 1000, price="99"), late)
    assert late not in emitted(live(1, TIME // 1000), live(1, TIME + 900), late)


def test_an_order_without_time_is_compared_by_its_figures() -> None:
    timeless = live(1, updatedTimestamp=None)
    assert emitted(timeless, timeless, live(2, updatedTimestamp=None))[1].executed_amount == "2"


def test_the_deprecated_time_serves_where_the_other_is_missing() -> None:
    old = live(1, updatedTimestamp=None, timestamp=TIME - 1, price="99")
    assert emitted(live(1), old) == [live(1)]


def test_a_status_that_is_not_documented_is_neither_live_nor_final() -> None:
    changes = OrderChanges()
    assert changes.accept(order(status=5))
    assert not changes.live()
    assert changes.accept(order(status=4))


def test_the_memory_is_bounded_and_forgets_the_oldest() -> None:
    changes = OrderChanges(most=2)
    assert all(changes.accept(order(name)) for name in "abc")
    assert changes.latest(("btc_twd", "a")) is None
    assert changes.latest(("btc_twd", "c")) == order("c")


def test_a_repeated_message_is_told_by_id_and_content() -> None:
    changes = OrderChanges()
    assert not changes.is_repeat("1", "content")
    assert changes.is_repeat("1", "content")
    assert not changes.is_repeat("1", "other content")
    assert not changes.is_repeat(None, "content")
    assert not changes.is_repeat(None, "content")


ORDERS = st.builds(
    order,
    st.sampled_from(["1", "2"]),
    status=st.sampled_from([-1, 0, 1, 2, 3, 4, 5, 6]),
    executedAmount=st.sampled_from(["0", "1", "1.0", "2"]),
    avgExecutionPrice=st.sampled_from(["0", "100"]),
    updatedTimestamp=st.sampled_from([None, TIME, TIME + 1, TIME + 2000, TIME // 1000]),
)


@given(st.lists(ORDERS, max_size=30))
def test_whatever_comes_nothing_is_seen_twice_or_goes_back(sent: list[Order]) -> None:
    seen: dict[str, list[Order]] = {}
    changes = OrderChanges()
    for each in sent:
        if changes.accept(each):
            seen.setdefault(each.id, []).append(each)
    for order_id, states in seen.items():
        described = [str(state) for state in states]
        assert len(described) == len(set(described))
        executed = [Decimal(str(state.executed_amount)) for state in states]
        assert executed == sorted(executed)
        final = [state.status in FINAL for state in states]
        assert final == sorted(final)
        assert changes.latest(("btc_twd", order_id)) == states[-1]


@st.composite
def histories(draw: st.DrawFn) -> list[Order]:
    """An order's life, as it was: fills at growing times, in either unit, and an end."""
    in_seconds = draw(st.booleans())
    states, time, executed = [], TIME, 0
    for fill in draw(st.lists(st.integers(0, 2), max_size=5)):
        time += draw(st.integers(1000, 5000))
        executed += fill
        states.append(live(executed, time // 1000 if in_seconds else time))
    if draw(st.booleans()):
        states.append(live(executed, (time + 1) // 1000 if in_seconds else time + 1, status=3))
    return states


@given(histories(), st.data())
def test_in_any_order_the_last_state_wins(states: list[Order], data: st.DataObject) -> None:
    repeats = data.draw(st.lists(st.sampled_from(states), max_size=10)) if states else []
    sent = data.draw(st.permutations(states + repeats))
    seen = emitted(*sent)
    assert [states.index(each) for each in seen] == sorted({states.index(each) for each in seen})
    assert seen[-1:] == states[-1:]


def test_in_order_every_state_is_seen() -> None:
    states = [live(0), live(1, TIME + 1), live(2, TIME + 2), live(2, TIME + 2, status=3)]
    sent = [each for each in states for _ in range(random.randint(1, 3))]
    assert emitted(*sent) == states
