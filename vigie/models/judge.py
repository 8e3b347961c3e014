"""How well a kind of model does, without keeping one: for trials at many cut-offs or of many kinds.

The same rows, folds, fits and calibration as in ``train_model``, and so the same scores to the last
bit; without the final model, reasons and importances, which only a model that is kept needs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import ModelError
from vigie.i18n import _
from vigie.models.calibrate import Calibrator, Method
from vigie.models.division import Division
from vigie.models.evaluate import point_metrics
from vigie.models.predict import NOISE_DECIMALS, risk_scores
from vigie.models.train import fit_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one kind says of every labelled row, each time by a model that never saw the row.

    Parameters
    ----------
    scores
        Probability of the bad outcome by row; NaN for rows without a label.
    training_roc_auc
        Of the evaluated model on its own rows: no measure of quality.
    fit_seconds
        All fits together.
    """

    scores: FloatArray
    training_roc_auc: float | None
    fit_seconds: float


def judge(
    X: Matrix,  # noqa: N803
    labels: npt.NDArray[Any],
    division: Division,
    *,
    kind: str,
    params: Mapping[str, Any],
    calibrate: Method | None,
    seed: int,
    threads: int,
    progress: Callable[[float], None] | None = None,
) -> Judged:
    """Fit a kind once per fold and once for the hold-out, and score what each fit did not see.

    Parameters
    ----------
    X, labels, kind, params, calibrate, seed, threads
        As in ``train_model``.
    progress
        Called with the share (0 to 1) of the fits that are done.

    Raises
    ------
    ModelError
        When a fit has rows of one outcome only, or scikit-learn refuses the parameters.
    """
    split = division.split
    own = [*division.members, split.holdout_rows]
    learnt = [*division.others, split.train_rows]
    raw = np.full(len(labels), np.nan)
    started, seen = time.perf_counter(), np.empty(0)
    for number, (rows, others) in enumerate(zip(own, learnt, strict=True), start=1):
        if len(np.unique(labels[others])) < 2:
            raise ModelError(
                _("The rows of the model {name!r} have one outcome only.").format(name=kind),
                where="n_splits_cv",
                fix=_("Use fewer folds or bring more rows of both outcomes."),
            )
        model = fit_classifier(kind, params, X[others], labels[others], seed=seed, threads=threads)
        raw[rows] = risk_scores(model, X[rows])
        if rows is split.holdout_rows:
            seen = risk_scores(model, X[others])
        if progress is not None:
            progress(number / len(own))
    seconds = time.perf_counter() - started
    scores = raw.copy()
    if calibrate is not None:
        for rows, others in zip(own, learnt, strict=True):
            # Of what the fit learnt from only out-of-fold scores are used.
            calibrator = Calibrator(calibrate).fit(raw[others], labels[others])
            scores[rows] = np.round(calibrator(raw[rows]), NOISE_DECIMALS)
        # The last one is the hold-out's.
        seen = np.round(calibrator(seen), NOISE_DECIMALS)
    training = point_metrics(seen, labels[split.train_rows], 0.5)["roc_auc"]
    return Judged(scores, training, seconds)
