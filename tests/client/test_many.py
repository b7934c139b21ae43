"""The calls on many orders: their bytes on the wire, their answers, and who cannot reach them."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from bitopro_auth import BitoProAuth, Credentials
from bitopro_client import Client
from bitopro_client.api.orders import (
    cancel_all_orders_of_all_pairs,
    cancel_all_orders_of_pair,
    cancel_order,
    cancel_order_batch,
    list_open_orders,
)
from bitopro_client.errors import InvalidArgument
from bitopro_client.models import OrderIdsByPair
from bitopro_client.types import UNSET
from bitopro_orders import (
    BitoProError,
    InvalidArgumentError,
    OrdersClient,
    OutcomeUnknownError,
    RateLimitedError,
    SendingPolicy,
    connect,
)
from bitopro_sandbox import Fault, Sandbox, faults
from tests.client.test_guards import BAD_IDS, BAD_PAIRS, NEAR_IDS, NEAR_PAIRS, NOT_TEXT, Sly
from tests.client.test_wire import parsed
from tests.support import wire

CREDENTIALS = Credentials("the-key", "the-secret", "trader@example.com")
IDS = {"BTC_TWD": ["2959906694", "SL-1"], "eth_twd": ["2959906696"]}
BYTES = b'{"BTC_TWD":["2959906694","SL-1"],"eth_twd":["2959906696"]}'
Run = Callable[..., Any]


def batch(ids: Any = IDS) -> OrderIdsByPair:
    return OrderIdsByPair.from_dict(ids)


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Make one call with a client made for it: `run(make_client, operation, *arguments)`."""

    def sync(make: Callable[[], Any], operation: ModuleType, *args: Any, **options: Any) -> Any:
        with make() as client:
            return operation.sync(*args, client=client, **options)

    def in_a_task(
        make: Callable[[], Any], operation: ModuleType, *args: Any, **options: Any
    ) -> Any:
        async def main() -> Any:
            async with make() as client:
                return await operation.asyncio(*args, client=client, **options)

        return asyncio.run(main())

    return sync if request.param == "sync" else in_a_task


CALLS: dict[str, tuple[ModuleType, tuple[Any, ...], dict[str, Any], str]] = {
    "batch": (cancel_order_batch, (), {"body": batch()}, "PUT /v3/orders"),
    "pair": (cancel_all_orders_of_pair, ("btc_twd",), {}, "DELETE /v3/orders/btc_twd"),
    "all": (cancel_all_orders_of_all_pairs, (), {}, "DELETE /v3/orders/all"),
    "open": (list_open_orders, (), {}, "GET /v3/orders/open"),
    "open of a pair": (
        list_open_orders, (), {"pair": "BTC_TWD"}, "GET /v3/orders/open?pair=BTC_TWD",
    ),
}  # fmt: skip
EMPTY = {name: b'{"data":[]}' if "open" in name else b'{"data":{}}' for name in CALLS}


@pytest.mark.parametrize("alone", [False, True], ids=["connect", "httpx"])
@pytest.mark.parametrize("name", CALLS)
def test_each_on_the_wire(run: Run, name: str, alone: bool) -> None:
    operation, args, options, line = CALLS[name]
    with wire(EMPTY[name]) as server:

        def make() -> Client:
            if alone:
                auth = BitoProAuth(CREDENTIALS, hosts={"127.0.0.1"})
                return Client(server.base_url, httpx_args={"auth": auth})
            return connect(CREDENTIALS, base_url=server.base_url)

        run(make, operation, *args, **options)
    (request,) = server.requests
    got, headers, body = parsed(request)
    assert got == f"{line} HTTP/1.1"
    payload = headers["x-bitopro-payload"]
    signature = hmac.new(b"the-secret", payload.encode(), hashlib.sha384).hexdigest()
    assert headers["x-bitopro-signature"] == signature
    signed = base64.b64decode(payload)
    if name == "batch":
        assert signed == body == BYTES, "what is signed is what is sent, byte for byte"
        assert headers["content-length"] == str(len(BYTES))
        assert headers["content-type"] == "application/json"
    else:
        assert json.loads(signed).keys() == {"identity", "nonce"}
        assert body == b""
        assert "content-type" not in headers


