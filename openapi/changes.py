"""Say what a change does to those who import the packages: `make change-report [BASE=...]`.

The spec and the public surface of a release, a tag or a commit are compared with those of the work
tree. The exit code is 1 if version or changelog do not live up to what changed.
"""

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import command_line
import surface
import yaml
from report import REACHED, report
from spec_changes import Change, Kind, Specs
from surface_changes import surface_changes

Node = Any


class State(NamedTuple):
    """What is compared: the two documents, and the surface of the packages and the command line."""

    version: str
    specs: Mapping[str, Node]
    surfaces: Mapping[str, str]


def load(folder: Path, version: str, surfaces: Mapping[str, str]) -> State:
    """Return the state whose documents are in a folder."""
    specs = {
        name: yaml.safe_load((folder / name).read_text("utf-8"))
        for name in ("bitopro.yaml", "streams.yaml")
    }
    return State(version, specs, surfaces)


def work_tree(root: Path) -> State:
    """Return the state of a checkout."""
    return load(root / "openapi", surface.version(root), surface.surfaces(root))


def base(name: str | None) -> State:
    """Return the state of a release, the last one by default, or of a tag or commit.

    A commit whose version is not released yet counts as that of the last release: the next version
    has to live up to all that came since.
    """
    releases = {each.name: each for each in surface.RELEASED.iterdir()}
    last = max(releases, key=numbers)
    name = name or last
    if folder := releases.get(name.removeprefix("v")):
        texts = {file.stem: file.read_text("utf-8") for file in folder.glob("*.txt")}
        return load(folder, folder.name, texts)
    archive = subprocess.run(  # noqa: S603 - git, with a name that must be a commit's
        ["git", "archive", "--format=tar", f"{name}^{{commit}}"],  # noqa: S607
        cwd=surface.ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if archive.returncode:
        known = ", ".join(sorted(releases, key=numbers))
        raise SystemExit(f"BASE must be a release ({known}), a tag or a commit, not {name!r}")
    with tempfile.TemporaryDirectory() as folder_name:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(folder_name, filter="data")
        found = work_tree(Path(folder_name))
    return found if found.version in releases else found._replace(version=last)


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def smallest(version: str, kind: Kind) -> str:
    """Return the smallest version that may follow one with a change of this kind.

    Before 1.0.0 the second number stands for the first.
    """
    parts = [*numbers(version), 0, 0][:3]
    place = max(2 - kind, 0) if parts[0] else (1 if kind is Kind.BREAKING else 2)
    return ".".join(map(str, [*parts[:place], parts[place] + 1, *[0] * (2 - place)]))


def compare(before: State, after: State) -> list[Change]:
    """Return all that differs, the breaking first."""
    found = Specs(before.specs["bitopro.yaml"], after.specs["bitopro.yaml"]).changes()
    streams = [state.specs["streams.yaml"] for state in (before, after)]
    found += Specs(*streams).streams()
    for package in surface.PACKAGES:
        texts = [state.surfaces.get(package, "") for state in (before, after)]
        found += surface_changes(*texts)
    texts = [state.surfaces.get(command_line.NAME, "") for state in (before, after)]
    found += command_line.changes(*texts)
    said = {once for each in found for once in said_twice(each)}
    kept = [each for each in found if (each.kind, each.what) not in said]
    return sorted(kept, key=lambda each: -each.kind)


def said_twice(change: Change) -> Iterator[tuple[Kind, str]]:
    """Yield what the surface says, too, of an operation, a model or a property of the spec."""
    place = {"operation": "bitopro_client.api.", "schema": "bitopro_client.models."}
    prefix = place.get(change.what.partition(" ")[0])
    verdict = change.what.rpartition(": ")[2]
    if prefix and verdict in ("added", "removed"):
        names = [name for name in change.names if name.startswith(prefix)]
        yield from ((change.kind, f"{name}: {verdict}") for name in names)


def shortcomings(changes: list[Change], before: State, version: str, changelog: str) -> list[str]:
    """Say what version and changelog do not live up to."""
    found: list[str] = []
    if not changes:
        return found
    worst = changes[0].kind
    if numbers(version) < numbers(smallest(before.version, worst)):
        least = smallest(before.version, worst)
        found.append(f"the version is {version}; {worst.name.lower()} changes need {least}")
    head, *sections = re.split(r"^## ", changelog, flags=re.MULTILINE)
    if "public API" not in head:
        found.append("the changelog does not begin with what the public API is")
    top = sections[0] if sections else ""
    if not re.match(rf"\[?{re.escape(version)}\b", top):
        found.append(f"the changelog's top is not about {version}")
    needed = {
        Kind.BREAKING: ("Changed", "Removed"),
        Kind.ADDITIVE: ("Added", "Changed", "Deprecated"),
        Kind.WORDING: ("Added", "Changed", "Deprecated", "Fixed", "Removed", "Security"),
    }
    words = set(re.findall(r"\w+", top)) | set(re.findall(r"[-\w]+", top))
    for each in changes:
        last = {re.findall(r"[-\w]+", name)[-1] for name in each.names if REACHED not in name}
        if each.kind is Kind.BREAKING and last and not last & words:
            found.append(f"the changelog's top does not name {' or '.join(sorted(last))}")
    for kind in sorted({each.kind for each in changes}, reverse=True):
        if not any(f"### {title}" in top for title in needed[kind]):
            titles = " or ".join(needed[kind])
            found.append(f"{kind.name.lower()} changes, and the changelog's top has no {titles}")
    return found


def disagreements(state: State, released: Collection[str], changelog: str) -> list[str]:
    """Say what tells another version than the package, or of another release."""
    found = [
        f"openapi/{name} is of version {spec['info']['version']}, not {state.version}"
        for name, spec in state.specs.items()
        if f"{spec['info']['version']}" != state.version
    ]
    date = r"\d{4}-\d\d-\d\d" if state.version in released else "unreleased"
    top = re.search(r"^## (.*)", changelog, flags=re.MULTILINE)
    if not top or not re.fullmatch(rf"\[?{re.escape(state.version)}\]? - {date}", top[1]):
        due = "the date of its release" if state.version in released else date
        found.append(f"the changelog's top must be '## {state.version} - ' and {due}")
    return found


def main() -> int:
    """Print the report; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", nargs="?", help="a release, a tag or a commit")
    arguments = parser.parse_args()
    before, after = base(arguments.base), work_tree(surface.ROOT)
    changes = compare(before, after)
    least = smallest(before.version, changes[0].kind) if changes else ""
    print(report(changes, arguments.base or before.version, least, after.version))
    changelog = (surface.ROOT / "CHANGELOG.md").read_text("utf-8")
    found = shortcomings(changes, before, after.version, changelog)
    found += disagreements(after, [each.name for each in surface.RELEASED.iterdir()], changelog)
    print("\n".join(["", *(f"NOT YET: {each}" for each in found)]) if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
