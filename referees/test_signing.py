"""Others sign as `bitopro_auth` does, byte for byte, whatever the credentials, time and body."""

import base64
import json
import random
import string
from importlib import import_module
from typing import Any, NamedTuple

import pytest

from bitopro_auth import Credentials, NonceSource, Signer
from bitopro_auth.signing import sign
from referees.clients import ASYNC, SYNC

CASES = 4000
PAYLOAD, SIGNATURE = "X-BITOPRO-PAYLOAD", "X-BITOPRO-SIGNATURE"
URL_SAFE = str.maketrans("+/", "-_")


class Case(NamedTuple):
    """Who signs, when, and what."""

    api_key: str
    api_secret: str
    identity: str
    nonce: int
    body: dict[str, list[str]]

    def credentials(self) -> Credentials:
        """Return who signs."""
        return Credentials(self.api_key, self.api_secret, self.identity)

    def signer(self) -> Signer:
        """Return ours."""
        return Signer(self.credentials())


def text(draw: random.Random, letters: str, longest: int) -> str:
    return "".join(draw.choices(letters, k=draw.randint(1, longest)))


def cases() -> list[Case]:
    """Return the same ones each time."""
    draw = random.Random(384)
    visible = string.digits + string.ascii_letters + string.punctuation
    anything = visible + "äßñ€漢字🔑"
    pairs = string.digits + string.ascii_letters
    return [
        Case(
            api_key=text(draw, visible, 64),
            api_secret=text(draw, anything, 96),
            identity=f"{text(draw, visible, 30)}@{text(draw, string.ascii_lowercase, 20)}.com",
            nonce=draw.choice([draw.randrange(2**53), draw.randrange(16 * 10**11, 2 * 10**12)]),
            body={
                f"{text(draw, pairs, 8)}_{text(draw, pairs, 8)}": [
                    draw.choice(["", "SL-"]) + str(draw.randrange(10**10))
                    for _ in range(draw.randint(1, 20))
                ]
                for _ in range(draw.randint(1, 5))
            },
        )
        for _ in range(CASES)
    ]


def opened(half: str) -> Any:
    return import_module(half).bitopro()


def signed_by_ccxt(exchange: Any, case: Case, method: str, params: Any) -> tuple[Any, Any]:
    """Return the body that ccxt sends, and the three headers."""
    exchange.apiKey, exchange.secret = case.api_key, case.api_secret
    exchange.milliseconds = lambda: case.nonce
    said = exchange.sign("orders", ["private"], method, params)
    assert said["headers"].pop("X-BITOPRO-API") == "ccxt"
    return said["body"], said["headers"]


@pytest.mark.parametrize("half", [SYNC, ASYNC])
def test_ccxt_signs_a_body_as_we_do(half: str) -> None:
    exchange = opened(half)
    for case in cases():
        body, theirs = signed_by_ccxt(exchange, case, "PUT", case.body)
        assert case.signer().headers("PUT", body.encode(), 0) == theirs
        assert json.loads(body) == case.body


@pytest.mark.parametrize("half", [SYNC, ASYNC])
def test_ccxt_signs_an_account_and_a_time_as_we_do(half: str) -> None:
    exchange = opened(half)
    for case in cases():
        # What it signs of a DELETE leaves the account out, so it is given as what a PUT signs.
        content = {"identity": case.identity, "nonce": case.nonce}
        _, theirs = signed_by_ccxt(exchange, case, "PUT", content)
        assert case.signer().headers("DELETE", b"", case.nonce) == theirs


@pytest.mark.parametrize("half", [SYNC, ASYNC])
def test_ccxt_leaves_the_account_out(half: str) -> None:
    exchange = opened(half)
    for case in cases():
        body, theirs = signed_by_ccxt(exchange, case, "DELETE", {})
        assert body is None
        content = json.dumps({"nonce": case.nonce}, separators=(",", ":")).encode()
        assert case.signer().headers("PUT", content, 0) == theirs


def test_the_official_client_signs_as_we_do() -> None:
    module: Any = import_module("bitoproClient.bitopro_util")
    other_alphabet = 0
    for case in cases():
        for content in ({"identity": case.identity, "nonce": case.nonce}, case.body):
            theirs = module.build_headers(case.api_key, case.api_secret, content)
            # Its JSON has spaces, so what it signs is longer than ours; it is signed alike.
            written = json.dumps(content).encode()
            ours = case.signer().headers("PUT", written, 0)
            if ours[PAYLOAD] != theirs[PAYLOAD]:
                # Its base64 is URL-safe: both alphabets are in use with the exchange.
                other_alphabet += 1
                ours[PAYLOAD] = ours[PAYLOAD].translate(URL_SAFE)
                ours[SIGNATURE] = sign(ours[PAYLOAD], case.credentials().api_secret)
            assert ours == theirs
        sent = case.signer().headers("DELETE", b"", case.nonce)[PAYLOAD]
        said = {"identity": case.identity, "nonce": case.nonce}
        assert json.loads(base64.b64decode(sent)) == said
    assert 100 < other_alphabet < CASES


def test_two_in_the_same_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases()[0]
    official: Any = import_module("bitoproClient.bitopro_util")
    monkeypatch.setattr(official.time, "time", lambda: 1554380909.131)
    assert official.get_current_timestamp() == official.get_current_timestamp()
    exchange = opened(SYNC)
    assert signed_by_ccxt(exchange, case, "GET", {}) == signed_by_ccxt(exchange, case, "GET", {})
    ours = NonceSource(lambda: case.nonce)
    assert (ours(), ours()) == (case.nonce, case.nonce + 1)
