"""What every operation of `spec.py` does, in a process that has its client: see test_shapes.py."""

import asyncio
import base64
import copy
import hashlib
import hmac
import importlib
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bitopro_auth import Credentials
from bitopro_orders import InvalidArgumentError, OutcomeUnknownError, SendingPolicy, connect

models: Any = importlib.import_module("bitopro_client.models")
UNSET: Any = importlib.import_module("bitopro_client.types").UNSET
CREDENTIALS = Credentials("key", "a secret of some length", "me@example.com")
ONCE = SendingPolicy(attempts=1)


def operation(name: str) -> Any:
    return importlib.import_module(f"bitopro_client.api.shapes.{name}")


class Exchange(ThreadingHTTPServer):
    """Answers what it is told to, if the request is signed rightly."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: object = None
        self.status = 200
        self.requests: list[tuple[str, str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Exchange

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        payload = self.headers["X-BITOPRO-PAYLOAD"]
        expected = hmac.new(b"a secret of some length", payload.encode(), hashlib.sha384)
        signed = base64.b64decode(payload)
        if self.command in ("POST", "PUT"):
            is_right = signed == body and self.headers["Content-Type"] == "application/json"
        else:
            is_right = json.loads(signed)["identity"] == "me@example.com" and not body
        if expected.hexdigest() == self.headers["X-BITOPRO-SIGNATURE"] and is_right:
            sent = json.loads(body) if body else None
            self.server.requests.append((self.command, self.path, sent))
            status, content = self.server.status, json.dumps(self.server.answer).encode()
        else:
            status, content = 401, b'{"error": "Invalid Signature"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_DELETE = do_POST = do_PUT = answer  # noqa: N815 - the library's names


@pytest.fixture(scope="module")
def server() -> Iterator[Exchange]:
    with Exchange() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def exchange(server: Exchange) -> Exchange:
    server.requests.clear()
    server.status = 200
    return server


Use = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest, exchange: Exchange) -> Use:
    """Use an operation through `connect()`, sync and async in turn."""
    base_url = f"http://127.0.0.1:{exchange.server_port}"

    def sync(name: str, /, *args: object, **kwargs: object) -> Any:
        with connect(CREDENTIALS, base_url=base_url, policy=ONCE) as client:
            return operation(name).sync(*args, client=client, **kwargs)

    def run_async(name: str, /, *args: object, **kwargs: object) -> Any:
        async def main() -> Any:
            async with connect(CREDENTIALS, base_url=base_url, policy=ONCE) as client:
                return await operation(name).asyncio(*args, client=client, **kwargs)

        return asyncio.run(main())

    return sync if request.param == "sync" else run_async


def these(*values: Any) -> tuple[Any, ...]:
    return values


DONE: dict[str, Any] = {"text": "a"}
QUERY: dict[str, Any] = {"must_text": "AB", "must_number": -5, "must_flag": False}


# Parameters --------------------------------------------------------------------------------------

ASKED: list[tuple[str, tuple[Any, ...], dict[str, Any], object, str]] = [
    ("take_text", ("AB_CD",), {}, {"text": "ab_cd"}, "/texts/AB_CD"),
    ("take_number", (0, "AB"), {}, {"number": 0, "code": "AB"}, "/numbers/0/AB"),
    ("take_number", (1000, "AB"), {}, {"number": 1000, "code": "AB"}, "/numbers/1000/AB"),
    ("take_query", (), QUERY, {"data": []}, "/query?mustText=AB&mustNumber=-5&mustFlag=false"),
    (
        "take_query",
        (),
        {
            **QUERY,
            "may_text": "CD",
            "limit": 0,
            "may_flag": True,
            "type_": "X",
            "from_": 3,
        },
        {"data": [{"code": "cd", "number": 0}]},
        "/query?mustText=AB&mustNumber=-5&mustFlag=false&mayText=CD&limit=0&mayFlag=true&type=X&from=3",
    ),
    ("take_keys", (), {"code": "AB"}, {"data": {"ab": ["x"]}}, "/keys?code=AB"),
    ("take_keys", (), {}, {"data": {"AB": ["x"], "CD": []}}, "/keys"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "answer", "target"), ASKED)
def test_good_arguments_are_sent_as_they_are(
    name: str, args: Any, kwargs: Any, answer: object, target: str, exchange: Exchange, use: Use
) -> None:
    exchange.answer = answer
    use(name, *args, **kwargs)
    assert exchange.requests == [("GET", target, None)]


NO_TEXTS: list[object] = ["", "..", "ab", "AB/CD", "A" * 10, 5, None, True, ["AB"], {}, b"AB"]
NO_NUMBERS: list[object] = [-1, 1001, 1.0, "7", "", True, None, [7], {}, 10**30]
NO_FLAGS: list[object] = ["true", "false", 0, 1, None, []]
REFUSED = [
    *[("take_text", (bad,), {}, "code") for bad in NO_TEXTS],
    *[("take_number", (bad, "AB"), {}, "theNumber") for bad in NO_NUMBERS],
    *[("take_query", (), {**QUERY, "must_text": bad}, "mustText") for bad in NO_TEXTS],
    *[("take_query", (), {**QUERY, "may_text": bad}, "mayText") for bad in NO_TEXTS],
    *[("take_query", (), {**QUERY, "limit": bad}, "limit") for bad in NO_NUMBERS],
    *[("take_query", (), {**QUERY, "must_number": bad}, "mustNumber") for bad in these(-6, 6, "1")],
    *[("take_query", (), {**QUERY, "must_flag": bad}, "mustFlag") for bad in NO_FLAGS],
    *[("take_query", (), {**QUERY, "may_flag": bad}, "mayFlag") for bad in NO_FLAGS],
    *[("take_query", (), {**QUERY, name: UNSET}, "must") for name in QUERY],
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs", "expected"), REFUSED)
def test_bad_arguments_are_refused_before_anything_is_sent(
    name: str, args: Any, kwargs: Any, expected: str, exchange: Exchange, use: Use
) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"^{expected}\w* must be .*nothing was sent$"):
        use(name, *args, **kwargs)
    assert exchange.requests == []


# Bodies ------------------------------------------------------------------------------------------

SENT = {"code": "AB", "number": 0, "flag": False}
WHOLE_SENT = {
    **SENT,
    "maybeMoney": "1.50",
    "maybeSigned": -5,
    "codes": ["AB", "CD"],
    "numbers": [1, 1],
    "flags": [True],
    "inners": [{"code": "AB"}, {"code": "CD", "money": "2"}],
    "inner": {"code": "AB"},
    "byKey": {"AB": 7},
}
SENDS: list[tuple[str, str, Any]] = [
    ("send_everything", "POST", SENT),
    ("send_everything", "POST", WHOLE_SENT),
    ("send_inners", "PUT", {"AB": {"code": "CD"}, "CD": {"code": "CD", "money": "1"}}),
    ("send_inners", "PUT", {}),
    ("send_texts", "POST", ["AB", "AB"]),
    ("send_numbers", "POST", [0, 1000]),
    ("send_flags", "POST", [True, False]),
    ("send_models", "POST", [{"code": "AB", "money": "1"}]),
]
MODELS = {"send_everything": "Sent", "send_inners": "SentInners", "send_models": "Inner"}


def as_model(name: str, body: Any) -> Any:
    if name not in MODELS:
        return body
    model = getattr(models, MODELS[name])
    return [model.from_dict(e) for e in body] if isinstance(body, list) else model.from_dict(body)


@pytest.mark.parametrize("make", [as_model, lambda _, body: body], ids=["model", "plain"])
@pytest.mark.parametrize(("name", "method", "body"), SENDS)
def test_good_bodies_are_sent_as_they_are(
    name: str, method: str, body: Any, make: Any, exchange: Exchange, use: Use
) -> None:
    exchange.answer, exchange.status = DONE, 201 if name == "send_everything" else 200
    assert use(name, body=make(name, copy.deepcopy(body))).text == "a"
    assert [(request[0], request[2]) for request in exchange.requests] == [(method, body)]


def test_a_decimal_is_sent_as_text(exchange: Exchange, use: Use) -> None:
    exchange.answer, exchange.status = DONE, 201
    use("send_everything", body={**SENT, "maybeMoney": Decimal("1E+2")})
    assert exchange.requests[0][2]["maybeMoney"] == "100"


NO_MONEY: list[object] = ["-5", "", "1e5", 1.5, 5, None, Decimal(-5), Decimal("NaN"), "1" * 19]
BAD_BODIES: list[tuple[str, Any, str]] = [
    *[("send_everything", bad, "body") for bad in these(None, [], "", "{}", 5, object())],
    *[
        ("send_everything", {k: v for k, v in SENT.items() if k != name}, f"body.{name}")
        for name in SENT
    ],
    ("send_everything", {**SENT, "more": 1}, "each key of body"),
    ("send_everything", {**SENT, 5: 1}, "each key of body"),
    *[("send_everything", {**SENT, "code": bad}, "body.code") for bad in NO_TEXTS],
    *[("send_everything", {**SENT, "number": bad}, "body.number") for bad in NO_NUMBERS],
    *[("send_everything", {**SENT, "flag": bad}, "body.flag") for bad in NO_FLAGS],
    *[("send_everything", {**SENT, "maybeMoney": bad}, "body.maybeMoney") for bad in NO_MONEY],
    *[
        ("send_everything", {**SENT, "codes": bad}, "body.codes")
        for bad in these(
            [], ["AB", "AB"], ["A", "B", "C"], ["a"], [None], "AB", {"..": ["..", 5]}, None
        )
    ],
    *[
        ("send_everything", {**SENT, "numbers": bad}, "body.numbers")
        for bad in these([], [-1], ["1"])
    ],
    *[("send_everything", {**SENT, "flags": bad}, "body.flags") for bad in these([], [1], None)],
    *[
        ("send_everything", {**SENT, "inners": bad}, "body.inners")
        for bad in these([], [{}], [None], [{"code": ".."}], {"code": "AB"})
    ],
    ("send_everything", {**SENT, "inner": {"code": "AB", "money": "-5"}}, "body.inner.money"),
    ("send_everything", {**SENT, "byKey": {}}, "body.byKey"),
    ("send_everything", {**SENT, "byKey": {"..": 1}}, "each key of body.byKey"),
    ("send_everything", {**SENT, "byKey": {"AB": -1}}, "body.byKey"),
    ("send_inners", {"..": {"code": "AB"}}, "each key of body"),
    ("send_inners", {"AB": {"code": ".."}}, "body"),
    ("send_lists", {"..": ["..", 5]}, "each key of body"),
    ("send_lists", {"AB": ["..", 5]}, "body"),
    ("send_lists", {"AB": []}, "body"),
    *[("send_texts", bad, "body") for bad in these([], [".."], "AB", {}, None, [["AB"]])],
    *[("send_numbers", bad, "body") for bad in these([], [-1], ["1"], [True])],
    *[("send_flags", bad, "body") for bad in these([], [1], ["true"])],
    *[("send_models", bad, "body") for bad in these([], [{}], [{"code": "AB"}] * 3, [None])],
]


@pytest.mark.parametrize(("name", "body", "place"), BAD_BODIES)
def test_bad_bodies_are_refused_before_anything_is_sent(
    name: str, body: Any, place: str, exchange: Exchange, use: Use
) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        use(name, body=body)
    assert str(raised.value).startswith(place)
    assert str(raised.value).endswith("; nothing was sent")
    assert exchange.requests == []


# Answers -----------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "text": "a",
    "number": 2**60,
    "flag": True,
    "either": 5,
    "texts": ["a"],
    "done": DONE,
    "doneByKey": {"X": DONE},
    "inlineMap": {"X": 1},
}
MAYBE: dict[str, Any] = {
    "maybeText": "a",
    "maybeNumber": 1,
    "maybeFlag": False,
    "maybeEither": "a",
    "maybeNumbers": [1],
    "maybeFlags": [True],
    "maybeMany": [DONE, {"text": "b", "number": 1, "flag": True}],
    "maybeDone": DONE,
    "maybeTextsByKey": {"X": ["a"]},
    "type": "a",
    "from": "b",
    "list": "c",
    "tomorrow": {"is": "another day"},
}
ANSWERS: list[tuple[str, Any]] = [
    ("take_everything", EVERYTHING),
    ("take_everything", {**EVERYTHING, **MAYBE}),
    ("take_everything", {**EVERYTHING, "texts": [], "doneByKey": {}, "inlineMap": {}}),
    ("take_texts", ["a", "b"]),
    ("take_numbers", [1, 2]),
    ("take_flags", [True, False]),
    ("take_models", [DONE, {"text": "b", "tomorrow": 1}]),
    *[(name, []) for name in ("take_texts", "take_numbers", "take_flags", "take_models")],
    ("take_text_by_key", {"X": "a", "Y": "b"}),
    ("take_number_by_key", {"X": 1}),
    ("take_flag_by_key", {"X": True}),
    ("take_done_by_key", {"X": DONE}),
    ("take_texts_by_key", {"X": ["a"], "Y": []}),
    ("take_done_lists_by_key", {"X": [DONE]}),
    ("take_text_by_key", {}),
]


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.to_dict() if hasattr(value, "to_dict") else value


@pytest.mark.parametrize(("name", "answer"), ANSWERS)
def test_good_answers_are_what_they_are(
    name: str, answer: Any, exchange: Exchange, use: Use
) -> None:
    exchange.answer = answer
    assert plain(use(name)) == answer


def test_what_may_be_missing_is_unset_and_what_is_named_like_a_word_has_a_name(
    exchange: Exchange, use: Use
) -> None:
    exchange.answer = {**EVERYTHING, "type": "a", "from": "b", "list": "c", "maybeNumber": "x"}
    found = use("take_everything")
    assert (found.type_, found.from_, found.list_) == ("a", "b", "c")
    assert found.maybe_number is UNSET
    assert found.maybe_many is UNSET


BAD_ANSWERS: list[tuple[str, Any]] = [
    *[
        ("take_everything", {k: v for k, v in EVERYTHING.items() if k != name})
        for name in EVERYTHING
    ],
    *[("take_everything", bad) for bad in these(None, [], "a", 5)],
    *[
        ("take_everything", {**EVERYTHING, "number": bad})
        for bad in these(None, "1", 1.5, True, [])
    ],
    *[("take_everything", {**EVERYTHING, "flag": bad}) for bad in these(None, "true", 1)],
    *[
        ("take_everything", {**EVERYTHING, "texts": bad})
        for bad in these(None, {}, "a", [None], [[]])
    ],
    *[("take_everything", {**EVERYTHING, "done": bad}) for bad in these(None, [], {}, "a")],
    *[("take_everything", {**EVERYTHING, "inlineMap": bad}) for bad in these(None, [], {"X": "1"})],
    *[("take_everything", {**EVERYTHING, "maybeNumbers": bad}) for bad in these(["1"], [True], {})],
    *[("take_everything", {**EVERYTHING, "maybeMany": bad}) for bad in these([None], [{}], {})],
    *[("take_texts", bad) for bad in these(None, {}, "a", [None], [True])],
    *[("take_numbers", bad) for bad in these({}, ["1"], [None], [1.5], [True])],
    *[("take_flags", bad) for bad in these({}, [1], ["true"])],
    *[("take_models", bad) for bad in these({}, [None], [{}], [[]])],
    *[("take_number_by_key", bad) for bad in these([], {"X": "1"}, {"X": None})],
    *[("take_flag_by_key", bad) for bad in these([], {"X": 1})],
    *[("take_text_by_key", bad) for bad in these([], {"X": None}, {"X": {}})],
    *[("take_done_by_key", bad) for bad in these([], {"X": {}}, {"X": None})],
    *[("take_texts_by_key", bad) for bad in these([], {"X": "a"}, {"X": [None]})],
    *[("take_done_lists_by_key", bad) for bad in these([], {"X": DONE}, {"X": [None]})],
]


@pytest.mark.parametrize(("name", "answer"), BAD_ANSWERS)
def test_bad_answers_are_no_answers(name: str, answer: Any, exchange: Exchange, use: Use) -> None:
    exchange.answer = answer
    with pytest.raises(OutcomeUnknownError):
        use(name)
    assert len(exchange.requests) == 1


# What an answer repeats --------------------------------------------------------------------------

STRANGE: list[tuple[str, tuple[Any, ...], dict[str, Any], object]] = [
    ("take_text", ("AB",), {}, {"text": "AC"}),
    ("take_number", (7, "AB"), {}, {"number": 8, "code": "AB"}),
    ("take_number", (7, "AB"), {}, {"number": 7, "code": "AC"}),
    ("take_query", (), {**QUERY, "may_text": "AB"}, {"data": [{"code": "AC", "number": 1}]}),
    ("take_query", (), {**QUERY, "limit": 2}, {"data": [{"code": "AC", "number": 1}]}),
    ("take_keys", (), {"code": "AB"}, {"data": {"AB": [], "AC": []}}),
    ("send_lists", (), {"body": {"AB": ["X", "Y"]}}, {"data": {"AB": ["Z"]}}),
    ("send_lists", (), {"body": {"AB": ["X"], "CD": ["Y"]}}, {"data": {"CD": ["X"]}}),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "answer"), STRANGE)
def test_an_answer_about_something_else_is_none(
    name: str, args: Any, kwargs: Any, answer: object, exchange: Exchange, use: Use
) -> None:
    exchange.answer = answer
    with pytest.raises(OutcomeUnknownError, match="not about the") as raised:
        use(name, *args, **kwargs)
    if name == "take_number":
        named = operation(name).Names
        assert raised.value.arguments == {named.the_number: "7", named.code: "AB"}
    if name == "send_lists":
        assert json.loads(raised.value.arguments["body"]) == kwargs["body"]


def test_an_answer_about_what_was_asked_for_is_one(exchange: Exchange, use: Use) -> None:
    exchange.answer = {"data": {"ab": ["x"]}}
    assert use("send_lists", body={"AB": ["X", "Y"], "CD": ["X"]}).data.to_dict() == {"ab": ["x"]}


# Deprecated --------------------------------------------------------------------------------------


def test_a_deprecated_operation_warns_where_it_is_called(exchange: Exchange, use: Use) -> None:
    exchange.answer, exchange.status = DONE, 202
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert use("drop_text", "AB").text == "a"
    assert [(str(w.message), w.category, w.filename) for w in caught] == [
        (
            "dropText is deprecated by the exchange, which may take it away",
            DeprecationWarning,
            __file__,
        )
    ]
    for way in ("sync", "sync_detailed", "asyncio", "asyncio_detailed"):
        assert "Deprecated by the exchange" in getattr(operation("drop_text"), way).__doc__
        assert "Deprecated" not in operation("take_text").sync.__doc__


def test_a_warning_that_is_an_error_is_one_before_anything_is_sent(
    exchange: Exchange, use: Use
) -> None:
    with pytest.raises(DeprecationWarning):
        use("drop_text", "AB")
    assert exchange.requests == []


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_is_one(status: int, exchange: Exchange, use: Use) -> None:
    exchange.answer, exchange.status = {"text": "AB"}, status
    assert use("take_text", "AB").text == "AB"
