"""Bad input never leaves: an empty or dotted id would cancel every order of the pair."""

import asyncio
import copy
import enum
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitopro_client import Client
from bitopro_client.api.orders import cancel_order
from bitopro_client.errors import InvalidArgument
from bitopro_client.types import UNSET
from bitopro_orders import InvalidArgumentError, NotSentError, OrdersClient
from bitopro_sandbox import Sandbox

BAD_IDS = [
    "", ".", "..", "/", "all", "ALL", "open", " ", "1 ", " 1", "1\n", "\n1", "1/2", "1/../2",
    "1%2F2", "%2e%2e", "1?x=y", "1#", "-1", "SL-", "sl-1", "SL-1-2", "1.0", "1e5", "٣", "１",
    "1\x00", "9" * 21, "A" * 11 + "-1", "SL-1\r\nX: y",
]  # fmt: skip
BAD_PAIRS = [
    "", ".", "..", "BTC", "BTC_", "_TWD", "BTC-TWD", "BTC/TWD", "BTC_TWD/..", "BTC_TWD_X", "all",
    "BTC_TWD\n", " BTC_TWD", "BTC_TWD?", "ＢＴＣ_TWD", "BTC_TWD#", "../orders", "B" * 21 + "_TWD",
]  # fmt: skip
NOT_TEXT: list[Any] = [None, 1, 2959906694, 1.5, True, b"2959906694", ["1"], object]
PAIR = re.compile(r"[A-Za-z0-9]{1,20}_[A-Za-z0-9]{1,20}")
ORDER_ID = re.compile(r"([A-Z]{1,10}-)?[0-9]{1,20}")


def run_all(client: Client, pair: Any, order_id: Any, **options: Any) -> list[Exception]:
    """Call all four functions and return what each raised."""
    raised: list[Exception] = []
    for function in (
        cancel_order.sync,
        cancel_order.sync_detailed,
        lambda *a, **k: asyncio.run(cancel_order.asyncio(*a, **k)),
        lambda *a, **k: asyncio.run(cancel_order.asyncio_detailed(*a, **k)),
    ):
        with pytest.raises(ValueError, match="must be") as caught:
            function(pair, order_id, client=client, **options)
        raised.append(caught.value)
    return raised


def refused(sandbox: Sandbox, client: Client, parameter: str, *args: Any, **options: Any) -> None:
    before = sandbox.book.snapshot()
    errors = run_all(client, *args, **options)
    assert [type(error) for error in errors] == [InvalidArgumentError] * 4
    assert all(isinstance(error, NotSentError) for error in errors)
    assert all(str(error).startswith(f"{parameter} must be") for error in errors)
    assert len(sandbox.journal) == 0
    assert sandbox.book.snapshot() == before


@pytest.mark.parametrize("order_id", [*BAD_IDS, *NOT_TEXT], ids=repr)
def test_a_bad_order_id_is_refused(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], order_id: object
) -> None:
    refused(bitopro_sandbox, make_client(), "orderId", "BTC_TWD", order_id)


@pytest.mark.parametrize("pair", [*BAD_PAIRS, *NOT_TEXT], ids=repr)
def test_a_bad_pair_is_refused(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], pair: object
) -> None:
    refused(bitopro_sandbox, make_client(), "pair", pair, "2959906694")


@pytest.mark.parametrize("flag", ["true", "false", "", 0, 1, None], ids=repr)
def test_the_strategy_flag_is_a_boolean(
    bitopro_sandbox: Sandbox, make_client: Callable[..., OrdersClient], flag: object
) -> None:
    refused(
        bitopro_sandbox,
        make_client(),
        "isAllStrategyCanceled",
        "BTC_TWD",
        "2959906694",
        is_all_strategy_canceled=flag,
    )


@pytest.mark.parametrize("order_id", ["", ".", ".."])
def test_the_generated_client_alone_refuses_too(bitopro_sandbox: Sandbox, order_id: str) -> None:
    errors = run_all(Client(bitopro_sandbox.base_url), "BTC_TWD", order_id)
    assert [type(error) for error in errors] == [InvalidArgument] * 4
    assert len(bitopro_sandbox.journal) == 0


class Sly(str):
    """Is an id, and prints as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return ""


class Pair(str, enum.Enum):  # noqa: UP042 - prints as Pair.BTC, unlike a StrEnum
    BTC = "BTC_TWD"


@pytest.mark.parametrize(("pair", "order_id"), [(Pair.BTC, "2959906694"), ("BTC_TWD", Sly("1"))])
def test_what_is_checked_is_what_is_sent(pair: str, order_id: str) -> None:
    call = cancel_order.call(pair, order_id)
    plain = str.__str__(order_id)
    assert call.request_kwargs()["url"] == f"/orders/BTC_TWD/{plain}"
    assert call.arguments == {"pair": "BTC_TWD", "orderId": plain}
    assert {type(value) for value in call.arguments.values()} == {str}


def test_unset_is_one_also_after_a_copy() -> None:
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert copy.deepcopy(UNSET) is UNSET


NEAR_IDS = st.one_of(
    st.text(),
    st.text("0123456789SL-./%", max_size=12),
    st.from_regex(ORDER_ID, fullmatch=True),
    st.from_regex(ORDER_ID, fullmatch=True).map(lambda text: text + "\n"),
)
NEAR_PAIRS = st.one_of(
    st.text(),
    st.text("BTCTWD_./%-", max_size=12),
    st.from_regex(PAIR, fullmatch=True),
    st.from_regex(PAIR, fullmatch=True).map(lambda text: text + "\n"),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(pair=NEAR_PAIRS, order_id=NEAR_IDS)
def test_only_two_plain_segments_are_ever_built(pair: str, order_id: str) -> None:
    allowed = all(
        pattern.fullmatch(text) and text.isascii()
        for pattern, text in ((PAIR, pair), (ORDER_ID, order_id))
    )
    call = cancel_order.call(pair, order_id)
    if allowed:
        assert call.request_kwargs()["url"] == f"/orders/{pair}/{order_id}"
    else:
        with pytest.raises(InvalidArgument):
            call.request_kwargs()
