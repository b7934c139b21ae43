"""Cancel orders on the BitoPro exchange, and know what happened.

```python
from bitopro_client.api.orders import cancel_order
from bitopro_orders import connect

with connect() as client:
    cancelled = cancel_order.sync("BTC_TWD", "2959906694", client=client)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .connection import OrdersClient, connect
from .errors import (
    AuthenticationError,
    BadRequestError,
    BitoProError,
    ClockMismatchError,
    InvalidArgumentError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RejectedError,
)
from .failures import Outcome
from .outcomes import (
    CancelOutcome,
    State,
    cancel_and_confirm,
    cancel_and_confirm_async,
    resolve,
    resolve_async,
    resolve_order,
    resolve_order_async,
)
from .policy import AttemptRecord, SendingPolicy
from .timing import Timing
from .version import __version__

if TYPE_CHECKING:
    from .account import Account, Book
    from .cancels import (
        cancel_many,
        cancel_many_async,
        resolve_many,
        resolve_many_async,
        resume,
        resume_async,
    )
    from .everything import cancel_everything, cancel_everything_async
    from .guards import Guard, GuardFiredError, Scope, guard
    from .journal import Journal, unresolved
    from .many import AsyncManyOutcomes, ManyOutcomes
    from .stream import OrderHistory, order_history

__all__ = [
    "Account",
    "AsyncManyOutcomes",
    "AttemptRecord",
    "AuthenticationError",
    "BadRequestError",
    "BitoProError",
    "Book",
    "CancelOutcome",
    "ClockMismatchError",
    "Guard",
    "GuardFiredError",
    "InvalidArgumentError",
    "Journal",
    "ManyOutcomes",
    "NotFoundError",
    "NotSentError",
    "OrderHistory",
    "OrdersClient",
    "Outcome",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RejectedError",
    "Scope",
    "SendingPolicy",
    "State",
    "Timing",
    "__version__",
    "cancel_and_confirm",
    "cancel_and_confirm_async",
    "cancel_everything",
    "cancel_everything_async",
    "cancel_many",
    "cancel_many_async",
    "connect",
    "guard",
    "order_history",
    "resolve",
    "resolve_async",
    "resolve_many",
    "resolve_many_async",
    "resolve_order",
    "resolve_order_async",
    "resume",
    "resume_async",
    "unresolved",
]


# What few need and what takes time to import, such as asyncio.
_LATER = {
    "Account": "account",
    "AsyncManyOutcomes": "many",
    "Book": "account",
    "Guard": "guards",
    "GuardFiredError": "guards",
    "Journal": "journal",
    "ManyOutcomes": "many",
    "OrderHistory": "stream",
    "Scope": "guards",
    "cancel_everything": "everything",
    "cancel_everything_async": "everything",
    "cancel_many": "cancels",
    "cancel_many_async": "cancels",
    "guard": "guards",
    "resolve_many": "cancels",
    "resolve_many_async": "cancels",
    "resume": "cancels",
    "resume_async": "cancels",
    "unresolved": "journal",
    "order_history": "stream",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# A type checker would let any name pass.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
        if name in _LATER:
            return getattr(import_module(f".{_LATER[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
