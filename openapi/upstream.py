"""What we use of openapi-python-client, and what has changed there: `make drift` asks it.

No other file imports that package, and no template has a name of it that is not listed here. The
templates that ours stand for or import from are kept in `templates/upstream`, as they were when
ours were last looked at. `--record` keeps them as they are now: docs/upgrading-the-generator.md.
"""

import argparse
import difflib
import importlib
import inspect
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAME = "openapi_python_client"
VERSION = version(NAME)
HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "templates"
RECORDED = TEMPLATES / "upstream"
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
    "parser.responses.Response": ("status_code", "prop", "source"),
    "parser.responses.HTTPStatusPattern": ("pattern",),
    "parser.properties.protocol.PropertyProtocol": (
        "name", "python_name", "required", "template", "to_string", "to_docstring",
        "get_type_string",
    ),
    "schema.untrusted_string.UntrustedString": ("get_untrusted_value",),
    "strings.PythonCode": ("as_unembedded_code",),
}  # fmt: skip
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
            yield f"{NAME}.{path}: there is no such name"
            continue
        known = inspect.signature(found).parameters
        for each in parameters:
            if each not in known:
                yield f"{NAME}.{path}: has no parameter {each}"
    for path, attributes in {**READ, **IN_TEMPLATES}.items():
        if (found := of_upstream(path)) is None:
            yield f"{NAME}.{path}: there is no such name"
            continue
        bases = inspect.getmro(found)
        known = {name for each in bases for name in (*vars(each), *inspect.get_annotations(each))}
        yield from (f"{NAME}.{path}: has no {each}" for each in attributes if each not in known)
    filters = of_upstream("TEMPLATE_FILTERS") or {}
    yield from (f"{NAME}: has no filter {each}" for each in FILTERS if each not in filters)
    project = of_upstream("Project")
    if project and "env" not in project.__init__.__code__.co_names:
        yield f"{NAME}.Project: sets no env"


def used_templates() -> Iterator[str]:
    """Yield the names of upstream's templates that ours stand for or import from."""
    originals = installed()
    for file in sorted(TEMPLATES.rglob("*.jinja")):
        if RECORDED in file.parents:
            continue
        if file.parent == TEMPLATES:
            yield file.name
        named = re.findall(r'{% (?:from|import|include|extends) "(.+?)"', file.read_text("utf-8"))
        yield from (name for name in named if name in originals)


def installed() -> dict[str, str]:
    """Return upstream's templates, as they are installed, by name."""
    spec = find_spec(NAME)
    return texts_in(Path(str(spec.origin)).parent / "templates") if spec else {}


def texts_in(folder: Path) -> dict[str, str]:
    """Return the templates below a folder, by name."""
    files = folder.rglob("*.jinja")
    return {file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in files}


def changed_templates() -> Iterator[str]:
    """Yield each template that is not as it is recorded, with the diff."""
    originals, recorded = installed(), texts_in(RECORDED)
    for name in sorted({*used_templates(), *recorded}):
        before, after = recorded.get(name, ""), originals.get(name, "")
        if before != after:
            lines = difflib.unified_diff(
                before.splitlines(),
                after.splitlines(),
                f"openapi/templates/upstream/{name}",
                f"{NAME} {VERSION}",
                lineterm="",
            )
            yield "\n".join([f"{name}: is not the template that ours was written for", *lines])


def record() -> None:
    """Keep upstream's templates as those that ours are written for."""
    originals = installed()
    shutil.rmtree(RECORDED)
    for name in set(used_templates()):
        (RECORDED / name).parent.mkdir(parents=True, exist_ok=True)
        (RECORDED / name).write_text(originals[name], "utf-8")


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
    if gone := list(missing()):
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
    found = [*missing(), *changed_templates()]
    if found:
        print("\n\n".join(found), file=sys.stderr)
        print("\nSee docs/upgrading-the-generator.md.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
