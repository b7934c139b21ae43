"""What runs with the extra `stream`: an order is cancelled, and the stream tells of it."""

import asyncio

from bitopro_client.api.orders import cancel_order
from bitopro_orders import connect, order_history


async def main() -> None:
    """Cancel, and wait for the stream."""
    async with connect() as client, order_history(client=client) as history:
        await cancel_order.asyncio("BTC_TWD", "2959906694", client=client)
        assert (await history.final("BTC_TWD", "2959906694")).status == 4


asyncio.run(main())
