from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.report_sources import MISCHIEF, listing, sources, wording
from vigie.i18n import use_language
from vigie.pipeline.helper import Helper
from vigie.report import page as page_module
from vigie.report import page_figures
from vigie.report.canvas import FigureText
from vigie.report.page import SHOWN_ROWS, make_page, prepare_pages, report_page, runs_page
from vigie.report.page_figures import _judged_figures, prepare_figures
from vigie.report.sources import Sources
from vigie.report.summarize import summarize

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Outline(HTMLParser):
    """What a page is made of; refuses tags that don't close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {language: report_page(summarize(sources(language))) for language in ("en", "fr")}


@pytest.mark.parametrize("prepared", [("en",), ("fr", "en"), ()])
def test_a_helper_writes_the_same_page(pages, prepared):
    helper = Helper([])
    try:
        for language in prepared:
            helper.prepare(prepare_pages, language)
        for language, page in pages.items():
            assert list(helper.each(make_page, summarize(sources(language)))) == [page]
        assert helper.is_there
    finally:
        helper.close()


def test_figures_that_were_prepared_are_not_drawn_again(pages, monkeypatch):
    report = summarize(sources("fr"))
    text = FigureText("fr", report.cutoff_days, report.generated, report.split, bare=True)
    use_language("en")
    _judged_figures.cache_clear()
    prepare_figures(report.holdout, text)
    assert _judged_figures.cache_info().misses == 1
    monkeypatch.setattr(page_figures, "roc_figure", None)
    assert report_page(report) == pages["fr"]
    # Of other values, or in another language, they would not be the same.
    for other in (replace(report, cutoff_days=7), summarize(sources("en"))):
        with pytest.raises(TypeError):
            report_page(other)


def figures_kept() -> Iterator[tuple[int, int]]:
    """Yield how often figures were drawn for pages, and how often they were there already."""
    kept = _judged_figures.cache_info()
    yield kept.misses, kept.hits


def test_a_helper_prepares_them(pages):
    report = summarize(sources("fr"))
    text = FigureText("fr", report.cutoff_days, report.generated, report.split, bare=True)
    helper = Helper([])
    try:
        helper.prepare(prepare_figures, report.holdout, text)
        assert list(helper.each(figures_kept)) == [(1, 0)]
        assert list(helper.each(make_page, report)) == [pages["fr"]]
        assert list(helper.each(figures_kept)) == [(1, 1)]
        assert helper.is_there
    finally:
        helper.close()


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest, where it isn't what is tested."""
    monkeypatch.setattr(page_module, "_figures", lambda _report: ({}, ()))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_whole_page_that_fetches_nothing(pages: dict[str, str], language: str) -> None:
    text = pages[language]
    outline = Outline(text)
    assert outline.all("html")[0]["lang"] == language
    addresses = re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)
    assert not re.search(r"https?://|@import|url\((?!#)", addresses)
    assert [found for found in outline.tags if "src" in found[1]] == []
    assert all(str(one["href"]).startswith("#") for one in outline.all("a"))
    identities = [str(one["id"]) for _tag, one in outline.tags if "id" in one]
    assert len(identities) == len(set(identities))
    for one in outline.all("a"):
        assert str(one["href"])[1:] in identities
    names = {"roc-title", "precision-recall-title", "calibration-title", "capacity-title"}
    assert names | {"sweep-title"} <= set(identities)


