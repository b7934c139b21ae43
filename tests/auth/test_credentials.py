"""Credentials: where they come from, and that they have no printable form."""

import copy
import json
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from bitopro_auth import Credentials, CredentialsError, base_url_from_env

ENVIRONMENT = {
    "BITOPRO_API_KEY": "CANARY-key",
    "BITOPRO_API_SECRET": "CANARY-secret",
    "BITOPRO_EMAIL": "CANARY@example.com",
}
VARIABLES = sorted(ENVIRONMENT)


def test_they_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    expected = Credentials("CANARY-key", "CANARY-secret", "CANARY@example.com")
    assert Credentials.from_env() == expected


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    "missing", [VARIABLES[:1], VARIABLES[1:2], VARIABLES[2:], VARIABLES[:2], VARIABLES]
)
def test_all_that_are_missing_are_named_and_none_is_quoted(missing: list[str], empty: bool) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in missing}
    if empty:
        environment |= dict.fromkeys(missing, "")
    with pytest.raises(CredentialsError) as caught:
        Credentials.from_env(environment)
    assert [name for name in VARIABLES if name in str(caught.value)] == missing
    assert "CANARY" not in str(caught.value)


def test_the_base_url_comes_from_the_environment_too() -> None:
    assert base_url_from_env({"BITOPRO_BASE_URL": "https://x/v3"}) == "https://x/v3"
    assert base_url_from_env({"BITOPRO_BASE_URL": ""}) is None
    assert base_url_from_env({}) is None


LINES = "".join(f"{name}={value}\n" for name, value in ENVIRONMENT.items())


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file of credentials."""
    path = folder / "bitopro.env"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def test_they_come_from_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, f"\n  # mine = all mine\n{LINES}".replace("secret\n", "secr=t \n"))
    expected = Credentials("CANARY-key", "CANARY-secr=t", "CANARY@example.com")
    assert Credentials.from_file(path) == expected
    path.chmod(0o400)
    assert Credentials.from_file(f"{path}") == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_a_file_that_others_could_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, LINES, mode)
    with pytest.raises(CredentialsError, match=f"run chmod 600 {path}"):
        Credentials.from_file(path)


def test_a_link_is_judged_by_the_file_that_it_leads_to(tmp_path: Path) -> None:
    path = written(tmp_path, LINES, 0o644)
    link = tmp_path / "link.env"
    link.symlink_to(path)
    with pytest.raises(CredentialsError, match="chmod 600"):
        Credentials.from_file(link)
    path.chmod(0o600)
    assert Credentials.from_file(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, LINES)
    os.chown(path, 12345, -1)
    with pytest.raises(CredentialsError, match="its owner's alone"):
        Credentials.from_file(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "lacks BITOPRO_API_KEY, BITOPRO_API_SECRET, BITOPRO_EMAIL"),
        (LINES.replace("BITOPRO_EMAIL", "#"), "lacks BITOPRO_EMAIL"),
        (f"{LINES}CANARY\n", "line 4 of .* must be one of BITOPRO_API_KEY=…, "),
        (f"{LINES}BITOPRO_BASE_URL=https://CANARY\n", "line 4 of .* must be one of"),
        (LINES + LINES, "line 4 of .* each once"),
        (LINES.replace("CANARY-key", ""), "api_key must be a non-empty text"),
        (LINES.replace("CANARY-key", "CANARY-\u20ac"), "api_key must be ASCII"),
        (LINES.replace("secret\n", "se\x00cret\n"), "api_secret must have no control characters"),
    ],
)
def test_a_wrong_file_is_refused_and_not_quoted(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CredentialsError, match=told) as caught:
        Credentials.from_file(path)
    shown = [
        f"{value!r}"
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if frame.f_code.co_filename != __file__
        for value in frame.f_locals.values()
    ]
    assert shown
    assert "CANARY" not in "".join([*shown, f"{caught.value}"])


def test_a_file_that_is_not_text_is_refused_and_not_quoted(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_bytes(LINES.encode().replace(b"secret\n", b"secret\xff\n"))
    with pytest.raises(CredentialsError, match="no control characters") as caught:
        Credentials.from_file(path)
    assert caught.value.__context__ is None


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.env", tmp_path):
        with pytest.raises(CredentialsError, match="cannot be read"):
            Credentials.from_file(path)


PRINTED: list[Callable[[Credentials], object]] = [
    repr,
    str,
    "{}".format,
    "{0.api_key} {0.api_secret} {0.identity}".format,
    "{0.api_secret!r:>20}".format,
    attrs.asdict,
    attrs.astuple,
    lambda credentials: [credentials],
    lambda credentials: copy.copy(credentials),
]


@pytest.mark.parametrize("printed", PRINTED)
def test_no_printable_form_holds_a_secret(printed: Callable[[Credentials], object]) -> None:
    try:
        text = str(printed(Credentials.from_env(ENVIRONMENT)))
    except TypeError as error:
        text = str(error)
    assert "CANARY" not in text


@pytest.mark.parametrize("dump", [pickle.dumps, copy.deepcopy, json.dumps])
def test_they_cannot_be_serialised(dump: Callable[[Credentials], object]) -> None:
    with pytest.raises(TypeError) as caught:
        dump(Credentials.from_env(ENVIRONMENT))
    assert "CANARY" not in str(caught.value)


def test_a_malformed_one_is_not_in_the_tracebacks_locals() -> None:
    with pytest.raises(CredentialsError) as caught:
        Credentials("key\n", "CANARY-secret", "CANARY@example.com")
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = [
        f"{value!r}"
        for frame in frames
        if frame.f_code.co_filename != __file__
        for value in frame.f_locals.values()
    ]
    assert shown
    assert "CANARY" not in "".join(shown)
