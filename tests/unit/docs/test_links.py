"""Links of the README and the pages lead somewhere; the navigation and the pages agree."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.site import faults

DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
TEXTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as forges and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    kept = (re.sub(r"[^\w\s-]", "", re.sub(r"[`*]", "", one)).strip().lower() for one in headings)
    return {re.sub(r"\s+", "-", one) for one in kept}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield each link within the repository: as written, the file meant, the place in it."""
    for target in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _hash, place = target.partition("#")
        yield target, (page.parent / name).resolve() if name else page, place


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for written, meant, place in links(page):
        assert meant.exists(), written
        if place:
            assert place in anchors(meant), written
        if page.is_relative_to(DOCS):
            # The site holds nothing else.
            assert meant.is_relative_to(DOCS), f"{written}: outside docs/"


def navigation(entry: Any) -> Iterator[str]:
    """Yield the files of a navigation."""
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry:
        if not isinstance(entry, str):
            yield from navigation(inner)


def test_every_page_is_in_the_navigation_once() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    listed = sorted(navigation(config["project"]["nav"]))
    assert listed == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


# --- the check of the built site ---------------------------------------------------------------


def test_a_dead_link_and_a_foreign_script_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html">b</a> <a href="b.html#there">x</a> <img src="c.png">'
        '<a href="https://example.org">out</a><script src="https://cdn.example/x.js"></script>',
        "utf-8",
    )
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1> <a href="../out.html">o</a>', "utf-8")
    (tmp_path / "x.css").write_text("@import 'https://fonts.example/x.css';", "utf-8")
    assert list(faults(tmp_path)) == [
        "a.html: loads https://cdn.example/x.js",
        "a.html: no place b.html#there",
        "a.html: no c.png",
        "b.html: no ../out.html",
        "x.css: loads from another server",
    ]


def test_a_site_without_faults_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="a.html#top" id="top">a</a>', "utf-8")
    assert list(faults(tmp_path)) == []
