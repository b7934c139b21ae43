"""The four ways on which a request may leave: threads and tasks, ours and httpx's."""

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import httpx
import pytest

from bitopro_client.api.orders import cancel_order
from bitopro_client.models import CancelledOrder
from bitopro_orders import BitoProError, OrdersClient, connect
from tests.policy.scripted import CREDENTIALS, ORDER_ID, PAIR

Way = Literal["threads", "tasks", "httpx threads", "httpx tasks"]
OURS: tuple[Way, ...] = ("threads", "tasks")
WAYS: tuple[Way, ...] = (*OURS, "httpx threads", "httpx tasks")


class Caller:
    """Cancels on one way, and closes what it opened.

    Args:
        way: Which.
        runner: Runs the tasks.
        tls: Verifies the servers.
    """

    def __init__(self, way: Way, runner: asyncio.Runner, tls: ssl.SSLContext) -> None:
        self.way, self._runner, self._tls = way, runner, tls
        self._clients: list[OrdersClient] = []
        self._transports: list[httpx.HTTPTransport | httpx.AsyncHTTPTransport] = []

    @property
    def is_ours(self) -> bool:
        return self.way in OURS

    def connect(self, base_url: str, **options: Any) -> OrdersClient:
        if self.is_ours:
            options = {"tls": self._tls, **options}
        else:
            kind = httpx.HTTPTransport if "threads" in self.way else httpx.AsyncHTTPTransport
            self._transports.append(kind(verify=self._tls))
            options = {"transport": self._transports[-1], **options}
        client = connect(CREDENTIALS, base_url=base_url, **options)
        self._clients.append(client)
        return client

    def cancel(self, client: OrdersClient) -> CancelledOrder:
        if "threads" in self.way:
            return cancel_order.sync(PAIR, ORDER_ID, client=client)
        return self._runner.run(cancel_order.asyncio(PAIR, ORDER_ID, client=client))

    def fails(self, client: OrdersClient) -> BitoProError:
        with pytest.raises(BitoProError) as caught:
            self.cancel(client)
        return caught.value

    def at_once(self, client: OrdersClient, count: int) -> list[Any]:
        """Cancel as often at once; return the answers and errors."""
        if "threads" in self.way:

            def one(_: int) -> Any:
                try:
                    return self.cancel(client)
                except BitoProError as error:
                    return error

            with ThreadPoolExecutor(count) as threads:
                return list(threads.map(one, range(count)))

        async def main() -> list[Any]:
            calls = [cancel_order.asyncio(PAIR, ORDER_ID, client=client) for _ in range(count)]
            return await asyncio.gather(*calls, return_exceptions=True)

        return self._runner.run(main())

    def leave(self, client: OrdersClient) -> None:
        async def leave() -> None:
            async with client:
                pass
            await asyncio.sleep(0)  # in which the loop closes the sockets

        if "threads" in self.way:
            client.close()
        else:
            self._runner.run(leave())

    def close(self) -> None:
        for client in self._clients:
            self.leave(client)
        for transport in self._transports:
            if isinstance(transport, httpx.AsyncHTTPTransport):
                self._runner.run(transport.aclose())
            else:
                transport.close()
        if "tasks" in self.way:
            self._runner.run(asyncio.sleep(0.01))  # in which the loop closes the sockets
