"""The figure of a sweep: how well one can tell, day by day."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from vigie.i18n import _, use_language
from vigie.report.canvas import (
    BLUE,
    GREY,
    ORANGE,
    FigureText,
    figure_style,
    halo,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

_LOWEST, _STEP = 0.5, 0.05


def write_sweep_figure(path: Path, document: Mapping[str, Any], language: str) -> None:
    """Draw AUC against the day into a PNG; the same document gives the same bytes.

    Parameters
    ----------
    document
        What ``vigie sweep`` writes as ``sweep_{mode}.json``.
    """
    contextvars.copy_context().run(_write, path, document, language)


def _write(path: Path, document: Mapping[str, Any], language: str) -> None:
    use_language(language)
    points = [one for one in document["points"] if "error" not in one]
    text = FigureText(language, None, document["generated"], points[0]["split"] if points else {})
    with figure_style():
        rows = [one["holdout"]["rows"] for one in points]
        below = _("{kind} · rows it never saw, between {least} and {most} at each day").format(
            kind=document["kind"],
            least=text.count(min(rows, default=0)),
            most=text.count(max(rows, default=0)),
        )
        figure, axes = new_figure(10.0, 7.6, _("How early can we know?"), below, text)
        _curves(axes, points)
        _decorate(axes, points, text)
        save_figure(figure, path)


def _curves(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    days = [one["cutoff_days"] for one in points]
    everybody = [one for one in points if one["everybody"]]
    if everybody:
        _curve(
            axes,
            [one["cutoff_days"] for one in everybody],
            [one["everybody"]["roc_auc"] for one in everybody],
            ORANGE, "--", _("everybody, those already gone included"),
        )  # fmt: skip
    _curve(
        axes, days, [one["holdout"]["roc_auc"] for one in points],
        BLUE, "-", _("those who can still be helped"),
    )  # fmt: skip
    _curve(
        axes, days, [one["logistic_regression"]["roc_auc"] for one in points],
        GREY, ":", _("the same, by a logistic regression"),
    )  # fmt: skip


def _curve(
    axes: Axes,
    days: Sequence[int],
    metrics: Sequence[Mapping[str, float | None]],
    colour: str,
    line: str,
    label: str,
) -> None:
    known = [
        (day, one["value"], one["low"], one["high"])
        for day, one in zip(days, metrics, strict=True)
        if None not in (one["value"], one["low"], one["high"])
    ]
    if not known:
        return
    x, value, low, high = zip(*known, strict=True)
    main = line == "-"
    axes.plot(
        x, value, line, color=colour, label=label, marker="o",
        linewidth=2.5 if main else 1.8, markersize=8 if main else 5,
    )  # fmt: skip
    if line != ":":
        # The baseline's would hide the model's.
        axes.fill_between(x, low, high, color=colour, alpha=0.2 if main else 0.12, linewidth=0)


def _decorate(axes: Axes, points: Sequence[Mapping[str, Any]], text: FigureText) -> None:
    from matplotlib.ticker import MultipleLocator

    for one in points:
        auc = one["holdout"]["roc_auc"]
        if auc["value"] is not None:
            axes.annotate(
                text.decimal(auc["value"]), (one["cutoff_days"], auc["value"]),
                xytext=(6, -18), textcoords="offset points", color=BLUE, fontsize=11,
                path_effects=halo(),
            )  # fmt: skip
    lows = [
        metric["low"]
        for one in points
        for metric in (one["holdout"]["roc_auc"], one["logistic_regression"]["roc_auc"])
        if metric["low"] is not None
    ]
    least = min([_LOWEST + 2 * _STEP, *lows]) - _STEP
    axes.set_ylim(_STEP * int(max(0.0, least) / _STEP), 1.0)
    axes.yaxis.set_major_locator(MultipleLocator(_STEP))
    axes.yaxis.set_major_formatter(lambda value, _place: text.decimal(value, 2))
    if points:
        axes.set_xticks([one["cutoff_days"] for one in points])
    axes.margins(x=0.07)
    axes.grid(alpha=0.25)
    axes.set_xlabel(_("Day at which everybody is looked at"))
    axes.set_ylabel(_("AUC ({half}: chance; 1: never wrong)").format(half=text.decimal(0.5, 1)))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower right",
            title=_("bands: {level} intervals").format(level=text.percent(0.95)),
            fontsize=13,
            framealpha=0.95,
        )
