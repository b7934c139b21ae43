"""Ways to misbehave: those of networks, of proxies in front of the exchange, of the API itself."""

import functools
import http.client
import json
import random
import re
import threading
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import attrs


@attrs.frozen
class Answer:
    """An HTTP answer, and how it goes over the wire.

    Attributes:
        status: HTTP status.
        body: The answer's body.
        headers: Further headers; ``Date`` and ``Content-Length`` are added on sending.
        cut_after: Bytes of the body after which the connection is closed; None sends them all.
        bytes_per_second: Speed of the body; None sends it at once.
        close_after: Whether the connection is closed after the answer, unannounced.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    cut_after: int | None = None
    bytes_per_second: float | None = None
    close_after: bool = False


@attrs.frozen
class Drop:
    """No answer at all: the connection is closed.

    Attributes:
        reset: Whether by a TCP reset instead of an orderly end.
    """

    reset: bool = False


def _unchanged(answer: Answer) -> Answer | Drop:
    return answer


@attrs.frozen(kw_only=True)
class Fault:
    """One way to misbehave. Use this module's functions to make one.

    Attributes:
        name: What the journal calls it.
        processed: Whether the API sees the request at all.
        before_ms: Milliseconds to wait before the API sees it.
        after_ms: Milliseconds to wait between the API's work and the answer.
        rewrite: Makes the answer from the API's own (from an empty 200 if it never saw the
            request).
    """

    name: str
    processed: bool = True
    before_ms: int = 0
    after_ms: int = 0
    rewrite: Callable[[Answer], Answer | Drop] = attrs.field(default=_unchanged, repr=False)


def delay(*, before_ms: int = 0, after_ms: int = 0) -> Fault:
    """Wait, in milliseconds, before the request is processed and/or before it is answered."""
    return Fault(name="delay", before_ms=before_ms, after_ms=after_ms)


def drop(*, reset: bool = False) -> Fault:
    """Close the connection; the request is not processed.

    Args:
        reset: Whether by a TCP reset instead of an orderly end.
    """
    return Fault(name="drop", processed=False, rewrite=lambda _: Drop(reset))


def drop_answer(*, reset: bool = False) -> Fault:
    """Process the request, then close the connection without a byte of the answer.

    Args:
        reset: Whether by a TCP reset instead of an orderly end.
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
    """Answer with ``Connection: keep-alive``, then close the connection all the same."""
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
    """Answer with an error's status, such as a proxy's 502 or 520.

    Args:
        code: HTTP status, 400 to 599.
        processed: Whether the request is processed all the same.
        html: Whether the body is a proxy's HTML page instead of the API's ``{"error": ...}``.
        headers: Further headers, such as ``Retry-After``.
    """
    if not 400 <= code <= 599:
        raise ValueError(f"{code} is no error's status")
    phrase = http.client.responses.get(code, "Web server error")  # a CDN's own have no phrase
    page = _page(code, f"{code} {phrase}") if html else json_answer(code, {"error": phrase})
    answer = attrs.evolve(page, headers=(*page.headers, *(headers or {}).items()))
    return Fault(name=f"status_{code}", processed=processed, rewrite=lambda _: answer)


def redirect(location: str, status: int = 307) -> Fault:
    """Send the client elsewhere; the request is not processed."""
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
    """Process the request; a 200 names another order."""
    return _edited("wrong_order_id", orderId=order_id)


def extra_fields() -> Fault:
    """Process the request; a 200 has fields nobody has documented."""
    return _edited("extra_fields", isNew=True, novelty={"a": [1, None]})


def unknown_action(action: str = "BORROW") -> Fault:
    """Process the request; a 200 has an ``action`` nobody has documented."""
    return _edited("unknown_action", action=action)


def numbers() -> Fault:
    """Process the request; a 200 has JSON numbers where decimal text is documented."""
    return Fault(
        name="numbers",
        rewrite=lambda answer: _if_success(
            answer, re.sub(rb':"(-?\d+(?:\.\d+)?)"', rb":\1", answer.body)
        ),
    )


def gzip_bomb(megabytes: int = 256) -> Fault:
    """Process the request, then answer 200 with a small gzip body that grows on decoding.

    Args:
        megabytes: Size once decoded, in MiB; about 1 kB each on the wire.
    """
    answer = Answer(
        200,
        _gzipped_spaces(megabytes),
        (("content-type", "application/json"), ("content-encoding", "gzip")),
    )
    return Fault(name="gzip_bomb", rewrite=lambda _: answer)


class Faults:
    """The faults that wait for a request. Safe to use from any thread.

    At most one fires on a request: the first added that applies.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    def add(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        probability: float | None = None,
        seed: int = 0,
        method: str | None = None,
    ) -> None:
        """Arm a fault.

        Args:
            fault: What happens.
            times: How often at most; default: once, or without end if a probability is given.
            probability: Chance, 0 to 1, to fire on a request; default: 1.
            seed: Makes the chances repeatable.
            method: Only on requests with this HTTP method.
        """
        if times is None and probability is None:
            times = 1
        armed = _Armed(
            fault=fault,
            left=times,
            probability=1.0 if probability is None else probability,
            random=random.Random(seed),  # noqa: S311 - repeatable on purpose
            method=method and method.upper(),
        )
        with self._lock:
            self._armed.append(armed)

    def clear(self) -> None:
        """Disarm all faults."""
        with self._lock:
            self._armed.clear()

    def take(self, method: str) -> Fault | None:
        """Return the fault that fires on a request with this HTTP method, and count it."""
        with self._lock:
            for armed in self._armed:
                if armed.fires(method):
                    return armed.fault
        return None

    def __len__(self) -> int:
        with self._lock:
            return sum(armed.left != 0 for armed in self._armed)


@attrs.define
class _Armed:
    fault: Fault
    left: int | None
    probability: float
    random: random.Random
    method: str | None

    def fires(self, method: str) -> bool:
        if self.left == 0 or self.method not in (None, method):
            return False
        if self.random.random() >= self.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


def json_answer(status: int, content: Mapping[str, Any]) -> Answer:
    """Return an answer as the API makes it."""
    return Answer(status, json.dumps(content, separators=(",", ":")).encode())


def _page(status: int, title: str) -> Answer:
    body = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{title}</body></html>"
    return Answer(status, body.encode(), (("content-type", "text/html; charset=utf-8"),))


def _if_success(answer: Answer, body: bytes) -> Answer:
    return attrs.evolve(answer, body=body) if answer.status == 200 else answer


def _edited(name: str, **fields: Any) -> Fault:  # noqa: ANN401 - JSON
    def rewrite(answer: Answer) -> Answer:
        return _if_success(answer, json_answer(200, json.loads(answer.body) | fields).body)

    return Fault(name=name, rewrite=rewrite)


@functools.cache
def _gzipped_spaces(megabytes: int) -> bytes:
    # Spaces are fine before a JSON text, so that nothing but the size gives the body away.
    compressor = zlib.compressobj(9, wbits=31)
    block = b" " * 2**20
    parts = [compressor.compress(block) for _ in range(megabytes)]
    return b"".join([*parts, compressor.compress(b"{}"), compressor.flush()])