@pytest.mark.parametrize("name", CALLS)
def test_each_in_the_sandbox(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], run: Run, name: str
) -> None:
    operation, args, options, _ = CALLS[name]
    if name == "batch":
        options = {"body": batch({"btc_twd": ["2959906694"], "BTC_USDT": ["SL-9014867155"]})}
    expected = {
        "batch": {"BTC_TWD": ["2959906694"], "BTC_USDT": ["SL-9014867155"]},
        "pair": {"BTC_TWD": ["2959906695", "2959906694"]},
        "all": {
            "BTC_USDT": ["SL-9014867155"],
            "ETH_TWD": ["2959906696"],
            "BITO_ETH": ["12234566"],
            "BTC_TWD": ["2959906695", "2959906694"],
        },
    }.get(name)
    before = {order.id: order for order in bitopro_sandbox.book.open_orders()}
    answer = run(make_client, operation, *args, **options)
    if expected is None:
        wanted = [o.to_json() for o in before.values() if not options or o.pair == "BTC_TWD"]
        assert [order.to_dict() for order in answer.data] == wanted
        expected = {}
    else:
        assert answer.data.to_dict() == expected
    left = {order.id for order in bitopro_sandbox.book.open_orders()}
    assert before.keys() - left == {each for ids in expected.values() for each in ids}
    (entry,) = bitopro_sandbox.journal
    assert entry.status == 200


# Answers that do not fit


ODD_MAPS = [
    b"", b"null", b"[]", b"{}", b'"x"', b'{"data":null}', b'{"data":[]}', b'{"data":"BTC_TWD"}',
    b'{"data":{"BTC_TWD":null}}', b'{"data":{"BTC_TWD":"2959906694"}}',
    b'{"data":{"BTC_TWD":{"2959906694":1}}}', b'{"data":{"BTC_TWD":[null]}}',
    b'{"data":{"BTC_TWD":[true]}}', b'{"data":{"BTC_TWD":[["2959906694"]]}}',
    b'{"data":{"BTC_TWD":[{"id":"2959906694"}]}}',
]  # fmt: skip
OTHERS = [b'{"data":{"ETH_BTC":["2959906694"]}}', b'{"data":{"BTC_TWD":["1"],"BTC_USDT":["2"]}}']
ORDER = (
    '{"id":"1","pair":%s,"action":"BUY","type":"LIMIT","status":0,"price":"1",'
    '"avgExecutionPrice":"0","originalAmount":"1","remainingAmount":"1","executedAmount":"0"}'
)
ODD = {
    "batch": [*ODD_MAPS, *OTHERS, b'{"data":{"BTC_TWD":["2959906696"]}}'],
    "pair": [*ODD_MAPS, *OTHERS, b'{"data":{"BTC_TWD":["1"],"ETH_TWD":[]}}'],
    "all": ODD_MAPS,
    "open": [
        b"", b"null", b"[]", b"{}", b'{"data":null}', b'{"data":{}}', b'{"data":"x"}',
        b'{"data":[null]}', b'{"data":[1]}', b'{"data":["1"]}', b'{"data":[[]]}', b'{"data":[{}]}',
    ],
    "open of a pair": [
        f'{{"data":[{ORDER % pair}]}}'.encode()
        for pair in ('"eth_twd"', '"btc_twd_"', "null", "1", '["btc_twd"]', '{"btc_twd":1}')
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "body"), [(name, body) for name, bodies in ODD.items() for body in bodies]
)
def test_an_answer_of_another_shape_or_about_something_else_is_unknown(
    run: Run, name: str, body: bytes
) -> None:
    operation, args, options, _ = CALLS[name]
    policy = SendingPolicy(attempts=1)
    with wire(body) as server, pytest.raises(OutcomeUnknownError) as caught:
        run(
            lambda: connect(CREDENTIALS, base_url=server.base_url, policy=policy),
            operation, *args, **options,
        )  # fmt: skip
    assert caught.value.status == 200
    assert caught.value.operation == operation.OPERATION.name
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("batch", b'{"data":{"btc_twd":["2959906694"]}}'),
        ("batch", b'{"data":{"BTC_TWD":[2959906694],"ETH_TWD":[]}}'),
        ("batch", b'{"data":{"BTC_TWD":["2959906694"]},"more":{"a":[1]}}'),
        ("pair", b'{"data":{"BTC_TWD":["2959906694"]}}'),
        ("all", b'{"data":{"BTC_TWD":[2959906694]}}'),
    ],
)
def test_the_other_case_numbers_and_news_are_no_other_answer(
    run: Run, name: str, body: bytes
) -> None:
    operation, args, options, _ = CALLS[name]
    with wire(body) as server:
        answer = run(
            lambda: connect(CREDENTIALS, base_url=server.base_url), operation, *args, **options
        )
    assert "2959906694" in next(iter(answer.data.to_dict().values()))


