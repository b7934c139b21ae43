"""The steps of signing, each a pure function.

identity and nonce -> JSON text -> base64 payload -> HMAC-SHA384 in hex -> three headers

Source: https://github.com/bitoex/bitopro-offical-api-docs#api-security-protocol
"""

import base64
import hashlib
import hmac
import json

from .credentials import Credentials, Secret


def identity_json(identity: Secret, nonce: int) -> bytes:
    """Return the JSON that is signed for a GET or a DELETE, without spaces.

    Characters beyond ASCII are escaped. Both standard and URL-safe base64 are used with this
    exchange; for ASCII text with a usual e-mail address, both give the same result.

    Args:
        identity: The account's e-mail address.
        nonce: The nonce, in milliseconds since the epoch.
    """
    return f'{{"identity":{json.dumps(identity.reveal())},"nonce":{nonce:d}}}'.encode()


def encode_payload(json_text: bytes) -> str:
    """Return the payload: the JSON in standard base64, with padding."""
    return base64.b64encode(json_text).decode()


def sign(payload: str, api_secret: Secret) -> str:
    """Return the signature: the lower-case hex of HMAC-SHA384 over the payload's text."""
    return hmac.digest(api_secret.reveal().encode(), payload.encode(), hashlib.sha384).hex()


def signed_headers(json_text: bytes, credentials: Credentials) -> dict[str, str]:
    """Return the three headers. Anybody who holds them can use them once, for any endpoint."""
    payload = encode_payload(json_text)
    return {
        "X-BITOPRO-APIKEY": credentials.api_key.reveal(),
        "X-BITOPRO-PAYLOAD": payload,
        "X-BITOPRO-SIGNATURE": sign(payload, credentials.api_secret),
    }
