"""Figures: rounds in which every client has its turn, medians, and ratios within a round."""

import gc
import sys
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import Any

from .clients import HTTPX

PER_SECOND = "/s"


class Figure:
    """One thing that is measured, of several clients.

    Attributes:
        name: What is measured.
        unit: `µs`, `ms`, `MiB` (less is better) or `/s` (more is better).
        rounds: By client: what each round gave, in the unit.
        connections: By client: how many TLS connections each round opened, where it is counted.
        missing: By client: why there is no figure.
    """

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self.rounds: dict[str, list[float]] = {}
        self.connections: dict[str, list[int]] = {}
        self.missing: dict[str, str] = {}

    async def measure(
        self, clients: Iterable[str], rounds: int, step: Callable[[str], Awaitable[float]]
    ) -> None:
        """Give each client its turn, round after round; one that fails is out, and said so.

        Args:
            clients: Who takes part.
            rounds: How many rounds.
            step: Measures one client once, in the unit.
        """
        print(f"... {self.name}", file=sys.stderr, flush=True)
        taking_part = list(clients)
        for _ in range(rounds):
            for client in list(taking_part):
                gc.collect()
                try:
                    value = await step(client)
                except Exception as error:  # noqa: BLE001 - whatever it is, the report says it
                    self.miss(client, error)
                    taking_part.remove(client)
                else:
                    self.note(client, value)

    def note(self, client: str, value: float) -> None:
        """Take a client's value of this round, in the unit."""
        self.rounds.setdefault(client, []).append(value)

    def miss(self, client: str, error: Exception) -> None:
        """Note why there is no figure of a client."""
        self.rounds.pop(client, None)
        self.missing[client] = f"{type(error).__name__}: {error}"[:300]

    def median(self, client: str) -> float | None:
        """Return a client's median, in the unit; None if it was not measured."""
        values = self.rounds.get(client)
        return median(values) if values else None

    def ratio(self, client: str, baseline: str = HTTPX) -> float | None:
        """Return what a client has by what the baseline has: the median of the rounds' ratios.

        The noise of a shared machine is in both halves of a round, so it leaves the ratio alone.
        """
        values, base = self.rounds.get(client), self.rounds.get(baseline)
        if not values or not base:
            return None
        return median(v / b for v, b in zip(values, base, strict=False))

    def most_connections(self, client: str) -> int | None:
        """Return the most connections that a round opened; None where it was not counted."""
        return max(self.connections.get(client, []), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": {client: self.median(client) for client in self.rounds},
            "ratio": {client: self.ratio(client) for client in self.rounds},
            "connections": self.connections,
            "not_measured": self.missing,
            "rounds": self.rounds,
        }
