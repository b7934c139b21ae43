"""What we use of openapi-python-client, and what has changed there: `make drift` asks it.

No other file imports that package, and no template has a name of it that is not listed here. Its
templates are kept in `templates/upstream`, as they were when ours were last compared with them.
`--record` keeps them as they are now: docs/upgrading-the-generator.md.
"""

import argparse
import difflib
import importlib
import inspect
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, nodes

NAME = "openapi_python_client"
VERSION = metadata.version(NAME)
HERE = Path(__file__).resolve().parent
PACKAGE = Path(str(find_spec(NAME).origin)).parent  # type: ignore[union-attr]
TEMPLATES = HERE / "templates"
RECORDED = TEMPLATES / "upstream"
PARSER = Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=False)  # noqa: S701
#: Every name that is used here, with the parameters that are given.
CALLED: Mapping[str, tuple[str, ...]] = {
    "Project": ("openapi", "config", "custom_template_path"),
    "Project.build": (),
    "config.Config.from_sources": (
        "config_file", "meta_type", "document_source", "file_encoding", "overwrite", "output_path",
    ),
    "config.ConfigFile.load_from_path": ("path",),
    "parser.GeneratorData.from_dict": ("data", "config"),
    "strings.PythonIdentifier": ("value", "prefix"),
}  # fmt: skip
READ = {
    "config.Config": ("field_prefix",),
    "config.MetaType": ("NONE",),
    "parser.errors.GeneratorError": ("header", "detail"),
}
#: And what our templates use, of an operation, its answers and their properties.
IN_TEMPLATES = {
    "parser.openapi.Endpoint": (
        "name", "method", "path", "summary", "description", "path_parameters", "query_parameters",
        "list_all_parameters", "relative_imports", "responses",
    ),
    "parser.responses.Responses": ("patterns",),
    "parser.responses.JSON_SOURCE": ("attribute",),
    "parser.responses.Response": ("status_code", "prop", "source"),
    "parser.responses.HTTPStatusPattern": ("pattern",),
    "parser.properties.protocol.PropertyProtocol": (
        "name", "python_name", "required", "template", "to_string", "to_docstring",
        "get_type_string",
    ),
    "parser.properties.ModelProperty": ("lazy_imports",),
    "schema.untrusted_string.UntrustedString": ("get_untrusted_value",),
    "strings.PythonCode": ("as_unembedded_code",),
}  # fmt: skip
#: What our templates have from elsewhere: the spec, and a line of Python.
NOT_UPSTREAMS = {"document", "raw", "schema", "schemas", "import"}
FILTERS = ("as_unembedded_code", "in_double_quote_literal", "safe_for_docstring")


def of_upstream(path: str) -> Any:  # noqa: ANN401 - a class or a function
    """Return what a dotted path below the package leads to, or None."""
    parts = [NAME, *path.split(".")]
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found
    return None


def missing() -> Iterator[str]:
    """Yield a line for each name of openapi-python-client that is used here and not there."""
    for path, parameters in CALLED.items():
        if (found := of_upstream(path)) is None:
            yield f"{NAME}.{path}: there is no such name{elsewhere(path)}"
            continue
        known = inspect.signature(found).parameters
        for each in parameters:
            if each not in known:
                yield f"{NAME}.{path}: has no parameter {each}"
    for path, attributes in {**READ, **IN_TEMPLATES}.items():
        if (found := of_upstream(path)) is None:
            yield f"{NAME}.{path}: there is no such name{elsewhere(path)}"
            continue
        bases = inspect.getmro(found) if inspect.isclass(found) else ()
        known = {name for each in bases for name in (*vars(each), *inspect.get_annotations(each))}
        known |= set(found) if isinstance(found, Mapping) else set()
        yield from (f"{NAME}.{path}: has no {each}" for each in attributes if each not in known)
    filters = of_upstream("TEMPLATE_FILTERS") or {}
    yield from (f"{NAME}: has no filter {each}" for each in FILTERS if each not in filters)
    project = of_upstream("Project")
    if project and "env" not in project.__init__.__code__.co_names:
        yield f"{NAME}.Project: sets no env"


def elsewhere(path: str) -> str:
    """Return where else in the package the last part of a dotted path is defined."""
    definition = re.compile(rf"^(?:class|def) {path.rpartition('.')[2]}\b", re.MULTILINE)
    files = [f for f in sorted(PACKAGE.rglob("*.py")) if definition.search(f.read_text("utf-8"))]
    names = [f.relative_to(PACKAGE).as_posix() for f in files]
    return f"; defined in {', '.join(names)}" if names else ""


def ours() -> dict[str, nodes.Template]:
    """Return our own templates, parsed, by their path in the folder."""
    return {
        name: PARSER.parse(text)
        for name, text in texts_in(TEMPLATES).items()
        if not name.startswith(f"{RECORDED.name}/")
    }


def unlisted() -> Iterator[str]:
    """Yield a line for each attribute that our templates use and that is not listed above."""
    listed = {name for names in IN_TEMPLATES.values() for name in names}
    for template, tree in ours().items():
        for node in tree.find_all(nodes.Getattr):
            root: nodes.Node = node
            while isinstance(root, (nodes.Getattr, nodes.Getitem, nodes.Call)):
                root = root.node
            is_upstreams = not (isinstance(root, nodes.Name) and root.name in NOT_UPSTREAMS)
            if is_upstreams and node.attr not in listed:
                yield f"{template}: uses {node.attr}, which openapi/upstream.py does not list"


