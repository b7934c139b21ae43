"""Each edit of the spec and of the packages is judged right, and too small a version refused."""

import ast
import copy
import importlib
import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.test_spec import DOCUMENT, STREAMS, Document, body, cancel, operation, parameter

sys.path.insert(0, str(ROOT / "openapi"))
surface, command_line, spec_changes, surface_changes, reports, changes = map(
    importlib.import_module,
    ["surface", "command_line", "spec_changes", "surface_changes", "report", "changes"],
)
Kind = spec_changes.Kind
WORDING, ADDITIVE, BREAKING = Kind.WORDING, Kind.ADDITIVE, Kind.BREAKING

ORDER = "bitopro_client.models.Order"
CANCEL = "bitopro_client.api.orders.cancel_order"
ORDER_ID = f"{CANCEL}(order_id=)"
FLAG = f"{CANCEL}(is_all_strategy_canceled=)"
BATCH = "bitopro_client.api.orders.cancel_order_batch"


def order(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["Order"]
    return found


def cancelled(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["CancelledOrder"]["properties"]
    return found


def limit(document: Document, name: str = "cancelOrder") -> Document:
    found: Document = operation(document, name)["x-rate-limit"]
    return found


def flag(document: Document) -> Document:
    found: Document = cancel(document)["parameters"][2]
    return found


def response(document: Document, name: str) -> Document:
    found: Document = document["components"]["responses"][name]["content"]["application/json"]
    return found


def new_parameter(document: Document, *, required: bool) -> None:
    added = {**flag(document), "name": "dryRun", "required": required}
    cancel(document)["parameters"].append(added)


def move(node: Document, old: str, new: str) -> None:
    node.update({new if key == old else key: node.pop(key) for key in list(node)})


def another_operation(document: Document) -> None:
    added = {**operation(document, "getOrder"), "operationId": "getOrderOfClient"}
    document["paths"]["/orders/client/{pair}/{orderId}"] = {"get": added}


def text_for(node: Document, key: str) -> None:
    node[key].update(type="string")
    node[key].pop("format")


def rename_schema(document: Document) -> None:
    move(document["components"]["schemas"], "CancelledOrder", "Cancellation")
    success = cancel(document)["responses"]["200"]["content"]["application/json"]
    success["schema"] = {"$ref": "#/components/schemas/Cancellation"}


Edit = Callable[[Document], object]
#: What is edited, how it must be judged, and a name and a word that the report must give.
EDITS: dict[str, tuple[Edit, Any, str, str]] = {
    # What the exchange lets through, and how often.
    "a lower limit": (lambda d: limit(d).update(requests=600), BREAKING, CANCEL, "600"),
    "a higher limit": (lambda d: limit(d).update(requests=1200), ADDITIVE, CANCEL, "1200"),
    "a longer period": (lambda d: limit(d).update({"period-seconds": 90}), BREAKING, CANCEL, "90"),
    "a shared limit": (lambda d: limit(d).update(group="general"), BREAKING, CANCEL, "general"),
    "a limit by account, too": (
        lambda d: limit(d, "cancelOrderBatch").update(per=["ip", "account"]),
        BREAKING, BATCH, "account",
    ),
    "another pattern": (
        lambda d: parameter(d, "orderId")["schema"].update(pattern="^[0-9]{1,20}$"),
        BREAKING, ORDER_ID, "pattern: `^([A-Z]{1,10}-)?[0-9]{1,20}$` → `^[0-9]{1,20}$`",
    ),
    "no pattern": (
        lambda d: parameter(d, "orderId")["schema"].pop("pattern"), ADDITIVE, ORDER_ID, "nothing",
    ),
    "shorter texts": (
        lambda d: parameter(d, "orderId")["schema"].update(maxLength=20),
        BREAKING, ORDER_ID, "maxLength: `31` → `20`",
    ),
    "longer texts": (
        lambda d: parameter(d, "orderId")["schema"].update(maxLength=40),
        ADDITIVE, ORDER_ID, "maxLength",
    ),
    "no empty text": (
        lambda d: parameter(d, "orderId")["schema"].update(minLength=2),
        BREAKING, ORDER_ID, "minLength",
    ),
    "at most ten ids in a body": (
        lambda d: body(d)["additionalProperties"].update(maxItems=10),
        BREAKING, BATCH, "maxItems: nothing → `10`",
    ),
    "ids may be named twice": (
        lambda d: body(d)["additionalProperties"].pop("uniqueItems"),
        ADDITIVE, BATCH, "uniqueItems",
    ),
    "other pairs in a body": (
        lambda d: body(d)["propertyNames"].update(pattern="^[A-Z_]{3,41}$"),
        BREAKING, BATCH, "propertyNames: pattern",
    ),
    # Where it is sent, by whom it is signed.
    "another server": (
        lambda d: d["servers"][0].update(url="https://api.example.com/v4"),
        BREAKING, "bitopro_client.client.DEFAULT_BASE_URL", "example.com",
    ),
    "a second server": (
        lambda d: d["servers"].append({"url": "https://backup.bitopro.com/v3"}),
        BREAKING, "bitopro_client.client.DEFAULT_BASE_URL", "backup",
    ),
    "a server reworded": (
        lambda d: d["servers"][0].update(description="It."),
        WORDING, "bitopro_client.client.DEFAULT_BASE_URL", "reworded",
    ),
    "another header": (
        lambda d: d["components"]["securitySchemes"]["apiKey"].update(name="X-KEY"),
        BREAKING, "bitopro_auth", "X-KEY",
    ),
    "no signature": (lambda d: d["security"][0].pop("signature"), BREAKING, "bitopro_auth", "sig"),
    # Operations.
    "an operation": (
        another_operation, ADDITIVE, "bitopro_client.api.orders.get_order_of_client", "added",
    ),
    "no operation": (
        lambda d: d["paths"].pop("/orders/open"),
        BREAKING, "bitopro_client.api.orders.list_open_orders", "removed",
    ),
    "a renamed operation": (
        lambda d: cancel(d).update(operationId="cancelOneOrder"),
        BREAKING, "bitopro_client.api.orders.cancel_one_order", "renamed to cancelOneOrder",
    ),
    "another path": (
        lambda d: move(d["paths"], "/orders/open", "/orders/live"),
        BREAKING, "bitopro_client.api.orders.list_open_orders", "/orders/live",
    ),
    "a reordered path": (
        lambda d: move(d["paths"], "/orders/{pair}/{orderId}", "/orders/{orderId}/{pair}"),
        BREAKING, CANCEL, "/orders/{orderId}/{pair}",
    ),
    "another method": (
        lambda d: move(d["paths"]["/orders"], "put", "post"), BREAKING, BATCH, "`put` → `post`",
    ),
    "one more tag": (
        lambda d: d["tags"].append({"name": "trades", "description": "Calls on trades."}),
        ADDITIVE, "bitopro_client", "trades",
    ),
    "a tag less": (lambda d: d.update(tags=[]), BREAKING, "bitopro_client", "tags"),
    "another tag": (lambda d: cancel(d).update(tags=["cancels"]), BREAKING, CANCEL, "cancels"),
    "deprecated": (lambda d: cancel(d).update(deprecated=True), ADDITIVE, CANCEL, "deprecated"),
    "another answer repeated": (
        lambda d: cancel(d).update({"x-answer-repeats": {"orderId": "action"}}),
        BREAKING, CANCEL, "x-answer-repeats",
    ),
    "a reworded text": (
        lambda d: cancel(d).update(description="It cancels."), WORDING, CANCEL, "reworded",
    ),
    "a word of no rule": (lambda d: cancel(d).update({"x-new": 1}), BREAKING, CANCEL, "x-new"),
    # Parameters.
    "a parameter that may be left out": (
        lambda d: new_parameter(d, required=False), ADDITIVE, f"{CANCEL}(dry_run=)", "added",
    ),
    "a parameter that must be given": (
        lambda d: new_parameter(d, required=True), BREAKING, f"{CANCEL}(dry_run=)", "added",
    ),
    "no parameter": (lambda d: cancel(d)["parameters"].pop(), BREAKING, FLAG, "removed"),
    "another name on the wire": (
        lambda d: flag(d).update(name="cancelStrategies"),
        BREAKING, FLAG, "removed",
    ),
    "a flag that must be given": (
        lambda d: flag(d).update(required=True), BREAKING, FLAG, "required",
    ),
    "a default": (lambda d: flag(d)["schema"].update(default=True), BREAKING, FLAG, "default"),
    "a flag that may be a text": (
        lambda d: flag(d)["schema"].update(type=["boolean", "string"]), ADDITIVE, FLAG, "type",
    ),
    "a flag that is a text": (
        lambda d: flag(d)["schema"].update(type="string"), BREAKING, FLAG, "`boolean` → `string`",
    ),
    "parameters in another order": (
        lambda d: cancel(d)["parameters"].reverse(), WORDING, CANCEL, "another order",
    ),
    "an example": (
        lambda d: parameter(d, "orderId").update(example="1"), WORDING, ORDER_ID, "reworded",
    ),
    # Answers.
    "a 409 of another schema": (
        lambda d: response(d, "Conflict").update(schema={"$ref": "#/components/schemas/Order"}),
        BREAKING, CANCEL, "Error → Order",
    ),
    "more in every error": (
        lambda d: d["components"]["schemas"]["Error"]["properties"].update(code={"type": "string"}),
        ADDITIVE, "bitopro_client.models.Error.code", "added",
    ),
    "no 409": (lambda d: cancel(d)["responses"].pop("409"), BREAKING, CANCEL, "409"),
    "a 410": (
        lambda d: cancel(d)["responses"].update({"410": cancel(d)["responses"]["404"]}),
        ADDITIVE, CANCEL, "410",
    ),
    "a 202 in place of the 200": (
        lambda d: move(cancel(d)["responses"], "200", "202"), BREAKING, CANCEL, "202: added",
    ),
    "int64 to string": (
        lambda d: text_for(order(d)["properties"], "createdTimestamp"),
        BREAKING, f"{ORDER}.created_timestamp", "type: `integer` → `string`",
    ),
    "may be null": (
        lambda d: order(d)["properties"]["fee"].update(type=["string", "null"]),
        BREAKING, f"{ORDER}.fee", "type",
    ),
    "a property": (
        lambda d: order(d)["properties"].update(stp={"type": "string"}),
        ADDITIVE, f"{ORDER}.stp", "added",
    ),
    "a required property": (
        lambda d: (
            order(d)["properties"].update(stp={"type": "string"}),
            order(d)["required"].append("stp"),
        ),
        BREAKING, f"{ORDER}.stp", "added, and required",
    ),
    "no property": (lambda d: order(d)["properties"].pop("seq"), BREAKING, f"{ORDER}.seq", "rem"),
    "a renamed property": (
        lambda d: move(order(d)["properties"], "stopPrice", "triggerPrice"),
        BREAKING, f"{ORDER}.stop_price", "removed",
    ),
    "a property that may be missing": (
        lambda d: order(d)["required"].remove("price"),
        BREAKING, f"{ORDER}.price", "no longer required",
    ),
    "a property that must be there": (
        lambda d: order(d)["required"].append("fee"), BREAKING, f"{ORDER}.fee", ": required",
    ),
    "a property deprecated": (
        lambda d: order(d)["properties"]["timestamp"].update(deprecated=True),
        ADDITIVE, f"{ORDER}.timestamp", "deprecated",
    ),
    "an enum": (
        lambda d: order(d)["properties"]["action"].update(enum=["BUY", "SELL"]),
        BREAKING, f"{ORDER}.action", "enum",
    ),
    "nothing but what is listed": (
        lambda d: order(d).update(additionalProperties=False),
        BREAKING, ORDER, "additionalProperties",
    ),
    "a property reworded": (
        lambda d: order(d)["properties"]["fee"].update(description="It."),
        WORDING, f"{ORDER}.fee", "reworded",
    ),
    "a renamed schema": (rename_schema, BREAKING, CANCEL, "CancelledOrder → Cancellation"),
    "a word beside a reference": (
        lambda d: d["components"]["schemas"]["CancelledOrders"]["properties"]["data"].update(
            description="It."
        ),
        WORDING, "bitopro_client.models.CancelledOrders.data", "reworded",
    ),
    "a server of a path": (
        lambda d: d["paths"]["/orders/open"].update(servers=[{"url": "https://a.example.com"}]),
        BREAKING, "bitopro_client.api.orders.list_open_orders", "a.example.com",
    ),
    "another schema": (
        lambda d: d["components"]["schemas"].update(Fill={"type": "object"}),
        ADDITIVE, "bitopro_client.models.Fill", "added",
    ),
    "a message of the streams": (
        lambda d: d["components"]["schemas"]["OrdersMessage"]["required"].remove("data"),
        BREAKING, "bitopro_client.models.OrdersMessage.data", "no longer required",
    ),
    "another form of answer": (
        lambda d: move(
            cancel(d)["responses"]["200"]["content"], "application/json", "application/xml"
        ),
        BREAKING, CANCEL, "application/xml",
    ),
}  # fmt: skip


def judge(edit: Edit, document: Document) -> list[Any]:
    edited = copy.deepcopy(document)
    edit(edited)
    found: list[Any] = spec_changes.Specs(document, edited).changes()
    return found


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_the_spec_is_judged(name: str) -> None:
    edit, kind, python, word = EDITS[name]
    found = judge(edit, DOCUMENT)
    assert max(each.kind for each in found) is kind
    assert [e for e in found if e.kind is kind and word in e.what and python in e.names], found
    assert all(each.names for each in found)


def test_what_is_the_same_is_no_change() -> None:
    assert judge(lambda d: d["info"].update(version="9.9.9"), DOCUMENT) == []
    ref = {"$ref": "#/components/parameters/pair"}
    listed = operation(DOCUMENT, "getOrder")["parameters"]
    assert ref in listed
    inline = DOCUMENT["components"]["parameters"]["pair"]
    same = judge(lambda d: operation(d, "getOrder")["parameters"].__setitem__(0, inline), DOCUMENT)
    assert same == [], "where a parameter is written is nobody's business"


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda d: d["channels"]["orderHistory"].update(address="/v2"), BREAKING),
        (lambda d: d["channels"]["orderHistory"].update(description="It."), WORDING),
        (lambda d: d["info"].update(version="9.9.9"), None),
    ],
)
def test_an_edit_of_the_streams_is_judged(edit: Edit, kind: object) -> None:
    edited = copy.deepcopy(STREAMS)
    edit(edited)
    found = spec_changes.Specs(STREAMS, edited).streams()
    assert [each.kind for each in found] == ([kind] if kind is not None else [])


