"""The figures of the evaluation, as PNG files that look the same in every run."""

from __future__ import annotations

import contextvars
import math
import textwrap
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.i18n import _, use_language
from vigie.pipeline.helper import carried_out
from vigie.report.acting_figures import (
    calibration_figure,
    capacity_figure,
    precision_recall_figure,
)
from vigie.report.canvas import BLUE, GREY, ORANGE, FigureText, as_png, figure_style, new_figure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vigie.pipeline.helper import Helper

# Those of the guide.
BASIC_FIGURE_NAMES = ("confusion_matrix.png", "roc_curve.png", "feature_importance.png")
FIGURE_NAMES = (
    *BASIC_FIGURE_NAMES,
    "calibration.png",
    "capacity.png",
    "precision_recall.png",
)
TOP_FEATURES = 20
_LABEL_WIDTH = 44
# Less AUC than this is 0.000 on the axis.
SEEN_LOSS = 0.0005


@dataclass(frozen=True, slots=True)
class Importance:
    """One feature's bar: its label in the reader's language, mean over the trees and its error.

    The trees see different features at random, so they differ widely from one another; how well
    their mean is known is what a reader can use. None where there are no trees.
    """

    label: str
    mean: float
    standard_error: float | None


def write_figures(
    folder: Path,
    evaluation: Mapping[str, Any],
    importances: Sequence[Importance],
    text: FigureText,
    *,
    labelled_rows: int,
    by_shuffling: bool = False,
    losses: Sequence[Importance] = (),
    class_names: tuple[str, str] | None = None,
    basic: bool = False,
    progress: Callable[[float], None] | None = None,
    helper: Helper | None = None,
) -> None:
    """Draw ``FIGURE_NAMES`` into a folder that nobody sees yet; same values give same bytes.

    Parameters
    ----------
    evaluation
        What ``vigie.models.evaluate.evaluate`` returned for the hold-out.
    labelled_rows
        How many rows the final model was fitted on.
    by_shuffling
        Whether `importances` are losses of AUC on the hold-out, not shares of impurity.
    losses
        These losses, for the figure of their own; it isn't drawn without.
    class_names
        Not at risk and at risk in the reader's language; "not at risk", "at risk" by default.
    basic
        Draw ``BASIC_FIGURE_NAMES`` only.
    progress
        Called with the share (0 to 1) of the figures that are drawn.
    helper
        Draws in this one's place.
    """
    fitted = None if by_shuffling else labelled_rows
    wanted = BASIC_FIGURE_NAMES if basic else None
    asked = (evaluation, importances, text, fitted, losses, class_names, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    with closing(carried_out(helper, draw_figures, *asked)) as drawn:
        for name, png, share in drawn:
            (folder / name).write_bytes(png)
            if progress is not None:
                progress(share)


def draw_figures(
    evaluation: Mapping[str, Any],
    importances: Sequence[Importance],
    text: FigureText,
    labelled_rows: int | None,
    losses: Sequence[Importance],
    class_names: tuple[str, str] | None,
    wanted: Sequence[str] | None,
) -> Generator[tuple[str, bytes, float]]:
    """Yield the name of each figure, its PNG and the share (0 to 1) that is drawn by then."""
    context = contextvars.copy_context()
    figures = context.run(
        _figures, evaluation, importances, text, labelled_rows, losses, class_names
    )
    if wanted is not None:
        figures = {name: figures[name] for name in wanted}
    for number, (name, draw) in enumerate(figures.items(), start=1):
        with figure_style():
            png = as_png(context.run(draw))
        yield name, png, number / len(figures)


def importances_in_language(
    metadata: Mapping[str, Any], language: str, *, top: int = TOP_FEATURES
) -> list[Importance]:
    """Return what is most important by a model's metadata, the greatest first.

    Features, by how much they help the trees; for models that can't tell topics, by the AUC that
    is lost when they are shuffled.
    """
    if not metadata["importances"]:
        bars = [
            Importance(entry["label"].get(language) or entry["topic"], entry["value"], None)
            for entry in metadata.get("permutation_importance", ())
            if entry["value"] > 0
        ]
        # A bar that can't be seen says nothing, unless there is no other.
        bars = [bar for bar in bars if bar.mean >= SEEN_LOSS] or bars
        return sorted(bars, key=lambda bar: -bar.mean)[:top]
    labels = {entry["name"]: entry.get("label") or {} for entry in metadata["features"]}
    root = math.sqrt(metadata["params"].get("n_estimators", 1))
    bars = [
        Importance(
            labels[entry["name"]].get(language) or entry["name"],
            entry["mean"],
            None if entry["std"] is None else entry["std"] / root,
        )
        for entry in metadata["importances"]
    ]
    return sorted(bars, key=lambda bar: -bar.mean)[:top]


def _figures(
    evaluation: Mapping[str, Any],
    importances: Sequence[Importance],
    text: FigureText,
    labelled_rows: int | None,
    losses: Sequence[Importance],
    class_names: tuple[str, str] | None,
) -> dict[str, Callable[[], Figure]]:
    """Return what draws each figure, by its file's name."""
    use_language(text.language)
    names = class_names or (_("not at risk"), _("at risk"))
    judged = text.judged_on(evaluation["rows"])
    below = judged if labelled_rows is None else text.fitted_on(labelled_rows)
    figures: dict[str, Callable[[], Figure]] = {
        "confusion_matrix.png": lambda: _confusion_matrix(evaluation, names, text),
        "roc_curve.png": lambda: roc_figure(evaluation, text),
        "feature_importance.png": lambda: _feature_importance(
            importances, below, text, losses=labelled_rows is None
        ),
        "calibration.png": lambda: calibration_figure(evaluation, text),
        "capacity.png": lambda: capacity_figure(evaluation, text),
        "precision_recall.png": lambda: precision_recall_figure(evaluation, text),
    }
    if losses:
        figures["permutation_importance.png"] = lambda: _feature_importance(
            losses, judged, text, losses=True
        )
    return figures


def _confusion_matrix(
    evaluation: Mapping[str, Any], names: tuple[str, str], text: FigureText
) -> Figure:
    import numpy as np

    found = evaluation["confusion"]
    counts = np.array(
        [
            [found["true_negative"], found["false_positive"]],
            [found["false_negative"], found["true_positive"]],
        ]
    )
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    figure, axes = new_figure(
        9.0, 7.6, _("Predicted and real outcomes"), text.judged_on(evaluation["rows"]), text
    )
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(
            column, row - 0.06, text.count(int(count)), ha="center", va="bottom",
            color=colour, fontsize=24, fontweight="bold",
        )  # fmt: skip
        axes.text(
            column, row + 0.02, text.percent(float(shares[row, column]), 1), ha="center", va="top",
            color=colour, fontsize=15,
        )  # fmt: skip
    wrapped = [textwrap.fill(name, 18) for name in names]
    axes.set_xticks([0, 1], wrapped)
    axes.set_yticks([0, 1], wrapped)
    axes.tick_params(length=0, labelsize=13)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(_predicted(evaluation, text))
    axes.set_ylabel(_("Real outcome"))
    bar = figure.colorbar(image, ax=axes, format=lambda share, _place: text.percent(share))
    bar.set_label(_("Share of the row"))
    bar.outline.set_visible(False)
    return figure


def _predicted(evaluation: Mapping[str, Any], text: FigureText) -> str:
    """Say from which score on rows are predicted at risk, and what chose it."""
    words = _("Predicted (at risk from a score of {threshold})").format(
        threshold=text.decimal(evaluation["threshold"], 2)
    )
    choice = evaluation.get("threshold_choice", {"by": "threshold"})
    if choice["by"] == "threshold":
        return words
    return (
        words
        + "\n"
        + {
            "capacity": _("chosen so that {wanted} of all can be called"),
            "recall": _("chosen to find {wanted} of those at risk"),
            "missed_per_alarm": _("chosen as if missing one cost {wanted} false alarms"),
        }[choice["by"]].format(
            wanted=text.decimal(choice["wanted"], 1).removesuffix(".0").removesuffix(",0")
            if choice["by"] == "missed_per_alarm"
            else text.percent(choice["wanted"])
        )
    )


def roc_figure(evaluation: Mapping[str, Any], text: FigureText) -> Figure:
    """Draw how many of those at risk are found for how many false alarms."""
    figure, axes = new_figure(
        9.0, 8.4, _("ROC curve: found for how many false alarms?"),
        text.judged_on(evaluation["rows"]), text,
    )  # fmt: skip
    auc = evaluation["metrics"]["roc_auc"]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label=_("chance: AUC = {auc}").format(
        auc=text.decimal(0.5)
    ))  # fmt: skip
    if evaluation["roc"]:
        fpr, tpr = zip(*evaluation["roc"], strict=True)
        label = _("this model: AUC = {auc} [{low}; {high}]").format(
            auc=text.decimal(auc["value"]),
            low=text.decimal(auc["low"]),
            high=text.decimal(auc["high"]),
        )
        axes.plot(fpr, tpr, color=BLUE, linewidth=2.5, label=label)
        _mark_threshold(axes, evaluation, text)
    else:
        axes.text(
            0.5, 0.6, _("Only one outcome among these rows: no curve."), ha="center", fontsize=14
        )
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_aspect("equal")
    axes.grid(alpha=0.25)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _place: text.percent(share))
    axes.set_xlabel(_("False alarms, among those not at risk"))
    axes.set_ylabel(_("Found, among those at risk"))
    axes.legend(
        loc="lower right",
        title=_("in brackets: {level} interval").format(level=text.percent(0.95)),
        fontsize=text.legend_size,
        framealpha=0.95,
    )
    return figure


