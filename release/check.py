"""Check what is to be released: `make release-check`.

It builds sdist and wheel, looks into both, and installs and uses the wheel in empty environments on
every Python that is found, with the newest and with the lowest dependencies that are allowed.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import artefacts
import environments
import typed

#: The second number of the newest Python that is looked for, whatever the classifiers name.
NEWEST = 14


def version() -> str:
    """Return the version, from its one place."""
    text = (artefacts.ROOT / "orders" / "bitopro_orders" / "version.py").read_text("utf-8")
    found = re.search(r'__version__ = "(.*)"', text)
    if not found:
        raise SystemExit("version.py has no version")
    return found[1]


def twine_faults(built: artefacts.Built) -> list[str]:
    """Say what twine says."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built[:2])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    return [f"twine: {done.stdout}{done.stderr}"] if done.returncode else []


def metadata_faults(built: artefacts.Built) -> list[str]:
    """Say what is wrong in the metadata of both."""
    wheel, sdist = artefacts.metadata(built)
    extras = set(environments.EXTRAS) - {""}
    found = artefacts.metadata_faults(wheel, version(), dict.fromkeys(extras))
    return found + ([] if wheel == sdist else ["the metadata of wheel and sdist differ"])


class Report:
    """Prints each check as it ends, and counts what is wrong."""

    def __init__(self) -> None:
        self.faults: int = 0

    def tell(self, what: str, faults: list[str], seconds: float) -> None:
        """Print one check."""
        self.faults += len(faults)
        print(f"{'no' if faults else 'ok':3} {what} ({seconds:.0f} s)", flush=True)
        for fault in faults:
            print("      " + fault.replace("\n", "\n      "), flush=True)

    def check(self, what: str, look: Callable[[], list[str]]) -> None:
        """Carry out one check, and print it."""
        began = time.monotonic()
        self.tell(what, look(), time.monotonic() - began)


def main() -> int:
    """Print the report; return the exit code."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        folder = Path(name)
        built = artefacts.build(folder)
        text = artefacts.metadata(built)[0]
        kept = artefacts.in_git()
        report.check(
            "wheel and sdist hold what they must, and nothing else",
            lambda: artefacts.content_faults(*artefacts.names(built), kept),
        )
        report.check(f"metadata of {version()}", lambda: metadata_faults(built))
        report.check("twine", lambda: twine_faults(built))
        report.check("wheel from the sdist", lambda: artefacts.unlike(built.wheel, built.again))
        claimed = artefacts.minors(text)
        looked_for = range(min(claimed, default=NEWEST), max([*claimed, NEWEST]) + 1)
        found = environments.pythons(looked_for)
        here = {name: python for name, python in found.items() if python}
        if not here:
            raise SystemExit("none of the Pythons is here")
        for what, faults, seconds in environments.try_everywhere(here, built.wheel, folder):
            report.tell(what, faults, seconds)
        first = next(iter(here))
        where = environments.Environment(here[first], first, "highest", folder / f"{first}-newest")
        report.check("pyright", lambda: typed.type_faults(where, folder))
        for missing in sorted(set(found) - set(here)):
            said = "it is in the classifiers" if int(missing[2:]) in claimed else "not claimed"
            print(f"--  Python {missing} is not here: not tried ({said})")
        if not artefacts.has_home(text):
            print("--  [project.urls] does not say where the project lives: no such place is known")
        print(f"{built.wheel.name}: sha256 {artefacts.digest(built.wheel)}")
    print(f"{report.faults} faults" if report.faults else "It may be released.")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
