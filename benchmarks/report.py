"""The report: a table for people, a file for programs, and what has to hold."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from .clients import BARE, BASELINE, OURS
from .figures import PER_SECOND, Figure

FILE = Path(__file__).parent / "results" / "latest.json"
PACKAGES = ("httpx", "aiohttp", "ccxt", "bitopro-client", "requests")

MOST_OVERHEAD = 0.15
MOST_SIGNING_US = 15.0
LEAST_SPEED = 4.0
MOST_CONNECTIONS = 50
MOST_GROWTH_KIB = 1024


class Sample(NamedTuple):
    """The state of a process on its way.

    Attributes:
        done: How many cancels it has made.
        rss_kib: The memory that it holds, in KiB.
        descriptors: The files and sockets that it has open.
    """

    done: int
    rss_kib: int
    descriptors: int


class Results:
    """Everything that a run gave."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.seconds = 0.0
        self.server = "none"
        self.figures: dict[str, Figure] = {}
        self.signing_us = 0.0
        self.endurance: dict[str, list[Sample] | str] = {}
        self.not_measured: list[str] = []

    def add(self, name: str, unit: str) -> Figure:
        """Return a new figure that is part of the report."""
        self.figures[name] = figure = Figure(name, unit)
        return figure


def show(results: Results) -> None:
    """Print the report and write it to the file."""
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {results.server}, "
        + ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    )
    print(f"\n{machine}; {results.seconds:.0f} s{', quick' if results.quick else ''}\n")
    served = [figure for name, figure in results.figures.items() if name != "import"]
    if served:
        print(_table(served), end="\n\n")
        print(_connections(served), end="\n\n")
    print(_table([results.figures["import"]]), end="\n\n")
    print(f"(Nx): how many times as fast as `{BASELINE}`, the median of the rounds' ratios.\n")
    print(f"Signing alone: {results.signing_us:.1f} µs")
    for kind, samples in results.endurance.items():
        print(f"{OURS}, {kind}, {_endurance(samples)}")
    notes = [
        f"{figure.name}, {client}: {why}"
        for figure in results.figures.values()
        for client, why in figure.missing.items()
    ]
    for note in results.not_measured + notes:
        print(f"Not measured: {note}")
    print()
    verdicts = _verdicts(results)
    for verdict in verdicts:
        print(verdict)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(_as_json(results, machine, verdicts), indent=1) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _table(figures: list[Figure]) -> str:
    clients = list(dict.fromkeys(name for f in figures for name in [*f.rounds, *f.missing]))
    rows = [["client", *(figure.name for figure in figures)]]
    rows.append(["---", *("---:" for _ in figures)])
    rows += [[client, *(_cell(figure, client) for figure in figures)] for client in clients]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(figure: Figure, client: str) -> str:
    value, speed = figure.median(client), figure.speed(client)
    if value is None:
        return "not measured" if client in figure.missing else "-"
    text = f"{value:,.0f}{'' if figure.unit == PER_SECOND else ' '}{figure.unit}"
    return text if speed is None else f"{text} ({speed:.2f}x)"


def _connections(figures: list[Figure]) -> str:
    lines = ["TLS connections opened for fifty at once (the most of any round):"]
    for figure in figures:
        if figure.connections:
            counts = (f"{name} {max(opened)}" for name, opened in figure.connections.items())
            lines.append(f"- {figure.name}: {', '.join(counts)}")
    return "\n".join(lines)


def _endurance(samples: list[Sample] | str) -> str:
    if isinstance(samples, str):
        return f"endurance: not measured: {samples}"
    first, last = samples[0], samples[-1]
    return (
        f"after {first.done:,} / {last.done:,} cancels: "
        f"{first.rss_kib / 1024:.1f} / {last.rss_kib / 1024:.1f} MiB, "
        f"{first.descriptors} / {last.descriptors} descriptors"
    )


def _verdicts(results: Results) -> list[str]:
    verdicts = []
    for kind in ("sync", "async"):
        figure = results.figures.get(f"one cancel, {kind}")
        speed = figure.speed(BARE, baseline=OURS) if figure else None
        overhead = None if speed is None else speed - 1
        verdicts.append(
            _verdict(f"policy's share of one cancel, {kind}, %", overhead, MOST_OVERHEAD, 100)
        )
    verdicts.append(_verdict("signing, µs", results.signing_us, MOST_SIGNING_US))

    warm, cold = (results.figures.get(f"fifty at once, {kind}") for kind in ("async", "cold"))
    speed = warm.speed(OURS) if warm else None
    verdicts.append(_verdict("fifty at once, times httpx's pool", speed, LEAST_SPEED, least=True))
    for name, figure in (("warm", warm), ("cold", cold)):
        opened = figure.most_connections(OURS) if figure else None
        verdicts.append(_verdict(f"connections of fifty, {name}", opened, MOST_CONNECTIONS))

    for kind in ("sync", "async"):
        samples = results.endurance.get(kind)
        grown = more = None
        if isinstance(samples, list) and samples:
            grown = samples[-1].rss_kib - samples[0].rss_kib
            more = samples[-1].descriptors - samples[0].descriptors
        verdicts.append(_verdict(f"growth of memory, {kind}, KiB", grown, MOST_GROWTH_KIB))
        verdicts.append(_verdict(f"growth of descriptors, {kind}", more, 0))
    return verdicts


def _verdict(
    name: str, value: float | None, limit: float, scale: float = 1, *, least: bool = False
) -> str:
    bound = f"{'at least' if least else 'at most'} {limit * scale:g}"
    if value is None:
        return f"NOT MEASURED  {name} ({bound})"
    holds = value >= limit if least else value <= limit
    return f"{'PASS' if holds else 'FAIL'}  {name}: {value * scale:.1f} ({bound})"


def _as_json(results: Results, machine: str, verdicts: list[str]) -> dict[str, Any]:
    return {
        "machine": machine,
        "quick": results.quick,
        "seconds": round(results.seconds, 1),
        "baseline": BASELINE,
        "signing_us": results.signing_us,
        "figures": [figure.as_json() for figure in results.figures.values()],
        "endurance": {
            kind: samples if isinstance(samples, str) else [s._asdict() for s in samples]
            for kind, samples in results.endurance.items()
        },
        "not_measured": results.not_measured,
        "verdicts": verdicts,
    }
