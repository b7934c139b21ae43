"""What `make release-check` refuses of what was built."""

import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "release"))

import artefacts
import environments

KEPT = [
    *(f"{folder}/{package}/__init__.py" for package, folder in artefacts.PACKAGES.items()),
    *(f"{folder}/{package}/py.typed" for package, folder in artefacts.PACKAGES.items()),
    *artefacts.BESIDE,
    "tests/test_release.py",
]
WHEEL = [
    *(
        f"{package}/{name}"
        for package in artefacts.PACKAGES
        for name in ("__init__.py", "py.typed")
    ),
    *(f"bitopro_orders-0.2.0.dist-info/{name}" for name in artefacts.DIST_INFO),
]
SDIST = [*KEPT[:-1], "PKG-INFO"]
EXTRAS = dict.fromkeys(["cli"])
METADATA = """\
Metadata-Version: 2.4
Name: bitopro-orders
Version: 0.2.0
Project-URL: Exchange API, https://example.com/api
Classifier: Programming Language :: Python :: 3
Classifier: Programming Language :: Python :: 3.11
Classifier: Programming Language :: Python :: 3.12
Classifier: Typing :: Typed
Requires-Python: >=3.11
Provides-Extra: cli
Description-Content-Type: text/markdown

See [the exchange](https://www.example.com) and docs/outcomes.md.
"""


def test_what_git_keeps_of_the_packages_is_in_both() -> None:
    assert artefacts.content_faults(WHEEL, SDIST, KEPT) == []


@pytest.mark.parametrize(
    ("wheel", "sdist", "kept", "said"),
    [
        ([*WHEEL, "bitopro_auth/.env"], SDIST, KEPT, ["the wheel has bitopro_auth/.env"]),
        ([*WHEEL, "tests/secrets.py"], SDIST, KEPT, ["the wheel has tests/secrets.py"]),
        (WHEEL, [*SDIST, "tests/test_release.py"], KEPT, ["the sdist has tests/test_release.py"]),
        (WHEEL[1:], SDIST, KEPT, ["the wheel has no bitopro_auth/__init__.py"]),
        (WHEEL[:-1], SDIST, KEPT, ["the wheel has no licenses/LICENSE"]),
        (WHEEL, [*SDIST[:-2], "PKG-INFO"], KEPT, ["the sdist has no pyproject.toml"]),
        (
            [*WHEEL, "bitopro_auth/key.pem"],
            [*SDIST, "auth_plugin/bitopro_auth/key.pem"],
            [*KEPT, "auth_plugin/bitopro_auth/key.pem"],
            ["auth_plugin/bitopro_auth/key.pem is in a package, and neither Python nor py.typed"],
        ),
    ],
)
def test_what_is_missing_or_too_much_is_named(
    wheel: list[str], sdist: list[str], kept: list[str], said: list[str]
) -> None:
    found = artefacts.content_faults(wheel, sdist, kept)
    assert [fault[: len(part)] for fault, part in zip(found, said, strict=True)] == said


def test_a_package_without_py_typed_is_named_though_git_has_none() -> None:
    without = [[n for n in names if n != "bitopro_auth/py.typed"] for names in (WHEEL, SDIST, KEPT)]
    assert "the wheel has no bitopro_auth/py.typed" in artefacts.content_faults(*without)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", None),
        ("Version: 0.2.0", "Version: 0.3.0", "the metadata tells version 0.3.0"),
        ("Extra: cli", "Extra: redis", "the extras are ['redis']"),
        ("Classifier: Typing :: Typed\n", "", "that the package is typed"),
        ("3.12", "3.13", "with gaps"),
        (">=3.11", ">=3.12", "the classifiers 3.11"),
        ("https://example.com/api", "http://example.com/api", "the URL 'Exchange API'"),
        ("docs/outcomes.md.", "[it](docs/outcomes.md)", "the README leads to 'docs/outcomes.md'"),
        ("docs/outcomes.md.", '<img src="logo.svg">', "the README leads to 'logo.svg'"),
    ],
)
def test_what_is_wrong_in_the_metadata_is_named(old: str, new: str, said: str | None) -> None:
    text = METADATA.replace(old, new) if old else METADATA
    found = artefacts.metadata_faults(text, "0.2.0", EXTRAS)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_wheels_that_differ_are_told_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one.whl", tmp_path / "other.whl"
    with zipfile.ZipFile(one, "w") as archive:
        archive.writestr("a.py", "1")
        archive.writestr("b.py", "1")
    shutil.copy(one, other)
    assert artefacts.unlike(one, other) == []
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.py", "2")
        archive.writestr("b.py", "1")
    assert artefacts.unlike(one, other)[0].endswith(": a.py")


def test_a_python_that_is_not_here_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "python3.12"
    stand_in.write_text("#!/bin/sh\nexit 127\n")
    stand_in.chmod(0o755)
    this = f"3.{sys.version_info.minor}"
    (tmp_path / f"python{this}").unlink(missing_ok=True)
    (tmp_path / f"python{this}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    found = environments.pythons(range(sys.version_info.minor, 100))
    assert found.pop(this) == tmp_path / f"python{this}"
    assert set(found.values()) == {None}
