"""The figures of a sweep over days of the cut-off, as the report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vigie.report.sources import Interval

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """How well one can tell at one day.

    Parameters
    ----------
    found, logistic
        AUC among those who can still be helped, by the model and by a logistic regression.
    everybody
        The model's with those counted in who were gone by then.
    rows
        How many are judged.
    error
        Why there are no figures of this day; None where there are.
    """

    day: int
    found: Interval
    everybody: Interval
    logistic: Interval
    rows: int | None
    error: str | None


def sweep_points(document: Json | None) -> tuple[SweepPoint, ...]:
    """Return what stands in ``reports/sweep_{mode}.json``, by day; nothing where there is none."""
    found = (document or {}).get("points") or ()
    return tuple(_point(one) for one in sorted(found, key=lambda one: one["cutoff_days"]))


def _point(one: Json) -> SweepPoint:
    holdout: Json = one.get("holdout") or {}
    everybody, logistic = one.get("everybody") or {}, one.get("logistic_regression") or {}
    return SweepPoint(
        day=one["cutoff_days"],
        found=Interval.of(holdout.get("roc_auc")),
        everybody=Interval.of(everybody.get("roc_auc")),
        logistic=Interval.of(logistic.get("roc_auc")),
        rows=holdout.get("rows"),
        error=one.get("error"),
    )