STUBS = """# module p
@frozen
class Data(Base):
    at: int
    def __init__(self, at: int, note: str = "") -> None: ...
class State(StrEnum):
    OPEN = "open"
class Like(Protocol):
    def look(self) -> int: ...
class Base:
    advice = "read it"
    def steps(self) -> str | None: ...
LIMIT = 5
def f(a: int, b: str = "x", *, c: float = 1.0) -> str | None: ...
async def g() -> int: ...

# module p.*
End: TypeAlias = int | str
"""
SURFACES: dict[str, tuple[str, str, Any]] = {
    "removed": ("LIMIT = 5\n", "", BREAKING),
    "another value": ("LIMIT = 5", "LIMIT = 6", BREAKING),
    "added": ("LIMIT = 5", "LIMIT = 5\nMORE = 1", ADDITIVE),
    "a module": ("# module p.*", "# module p.more\nx: int\n# module p.*", ADDITIVE),
    "a text": ('"read it"', '"read"', WORDING),
    "another value of an enum": ('"open"', '"OPEN"', BREAKING),
    "one more of an enum": ('OPEN = "open"', 'OPEN = "open"\n    GONE = "gone"', BREAKING),
    "more to implement": ("def look(", "def see(self): ...\n    def look(", BREAKING),
    "more in a class": ("def steps(", "def see(self): ...\n    def steps(", ADDITIVE),
    "its own of an inherited": ("    at: int\n", "    at: int\n    steps: int\n", BREAKING),
    "another base": ("class Data(Base)", "class Data(Other)", BREAKING),
    "one more base": ("class Data(Base)", "class Data(Base, Other)", ADDITIVE),
    "no longer frozen": ("@frozen", "@define", BREAKING),
    "a field of another type": ("    at: int\n", "    at: float\n", BREAKING),
    "a field to give": ("at: int, note", "at: int, by: int, note", BREAKING),
    "a field that may be given": ('note: str = ""', 'note: str = "", by: int = 0', ADDITIVE),
    "a parameter renamed": ("a: int", "first: int", BREAKING),
    "parameters in another order": ('a: int, b: str = "x"', 'b: str, a: int', BREAKING),
    "only by name": ('b: str = "x", *', '*, b: str = "x"', BREAKING),
    "also by place": ("*, c: float", "c: float", ADDITIVE),
    "no parameter": (", *, c: float = 1.0", "", BREAKING),
    "one more parameter": ("c: float = 1.0", "c: float = 1.0, d: int = 1", ADDITIVE),
    "another default": ("c: float = 1.0", "c: float = 2.0", BREAKING),
    "no default": ("c: float = 1.0", "c: float", BREAKING),
    "takes more": ("a: int", "a: int | str", ADDITIVE),
    "takes less": ("c: float", "c: int", BREAKING),
    "returns less": ("1.0) -> str | None", "1.0) -> str", ADDITIVE),
    "returns more": ("1.0) -> str | None", "1.0) -> str | int | None", BREAKING),
    "no longer async": ("async def g", "def g", BREAKING),
    "another alias": ("int | str\n", "int\n", BREAKING),
}  # fmt: skip


