"""The figures for whoever acts on the scores: how far to believe them, and whom one reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vigie.i18n import _
from vigie.report.canvas import BLUE, GREY, ORANGE, FigureText, halo, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def calibration_figure(evaluation: Mapping[str, Any], text: FigureText) -> Figure:
    """Draw what was said against what came true, and how many rows each point stands for."""
    import numpy as np

    found = evaluation["calibration"]
    figure, axes = new_figure(
        9.0, 8.4, _("Calibration: do scores mean what they say?"),
        text.judged_on(evaluation["rows"]), text,
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label=_("perfectly calibrated"))
    said = np.array([one["said"] for one in found["bins"]])
    true = np.array([one["true"] for one in found["bins"]])
    rows = np.array([one["rows"] for one in found["bins"]])
    error = 1.96 * np.sqrt(true * (1 - true) / rows)
    low, high = np.clip(true - error, 0, 1), np.clip(true + error, 0, 1)
    axes.errorbar(
        said, true, yerr=[true - low, high - true], color=BLUE, linewidth=2, marker="o",
        markersize=7, capsize=3, label=_("this model, by tenths of the score"),
    )  # fmt: skip
    for x, bottom, top, y, count in zip(said, low, high, true, rows, strict=True):
        # On the side that is away from the diagonal.
        above = y >= x
        axes.annotate(
            text.count(int(count)), (x, top if above else bottom), xytext=(0, 5 if above else -5),
            textcoords="offset points", ha="center", va="bottom" if above else "top", fontsize=11,
            color=GREY, path_effects=halo(),
        )  # fmt: skip
    axes.set_aspect("equal")
    _shares(axes, text)
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.06, 1.08)
    axes.set_xlabel(_("Mean score"))
    axes.set_ylabel(_("Share that really was at risk"))
    axes.legend(
        loc="lower right",
        title=None if text.bare else _error_words(found, text),
        fontsize=text.legend_size,
        framealpha=0.95,
    )
    return figure


def _error_words(found: Mapping[str, Any], text: FigureText) -> str:
    return (
        _("mean distance: {error} points of a hundred").format(
            error=text.decimal(found["expected_calibration_error"] * 100, 1)
        )
        + "\n"
        + _("(numbers: rows; lines: {level} intervals)").format(level=text.percent(0.95))
    )


def capacity_figure(evaluation: Mapping[str, Any], text: FigureText) -> Figure:
    """Draw how many of those at risk one reaches by calling the riskiest."""
    figure, axes = new_figure(
        9.0, 8.0, _("Capacity: whom do you reach if you call the riskiest?"),
        text.judged_on(evaluation["rows"]), text,
    )  # fmt: skip
    table = evaluation["capacity"]
    if not table or table[0]["recall"] is None:
        axes.text(0.5, 0.6, _("Only one outcome among these rows: no curve."), ha="center")
        return figure
    prevalence = evaluation["prevalence"]
    share = [0.0, *(row["share"] for row in table)]
    reached = [0.0, *(row["recall"] for row in table)]
    end = max(share)
    axes.plot([0, end], [0, end], color=GREY, linestyle="--", label=_("called at random"))
    bends = sorted({*share, min(prevalence, end)})
    best = [min(1.0, one / prevalence) if prevalence else 0.0 for one in bends]
    axes.plot(bends, best, color=GREY, linestyle=":", label=_("if one knew who is at risk"))
    axes.plot(share, reached, color=BLUE, linewidth=2.5, marker="o", label=_("by this model"))
    for row in table:
        # A page has the table beside it, and less room.
        if not text.bare and row["share"] in (0.05, 0.1, 0.2, 0.3, 0.5):
            axes.annotate(
                _("{called} called: {reached} at risk").format(
                    called=text.count(row["rows"]), reached=text.count(row["reached"])
                ),
                (row["share"], row["recall"]), textcoords="offset points",
                xytext=(0, 8) if row["share"] == end else (10, -14),
                ha="right" if row["share"] == end else "left", fontsize=11, color=ORANGE,
                path_effects=halo(),
            )  # fmt: skip
    _shares(axes, text)
    axes.set_xlim(0, end * 1.02)
    axes.set_ylim(0, 1.06)
    axes.set_xlabel(_("Called, the riskiest first"))
    axes.set_ylabel(_("Reached, among those at risk"))
    axes.legend(loc="lower right", fontsize=text.legend_size, framealpha=0.95)
    return figure


def precision_recall_figure(evaluation: Mapping[str, Any], text: FigureText) -> Figure:
    """Draw how many of the flagged are at risk against how many of those at risk are flagged."""
    figure, axes = new_figure(
        9.0, 8.0, _("Precision and recall: how many of the flagged are at risk?"),
        text.judged_on(evaluation["rows"]), text,
    )  # fmt: skip
    prevalence = evaluation["prevalence"]
    axes.axhline(
        prevalence, color=GREY, linestyle="--",
        label=_("flagged at random: {share}").format(share=text.percent(prevalence)),
    )  # fmt: skip
    if evaluation["precision_recall"]:
        recall, precision = zip(*evaluation["precision_recall"], strict=True)
        average = evaluation["metrics"]["average_precision"]
        label = _("this model: average precision = {value} [{low}; {high}]").format(
            value=text.decimal(average["value"]),
            low=text.decimal(average["low"]),
            high=text.decimal(average["high"]),
        )
        axes.plot(recall, precision, color=BLUE, linewidth=2.5, label=label)
        found = evaluation["metrics"]
        if None not in (found["recall"]["value"], found["precision"]["value"]):
            axes.plot(
                [found["recall"]["value"]], [found["precision"]["value"]], "o", color=ORANGE,
                markersize=9,
                label=_("at a score of {threshold}").format(
                    threshold=text.decimal(evaluation["threshold"], 2)
                ),
            )  # fmt: skip
    _shares(axes, text)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(_("Found, among those at risk (recall)"))
    axes.set_ylabel(_("At risk, among the flagged (precision)"))
    axes.legend(loc="lower left", fontsize=text.legend_size, framealpha=0.95)
    return figure


def _shares(axes: Axes, text: FigureText) -> None:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _place: text.percent(share))
