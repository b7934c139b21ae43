"""Faults of networks, of proxies in front of the exchange, and of the exchange itself."""

import functools
import http.client
import json
import random
import re
import threading
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

from bitopro_sandbox.settings import CallName, StreamEvent


@attrs.frozen
class Answer:
    """An HTTP answer, and how it is sent.

    Attributes:
        status: The HTTP status.
        body: The body.
        headers: The headers; ``Date`` and ``Content-Length`` are added when it is sent.
        cut_after: After how many bytes of the body the connection is closed; None sends all of it.
        bytes_per_second: How fast the body is sent, in bytes per second; None sends it at once.
        close_after: Whether the connection is closed after an answer that does not say so.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    cut_after: int | None = None
    bytes_per_second: float | None = None
    close_after: bool = False


@attrs.frozen
class Drop:
    """No answer: the connection is closed.

    Attributes:
        reset: Whether it is closed by a TCP reset; otherwise it is closed in the normal way.
    """

    reset: bool = False


@attrs.frozen
class Silence:
    """The stream stays open, but sends no more messages and no pings.

    Attributes:
        pongs: Whether to answer the client's pings and its closing handshake.
    """

    pongs: bool = True


Frame: TypeAlias = str | bytes | Drop | Silence


def _unchanged(answer: Answer) -> Answer | Drop:
    return answer


def _nothing() -> None:
    pass


@attrs.frozen(kw_only=True)
class Fault:
    """A fault of a request. The functions of this module return them.

    Attributes:
        name: Its name in the journal.
        processed: Whether the API processes the request.
        before_ms: How long to wait before the API processes the request, in milliseconds.
        after_ms: How long to wait after that before the answer is sent, in milliseconds.
        most: How many orders at most a cancel of many cancels; None for all.
        before: Called just before the API processes the request, in the server's thread.
        after: Called after the API has processed it and before the answer is sent, in the same
            thread.
        rewrite: Returns the answer to send, given the API's answer (an empty 200 if the API did not
            process the request).
    """

    name: str
    processed: bool = True
    before_ms: int = 0
    after_ms: int = 0
    most: int | None = None
    before: Callable[[], object] = attrs.field(default=_nothing, repr=False)
    after: Callable[[], object] = attrs.field(default=_nothing, repr=False)
    rewrite: Callable[[Answer], Answer | Drop] = attrs.field(default=_unchanged, repr=False)


@attrs.frozen(kw_only=True)
class StreamFault:
    """A fault of a message of a stream, either the first message or one about a change.

    Attributes:
        name: Its name, for people.
        late_ms: By how many milliseconds the message is late; later messages do not wait for it.
        rewrite: Returns what to send, as text or binary frames, given the message.
    """

    name: str
    late_ms: int = 0
    rewrite: Callable[[str], tuple[Frame, ...]] = attrs.field(
        default=lambda message: (message,), repr=False
    )


def delay(*, before_ms: int = 0, after_ms: int = 0) -> Fault:
    """Wait before the request is processed, before it is answered, or both.

    Args:
        before_ms: How long to wait before the request is processed, in milliseconds.
        after_ms: How long to wait before it is answered, in milliseconds.
    """
    return Fault(name="delay", before_ms=before_ms, after_ms=after_ms)


def meanwhile(
    *, before: Callable[[], object] = _nothing, after: Callable[[], object] = _nothing
) -> Fault:
    """Let something happen during a request, such as ``book.place`` or ``book.fill``.

    Args:
        before: Called just before the request is processed, in the server's thread.
        after: Called after it was processed and before it is answered, in the same thread.
    """
    return Fault(name="meanwhile", before=before, after=after)


def partly(count: int, code: int | None = None) -> Fault:
    """Cancel only the first orders of a request to cancel many; other calls are processed in full.

    Args:
        count: How many orders are cancelled.
        code: The HTTP status of the answer, 400 to 599; None answers with 200 and names the
            cancelled orders.
    """
    fault = Fault(name="partly") if code is None else status(code, processed=True)
    return attrs.evolve(fault, name="partly", most=count)


def drop(*, reset: bool = False) -> Fault:
    """Close the connection; the request is not processed.

    Args:
        reset: Whether it is closed by a TCP reset; otherwise it is closed in the normal way.
    """
    return Fault(name="drop", processed=False, rewrite=lambda _: Drop(reset))


def drop_answer(*, reset: bool = False) -> Fault:
    """Process the request, then close the connection without sending any of the answer.

    Args:
        reset: Whether it is closed by a TCP reset; otherwise it is closed in the normal way.
    """
    return Fault(name="drop_answer", rewrite=lambda _: Drop(reset))


def truncate() -> Fault:
    """Process the request, send the headers and half of the body, then close the connection."""
    return Fault(
        name="truncate",
        rewrite=lambda answer: attrs.evolve(answer, cut_after=len(answer.body) // 2),
    )


def drip(bytes_per_second: float) -> Fault:
    """Process the request, then send the answer's body byte by byte."""
    return Fault(
        name="drip",
        rewrite=lambda answer: attrs.evolve(answer, bytes_per_second=bytes_per_second),
    )


