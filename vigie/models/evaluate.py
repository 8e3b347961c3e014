"""How good the scores are, on rows that the scoring model never saw.

Every figure stands beside its 95 % interval (bootstrap over persons, because a person's rows go
together) and beside what saying the same of everyone would reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import DataError
from vigie.i18n import _
from vigie.models.acting import calibration, capacity_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]

METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "brier")
# Those that need the order of the scores and no threshold.
_RANKING = ("roc_auc", "average_precision")
JSON_DECIMALS = 6
CONFIDENCE = 0.95
ROC_POINT_COUNT = 101
# Draws are weighed together, as many as stay in a processor's cache: larger arrays are asked of the
# system anew each time, and cleared by it.
_CELLS_PER_CHUNK = 100_000
# An interval over fewer draws than this share says nothing.
_MIN_DEFINED_SHARE = 0.5

# Why a metric has no value; each has one cause only. Data, so not translated.
_UNDEFINED = {
    **dict.fromkeys(METRICS, "only one class among the outcomes"),
    "precision": "no row is predicted at risk",
    "recall": "no row is at risk",
    "f1": "no row is at risk",
}


def evaluate(
    scores: FloatArray,
    labels: npt.NDArray[Any],
    threshold: float,
    *,
    groups: npt.NDArray[Any],
    train_prevalence: float,
    seed: int,
    draws: int = 500,
) -> dict[str, Any]:
    """Return every metric with its interval and its baseline, as plain values.

    Parameters
    ----------
    scores
        Probability of the bad outcome, one per row.
    labels
        1 (at risk) or 0 (not) per row.
    threshold
        From this score on a row counts as predicted at risk.
    groups
        The person of each row; the bootstrap draws persons.
    train_prevalence
        Share of at-risk rows among those the model was trained on: the baseline's score for
        everyone, and its prediction by majority.

    Raises
    ------
    DataError
        When there is no row, or a label is neither 0 nor 1.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    _check(scores, labels)
    baseline = point_metrics(np.full(len(scores), train_prevalence), labels, 0.5)
    flagged, positive = scores >= threshold, labels == 1
    intervals = bootstrap_intervals(scores, labels, groups, threshold, seed=seed, draws=draws)
    return {
        "rows": len(labels),
        "persons": len(np.unique(groups)),
        "positives": int(positive.sum()),
        "prevalence": float(positive.mean()),
        "threshold": threshold,
        "metrics": {
            name: _metric_document(value, intervals[name], baseline[name], _UNDEFINED[name])
            for name, value in point_metrics(scores, labels, threshold).items()
        },
        "confusion": {
            "true_negative": int((~flagged & ~positive).sum()),
            "false_positive": int((flagged & ~positive).sum()),
            "false_negative": int((~flagged & positive).sum()),
            "true_positive": int((flagged & positive).sum()),
        },
        "baseline": {
            "prediction": "at_risk" if train_prevalence >= 0.5 else "not_at_risk",
            "score": train_prevalence,
        },
        "interval": {"level": CONFIDENCE, "method": "bootstrap over persons", "draws": draws},
        "roc": _thinned(*roc_points(scores, labels)),
        "precision_recall": _thinned(*precision_recall_points(scores, labels)),
        "capacity": capacity_table(scores, labels),
        "calibration": calibration(scores, labels),
    }


def point_metrics(
    scores: FloatArray, labels: npt.NDArray[Any], threshold: float
) -> dict[str, float | None]:
    """Return each of ``METRICS`` for one set of scores; None where it is not defined."""
    weights = np.ones((1, len(scores)))
    found = weighted_metrics(np.asarray(scores), np.asarray(labels), threshold, weights)
    return {name: _or_none(float(found[name][0])) for name in METRICS}


def bootstrap_intervals(
    scores: FloatArray,
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    threshold: float,
    *,
    seed: int,
    draws: int = 500,
    level: float = CONFIDENCE,
) -> dict[str, tuple[float | None, float | None]]:
    """Return the percentile interval of each metric (Efron & Tibshirani 1993, ch. 13).

    Persons are drawn with replacement and bring all their rows (the cluster bootstrap). A row's
    weight is how often its person was drawn, so that no row is copied and nothing sorted again.
    """
    runs = score_runs(np.asarray(scores))
    parts = [
        weighted_metrics(scores, labels, threshold, weights, runs)
        for weights in bootstrap_weights(groups, seed=seed, draws=draws)
    ]
    return {
        name: percentile_interval(np.concatenate([part[name] for part in parts]), level)
        for name in METRICS
    }


