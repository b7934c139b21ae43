"""What runs with the extra `redis`: an order is cancelled by one of several machines."""

import os

from bitopro_client.api.orders import cancel_order, get_order
from bitopro_orders import connect

with connect(shared=os.environ["SHARED"]) as client:
    cancel_order.sync("BTC_TWD", "2959906694", client=client)
    assert get_order.sync("BTC_TWD", "2959906694", client=client).status == 4
