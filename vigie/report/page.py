"""The report as one HTML file: nothing is fetched, and without scripts it can still be read.

What comes from data is escaped by Jinja2, in the embedded JSON too. A policy in the page's head
lets run the page's own script and nothing else, and reach no address.
"""

from __future__ import annotations

import base64
import contextvars
import hashlib
import json
import re
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vigie import __version__
from vigie.i18n import _, ngettext, use_language
from vigie.report.canvas import FigureText
from vigie.report.numbers import Numbers

if TYPE_CHECKING:
    from jinja2 import Environment

    from vigie.report.page_figures import PageFigure
    from vigie.report.summarize import Report
    from vigie.report.sweep_points import SweepPoint

# So many rows are there for who reads without a script.
SHOWN_ROWS = 200
# So many of the filtered rows are printed.
PRINTED_ROWS = 200
_TEMPLATES = "templates"
_BEFORE_SIGN = re.compile(" (?=[:;?!%»])")
_UNSAFE = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def report_page(report: Report) -> str:
    """Return the page of a report, in the report's language."""
    return contextvars.copy_context().run(_report_page, report)


def make_page(report: Report) -> Generator[str]:
    """Yield the page alone, as a process beside ours gives it back."""
    yield report_page(report)


def prepare_pages(language: str) -> None:
    """Read the templates in a language, so that the page needs to be filled only."""
    use_language(language)
    environment = _environment(language)
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)


def runs_page(
    rows: Sequence[Mapping[str, Any]],
    points: Mapping[str, Sequence[tuple[datetime, float]]],
    *,
    language: str,
    project: str,
) -> str:
    """Return the page with all runs and the AUC over time.

    Parameters
    ----------
    rows
        One for each run, newest first: see ``runs.html``.
    points
        For each mode when its runs began and the AUC that they had.
    """
    return contextvars.copy_context().run(_runs_page, rows, points, language, project)


