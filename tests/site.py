"""Checks a built site: every link leads to something, and nothing comes from another server.

``python -m tests.site site``, which ``make docs`` does after the build. The generator's own strict
mode knows links between pages; it doesn't know navigation to a page that isn't there, links out of
``docs/``, pictures, or what a theme loads from elsewhere. Needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What is loaded without anybody having clicked on it.
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href")}
# Links of the head that only name something.
NAMES = {"canonical", "alternate", "next", "prev"}
CSS_URL = re.compile(r"(?:@import\s+|url\()['\"]?(https?:)?//", re.IGNORECASE)


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that are in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        for name in ("src", "href"):
            if name not in given or (tag == "link" and given.get("rel") in NAMES):
                continue
            (self.loaded if (tag, name) in LOADED else self.links).append(given[name])


def faults(site: Path) -> Iterator[str]:
    """Yield what is wrong with a built site, a line each."""
    # A server shows 404.html at any address, so its links begin at the root.
    pages = {
        path.resolve(): Page(path.read_text("utf-8"))
        for path in sorted(site.rglob("*.html"))
        if path.name != "404.html"
    }
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for target in page.loaded:
            if urlsplit(target).scheme in ("http", "https") or target.startswith("//"):
                yield f"{name}: loads {target}"
        for target in dict.fromkeys(page.links + page.loaded):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target in ("", "."):
                continue
            meant = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not meant.exists() or not meant.is_relative_to(site.resolve()):
                yield f"{name}: no {target}"
            elif parts.fragment and meant in pages and not _has(pages[meant], parts.fragment):
                yield f"{name}: no place {target}"
    for path in sorted(site.rglob("*.css")):
        if CSS_URL.search(path.read_text("utf-8")):
            yield f"{path.relative_to(site)}: loads from another server"


def _has(page: Page, fragment: str) -> bool:
    return unquote(fragment) in page.anchors


def main() -> int:
    """Print what is wrong; return 1 where anything is."""
    found = list(faults(Path(sys.argv[1])))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