def _mark_threshold(axes: Axes, evaluation: Mapping[str, Any], text: FigureText) -> None:
    found = evaluation["confusion"]
    negatives = found["true_negative"] + found["false_positive"]
    positives = found["true_positive"] + found["false_negative"]
    axes.plot(
        [found["false_positive"] / negatives],
        [found["true_positive"] / positives],
        "o",
        color=ORANGE,
        markersize=9,
        label=_("at a score of {threshold}").format(
            threshold=text.decimal(evaluation["threshold"], 2)
        ),
    )


def _feature_importance(
    importances: Sequence[Importance], below: str, text: FigureText, *, losses: bool
) -> Figure:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    shown = sorted(importances, key=lambda bar: -bar.mean)[:TOP_FEATURES]
    labels = list(_two_lines(shown))
    lines = sum(label.count("\n") + 1 for label in labels)
    title = (
        _("The {count} topics that count most")
        if losses
        else _("The {count} features that count most")
    ).format(count=len(shown))
    figure, axes = new_figure(
        11.0, max(4.5, 2.4 + 0.28 * lines + 0.12 * len(shown)), title, below, text
    )
    places = np.arange(len(shown))
    means = np.array([bar.mean for bar in shown])
    errors = 2 * np.array([bar.standard_error or 0.0 for bar in shown])
    spread = [np.minimum(errors, means), errors] if errors.any() else None
    # An importance is never below zero: neither is the end of its whisker.
    axes.barh(
        places, means, xerr=spread, color=BLUE, height=0.7,
        error_kw={"ecolor": GREY, "elinewidth": 1.4, "capsize": 3},
    )  # fmt: skip
    axes.set_yticks(places, labels, linespacing=1.05)
    axes.invert_yaxis()
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    if losses:
        axes.xaxis.set_major_formatter(lambda loss, _place: text.decimal(loss))
        axes.set_xlabel(_("AUC that is lost when nothing is known of the topic"))
        return figure
    axes.xaxis.set_major_formatter(
        lambda share, _place: text.percent(share, 0 if shown and shown[0].mean > 0.02 else 1)
    )
    words = _("Share of the impurity that the feature takes away")
    if spread is not None:
        words += "\n" + _("(lines: ± two standard errors over the trees)")
    axes.set_xlabel(words)
    return figure


def _two_lines(bars: Sequence[Importance]) -> Iterator[str]:
    """Yield labels on at most two lines."""
    for bar in bars:
        lines = textwrap.wrap(bar.label, _LABEL_WIDTH) or [""]
        if len(lines) > 2:
            second = textwrap.shorten(" ".join(lines[1:]), _LABEL_WIDTH, placeholder=" …")
            lines = [lines[0], second if second != "…" else lines[1][: _LABEL_WIDTH - 2] + " …"]
        yield "\n".join(lines)
