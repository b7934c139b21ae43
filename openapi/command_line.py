"""Write down what the command line takes, as click tells it, and compare two of these texts.

Besides the packages, `surface.py` asks for this text. Help texts are not in it. As a program this
prints the text of the packages that Python finds first.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from spec_changes import Change, Kind, widens

NAME = "bitopro"
CODES = "exit codes, the worst first"
#: What click tells of an option or argument, besides its type, that is here only if it says much.
ATTRIBUTES = ("required", "nargs", "multiple", "default", "envvar", "is_flag", "count", "prompt")
Node = Any


def text(root: Path, folders: Iterable[str]) -> str:
    """Return what the command line of a checkout takes, as YAML; nothing if it has none."""
    if not (root / "orders" / "bitopro_orders" / "cli" / "app.py").exists():
        return ""
    paths = os.pathsep.join(f"{root / folder}" for folder in folders)
    run = subprocess.run(  # noqa: S603 - this file
        [sys.executable, __file__], env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"the command line of {root} cannot be imported, see above")
    return run.stdout


def described() -> dict[str, Node]:
    """Return what the command line takes, by command, and its exit codes."""
    import click

    from bitopro_orders.cli import codes
    from bitopro_orders.cli.app import app, run

    # A run imports the commands, wherever this checkout keeps them.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        run(["--version"])
    context = click.Context(app, info_name=NAME, **app.context_settings)
    found = {NAME: parameters(app, context)}
    for name, command in sorted(app.commands.items()):
        inner = click.Context(command, context, name, **command.context_settings)
        found[f"{NAME} {name}"] = parameters(command, inner)
    left = set(codes.MEANINGS)
    by_code: dict[int, Node] = {}
    while left:
        worst = codes.worst(left)
        left.remove(worst)
        by_code[worst] = {"meaning": codes.MEANINGS[worst]}
    return {**found, CODES: by_code}


def parameters(command: Any, context: Any) -> dict[str, dict[str, Node]]:  # noqa: ANN401
    """Return the options of a command by each of their names, and its arguments by their place."""
    options: dict[str, dict[str, Node]] = {}
    arguments: dict[str, dict[str, Node]] = {}
    for each in command.get_params(context):
        info = each.to_info_dict()
        kept = {"type": info["type"]["name"]}
        kept |= {"choices": list(info["type"]["choices"])} if "choices" in info["type"] else {}
        said = {key: info.get(key) for key in ATTRIBUTES}
        usual = {"nargs": 1}
        kept |= {k: v for k, v in said.items() if v not in (None, False, usual.get(k))}
        if info["param_type_name"] == "argument":
            place = f"argument {len(arguments) + 1}"
            arguments[place] = {"name": each.human_readable_name, **kept}
            continue
        options |= {name: dict(kept) for name in info["opts"]}
        options |= {name: {**kept, "turns": "off"} for name in info["secondary_opts"]}
    return arguments | dict(sorted(options.items()))


def changes(before: str, after: str) -> Iterator[Change]:
    """Compare what the command line takes with what it took."""
    if bool(before) is not bool(after):
        kind = Kind.ADDITIVE if after else Kind.BREAKING
        yield Change(kind, f"the command line {NAME}: {'added' if after else 'removed'}", (NAME,))
        return
    old, new = (yaml.safe_load(each) or {} for each in (before, after))
    yield from code_changes(old.pop(CODES, {}), new.pop(CODES, {}))
    for command in sorted(old.keys() | new.keys()):
        was, now = old.get(command), new.get(command)
        if was is None or now is None:
            kind = Kind.BREAKING if now is None else Kind.ADDITIVE
            yield Change(kind, f"{command}: {'removed' if now is None else 'added'}", (command,))
            continue
        for name in sorted(was.keys() | now.keys()):
            full = f"{command} {name}"
            for kind, what in parameter_changes(was.get(name), now.get(name)):
                yield Change(kind, f"{full}: {what}", (full,))


def parameter_changes(was: Node, now: Node) -> Iterator[tuple[Kind, str]]:
    """Compare an option or argument with what it was; None is one that is not there."""
    if was is None:
        is_required = now.get("required")
        kind = Kind.BREAKING if is_required else Kind.ADDITIVE
        yield kind, f"added{', and required' if is_required else ''}"
    elif now is None:
        yield Kind.BREAKING, "removed"
    else:
        for key in sorted(was.keys() | now.keys()):
            pair = was.get(key), now.get(key)
            if pair[0] != pair[1]:
                texts = ["nothing" if each is None else f"`{each}`" for each in pair]
                yield attribute_kind(key, *pair), f"{key}: {' → '.join(texts)}"


def attribute_kind(key: str, was: Node, now: Node) -> Kind:
    """Judge a difference of an option or argument: it is additive if it takes all that it took."""
    takes_more = (
        (key == "required" and not now)
        or (key == "nargs" and was is None and now == -1)
        or (key == "multiple" and now)
        or (key == "choices" and was and now and widens(was, now))
        or (key == "envvar" and was is None)
    )
    return Kind.ADDITIVE if takes_more else Kind.BREAKING


def code_changes(was: Mapping[int, Node], now: Mapping[int, Node]) -> Iterator[Change]:
    """Compare the exit codes with what they were: which there are, what they mean, which wins."""
    for code in sorted(was.keys() | now.keys()):
        name = f"{NAME} exit code {code}"
        if code not in now:
            yield Change(Kind.BREAKING, f"{name}: removed", (name,))
        elif code not in was:
            yield Change(Kind.ADDITIVE, f"{name}: added", (name,))
        elif was[code]["meaning"] != now[code]["meaning"]:
            yield Change(Kind.WORDING, f"{name} reworded", (name,))
    orders = [[code for code in each if code in was and code in now] for each in (was, now)]
    if orders[0] != orders[1]:
        texts = [", ".join(map(str, each)) for each in orders]
        what = f"{NAME} exit codes: the worst first was {texts[0]}, is {texts[1]}"
        yield Change(Kind.BREAKING, what, (f"{NAME} exit codes",))


if __name__ == "__main__":
    print(yaml.safe_dump(described(), default_flow_style=None, sort_keys=False, width=1000), end="")
