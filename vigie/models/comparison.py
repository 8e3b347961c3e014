"""Which kind of model does best: on the same folds, the same hold-out and the same draws.

The best is chosen by cross-validation: the hold-out tells how good the chosen one is, and would no
longer do so if it had chosen.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.models.evaluate import paired_difference

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

CHOSEN_BY = "mean AUC over the folds of the cross-validation"


def best_kind(judged: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the kind with the highest mean AUC over the folds; of equal ones the first."""
    return max(judged, key=lambda kind: judged[kind]["cross_validation"]["roc_auc"]["mean"] or 0.0)


def differences(
    scores: Mapping[str, FloatArray],
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    held_out: npt.NDArray[np.bool_],
    best: str,
    *,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return by how much the AUC of each kind differs from the best one's, paired.

    Parameters
    ----------
    scores
        By kind, one per row; each by a model that never saw the row.
    labels, groups, held_out
        0/1, the person, and whether it is a row of the hold-out, per row.
    best
        The kind that the others are held against; it is not among the results.

    Returns
    -------
    By kind ``cross_validation`` (all out-of-fold scores together) and ``holdout``, each with
    ``value`` (this kind minus the best), ``low`` and ``high`` (95 %).
    """
    found: dict[str, dict[str, Any]] = {}
    for kind in scores:
        if kind == best:
            continue
        found[kind] = {}
        for name, rows in (("cross_validation", ~held_out), ("holdout", held_out)):
            beside = asdict(
                paired_difference(
                    scores[kind][rows], scores[best][rows], labels[rows],
                    groups=groups[rows], seed=seed,
                )
            )  # fmt: skip
            found[kind][name] = {
                "value": beside["difference"], "low": beside["low"], "high": beside["high"],
            }  # fmt: skip
    return found


def as_good_as(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the kinds whose difference from the best on the folds chance explains as well."""
    return [
        kind
        for kind, one in found.items()
        if one["cross_validation"]["high"] is not None and one["cross_validation"]["high"] >= 0
    ]
