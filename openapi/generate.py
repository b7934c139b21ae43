"""Write the generated client: `make generate` and `make drift` call this.

It runs openapi-python-client (upstream.py) as its command line does, with four additions: a spec
that breaks a rule of the house (rules.py) is refused before; the templates also see each
operation's raw description (`operations`), which the generator's own model leaves out; every file
is stamped on its first line; and any warning is a failure.
"""

import argparse
import difflib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import upstream
from ruamel.yaml import YAML, YAMLError
from rules import METHODS, SUCCESSES, house_violations, resolved

HERE = Path(__file__).resolve().parent
SPEC = HERE / "bitopro.yaml"
OUTPUT = HERE.parent / "generated" / "bitopro_client"
STAMP = (
    f"# Generated from openapi/{SPEC.name} by `make generate` "
    f"(openapi-python-client {upstream.VERSION}). Do not edit.\n"
)


def python_literal(value: object) -> str:
    """Return the Python source of a plain value of the spec, lists as tuples."""
    return repr(tuple(value) if isinstance(value, list) else value)


def body_rule(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a body's schema demands, without references and descriptions."""
    rule = {k: v for k, v in resolved(document, schema).items() if k != "description"}
    for key in rule.keys() & {"items", "propertyNames", "additionalProperties"}:
        if isinstance(rule[key], dict):
            rule[key] = body_rule(document, rule[key])
    if "properties" in rule:
        rule["properties"] = {
            name: body_rule(document, each) for name, each in rule["properties"].items()
        }
    return rule


def answer_shape(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return where an answer's schema promises objects, lists and, in these, texts."""
    node = resolved(document, schema)
    shape = {"type": node.get("type")}
    properties = {
        name: answer_shape(document, each)
        for name, each in node.get("properties", {}).items()
        if resolved(document, each).get("type") in ("object", "array")
    }
    if properties:
        shape["properties"] = properties
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            shape[key] = answer_shape(document, node[key])
    return shape


def raw_operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every operation by operationId, with its method, path, parameters and body."""
    operations = {}
    for path, item in document["paths"].items():
        for method in item.keys() & METHODS:
            raw = item[method]
            parameters = [resolved(document, p) for p in raw.get("parameters", [])]
            body = raw.get("requestBody", {}).get("content", {}).get("application/json")
            success = next(v for k, v in raw["responses"].items() if k in SUCCESSES)
            answer = resolved(document, success)["content"]["application/json"]["schema"]
            shape = answer_shape(document, answer)
            operations[raw["operationId"]] = {
                **raw,
                "method": method.upper(),
                "path": path,
                "schemas": {p["name"]: resolved(document, p["schema"]) for p in parameters},
                "body": body_rule(document, body["schema"]) if body else None,
                # An answer without any of these is read by its model alone.
                "shape": shape if len(shape) > 1 else None,
            }
    return operations


def describe_parameters(document: dict[str, Any]) -> None:
    """Copy each parameter's description to its schema, the only place the generator reads it."""
    inline = [
        parameter
        for item in document["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
    ]
    for parameter in inline + list(document["components"].get("parameters", {}).values()):
        if "schema" in parameter:
            parameter["schema"]["description"] = parameter["description"]


def build(spec: Path, output: Path) -> list[str]:
    """Generate the client of `spec` into the new folder `output`; return what is wrong."""
    reader = YAML(typ="safe")
    # As the change report and `make lint` read it: 0700 is one number in 1.1, another one in 1.2.
    reader.version = (1, 1)
    try:
        document = reader.load(spec)
    except YAMLError as error:
        return [f"{spec.name}: {error}"]
    if broken := list(house_violations(document)):
        return broken
    describe_parameters(document)
    filters = {"python_literal": python_literal}
    if errors := upstream.generate(document, raw_operations(document), output, filters):
        return errors
    (output / "py.typed").touch()
    for file in output.rglob("*"):
        if file.is_file():
            file.write_text(STAMP + file.read_text("utf-8"), "utf-8")
    return []


def read_tree(folder: Path) -> dict[str, str]:
    """Return the text of every file below `folder`, by its path inside it."""
    return {
        file.relative_to(folder).as_posix(): file.read_text("utf-8")
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def differences(committed: dict[str, str], fresh: dict[str, str]) -> list[str]:
    """Say how two trees differ: a line per missing or unknown file, a diff per edited one."""
    report = []
    for name in sorted(committed.keys() | fresh.keys()):
        if name not in fresh:
            report.append(f"{name}: no such file is generated")
        elif name not in committed:
            report.append(f"{name}: missing")
        elif committed[name] != fresh[name]:
            lines = difflib.unified_diff(
                committed[name].splitlines(),
                fresh[name].splitlines(),
                name,
                "generated",
                n=1,
                lineterm="",
            )
            report.append(f"{name}: edited\n" + "\n".join(lines))
    return report


def main() -> int:
    """Generate, or with `--check` compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--spec", type=Path, default=SPEC)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    # The hooks run the ruff of the generator's environment, not whatever is first on the path.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "bitopro_client"
        if errors := build(arguments.spec, fresh):
            print("\n".join(errors), file=sys.stderr)
            return 1
        if arguments.check:
            report = differences(read_tree(arguments.output), read_tree(fresh))
            if report:
                print("\n".join(report), file=sys.stderr)
                print("The client is not what the spec gives. Run: make generate", file=sys.stderr)
            return 1 if report else 0
        shutil.rmtree(arguments.output, ignore_errors=True)
        shutil.copytree(fresh, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
