"""The pages in `docs/` say what the code says."""

import ast
import configparser
import inspect
import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml
from attrs import fields

import bitopro_auth
import bitopro_orders
from bitopro_orders import AttemptRecord, State, errors, failures, guards
from bitopro_orders.cli import codes, guarding
from tests.blocks import Block, blocks_of
from tests.support import ROOT
from tests.test_spec import DOCUMENT, rules

PAGE = (ROOT / "docs" / "outcomes.md").read_text("utf-8")
BLOCKS = [block for page in ROOT.glob("docs/*.md") for block in blocks_of(f"docs/{page.name}")]
#: It does not end: what it prints comes with the orders.
(FOLLOWING,) = (block for block in BLOCKS if "streams.md" in block.name)
ENDING = [block for block in BLOCKS if block is not FOLLOWING]
NOTHING: dict[str, str] = {}


@pytest.mark.parametrize("block", ENDING, ids=lambda block: block.name)
def test_each_block_runs_and_prints_what_the_page_says(
    block: Block, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Most say themselves where to, and as whom.
    says_so = "Credentials(" in block.code
    said = block.run(tmp_path, NOTHING if says_so else request.getfixturevalue("exports"))
    assert not block.prints or said == block.prints


def test_the_stream_is_followed(exports: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "cancel").mkdir()
    with FOLLOWING.running(tmp_path, exports) as process:
        assert process.stdout is not None
        # It is connected: this one had been filled before.
        assert process.stdout.readline() == "2959906697 2 0.03\n"
        blocks_of("README.md")[0].run(tmp_path / "cancel", exports)
        assert process.stdout.readline() == "2959906694 4 0\n"


def test_a_cassette_is_replayed_and_holds_no_credential(tmp_path: Path) -> None:
    (block,) = (each for each in BLOCKS if "pytest.mark.vcr" in each.code)
    block.run(tmp_path, NOTHING)
    (cassette,) = tmp_path.glob("cassettes/*/*.yaml")
    recorded = cassette.read_text("utf-8")
    assert "2959906694" in recorded
    for secret in ("x-bitopro", "demo-key", "demo@example.com"):
        assert secret not in recorded.lower()
    # What is asserted of the answer now comes from the file.
    cassette.write_text(recorded.replace("2800000", "2900000"), "utf-8")
    with pytest.raises(AssertionError, match="2900000"):
        block.run(tmp_path, NOTHING)


def test_the_log_has_the_line_that_the_page_shows(tmp_path: Path) -> None:
    (block,) = (each for each in BLOCKS if "JsonLines" in each.code)
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    lines = [json.loads(line) for line in block.run(tmp_path, NOTHING).splitlines()]
    varying = {"at", "milliseconds", "waited_milliseconds"}
    ours = [line for line in lines if line["logger"] == "bitopro_orders"]
    assert [{k: v for k, v in line.items() if k not in varying} for line in ours] == [
        json.loads(shown)
    ]
    assert all(line.keys() > varying for line in ours)


def test_every_message_of_the_log_is_explained() -> None:
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    said = set()
    for file in (ROOT / "orders").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("logger"), attr=level),
                    args=[ast.Constant(str(message)), *_],
                ):
                    said.add((level.replace("exception", "error").upper(), message))
    assert len(said) > 15
    assert {each for each in said if f"| {each[0]} | `{each[1]}` |" not in page} == set()
    rows = re.findall(r"^\| (INFO|WARNING|ERROR) \| `(.*?)` \|", page, re.MULTILINE)
    assert set(rows) == said


def test_every_field_of_an_attempt_is_explained() -> None:
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    assert {f.name for f in fields(AttemptRecord) if f"| `{f.name}` |" not in page} == set()


def test_every_error_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    names = {name for name in bitopro_orders.__all__ if name.endswith("Error")} - {"BitoProError"}
    names |= {f"bitopro_auth.{name}" for name in bitopro_auth.__all__ if name.endswith("Error")}
    assert {name for name in names if f"| `{name}`" not in page} == set()
    tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    assert f"```text\n{textwrap.dedent(tree)}\n```" in page


def test_the_operation_that_the_page_shows_keeps_the_rules() -> None:
    page = (ROOT / "docs" / "changing-the-spec.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    shown = yaml.safe_load(block)
    assert not shown.keys() & DOCUMENT["paths"].keys()
    document = {**DOCUMENT, "paths": {**DOCUMENT["paths"], **shown}}
    assert list(rules.violations(document)) == []


def test_the_unit_that_the_page_shows_gives_the_guard_its_time() -> None:
    page = (ROOT / "docs" / "guard.md").read_text("utf-8")
    (block,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    unit = configparser.ConfigParser()
    unit.read_string(block)
    (_, command, *arguments) = shlex.split(unit["Service"]["ExecStart"])
    assert command == "guard"
    given = guarding.guard.make_context(command, arguments).params
    assert given["command"] == ("/opt/bot/run",)
    longest = given["grace"] + guards.TIMEOUT_SECONDS
    assert unit["Service"].getfloat("TimeoutStopSec") > longest


def test_the_failure_table_is_the_codes() -> None:
    rows = ["| seen | outcome | sent again | because |", "|---|---|---|---|"]
    rows += [
        f"| {each.when} | {each.outcome} | {each.retry} | {each.because} |"
        for each in failures.TABLE.values()
    ]
    found = re.search(r"<!-- failures -->\n(.*?)<!-- /failures -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1].strip() == "\n".join(rows)


def test_every_state_is_explained() -> None:
    assert {state.name for state in State if f"| `{state.name}` |" in PAGE} == set(
        State.__members__
    )


def test_every_error_word_of_the_command_line_is_explained() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    words = re.findall(r'"([a-z_]+)", (?:[A-Z_]+)\b', inspect.getsource(codes.word_and_code))
    assert len(set(words)) == 12
    assert [word for word in words if f"`{word}`" not in page] == []


def test_each_item_of_a_list_begins_a_line() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        assert re.findall(r"[.;:)] (?:-|\d+\.)\s+[A-Z`*].*", text) == [], page.name
