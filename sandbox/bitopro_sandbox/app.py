"""The exchange's API as an ASGI application."""

import asyncio
import itertools
import posixpath
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, unquote

import attrs
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import Receive, Scope, Send

from bitopro_sandbox.book import Book, Order, OrderNotLiveError, OrderStatus, decimal_text
from bitopro_sandbox.connection import Connection
from bitopro_sandbox.faults import Answer, Drop, Faults, json_answer
from bitopro_sandbox.journal import Entry, Journal, fingerprint
from bitopro_sandbox.settings import CallName, ItemRule, Permission, Settings, StreamEvent
from bitopro_sandbox.streams import Streams
from bitopro_sandbox.verify import (
    KEY_HEADER,
    PAYLOAD_HEADER,
    SIGNATURE_HEADER,
    ApiError,
    Limit,
    Nonces,
    RateLimiter,
    decode_payload,
    nonce_of,
    verify,
)

Content: TypeAlias = dict[str, Any]

_STREAMS: dict[str, StreamEvent] = {
    "/ws/v1/pub/auth/orders": "ACTIVE_ORDERS",
    "/ws/v1/pub/auth/orders/histories": "RECENT_HISTORY_ORDERS",
}
_PAIR = re.compile(r"[A-Za-z0-9]{1,20}_[A-Za-z0-9]{1,20}")
_ORDER_ID = re.compile(r"(?:[A-Z]{1,10}-)?[0-9]{1,20}")
# In place of a pair they lead to other calls of the exchange, which are not served here.
_NO_PAIRS = ("all", "batch", "open", "trades")


@attrs.frozen
class Call:
    """One documented call, ready to run.

    Attributes:
        name: Its name in the journal; None for a handshake.
        run: Carries out the call. It gets the signed JSON object and the largest number of orders
            to cancel, and returns the content of the answer.
        permission: The permission that the key needs.
        limit: The rate limit that the call counts towards.
    """

    name: CallName | None
    run: Callable[[Content, int | None], Content]
    permission: Permission
    limit: Limit