def safe_json(value: Any) -> str:
    r"""Return JSON that can stand inside ``<script>``, whatever texts are in it.

    Examples
    --------
    >>> safe_json(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_UNSAFE)


def _report_page(report: Report) -> str:
    language = report.wording.language
    use_language(language)
    environment = _environment(language)
    script = _text("list.js")
    figures, sweep = _figures(report)
    listing = report.listing
    return environment.get_template("report.html").render(
        report=report,
        about=_about(report),
        contents=_contents(report),
        judged_on=_judged_on(report),
        figures=figures,
        sweep=sweep,
        short_groups=[" ".join(one) for one in _short_groups(report)],
        short_columns={column for column, _value in _short_groups(report)},
        shown_rows=SHOWN_ROWS,
        between=between_words(),
        list_data=None if listing is None else safe_json(listing.to_json()),
        list_words=None if listing is None else safe_json(_list_words(report)),
        script=script,
        script_source=_source(script) if listing is not None else "'none'",
    )


def _runs_page(
    rows: Sequence[Mapping[str, Any]],
    points: Mapping[str, Sequence[tuple[datetime, float]]],
    language: str,
    project: str,
) -> str:
    from vigie.report.page_figures import history_figure

    use_language(language)
    known = {mode: series for mode, series in points.items() if series}
    text = FigureText(language, None, generated=False, split={}, bare=True)
    return (
        _environment(language)
        .get_template("runs.html")
        .render(
            rows=rows,
            project=project,
            figure=history_figure(known, text) if known else None,
            script_source="'none'",
        )
    )


# --- the environment -------------------------------------------------------------------------


@cache
def _environment(language: str) -> Environment:
    """Return what fills templates in; the language is the one that is used."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    numbers = Numbers(language)
    environment = Environment(
        loader=PackageLoader("vigie.report", _TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "count": numbers.count,
        "decimal": numbers.decimal,
        "percent": numbers.percent,
        "in_language": lambda label: _in_language(label, language),
        "filled": _filled,
        "unbroken": lambda text: unbroken(text, language),
    }
    environment.globals |= {
        "_": lambda message: unbroken(_(message), language),
        "ngettext": lambda one, many, count: unbroken(ngettext(one, many, count), language),
        "language": language,
        "version": __version__,
        "style": _text("page.css"),
        "levels": {"high": _("▲ high"), "medium": _("◆ medium"), "low": _("▽ low")},
        "verdicts": {
            "pass": _("✓ holds"),
            "warn": _("! look at it"),
            "fail": _("✗ fails"),
            "skipped": _("– left out"),
        },
        "statuses": status_words(),
    }
    return environment


def unbroken(text: str, language: str) -> str:
    r"""Return French text whose signs stay on the line of the word that they belong to.

    Examples
    --------
    >>> unbroken("À 5 % : « oui »", "fr")
    'À 5\xa0%\xa0: «\xa0oui\xa0»'
    """
    if language != "fr":
        return text
    return _BEFORE_SIGN.sub("\N{NO-BREAK SPACE}", text).replace("« ", "«\N{NO-BREAK SPACE}")


def status_words() -> dict[str, str]:
    """Return the words for how a run or a step ended."""
    return {
        "success": _("success"),
        "failed": _("failed"),
        "interrupted": _("interrupted"),
        "killed": _("killed"),
        "running": _("running"),
        "skipped": _("skipped"),
        "blocked": _("blocked"),
    }


def _text(name: str) -> str:
    return (files("vigie.report") / _TEMPLATES / name).read_text("utf-8")


def _source(script: str) -> str:
    """Return how the page's policy names the one script that may run."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _in_language(label: Mapping[str, str] | None, language: str) -> str:
    return (label or {}).get(language) or (label or {}).get("en") or ""


def _filled(template: str, **values: Any) -> Any:
    """Return a sentence with its fields filled; unlike ``format``, markup in a field stays."""
    from markupsafe import Markup, escape

    return Markup(escape(template)).format(**values)  # noqa: S704 - escaped right here


# --- words of the page -----------------------------------------------------------------------


def between_words() -> str:
    """Return what the language puts between a reason and its value."""
    return _("{label}: {value} ({added})").partition("{label}")[2].partition("{value}")[0]


def _about(report: Report) -> str:
    parts = [_("early warning"), _("mode {mode}").format(mode=report.mode)]
    if report.cutoff_days is not None:
        parts.append(_("as known at day {day}").format(day=report.cutoff_days))
    if report.model_version:
        parts.append(_("model {version}").format(version=report.model_version))
    if report.made_at and report.made_by_run:
        moment = report.made_at[:16].replace("T", " ")
        parts.append(_("run of {moment} UTC").format(moment=moment))
    return " · ".join(parts)


def _contents(report: Report) -> list[tuple[str, str]]:
    listed = [("act", _("Who is at risk")), ("trust", _("How far to trust it"))]
    if report.listing is not None:
        listed.append(("people", _("The list")))
    return [
        *listed,
        ("answer", _("How good it is")),
        ("data", _("What it is made from")),
        ("run", _("The run")),
    ]


def _judged_on(report: Report) -> str:
    if report.holdout is None:
        return _("As the run's record has them; a later run has replaced the rest.")
    text = FigureText(
        report.wording.language, report.cutoff_days, report.generated, report.split, bare=True
    )
    return text.judged_on(report.holdout["rows"]) + "."


def _short_groups(report: Report) -> list[tuple[str, str]]:
    """Return column and value of each group that falls short."""
    language = report.wording.language
    return [
        (_in_language(column["label"], language), str(group["value"]))
        for column in report.groups
        for group in column["groups"]
        if group.get("falls_short")
    ]


def _list_words(report: Report) -> dict[str, Any]:
    levels = {"high": _("▲ high"), "medium": _("◆ medium"), "low": _("▽ low")}
    return {
        "locale": report.wording.language,
        "levels": levels,
        "score": _("Score"),
        "flagged": _("Predicted at risk"),
        "yes": _("yes"),
        "no": _("no"),
        "between": between_words(),
        "page": _("Page {page} of {pages}"),
        "status": _("{shown} of {total} shown, {flagged} of them predicted at risk"),
        "copied": _("{count} rows copied."),
        "not_copied": _("The browser doesn't let anything be copied: download the file."),
        "downloaded": _("{count} rows written to {file}."),
        "file": f"vigie_{report.mode}.csv",
        "on_paper": _("The first {printed} of {shown} chosen, of {total} in all."),
        "printed": PRINTED_ROWS,
    }


# --- figures ---------------------------------------------------------------------------------


def _figures(
    report: Report,
) -> tuple[dict[str, PageFigure], tuple[SweepPoint, ...]]:
    """Return the figures by name, and the days of the sweep where there is one."""
    from vigie.report.page_figures import judged_figures, sweep_figure
    from vigie.report.sweep_points import sweep_points

    text = FigureText(
        report.wording.language, report.cutoff_days, report.generated, report.split, bare=True
    )
    found: dict[str, PageFigure] = {}
    if report.holdout is not None:
        found |= judged_figures(report.holdout, text)
    sweep = sweep_points(report.sweep)
    known = [point for point in sweep if point.found.value is not None]
    if known:
        found["sweep"] = sweep_figure(known, text)
    return found, sweep
