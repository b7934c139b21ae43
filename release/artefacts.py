"""What is built, and what must be in it."""

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parent.parent
#: Each package, and the folder of the checkout that it is in.
PACKAGES = {
    "bitopro_auth": "auth_plugin",
    "bitopro_client": "generated",
    "bitopro_orders": "orders",
    "bitopro_sandbox": "sandbox",
}
#: What else the sdist holds, as it is in the checkout.
BESIDE = (".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "hatch_build.py", "pyproject.toml")
DIST_INFO = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
#: What says where the project lives: an index shows it.
HOMES = {"homepage", "source", "repository"}


class Built(NamedTuple):
    """The files of a release."""

    wheel: Path
    sdist: Path
    again: Path


def build(folder: Path) -> Built:
    """Build the wheel and the sdist from the checkout, and the wheel from the sdist again."""
    _hatchling(ROOT, folder, "sdist", "wheel")
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    _hatchling(source, folder / "again", "wheel")
    return Built(wheel, sdist, folder / "again" / wheel.name)


def _hatchling(source: Path, folder: Path, *targets: str) -> None:
    options = [option for target in targets for option in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *options]
    subprocess.run(command, cwd=source, check=True, capture_output=True)  # noqa: S603 - ours


def in_git() -> set[str]:
    """Return the names of the files that git keeps, as seen from the checkout's root."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - git
    return set(listed.stdout.split("\0")) - {""}


def content_faults(wheel: Iterable[str], sdist: Iterable[str], kept: Iterable[str]) -> list[str]:
    """Say what must not be in the wheel or the sdist, and what is missing.

    In both is what git keeps of the packages, the licence and the metadata. The sdist has besides
    what building takes, and the changelog.

    Args:
        wheel: The names in it.
        sdist: The names in it, below its one folder.
        kept: The names of the files that git keeps.
    """
    modules = {
        name: f"{package}/{name.removeprefix(f'{folder}/{package}/')}"
        for package, folder in PACKAGES.items()
        for name in kept
        if name.startswith(f"{folder}/{package}/")
    }
    typed = {f"{package}/py.typed" for package in PACKAGES}
    in_wheel = {name.partition(".dist-info/")[2] or name for name in wheel}
    found = [
        *_differences("wheel", in_wheel, {*modules.values(), *DIST_INFO, *typed}),
        *_differences("sdist", set(sdist), {*modules, *BESIDE, "PKG-INFO"}),
    ]
    odd = [name for name in modules if not name.endswith((".py", "/py.typed"))]
    return found + [f"{name} is in a package, and neither Python nor py.typed" for name in odd]


def _differences(where: str, found: set[str], due: set[str]) -> list[str]:
    return [
        *(f"the {where} has {name}, which git does not keep there" for name in sorted(found - due)),
        *(f"the {where} has no {name}" for name in sorted(due - found)),
    ]


def names(built: Built) -> tuple[list[str], list[str]]:
    """Return what is in the wheel and, below its one folder, in the sdist."""
    with zipfile.ZipFile(built.wheel) as wheel, tarfile.open(built.sdist) as sdist:
        files = [each.name.partition("/")[2] for each in sdist.getmembers() if each.isfile()]
        return wheel.namelist(), files


def metadata(built: Built) -> tuple[str, str]:
    """Return the metadata of the wheel and of the sdist as text."""
    with zipfile.ZipFile(built.wheel) as wheel, tarfile.open(built.sdist) as sdist:
        name = next(each for each in wheel.namelist() if each.endswith(".dist-info/METADATA"))
        beside = next(each for each in sdist.getmembers() if each.name.endswith("/PKG-INFO"))
        file = sdist.extractfile(beside)
        return wheel.read(name).decode(), file.read().decode() if file else ""


def metadata_faults(text: str, version: str, extras: Mapping[str, object]) -> list[str]:
    """Say what is wrong in the metadata: version, extras, classifiers, URLs, links of the README.

    Args:
        text: The metadata.
        version: The package's.
        extras: Those that are tried.
    """
    told = Metadata.from_email(text, validate=True)
    found = []
    if str(told.version) != version:
        found.append(f"the metadata tells version {told.version}, the package {version}")
    if set(told.provides_extra or []) != set(extras):
        found.append(f"the extras are {told.provides_extra}, and {sorted(extras)} are tried")
    if not told.classifiers or "Typing :: Typed" not in told.classifiers:
        found.append("the classifiers do not say that the package is typed")
    pythons = minors(text)
    if not pythons or pythons != list(range(pythons[0], pythons[-1] + 1)):
        found.append(f"the classifiers name the Pythons 3.{pythons}, with gaps")
    elif str(told.requires_python) != f">=3.{pythons[0]}":
        found.append(f"it requires Python {told.requires_python}, the classifiers 3.{pythons[0]}")
    for label, url in (told.project_urls or {}).items():
        if not url.startswith("https://"):
            found.append(f"the URL {label!r} is none that begins with https://: {url}")
    for target in re.findall(r"\]\(([^)\s]*)|(?:href|src)=\"([^\"]*)", told.description or ""):
        link = "".join(target)
        if not link.startswith("https://"):
            found.append(f"the README leads to {link!r}, which is no absolute link")
    return found


def minors(text: str) -> list[int]:
    """Return the second numbers of the Pythons that the classifiers of the metadata name."""
    told = Metadata.from_email(text, validate=True)
    pattern = r"Programming Language :: Python :: 3\.(\d+)"
    matches = [re.fullmatch(pattern, each) for each in told.classifiers or []]
    return sorted(int(each[1]) for each in matches if each)


def has_home(text: str) -> bool:
    """Say whether the metadata tell where the project lives."""
    urls = Metadata.from_email(text, validate=True).project_urls or {}
    return bool(HOMES & {label.lower() for label in urls})


def unlike(one: Path, other: Path) -> list[str]:
    """Say how two wheels differ, byte for byte."""
    if digest(one) == digest(other):
        return []
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        shared = set(first.namelist()) & set(second.namelist())
        apart = set(first.namelist()) ^ set(second.namelist())
        apart |= {name for name in shared if first.read(name) != second.read(name)}
    what = ", ".join(sorted(apart)) or "the order, times or modes of the files"
    return [f"the wheel from the sdist is not the one from the checkout: {what}"]


def digest(file: Path) -> str:
    """Return a file's SHA-256 in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
