"""Compare two versions of the spec, as to what they mean for who imports the client.

Each difference is *breaking* (an importer may have to change, or gets less than before), *additive*
or *wording*, and has the Python names concerned. What no rule below judges is breaking.
"""

import builtins
import keyword
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from rules import resolved

Node = Any
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
RESERVED = ({*dir(builtins), *keyword.kwlist} | {"self", "true", "false", "datetime"}) - {"id"}
#: What says nothing that a program follows.
WORDS = {"$comment", "contact", "description", "example", "examples", "externalDocs", "info"}
WORDS |= {"license", "openapi", "summary", "title", "x-answer-repeats-nothing"}
#: Who does what the document says at its root.
OWNERS = {"servers": "bitopro_client.client.DEFAULT_BASE_URL", "security": "bitopro_auth"}
#: The least that is let through, and the most.
LEAST = {"exclusiveMinimum", "minItems", "minLength", "minProperties", "minimum"}
MOST = {"exclusiveMaximum", "maxItems", "maxLength", "maxProperties", "maximum"}


class Kind(IntEnum):
    """What a change means to importers, from the least to the most."""

    WORDING = 0
    ADDITIVE = 1
    BREAKING = 2


class Change(NamedTuple):
    """One difference."""

    kind: Kind
    what: str
    names: tuple[str, ...]


class At(NamedTuple):
    """Where a comparison is: in what, for whom, and which way the data go."""

    label: str
    name: str
    asks: bool
    operation: str = ""

    def below(self, part: object, name: str = "") -> "At":
        """Return a place inside this one."""
        return self._replace(label=f"{self.label}: {part}", name=name or self.name)