# Every fault of the exchange


LOST = [faults.drop(reset=True), faults.drop_answer(), faults.truncate()]
GARBLED = [faults.html(), faults.invalid_json(), faults.empty_object(), faults.gzip_bomb(2)]
FAULTS: list[tuple[Fault, set[str]]] = [
    *((fault, set(CALLS)) for fault in [*LOST, *GARBLED, faults.other_data(None)]),
    (faults.redirect("https://elsewhere.example/"), set(CALLS)),
    (faults.status(408), set(CALLS)),
    (faults.status(502, processed=True, html=True), set(CALLS)),
    (faults.status(409), {"batch"}),
    (faults.partly(1, 500), set(CALLS)),
    (faults.name_also("XRP_BTC", "1"), {"batch", "pair"}),
    (faults.wrong_order_id(), {"batch"}),
    *(
        (fault, set[str]())
        for fault in [
            faults.partly(1), faults.leave_out("2959906694"), faults.extra_fields(),
            faults.numbers(), faults.unknown_action(), faults.close_after_answer(),
            faults.delay(before_ms=5, after_ms=5), faults.status(429),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", ["batch", "pair", "all", "open"])
@pytest.mark.parametrize(("fault", "unknown"), FAULTS, ids=lambda each: getattr(each, "name", ""))
def test_each_fault_is_unknown_or_told_as_it_is(
    bitopro_sandbox: Sandbox,
    make_client: Callable[..., OrdersClient],
    run: Run,
    name: str,
    fault: Fault,
    unknown: set[str],
) -> None:
    operation, args, options, _ = CALLS[name]
    if name == "batch":
        options = {"body": batch({"btc_twd": ["2959906694", "2959906695"]})}
    bitopro_sandbox.faults.add(fault)
    reads = name == "open" and fault.name != "redirect"
    again = reads or fault.name in {"status_409", "status_429"}

    def make() -> OrdersClient:
        policy = SendingPolicy(backoff_seconds=0.01, attempts=1 + again, limit_share=None)
        return make_client(policy=policy)

    if name in unknown and not reads:
        with pytest.raises(OutcomeUnknownError) as caught:
            run(make, operation, *args, **options)
        assert caught.value.operation == operation.OPERATION.name
        assert len(bitopro_sandbox.journal) == 1, "nothing is repeated by itself"
    else:
        answer = run(make, operation, *args, **options)
        if not reads:
            named = {each for ids in answer.data.to_dict().values() for each in ids}
            live = {order.id for order in bitopro_sandbox.book.open_orders()}
            assert all(type(each) is str for each in named)
            assert named.isdisjoint(live)


# What a batch's failures say


def test_a_batch_of_unknown_outcome_names_its_orders(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], run: Run
) -> None:
    bitopro_sandbox.faults.add(faults.drop_answer(), call="cancel_batch")
    with pytest.raises(OutcomeUnknownError) as caught:
        run(make_client, cancel_order_batch, body=batch({"BTC_TWD": ["2959906694"]}))
    error = pickle.loads(pickle.dumps(caught.value))
    assert json.loads(error.arguments["body"]) == {"BTC_TWD": ["2959906694"]}
    assert (error.operation, error.attempts) == ("cancelOrderBatch", 1)
    assert not bitopro_sandbox.book.get("2959906694").status.is_live


def test_a_409_to_a_batch_is_unknown_and_not_sent_again(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], run: Run
) -> None:
    run(make_client, cancel_order_batch, body=batch({"BTC_TWD": ["2959906694"]}))
    with pytest.raises(OutcomeUnknownError) as caught:
        run(make_client, cancel_order_batch, body=batch({"BTC_TWD": ["2959906694"]}))
    assert caught.value.status == 409
    assert [entry.status for entry in bitopro_sandbox.journal] == [200, 409]


def test_a_429_to_a_batch_is_sent_again(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], run: Run
) -> None:
    bitopro_sandbox.faults.add(faults.status(429), call="cancel_batch")
    run(make_client, cancel_order_batch, body=batch({"BTC_TWD": ["2959906694"]}))
    first, second = bitopro_sandbox.journal
    assert (first.status, second.status) == (429, 200)
    assert first.triple_fingerprint == second.triple_fingerprint, "its signature never changes"