def missing_macros() -> Iterator[str]:
    """Yield a line for each macro of upstream's that our templates import and that is gone."""
    originals = {name: PARSER.parse(text) for name, text in installed().items()}
    for template, tree in ours().items():
        for node in tree.find_all(nodes.FromImport):
            name = upstreams_name(node.template)
            if name not in originals:
                continue
            known = {macro.name for macro in originals[name].find_all(nodes.Macro)}
            names = [each if isinstance(each, str) else each[0] for each in node.names]
            for each in names:
                if each not in known:
                    yield f"{name}: has no macro {each}, which {template} imports"


def gone_names() -> list[str]:
    """Return a line for each name that must be seen to before anything is generated."""
    return [*missing(), *missing_macros(), *unlisted()]


def upstreams_name(named: nodes.Expr) -> str:
    """Return the name at upstream's of a template that one of ours names."""
    name = named.value if isinstance(named, nodes.Const) else ""
    return str(name).removeprefix(f"{RECORDED.name}/")


def installed() -> dict[str, str]:
    """Return upstream's templates, as they are installed, by name."""
    return texts_in(PACKAGE / "templates")


def texts_in(folder: Path) -> dict[str, str]:
    """Return the templates below a folder, by name."""
    files = folder.rglob("*.jinja")
    return {file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in files}


def changed_templates() -> dict[str, tuple[str, str]]:
    """Return what each template that has changed is to us, and its diff, by name.

    First those that one of ours replaces, then those that ours read, then the others.
    """
    found: dict[str, tuple[int, str, str]] = {}
    originals, recorded, mine = installed(), texts_in(RECORDED), ours()
    readers: dict[str, list[str]] = {}
    for template, tree in mine.items():
        for kind in (nodes.FromImport, nodes.Import, nodes.Include, nodes.Extends):
            for node in tree.find_all(kind):
                readers.setdefault(upstreams_name(node.template), []).append(template)
    for name in originals.keys() | recorded.keys():
        before, after = recorded.get(name, ""), originals.get(name, "")
        if before == after:
            continue
        said = ["ours replaces it"] if name in mine else []
        said += ["read by " + ", ".join(readers[name])] if name in readers else []
        place = 0 if name in mine else 2 - bool(said)
        lines = difflib.unified_diff(
            before.splitlines(),
            after.splitlines(),
            f"openapi/templates/upstream/{name}",
            f"{NAME} {VERSION}",
            lineterm="",
        )
        found[name] = place, "; ".join(said) or "none of ours names it", "\n".join(lines)
    return {name: found[name][1:] for name in sorted(found, key=lambda n: (found[n][0], n))}


def record() -> None:
    """Keep upstream's templates, with their licence, as those that ours are written for."""
    shutil.rmtree(RECORDED)
    shutil.copytree(PACKAGE / "templates", RECORDED)
    for file in metadata.files(NAME) or ():
        if file.match("*.dist-info/**/LICENSE"):
            shutil.copy(file.locate(), RECORDED)


def generate(
    document: dict[str, Any],
    operations: Mapping[str, Any],
    output: Path,
    filters: Mapping[str, Callable[..., Any]],
) -> list[str]:
    """Write the client of a document into the new folder `output`, as the command line does.

    Args:
        document: The parsed spec, which the templates see, too.
        operations: What else they see of each operation, by operationId; they have it by the name
            of the endpoint.
        output: The folder.
        filters: What they may use besides upstream's filters.

    Returns:
        What is wrong.
    """
    if gone := gone_names():
        return gone
    from openapi_python_client import Project
    from openapi_python_client.config import Config, ConfigFile, MetaType
    from openapi_python_client.parser import GeneratorData
    from openapi_python_client.parser.errors import GeneratorError
    from openapi_python_client.strings import PythonIdentifier

    config = Config.from_sources(
        config_file=ConfigFile.load_from_path(path=HERE / "generator.yaml"),
        meta_type=MetaType.NONE,
        document_source=Path(),
        file_encoding="utf-8",
        overwrite=False,
        output_path=output,
    )
    data = GeneratorData.from_dict(data=document, config=config)
    if isinstance(data, GeneratorError):
        return [f"{data.header}: {data.detail}"]
    project = Project(openapi=data, config=config, custom_template_path=TEMPLATES)
    project.env.filters.update(filters)
    project.env.globals.update(
        document=document,
        operations={
            PythonIdentifier(value=name, prefix=config.field_prefix): raw
            for name, raw in operations.items()
        },
    )
    return [f"{error.header}: {error.detail}" for error in project.build()]


def main() -> int:
    """Say what has changed at openapi-python-client; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="keep its templates as they are now")
    if parser.parse_args().record:
        record()
    names = gone_names()
    templates = changed_templates()
    found = [f"Names: {len(names)}", *(f"  {each}" for each in names)] if names else []
    if templates:
        found.append(f"Templates that changed: {len(templates)}")
        found += [f"  {name}: {role}" for name, (role, _) in templates.items()]
        found += [f"\n{diff}" for _, diff in templates.values()]
    if found:
        found.insert(0, f"{NAME} {VERSION} is not the one that openapi/ was written for.")
        print("\n".join(found), file=sys.stderr)
        print("\nWhat to do: docs/upgrading-the-generator.md.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
