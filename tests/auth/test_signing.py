"""The stages of a signature, against the exchange's own vectors and for all input."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitopro_auth import Credentials
from bitopro_auth.credentials import Secret
from bitopro_auth.signing import encode_payload, identity_json, sign, signed_headers
from tests.support import ROOT

NONCES = st.integers(0, 2**53)


def vector(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())
    return loaded


def test_the_documented_payload_vector() -> None:
    known = vector("payload")
    text = identity_json(Secret(known["identity"]), known["nonce"])
    assert text.decode() == known["json"]
    assert encode_payload(text) == known["payload"]


def test_the_documented_signature_vector() -> None:
    known = vector("signature")
    assert sign(known["payload"], Secret(known["secret"])) == known["signature"]


@given(identity=st.text(), nonce=NONCES)
def test_any_identity_is_read_back_from_compact_ascii_json(identity: str, nonce: int) -> None:
    text = identity_json(Secret(identity), nonce)
    assert json.loads(text) == {"identity": identity, "nonce": nonce}
    assert text.isascii()
    assert text.startswith(b'{"identity":"')
    assert text.endswith(f'","nonce":{nonce}}}'.encode())


@given(local=st.text(st.characters(categories=["L", "N"]), min_size=1), nonce=NONCES)
def test_an_email_of_letters_and_digits_reads_alike_in_both_base64_alphabets(
    local: str, nonce: int
) -> None:
    text = identity_json(Secret(f"{local}@例え.tw"), nonce)
    assert encode_payload(text) == base64.urlsafe_b64encode(text).decode()


def test_the_alphabet_is_the_standard_one() -> None:
    assert encode_payload(b'{"a":"??>>~~"}') == base64.b64encode(b'{"a":"??>>~~"}').decode()
    assert {"+", "/"} & set(encode_payload(b'{"a":"??>>~~"}'))


@given(key=st.text(min_size=1), body=st.binary())
def test_the_signature_is_the_hmac_of_the_payload_that_is_sent(key: str, body: bytes) -> None:
    try:
        raw_key = key.encode()
    except UnicodeEncodeError:
        return
    payload = encode_payload(body)
    expected = hmac.new(raw_key, base64.b64encode(body), hashlib.sha384).hexdigest()
    assert sign(payload, Secret(key)) == expected
    assert len(expected) == 96


def test_there_are_three_headers_and_no_more() -> None:
    headers = signed_headers(b"{}", Credentials("key", "secret", "a@b.tw"))
    assert headers == {
        "X-BITOPRO-APIKEY": "key",
        "X-BITOPRO-PAYLOAD": "e30=",
        "X-BITOPRO-SIGNATURE": hmac.new(b"secret", b"e30=", hashlib.sha384).hexdigest(),
    }


def test_an_email_beyond_ascii_signs() -> None:
    headers = signed_headers(
        identity_json(Secret("用戶@例子.tw"), 1), Credentials("key", "秘密", "用戶@例子.tw")
    )
    assert json.loads(base64.b64decode(headers["X-BITOPRO-PAYLOAD"])) == {
        "identity": "用戶@例子.tw",
        "nonce": 1,
    }


@pytest.mark.parametrize("field", ["api_key", "api_secret", "identity"])
@pytest.mark.parametrize("bad", ["", " x", "x ", "x\n", "a\r\nb", "\x00"])
def test_a_malformed_credential_is_refused_by_name_and_not_quoted(field: str, bad: str) -> None:
    values = {"api_key": "k", "api_secret": "s", "identity": "i", field: f"{bad}CANARY{bad}"}
    if not bad:
        values[field] = ""
    with pytest.raises(ValueError, match=f"^{field} must") as caught:
        Credentials(**values)
    assert "CANARY" not in str(caught.value)