@pytest.mark.parametrize("name", ["batch", "pair"])
def test_more_than_the_limit_does_not_leave(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], name: str
) -> None:
    operation, _, _, _ = CALLS[name]
    limit = operation.OPERATION.rate_limit.requests

    def call(client: OrdersClient, number: int) -> None:
        if name == "batch":
            operation.sync(client=client, body=batch({"BTC_TWD": [f"{number + 1}"]}))
        elif number % 2:
            cancel_all_orders_of_all_pairs.sync(client=client)
        else:
            operation.sync("BTC_TWD", client=client)

    with make_client(policy=SendingPolicy(deadline_seconds=0.5)) as client:
        caught: list[BitoProError] = []
        for number in range(limit + 1):
            try:
                call(client, number)
            except BitoProError as error:
                caught.append(error)
    assert len(bitopro_sandbox.journal) == limit
    assert "the limit has room again" in str(caught[-1])
    assert not any(isinstance(error, RateLimitedError) for error in caught)


# Bad bodies


BAD_BODIES: list[tuple[Any, str]] = [
    ({}, "body must be an object with at least 1 keys"),
    ({"BTC_TWD": []}, "body['BTC_TWD'] must be a list of at least 1 different items"),
    ({"BTC_TWD": None}, "body['BTC_TWD'] must be a list"),
    ({"BTC_TWD": "2959906694"}, "body['BTC_TWD'] must be a list"),
    ({"BTC_TWD": {"2959906694": 1}}, "body['BTC_TWD'] must be a list"),
    ({"BTC_TWD": {"2959906694"}}, "body['BTC_TWD'] must be a list"),
    ({"BTC_TWD": ["1", "1"]}, "body['BTC_TWD'] must be a list of at least 1 different items"),
    *(({"BTC_TWD": ["1", bad]}, "body['BTC_TWD'][1] must be text") for bad in BAD_IDS),
    *(({"BTC_TWD": [bad]}, "body['BTC_TWD'][0] must be text") for bad in NOT_TEXT),
    *(({bad: ["1"]}, "each key of body must be text") for bad in BAD_PAIRS),
    ({None: ["1"]}, "each key of body must be text"),
    ({1: ["1"]}, "each key of body must be text"),
]


