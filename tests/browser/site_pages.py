"""The built site as a phone and a projector show it: no request leaves it, no script fails, search finds, axe is clean.

`make site` builds it first.
"""

import functools
import http.server
import threading

import pytest

from ssah_core.records import paths

from .conftest import SHOTS

SITE = paths.root() / "site" / "_build" / "html"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
WIDTHS = {"phone": 390, "projector": 1920}
IMPACTS = ("serious", "critical")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *told) -> None:
        pass


@pytest.fixture(scope="session")
def address():
    """The address of the site, served from here."""
    assert PAGES, "the site is not built: make site"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(params=WIDTHS)
def page(request, browser, address):
    """A page of one width; `told` are errors of its console and scripts, `left` what it asked others for."""
    opened = browser.new_page(viewport={"width": WIDTHS[request.param], "height": 1000})
    opened.told, opened.left, opened.kind = [], [], request.param
    opened.on("console", lambda line: line.type == "error" and opened.told.append(line.text))
    opened.on("pageerror", lambda error: opened.told.append(str(error)))
    opened.on("request", lambda asked: asked.url.startswith((address, "data:")) or opened.left.append(asked.url))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_fails_nowhere_and_asks_nobody(name, page, address):
    page.goto(f"{address}/{name}", wait_until="load")
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 1, f"{name} is {wide} pixels too wide on a {page.kind}"
    broken = page.evaluate("() => [...document.images].filter(image => image.complete && !image.naturalWidth)"
                           ".map(image => image.src.slice(0, 80))")
    assert broken == [] and page.told == [] and page.left == []
    if name.count("/") < 2:
        page.screenshot(path=SHOTS / f"site-{page.kind}-{name.replace('/', '-').removesuffix('.html')}.png")


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_serious_fault(name, browser, address):
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": WIDTHS["projector"], "height": 1000})
    page.goto(f"{address}/{name}", wait_until="load")
    found = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in IMPACTS]
    page.close()
    assert not found, "; ".join(f"{fault['id']}: {fault['nodes'][0]['html'][:200]}" for fault in found)


def test_search_finds(page, address):
    page.goto(f"{address}/search.html?q=freeze", wait_until="load")
    page.wait_for_selector("#search-results li a", timeout=30_000)
    found = page.locator("#search-results li a")
    assert any("05_freeze" in (link.get_attribute("href") or "") for link in found.all())
    assert page.told == [] and page.left == []
