"""The generated folder is the generator's alone, and the drift check sees any other hand."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support import ROOT

CLIENT = ROOT / "generated" / "bitopro_client"
GENERATOR = ROOT / ".venv-generator" / "bin" / "python"

needs_generator = pytest.mark.skipif(
    not GENERATOR.exists(), reason="the generator's environment is missing: run `make drift`"
)


def drift(folder: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        GENERATOR,
        ROOT / "openapi" / "generate.py",
        "--check",
        "--output",
        folder,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(CLIENT, tmp_path / "bitopro_client", ignore=ignore))


@needs_generator
def test_what_is_committed_is_what_the_spec_gives(checkout: Path) -> None:
    result = drift(checkout)
    assert (result.returncode, result.stderr) == (0, "")


EDITS: dict[str, Callable[[Path], object]] = {
    "api/orders/cancel_order.py": lambda file: file.write_text(file.read_text() + "# mine\n"),
    "client.py": lambda file: file.write_text(file.read_text().replace("10.0", "99.0")),
    "models/extra.py": lambda file: file.write_text("x = 1\n"),
    "types.py": Path.unlink,
    "py.typed": Path.unlink,
}


@needs_generator
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_an_extra_and_a_missing_file_are_seen(checkout: Path, name: str) -> None:
    EDITS[name](checkout / name)
    result = drift(checkout)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{name}: ")
    assert result.stderr.rstrip().endswith("Run: make generate")


#: What makes of the spec one that must not be generated, and the line that says so.
REFUSED = {
    ("requests: 900", "requests: 0"): (
        "DELETE /orders/{pair}/{orderId}: x-rate-limit: requests must be a whole number from 1 to "
        "1000000"
    ),
    # YAML 1.1, as the change report reads it: 1.2 has a text here.
    ("summary: Cancel one order.", "summary: no"): (
        "DELETE /orders/{pair}/{orderId}: summary must be text"
    ),
    ('"200":', '"204":'): "GET /orders/open: must have one success, of 200, 201, 202",
    ("pattern: ^([A-Z]{1,10}-)?[0-9]{1,20}$", "format: date-time"): (
        "GET /orders/{pair}/{orderId}: parameter orderId: format must be decimal"
    ),
    ('$ref: "#/components/parameters/pair"', '$ref: "#/x/pair"'): (
        "the document: paths: /orders/{pair}: delete: parameters[0]: #/x/pair must lead to a "
        "component of this document"
    ),
    ("info:", "info: {}\ninfo:"): "bitopro.yaml: while constructing a mapping",
}


@needs_generator
@pytest.mark.parametrize("edit", REFUSED)
def test_what_must_not_be_generated_is_refused_in_a_line(
    tmp_path: Path, edit: tuple[str, str]
) -> None:
    spec, output = tmp_path / "bitopro.yaml", tmp_path / "client"
    text = (ROOT / "openapi" / "bitopro.yaml").read_text("utf-8")
    assert edit[0] in text
    spec.write_text(text.replace(*edit))
    command: list[str | Path] = [GENERATOR, ROOT / "openapi" / "generate.py"]
    command += ["--spec", spec, "--output", output]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert REFUSED[edit] in result.stderr.splitlines()
    assert "Traceback" not in result.stderr
    assert not output.exists()


def upstream(folder: Path, *lines: str, options: Sequence[str] = ()) -> list[str]:
    """Return what a copy of openapi/upstream.py says, after these lines of Python."""
    arguments = [f"{folder}/upstream.py", *options]
    script = "\n".join(["import runpy, sys", *lines, f"sys.argv = {arguments}"])
    script += "\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    run = subprocess.run([GENERATOR, "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stderr
    assert run.returncode == (1 if run.stderr else 0)
    return run.stderr.splitlines()


@needs_generator
def test_what_we_use_of_the_generator_is_there_as_it_was() -> None:
    assert upstream(ROOT / "openapi") == []


@pytest.fixture
def openapi(tmp_path: Path) -> Path:
    """Return a copy of openapi/ to edit."""
    return Path(shutil.copytree(ROOT / "openapi", tmp_path / "openapi"))


@needs_generator
def test_every_template_that_changed_upstream_is_named_with_its_diff(openapi: Path) -> None:
    recorded = openapi / "templates" / "upstream"
    (recorded / "types.py.jinja").write_text("what it was\n")
    (recorded / "client.py.jinja").unlink()
    (recorded / "gone.py.jinja").write_text("gone\n")
    # Its macros are used, though no template of ours stands for it.
    text = (recorded / "endpoint_macros.py.jinja").read_text()
    (recorded / "endpoint_macros.py.jinja").write_text(text.replace("client=client", "c=client"))
    # And what upstream's own templates read writes the client, too.
    (recorded / "property_templates" / "list_property.py.jinja").write_text("a list\n")
    said = upstream(openapi)
    assert said[1:7] == [
        "Templates that changed: 5",
        "  client.py.jinja: ours replaces it; read by client.py.jinja",
        "  types.py.jinja: ours replaces it",
        "  endpoint_macros.py.jinja: read by endpoint_module.py.jinja, own/endpoint.jinja",
        "  gone.py.jinja: none of ours names it",
        "  property_templates/list_property.py.jinja: none of ours names it",
    ]
    diffs = [line for line in said if line.startswith("--- openapi/templates/upstream/")]
    assert len(diffs) == 5
    assert {"+class Client:", "-c=client,", "+client=client,", "-gone", "-what it was"} <= {*said}
    assert "-a list" in said
    assert upstream(openapi, options=["--record"]) == []
    assert upstream(openapi) == []
    assert (recorded / "LICENSE").read_text().startswith("MIT License")


@needs_generator
def test_what_a_template_of_ours_uses_must_be_there_and_listed(openapi: Path) -> None:
    (openapi / "templates" / "own" / "more.jinja").write_text(
        '{% from "property_templates/helpers.jinja" import guarded_statement, gone as here %}\n'
        '{% from "upstream/client.py.jinja" import builder %}\n'
        "{{ guarded_statement(endpoint.name, raw.anything, endpoint.path.anchor) }}\n"
    )
    assert upstream(openapi)[1:5] == [
        "Names: 3",
        "  property_templates/helpers.jinja: has no macro gone, which own/more.jinja imports",
        "  client.py.jinja: has no macro builder, which own/more.jinja imports",
        "  own/more.jinja: uses anchor, which openapi/upstream.py does not list",
    ]


@needs_generator
def test_every_name_of_the_generator_that_is_gone_is_named() -> None:
    said = upstream(
        ROOT / "openapi",
        "import openapi_python_client as o, openapi_python_client.parser.openapi as p",
        "import openapi_python_client.parser.errors as e",
        "o.config.Config.from_sources = staticmethod(lambda config_file, meta_type, source: 1)",
        "del o.Project.build, e.GeneratorError.header, p.Endpoint.list_all_parameters",
        "del p.Endpoint.__annotations__['path'], e.GeneratorError.__annotations__['header']",
        "del o.TEMPLATE_FILTERS['safe_for_docstring'], o.strings",
        "sys.modules['openapi_python_client.strings'] = None",
        "del sys.modules['openapi_python_client.parser.responses'].JSON_SOURCE['attribute']",
    )
    assert said[1] == "Names: 12"
    assert said[2:14] == [
        f"  openapi_python_client{rest}"
        for rest in (
            ".Project.build: there is no such name",
            ".config.Config.from_sources: has no parameter document_source",
            ".config.Config.from_sources: has no parameter file_encoding",
            ".config.Config.from_sources: has no parameter overwrite",
            ".config.Config.from_sources: has no parameter output_path",
            # Where a name of this kind is defined now is found in the package.
            ".strings.PythonIdentifier: there is no such name; defined in strings.py",
            ".parser.errors.GeneratorError: has no header",
            ".parser.openapi.Endpoint: has no path",
            ".parser.openapi.Endpoint: has no list_all_parameters",
            ".parser.responses.JSON_SOURCE: has no attribute",
            ".strings.PythonCode: there is no such name; defined in strings.py",
            ": has no filter safe_for_docstring",
        )
    ]


def test_every_file_says_who_wrote_it() -> None:
    files = [f for f in CLIENT.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    assert len(files) > 8
    for file in files:
        first = file.read_text("utf-8").splitlines()[0]
        assert first.startswith("# Generated from openapi/bitopro.yaml by `make generate`"), file


def test_the_folder_says_where_to_fix_things() -> None:
    text = (ROOT / "generated" / "README.md").read_text()
    assert len(text.splitlines()) == 3
    assert "make generate" in text


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["NAMES=generator"], "generator"),
        ([], "dev examples generator benchmarks referees release docs"),
    ],
)
def test_the_generator_is_locked_alone_or_all_are(given: list[str], names: str) -> None:
    command = ["make", "-n", "lock", *given]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert f"for name in {names}; do" in run.stdout
    files = {file.stem for file in (ROOT / "requirements").glob("*.in")}
    assert set(names.split()) <= files
    assert given or set(names.split()) == files


def test_the_type_checker_forgets_what_was_renamed_and_renamed_back(tmp_path: Path) -> None:
    """Its cache keeps that a module is missing, also when it is there again."""
    (tmp_path / ".venv").mkdir()
    for name in ("requirements/dev.txt", "pyproject.toml", "Makefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "ready").touch()
    (tmp_path / "generated").mkdir()
    module = tmp_path / "generated" / "get_order.py"
    module.touch()

    def cache() -> str:
        command = ["make", "-n", "types"]
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        words = run.stdout.split()
        return words[words.index("--cache-dir") + 1]

    before = cache()
    renamed = module.rename(module.with_name("read_order.py"))
    assert cache() != before
    renamed.rename(module)
    assert cache() == before