@pytest.mark.parametrize(("ids", "rule"), BAD_BODIES, ids=repr)
def test_a_bad_body_is_refused(
    bitopro_sandbox: Sandbox,
    make_client: Callable[..., OrdersClient],
    run: Run,
    ids: Any,
    rule: str,
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        run(make_client, cancel_order_batch, body=batch(ids))
    assert str(caught.value).startswith(rule)
    assert " such as " in str(caught.value) or "twice" in str(caught.value)
    assert len(bitopro_sandbox.journal) == 0


@pytest.mark.parametrize("body", [None, 1, "{}", [], ["1"], b"{}", object, {1, 2}, OrderIdsByPair])
def test_what_is_no_body_is_refused(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], run: Run, body: Any
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^body must be an object .*, such as \{'BTC_"):
        run(make_client, cancel_order_batch, body=body)
    with pytest.raises(InvalidArgument):
        cancel_order_batch.call(body=body).request_kwargs()
    assert len(bitopro_sandbox.journal) == 0


def test_a_body_that_contains_itself_or_fails_is_refused(
    make_client: Callable[..., OrdersClient], run: Run
) -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError

    endless: list[Any] = []
    endless.append(endless)
    for body in (batch({"BTC_TWD": endless}), batch({"BTC_TWD": [Broken()]}), Broken(a=1)):
        with pytest.raises(InvalidArgumentError):
            run(make_client, cancel_order_batch, body=body)


def test_the_error_does_not_quote_what_may_be_a_secret(
    make_client: Callable[..., OrdersClient], run: Run
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        run(make_client, cancel_order_batch, body=batch({"BTC_TWD": ["the-secret"]}))
    assert "the-secret" not in str(caught.value)
    assert str(caught.value).endswith("not text of 10 characters; nothing was sent")
    with pytest.raises(InvalidArgumentError, match="such as 2959906694, not int;"):
        run(make_client, cancel_order_batch, body=batch({"BTC_TWD": [2959906694]}))


def test_what_is_checked_is_what_is_sent() -> None:
    body = batch({"BTC_TWD": [Sly("1")]})
    call = cancel_order_batch.call(body=body)
    body["BTC_TWD"][0] = ".."
    body["BTC_TWD"].append("all")
    sent = call.request_kwargs()["json"]
    assert sent == call.body == {"BTC_TWD": ["1"]}
    assert type(sent["BTC_TWD"][0]) is str
    assert call.arguments == {"body": '{"BTC_TWD":["1"]}'}


@pytest.mark.parametrize("pair", [*BAD_PAIRS, *NOT_TEXT, "all", "open", "ALL", "2959906694"])
def test_a_bad_pair_is_refused(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], run: Run, pair: Any
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^pair must be text"):
        run(make_client, cancel_all_orders_of_pair, pair)
    with pytest.raises(InvalidArgumentError, match=r"^pair must be text"):
        run(make_client, list_open_orders, pair=pair)
    assert len(bitopro_sandbox.journal) == 0


@pytest.mark.parametrize(
    ("pair", "order_id", "message"),
    [
        (
            "all",
            "1",
            "pair must be text of 3 to 41 characters that matches "
            "^[A-Za-z0-9]{1,20}_[A-Za-z0-9]{1,20}$, such as 'BTC_TWD', not text of 3 characters; "
            "nothing was sent",
        ),
        (
            "BTC_TWD",
            29599,
            "orderId must be text such as 2959906694, not int; nothing was sent",
        ),
    ],
)
def test_an_argument_of_the_path_is_told_alike(
    make_client: Callable[..., OrdersClient], run: Run, pair: str, order_id: Any, message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        run(make_client, cancel_order, pair, order_id)
    assert str(caught.value) == message


# A cancel of one order stays one


WIDE = [
    "",
    ".",
    "..",
    "all",
    "open",
    "%2e%2e",
    "..%2f",
    "BTC_TWD",
    "1",
    "//",
    "../all",
    "1/..",
    "\t",
]


@pytest.mark.parametrize("kind", ["connect", "generated"])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_no_argument_of_a_cancel_reaches_another_call(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], kind: str, way: str
) -> None:
    """Neither through the package nor through the generated client alone."""
    before = bitopro_sandbox.book.snapshot()
    texts: list[Any] = [*WIDE, *NOT_TEXT]
    asked: list[tuple[Any, ...]] = [(*each, UNSET) for each in itertools.product(texts, texts)]
    asked.remove(("BTC_TWD", "1", UNSET))
    asked += [("BTC_TWD", "1", flag) for flag in (*WIDE, None, 1, {"a": "b"})]

    async def main() -> None:
        async with make_client() if kind == "connect" else generated() as client:
            for pair, order_id, flag in asked:
                with pytest.raises((InvalidArgumentError, InvalidArgument)):
                    await cancel_order.asyncio(
                        pair, order_id, client=client, is_all_strategy_canceled=flag
                    )

    def generated() -> Client:
        return Client(bitopro_sandbox.base_url, verify_ssl=False)

    if way == "async":
        asyncio.run(main())
    else:
        with make_client() if kind == "connect" else generated() as client:
            for pair, order_id, flag in asked:
                with pytest.raises((InvalidArgumentError, InvalidArgument)):
                    cancel_order.sync(pair, order_id, client=client, is_all_strategy_canceled=flag)
    assert len(bitopro_sandbox.journal) == 0
    assert bitopro_sandbox.book.snapshot() == before


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=60,
)
@given(pair=NEAR_PAIRS, order_id=NEAR_IDS)
def test_what_a_cancel_sends_arrives_as_that_cancel(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], pair: str, order_id: str
) -> None:
    before = bitopro_sandbox.book.snapshot()
    bitopro_sandbox.journal.clear()
    with make_client(policy=SendingPolicy(limit_share=None)) as client:
        try:
            cancel_order.sync(pair, order_id, client=client)
        except BitoProError as error:
            sent = not isinstance(error, InvalidArgumentError)
        else:
            sent = True
    arrived = [(e.method, e.path, e.query, e.call) for e in bitopro_sandbox.journal]
    path = f"/v3/orders/{pair}/{order_id}"
    assert arrived == ([("DELETE", path, "", "cancel_order")] if sent else [])
    changed = {k for k, v in bitopro_sandbox.book.snapshot().items() if v != before[k]}
    assert changed <= {order_id}
