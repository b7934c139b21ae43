"""What the site does to each page after Markdown; named in mkdocs.yml."""

import re
from itertools import cycle

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

#: Pages and specs that a text names; first what is a link already, code, or within a tag.
NAMED = re.compile(
    r"<(?:a|code|pre)\b.*?</(?:a|code|pre)>|<[^>]*>"
    r"|(?<![\w./-])((?:docs|openapi)/[\w-]+\.(?:md|yaml))\b",
    re.DOTALL,
)
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
#: Tables of so many columns are stacked on a narrow screen.
WIDE = 3


def on_page_content(html: str, *, page: Page, files: Files, **_: object) -> str:
    """Link the pages that the text names, and label the cells of wide tables."""

    def linked(found: re.Match[str]) -> str:
        if (name := found[1]) is None:
            return found[0]
        file = files.get_file_from_path(name.removeprefix("docs/"))
        if file is None:
            raise PluginError(f"{page.file.src_uri} names {name}, which is not on the site")
        return f'<a href="{file.url_relative_to(page.file)}">{name}</a>'

    return TABLE.sub(lambda found: labelled(found[0]), NAMED.sub(linked, html))


def labelled(table: str) -> str:
    """Return a table whose cells have the heads of their columns, for assets/site.css."""
    heads = re.findall(r"<th\b[^>]*>(.*?)</th>", table, re.DOTALL)
    if len(heads) < WIDE:
        return table
    labels = cycle([re.sub(r"<[^>]*>", "", head).replace('"', "&quot;") for head in heads])
    cells = re.sub(r"<td\b", lambda _: f'<td data-label="{next(labels)}"', table)
    return cells.replace("<table>", "<table data-wide>", 1)