def close_after_answer() -> Fault:
    """Answer with ``Connection: keep-alive``, but close the connection after the answer."""
    return Fault(
        name="close_after_answer",
        rewrite=lambda answer: attrs.evolve(
            answer, close_after=True, headers=(*answer.headers, ("connection", "keep-alive"))
        ),
    )


def status(
    code: int,
    *,
    processed: bool = False,
    html: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """Answer with an error status, such as 502 or 520 from a proxy.

    Args:
        code: The HTTP status, 400 to 599.
        processed: Whether the request is processed nevertheless.
        html: Whether the body is a proxy's HTML page instead of the API's ``{"error": ...}``.
        headers: More headers, such as ``Retry-After``.
    """
    if not 400 <= code <= 599:
        raise ValueError(f"{code} is no error's status")
    phrase = http.client.responses.get(code, "Web server error")  # a CDN's own have no phrase
    page = _page(code, f"{code} {phrase}") if html else json_answer(code, {"error": phrase})
    answer = attrs.evolve(page, headers=(*page.headers, *(headers or {}).items()))
    return Fault(name=f"status_{code}", processed=processed, rewrite=lambda _: answer)


def redirect(location: str, status: int = 307) -> Fault:
    """Answer with a redirect to another URL; the request is not processed."""
    answer = Answer(status, b"", (("location", location),))
    return Fault(name="redirect", processed=False, rewrite=lambda _: answer)


def html() -> Fault:
    """Process the request, then answer 200 with an HTML page."""
    return Fault(name="html", rewrite=lambda _: _page(200, "Checking your browser"))


def invalid_json() -> Fault:
    """Process the request, then answer 200 with a body that is not JSON, though it says so."""
    return Fault(name="invalid_json", rewrite=lambda _: Answer(200, b'{"action": "BUY", "amo'))


def empty_object() -> Fault:
    """Process the request, then answer 200 with ``{}``."""
    return Fault(name="empty_object", rewrite=lambda _: json_answer(200, {}))


def wrong_order_id(order_id: str = "99999999") -> Fault:
    """Process the request, then answer 200 with the id of another order.

    If the answer names many orders, only the first id is wrong.
    """

    def edit(content: dict[str, Any]) -> None:
        data = content.get("data")
        if isinstance(data, list):
            data[:1] = [order | {"id": order_id} for order in data[:1]]
        elif isinstance(data, dict):
            for ids in list(data.values())[:1]:
                ids[:1] = [order_id]
        else:
            content["orderId"] = order_id

    return _edited("wrong_order_id", edit)


def extra_fields() -> Fault:
    """Process the request, then answer 200 with undocumented fields, also in each listed order."""
    fields = {"isNew": True, "novelty": {"a": [1, None]}}

    def edit(content: dict[str, Any]) -> None:
        for each in (content, *_listed(content)):
            each.update(fields)

    return _edited("extra_fields", edit)


def unknown_action(action: str = "BORROW") -> Fault:
    """Process the request, then answer 200 with an undocumented ``action``.

    In a listing, each order gets it. The answer to a cancel of many orders has no ``action``: it is
    not changed.
    """

    def edit(content: dict[str, Any]) -> None:
        for each in _listed(content) if "data" in content else [content]:
            each["action"] = action

    return _edited("unknown_action", edit)


def numbers() -> Fault:
    """Process the request, then answer 200 with JSON numbers in place of decimal text and ids."""
    pattern = rb'(?<=[:\[,])"(-?\d+(?:\.\d+)?)"(?=[,\]}])'
    return Fault(
        name="numbers",
        rewrite=lambda answer: _if_success(answer, re.sub(pattern, rb"\1", answer.body)),
    )


def leave_out(order_id: str) -> Fault:
    """Process a cancel of many orders, or a listing, then answer 200 without this order."""

    def edit(content: dict[str, Any]) -> None:
        data = content.get("data")
        if isinstance(data, list):
            data[:] = [order for order in data if order["id"] != order_id]
        elif isinstance(data, dict):
            for pair, ids in list(data.items()):
                data[pair] = [each for each in ids if each != order_id]

    return _edited("leave_out", edit)


def name_also(pair: str, order_id: str) -> Fault:
    """Process a cancel of many orders, then answer 200 with this order added, cancelled or not.

    Args:
        pair: The pair, as the key of the answer.
        order_id: The order's id.
    """

    def edit(content: dict[str, Any]) -> None:
        data = content.get("data")
        if isinstance(data, dict):
            data.setdefault(pair, []).append(order_id)

    return _edited("name_also", edit)


def other_data(data: object) -> Fault:
    """Process the request, then answer 200 with this value as ``data``."""
    return _edited("other_data", lambda content: content.update(data=data))


def gzip_bomb(megabytes: int = 256) -> Fault:
    """Process the request, then answer 200 with a small gzip body that decompresses to a large one.

    Args:
        megabytes: The decompressed size, in MiB; each takes about 1 kB in the answer.
    """
    answer = Answer(
        200,
        _gzipped_spaces(megabytes),
        (("content-type", "application/json"), ("content-encoding", "gzip")),
    )
    return Fault(name="gzip_bomb", rewrite=lambda _: answer)


def skip_message() -> StreamFault:
    """Never send the message."""
    return StreamFault(name="skip_message", rewrite=lambda _: ())


def repeat_message() -> StreamFault:
    """Send the message twice, with the same ``eventID``."""
    return StreamFault(name="repeat_message", rewrite=lambda message: (message, message))


def late_message(ms: int) -> StreamFault:
    """Send the message late, after the messages that follow in the meantime."""
    return StreamFault(name="late_message", late_ms=ms)


def drop_stream(*, reset: bool = False) -> StreamFault:
    """Close the connection instead of sending the message.

    Args:
        reset: Whether it is closed by a TCP reset; otherwise it ends without a closing handshake.
    """
    return StreamFault(name="drop_stream", rewrite=lambda _: (Drop(reset),))


def silence(*, pongs: bool = True) -> StreamFault:
    """Send neither this message nor later ones, nor pings; the connection stays open.

    Args:
        pongs: Whether to answer the client's pings and its closing handshake.
    """
    return StreamFault(name="silence", rewrite=lambda _: (Silence(pongs),))


def malformed_message(
    kind: Literal["not_json", "truncated", "no_data", "wrong_types", "binary"],
) -> StreamFault:
    """Send something that a client cannot understand in place of the message.

    Args:
        kind: ``"not_json"``: text that is not JSON; ``"truncated"``: half of the message;
            ``"no_data"``: the message without ``data``; ``"wrong_types"``: each field of each order
            inside a list; ``"binary"``: the message in a binary frame.
    """

    def rewrite(message: str) -> tuple[Frame, ...]:
        content = json.loads(message)
        if kind == "not_json":
            return ("Bad Gateway",)
        if kind == "truncated":
            return (message[: len(message) // 2],)
        if kind == "binary":
            return (message.encode(),)
        data = content.pop("data")
        if kind == "wrong_types":
            content["data"] = {
                pair: [{name: [value] for name, value in order.items()} for order in orders]
                for pair, orders in data.items()
            }
        return (json.dumps(content),)

    return StreamFault(name=f"malformed_{kind}", rewrite=rewrite)


_FaultT = TypeVar("_FaultT", Fault, StreamFault)


class Faults:
    """The faults that were added, for requests and for messages of streams. Any thread may use it.

    Each request or message gets one fault at most: the first one added that applies.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    def add(
        self,
        fault: Fault | StreamFault,
        *,
        times: int | None = None,
        probability: float | None = None,
        seed: int = 0,
        method: str | None = None,
        call: CallName | None = None,
        event: StreamEvent | None = None,
    ) -> None:
        """Add a fault.

        Args:
            fault: A fault of a request, or of a message of a stream.
            times: How many times at most it happens; by default once, or without a limit if there
                is a ``probability``.
            probability: The probability, 0 to 1, with which it happens each time; by default 1.
            seed: The seed of the random numbers, so that a test can be repeated.
            method: Only requests with this HTTP method, or with ``"STREAM"`` only the handshakes
                that open a stream; by default all requests except handshakes.
            call: Only requests of this call, such as ``"cancel_batch"``.
            event: Only messages, or handshakes, of the stream with this event.
        """
        if times is None and probability is None:
            times = 1
        armed = _Armed(
            fault=fault,
            left=times,
            probability=1.0 if probability is None else probability,
            random=random.Random(seed),  # noqa: S311 - repeatable on purpose
            method=method and method.upper(),
            call=call,
            event=event,
        )
        with self._lock:
            self._armed.append(armed)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._armed.clear()

    def take(
        self, method: str, event: StreamEvent | None = None, *, call: CallName | None = None
    ) -> Fault | None:
        """Return the fault for a request, and count it.

        Args:
            method: The HTTP method; ``"STREAM"`` for a handshake.
            event: The event of the stream that a handshake opens.
            call: The call, if the request is a documented one.
        """
        return self._take(Fault, method, event, call)

    def take_message(self, event: StreamEvent) -> StreamFault | None:
        """Return the fault for a message of the stream with this event, and count it."""
        return self._take(StreamFault, "STREAM", event)

    def _take(
        self,
        kind: type[_FaultT],
        method: str,
        event: StreamEvent | None,
        call: CallName | None = None,
    ) -> _FaultT | None:
        with self._lock:
            for armed in self._armed:
                if isinstance(armed.fault, kind) and armed.fires(method, event, call):
                    return armed.fault
        return None

    def __len__(self) -> int:
        with self._lock:
            return sum(armed.left != 0 for armed in self._armed)


@attrs.define
class _Armed:
    fault: Fault | StreamFault
    left: int | None
    probability: float
    random: random.Random
    method: str | None
    call: CallName | None
    event: StreamEvent | None

    def fires(self, method: str, event: StreamEvent | None, call: CallName | None) -> bool:
        if self.left == 0 or self.method not in (None, method) or self.event not in (None, event):
            return False
        if self.call not in (None, call):
            return False
        any_request = isinstance(self.fault, Fault) and self.method is None and self.event is None
        if any_request and method == "STREAM":
            return False
        if self.random.random() >= self.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


def json_answer(status: int, content: Mapping[str, Any]) -> Answer:
    """Return an answer in the form of the API."""
    return Answer(status, json.dumps(content, separators=(",", ":")).encode())


def _page(status: int, title: str) -> Answer:
    body = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{title}</body></html>"
    return Answer(status, body.encode(), (("content-type", "text/html; charset=utf-8"),))


def _if_success(answer: Answer, body: bytes) -> Answer:
    return attrs.evolve(answer, body=body) if answer.status == 200 else answer


def _edited(name: str, edit: Callable[[dict[str, Any]], None]) -> Fault:
    def rewrite(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        content = json.loads(answer.body)
        edit(content)
        return attrs.evolve(answer, body=json_answer(200, content).body)

    return Fault(name=name, rewrite=rewrite)


def _listed(content: dict[str, Any]) -> list[dict[str, Any]]:
    data = content.get("data")
    return data if isinstance(data, list) else []


@functools.cache
def _gzipped_spaces(megabytes: int) -> bytes:
    # Spaces are fine before a JSON text, so that nothing but the size gives the body away.
    compressor = zlib.compressobj(9, wbits=31)
    block = b" " * 2**20
    parts = [compressor.compress(block) for _ in range(megabytes)]
    return b"".join([*parts, compressor.compress(b"{}"), compressor.flush()])
