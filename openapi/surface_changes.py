"""Compare two texts of a package's public surface, see `surface.py`."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

import surface
from spec_changes import Change, Kind, widens

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Surface:
    """What a package offers, by name: `bitopro_orders.CancelOutcome.state`."""

    def __init__(self, text: str) -> None:
        self.modules: set[str] = set()
        self.nodes: dict[str, list[ast.stmt]] = {}
        self._bases: dict[str, list[str]] = {}
        self.protocols: set[str] = set()
        self.enums: set[str] = set()
        for part in re.split(r"^# module ", text, flags=re.MULTILINE)[1:]:
            module, _, code = part.partition("\n")
            self.modules.add(module)
            for node in ast.parse(code).body:
                self._add(module, node)

    def _add(self, prefix: str, node: ast.stmt) -> None:
        if not (name := surface.name_of(node)):
            return
        full = f"{prefix}.{name}"
        self.nodes.setdefault(full, []).append(node)
        if isinstance(node, ast.ClassDef):
            self._bases[full] = [f"{prefix}.{ast.unparse(base)}" for base in node.bases]
            kinds = " ".join(self._bases[full])
            self.protocols |= {full} if "Protocol" in kinds else set()
            self.enums |= {full} if "Enum" in kinds else set()
            for each in node.body:
                self._add(full, each)

    def get(self, name: str) -> list[ast.stmt]:
        """Return what a name stands for, inherited or not."""
        if name not in self.nodes:
            owner, _, member = name.rpartition(".")
            for base in self._bases.get(owner, ()):
                if found := self.get(f"{base}.{member}"):
                    return found
        return self.nodes.get(name, [])


def surface_changes(before: str, after: str) -> Iterator[Change]:
    """Compare the surface of a package with what it was."""
    old, new = Surface(before), Surface(after)
    gone: set[str] = set()
    for name in sorted(old.nodes.keys() | new.nodes.keys()):
        was, now = old.get(name), new.get(name)
        owner, _, member = name.rpartition(".")
        modules = old.modules ^ new.modules
        if owner in gone or (owner.endswith(".*") and not (was and now)):
            # Said of what it belongs to, or of what leads to it.
            gone.add(name)
        elif owner in modules:
            gone |= {owner, name}
            kind = Kind.BREAKING if owner in old.modules else Kind.ADDITIVE
            yield Change(kind, f"{owner}: {'added' if now else 'removed'}", (owner,))
        elif not now or not was:
            gone.add(name)
            is_breaking = not now or owner in new.protocols | new.enums
            kind = Kind.BREAKING if is_breaking else Kind.ADDITIVE
            yield Change(kind, f"{name}: {'added' if now else 'removed'}", (name,))
        elif len(was) == len(now) == 1:
            for kind, what in node_changes(was[0], now[0], is_enum=owner in new.enums):
                # A new field that may be left out is said once.
                field = re.fullmatch(r"\((\w+)=\): added", what) if member == "__init__" else None
                if not (field and kind is Kind.ADDITIVE and f"{owner}.{field[1]}" in new.nodes):
                    where = re.match(r"\(\w+=\)", what)
                    yield Change(kind, f"{name}{what}", (name + (where[0] if where else ""),))
        elif list(map(ast.unparse, was)) != list(map(ast.unparse, now)):
            yield Change(Kind.BREAKING, f"{name}: its overloads changed", (name,))


def node_changes(was: ast.stmt, now: ast.stmt, *, is_enum: bool) -> Iterator[tuple[Kind, str]]:
    """Compare what a name stands for with what it stood for."""
    if type(was) is not type(now):
        yield Kind.BREAKING, f": was `{shown(was)}`, is `{shown(now)}`"
    elif isinstance(was, Function) and isinstance(now, Function):
        yield from function_changes(was, now)
    elif isinstance(was, ast.ClassDef) and isinstance(now, ast.ClassDef):
        bases = [[ast.unparse(base) for base in each.bases] for each in (was, now)]
        if (
            not widens(*bases)
            or shown(was).partition("class")[0] != shown(now).partition("class")[0]
        ):
            yield Kind.BREAKING, f": was `{shown(was)}`, is `{shown(now)}`"
        elif bases[0] != bases[1]:
            yield Kind.ADDITIVE, f": has more bases: {', '.join(bases[1])}"
    elif ast.unparse(was) != ast.unparse(now):
        values = [getattr(each, "value", None) for each in (was, now)]
        are_texts = all(isinstance(getattr(v, "value", None), str) for v in values)
        is_wording = are_texts and not is_enum and isinstance(was, ast.Assign)
        kind = Kind.WORDING if is_wording and "URL" not in shown(was) else Kind.BREAKING
        yield kind, f": was `{shown(was)}`, is `{shown(now)}`"


def shown(node: ast.stmt) -> str:
    """Return a statement in a line."""
    text = ast.unparse(node)
    text = text.partition(":\n")[0] if isinstance(node, ast.ClassDef) else text
    return re.sub(r"\s+", " ", text)[:150]


class Parameter(NamedTuple):
    """A parameter of a function."""

    place: int
    annotation: str
    default: str | None


def parameters(node: Function) -> dict[str, Parameter]:
    """Return a function's parameters by name, those that have a place first."""
    spec = node.args
    positional = [*spec.posonlyargs, *spec.args]
    defaults = [None] * (len(positional) - len(spec.defaults)) + spec.defaults
    rows = [
        *zip(positional, defaults, strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]
    return {
        each.arg: Parameter(
            number if number < len(positional) else -1,
            ast.unparse(each.annotation) if each.annotation else "Any",
            ast.unparse(default) if default else None,
        )
        for number, (each, default) in enumerate(rows)
    }


def function_changes(was: Function, now: Function) -> Iterator[tuple[Kind, str]]:
    """Compare the signature of a function with what it was."""
    kinds = [(type(e), [ast.unparse(d) for d in e.decorator_list]) for e in (was, now)]
    if kinds[0] != kinds[1]:
        yield Kind.BREAKING, f"(): was `{shown(was)}`, is `{shown(now)}`"
    returns = [ast.unparse(each.returns) if each.returns else "Any" for each in (was, now)]
    if returns[0] != returns[1]:
        kind = Kind.ADDITIVE if widens(*map(union, reversed(returns))) else Kind.BREAKING
        yield kind, f"(): returns `{returns[1]}`, not `{returns[0]}`"
    old, new = parameters(was), parameters(now)
    for name in [*old, *(new.keys() - old.keys())]:
        where = f"({name}=)"
        if name not in new:
            yield Kind.BREAKING, f"{where}: removed"
            continue
        mine = new[name]
        if name not in old:
            if mine.default is None:
                yield Kind.BREAKING, f"{where}: added, and must be given"
            else:
                yield Kind.ADDITIVE, f"{where}: added"
            continue
        theirs = old[name]
        if theirs.place not in (-1, mine.place):
            yield Kind.BREAKING, f"{where}: has another place"
        elif theirs.place != mine.place:
            yield Kind.ADDITIVE, f"{where}: may be given by its place"
        if theirs.annotation != mine.annotation:
            wider = widens(union(theirs.annotation), union(mine.annotation))
            kind = Kind.ADDITIVE if wider or mine.annotation in ("Any", "object") else Kind.BREAKING
            yield kind, f"{where}: `{theirs.annotation}` → `{mine.annotation}`"
        if theirs.default is None and mine.default is not None:
            yield Kind.ADDITIVE, f"{where}: may be left out"
        elif mine.default is None and theirs.default is not None:
            yield Kind.BREAKING, f"{where}: must be given"
        elif theirs.default != mine.default and "..." not in (theirs.default, mine.default):
            yield Kind.BREAKING, f"{where}: its default was {theirs.default}, is {mine.default}"


def union(annotation: str) -> set[str]:
    """Return the members of a union."""
    node, found = ast.parse(annotation, mode="eval").body, set()
    while isinstance(node, ast.BinOp):
        found.add(ast.unparse(node.right))
        node = node.left
    return found | {ast.unparse(node)}