def bootstrap_weights(groups: npt.NDArray[Any], *, seed: int, draws: int) -> Iterator[FloatArray]:
    """Yield how often each row was drawn (draws x rows), many draws at a time."""
    rng = np.random.default_rng(seed)
    persons, codes = np.unique(groups, return_inverse=True)
    count = len(persons)
    chunk = max(1, _CELLS_PER_CHUNK // max(len(codes), 1))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        drawn = rng.integers(0, count, size=(size, count))
        drawn += np.arange(size)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield times[:, codes].astype(np.float64)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A metric of two sets of scores of the same rows: first minus second, with its interval."""

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None


def paired_difference(
    first: FloatArray,
    second: FloatArray,
    labels: npt.NDArray[Any],
    *,
    groups: npt.NDArray[Any],
    metric: str = "roc_auc",
    threshold: float = 0.5,
    seed: int,
    draws: int = 500,
    level: float = CONFIDENCE,
) -> PairedDifference:
    """Compare two sets of scores; each draw of persons is the same for both.

    What is hard to tell of these rows is hard for both, so that the difference is known better
    than either figure alone (Efron & Tibshirani 1993).

    Parameters
    ----------
    metric
        One of ``METRICS``; NaN where it is undefined.

    Raises
    ------
    DataError
        When there is no row, a label is neither 0 nor 1, or a score is not a number.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    labels = np.asarray(labels)
    _check(first, labels)
    _check(second, labels)
    both = [(scores, score_runs(scores)) for scores in (first, second)]

    positive = labels == 1

    def values(weights: FloatArray) -> list[FloatArray]:
        if metric in _RANKING:
            return [_ranking_metrics(positive, weights, runs)[metric] for _scores, runs in both]
        return [
            weighted_metrics(scores, labels, threshold, weights, runs)[metric]
            for scores, runs in both
        ]

    one, two = (float(value[0]) for value in values(np.ones((1, len(labels)))))
    differences = np.concatenate(
        [
            np.subtract(*values(weights))
            for weights in bootstrap_weights(groups, seed=seed, draws=draws)
        ]
    )
    return PairedDifference(one, two, one - two, *percentile_interval(differences, level))


def roc_points(scores: FloatArray, labels: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return false and true positive rates from (0, 0) to (1, 1), one point per distinct score.

    Empty when there is one class only.
    """
    positive = np.asarray(labels) == 1
    if positive.all() or not positive.any():
        return np.empty(0), np.empty(0)
    order, starts = score_runs(np.asarray(scores))
    true = np.cumsum(np.add.reduceat(positive[order].astype(np.float64), starts))
    false = np.cumsum(np.add.reduceat((~positive[order]).astype(np.float64), starts))
    return np.r_[0.0, false / false[-1]], np.r_[0.0, true / true[-1]]


def precision_recall_points(
    scores: FloatArray, labels: npt.NDArray[Any]
) -> tuple[FloatArray, FloatArray]:
    """Return recall and precision from the highest threshold down, one point per distinct score.

    Empty when no row is at risk.
    """
    positive = np.asarray(labels) == 1
    if not positive.any():
        return np.empty(0), np.empty(0)
    order, starts = score_runs(np.asarray(scores))
    true = np.cumsum(np.add.reduceat(positive[order].astype(np.float64), starts))
    flagged = np.r_[starts[1:], len(order)].astype(np.float64)
    return true / true[-1], true / flagged


def metrics_document(
    evaluation: Mapping[str, Any],
    folds: Sequence[Mapping[str, Any]],
    *,
    mode: str,
    dataset: str,
    generated: bool,
    cutoff_days: int | None,
    model_version: str,
    split: Mapping[str, Any],
    training_roc_auc: float | None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what goes into ``reports/metrics_{mode}.json``; the same run gives the same bytes.

    Parameters
    ----------
    evaluation
        What ``evaluate`` returned for the hold-out.
    folds
        Metrics of each fold, as in the model's metadata.
    split
        How the rows were divided.
    more
        Further parts of the document, by key.
    """
    document = {
        "dataset": dataset,
        "mode": mode,
        "generated": generated,
        "cutoff_days": cutoff_days,
        "model_version": model_version,
        "split": dict(split),
        "holdout": dict(evaluation),
        "cross_validation": cross_validation_summary(folds),
        "training": {
            "roc_auc": training_roc_auc,
            "note": "Scored on the rows it learned from: no measure of quality.",
        },
        **(more or {}),
    }
    rounded: dict[str, Any] = _rounded(document)
    return rounded


def cross_validation_summary(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation (n - 1) over the folds beside the folds themselves."""
    summary: dict[str, Any] = {"folds": [dict(fold) for fold in folds], "mean": {}, "std": {}}
    names = [name for name in METRICS if any(name in fold for fold in folds)]
    for name in names:
        values = [fold[name] for fold in folds if fold.get(name) is not None]
        summary["mean"][name] = float(np.mean(values)) if values else None
        summary["std"][name] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary


def weighted_metrics(
    scores: FloatArray,
    labels: npt.NDArray[Any],
    threshold: float,
    weights: FloatArray,
    runs: tuple[IntArray, IntArray] | None = None,
) -> dict[str, FloatArray]:
    """Return each metric once per row of `weights` (draws x rows); NaN where it is undefined.

    Weights are whole numbers, so counts are exact in any order of summing. For many calls on the
    same scores, `runs` is their ``score_runs``, found once.
    """
    positive, flagged = np.asarray(labels) == 1, scores >= threshold
    total = weights.sum(axis=1)
    tp = weights[:, positive & flagged].sum(axis=1)
    fp = weights[:, ~positive & flagged].sum(axis=1)
    fn = weights[:, positive & ~flagged].sum(axis=1)
    found = _ranking_metrics(positive, weights, runs or score_runs(scores))
    with np.errstate(invalid="ignore", divide="ignore"):
        found["accuracy"] = (total - fp - fn) / total
        found["precision"] = tp / (tp + fp)
        found["recall"] = tp / (tp + fn)
        # Without an at-risk row a wrong flag would make this 0 and no flag 0/0: undefined both.
        found["f1"] = np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        found["brier"] = (weights * (scores - positive) ** 2).sum(axis=1) / total
    return found


def _ranking_metrics(
    positive: npt.NDArray[np.bool_], weights: FloatArray, runs: tuple[IntArray, IntArray]
) -> dict[str, FloatArray]:
    """Return ROC AUC (Mann-Whitney, ties count half) and average precision (step-wise).

    Both as in scikit-learn's ``roc_auc_score`` and ``average_precision_score``.
    """
    order, starts = runs
    drawn = np.take(weights, order, axis=1)
    pos = drawn * positive[order]
    neg = drawn - pos
    if len(starts) < len(order):
        pos, neg = (np.add.reduceat(one, starts, axis=1) for one in (pos, neg))
    tp, fp = np.cumsum(pos, axis=1), np.cumsum(neg, axis=1)
    positives, negatives = tp[:, -1], fp[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = 1.0 - (pos * (fp - neg / 2)).sum(axis=1) / (positives * negatives)
        # Before the first drawn row nothing is flagged: 0 of 1 as well as of 0.
        precision = tp / np.maximum(tp + fp, 1)
        average_precision = (pos * precision).sum(axis=1) / positives
    one_class = (positives == 0) | (negatives == 0)
    average_precision[one_class] = np.nan
    return {"roc_auc": auc, "average_precision": average_precision}


def score_runs(scores: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the order from the highest score down, and where each distinct score begins in it."""
    order = np.argsort(-scores, kind="stable")
    return order, np.r_[0, np.flatnonzero(np.diff(scores[order])) + 1]


def percentile_interval(values: FloatArray, level: float) -> tuple[float | None, float | None]:
    """Return the middle `level` of drawn values; None where too few of them are defined."""
    defined = values[~np.isnan(values)]
    if len(defined) < max(2, _MIN_DEFINED_SHARE * len(values)):
        return None, None
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _metric_document(
    value: float | None,
    interval: tuple[float | None, float | None],
    baseline: float | None,
    reason_if_undefined: str,
) -> dict[str, Any]:
    document = {"value": value, "low": interval[0], "high": interval[1], "baseline": baseline}
    return document if value is not None else {**document, "reason": reason_if_undefined}


def _thinned(fpr: FloatArray, tpr: FloatArray) -> list[list[float]]:
    """Return at most 101 points of the curve, spread evenly along it, the ends among them."""
    if not len(fpr):
        return []
    along = np.linspace(0, len(fpr) - 1, min(ROC_POINT_COUNT, len(fpr)))
    chosen = np.unique(np.round(along).astype(int))
    return [[float(fpr[i]), float(tpr[i])] for i in chosen]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float | np.floating):
        return round(float(value), JSON_DECIMALS)
    return value


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _check(scores: FloatArray, labels: npt.NDArray[Any]) -> None:
    if not len(scores) or len(scores) != len(labels) or not np.isin(labels, (0, 1)).all():
        raise DataError(
            _("There are no hold-out rows to evaluate on, or one has no known outcome."),
            where=_("{scores} scores, {labels} labels").format(
                scores=len(scores), labels=len(labels)
            ),
            fix=_("Train again: {command}").format(command="vigie run --steps train evaluate"),
        )
    if not np.isfinite(scores).all():
        raise DataError(
            _("A score is not a number."),
            where="scores",
            fix=_("Train again: {command}").format(command="vigie run --steps train evaluate"),
        )
