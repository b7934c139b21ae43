"""What runs with the extra `sandbox`: `pytest own_tests.py`."""

from bitopro_auth import Credentials
from bitopro_client.api.orders import cancel_order
from bitopro_orders import connect
from bitopro_sandbox import OrderStatus, Sandbox


def test_the_order_is_cancelled(bitopro_sandbox: Sandbox) -> None:
    """Use the fixture as any team does."""
    account = bitopro_sandbox.account
    credentials = Credentials(account.api_key, account.api_secret, account.identity)
    with connect(credentials, base_url=bitopro_sandbox.base_url) as client:
        cancel_order.sync("BTC_TWD", "2959906694", client=client)
    assert bitopro_sandbox.book.get("2959906694").status is OrderStatus.CANCELLED
