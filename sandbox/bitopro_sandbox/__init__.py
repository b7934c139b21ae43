"""A local exchange that enforces BitoPro's documented protocol, and injects faults on request.

It needs no account, no network and no secret. In this example, ``cancel`` is the client under test:

    >>> from bitopro_sandbox import OrderStatus, faults, serve
    >>> with serve() as sandbox:
    ...     sandbox.faults.add(faults.drop_answer(), method="DELETE")
    ...     cancel(sandbox.base_url, sandbox.account, "BTC_TWD", "2959906694")
    ...     assert sandbox.book.get("2959906694").status is OrderStatus.CANCELLED
    ...     assert sandbox.journal[-1].fault == "drop_answer"

``python -m bitopro_sandbox`` runs a sandbox for other programs. ``sandbox.stream_url`` is the URL
of its two WebSocket streams, one of live orders and one of final orders.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitopro_sandbox import faults
    from bitopro_sandbox.book import Book, Change, Order, OrderNotLiveError, OrderStatus
    from bitopro_sandbox.faults import Fault, Faults, StreamFault
    from bitopro_sandbox.journal import Entry, Journal
    from bitopro_sandbox.server import Sandbox, serve
    from bitopro_sandbox.settings import Account, Settings

__all__ = [
    "Account",
    "Book",
    "Change",
    "Entry",
    "Fault",
    "Faults",
    "Journal",
    "Order",
    "OrderNotLiveError",
    "OrderStatus",
    "Sandbox",
    "Settings",
    "StreamFault",
    "faults",
    "serve",
]

_MODULES = {
    "book": ("Book", "Change", "Order", "OrderNotLiveError", "OrderStatus"),
    "faults": ("Fault", "Faults", "StreamFault"),
    "journal": ("Entry", "Journal"),
    "server": ("Sandbox", "serve"),
    "settings": ("Account", "Settings"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    # The pytest plugin is loaded in every test run of every user, and with it this module: what
    # needs the extra, or time to import, waits until it is asked for.
    for module, names in _MODULES.items():
        if name in (module, *names):
            imported = import_module(f"{__name__}.{module}")
            return imported if name == module else getattr(imported, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
