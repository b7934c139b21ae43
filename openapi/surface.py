"""Write down what may be imported, as types: `make surface`; `make test` calls it with `--check`.

One text a package, as Python stubs: what `__all__` names, each with its signature, types, defaults
and public members, and the types of ours that these lead to. It is read from the source, nothing is
imported. Of the operations the text says, too, what the spec demands and Python does not show.
The text of the command line is from `command_line.py`.
"""

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command_line
import yaml
from rules import resolved

ROOT = Path(__file__).resolve().parent.parent
SURFACE = ROOT / "openapi" / "surface"
RELEASED = ROOT / "openapi" / "released"
PACKAGES = {
    "bitopro_auth": "auth_plugin",
    "bitopro_client": "generated",
    "bitopro_orders": "orders",
    "bitopro_sandbox": "sandbox",
}
#: What is Python's own business, or nobody's to call.
UNLISTED = {"__all__", "__attrs_post_init__", "__eq__", "__getattr__", "__getstate__", "__hash__"}
UNLISTED |= {"__post_init__", "__reduce__", "__repr__", "__setstate__", "__slots__", "__str__"}
UNLISTED |= {"__version__"}
#: A longer value is a table, not an interface.
LONGEST_VALUE = 300
#: What makes a constructor from a class's fields.
MAKERS = {"_attrs_define", "define", "frozen", "dataclass", "NamedTuple"}
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def name_of(node: ast.stmt) -> str:
    """Return the name that a statement gives to something, or an empty text."""
    if isinstance(node, (*FUNCTION, ast.ClassDef)):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def is_public(name: str) -> bool:
    """Say whether a name is for importers."""
    return name not in UNLISTED and (not name.startswith("_") or name.endswith("__"))


class Source:
    """The packages of one checkout, as they are written."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, list[ast.stmt]] = {}

    def modules_below(self, package: str) -> list[str]:
        """Return the names of the package's modules."""
        folder = self._root / PACKAGES[package]
        files = sorted((folder / package).rglob("*.py"))
        return [".".join(f.relative_to(folder).with_suffix("").parts) for f in files]

    def statements(self, module: str) -> list[ast.stmt]:
        """Return what stands at the top of a module, also below an `if`; nothing if not ours."""
        if module not in self._read:
            folder = self._root / PACKAGES.get(module.partition(".")[0], "-")
            file = folder.joinpath(*module.split("."))
            file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
            body = ast.parse(file.read_text("utf-8")).body if file.exists() else []
            more = [each for node in body if isinstance(node, ast.If) for each in node.body]
            self._read[module] = body + more
        return self._read[module]

    def listed(self, module: str) -> list[str]:
        """Return the module's `__all__`, or else every public name that it defines."""
        for node in self.statements(module):
            if name_of(node) == "__all__" and isinstance(node, ast.Assign):
                return [n for n in ast.literal_eval(node.value) if is_public(n)]
        return [n for n in map(name_of, self.statements(module)) if n and is_public(n)]

    def find(self, module: str, name: str) -> tuple[str, str] | None:
        """Return the module and the name that a name of ours stands for; None if it is not ours.

        The name is empty where it stands for a module.
        """
        for node in self.statements(module):
            if name_of(node) == name:
                return module, name
            if not isinstance(node, ast.ImportFrom):
                continue
            if name in [alias.asname or alias.name for alias in node.names]:
                parts = module.split(".")
                is_package = bool(self.statements(f"{module}.__init__"))
                up = parts[: len(parts) - node.level + is_package] if node.level else []
                target = ".".join([*up, *filter(None, [node.module])])
                if self.statements(f"{target}.{name}"):
                    return f"{target}.{name}", ""
                return self.find(target, name) if target != module else None
        return None

    def definitions(self, module: str, name: str) -> list[ast.stmt]:
        """Return what defines a name: one statement, or the overloads of a function."""
        return [node for node in self.statements(module) if name_of(node) == name]


def unquoted(node: ast.AST) -> ast.AST:
    """Return an annotation with its quoted parts as code."""

    class Unquote(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            return ast.parse(node.value, mode="eval").body if isinstance(node.value, str) else node

        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            is_text = ast.unparse(node.value) in ("Literal", "Annotated")
            return node if is_text else self.generic_visit(node)

    unquoted: ast.AST = Unquote().visit(node)
    return unquoted


def stub(node: ast.stmt, *, is_enum: bool = False) -> ast.stmt | None:
    """Return a statement without what is inside; None if it is not for importers."""
    if isinstance(node, FUNCTION):
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg) and argument.annotation:
                argument.annotation = unquoted(argument.annotation)  # type: ignore[assignment]
        node.returns = node.returns and unquoted(node.returns)  # type: ignore[assignment]
        node.body = [ast.Expr(ast.Constant(...))]
    elif isinstance(node, ast.ClassDef):
        node.body = list(members(node)) or [ast.Expr(ast.Constant(...))]
        node.decorator_list = [getattr(each, "func", each) for each in node.decorator_list]
    elif isinstance(node, ast.AnnAssign):
        node.annotation = unquoted(node.annotation)  # type: ignore[assignment]
    elif isinstance(node, ast.Assign) and not is_enum:
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "TypeVar":
            return None
        if len(ast.unparse(node.value)) > LONGEST_VALUE:
            node.value = ast.Constant(...)
    return node


