"""The pages in `docs/` say what the code says."""

import inspect
import re

from bitopro_orders import State, failures
from bitopro_orders.cli import codes
from tests.support import ROOT

PAGE = (ROOT / "docs" / "outcomes.md").read_text("utf-8")


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
