"""Whom the model fails: the same figures for each group of rows, and where one falls short.

A group's figures come with intervals (bootstrap over persons, as everywhere), since small groups
differ by chance. A group falls short where fewer of its rows at risk are found than of all, by
more than a margin, and its interval says that this is no chance (equal opportunity: Hardt, Price &
Srebro 2016).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.models.evaluate import (
    bootstrap_weights,
    percentile_interval,
    score_runs,
    weighted_metrics,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]

# Of a smaller group only its size is told.
MIN_ROWS, MIN_PER_CLASS = 30, 5
# Of a column with more values the most frequent ones stand for themselves.
MAX_GROUPS = 20
# Numbers with more different values are divided into quarters.
MAX_NUMBERS = 12
NOT_KNOWN, OTHERS = "–", "…"
DRAWS = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The rows of one group, with what each draw needs of them."""

    here: npt.NDArray[np.bool_]
    scores: FloatArray
    positive: npt.NDArray[np.bool_]
    runs: tuple[IntArray, IntArray]

    @classmethod
    def of(
        cls, here: npt.NDArray[np.bool_], scores: FloatArray, positive: npt.NDArray[np.bool_]
    ) -> _Group:
        return cls(here, scores[here], positive[here], score_runs(scores[here]))

    def metrics(self, threshold: float, weights: FloatArray) -> dict[str, FloatArray]:
        """Return the group's metrics once per row of `weights`, which are those of all rows."""
        own, well = weights[:, self.here], ~self.positive
        found = weighted_metrics(self.scores, self.positive, threshold, own, self.runs)
        alarms = own[:, well & (self.scores >= threshold)].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = alarms / own[:, well].sum(axis=1)
        return {
            "roc_auc": found["roc_auc"],
            "recall": found["recall"],
            "false_positive_rate": rate,
        }


def by_subgroup(
    values: npt.NDArray[Any],
    scores: FloatArray,
    labels: npt.NDArray[Any],
    persons: npt.NDArray[Any],
    *,
    threshold: float,
    margin: float,
    seed: int,
    draws: int = DRAWS,
) -> list[dict[str, Any]]:
    """Return the figures of each group of rows, in the order of their names.

    Parameters
    ----------
    values
        What the rows are divided by: text, or numbers, which are divided into quarters where
        there are many; None or NaN is a group of its own.
    scores, labels
        Of rows that the scoring model never saw; outcomes are 0 or 1.
    persons
        Of each row; the bootstrap draws persons.
    threshold
        From this score on a row is flagged.
    margin
        How much less of those at risk a group may have found before it falls short.

    Returns
    -------
    Entries with ``value``, ``rows``, ``positives``, ``flagged_share``, ``mean_score``,
    ``prevalence``, ``calibration_error`` (mean score minus prevalence), ``roc_auc``, ``recall`` and
    ``false_positive_rate`` (each a value with its interval), and ``falls_short``. Of a group of
    fewer than 30 rows or 5 of an outcome, ``value``, ``rows`` and ``too_small`` only.
    """
    positive = np.asarray(labels) == 1
    names, codes = _groups(values)
    told = {
        code: _Group.of(codes == code, scores, positive)
        for code in range(len(names))
        if _large_enough(positive[codes == code])
    }
    drawn: dict[int, list[dict[str, FloatArray]]] = {code: [] for code in told}
    for weights in bootstrap_weights(persons, seed=seed, draws=draws):
        overall = _recall(scores, positive, threshold, weights)
        for code, group in told.items():
            found = group.metrics(threshold, weights)
            found["gap"] = overall - found["recall"]
            drawn[code].append(found)
    once = np.ones((1, len(scores)))
    recall = float(_recall(scores, positive, threshold, once)[0])
    entries = []
    for code, name in enumerate(names):
        entry: dict[str, Any] = {"value": name, "rows": int((codes == code).sum())}
        if code not in told:
            entries.append({**entry, "too_small": True})
            continue
        group = told[code]
        point = group.metrics(threshold, once)
        spread = {
            metric: percentile_interval(
                np.concatenate([part[metric] for part in drawn[code]]), 0.95
            )
            for metric in drawn[code][0]
        }
        gap, least = recall - float(point["recall"][0]), spread["gap"][0]
        said, true = float(group.scores.mean()), float(group.positive.mean())
        entries.append(
            {
                **entry,
                "positives": int(group.positive.sum()),
                "prevalence": true,
                "mean_score": said,
                "calibration_error": said - true,
                "flagged_share": float((group.scores >= threshold).mean()),
                **{
                    metric: {
                        "value": float(point[metric][0]),
                        "low": spread[metric][0],
                        "high": spread[metric][1],
                    }
                    for metric in ("roc_auc", "recall", "false_positive_rate")
                },
                "falls_short": bool(gap > margin and least is not None and least > 0),
            }
        )
    return entries


def _groups(values: npt.NDArray[Any]) -> tuple[list[str], IntArray]:
    """Return the groups' names, in their order, and the group of each row."""
    if np.asarray(values).dtype.kind in "iufb":
        numbers = np.asarray(values, dtype=np.float64)
        if len(np.unique(numbers[~np.isnan(numbers)])) > MAX_NUMBERS:
            return _quarters(numbers)
        values = np.array([None if np.isnan(n) else f"{n:g}" for n in numbers], dtype=object)
    texts = np.array([NOT_KNOWN if one is None else str(one) for one in values], dtype=object)
    names, codes, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    if len(names) <= MAX_GROUPS:
        return names.tolist(), codes
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_GROUPS])
    place = np.full(len(names), len(kept))
    place[kept] = np.arange(len(kept))
    return [*names[kept].tolist(), OTHERS], place[codes]


def _quarters(numbers: FloatArray) -> tuple[list[str], IntArray]:
    missing = np.isnan(numbers)
    bounds = np.unique(np.quantile(numbers[~missing], [0, 0.25, 0.5, 0.75, 1]))
    codes = np.clip(np.searchsorted(bounds, numbers, side="right") - 1, 0, len(bounds) - 2)
    names = [f"{low:g} – {high:g}" for low, high in itertools.pairwise(bounds)]
    if missing.any():
        codes = np.where(missing, len(names), codes)
        names.append(NOT_KNOWN)
    return names, codes


def _large_enough(positive: npt.NDArray[np.bool_]) -> bool:
    bad = int(positive.sum())
    return len(positive) >= MIN_ROWS and min(bad, len(positive) - bad) >= MIN_PER_CLASS


def _recall(
    scores: FloatArray, positive: npt.NDArray[np.bool_], threshold: float, weights: FloatArray
) -> FloatArray:
    found = weights[:, positive & (scores >= threshold)].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share: FloatArray = found / weights[:, positive].sum(axis=1)
    return share


def shortfalls(groups: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each group that falls short, with the column it is a group of."""
    for column in groups:
        for group in column["groups"]:
            if group.get("falls_short"):
                yield column, group
