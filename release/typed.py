"""What pyright says of the installed packages, and of what importers write."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from artefacts import PACKAGES, ROOT
from environments import IMPORTERS, PROGRAMS, Environment, clean_environment

PYRIGHT = ROOT / "release" / "node_modules" / ".bin" / "pyright"
#: The pages whose code stands for itself and needs nothing but the package.
PAGES = ("README.md", "docs/streams.md")


def type_faults(environment: Environment, folder: Path) -> list[str]:
    """Say what pyright finds: types that are not complete, and faults in importers' files.

    Args:
        environment: Where the wheel is installed with all extras.
        folder: Where files may be written.
    """
    found: list[str] = []
    for package in PACKAGES:
        told = _pyright(environment, folder, "--verifytypes", package, "--ignoreexternal")
        report = told["typeCompleteness"]
        if report["completenessScore"] != 1:
            unclear = [
                f"{each['name']}: {reason['message'].splitlines()[0]}"
                for each in report["symbols"]
                if each["isExported"] and not each["isTypeKnown"]
                for reason in each["diagnostics"]
            ]
            found += [
                f"{package} is not wholly typed: {each}" for each in unclear or ["see pyright"]
            ]
    strict, basic = folder / "strict", folder / "basic"
    for page in PAGES:
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
        for number, block in enumerate(blocks):
            _write(strict / f"{Path(page).stem}_{number}.py", block)
    _write(strict / "importer.py", (PROGRAMS / "importer.py").read_text("utf-8"))
    _write(strict / "pyrightconfig.json", '{"typeCheckingMode": "strict"}')
    for file in IMPORTERS.glob("*/*.py"):
        _write(basic / file.parent.name / file.name, file.read_text("utf-8"))
    for project in (strict, basic):
        for each in _pyright(environment, folder, "-p", f"{project}")["generalDiagnostics"]:
            where = f"{Path(each['file']).name}:{each['range']['start']['line'] + 1}"
            found.append(f"{where} ({project.name}): {each['message']}")
    return found


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def _pyright(environment: Environment, folder: Path, *arguments: str) -> dict[str, Any]:
    # It looks for the packages with the Python of the path.
    path = f"{environment.interpreter.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 - ours
        [PYRIGHT, "--outputjson", *arguments],
        env={**clean_environment(), "PATH": path},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return told
