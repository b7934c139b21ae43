"""The report: a table for people, a file for programs, and what has to hold."""

import json
import math
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from .clients import (
    AIOHTTP,
    BARE,
    CCXT,
    GENERATED,
    HTTPX,
    OURS,
    OURS_IN_TASKS,
    OURS_IN_THREADS,
    TASKS,
    THREADS,
)
from .confirmed import Confirmed
from .figures import PER_SECOND, Figure
from .server import LATENCY_SECONDS

FILE = Path(__file__).parent / "results" / "latest.json"
PACKAGES = ("httpx", "aiohttp", "ccxt", "bitopro-client", "requests")

CPU_SYNC, CPU_ASYNC = "CPU of one cancel, sync", "CPU of one cancel, async"
P50_SYNC, P50_ASYNC = "p50 of one cancel, sync", "p50 of one cancel, async"
IN_THREADS = f"{THREADS} threads, sync"
AT_ONCE = f"{TASKS} tasks, answers after {LATENCY_SECONDS * 1000:.0f} ms, async"
COLD, FIRST, MEMORY, IMPORT = (
    f"{TASKS} tasks, cold, async",
    "first cancel",
    "memory after it",
    "import",
)

MOST_SIGNING_US = 15.0
MOST_CONNECTIONS = 50
MOST_GROWTH_KIB = 1024
#: Of the bound. Where the round trip sets the pace, what the limits allow is out of reach.
MOST_OF_THE_BOUND, MOST_AT_30_MS = 1.15, 1.1


class Row(NamedTuple):
    """One ratio that is to be reached.

    Attributes:
        figure: The figure's name.
        client: Whose value it is.
        baseline: Whose value it is divided by.
        bound: What it is to be, at most or at least; None only shows it.
        goal: The goal behind it.
        least: Whether more is better.
    """

    figure: str
    client: str
    baseline: str
    bound: float | None
    goal: float | None = None
    least: bool = False


ROWS = (
    # The same work: arguments checked, signed by the plugin, the answer read as a model.
    Row(CPU_SYNC, OURS, GENERATED, 0.42, 0.35),
    Row(CPU_SYNC, OURS, HTTPX, None),
    Row(P50_SYNC, OURS, CCXT, 0.38, 0.30),
    Row(IN_THREADS, OURS_IN_THREADS, HTTPX, 2.3, 3, least=True),
    Row(CPU_ASYNC, OURS, AIOHTTP, 1.15, 1),
    Row(P50_ASYNC, OURS, CCXT, 0.75, 0.7),
    Row(AT_ONCE, OURS_IN_TASKS, AIOHTTP, 0.9, 1, least=True),
    Row(AT_ONCE, OURS, AIOHTTP, None),
    Row(IMPORT, OURS, HTTPX, 1.4, 1.25),
    Row(f"{FIRST}, sync", OURS, HTTPX, 1.1, 1),
    Row(f"{MEMORY}, sync", OURS, HTTPX, 1.15, 1.1),
    Row(CPU_SYNC, OURS, BARE, None),
    Row(CPU_ASYNC, OURS, BARE, None),
)


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
        self.confirmed: list[Confirmed] = []
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
    for kind in (", sync", ", async", IMPORT):
        figures = [each for each in results.figures.values() if each.name.endswith(kind)]
        if figures:
            print(_table(figures), end="\n\n")
    print(f"(N): the value by that of `{HTTPX}`, the median of the rounds' ratios.\n")
    print(_connections(results.figures.values()))
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
    verdicts = _verdicts(results)
    print("\n| what | value | to reach | goal | verdict |\n| --- | ---: | ---: | ---: | --- |")
    for verdict in verdicts:
        print(f"| {' | '.join(verdict)} |")
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
    value, ratio = figure.median(client), figure.ratio(client)
    if value is None:
        return "not measured" if client in figure.missing else "-"
    text = f"{value:,.0f}{'' if figure.unit == PER_SECOND else ' '}{figure.unit}"
    return text if ratio is None else f"{text} ({ratio:.2f})"


def _connections(figures: Iterable[Figure]) -> str:
    lines = [f"TLS connections opened by {TASKS} tasks (the most of any round):"]
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


class Verdict(NamedTuple):
    """A line of what has to hold, as text."""

    what: str
    value: str
    bound: str
    goal: str
    verdict: str


def _verdicts(results: Results) -> list[Verdict]:
    verdicts = []
    for row in ROWS:
        figure = results.figures.get(row.figure)
        ratio = figure.ratio(row.client, row.baseline) if figure else None
        what = f"{row.figure}: {row.client} ÷ {row.baseline}"
        verdicts.append(_verdict(what, ratio, row.bound, row.goal, least=row.least))
    for each in results.confirmed:
        what = (
            f"{each.orders} confirmed at once, answers after {each.delay_ms} ms: "
            f"{each.seconds:.1f} s ÷ the bound, {each.bound:.1f} s; {_outcomes(each)}"
        )
        bound = MOST_AT_30_MS if each.delay_ms == 30 else MOST_OF_THE_BOUND
        verdicts.append(_verdict(what, each.ratio if not each.wrong else math.inf, bound, 1))

    verdicts.append(_verdict("signing, µs", results.signing_us, MOST_SIGNING_US))
    for name in (AT_ONCE, COLD):
        figure = results.figures.get(name)
        opened = figure.most_connections(OURS_IN_TASKS) if figure else None
        verdicts.append(_verdict(f"connections, {name}", opened, MOST_CONNECTIONS))
    for kind in ("sync", "async"):
        samples = results.endurance.get(kind)
        grown = more = None
        if isinstance(samples, list) and samples:
            grown = samples[-1].rss_kib - samples[0].rss_kib
            more = samples[-1].descriptors - samples[0].descriptors
        verdicts.append(_verdict(f"growth of memory, {kind}, KiB", grown, MOST_GROWTH_KIB))
        verdicts.append(_verdict(f"growth of descriptors, {kind}", more, 0))
    return verdicts


def _outcomes(each: Confirmed) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in each.outcomes.items())
    return f"{counts}, {each.wrong} not as in the book, {each.requests} requests"


def _verdict(
    what: str,
    value: float | None,
    bound: float | None,
    goal: float | None = None,
    *,
    least: bool = False,
) -> Verdict:
    if value is None:
        verdict = "NOT MEASURED"
    elif bound is None:
        verdict = "(shown)"
    else:
        verdict = "PASS" if (value >= bound if least else value <= bound) else "FAIL"
    return Verdict(
        what,
        "-" if value is None else f"{value:.2f}" if isinstance(value, float) else f"{value}",
        "-" if bound is None else f"{'≥' if least else '≤'} {bound:g}",
        "-" if goal is None else f"{goal:g}",
        verdict,
    )


def _as_json(results: Results, machine: str, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "machine": machine,
        "quick": results.quick,
        "seconds": round(results.seconds, 1),
        "baseline": HTTPX,
        "signing_us": results.signing_us,
        "figures": [figure.as_json() for figure in results.figures.values()],
        "endurance": {
            kind: samples if isinstance(samples, str) else [s._asdict() for s in samples]
            for kind, samples in results.endurance.items()
        },
        "not_measured": results.not_measured,
        "confirmed": [each._asdict() for each in results.confirmed],
        "verdicts": [verdict._asdict() for verdict in verdicts],
    }
