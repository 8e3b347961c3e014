"""Who is judged, and what that does to the figures.

The headline is about those who can still be helped. Most published figures are about everybody, the
already gone among them, whose outcome needs no model; and some persons of the test year were in the
training years too. Both are told beside the headline, so that figures can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.models.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

# Intervals of figures that stand beside the headline's.
DRAWS = 200
SHOWN = ("roc_auc", "average_precision", "accuracy", "recall", "precision", "brier")


def everybody(
    scores: FloatArray,
    labels: npt.NDArray[Any],
    persons: npt.NDArray[Any],
    known_bad: int,
    *,
    threshold: float,
    train_prevalence: float,
    seed: int,
) -> dict[str, Any]:
    """Return the metrics with `known_bad` more rows, at risk and scored 1: they are gone already.

    Each of them counts as a person of its own.
    """
    gone = np.ones(known_bad)
    names, codes = np.unique(persons, return_inverse=True)
    numbers = np.arange(known_bad) + len(names)
    found = evaluate(
        np.concatenate([scores, gone]),
        np.concatenate([labels, gone.astype(int)]),
        threshold,
        groups=np.concatenate([codes, numbers]),
        train_prevalence=train_prevalence,
        seed=seed,
        draws=DRAWS,
    )
    return {
        "rows": found["rows"],
        "positives": found["positives"],
        "prevalence": found["prevalence"],
        "known_bad": known_bad,
        "metrics": {name: found["metrics"][name] for name in SHOWN},
    }


def known_bad_in(counts: Mapping[str, Any], periods: Sequence[str], *, share: float) -> int | None:
    """Return how many of the hold-out's periods were gone by the cut-off; None where nobody knows.

    Parameters
    ----------
    counts
        Of the features' metadata; ``known_bad`` counts them by period.
    periods
        Of the hold-out; none where persons are held out at random.
    share
        Which share of all labelled rows the hold-out is, for persons held out at random.
    """
    by_period: Mapping[str, int] | None = counts.get("known_bad")
    if not by_period:
        return None
    eligible = counts.get("eligible") or 0
    # Of a sample, as many as there would be beside it.
    sampled: float = counts["cohort"] / eligible if eligible else 1.0
    if periods:
        return round(sampled * sum(by_period.get(period, 0) for period in periods))
    return round(sampled * share * sum(by_period.values()))


def repeaters(
    scores: FloatArray,
    labels: npt.NDArray[Any],
    persons: npt.NDArray[Any],
    earlier: npt.NDArray[Any],
    *,
    threshold: float,
    train_prevalence: float,
    seed: int,
) -> dict[str, Any]:
    """Return how many of the hold-out were there before, and the AUC with and without them.

    Parameters
    ----------
    earlier
        The persons of the rows outside the hold-out.
    """
    known = np.isin(persons, earlier)
    found: dict[str, Any] = {
        "rows": int(known.sum()),
        "persons": len(np.unique(persons[known])),
        "without": None,
    }
    rest = ~known
    if known.any() and len(np.unique(labels[rest])) == 2:
        without = evaluate(
            scores[rest],
            labels[rest],
            threshold,
            groups=persons[rest],
            train_prevalence=train_prevalence,
            seed=seed,
            draws=DRAWS,
        )
        found["without"] = {
            "rows": without["rows"],
            "metrics": {name: without["metrics"][name] for name in SHOWN},
        }
    return found
