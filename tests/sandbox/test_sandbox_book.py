"""The sandbox's orders, without a server."""

from decimal import Decimal
from threading import Thread

import pytest

from bitopro_sandbox import Book, Change, OrderNotLiveError, OrderStatus
from bitopro_sandbox.book import demo_book


def clock() -> int:
    return 1_504_262_258_000


@pytest.fixture
def book() -> Book:
    return demo_book(clock)


def test_the_demo_book_has_an_order_in_every_live_state(book: Book) -> None:
    assert {order.id: order.status for order in book.snapshot().values()} == {
        "2959906694": OrderStatus.OPEN,
        "2959906695": OrderStatus.OPEN,
        "12234566": OrderStatus.OPEN,
        "2959906696": OrderStatus.PARTLY_FILLED,
        "SL-9014867155": OrderStatus.NOT_TRIGGERED,
        "2959906697": OrderStatus.FILLED,
    }


def test_an_order_on_the_wire(book: Book) -> None:
    assert book.get("2959906696").to_json() == {
        "id": "2959906696",
        "pair": "eth_twd",
        "price": "110000",
        "avgExecutionPrice": "110000",
        "action": "SELL",
        "type": "LIMIT",
        "timestamp": 1_504_262_258_000,
        "createdTimestamp": 1_504_262_258_000,
        "updatedTimestamp": 1_504_262_258_000,
        "status": 1,
        "originalAmount": "1.5",
        "remainingAmount": "0.9",
        "executedAmount": "0.6",
        "fee": "132.0000",
        "feeSymbol": "twd",
        "bitoFee": "0",
        "total": "66000.0",
        "seq": "ETHTWD3000000004",
        "timeInForce": "GTC",
    }
    stop = book.get("SL-9014867155").to_json()
    assert (stop["stopPrice"], stop["condition"]) == ("88500", "<=")
    assert book.place("A_B", "BUY", amount="1", price="1", client_id=7).to_json()["clientId"] == 7


def test_decimals_never_have_an_exponent(book: Book) -> None:
    order = book.place("BTC_TWD", "BUY", amount="1E-8", price="1E+7")
    assert order.to_json()["originalAmount"] == "0.00000001"
    assert order.to_json()["price"] == "10000000"
    assert book.fill(order.id, price="1E+3").to_json()["avgExecutionPrice"] == "1000"


@pytest.mark.parametrize(
    ("order_id", "status"),
    [
        ("2959906694", OrderStatus.CANCELLED),
        ("SL-9014867155", OrderStatus.CANCELLED),
        ("2959906696", OrderStatus.PARTLY_FILLED_CANCELLED),
    ],
)
def test_a_cancel_keeps_what_is_filled(book: Book, order_id: str, status: OrderStatus) -> None:
    before = book.get(order_id)
    after = book.cancel(order_id)
    assert after == book.get(order_id)
    assert after.status is status
    assert not after.status.is_live
    assert after.executed_amount == before.executed_amount
    with pytest.raises(OrderNotLiveError):
        book.cancel(order_id)
    with pytest.raises(OrderNotLiveError):
        book.fill(order_id)


def test_fills_add_up(book: Book) -> None:
    book.fill("2959906694", "0.01", "2700000")
    order = book.fill("2959906694", price="2800000")
    assert order.status is OrderStatus.FILLED
    assert order.remaining_amount == 0
    assert order.avg_execution_price == Decimal(2780000)
    assert order.fee == Decimal("0.0001")
    assert order.fee_symbol == "btc"


@pytest.mark.parametrize("amount", ["0", "-1", "0.06"])
def test_a_fill_is_not_more_than_remains(book: Book, amount: str) -> None:
    before = book.snapshot()
    with pytest.raises(ValueError, match="between"):
        book.fill("2959906694", amount)
    assert book.snapshot() == before


def test_ids_are_unique_and_unknown_ones_refused(book: Book) -> None:
    with pytest.raises(ValueError, match="2959906694"):
        book.place("ETH_TWD", "BUY", amount="1", price="1", order_id="2959906694")
    with pytest.raises(KeyError):
        book.cancel("1")


def test_open_orders_are_sorted_by_their_last_update(book: Book) -> None:
    book.trigger("SL-9014867155")
    book.fill("2959906694", "0.01")
    assert [order.id for order in book.open_orders()] == [
        "2959906694",
        "SL-9014867155",
        "2959906696",
        "12234566",
        "2959906695",
    ]
    assert [order.id for order in book.open_orders("btc_twd")] == ["2959906694", "2959906695"]


def test_changes_are_told_in_order(book: Book) -> None:
    told: list[Change] = []
    unsubscribe = book.subscribe(told.append)
    book.trigger("SL-9014867155")
    book.fill("SL-9014867155", "0.01")
    book.cancel("SL-9014867155")
    unsubscribe()
    unsubscribe()
    book.cancel("2959906694")

    assert tuple(told) == book.changes[-4:-1]
    assert [(change.cause, change.old, change.new) for change in told] == [
        ("trigger", OrderStatus.NOT_TRIGGERED, OrderStatus.OPEN),
        ("fill", OrderStatus.OPEN, OrderStatus.PARTLY_FILLED),
        ("cancel", OrderStatus.PARTLY_FILLED, OrderStatus.PARTLY_FILLED_CANCELLED),
    ]
    assert told[-1].order == book.get("SL-9014867155")
    assert [change.sequence for change in book.changes] == list(range(1, len(book.changes) + 1))


def test_many_threads_change_one_order(book: Book) -> None:
    order = book.place("BTC_TWD", "BUY", amount="100", price="1")
    threads = [
        Thread(target=lambda: [book.fill(order.id, "1") for _ in range(25)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book.get(order.id).status is OrderStatus.FILLED
