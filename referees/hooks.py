"""What schemathesis loads: its requests are signed by `bitopro_auth`, as the environment says."""

from importlib import import_module
from typing import Any

import referees.loopback  # noqa: F401 - what it does holds from here on
from bitopro_auth import Credentials, NonceSource, Signer

requests: Any = import_module("requests")
schemathesis: Any = import_module("schemathesis")

_signer = Signer(Credentials.from_env())
_nonce = NonceSource()


@schemathesis.auth(refresh_interval=None)
class Signature:
    """Signs each request. Where headers are what is tried out, it is not asked."""

    def get(self, case: Any, _: object) -> dict[str, str]:
        """Return the three headers of a request, from its bytes as they are sent."""
        body = requests.Request(**case.as_transport_kwargs()).prepare().body or b""
        return _signer.headers(
            case.method, body.encode() if isinstance(body, str) else body, _nonce()
        )

    def set(self, case: Any, signed: dict[str, str], _: object) -> None:
        """Add the headers to a request.

        They are among those that the report leaves out, which a `requests` auth's would not be.
        """
        case.headers.update(signed)


def _without_lengths(_: object, schema: dict[str, Any]) -> None:
    """Leave lengths out where a pattern bounds them.

    It works a minLength of 1 into `^([A-Z]{1,10}-)?[0-9]{1,20}$` as if the first group were all of
    the text, and would send no id without a prefix.
    """
    todo: list[Any] = [schema]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            if "pattern" in each:
                each.pop("minLength", None)
                each.pop("maxLength", None)
            todo += each.values()
        elif isinstance(each, list):
            todo += each


schemathesis.hook("before_load_schema")(_without_lengths)
