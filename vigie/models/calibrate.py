"""Scores that mean what they say: of those with a score of .3, three in ten should be at risk.

The map from raw to calibrated score is learnt from out-of-fold scores of the rows that the model
learns from; never from the hold-out, which has to tell how well it worked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

Method = Literal["isotonic", "sigmoid"]
_CLIP = 1e-6


class Calibrator:
    """A growing map of scores: a step function (isotonic) or a logistic curve (sigmoid).

    Isotonic regression follows any growing shape and wants a thousand rows or more (Zadrozny &
    Elkan 2002); the sigmoid has two parameters and makes do with fewer (Platt 1999). Platt's is
    fitted on the log-odds of the score, so that a calibrated model stays as it is.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self._fitted: Any = None

    def fit(self, scores: FloatArray, labels: npt.NDArray[Any]) -> Calibrator:
        """Learn from scores (0 to 1) that no model gave to its own rows, and 0/1 outcomes."""
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        if self.method == "isotonic":
            self._fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            self._fitted.fit(scores, labels)
        else:
            # Next to no regularization: two parameters on many rows need none.
            # Products with one column: two threads would only wait for each other.
            with threadpool_limits(limits=1, user_api="blas"):
                self._fitted = LogisticRegression(C=1e6).fit(_log_odds(scores), labels)
        return self

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return the calibrated scores."""
        if self.method == "isotonic":
            found: FloatArray = self._fitted.predict(scores)
        else:
            found = self._fitted.predict_proba(_log_odds(scores))[:, 1]
        return found


class CalibratedModel:
    """A model whose probability of the bad outcome goes through a calibrator."""

    def __init__(self, model: Any, calibrated: Calibrator) -> None:
        self.model = model
        self.calibrated = calibrated
        self.classes_ = np.array([0, 1])

    def predict_proba(self, X: npt.NDArray[np.float32]) -> FloatArray:  # noqa: N803
        """Return the probabilities of the good and of the bad outcome (rows x 2)."""
        at_risk = list(self.model.classes_).index(1)
        bad = self.calibrated(self.model.predict_proba(X)[:, at_risk])
        return np.column_stack([1 - bad, bad])


def _log_odds(scores: FloatArray) -> FloatArray:
    clipped = np.clip(scores, _CLIP, 1 - _CLIP)
    return np.log(clipped / (1 - clipped))[:, None]
