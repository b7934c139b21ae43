"""A team's own tests, written for 0.1.0 with the sandbox: `pytest own_tests.py`."""

from collections.abc import Iterator

import pytest
from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import OrdersClient, OutcomeUnknownError, RejectedError, State, connect, resolve
from bitopro_sandbox import Account, Book, Entry, Order, OrderStatus, Sandbox, Settings, faults, serve


@pytest.fixture
def bitopro_sandbox_settings() -> Settings:
    return Settings(accounts=(Account(identity="us@example.com"),), second_cancel=404)


@pytest.fixture
def client(bitopro_sandbox: Sandbox) -> Iterator[OrdersClient]:
    account: Account = bitopro_sandbox.account
    credentials = Credentials(account.api_key, account.api_secret, account.identity)
    with connect(credentials, base_url=bitopro_sandbox.base_url) as client:
        yield client


def test_a_cancel(bitopro_sandbox: Sandbox, client: OrdersClient) -> None:
    cancel_order.sync("BTC_TWD", "2959906694", client=client)
    order: Order = bitopro_sandbox.book.get("2959906694")
    assert order.status is OrderStatus.CANCELLED and not order.status.is_live
    entry: Entry = bitopro_sandbox.journal[-1]
    assert (entry.method, entry.status, entry.fault) == ("DELETE", 200, None)
    with pytest.raises(RejectedError):
        cancel_order.sync("BTC_TWD", "2959906694", client=client)


def test_a_lost_answer(bitopro_sandbox: Sandbox, client: OrdersClient) -> None:
    bitopro_sandbox.faults.add(faults.drop_answer(), method="DELETE", times=1)
    with pytest.raises(OutcomeUnknownError) as caught:
        cancel_order.sync("BTC_TWD", "2959906694", client=client)
    assert resolve(client, caught.value).state is State.CANCELLED


def test_an_order_of_ours(bitopro_sandbox: Sandbox, client: OrdersClient) -> None:
    book: Book = bitopro_sandbox.book
    order = book.place("BTC_TWD", "BUY", amount="1", price="100")
    book.fill(order.id, "0.5")
    cancel_order.sync("BTC_TWD", order.id, client=client)
    assert book.get(order.id).status is OrderStatus.PARTLY_FILLED_CANCELLED
    assert [change.new for change in book.changes if change.order_id == order.id][-1] == 3


def test_another_one() -> None:
    with serve(Settings(nonce_rule="unique")) as sandbox:
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert sandbox.stream_url.startswith("ws://")
