"""Empty environments with the wheel, on every Python that is found, and what is run in them."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from artefacts import ROOT

PROGRAMS = ROOT / "release" / "programs"
IMPORTERS = ROOT / "tests" / "importers"
UV = Path(sys.executable).parent / "uv"
#: What is tried of each Python, as uv calls it.
RESOLUTIONS = {"newest": "highest", "lowest": "lowest-direct"}
#: What a test run of an importer's adds to the importer's own dependencies.
PYTEST = "pytest"
RUN_PYTEST = ("-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "-c", os.devnull)
CANCEL = ("-m", "bitopro_orders.cli", "cancel", "BTC_TWD", "2959906694", "--yes", "--no-journal")
#: What shows that an extra brings what it is for; none of them has another one installed.
EXTRAS: dict[str, tuple[str, ...]] = {
    "": (f"{PROGRAMS / 'alone.py'}",),
    "cli": CANCEL,
    "redis": (f"{PROGRAMS / 'shared.py'}",),
    "sandbox": (*RUN_PYTEST, f"{PROGRAMS / 'own_tests.py'}"),
    "stream": (f"{PROGRAMS / 'stream.py'}",),
}
ALL = ",".join(filter(None, EXTRAS))
SECONDS = 120


class Environment(NamedTuple):
    """An environment to be made.

    Attributes:
        python: The interpreter it is made with.
        name: What it is called in the report.
        resolution: What uv is to choose.
        folder: Where it is.
    """

    python: Path
    name: str
    resolution: str
    folder: Path

    @property
    def interpreter(self) -> Path:
        """Its own Python."""
        return self.folder / "bin" / "python"


def pythons(minors: Iterator[int] | range) -> dict[str, Path | None]:
    """Return an interpreter of each Python 3.x, from the path or pyenv's; None if there is none."""
    folders = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found: dict[str, Path | None] = {}
    for minor in minors:
        name = f"3.{minor}"
        here = [folder / f"python{name}" for folder in folders]
        here += [each / "bin" / "python" for each in sorted(pyenv.glob(f"{name}.*"), reverse=True)]
        found[name] = next((each for each in here if _is(each, name)), None)
    return found


def _is(python: Path, name: str) -> bool:
    """Say whether this is such a Python: one of pyenv's stand-ins may lead to none."""
    if not os.access(python, os.X_OK):
        return False
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return told.stdout.strip() == name


def run(command: list[str | Path], environment: Mapping[str, str], folder: Path) -> str:
    """Run something, with nothing of the checkout in its path; return what went wrong."""
    try:
        done = subprocess.run(  # noqa: S603 - ours
            command, env=environment, cwd=folder, timeout=SECONDS,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{' '.join(map(str, command))}: not done in {SECONDS} s"
    if not done.returncode:
        return ""
    said = (done.stdout + done.stderr).strip()
    return f"{' '.join(map(str, command))}: exit {done.returncode}\n{said[-3000:]}"


def clean_environment() -> dict[str, str]:
    """Return the variables of this process that no program here is to be led by."""
    led = ("BITOPRO_", "PYTHON", "VIRTUAL_ENV", "SHARED")
    return {name: value for name, value in os.environ.items() if not name.startswith(led)}


def make(environment: Environment, wheel: Path, extras: str) -> str:
    """Make an environment with the wheel and the dependencies that uv chooses.

    Only wheels of dependencies are taken: importers have no compiler.
    """
    wanted = f"bitopro-orders[{extras}] @ {wheel.as_uri()}" if extras else f"{wheel}"
    options = ["--resolution", environment.resolution, "--only-binary", ":all:"]
    into = ["--python", f"{environment.interpreter}"]
    steps = [
        ["venv", "--python", f"{environment.python}", f"{environment.folder}"],
        ["pip", "install", *into, *options, wanted],
    ]
    if "sandbox" in extras:
        # Any that pip would choose: what an importer tests with is not ours to name.
        steps.append(["pip", "install", *into, PYTEST])
    for step in steps:
        if fault := run([UV, "--quiet", *step], clean_environment(), environment.folder.parent):
            return fault
    return ""


@contextmanager
def exchange(python: Path) -> Iterator[dict[str, str]]:
    """Serve a new sandbox; give the variables that lead to it."""
    command = [f"{python}", "-u", "-m", "bitopro_sandbox", "--port", "0"]
    with subprocess.Popen(  # noqa: S603 - ours
        command, env=clean_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout is None:
                raise AssertionError("it is piped")
            told: dict[str, str] = {}
            for line in process.stdout:
                if match := re.match(r"export (\w+)=(.*)", line):
                    told[match[1]] = match[2]
                if "BITOPRO_EMAIL" in told:
                    break
            yield {**clean_environment(), **told}
        finally:
            process.terminate()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Serve a Redis in a folder; give its URL, or an empty text if there is no redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        yield ""
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", f"{port}", "--bind", "127.0.0.1", "--save", "", "--dir", f"{folder}"]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            _wait_for(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("redis-server does not serve")


def importers() -> list[tuple[str, ...]]:
    """Return how each importer's program is run."""
    programs = [PROGRAMS / "importer.py", *sorted(IMPORTERS.glob("*/*.py"))]
    return [
        (*RUN_PYTEST, f"{each}") if "pytest" in each.read_text("utf-8") else (f"{each}",)
        for each in programs
    ]


def try_out(environment: Environment, wheel: Path, shared: str) -> list[str]:
    """Install and run everything on one Python, with one choice of dependencies.

    Args:
        environment: The one with all extras; those with one extra are made beside it.
        wheel: The wheel.
        shared: The URL of a Redis; empty if there is none.

    Returns:
        What went wrong.
    """
    if fault := make(environment, wheel, ALL):
        return [fault]
    jobs = [(environment, arguments) for arguments in importers()]
    for extra, arguments in EXTRAS.items():
        own = environment._replace(folder=Path(f"{environment.folder}-{extra or 'alone'}"))
        if fault := make(own, wheel, extra):
            return [f"with the extra {extra!r}: {fault}"]
        if extra != "redis" or shared:
            jobs.append((own, arguments))
    faults = []
    for where, arguments in jobs:
        with (
            tempfile.TemporaryDirectory(dir=environment.folder.parent) as folder,
            exchange(environment.interpreter) as variables,
        ):
            variables |= {"SHARED": shared} if shared and "shared" in arguments[-1] else {}
            faults.append(run([where.interpreter, *arguments], variables, Path(folder)))
    return [fault for fault in faults if fault]


def try_everywhere(
    found: Mapping[str, Path], wheel: Path, folder: Path
) -> Iterator[tuple[str, list[str], float]]:
    """Try the wheel on each Python; tell each name, what went wrong and the seconds it took."""
    environments = [
        Environment(python, f"Python {name}, {which}", resolution, folder / f"{name}-{which}")
        for name, python in found.items()
        for which, resolution in RESOLUTIONS.items()
    ]  # fmt: skip

    def timed(environment: Environment) -> tuple[str, list[str], float]:
        began = time.monotonic()
        faults = try_out(environment, wheel, shared)
        return environment.name, faults, time.monotonic() - began

    with redis(folder) as shared, ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(timed, environments)
