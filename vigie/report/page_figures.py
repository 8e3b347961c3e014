"""The figures of the report as SVG that a page takes in: its colours, its letters, its words.

They are drawn by the same functions as the PNG files. Colours become the page's, so that a figure
is readable on dark as on light; words stay words, which search, zoom and copying like.
"""

from __future__ import annotations

import contextvars
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

from vigie.i18n import _, use_language
from vigie.pipeline.artifacts import to_json_type
from vigie.report.acting_figures import (
    calibration_figure,
    capacity_figure,
    precision_recall_figure,
)
from vigie.report.canvas import BLUE, GREY, ORANGE, FigureText, figure_style, new_figure
from vigie.report.figures import roc_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vigie.report.sweep_points import SweepPoint

# What the page defines for each colour that the figures are drawn in.
_COLOURS = {
    BLUE: "var(--figure-1)",
    ORANGE: "var(--figure-2)",
    GREY: "var(--quiet)",
    "#000000": "var(--ink)",
    "#ffffff": "var(--paper)",
    "#b0b0b0": "var(--rule)",
    "#cccccc": "var(--rule)",
    "#262626": "var(--ink)",
}
_COLOUR = re.compile("|".join(_COLOURS), re.IGNORECASE)
_FONT = re.compile(r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'[^;\"]*")
_OWN_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", re.DOTALL)
_IDENTIFIED = re.compile(r' id="([^"]*)"')
_REFERRED = re.compile(r"#([\w.-]+)")
# All of an evaluation that its figures show.
_SHOWN = (
    "rows",
    "threshold",
    "prevalence",
    "metrics",
    "confusion",
    "roc",
    "precision_recall",
    "calibration",
    "capacity",
)


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A drawn figure, safe to be put into a page as it is."""

    svg: str


def judged_figures(evaluation: Mapping[str, Any], text: FigureText) -> dict[str, PageFigure]:
    """Return the figures of the evaluation by name; those without a curve are left out.

    What was drawn last is kept: the same values give the same figures.
    """
    shown = {name: evaluation[name] for name in _SHOWN}
    return dict(_judged_figures(json.dumps([shown, asdict(text)], default=to_json_type)))


def prepare_figures(evaluation: Mapping[str, Any], text: FigureText) -> None:
    """Draw the figures of the evaluation before a page asks for them."""
    context = contextvars.copy_context()
    context.run(use_language, text.language)
    context.run(judged_figures, evaluation, text)


@lru_cache(maxsize=1)
def _judged_figures(document: str) -> dict[str, PageFigure]:
    evaluation, described = json.loads(document)
    text = FigureText(**described)
    import matplotlib as mpl

    found: dict[str, PageFigure] = {}
    with figure_style(), mpl.rc_context({"legend.title_fontsize": text.legend_size}):
        if evaluation["roc"]:
            drawn = roc_figure(evaluation, text)
            found["roc"] = page_figure(drawn, "roc", *_roc_words(evaluation, text))
        if evaluation["precision_recall"]:
            drawn = precision_recall_figure(evaluation, text)
            found["precision_recall"] = page_figure(
                drawn, "precision-recall", *_precision_recall_words(evaluation, text)
            )
        drawn = calibration_figure(evaluation, text)
        found["calibration"] = page_figure(
            drawn, "calibration", *_calibration_words(evaluation, text)
        )
        table = evaluation["capacity"]
        if table and table[0]["recall"] is not None:
            drawn = capacity_figure(evaluation, text)
            found["capacity"] = page_figure(drawn, "capacity", *_capacity_words(evaluation, text))
    return found


def history_figure(
    points: Mapping[str, Sequence[tuple[datetime, float]]], text: FigureText
) -> PageFigure:
    """Return the AUC of all runs over time.

    Parameters
    ----------
    points
        For each mode when its runs began and the AUC that they had.
    """
    import matplotlib as mpl
    from matplotlib.dates import AutoDateLocator, num2date

    with figure_style(), mpl.rc_context({"legend.title_fontsize": text.legend_size}):
        figure, axes = new_figure(10.5, 7.4, "", "", text)
        for (mode, series), colour, marker in zip(
            points.items(), (BLUE, ORANGE), "os", strict=False
        ):
            times, values = zip(*sorted(series), strict=True)
            axes.plot(times, values, color=colour, marker=marker, linewidth=2, label=mode)
        locator = AutoDateLocator(minticks=2, maxticks=5)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        low, high = axes.get_xlim()
        shape = "%Y-%m-%d" if high - low > 3 else "%m-%d %H:%M"
        axes.xaxis.set_major_formatter(
            lambda day, _place: num2date(day).strftime(shape)  # type: ignore[no-untyped-call]
        )
        axes.yaxis.set_major_formatter(lambda auc, _place: text.decimal(auc, 3))
        axes.grid(alpha=0.25)
        axes.set_ylabel(_("AUC on the hold-out"))
        axes.legend(loc="best", framealpha=0.95)
        words = "; ".join(
            _("{mode}: {count} runs, the last one {auc}").format(
                mode=mode, count=len(series), auc=text.decimal(max(series)[1])
            )
            for mode, series in points.items()
        )
        return page_figure(figure, "history", _("AUC on the hold-out, run by run"), words)


def sweep_figure(points: Sequence[SweepPoint], text: FigureText) -> PageFigure:
    """Return the AUC by the day of the cut-off."""
    import matplotlib as mpl

    with figure_style(), mpl.rc_context({"legend.title_fontsize": text.legend_size}):
        figure, axes = new_figure(10.5, 7.4, "", "", text)
        for colour, line, label, found in (
            (
                ORANGE,
                "--",
                _("everybody, those already gone included"),
                _curve(points, "everybody"),
            ),
            (BLUE, "-", _("those who can still be helped"), _curve(points, "found")),
            (GREY, ":", _("the same, by a logistic regression"), _curve(points, "logistic")),
        ):
            if not found:
                continue
            days, values, lows, highs = zip(*found, strict=True)
            axes.plot(days, values, line, color=colour, marker="o", linewidth=2, label=label)
            if line != ":":
                axes.fill_between(days, lows, highs, color=colour, alpha=0.18, linewidth=0)
        axes.set_xticks([one.day for one in points])
        axes.yaxis.set_major_formatter(lambda auc, _place: text.decimal(auc, 2))
        axes.grid(alpha=0.25)
        axes.set_xlabel(_("Day of the cut-off"))
        axes.set_ylabel(_("AUC on the hold-out"))
        axes.legend(
            loc="lower right",
            title=_("bands: {level} intervals").format(level=text.percent(0.95)),
            fontsize=text.legend_size,
            framealpha=0.95,
        )
        words = "; ".join(
            _("day {day}: {auc}").format(day=one.day, auc=text.decimal(one.found.value))
            for one in points
        )
        return page_figure(figure, "sweep", _("How early one can know"), words)


def _curve(points: Sequence[SweepPoint], name: str) -> list[tuple[int, float, float, float]]:
    """Return day, value and bounds where all of them are known."""
    found = ((one.day, getattr(one, name)) for one in points)
    return [
        (day, metric.value, metric.low, metric.high)
        for day, metric in found
        if None not in (metric.value, metric.low, metric.high)
    ]


def page_figure(figure: Figure, name: str, title: str, description: str) -> PageFigure:
    """Return a figure as SVG for a page.

    Parameters
    ----------
    name
        Unique in the page.
    title, description
        What it shows, and what it says, for those who don't see it.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        # Without a date in it the same values give the same text. The canvas itself: ``savefig``
        # draws everything once more, for the layout alone.
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    start, end = drawn.index("<svg"), drawn.rindex("</svg>")
    head, _close, body = drawn[start:end].partition(">")
    # What it says of all elements would hold for the whole page.
    body = _OWN_STYLE.sub("", body)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None
    body = _COLOUR.sub(lambda found: _COLOURS[found[0].lower()], body)
    body = _FONT.sub(r"\1var(--sans)", body)
    referred = set(_REFERRED.findall(body))
    body = _IDENTIFIED.sub(
        lambda found: f' id="{name}-{found[1]}"' if found[1] in referred else "", body
    )
    body = _REFERRED.sub(lambda found: f"#{name}-{found[1]}", body)
    return PageFigure(
        f'<svg class="figure" role="img" viewBox="{box[1]}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{body.strip()}</svg>'
    )


# --- what figures say, in words --------------------------------------------------------------


def _roc_words(evaluation: Mapping[str, Any], text: FigureText) -> tuple[str, str]:
    found = evaluation["confusion"]
    negatives = found["true_negative"] + found["false_positive"]
    positives = found["true_positive"] + found["false_negative"]
    return _("ROC curve: found for how many false alarms?"), _(
        "The area under the curve is {auc}. At the threshold {found} of those at risk are found, "
        "and {alarms} of the others are flagged."
    ).format(
        auc=text.decimal(evaluation["metrics"]["roc_auc"]["value"]),
        found=text.percent(found["true_positive"] / positives),
        alarms=text.percent(found["false_positive"] / negatives),
    )


def _precision_recall_words(evaluation: Mapping[str, Any], text: FigureText) -> tuple[str, str]:
    metrics = evaluation["metrics"]
    return _("Precision and recall: how many of the flagged are at risk?"), _(
        "The average precision is {average}; flagged at random, {prevalence} would be at risk. At "
        "the threshold {precision} of the flagged are."
    ).format(
        average=text.decimal(metrics["average_precision"]["value"]),
        prevalence=text.percent(evaluation["prevalence"]),
        precision=text.numbers.percent(metrics["precision"]["value"]),
    )


def _calibration_words(evaluation: Mapping[str, Any], text: FigureText) -> tuple[str, str]:
    bins = "; ".join(
        _("said {said}, true {true}").format(
            said=text.percent(one["said"]), true=text.percent(one["true"])
        )
        for one in evaluation["calibration"]["bins"]
    )
    return _("Calibration: do scores mean what they say?"), bins


def _capacity_words(evaluation: Mapping[str, Any], text: FigureText) -> tuple[str, str]:
    rows = "; ".join(
        _("{called} called: {reached} at risk").format(
            called=text.count(row["rows"]), reached=text.count(row["reached"])
        )
        for row in evaluation["capacity"]
    )
    return _("Capacity: whom do you reach if you call the riskiest?"), rows