class Api:
    """The ASGI application.

    Args:
        settings: The sandbox's behaviour.
        book: The orders.
        faults: Asked for a fault for each request and for each message of a stream.
        journal: Records every request.

    Attributes:
        streams: The open streams.
    """

    def __init__(self, settings: Settings, book: Book, faults: Faults, journal: Journal) -> None:
        self._settings = settings
        self._book = book
        self._faults = faults
        self._journal = journal
        self.streams: Streams = Streams(settings, book, faults)
        self._accounts = {account.api_key: account for account in settings.accounts}
        self._nonces = Nonces(
            settings.nonce_rule,
            settings.clock_window_ms,
            same_body_again=settings.same_body_again,
        )
        self._limiter = RateLimiter()
        self._sequence = itertools.count(1)
        self._cancel_limit = Limit("cancel", settings.requests_per_minute, 60_000)
        self._general_limit = Limit("general", settings.general_requests_per_minute, 60_000)
        self._open_limit = Limit("open", settings.open_orders_per_second, 1_000)
        self._batch_limit = Limit("batch", settings.cancel_batch_per_second, 1_000, ("ip",))
        self._all_limit = Limit("cancel_all", settings.cancel_all_per_second, 1_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one stream."""
        try:
            if scope["type"] == "websocket":
                await self._serve_stream(HTTPConnection(scope), receive, send)
            else:
                await self._serve(Request(scope, receive), send)
        except ClientDisconnect:
            pass  # It left before its request was complete: nothing was asked.
        except asyncio.CancelledError:
            pass  # The server stops and has closed the connection; uvicorn would log a traceback.

    async def _serve(self, request: Request, send: Send) -> None:
        connection: Connection = request.scope["state"]["connection"]
        answer = await self._decide(request, await request.body())
        if isinstance(answer, Drop):
            connection.drop(reset=answer.reset)
            await request.receive()  # until the connection is gone, as uvicorn demands an answer
        else:
            await self._send(answer, connection, request.receive, send)

    async def _serve_stream(self, request: HTTPConnection, receive: Receive, send: Send) -> None:
        await receive()  # the wish to connect, of which the scope says everything
        connection: Connection = request.scope["state"]["connection"]
        answer = await self._decide(request, b"")
        if isinstance(answer, Drop):
            connection.drop(reset=answer.reset)
            await receive()
        elif answer.status == 101:
            accept = {"type": "websocket.accept", "headers": self._headers(answer)}
            event = _STREAMS[_clean_path(request)]
            await self.streams.serve(event, accept, request.scope, receive, send)
        else:
            # Of an answer's ways over the wire, those of its body have no meaning here.
            await send(
                {
                    "type": "websocket.http.response.start",
                    "status": answer.status,
                    "headers": self._headers(answer),
                }
            )
            await send({"type": "websocket.http.response.body", "body": answer.body})

    async def _decide(self, request: HTTPConnection, body: bytes) -> Answer | Drop:
        headers = dict(request.headers)
        call = self._calls(request).get(_method(request))
        name = call.name if call else None
        if request.scope["type"] == "websocket":
            fault = self._faults.take("STREAM", _STREAMS.get(_clean_path(request)))
        else:
            fault = self._faults.take(_method(request), call=name)
        entry = self._entry(request, headers, body, name, fault.name if fault else None)
        self._journal.record(entry)

        if fault and fault.before_ms:
            await asyncio.sleep(fault.before_ms / 1000)
        reached = fault is None or fault.processed
        most = None
        if fault:
            fault.before()
            most = fault.most
        own = self._answer(request, headers, body, most) if reached else Answer(200, b"")
        if fault:
            fault.after()
        processed = reached and own.status < 400
        answer = fault.rewrite(own) if fault else own
        status = answer.status if isinstance(answer, Answer) else None
        self._journal.record(attrs.evolve(entry, status=status, processed=processed))
        if fault and fault.after_ms:
            await asyncio.sleep(fault.after_ms / 1000)
        return answer

    def _entry(
        self,
        request: HTTPConnection,
        headers: Mapping[str, str],
        body: bytes,
        call: CallName | None,
        fault: str | None,
    ) -> Entry:
        triple = [headers.get(name) for name in (KEY_HEADER, PAYLOAD_HEADER, SIGNATURE_HEADER)]
        try:
            nonce = nonce_of(decode_payload(headers.get(PAYLOAD_HEADER, "")))
        except ApiError:
            nonce = None
        present = [value for value in triple if value is not None]
        return Entry(
            sequence=next(self._sequence),
            at_ms=self._settings.clock(),
            method=_method(request),
            path=_raw(request, "raw_path"),
            call=call,
            query=_raw(request, "query_string"),
            header_names=tuple(sorted(headers)),
            body_length=len(body),
            nonce=nonce,
            key_fingerprint=fingerprint(headers[KEY_HEADER]) if KEY_HEADER in headers else None,
            triple_fingerprint=fingerprint(*present) if len(present) == len(triple) else None,
            http_connection=request.scope["state"]["connection"].number,
            fault=fault,
        )

    def _answer(
        self,
        request: HTTPConnection,
        headers: Mapping[str, str],
        body: bytes,
        most: int | None,
    ) -> Answer:
        try:
            content = self._perform(request, headers, body, most)
            if request.scope["type"] == "websocket":
                return Answer(101, b"", ())
            return json_answer(200, content)
        except ApiError as error:
            answer = json_answer(error.status, {"error": error.text})
            more = error.headers
            if error.status == 429 and self._settings.retry_after is not None:
                more = (("retry-after", str(self._settings.retry_after)),)
            return attrs.evolve(answer, headers=(*answer.headers, *more))

    def _perform(
        self,
        request: HTTPConnection,
        headers: Mapping[str, str],
        body: bytes,
        most: int | None,
    ) -> Content:
        calls = self._calls(request)
        if not calls:
            raise ApiError(404, "Not Found")
        method = _method(request)
        call = calls.get(method)
        if call is None:
            allow = ("allow", ", ".join(sorted(calls)))
            raise ApiError(405, "Method Not Allowed", (allow,))
        match = self._settings.body_match
        signed = verify(method, headers, body, self._accounts, body_match=match)
        now = self._settings.clock()
        if signed.nonce is not None:
            self._nonces.spend(signed, now)
        # Assumption: only requests with a right signature and nonce count.
        address = request.client.host if request.client else ""
        callers = {"key": f"key {signed.account.api_key}", "ip": f"ip {address}"}
        self._limiter.spend(call.limit, [callers[per] for per in call.limit.per], now)
        if signed.nonce is None:
            # Assumption: what the limit has refused may be sent again as it is.
            self._nonces.spend(signed, now)
        if call.permission not in signed.account.permissions:
            raise ApiError(403, f"The key lacks the permission to {call.permission}")
        return call.run(signed.content, most)

    async def _send(
        self, answer: Answer, connection: Connection, receive: Receive, send: Send
    ) -> None:
        length = (b"content-length", str(len(answer.body)).encode())
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [length, *self._headers(answer)],
            }
        )
        if answer.bytes_per_second:
            for i in range(len(answer.body)):
                await asyncio.sleep(1 / answer.bytes_per_second)
                await send(_part(answer.body[i : i + 1], more=True))
        elif answer.cut_after is not None:
            await send(_part(answer.body[: answer.cut_after], more=True))
            connection.transport.close()  # which, unlike a drop, sends what is written so far
            await receive()  # until the connection is gone, as uvicorn demands the rest
            return
        else:
            await send(_part(answer.body, more=True))
        await send(_part(b"", more=False))
        if answer.close_after:
            connection.transport.close()

    def _headers(self, answer: Answer) -> list[tuple[bytes, bytes]]:
        headers = {
            "date": formatdate(self._settings.clock() // 1000, usegmt=True),
            **{name.lower(): value for name, value in answer.headers},
        }
        return [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]

    def _calls(self, request: HTTPConnection) -> dict[str, Call]:
        """Return the calls at a request's path by HTTP method."""
        path, query = _clean_path(request), _raw(request, "query_string")
        if request.scope["type"] == "websocket":
            # Assumption: a handshake counts as any other signed call.
            handshake = Call(None, lambda _, __: {}, "read", self._general_limit)
            return {"GET": handshake} if path in _STREAMS else {}
        everything = self._all_limit
        match path.split("/"):
            case ["", "v3", "orders"]:
                batch = self._cancel_batch
                return {"PUT": Call("cancel_batch", batch, "trade", self._batch_limit)}
            case ["", "v3", "orders", "all"]:
                return {"DELETE": Call("cancel_all", self._cancel_all, "trade", everything)}
            case ["", "v3", "orders", "open"]:
                listing = partial(self._open_orders, query)
                return {"GET": Call("open_orders", listing, "read", self._open_limit)}
            case ["", "v3", "orders", pair, *_] if pair in _NO_PAIRS:
                return {}
            case ["", "v3", "orders", pair]:
                of_pair = partial(self._cancel_all, pair=pair)
                return {"DELETE": Call("cancel_pair", of_pair, "trade", everything)}
            case ["", "v3", "orders", pair, order_id]:
                cancel = partial(self._cancel_one, pair, order_id, query)
                get = partial(self._get_one, pair, order_id)
                return {
                    "DELETE": Call("cancel_order", cancel, "trade", self._cancel_limit),
                    "GET": Call("get_order", get, "read", self._general_limit),
                }
        return {}

    def _cancel_one(
        self, pair: str, order_id: str, query: str, _: Content, __: int | None
    ) -> Content:
        strategy = _parameter(query, "isAllStrategyCanceled")
        if strategy not in (None, "true", "false"):
            raise ApiError(400, "Wrong parameter: isAllStrategyCanceled")
        order = self._find(pair, order_id)
        if order.status.is_live:
            if order.locked:
                raise self._locked()
            self._cancel(order, cancel_strategy=strategy != "false")
        elif self._settings.second_cancel != 200:
            raise ApiError(self._settings.second_cancel, "Invalid order status")
        return {
            "action": order.action,
            # Assumption: the amount ordered, not what remains of it.
            "amount": decimal_text(order.original_amount),
            "orderId": order.id,
            "price": decimal_text(order.price),
            "timestamp": self._settings.clock(),
        }

    def _get_one(self, pair: str, order_id: str, _: Content, __: int | None) -> Content:
        return self._find(pair, order_id).to_json()

    def _open_orders(self, query: str, _: Content, __: int | None) -> Content:
        pair, settings = _parameter(query, "pair"), self._settings
        lag = settings.listing_lag_ms
        orders = self._book.open_orders(
            None if pair is None else _checked_pair(pair),
            at_ms=settings.clock() - lag if lag else None,
        )
        if not settings.lists_untriggered:
            orders = [each for each in orders if each.status is not OrderStatus.NOT_TRIGGERED]
        return {"data": [order.to_json() for order in orders[: settings.open_orders_at_most]]}

    def _cancel_all(self, _: Content, most: int | None, pair: str | None = None) -> Content:
        orders = self._book.open_orders(None if pair is None else _checked_pair(pair))
        if not self._settings.cancels_untriggered:
            orders = [each for each in orders if each.status is not OrderStatus.NOT_TRIGGERED]
        return self._cancel_many([(order.pair, order.id) for order in orders], most)

    def _cancel_batch(self, content: Content, most: int | None) -> Content:
        asked: list[tuple[str, str]] = []
        for pair, order_ids in content.items():
            if not isinstance(order_ids, list) or not all(isinstance(i, str) for i in order_ids):
                raise ApiError(400, "Invalid body")
            # Assumption: a list names an order, and none twice.
            if not order_ids or len({*order_ids}) < len(order_ids):
                raise ApiError(400, "Invalid body")
            asked += [(pair, order_id) for order_id in order_ids]
        if not asked:
            raise ApiError(400, "Invalid body")  # Assumption
        at_most = self._settings.batch_at_most
        if at_most is not None and len(asked) > at_most:
            raise ApiError(400, "Invalid body: too many orders")
        return self._cancel_many(asked, most)

    def _cancel_many(self, asked: list[tuple[str, str]], most: int | None) -> Content:
        """Cancel orders one by one, and name those that were, and those that a setting echoes."""
        cancelled: dict[str, list[str]] = {}
        found = [(pair, order_id, self._obstacle(pair, order_id)) for pair, order_id in asked]
        for _, _, (rule, error) in found:
            if error is not None and rule == "refuse":
                raise error
        for pair, order_id, (rule, error) in found[:most]:
            if error is not None and rule == "stop":
                raise error
            if error is None:
                self._cancel(self._book.get(order_id))
            if error is None or rule == "echo":
                cancelled.setdefault(pair.upper(), []).append(order_id)
        return {"data": cancelled}

    def _obstacle(self, pair: str, order_id: str) -> tuple[ItemRule, ApiError | None]:
        """Return why an order of many cannot be cancelled, and what is done about it."""
        settings = self._settings
        try:
            order = self._find(pair, order_id)
        except ApiError as error:
            # What is no pair and no id at all is no setting's business.
            return ("refuse" if error.status == 400 else settings.batch_unknown), error
        if not order.status.is_live:
            status = 400 if settings.second_cancel == 200 else settings.second_cancel
            return settings.batch_final, ApiError(status, "Invalid order status")
        return settings.many_locked, self._locked() if order.locked else None

    def _locked(self) -> ApiError:
        return ApiError(self._settings.refused_cancel, "The order cannot be cancelled now")

    def _find(self, pair: str, order_id: str) -> Order:
        pair = _checked_pair(pair)
        if not _ORDER_ID.fullmatch(order_id):
            raise ApiError(400, "Invalid order id")  # Assumption: 422 is documented just as well.
        try:
            order = self._book.get(order_id)
        except KeyError:
            raise ApiError(404, "Order not found") from None
        if order.pair != pair:
            raise ApiError(404, "Order not found")
        return order

    def _cancel(self, order: Order, *, cancel_strategy: bool = True) -> None:
        def cancel() -> None:
            # It may have been filled, or cancelled, in the meantime.
            with suppress(OrderNotLiveError):
                self._book.cancel(order.id, cancel_strategy=cancel_strategy)

        if self._settings.cancel_takes_ms:
            asyncio.get_running_loop().call_later(self._settings.cancel_takes_ms / 1000, cancel)
        else:
            cancel()


def _method(request: HTTPConnection) -> str:
    method: str = request.scope.get("method", "GET")  # a handshake is a GET
    return method


def _clean_path(request: HTTPConnection) -> str:
    """Return the path decoded and without ``.``, ``..`` and empty segments.

    Proxies on the way to an exchange do so (assumption): a cancel whose order id is one of these,
    in whatever encoding, arrives as a cancel of all orders.
    """
    return posixpath.normpath(unquote(_raw(request, "raw_path")))


def _raw(request: HTTPConnection, name: Literal["raw_path", "query_string"]) -> str:
    raw: bytes = request.scope[name]
    return raw.decode("latin-1")


def _part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _checked_pair(pair: str) -> str:
    if not _PAIR.fullmatch(pair):
        raise ApiError(400, "Wrong parameter: pair")
    return pair.upper()


def _parameter(query: str, name: str) -> str | None:
    values = parse_qs(query, keep_blank_values=True).get(name, [])
    if len(values) > 1:
        raise ApiError(400, f"Wrong parameter: {name}")
    return values[0] if values else None
