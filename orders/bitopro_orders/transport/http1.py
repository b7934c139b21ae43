"""HTTP/1.1 without IO: writes the bytes of a request, and parses an answer from received bytes.

httptools is a parser and not a client. Status and keep-alive are read inside its callbacks. The
first message with a status of 200 or above is the answer; if anything follows it, the connection is
not used again, and the answer stays as it is.
"""

import httptools

from . import LONGEST_ANSWER, LONGEST_HEAD, Answer, Headers


def request_bytes(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    """Return the bytes of a request.

    Args:
        method: The method, in capitals.
        target: The path with the query.
        headers: The headers by name, including `Host`.
        body: The body. Its length is added if there is a body or the method expects one.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    # Whoever can put a line break into a header could add a request of its own.
    if not text.count("\r\n") == text.count("\r") == text.count("\n") == len(lines) - 1:
        raise ValueError("a header has a line break")
    return text.encode("latin-1") + b"\r\n\r\n" + body


class AnswerParser:
    """Parses one answer.

    Nothing is raised from its methods, because their frames hold what the other side has sent.

    Attributes:
        is_complete: Whether the answer is complete.
        is_broken: Whether the bytes received are not an answer.
        may_reuse: Whether the connection may carry another request.
        size: How many bytes were received.
    """

    __slots__ = (
        "_body", "_head", "_headers", "_length", "_parser", "_status",
        "is_broken", "is_complete", "may_reuse", "size",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # The later of two lengths would be believed by some; the connection is closed after it.
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True)
        self._status = self._length = self._head = 0
        self.size: int = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self.is_complete: bool = False
        self.is_broken: bool = False
        self.may_reuse: bool = True

    def feed(self, data: bytes) -> bool:
        """Parse bytes; return whether nothing more is expected."""
        self.size += len(data)
        if self.is_complete:
            self.may_reuse = False
            return True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error.__context__, KeyboardInterrupt | SystemExit):
                # It came in a callback, where the parser takes it for a failure of ours.
                raise error.__context__ from None
            self.may_reuse = False
            self.is_broken = not self.is_complete
        most = LONGEST_HEAD + (LONGEST_ANSWER if self._status >= 200 else 0)
        if not self.is_complete and self.size > most:
            self.is_broken = True
        return self.is_complete or self.is_broken

    def end(self) -> None:
        """Parse the end of the connection, which completes a body without a length."""
        self.may_reuse = False
        if not self.is_complete:
            names = {name.lower() for name, _ in self._headers}
            without_length = not names & {b"content-length", b"transfer-encoding"}
            self.is_complete = self._status >= 200 and without_length and not self.is_broken
            self.is_broken = not self.is_complete

    @property
    def is_too_long(self) -> bool:
        """Whether parsing stopped because the answer was too long."""
        return self.size > LONGEST_ANSWER

    def answer(self) -> Answer:
        """Return the answer, once it is complete."""
        del self._parser  # each holds the other
        return Answer(self._status, Headers(self._headers), b"".join(self._body))

    def on_message_begin(self) -> None:
        """Begin another message: after an interim answer, or one that nobody asked for."""
        if self.is_complete:
            self.may_reuse = False
        else:
            self._headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        if not self.is_complete:
            self._headers.append((name, value))
            self._head += len(name) + len(value)
            self.is_broken = self.is_broken or self._head > LONGEST_HEAD

    def on_headers_complete(self) -> None:
        """Read the status now, because the parser does not keep it."""
        if not self.is_complete:
            self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        if not self.is_complete:
            self._body.append(body)
            self._length += len(body)
            if self._length > LONGEST_ANSWER:
                self.is_broken = True

    def on_message_complete(self) -> None:
        """Complete the answer, unless it was an interim one such as 103."""
        if self.is_complete or self._status < 200:
            return
        self.is_complete = not self.is_broken
        names = [name.lower() for name, _ in self._headers]
        two_lengths = b"content-length" in names and b"transfer-encoding" in names
        if two_lengths or not self._parser.should_keep_alive():
            self.may_reuse = False