def python_name(text: str) -> str:
    """Return what the generator makes of a name of the spec."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text).lower()
    return f"{snake}_" if snake in RESERVED else snake


def widens(before: Node, after: Node) -> bool:
    """Say whether all that was let through still is, of two lists."""
    return set(before) <= set(after)


def as_list(value: Node) -> list[Node]:
    """Return the types that a schema names, or the values of a list."""
    return value if isinstance(value, list) else [value]


def judged(key: str, before: Node, after: Node, *, asks: bool) -> Kind:
    """Judge a difference at a key of the spec; what is not there is None.

    To be let through less is breaking where the importer asks; to be promised less where the
    exchange answers.
    """
    if key in WORDS:
        return Kind.WORDING
    if key == "deprecated":
        return Kind.ADDITIVE
    if key == "tags" and all(each in (after or ()) for each in before or ()):
        return Kind.ADDITIVE
    if key in LEAST | MOST | {"uniqueItems", "pattern"}:
        sign = -1 if key in MOST else 1
        is_tighter = before is None or (
            after is not None and key != "pattern" and sign * after > sign * before
        )
        is_looser = after is None or (before is not None and key != "pattern" and not is_tighter)
        return Kind.ADDITIVE if (is_looser if asks else is_tighter) else Kind.BREAKING
    if key == "x-rate-limit" and before and after:
        is_more = (
            after["requests"] >= before["requests"]
            and after["period-seconds"] <= before["period-seconds"]
            and after["group"] == before["group"]
            and widens(after["per"], before["per"])
        )
        return Kind.ADDITIVE if is_more else Kind.BREAKING
    if asks and key in ("type", "enum") and before and widens(as_list(before), as_list(after)):
        return Kind.ADDITIVE if after else Kind.BREAKING
    if asks and key == "required" and not after:
        return Kind.ADDITIVE
    return Kind.BREAKING


class Specs:
    """Two versions of the spec, and what differs."""

    def __init__(self, before: Node, after: Node) -> None:
        self._documents = before, after
        self._follows = True
        self._found: dict[str, tuple[Kind, set[str]]] = {}
        self._seen: set[tuple[str, str, bool, str]] = set()

    def changes(self) -> list[Change]:
        """Return the differences, the breaking ones first."""
        for key in self._keys(*self._documents) - {"paths", "components", "info"}:
            at = At(key, OWNERS.get(key, "bitopro_client"), asks=True)
            self._walk(key, *self._both(key), at)
        self._walk("info", *self._both("info"), At("info", "bitopro_client", asks=True))
        self._operations()
        components = [each or {} for each in self._both("components")]
        schemes, schemas = (
            (components[0].get(key, {}), components[1].get(key, {}))
            for key in ("securitySchemes", "schemas")
        )
        self._walk("securitySchemes", *schemes, At("securitySchemes", "bitopro_auth", asks=True))
        for name in self._keys(*schemas):
            at = At(f"schema {name}", f"bitopro_client.models.{name}", asks=False)
            if not all(name in each for each in schemas):
                self._added(name in schemas[1], at)
            elif not any(seen[0] == f"#/components/schemas/{name}" for seen in self._seen):
                self._walk("schema", schemas[0][name], schemas[1][name], at)
        found = [Change(kind, what, tuple(sorted(n))) for what, (kind, n) in self._found.items()]
        return sorted(found, key=lambda each: (-each.kind, each.what))

    def streams(self) -> list[Change]:
        """Return the differences of two descriptions of the streams, which are not generated."""
        self._follows = False
        for key in self._keys(*self._documents):
            at = At(f"streams: {key}", "bitopro_orders.order_history", asks=True)
            self._walk(key, *self._both(key), at)
        return [Change(kind, what, tuple(n)) for what, (kind, n) in self._found.items()]

    def _both(self, key: str) -> tuple[Node, Node]:
        old, new = (document.get(key) for document in self._documents)
        if key == "info":
            # The version is judged by what changes, and is no change itself.
            return {**old, "version": ""}, {**new, "version": ""}
        return old, new

    def _keys(self, *nodes: Mapping[str, Any] | None) -> set[str]:
        return {key for node in nodes for key in (node or {})}

    def _note(self, kind: Kind, what: str, at: At) -> None:
        old, names = self._found.setdefault(what, (kind, set()))
        self._found[what] = max(old, kind), names | {at.name, at.operation} - {""}

    def _added(self, is_added: bool, at: At, kind: Kind = Kind.ADDITIVE) -> None:
        verdict = kind if is_added else Kind.BREAKING
        self._note(verdict, f"{at.label}: {'added' if is_added else 'removed'}", at)

    def _operations(self) -> None:
        befores, afters = map(self._by_id, self._documents)
        for name in sorted(befores.keys() | afters.keys()):
            before, after = befores.get(name), afters.get(name)
            if before is None or after is None:
                # Another name at the same place is a new name, not a new operation.
                mine, theirs = (befores, afters) if before else (afters, befores)
                where = mine[name]["path"], mine[name]["method"]
                same = [k for k, v in theirs.items() if (v["path"], v["method"]) == where]
                renamed = bool(same) and same[0] not in mine
                at = At(f"operation {name}", self._module(mine[name]), asks=True)
                if renamed and before:
                    at = at._replace(operation=self._module(afters[same[0]]))
                    self._note(Kind.BREAKING, f"{at.label}: renamed to {same[0]}", at)
                    self._operation(at, before, afters[same[0]])
                elif not renamed:
                    self._added(before is None, at)
            else:
                at = At(f"operation {name}", self._module(before), asks=True)
                self._operation(at, before, after)

    def _by_id(self, document: Node) -> dict[str, Node]:
        return {
            item[method]["operationId"]: {
                **{key: value for key, value in item.items() if key not in METHODS},
                **item[method],
                "path": path,
                "method": method,
                "parameters": item.get("parameters", []) + item[method].get("parameters", []),
            }
            for path, item in document["paths"].items()
            for method in METHODS
            if method in item
        }

    def _module(self, operation: Node) -> str:
        name = python_name(operation["operationId"])
        return f"bitopro_client.api.{python_name(operation['tags'][0])}.{name}"

    def _operation(self, at: At, before: Node, after: Node) -> None:
        for key in self._keys(before, after) - {"operationId", "parameters", "responses"}:
            self._walk(key, before.get(key), after.get(key), at.below(key))
        listed: list[dict[str, tuple[str, Node]]] = []
        for document, each in zip(self._documents, (before, after), strict=True):
            found = [(p.get("$ref", ""), resolved(document, p)) for p in each["parameters"]]
            listed.append({p["name"]: (ref, p) for ref, p in found})
        for name in self._keys(*listed):
            is_shared = all(name in each and each[name][0] for each in listed)
            label = f"parameter {name}" if is_shared else f"{at.label}: parameter {name}"
            place = at._replace(label=label, name=f"{at.name}({python_name(name)}=)")
            if not all(name in each for each in listed):
                is_required = name in listed[1] and listed[1][name][1].get("required")
                kind = Kind.BREAKING if is_required else Kind.ADDITIVE
                self._added(name in listed[1], place, kind)
            else:
                self._walk("parameter", listed[0][name][1], listed[1][name][1], place)
        if set(listed[0]) == set(listed[1]) and list(listed[0]) != list(listed[1]):
            self._note(Kind.WORDING, f"{at.label}: parameters in another order", at)
        for status in self._keys(before["responses"], after["responses"]):
            place = at.below(f"response {status}")._replace(asks=False)
            pair = before["responses"].get(status), after["responses"].get(status)
            if None in pair:
                kind = Kind.BREAKING if status.startswith("2") else Kind.ADDITIVE
                self._added(pair[1] is not None, place, kind)
            else:
                self._walk("response", *pair, place)

    def _walk(self, key: str, before: Node, after: Node, at: At) -> None:
        refs = [n.get("$ref", "") if isinstance(n, Mapping) else "" for n in (before, after)]
        old, new = before, after
        if any(refs) and self._follows:
            old, new = map(resolved, self._documents, (before, after))
            if all(refs):
                for each in sorted(self._keys(before, after) - {"$ref"}):
                    self._walk(each, before.get(each), after.get(each), at.below(each))
            is_object = "object" in [each.get("type") for each in (old, new) if each]
            if is_object and refs[0] != refs[1]:
                names = [ref.rpartition("/")[2] or "inline" for ref in refs]
                self._note(Kind.BREAKING, f"{at.label}: {names[0]} → {names[1]}", at)
                if names[1] in self._documents[0]["components"]["schemas"]:
                    # Another model, not this one by another name.
                    return
            if refs[0] == refs[1]:
                kind, name = refs[0].split("/")[-2:]
                at = at._replace(label=f"{kind.removesuffix('s')} {name}")
                if kind == "schemas":
                    model = f"bitopro_client.models.{name}"
                    at = at._replace(name=model, operation=at.operation or at.name)
                if (seen := (refs[0], at.operation, at.asks, at.name)) in self._seen:
                    return
                self._seen.add(seen)
        is_judged = key in WORDS | {"x-rate-limit", "x-answer-repeats"}
        if is_judged or not (isinstance(old, Mapping) and isinstance(new, Mapping)):
            self._leaf(key, old, new, at)
            return
        for each in sorted(self._keys(old, new)):
            pair = old.get(each), new.get(each)
            if each == "properties":
                self._properties(old, new, at)
            elif each == "required" and isinstance(pair[0] or pair[1], list):
                self._required(old, new, at)
            else:
                self._walk(each, *pair, at if each in ("schema", "content") else at.below(each))

    def _leaf(self, key: str, old: Node, new: Node, at: At) -> None:
        are_lists = isinstance(old, list) and isinstance(new, list) and len(old) == len(new)
        # A list of objects is compared one by one: servers, alternatives.
        if are_lists and all(isinstance(each, Mapping) for each in old + new):
            for number, (one, other) in enumerate(zip(old, new, strict=True)):
                self._walk(key, one, other, at.below(number))
            return
        if old == new:
            return
        if key in WORDS:
            self._note(Kind.WORDING, f"{at.label} reworded", at)
            return
        verdict = judged(key, old, new, asks=at.asks)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            differ = {each for each in self._keys(old, new) if old.get(each) != new.get(each)}
            old, new = ({k: v for k, v in each.items() if k in differ} for each in (old, new))
        texts = ["nothing" if each is None else f"`{str(each)[:300]}`" for each in (old, new)]
        self._note(verdict, f"{at.label}: {' → '.join(texts)}", at)

    def _properties(self, old: Node, new: Node, at: At) -> None:
        befores, afters = old.get("properties", {}), new.get("properties", {})
        for name in self._keys(befores, afters):
            place = at.below(f"property {name}", f"{at.name}.{python_name(name)}")
            if name in befores and name in afters:
                self._walk("property", befores[name], afters[name], place)
            elif name in afters and name in new.get("required", ()):
                self._note(Kind.BREAKING, f"{place.label}: added, and required", place)
            else:
                self._added(name in afters, place)

    def _required(self, old: Node, new: Node, at: At) -> None:
        befores, afters = old.get("required", ()), new.get("required", ())
        both = old.get("properties", {}).keys() & new.get("properties", {}).keys()
        for name in sorted((set(befores) ^ set(afters)) & both):
            place = at.below(f"property {name}", f"{at.name}.{python_name(name)}")
            words = "required" if name in afters else "no longer required"
            kind = judged("required", name in befores, name in afters, asks=at.asks)
            self._note(kind, f"{place.label}: {words}", place)
