"""What acting on the scores would mean: whom one reaches, and how far a score can be believed.

Everything is about rows that the scoring model never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

# The shares of all rows that a capacity table shows.
CAPACITY_SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
CALIBRATION_BINS = 10


def capacity_table(
    scores: FloatArray, labels: npt.NDArray[Any], shares: Sequence[float] = CAPACITY_SHARES
) -> list[dict[str, Any]]:
    """Return what calling the riskiest so many would bring, one entry for each share of all rows.

    Each has ``rows`` (how many are called), ``threshold`` (the lowest score among them),
    ``reached`` (how many of them are really at risk), ``precision`` (reached by called),
    ``recall`` (reached by all at risk) and ``lift`` (precision by the share of all at risk).
    """
    positive = np.asarray(labels) == 1
    order = np.argsort(-np.asarray(scores), kind="stable")
    reached = np.cumsum(positive[order])
    total, prevalence = int(positive.sum()), float(positive.mean())
    table = []
    for share in shares:
        rows = max(1, round(share * len(order)))
        found = int(reached[rows - 1])
        table.append(
            {
                "share": share,
                "rows": rows,
                "threshold": float(scores[order[rows - 1]]),
                "reached": found,
                "precision": found / rows,
                "recall": found / total if total else None,
                "lift": found / rows / prevalence if prevalence else None,
            }
        )
    return table


def calibration(
    scores: FloatArray, labels: npt.NDArray[Any], bins: int = CALIBRATION_BINS
) -> dict[str, Any]:
    """Return how often what was said came true, by tenths of the score.

    ``expected_calibration_error`` is the mean distance of said and true over the bins, weighted by
    their rows (Naeini, Cooper & Hauskrecht 2015, with bins of equal width).
    """
    positive = np.asarray(labels) == 1
    scores = np.asarray(scores, dtype=np.float64)
    place = np.minimum((scores * bins).astype(int), bins - 1)
    curve, error = [], 0.0
    for number in range(bins):
        here = place == number
        rows = int(here.sum())
        if not rows:
            continue
        said, true = float(scores[here].mean()), float(positive[here].mean())
        error += rows / len(scores) * abs(said - true)
        curve.append({"low": number / bins, "high": (number + 1) / bins, "rows": rows,
                      "said": said, "true": true})  # fmt: skip
    return {"bins": curve, "expected_calibration_error": error}


def threshold_for_capacity(scores: FloatArray, rows: int) -> float:
    """Return the lowest score among the `rows` riskiest."""
    ordered = np.sort(np.asarray(scores))[::-1]
    return float(ordered[min(max(rows, 1), len(ordered)) - 1])


def threshold_for_recall(scores: FloatArray, labels: npt.NDArray[Any], recall: float) -> float:
    """Return the highest threshold at which at least `recall` of those at risk are flagged."""
    risky = np.sort(np.asarray(scores)[np.asarray(labels) == 1])[::-1]
    needed = max(1, int(np.ceil(recall * len(risky) - 1e-9)))
    return float(risky[needed - 1])


def threshold_for_cost(
    scores: FloatArray, labels: npt.NDArray[Any], missed_per_alarm: float
) -> float:
    """Return the threshold of least cost, where missing one costs so many false alarms.

    Of equal ones the highest: the fewest are called.
    """
    positive = np.asarray(labels) == 1
    order = np.argsort(-np.asarray(scores), kind="stable")
    ordered = np.asarray(scores)[order]
    reached = np.cumsum(positive[order])
    called = np.arange(1, len(order) + 1)
    cost = (called - reached) + missed_per_alarm * (int(positive.sum()) - reached)
    # A threshold takes all rows of one score or none.
    last = np.r_[ordered[1:] != ordered[:-1], True]
    cost = np.where(last, cost, np.inf)
    return float(ordered[int(np.argmin(cost))])


@dataclass(frozen=True, slots=True)
class ChosenThreshold:
    """From which score on a row is predicted at risk, and by which rule that was chosen.

    Attributes
    ----------
    value
        The score.
    by
        ``"threshold"`` (given as such), ``"capacity"``, ``"recall"`` or ``"missed_per_alarm"``.
    wanted
        What was asked for: the score itself, or the rule's figure.
    """

    value: float
    by: str
    wanted: float

    def document(self) -> dict[str, Any]:
        """Return plain values for the metrics."""
        return asdict(self)


def choose_threshold(
    scores: FloatArray,
    labels: npt.NDArray[Any],
    *,
    threshold: float,
    capacity: float | None = None,
    recall: float | None = None,
    missed_per_alarm: float | None = None,
) -> ChosenThreshold:
    """Return the threshold that the settings ask for.

    Parameters
    ----------
    scores, labels
        Out-of-fold scores and outcomes of rows outside the hold-out, which has to tell how well
        the threshold does.
    threshold
        Used where nothing else is asked for.
    capacity
        The share of all rows that can be called.
    recall
        The share of those at risk that is to be found.
    missed_per_alarm
        How many false alarms missing one costs.
    """
    if capacity is not None:
        rows = round(capacity * len(scores))
        return ChosenThreshold(threshold_for_capacity(scores, rows), "capacity", capacity)
    if recall is not None:
        return ChosenThreshold(threshold_for_recall(scores, labels, recall), "recall", recall)
    if missed_per_alarm is not None:
        value = threshold_for_cost(scores, labels, missed_per_alarm)
        return ChosenThreshold(value, "missed_per_alarm", missed_per_alarm)
    return ChosenThreshold(threshold, "threshold", threshold)
