"""The wheel: what is in it, what it needs, and that it cancels an order where nothing else is."""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bitopro_sandbox import OrderStatus, Sandbox
from tests.support import ROOT, environment_of

PACKAGES = {"bitopro_auth", "bitopro_client", "bitopro_orders", "bitopro_sandbox"}
FIVE_LINES = """
from bitopro_client.api.orders import cancel_order
from bitopro_orders import connect
with connect() as client:
    cancelled = cancel_order.sync("BTC_TWD", "2959906694", client=client)
print(cancelled.order_id)
"""
SERVE = "from bitopro_sandbox import serve\nwith serve(): ..."
KEY = "from bitopro_auth import Credentials\nkey = Credentials('k', 's', 'a@example.com')\n"
REDIS = f"{KEY}from bitopro_orders import connect\nconnect(key, shared='redis://localhost')"
STREAM = f"{KEY}from bitopro_orders import order_history\norder_history(key)"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(hatchling, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def closure(
    requirement: str, found: dict[str, Distribution] | None = None
) -> dict[str, Distribution]:
    """Return the installed distributions that a requirement brings, without extras."""
    found = {} if found is None else found
    parsed = Requirement(requirement)
    name = re.sub(r"[-_.]+", "-", parsed.name).lower()
    if name not in found and (parsed.marker is None or parsed.marker.evaluate({"extra": ""})):
        found[name] = distribution(name)
        for needed in requires(name) or []:
            closure(needed, found)
    return found


@pytest.fixture(scope="module")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the wheel and what it requires, copied: no test needs a network."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
        metadata = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    for line in lines:
        if line.startswith("Requires-Dist: ") and "extra ==" not in line:
            for needed in closure(line.removeprefix("Requires-Dist: ")).values():
                for file in needed.files or []:
                    if ".." not in file.parts:
                        target = packages / file
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy(str(needed.locate_file(file)), target)
    return folder / "bin" / "python"


def test_it_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_core_needs_what_it_says_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    assert names == {"attrs", "certifi", "httptools", "httpx"}
    assert "certifi" in closure("httpx"), "httpx brings it"


def test_it_cancels_an_order_in_an_empty_environment(
    empty_environment: Path, bitopro_sandbox: Sandbox, tmp_path: Path
) -> None:
    run = subprocess.run(
        [empty_environment, "-I", "-c", FIVE_LINES],
        env=environment_of(bitopro_sandbox),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "2959906694\n", "")
    assert bitopro_sandbox.book.get("2959906694").status is OrderStatus.CANCELLED


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["-m", "bitopro_sandbox"],
            "The sandbox needs starlette: pip install 'bitopro-orders[sandbox]'",
        ),
        (["-c", SERVE], "The sandbox needs starlette: pip install 'bitopro-orders[sandbox]'"),
        (["-c", REDIS], "pip install 'bitopro-orders[redis]'"),
        (["-c", STREAM], "pip install 'bitopro-orders[stream]'"),
    ],
)
def test_without_its_extra_each_part_says_what_to_install(
    empty_environment: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    run = subprocess.run(
        [empty_environment, "-I", *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.strip().endswith(told)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_without_extras_everything_can_be_imported(
    empty_environment: Path, tmp_path: Path, package: str
) -> None:
    star: list[str | Path] = [empty_environment, "-I", "-c", f"from {package} import *"]
    run = subprocess.run(star, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


def test_without_its_extra_the_command_line_says_what_to_install(
    empty_environment: Path, wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = archive.read(next(n for n in names if n.endswith("/entry_points.txt"))).decode()
    assert "[console_scripts]\nbitopro = bitopro_orders.cli:main\n" in scripts
    run = subprocess.run(
        [empty_environment, "-I", "-m", "bitopro_orders.cli", "--help"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    told = "bitopro: run  pip install 'bitopro-orders[cli]'  first\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", told)
