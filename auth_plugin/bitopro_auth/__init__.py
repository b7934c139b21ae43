"""Sign requests to the BitoPro exchange with httpx.

    httpx.Client(auth=BitoProAuth(Credentials.from_env()))

Every request that httpx puts on the wire gets its own nonce and signature. This package knows
nothing of the exchange's endpoints.
"""

from .auth import DEFAULT_HOSTS, BitoProAuth, Signer, UnsignableRequestError
from .credentials import Credentials, CredentialsError, base_url_from_env, stream_url_from_env
from .nonce import NonceSource, system_clock_ms

__all__ = [
    "DEFAULT_HOSTS",
    "BitoProAuth",
    "Credentials",
    "CredentialsError",
    "NonceSource",
    "Signer",
    "UnsignableRequestError",
    "base_url_from_env",
    "stream_url_from_env",
    "system_clock_ms",
]
