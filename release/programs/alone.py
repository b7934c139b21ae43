"""What runs without any extra: every package is imported whole, and an order is cancelled."""

from importlib.metadata import version

from bitopro_auth import *  # noqa: F403
from bitopro_client import *  # noqa: F403
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import *  # noqa: F403
from bitopro_orders import __version__, connect
from bitopro_sandbox import *  # type: ignore[assignment] # noqa: F403

assert __version__ == version("bitopro-orders")
with connect() as client:
    cancel_order.sync("BTC_TWD", "2959906694", client=client)
    assert get_order.sync("BTC_TWD", "2959906694", client=client).status == 4
