"""Credentials: where they come from, and that they have no printable form."""

import copy
import json
import pickle
import traceback
from collections.abc import Callable

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
