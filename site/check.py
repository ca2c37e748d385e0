"""What a built site must keep to: `python site/check.py site/_build/html`.

Every link and anchor leads somewhere; a page loads nothing from elsewhere, so that it can be read without a network and
tells nobody who reads it; every picture says in words what it shows; and every formula was understood.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = dict.fromkeys(("script", "img", "iframe", "audio", "video", "source", "track", "embed", "input"), "src") | {
    "object": "data", "image": "href", "use": "href"}
"""Element -> the attribute that says what it loads. A `link` loads for some relations only."""
LOADING = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
IN_STYLE = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
IN_SCRIPT = re.compile(r"""(?:import|fetch|importScripts|\.open|\.src\s*=)\s*\(?\s*["'`]((?:https?:)?//[^"'`]+)""")


@dataclass
class Page(HTMLParser):
    """What a page names, links to, loads and leaves unsaid."""

    file: Path
    names: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    math: int = 0
    style: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in given}
        self.names |= {attributes[name] for name in ("id", "name") if name in attributes and tag != "meta"}
        self.links += [attributes["href"]] if tag in ("a", "area") and "href" in attributes else []
        self.loads += [attributes[LOADS[tag]]] if LOADS.get(tag, "") in attributes else []
        self.loads += [part.split()[0] for part in attributes.get("srcset", "").split(",") if part.strip()]
        self.loads += in_style(attributes.get("style", ""))
        if tag == "link" and LOADING & set(attributes.get("rel", "").split()):
            self.loads.append(attributes.get("href", ""))
        if tag == "img" and not attributes.get("alt", "").strip():
            self.unsaid.append(f"a picture has no words: {attributes.get('src', '')[:60]}")
        self.math += tag == "math"
        self.style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.math -= tag == "math"
        self.style = False

    def handle_data(self, text: str) -> None:
        self.loads += in_style(text) if self.style else []
        if self.math and "\\" in text:
            self.unsaid.append(f"a formula was not understood: {text}")


def in_style(text: str) -> list[str]:
    """What a style loads."""
    return [url or imported for url, imported in IN_STYLE.findall(text)]


def is_elsewhere(address: str) -> bool:
    """Whether an address leaves the site."""
    return bool(urlsplit(address).netloc) or urlsplit(address).scheme not in ("", "data")


def broken(page: Page, address: str, pages: dict[Path, Page]) -> str:
    """What is wrong with an address on a page; "" where nothing is."""
    parts = urlsplit(address)
    target = (page.file.parent / unquote(parts.path)).resolve() if parts.path else page.file
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return f"leads to no file: {address}"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].names:
        return f"leads to no anchor: {address}"
    return ""


def problems(site: Path) -> Iterator[str]:
    """What is wrong with a site, one line each."""
    pages = {file: Page(file) for file in sorted(site.resolve().rglob("*.html"))}
    if not pages:
        yield f"{site}: there is no page: build it first"
    for file, page in pages.items():
        found = [f"loads from elsewhere: {address[:80]}" for address in page.loads if is_elsewhere(address)]
        inside = [address for address in (*page.links, *page.loads)
                  if not urlsplit(address).scheme and not urlsplit(address).netloc]
        found += filter(None, (broken(page, address, pages) for address in dict.fromkeys(inside)))
        yield from (f"{file.relative_to(site.resolve())}: {line}" for line in dict.fromkeys(found + page.unsaid))
    for file in sorted([*site.rglob("*.css"), *site.rglob("*.js")]):
        text = file.read_text(encoding="utf-8")
        loads = in_style(text) if file.suffix == ".css" else IN_SCRIPT.findall(text)
        yield from (f"{file.relative_to(site)}: loads from elsewhere: {load}" for load in loads if is_elsewhere(load))


def main(site: Path) -> int:
    """Print what is wrong, or how much was looked at; returns the exit code."""
    found = list(problems(site))
    files = [file for file in site.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    pages = sum(file.suffix == ".html" for file in files)
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{site}: {pages} pages, {len(files)} files, {size:.1f} MB; {len(found) or 'no'} problems")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