@pytest.mark.parametrize("name", SURFACES)
def test_an_edit_of_a_package_is_judged(name: str) -> None:
    old, new, kind = SURFACES[name]
    edited = STUBS.replace(old, new, 1)
    assert edited != STUBS
    found = list(surface_changes.surface_changes(STUBS, edited))
    assert max(each.kind for each in found) is kind, found
    assert list(surface_changes.surface_changes(STUBS, STUBS)) == []


COMMAND_LINE = (ROOT / "openapi" / "surface" / "bitopro.txt").read_text("utf-8")
OPEN = "bitopro open:\n"
STATUS = "argument 1: {name: PAIR, type: text, required: true}"
#: What is edited in the text of the command line, how it must be judged, and the line.
COMMAND_LINES: dict[str, tuple[str, str, Any, str]] = {
    "an option renamed": ("--port: {", "--tcp: {", BREAKING, "bitopro sandbox --port: removed"),
    "an option added": (
        OPEN, f"{OPEN}  --all: {{type: text}}\n", ADDITIVE, "bitopro open --all: added",
    ),
    "an option that must be given added": (
        OPEN, f"{OPEN}  --all: {{type: text, required: true}}\n",
        BREAKING, "bitopro open --all: added, and required",
    ),
    "an option made required": (
        "--file: {type: path}", "--file: {type: path, required: true}",
        BREAKING, "bitopro cancel --file: required: nothing → `True`",
    ),
    "another default": ("8787", "8788", BREAKING, "sandbox --port: default: `8787` → `8788`"),
    "a default at last": (
        "--after: {type: float}", "--after: {type: float, default: 30.0}",
        BREAKING, "bitopro guard --after: default: nothing → `30.0`",
    ),
    "another type": (
        "--after: {type: float}", "--after: {type: integer}",
        BREAKING, "bitopro guard --after: type: `float` → `integer`",
    ),
    "no short name": (
        "  -y: {type: boolean, is_flag: true}\n", "", BREAKING, "bitopro -y: removed",
    ),
    "a flag that takes a value": (
        "--version: {type: boolean, is_flag: true}", "--version: {type: boolean}",
        BREAKING, "bitopro --version: is_flag: `True` → nothing",
    ),
    "an option that may be repeated": (
        "--after: {type: float}", "--after: {type: float, multiple: true}",
        ADDITIVE, "bitopro guard --after: multiple",
    ),
    "an argument that may be left out": (
        STATUS, STATUS.replace(", required: true", ""),
        ADDITIVE, "bitopro status argument 1: required",
    ),
    "arguments in another order": (
        STATUS, STATUS.replace("PAIR", "ID"),
        BREAKING, "bitopro status argument 1: name: `PAIR` → `ID`",
    ),
    "one argument alone": (
        "{name: ID..., type: text, nargs: -1}", "{name: ID..., type: text}",
        BREAKING, "bitopro cancel argument 2: nargs",
    ),
    "many arguments": (
        STATUS, STATUS.replace("required", "nargs: -1, required"),
        ADDITIVE, "bitopro status argument 1: nargs",
    ),
    "one more choice": (
        "[bash, zsh]", "[bash, fish, zsh]", ADDITIVE, "bitopro completion argument 1: choices",
    ),
    "one choice less": ("[bash, zsh]", "[bash]", BREAKING, "completion argument 1: choices"),
    "a command renamed": ("bitopro watch:", "bitopro follow:", BREAKING, "bitopro watch: removed"),
    "a command added": (OPEN, f"bitopro sell: {{}}\n{OPEN}", ADDITIVE, "bitopro sell: added"),
    "no exit code": (
        "  4: {meaning: some were not found}\n", "", BREAKING, "bitopro exit code 4: removed",
    ),
    "another exit code": (
        "  4: {", "  8: {meaning: new}\n  4: {", ADDITIVE, "bitopro exit code 8: added",
    ),
    "an exit code reworded": ("the key was ", "it is ", WORDING, "bitopro exit code 7 reworded"),
    "another exit code first": (
        "  7: {meaning: the key was refused}\n  5:", "  5:",
        BREAKING, "bitopro exit code 7: removed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_an_edit_of_the_command_line_is_judged(name: str) -> None:
    old, new, kind, line = COMMAND_LINES[name]
    edited = COMMAND_LINE.replace(old, new, 1)
    assert edited != COMMAND_LINE
    found = list(command_line.changes(COMMAND_LINE, edited))
    assert max(each.kind for each in found) is kind, found
    assert [e for e in found if e.kind is kind and line in e.what and e.names], found
    assert list(command_line.changes(COMMAND_LINE, COMMAND_LINE)) == []


def test_a_new_order_of_the_exit_codes_and_a_new_command_line_are_said_once() -> None:
    lines = COMMAND_LINE.splitlines(keepends=True)
    lines[-1], lines[-2] = lines[-2], lines[-1]
    found = list(command_line.changes(COMMAND_LINE, "".join(lines)))
    assert [(each.kind, each.what) for each in found] == [
        (
            BREAKING,
            "bitopro exit codes: the worst first was 7, 5, 130, 2, 1, 6, 4, 3, 0, "
            "is 7, 5, 130, 2, 1, 6, 4, 0, 3",
        )
    ]
    added, removed = command_line.changes("", COMMAND_LINE), command_line.changes(COMMAND_LINE, "")
    assert [(e.kind, e.what) for each in (added, removed) for e in each] == [
        (ADDITIVE, "the command line bitopro: added"),
        (BREAKING, "the command line bitopro: removed"),
    ]


def test_the_text_of_the_command_line_is_what_it_takes(checkout: Path) -> None:
    """Each command, option and default of the code is in it, and an edit of the code is seen."""
    folders = surface.PACKAGES.values()
    assert command_line.text(checkout, folders) == COMMAND_LINE
    for name, old, new in (
        ("app.py", '"--yes", "-y"', '"--sure", "-y"'),
        ("commands.py", "default=8787", "default=8788"),
        ("commands.py", "QUESTION_SECONDS = 10.0", "QUESTION_SECONDS = 20.0"),
        ("codes.py", "NOT_FOUND = 4", "NOT_FOUND = 8"),
        ("commands.py", '"open"', '"list"'),
    ):
        file = checkout / "orders" / "bitopro_orders" / "cli" / name
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")
    after = command_line.text(checkout, folders)
    breaking = [e.what for e in command_line.changes(COMMAND_LINE, after) if e.kind is BREAKING]
    assert breaking == [
        "bitopro exit code 4: removed",
        *(f"bitopro{each} --yes: removed" for each in ("", " cancel", " cancel-all", " guard")),
        "bitopro open: removed",
        "bitopro sandbox --port: default: `8787` → `8788`",
        "bitopro status --timeout: default: `10.0` → `20.0`",
    ]
    shutil.rmtree(checkout / "orders" / "bitopro_orders" / "cli")
    assert command_line.text(checkout, folders) == ""


@pytest.mark.parametrize(
    ("before", "kind", "least"),
    [
        ("0.1.0", BREAKING, "0.2.0"),
        ("0.1.0", ADDITIVE, "0.1.1"),
        ("0.1.9", WORDING, "0.1.10"),
        ("1.4.2", BREAKING, "2.0.0"),
        ("1.4.2", ADDITIVE, "1.5.0"),
        ("1.4.2", WORDING, "1.4.3"),
    ],
)
def test_the_smallest_version(before: str, kind: object, least: str) -> None:
    assert changes.smallest(before, kind) == least


HEAD = "# Changelog\n\nThe public API is this.\n\n"


@pytest.mark.parametrize(
    ("version", "changelog", "said"),
    [
        ("0.2.0", f"{HEAD}## 0.2.0\n\n### Changed\n\n- `price`\n", []),
        ("0.2.0", f"{HEAD}## [0.2.0] - 2026-01-01\n\n### Removed\n\n- `price`\n", []),
        ("0.1.1", f"{HEAD}## 0.1.1\n\n### Changed\n\n- `price`\n", ["need 0.2.0"]),
        ("0.2.0", f"{HEAD}## 0.1.0\n\n### Changed\n\n- `price`\n", ["is not about 0.2.0"]),
        ("0.2.0", f"{HEAD}## 0.2.0\n\n### Added\n\n- `price`\n", ["Changed or Removed"]),
        ("0.2.0", f"{HEAD}## 0.2.0\n\n### Changed\n\n- this\n", ["does not name price"]),
        ("0.2.0", "## 0.2.0\n\n### Changed\n\n- `price`\n", ["what the public API is"]),
        ("0.2.0", "", ["public API", "is not about", "name price", "Changed or Removed"]),
    ],
)
def test_version_and_changelog_must_live_up_to_it(
    version: str, changelog: str, said: list[str]
) -> None:
    before = changes.State("0.1.0", {}, {})
    broken = [spec_changes.Change(BREAKING, "it", ("p.Order.price",))]
    found = changes.shortcomings(broken, before, version, changelog)
    assert len(found) == len(said)
    assert all(word in line for word, line in zip(said, found, strict=True))
    assert changes.shortcomings([], before, "0.1.0", "") == []


def test_a_broken_option_must_be_named_as_it_is_typed() -> None:
    before = changes.State("0.1.0", {}, {})
    broken = [spec_changes.Change(BREAKING, "it", ("bitopro cancel --dry-run",))]
    named = f"{HEAD}## 0.2.0\n\n### Changed\n\n- `bitopro cancel --dry-run` is gone.\n"
    assert changes.shortcomings(broken, before, "0.2.0", named) == []
    found = changes.shortcomings(broken, before, "0.2.0", named.replace("--dry-run", "a dry run"))
    assert found == ["the changelog's top does not name --dry-run"]


@pytest.mark.parametrize(
    ("version", "changelog", "said"),
    [
        ("0.2.0", f"{HEAD}## 0.2.0 - unreleased\n", []),
        ("0.2.0", f"{HEAD}## [0.2.0] - unreleased\n", []),
        ("0.2.0", f"{HEAD}## 0.2.0 - 2026-01-01\n", ["unreleased"]),
        ("0.2.0", f"{HEAD}## 0.2.0\n", ["unreleased"]),
        ("0.2.0", f"{HEAD}## 0.1.0 - 2026-01-01\n\n## 0.2.0 - unreleased\n", ["unreleased"]),
        ("0.2.0", HEAD, ["'## 0.2.0 - '"]),
        ("0.1.0", f"{HEAD}## 0.1.0 - 2026-01-01\n", ["bitopro.yaml is", "streams.yaml is"]),
        ("0.1.0", f"{HEAD}## 0.1.0 - unreleased\n", ["bitopro.yaml", "streams.yaml", "the date"]),
    ],
)
def test_one_version_is_told_everywhere(version: str, changelog: str, said: list[str]) -> None:
    state = changes.State(version, changes.work_tree(ROOT).specs, {})
    for spec in state.specs.values():
        spec["info"]["version"] = "0.2.0"
    found = changes.disagreements(state, ["0.1.0"], changelog)
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with what is compared, in one commit."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ["openapi", *surface.PACKAGES.values()]:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    dated = changelog.replace(" - unreleased\n", " - 2026-01-01\n")
    (tmp_path / "CHANGELOG.md").write_text(dated, "utf-8")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "-f", "."], [*who, "commit", "-qm", "a"], ["tag", "t"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    released = tmp_path / "openapi" / "released" / surface.version(ROOT)
    released.mkdir(exist_ok=True)
    monkeypatch.setattr(surface, "ROOT", tmp_path)
    monkeypatch.setattr(surface, "RELEASED", released.parent)
    return tmp_path


def test_an_edit_is_reported_and_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["changes.py", "t"])
    assert changes.main() == 0
    assert capsys.readouterr().out.strip() == "# Changes since t"

    spec = checkout / "openapi" / "bitopro.yaml"
    spec.write_text(spec.read_text("utf-8").replace("requests: 900", "requests: 90"), "utf-8")
    connection = checkout / "orders" / "bitopro_orders" / "connection.py"
    text = connection.read_text("utf-8")
    connection.write_text(text.replace("    egress: str = ", "    outlet: str = "), "utf-8")
    commands = checkout / "orders" / "bitopro_orders" / "cli" / "commands.py"
    text = commands.read_text("utf-8")
    commands.write_text(text.replace("default=8787", "default=8788"), "utf-8")
    assert changes.main() == 1
    said = capsys.readouterr().out
    assert "## Breaking: 3\n" in said
    assert "operation cancelOrder: x-rate-limit" in said
    assert f"(`{CANCEL}`)" in said
    assert "`bitopro_orders.connect(egress=)`: removed" in said
    assert "`bitopro_orders.connect(outlet=)`: added" in said
    assert "`bitopro sandbox --port`: default: `8787` → `8788`" in said
    assert "NOT YET: the version is" in said

    monkeypatch.setattr(surface, "version", lambda root: "9.0.0")
    assert changes.main() == 1, "the changelog is not about it"
    assert "NOT YET: the version is" not in capsys.readouterr().out


def lines(found: list[Any]) -> dict[str, list[str]]:
    """Return the lines of the report, by heading."""
    text = reports.report(sorted(found, key=lambda e: -e.kind), "t", "0.2.0", "0.2.0")
    head, *sections = text.split("\n## ")
    assert head.startswith("# Changes since t\n")
    parts = [section.partition("\n\n") for section in sections]
    return {title: body.strip().split("\n") for title, _, body in parts}


def test_what_changed_alike_is_one_line() -> None:
    def all_of_them(document: Document) -> None:
        for item in document["paths"].values():
            for each in item.values():
                each["deprecated"] = True
                each["description"] = "It."
                each["tags"] = ["cancels"]

    said = lines(judge(all_of_them, DOCUMENT))
    assert list(said) == ["Breaking: 6", "Additive: 6", "Wording: 6"]
    operations = (
        "- operation cancelAllOrdersOfAllPairs, cancelAllOrdersOfPair, cancelOrder, "
        "cancelOrderBatch, getOrder, listOpenOrders: "
    )
    modules = (
        " (`bitopro_client.api.orders.{cancel_all_orders_of_all_pairs, cancel_all_orders_of_pair, "
        "cancel_order, cancel_order_batch, get_order, list_open_orders}`)"
    )
    assert said["Breaking: 6"] == [f"{operations}tags: `['orders']` → `['cancels']`{modules}"]
    assert said["Additive: 6"] == [f"{operations}deprecated: nothing → `True`{modules}"]
    assert len(said["Wording: 6"]) == 1
    assert said["Wording: 6"][0].startswith("- reworded: operation cancelAllOrdersOfAllPairs: des")


def test_alike_members_of_alike_owners_are_one_line() -> None:
    names = {
        BREAKING: ["p.f(a=)", "p.g(a=)", "p.f(b=)", "p.g(b=)", "p.h(b=)", "bitopro --yes"],
        ADDITIVE: ["bitopro_a.One.x", "bitopro_a.One.__init__(x=)", "bitopro_a.*.Two", "bitopro_b"],
        WORDING: ["info"],
    }
    names[BREAKING] += ["bitopro open --yes", "bitopro list --yes", "bitopro list --no"]
    found = [
        spec_changes.Change(kind, "info reworded" if kind is WORDING else f"{name}: gone", (name,))
        for kind, some in reversed(names.items())
        for name in some
    ]
    assert lines(found) == {
        "Breaking: 9": [
            "- p.{f, g}(a=, b=): gone",
            "- p.h(b=): gone",
            "- `{bitopro, bitopro open} --yes`: gone",
            "- `bitopro list --yes, --no`: gone",
        ],
        "Additive: 4": [
            "- `bitopro_a.One.x`: gone",
            "- `bitopro_a.One(x=)`: gone",
            "- `bitopro_a.*.Two`: gone",
            "- `bitopro_b`: gone",
        ],
        "Wording: 1": ["- reworded: info", "", reports.NOTE],
    }


def test_no_breaking_change_is_lost_in_the_lines() -> None:
    """Of all that was changed since 0.1.0, and by every edit of this file at once."""
    found = changes.compare(changes.base("0.1.0"), changes.work_tree(ROOT))
    for edit, *_ in EDITS.values():
        found += judge(edit, DOCUMENT)
    for old, new, *_ in SURFACES.values():
        found += surface_changes.surface_changes(STUBS, STUBS.replace(old, new, 1))
    for old, new, *_ in COMMAND_LINES.values():
        found += command_line.changes(COMMAND_LINE, COMMAND_LINE.replace(old, new, 1))
    breaking = list(dict.fromkeys(each for each in found if each.kind is BREAKING))
    assert len(breaking) > 90
    (said,) = lines(breaking).values()
    assert len(said) < len(breaking)
    for each in breaking:
        subject, _, verdict = each.what.partition(": ")
        words = {subject.split()[0].partition(".")[0], *each.names}
        last = [word.replace(".__init__(", "(").split(".")[-1].split("(")[-1] for word in words]
        ends = [word.rstrip(")").split(" ")[-1] for word in last]
        assert [s for s in said if f": {verdict}" in s and all(end in s for end in ends)], each


def test_what_the_spec_and_the_surface_say_alike_is_said_once() -> None:
    found = changes.compare(changes.base("0.1.0"), changes.work_tree(ROOT))
    what = [each.what for each in found]
    assert "operation listOpenOrders: added" in what
    assert "bitopro_client.api.orders.list_open_orders: added" not in what
    assert "schema OpenOrders: added" in what
    assert "bitopro_client.models.OpenOrders: added" not in what


def test_a_base_that_is_none_is_named() -> None:
    with pytest.raises(SystemExit, match=r"a release \(0\.1\.0.*, not 'nonsense'"):
        changes.base("nonsense")


def test_the_last_release_is_the_base() -> None:
    last = changes.base(None)
    assert last.version == max((f.name for f in surface.RELEASED.iterdir()), key=changes.numbers)
    assert set(last.surfaces) >= set(surface.PACKAGES)
    old = changes.base("v0.1.0")
    found = [each.what for each in changes.compare(old, changes.work_tree(ROOT))]
    assert "bitopro_orders.OrdersClient.next_nonce: removed" in found
    assert "operation listOpenOrders: added" in found
    assert "bitopro_sandbox.Entry.__init__(call=): added, and must be given" in found


def test_a_renamed_operation_is_nothing_new() -> None:
    found = judge(lambda d: cancel(d).update(operationId="cancelOneOrder"), DOCUMENT)
    assert [each.what for each in found] == ["operation cancelOrder: renamed to cancelOneOrder"]
    assert set(found[0].names) == {CANCEL, "bitopro_client.api.orders.cancel_one_order"}


def test_another_model_is_said_once_and_a_renamed_one_is_compared() -> None:
    edit = EDITS["a 409 of another schema"][0]
    assert [e.what for e in judge(edit, DOCUMENT) if e.kind is not WORDING] == [
        "response Conflict: application/json: Error → Order"
    ]

    def rename_and_cut(document: Document) -> None:
        cancelled(document).pop("price")
        rename_schema(document)

    found = judge(rename_and_cut, DOCUMENT)
    assert any("property price: removed" in each.what for each in found)


@pytest.mark.parametrize("package", surface.PACKAGES)
def test_the_surface_is_what_python_finds(package: str) -> None:
    """Its names are those that can be imported, and are called as it says."""
    written = surface_changes.Surface(surface.surfaces(ROOT)[package])
    names = [n for n in written.nodes if ".*." not in n and not n.endswith(".OrdersClient")]
    functions = 0
    for name in names:
        owner, _, member = name.rpartition(".")
        if owner in written.nodes:
            continue
        found = getattr(importlib.import_module(owner), member)
        maker = written.nodes.get(f"{name}.__init__", written.nodes[name])[0]
        if not isinstance(maker, surface_changes.Function) or "fixture" in ast.unparse(maker):
            continue
        functions += 1
        said = set(surface_changes.parameters(maker)) - {"self"}
        private = {n.lstrip("_") for n in getattr(found, "__annotations__", {}) if n[0] == "_"}
        takes = set(inspect.signature(found).parameters)
        assert said <= takes, name
        assert takes - said <= private, name
    exported = importlib.import_module(package).__all__
    assert {f"{package}.{n}" for n in exported} - set(names) <= {
        "bitopro_orders.OrdersClient", "bitopro_orders.__version__", "bitopro_sandbox.faults",
    }  # fmt: skip
    assert functions > 3
