"""The request's bytes and the answer's parser, without a network."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitopro_orders.transport import LONGEST_ANSWER, LONGEST_HEAD
from bitopro_orders.transport.http1 import AnswerParser, request_bytes
from tests.policy.servers import answer

BODY = b'{"orderId":"1"}'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
    b"8\r\n" + BODY[:8] + b"\r\n7\r\n" + BODY[8:] + b"\r\n0\r\n\r\n"
)
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
WITHOUT_LENGTH = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + BODY


def fed(*parts: bytes) -> AnswerParser:
    parser = AnswerParser()
    for part in parts:
        parser.feed(part)
    return parser


@pytest.mark.parametrize("data", [answer(BODY, headers="X: y\r\n"), CHUNKED, EARLY + CHUNKED])
@given(cuts=st.sets(st.integers(1, 150), max_size=6))
def test_an_answer_is_the_same_however_it_is_cut(data: bytes, cuts: set[int]) -> None:
    parser, ends = AnswerParser(), [*sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        assert parser.feed(data[start:end]) == (end == len(data))
    assert (parser.is_complete, parser.is_broken, parser.may_reuse) == (True, False, True)
    found = parser.answer()
    assert (found.status, found.content, found.headers["x"]) == (200, BODY, "y")
    assert "link" not in found.headers, "that of the interim answer"


@pytest.mark.parametrize("at_once", [True, False])
def test_what_comes_after_an_answer_changes_nothing_and_ends_the_connection(at_once: bool) -> None:
    more = answer(b'{"error":"no"}', "404 Not Found")
    parser = fed(answer(BODY) + more) if at_once else fed(answer(BODY), more)
    assert (parser.is_complete, parser.may_reuse) == (True, False)
    found = parser.answer()
    assert (found.status, found.content) == (200, BODY)


@pytest.mark.parametrize(
    ("data", "is_complete"),
    [
        (WITHOUT_LENGTH, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + BODY, False),
        (CHUNKED[:-5], False),
        (WITHOUT_LENGTH[:20], False),
        (EARLY, False),
        (b"", False),
    ],
)
def test_the_end_completes_a_body_without_a_length_and_nothing_else(
    data: bytes, is_complete: bool
) -> None:
    parser = fed(data)
    assert not parser.is_complete
    parser.end()
    assert (parser.is_complete, parser.is_broken) == (is_complete, not is_complete)
    assert not parser.may_reuse


@pytest.mark.parametrize(
    "headers",
    ["Connection: close\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"],
)
def test_after_these_headers_the_connection_ends(headers: str) -> None:
    head = f"HTTP/1.1 200 OK\r\n{headers}".encode()
    if "chunked" in headers:
        parser = fed(head + b"\r\n2\r\n{}\r\n0\r\n\r\n")
    else:
        parser = fed(head + b"Content-Length: 2\r\n\r\n{}")
    assert (parser.is_complete, parser.may_reuse) == (True, False)
    assert parser.answer().content == b"{}"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * LONGEST_HEAD,
        b"HTTP/1.1 200 OK\r\n" + b"X: yy\r\n" * (LONGEST_HEAD // 2) + b"\r\n",
        EARLY * (LONGEST_HEAD // len(EARLY) + 1),
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (LONGEST_ANSWER + 1),
        answer(b" " * (LONGEST_ANSWER + 1)),
    ],
    ids=["one header", "headers", "interim answers", "body", "body with its length"],
)
@pytest.mark.parametrize("size", [1000, 10**7])
def test_what_is_too_long_is_given_up(data: bytes, size: int) -> None:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    assert fed(*parts).is_broken


def test_a_request_is_written_once_and_whole() -> None:
    headers = {"Host": "x", "Accept": "y"}
    assert request_bytes("GET", "/a?b=c", headers, b"") == (
        b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: y\r\n\r\n"
    )
    body = json.dumps({"a": 1}).encode()
    assert request_bytes("PUT", "/a", {"Host": "x"}, body) == (
        b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n" + body
    )
    assert b"Content-Length: 0\r\n" in request_bytes("POST", "/a", {}, b"")


@pytest.mark.parametrize("text", ["a\r\nX: y", "a\nX: y", "a\rX: y", "\r\n\r\nGET / HTTP/1.1"])
def test_nobody_adds_a_header_or_a_request_by_a_line_break(text: str) -> None:
    for method, target, headers in (
        ("GET", "/", {"X": text}),
        ("GET", "/", {text: "x"}),
        ("GET", text, {}),
    ):
        with pytest.raises(ValueError, match="line break"):
            request_bytes(method, target, headers, b"")