def test_headings_tables_and_figures_say_what_they_are(pages: dict[str, str]) -> None:
    outline = Outline(pages["en"])
    assert outline.headings.count(1) == 1
    steps = zip(outline.headings, outline.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert len(outline.all("table")) == len(outline.all("caption")) > 12
    assert all(one.get("scope") for one in outline.all("th"))
    for drawn in outline.all("svg"):
        assert drawn["role"] == "img"
        assert len(str(drawn["aria-labelledby"]).split()) == 2
    assert len(outline.all("svg")) == len(outline.all("desc")) == 5


def test_names_that_mean_mischief_are_words(pages: dict[str, str]) -> None:
    outline = Outline(pages["en"])
    assert outline.all("img") == []
    assert len(outline.all("script")) == 3
    assert "<b>Trier</b>" not in pages["en"]
    assert "&lt;b&gt;Trier&lt;/b&gt;" in pages["en"]
    assert "\u2028" not in re.findall(r'id="list-data">(.*?)</script>', pages["en"], re.DOTALL)[0]
    for name in MISCHIEF[:2]:
        assert name not in pages["en"]


def test_numbers_and_words_are_the_languages(pages: dict[str, str]) -> None:
    assert "Qui est à risque" in pages["fr"]
    assert "0,710" in pages["fr"]
    assert "0.710" in pages["en"]
    # Signs stay on their line; what comes from data stays as it is.
    own = pages["fr"]
    for tag in ("style", "script", "table", "svg"):
        own = re.sub(rf"<{tag}\b.*?</{tag}>", "", own, flags=re.DOTALL)
    assert re.findall(r">([^<]*\w [:;?!»][^<]*)", own) == []
    many = replace(summarize(sources("fr", rows=0)).trust, rows=12_345, error_points=1234.5)
    report = replace(summarize(sources("fr", rows=0)), trust=many, holdout=None, sweep=None)
    assert "12\u202f345" in report_page(report)
    assert "1\u202f234,5" in report_page(report)


def test_the_same_values_make_the_same_page(pages: dict[str, str]) -> None:
    assert report_page(summarize(sources("en"))) == pages["en"]


@pytest.mark.parametrize(
    "missing",
    [
        "metrics", "model", "features", "predictions", "drift", "audit", "sweep", "listing",
        "run", "changes",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("no_figures")
def test_a_page_of_half_a_run(missing: str) -> None:
    Outline(report_page(summarize(sources(rows=12, **{missing: None}))))


@pytest.mark.usefixtures("no_figures")
def test_a_page_of_nothing_still_says_what_to_do() -> None:
    text = report_page(summarize(Sources(mode="prod", wording=wording())))
    Outline(text)
    # Without days there is no earlier one.
    assert "vigie sweep" not in text
    timed = replace(summarize(Sources(mode="prod", wording=wording())), cutoff_days=90)
    assert "vigie sweep --mode prod" in report_page(timed)
    assert "vigie audit --mode prod" in text
    assert "script-src &#39;none&#39;" in text


@pytest.mark.usefixtures("no_figures")
def test_only_one_outcome_makes_a_page_without_curves() -> None:
    given = sources(rows=12)
    holdout = {**given.metrics["holdout"], "roc": [], "precision_recall": []}
    document = {**given.metrics, "holdout": holdout}
    text = report_page(summarize(replace(given, metrics=document)))
    assert "Only one outcome" in text


@pytest.mark.usefixtures("no_figures")
def test_25000_predictions_stay_small_and_200_are_there_without_scripts() -> None:
    text = report_page(summarize(sources(listing=listing(25_000))))
    assert len(text.encode()) < 8_000_000
    rows = re.search(r'<table class="list.*?</table>', text, re.DOTALL)
    assert rows is not None
    assert rows[0].count("<tr>") == SHOWN_ROWS + 1
    assert "reports/predictions_dev.csv" in text


def test_an_index_of_runs() -> None:
    from datetime import UTC, datetime

    row = {
        "run_id": "20260701T100000.000Z-aaaa",
        "mode": "dev",
        "status": "failed",
        "seconds": None,
        "ran": ("extract",),
        "failed": ("load",),
        "known": 2,
        "auc": None,
        "model_version": None,
        "warning_count": 0,
        "changes": ["seed: <1> → 2"],
        "page": "report_dev.html",
    }
    points = {"dev": [(datetime(2026, 7, day, tzinfo=UTC), 0.8 + day / 100) for day in (1, 2, 3)]}
    text = runs_page([row], points, language="fr", project="école")
    outline = Outline(text)
    assert "échouée" in text
    assert "seed: &lt;1&gt; → 2" in text
    assert {"href": "report_dev.html"} in outline.all("a")
    assert len(outline.all("svg")) == 1
    Outline(runs_page([], {"dev": []}, language="en", project="none"))