def members(node: ast.ClassDef) -> Iterator[ast.stmt]:
    """Return a class's public members, and the constructor that is made for it."""
    own = {name_of(each) for each in node.body}
    is_enum = any("Enum" in ast.unparse(base) or "Flag" in ast.unparse(base) for base in node.bases)
    makers = [*node.decorator_list, *node.bases]
    made = [e for e in makers if ast.unparse(getattr(e, "func", e)).split(".")[-1] in MAKERS]
    for each in node.body:
        if name_of(each) == "__init__" and isinstance(each, FUNCTION):
            yield from (a for a in attributes(each) if name_of(a) not in own)
        if not is_public(name_of(each) or "_") or not (kept := stub(each, is_enum=is_enum)):
            continue
        if made and isinstance(kept, ast.AnnAssign):
            kept = ast.AnnAssign(kept.target, kept.annotation, None, kept.simple)
        yield kept
    if made and "__init__" not in own:
        yield from constructor(node, only_by_name="kw_only=True" in ast.unparse(made[0]))


def constructor(node: ast.ClassDef, *, only_by_name: bool) -> list[ast.stmt]:
    """Return the constructor, if it takes anything, that attrs or `NamedTuple` makes of fields.

    What is neither public nor may be left out is not for importers.
    """
    positional, by_name = ["self"], ["*"]
    for each in node.body:
        if not isinstance(each, ast.AnnAssign):
            continue
        is_field = isinstance(each.value, ast.Call) and "field" in ast.unparse(each.value.func)
        options = {k.arg: k.value for k in each.value.keywords} if is_field else {}  # type: ignore[union-attr]
        said = {name: ast.unparse(value) for name, value in options.items()}
        default = said.get("default", "..." if "factory" in said else "")
        if each.value and not is_field:
            default = ast.unparse(each.value)
        if said.get("init") == "False" or (not default and not is_public(name_of(each))):
            continue
        name = said.get("alias", name_of(each).lstrip("_")).strip("'")
        parameter = f"{name}: {ast.unparse(unquoted(each.annotation))}"
        parameter += f" = {'...' if default.startswith('_') else default}" if default else ""
        kind = by_name if only_by_name or said.get("kw_only") == "True" else positional
        kind.append(parameter)
    parameters = positional + (by_name if len(by_name) > 1 else [])
    if len(parameters) == 1:
        return []
    return ast.parse(f"def __init__({', '.join(parameters)}) -> None: ...").body


def attributes(constructor: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.stmt]:
    """Return the public attributes that a constructor sets, with the types that are written."""
    types = {a.arg: a.annotation for a in ast.walk(constructor.args) if isinstance(a, ast.arg)}
    for node in ast.walk(constructor):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
            value = getattr(node, "value", None)
            written = getattr(node, "annotation", None)
            if written is None and isinstance(value, ast.Name):
                written = types.get(value.id)
            elif written is None and isinstance(value, ast.Call):
                is_class = ast.unparse(value.func)[:1].isupper()
                written = value.func if is_class else None
            if is_public(target.attr):
                annotation = unquoted(written) if written else ast.Constant(...)
                yield ast.parse(f"{target.attr}: {ast.unparse(annotation)}").body[0]


def public(source: Source, package: str) -> dict[tuple[str, str], str]:
    """Return what the package offers: (module, name) as it is imported, by where it is defined."""
    modules = [package]
    if package == "bitopro_client":
        below = source.modules_below(package)
        modules += [f"{package}.{name}" for name in ("errors", "models")]
        modules += [m for m in below if ".api." in m and not m.endswith("__init__")]
    if package == "bitopro_sandbox":
        modules += [f"{package}.faults", f"{package}.pytest_plugin"]
    return {
        found: module
        for module in reversed(modules)
        for name in source.listed(module)
        if (name.islower() or ".api." not in module or name == "OPERATION")
        and (found := source.find(module, name))
        and found[1]
    }


