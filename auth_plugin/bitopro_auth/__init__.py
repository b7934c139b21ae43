"""Sign requests to the BitoPro exchange with httpx.

    httpx.Client(auth=BitoProAuth(Credentials.from_env()))

Every request that httpx sends gets its own nonce and signature. This package does not depend on the
exchange's endpoints.
"""

from typing import TYPE_CHECKING, Any

from .credentials import Credentials, CredentialsError, base_url_from_env, stream_url_from_env
from .nonce import NonceSource, system_clock_ms
from .signer import DEFAULT_HOSTS, Signer, UnsignableRequestError

if TYPE_CHECKING:
    from .auth import BitoProAuth

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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    # httpx is imported by whoever uses its plugin: a signature alone does without.
    if name == "BitoProAuth":
        from .auth import BitoProAuth

        return BitoProAuth
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
