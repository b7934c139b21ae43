"""A bot, written for 0.1.0: tasks, the stream, and an outcome of whichever is first."""

import asyncio
import os
from datetime import datetime

from bitopro_auth import base_url_from_env
from bitopro_client.api.orders import cancel_order, get_order
from bitopro_client.models import CancelledOrder, Order
from bitopro_orders import (
    CancelOutcome,
    OrderHistory,
    OrdersClient,
    OutcomeUnknownError,
    State,
    cancel_and_confirm_async,
    connect,
    order_history,
    resolve_async,
)


class Bot:
    def __init__(self, client: OrdersClient, history: OrderHistory) -> None:
        self.client = client
        self.history = history
        self.ends: dict[str, State] = {}

    async def stop(self, pair: str, order_id: str) -> CancelOutcome:
        outcome = await cancel_and_confirm_async(
            self.client, pair, order_id, timeout=30.0, history=self.history
        )
        self.ends[outcome.order_id] = outcome.state
        at: datetime | None = outcome.at
        assert at is not None and outcome.pair == pair
        return outcome

    async def watch(self) -> Order:
        async for order in self.history:
            if order.id == "2959906695":
                return order
        raise AssertionError("the stream ended")


async def main() -> None:
    base_url: str | None = base_url_from_env()
    async with (
        connect(base_url=base_url) as client,
        order_history(
            client=client, stream_url=os.environ["BITOPRO_STREAM_URL"], snapshot=False
        ) as history,
    ):
        bot = Bot(client, history)
        watching = asyncio.create_task(bot.watch())
        async with asyncio.TaskGroup() as group:
            group.create_task(bot.stop("BTC_TWD", "2959906694"))
            group.create_task(bot.stop("ETH_TWD", "2959906696"))
        assert set(bot.ends) == {"2959906694", "2959906696"}
        assert set(bot.ends.values()) <= {State.CANCELLED, State.PARTLY_FILLED}
        assert history.connected and history.malformed == 0

        order: Order = await get_order.asyncio("BTC_TWD", "2959906695", client=client)
        cancelled: CancelledOrder = await cancel_order.asyncio(order.pair, order.id, client=client)
        assert cancelled.order_id == "2959906695"
        done = await asyncio.wait_for(watching, 30)
        assert done.status in (3, 4)
        final: Order = await asyncio.wait_for(history.final("BTC_TWD", "2959906695"), 30)
        assert final.id == done.id
        detailed = await get_order.asyncio_detailed("BTC_TWD", "2959906695", client=client)
        assert detailed.status_code == 200 and detailed.parsed.status == done.status

        error = OutcomeUnknownError("lost")
        error.operation = "cancelOrder"
        error.arguments = {"pair": "BTC_TWD", "orderId": "2959906694"}
        assert (await resolve_async(client, error, timeout=30.0)).state is State.CANCELLED


if __name__ == "__main__":
    asyncio.run(main())