def leads_to(source: Source, module: str, node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Return what else of ours an importer meets in a definition.

    A class that only a parameter mentions is left out, unless any object of that shape will do:
    whoever has one to pass got it from elsewhere.
    """
    told = set()
    for each in ast.walk(node):
        told |= names_in(each.returns) if isinstance(each, FUNCTION) else set()
        if isinstance(each, ast.AnnAssign) and is_public(name_of(each)):
            told |= names_in(each.annotation)
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Call):
            told |= names_in(each.value.func)
        for base in each.bases if isinstance(each, ast.ClassDef) else ():
            told |= names_in(base)
    for name in sorted(names_in(node)):
        found = source.find(module, name)
        if found is None or not found[1]:
            continue
        definition = source.definitions(*found)[0]
        is_class = isinstance(definition, ast.ClassDef)
        is_protocol = is_class and "Protocol" in ast.unparse(definition).partition("\n")[0]
        if name in told or is_protocol or not (is_class or isinstance(definition, FUNCTION)):
            yield found


def names_in(node: ast.AST | None) -> set[str]:
    """Return the names that stand in a piece of code."""
    read = [each for each in ast.walk(node) if isinstance(each, ast.Name)] if node else []
    return {each.id for each in read if isinstance(each.ctx, ast.Load)}


def surface(source: Source, package: str) -> str:
    """Return the package's public surface as text."""
    home = public(source, package)
    done: dict[str, dict[str, str]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = list(home)
    while waiting:
        module, name = where = waiting.pop()
        if module.partition(".")[0] != package or where in seen:
            continue
        seen.add(where)
        # Where hand-written code keeps what it leads to is its own business.
        elsewhere = module if package == "bitopro_client" else f"{package}.*"
        section = done.setdefault(home.get(where, elsewhere), {})
        kept = [k for node in source.definitions(module, name) if (k := stub(node))]
        section[name] = "\n".join(map(ast.unparse, kept))
        waiting += [found for node in kept for found in leads_to(source, module, node)]
    lines = []
    for title, names in sorted(done.items()):
        if not any(names.values()):
            continue
        lines += ["", f"# module {title}", *[names[name] for name in sorted(names) if names[name]]]
    return formatted("\n".join(lines) + "\n")


def formatted(text: str) -> str:
    """Return the text with a line for each parameter where they are many."""
    ruff = Path(sys.executable).parent / "ruff"
    run = subprocess.run(  # noqa: S603 - the environment's own
        [ruff, "format", "--isolated", "--line-length=100", "--stdin-filename=surface.pyi", "-"],
        input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", run.stdout)


def wire(document: Any) -> Iterator[str]:  # noqa: ANN401 - as YAML gives it
    """Return what the spec says of each operation that Python does not: limits and patterns."""

    def rule(node: Any) -> Any:  # noqa: ANN401
        node = resolved(document, node)
        if not isinstance(node, dict):
            return node
        return {k: rule(v) for k, v in node.items() if k not in ("description", "example")}

    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "operationId" not in operation:
                continue
            limit = operation["x-rate-limit"]
            times = f"{limit['requests']} in {limit['period-seconds']} s"
            yield f"# {method.upper()} {path}: {operation['operationId']}"
            yield f"#   limit {limit['group']}: {times}, per {' and '.join(limit['per'])}"
            for each in map(rule, item.get("parameters", []) + operation.get("parameters", [])):
                may = "" if each.get("required") else ", may be left out"
                yield f"#   {each['in']} {each['name']}: {json.dumps(each['schema'])}{may}"
            for media in operation.get("requestBody", {}).get("content", {}).values():
                yield f"#   body: {json.dumps(rule(media['schema']))}"


def surfaces(root: Path) -> dict[str, str]:
    """Return the surface of every package of a checkout, and of the command line."""
    found = {package: surface(Source(root), package) for package in PACKAGES}
    document = yaml.safe_load((root / "openapi" / "bitopro.yaml").read_text("utf-8"))
    found[command_line.NAME] = command_line.text(root, PACKAGES.values())
    found["bitopro_client"] += "\n".join(["", "# on the wire", *wire(document), ""])
    return found


def write(folder: Path) -> None:
    """Write the surface of this checkout into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for package, text in surfaces(ROOT).items():
        (folder / f"{package}.txt").write_text(text, "utf-8")


def version(root: Path) -> str:
    """Return the version of a checkout."""
    # 0.1.0 had it in pyproject.toml.
    files = root / "orders" / "bitopro_orders" / "version.py", root / "pyproject.toml"
    text = next(file for file in files if file.exists()).read_text("utf-8")
    found = re.search(r'^(?:__version__|version) = "(.+)"', text, re.MULTILINE)
    return found[1] if found else ""


def main() -> int:
    """Write the surface, compare it, or keep it as that of a release; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--release", action="store_true", help="keep it as this version's")
    arguments = parser.parse_args()
    if arguments.check:
        written = {file.stem: file.read_text("utf-8") for file in SURFACE.glob("*.txt")}
        if written != surfaces(ROOT):
            print("openapi/surface is not what the packages offer. Run: make surface")
            return 1
        return 0
    write(SURFACE)
    if arguments.release:
        kept = RELEASED / version(ROOT)
        # What was released stays as it was: copytree refuses a folder that is there.
        shutil.copytree(SURFACE, kept)
        for name in ("bitopro.yaml", "streams.yaml"):
            shutil.copy(ROOT / "openapi" / name, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
