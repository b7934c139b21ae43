"""Writes what the site is made of: `python docs/site/pages.py FOLDER`.

The front page is the README, the page of the examples shows the programs, too, the HTTP reference
comes from the YAML, and the Python reference has a page for each package, filled by mkdocstrings.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SPECS = ("openapi/bitopro.yaml", "openapi/streams.yaml")
PACKAGES = ("bitopro_orders", "bitopro_client", "bitopro_auth", "bitopro_sandbox")


def main(folder: Path) -> None:
    """Write every page into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "site"))
    shutil.copytree(ROOT / "docs" / "site" / "assets", folder / "assets")
    for name in SPECS:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for page in folder.glob("*.md"):
        page.write_text(page.read_text("utf-8").replace("](../", "]("), "utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    (folder / "index.md").write_text(readme.replace("](docs/", "]("), "utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    (folder / "changelog.md").write_text(changelog.replace("](docs/", "]("), "utf-8")
    (folder / "examples").mkdir()
    (folder / "examples" / "README.md").write_text("\n".join(examples()), "utf-8")
    reference = folder / "reference"
    reference.mkdir()
    spec = yaml.safe_load((ROOT / SPECS[0]).read_text("utf-8"))
    streams = yaml.safe_load((ROOT / SPECS[1]).read_text("utf-8"))
    (reference / "http.md").write_text("\n".join(http_reference(spec, streams)), "utf-8")
    for package in PACKAGES:
        (reference / f"{package}.md").write_text("\n".join(python_reference(package)), "utf-8")


def examples() -> Iterator[str]:
    """Yield the page of the examples, with the programs that it links to."""
    page = (ROOT / "examples" / "README.md").read_text("utf-8")
    yield re.sub(r"\]\((\w+)\.py\)", r"](#\1)", page)
    for name in dict.fromkeys(re.findall(r"\]\((\w+)\.py\)", page)):
        program = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
        yield from (f"## {name}.py {{: #{name} }}", "", "````python", program + "````", "")


def python_reference(package: str) -> Iterator[str]:
    """Yield what mkdocstrings makes the reference of: the names of `openapi/surface`, by module."""
    surface = (ROOT / "openapi" / "surface" / f"{package}.txt").read_text("utf-8")
    parts = re.split(r"^# module (.*)\n", surface, flags=re.MULTILINE)[1:]
    for module, text in zip(parts[::2], parts[1::2], strict=True):
        if module.endswith(".*"):
            yield from ("## Types that these name", "", "```python", text.strip(), "```", "")
            continue
        names = re.findall(
            r"^(?:class |def |async def )?([A-Za-z_]\w*)(?=[:( ])", text, re.MULTILINE
        )
        yield from (f"::: {module}", "    options:")
        yield f"      heading_level: {1 if module == package else 2}"
        yield from (f"      members: [{', '.join(sorted(names, key=rank))}]", "")


def rank(name: str) -> tuple[bool, bool, str]:
    """Return where a name stands: what is called every day comes first."""
    return name not in ("sync", "sync_detailed"), name != "asyncio", name


def http_reference(spec: dict[str, Any], streams: dict[str, Any]) -> Iterator[str]:
    """Yield the HTTP reference, line by line."""
    info = spec["info"]
    yield from ("# The exchange's HTTP interface", "", info["summary"], "", info["description"], "")
    yield "This page is made from [bitopro.yaml](../openapi/bitopro.yaml), which is for machines."
    yield from (f"[{spec['externalDocs']['description']}]({spec['externalDocs']['url']}).", "")
    for server in spec["servers"]:
        yield from ("", f"`{server['url']}`: {server['description']}")
    yield from ("", "## Signing", "", "Every request carries three headers.", "")
    yield from table(
        ("header", "content"),
        (
            (f"`{scheme['name']}`", scheme["description"])
            for scheme in spec["components"]["securitySchemes"].values()
        ),
    )
    yield from ("", "## Operations")
    for path, item in spec["paths"].items():
        for method, operation in item.items():
            yield from one_operation(spec, f"{method.upper()} {path}", operation)
    yield from ("", "## Errors", "")
    yield "The body of each of these answers is an [Error](#error)."
    yield ""
    yield from table(
        ("answer", "means"),
        (
            (f"<a id='{anchor(name)}'></a>{words(name)}", response["description"])
            for name, response in spec["components"]["responses"].items()
        ),
    )
    yield from ("", "## Schemas")
    for name, schema in spec["components"]["schemas"].items():
        yield from one_schema(name, schema)
    yield from ("", "## Streams", "", streams["info"]["description"], "")
    yield "From [streams.yaml](../openapi/streams.yaml). In Python: [streams](../streams.md)."
    yield ""
    for server in streams["servers"].values():
        yield (
            f"`{server['protocol']}://{server['host']}{server['pathname']}`: "
            + server["description"]
        )
    yield ""
    yield from table(
        ("channel", "content"),
        ((f"`{each['address']}`", each["description"]) for each in streams["channels"].values()),
    )
    yield from ("", "Each message is an [OrdersMessage](#ordersmessage).", "")


def one_operation(spec: dict[str, Any], title: str, operation: dict[str, Any]) -> Iterator[str]:
    """Yield the section of one operation."""
    python = re.sub(r"(?<!^)(?=[A-Z])", "_", operation["operationId"]).lower()
    tag = operation["tags"][0]
    limit = operation["x-rate-limit"]
    yield from ("", f"### `{title}` {{: #{operation['operationId']} }}", "")
    yield f"**{operation['summary']}**"
    if operation.get("deprecated"):
        yield from ("", "Deprecated.")
    yield from ("", operation["description"], "")
    yield f"In Python: [`{python}`][bitopro_client.api.{tag}.{python}]."
    yield f"Rate limit `{limit['group']}`: {limit['requests']} requests in"
    yield f"{limit['period-seconds']} s, per"
    yield " and per ".join({"ip": "IP address"}.get(each, each) for each in limit["per"]) + "."
    if parameters := [resolved(spec, each) for each in operation.get("parameters", ())]:
        yield ""
        yield from table(
            ("parameter", "in", "type", "meaning"),
            (
                (
                    f"`{each['name']}`",
                    each["in"],
                    ("" if each["required"] else "optional; ") + shape(each["schema"]),
                    each["description"],
                )
                for each in parameters
            ),
        )
    if body := operation.get("requestBody"):
        yield from ("", "The body is " + content(body["content"]), "")
        yield from example(body["content"])
    yield from ("", repeats(operation), "")
    others = []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            name = response["$ref"].rpartition("/")[2]
            others.append(f"[{status} {words(name)}](#{anchor(name)})")
        else:
            yield f"**{status}**: {response['description']} The body is "
            yield content(response["content"])
            yield ""
            yield from example(response["content"])
    yield from ("Other answers: " + ", ".join(others) + ".",)


def repeats(operation: Mapping[str, Any]) -> str:
    """Return in words how the answer repeats what was asked for."""
    if why := operation.get("x-answer-repeats-nothing"):
        return f"The answer does not repeat the request. {why}"
    rules = (
        f"{place_in_words(place)} must be "
        + ("in the body that was sent" if name == "body" else f"the `{name}` that was requested")
        for name, place in operation["x-answer-repeats"].items()
    )
    return f"In the answer, {', and '.join(rules)}."


def place_in_words(place: str) -> str:
    """Return in words where in an answer something is, such as `data[].pair`."""
    part, _, rest = place.partition("[].")
    if rest:
        return f"`{rest}` of every item of `{part}`"
    if place.endswith("{}[]"):
        return f"every item under every key of `{place.removesuffix('{}[]')}`"
    if place.endswith("{}"):
        return f"every key of `{place.removesuffix('{}')}`"
    return f"`{place}`"


def content(types: Mapping[str, Any]) -> str:
    """Return what a body is, with a link."""
    return " or ".join(f"`{kind}`: {shape(each['schema'])}." for kind, each in types.items())


def example(types: Mapping[str, Any]) -> Iterator[str]:
    """Yield the examples of a body, as JSON."""
    for each in types.values():
        if "example" in each:
            yield from ("```json", json.dumps(each["example"], indent=2), "```", "")


def one_schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section of one schema."""
    yield from ("", f"### {name} {{: #{anchor(name)} }}", "", schema["description"])
    if keys := schema.get("propertyNames"):
        yield from ("", f"Each key: {shape(keys)}. {keys['description']}")
    if isinstance(values := schema.get("additionalProperties"), dict):
        yield from ("", f"Each value: {shape(values)}.")
    if properties := schema.get("properties"):
        required = schema.get("required", ())
        yield ""
        yield from table(
            ("property", "type", "meaning"),
            (
                (
                    f"`{key}`",
                    ("" if key in required else "optional; ") + shape(each),
                    each.get("description", ""),
                )
                for key, each in properties.items()
            ),
        )


def shape(schema: Mapping[str, Any]) -> str:
    """Return in words what a value is."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = " or ".join(kinds)
    if "array" in kinds:
        text += f" of {shape(schema['items'])}"
    if isinstance(values := schema.get("additionalProperties"), dict) and "object" in kinds:
        text += f" of {shape(values)}"
    if "format" in schema:
        text += f" ({schema['format']})"
    if "pattern" in schema:
        text += f" that matches `{schema['pattern']}`"
    for key, said in (
        ("minimum", "at least {}"),
        ("maximum", "at most {}"),
        ("minItems", "at least {} item(s)"),
        ("maxItems", "at most {} item(s)"),
    ):
        if key in schema:
            text += ", " + said.format(schema[key])
    return text


def resolved(spec: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """Return an item, or what it refers to."""
    if "$ref" not in item:
        return item
    found: dict[str, Any] = spec
    for part in item["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table of Markdown."""
    yield row(head)
    yield row(("---",) * len(head))
    for each in rows:
        yield row(each)


def row(cells: tuple[str, ...]) -> str:
    """Return a row of a table of Markdown."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def words(name: str) -> str:
    """Return a name in camel case as words."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name)


def anchor(name: str) -> str:
    """Return what a name is called in links."""
    return name.lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
