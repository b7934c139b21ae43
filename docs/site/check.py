"""Opens the site in Chromium, as a reader does: `python docs/site/check.py [--shots FOLDER]`.

Every page is opened from a server and from the folder, narrow and wide. Every internal link leads
somewhere, every text that names a page of `docs/` is a link to it, nothing is loaded from
elsewhere, nothing is an error on the console, nothing is wider than the screen, no table scrolls
sideways on a narrow one, the search finds `cancel_order`, and its reference shows what it takes.
"""

import argparse
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

SITE = Path(__file__).resolve().parents[2] / "build" / "site"
# The server's own page for what is not there: from a folder nobody comes to it.
PAGES = sorted(f"{page.relative_to(SITE)}" for page in SITE.rglob("*.html") if page.stem != "404")
OURS = ("http://127.0.0.1", "file:")
WIDTHS = {"narrow": 375, "wide": 1440}
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]
SEEN = """() => ({
    ids: Array.from(document.querySelectorAll("[id]"), each => each.id),
    links: Array.from(document.querySelectorAll("a[href]"), each => each.href),
    wide: document.documentElement.scrollWidth - innerWidth,
    scrolled: Array.from(document.querySelectorAll("article table, .md-typeset__scrollwrap"))
        .filter(each => each.scrollWidth > each.clientWidth)
        .map(each => each.textContent.trim().slice(0, 40)),
    texts: Array.from(document.querySelectorAll("article *"))
        .filter(each => !each.closest("script, style, pre, :not(a) > code"))
        .flatMap(each => Array.from(each.childNodes, part => [part, each.closest("a")]))
        .filter(([part]) => part.nodeType == Node.TEXT_NODE)
        .map(([part, link]) => [part.data, link ? link.href : ""]),
})"""
#: A page as the checkout has it; whoever names one links it.
NAMED = re.compile(r"(?<![\w./-])docs/([\w-]+)\.md")
OPERATION = "bitopro_client.api.orders.cancel_order"


class Reader:
    """Somebody who reads the site at one address and writes down what is wrong."""

    def __init__(self, browser: Browser, address: str, shots: Path | None) -> None:
        self.problems: list[str] = []
        self.links: set[str] = set()
        self._browser = browser
        self._address = address
        self._shots = shots
        self._targets: set[str] = set()

    def read(self) -> None:
        """Open every page at every width, follow the links, and search."""
        for name, width in WIDTHS.items():
            with self._window(width) as context:
                page = context.new_page()
                for path in PAGES:
                    self._open(page, path, name)
        for link in sorted(self.links - self._targets):
            target, anchor = urldefrag(link)
            if anchor or not (SITE / self._path(target)).is_file():
                self.problems.append(f"a link leads nowhere: {link}")
        for width in WIDTHS.values():
            with self._window(width) as context:
                self._search(context.new_page())
        with self._window(WIDTHS["wide"], scripts=False) as context:
            page = context.new_page()
            page.goto(f"{self._address}reference/http.html#cancelOrder")
            expect(page.get_by_text("DELETE /orders/{pair}/{orderId}").last).to_be_visible()

    @contextmanager
    def _window(self, width: int, *, scripts: bool = True) -> Iterator[BrowserContext]:
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        context.set_default_timeout(60_000)
        context.on("console", lambda said: self._note(said.page, f"{said.type}: {said.text}"))
        context.on("weberror", lambda wrong: self._note(wrong.page, f"{wrong.error}"))
        context.on("request", lambda sent: self._requested(sent.url))
        context.on("requestfailed", lambda sent: self._failed(sent.url, f"{sent.failure}"))
        context.on("response", lambda answer: self._answered(answer.url, answer.status))
        yield context
        context.close()

    def _note(self, page: Page | None, problem: str) -> None:
        self.problems.append(f"{page.url}: {problem}" if page else problem)

    def _requested(self, url: str) -> None:
        if not url.startswith((self._address, "data:", "blob:", "about:")):
            self._note(None, f"something is loaded from elsewhere: {url}")

    def _failed(self, url: str, why: str) -> None:
        # Aborted is what a page that is left still loaded.
        if why != "net::ERR_ABORTED":
            self._note(None, f"{url}: {why}")

    def _answered(self, url: str, status: int) -> None:
        if status >= HTTPStatus.BAD_REQUEST:
            self._note(None, f"{url}: {status}")

    def _path(self, url: str) -> str:
        return unquote(urlsplit(url).path.removeprefix(urlsplit(self._address).path))

    def _open(self, page: Page, path: str, name: str) -> None:
        url = self._address + path
        page.goto(url)
        expect(page.locator("article h1").first).to_be_visible()
        seen = page.evaluate(SEEN)
        if seen["wide"] > 0:
            self._note(page, f"{seen['wide']} pixels too wide for a {name} screen")
        for text in seen["scrolled"] if name == "narrow" else ():
            self._note(page, f"a table is wider than a {name} screen: {text}")
        for text, link in seen["texts"]:
            for named in NAMED.findall(text):
                if self._path(link) != f"{named}.html":
                    self._note(page, f"docs/{named}.md leads to {link or 'nothing'}: {text}")
        self._targets |= {url, *(f"{url}#{each}" for each in seen["ids"])}
        self.links |= {unquote(each) for each in seen["links"] if each.startswith(OURS)}
        if self._shots:
            page.screenshot(
                path=self._shots / f"{path.replace('/', '-')}-{name}.png", full_page=True
            )

    def _search(self, page: Page) -> None:
        page.goto(self._address + "index.html")
        page.keyboard.press("/")
        # What is typed before the index is there is lost.
        expect(page.locator(".md-search-result__meta")).to_have_text("Type to start searching")
        page.keyboard.type("cancel_order")
        page.locator(f".md-search-result a[href$='#{OPERATION}']").dispatch_event("click")
        page.wait_for_url(f"**/reference/bitopro_client.html*#{OPERATION}")
        shown = page.locator(f"[id='{OPERATION}.sync'] ~ div.doc-contents").first
        for word in ("pair", "order_id", "is_all_strategy_canceled", "CancelledOrder"):
            expect(shown.get_by_text(word, exact=True).first).to_be_visible()


@contextmanager
def served() -> Iterator[str]:
    """Serve the site on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=f"{SITE}")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def main() -> int:
    """Read the site both ways, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--shots", type=Path, help="a folder for a picture of every page")
    options = parser.parse_args()
    problems = []
    with served() as address, sync_playwright() as playwright:
        # A busy machine may take its time: what is asserted must come, however late.
        expect.set_options(timeout=60_000)
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        for place in (address, f"{SITE.as_uri()}/"):
            reader = Reader(browser, place, options.shots)
            reader.read()
            problems += reader.problems
            print(f"{place}: {len(PAGES)} pages, {len(reader.links)} internal links")
        browser.close()
    print(*sorted(set(problems)), f"{len(PAGES)} passed" if not problems else "", sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
