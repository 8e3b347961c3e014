"""How much worse the model gets when it may no longer know something.

What a topic's columns say is dealt out anew among the rows of the hold-out, all columns of the
topic together, and the loss of AUC is its importance (Breiman 2001; grouped as in Au et al. 2022,
"Grouped feature importance"). Unlike the forest's own importance it does not favour columns with
many different values, and it is measured on rows that the model never saw.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.models.evaluate import point_metrics
from vigie.models.predict import risk_scores
from vigie.models.warnings_kept import warnings_kept

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]

# More rows and shuffles make the figures steadier and the wait longer.
MAX_ROWS = 2000
REPEATS = 3
_CELLS_PER_CALL = 3_000_000


def permutation_importance(
    model: Any,
    X: npt.NDArray[np.float32],  # noqa: N803
    labels: npt.NDArray[Any],
    topics: IntArray,
    *,
    seed: int,
    threads: int = 1,
) -> FloatArray:
    """Return the loss of AUC for each topic, one column for each shuffle.

    Parameters
    ----------
    model
        Fitted on other rows.
    X, labels
        Rows that it never saw; of more than 2,000 so many are drawn.
    topics
        A number (from 0 without gaps) for each column.
    threads
        How many may be used; the result does not depend on it.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(X))[:MAX_ROWS])
    X, labels = X[rows], labels[rows]  # noqa: N806
    orders = [rng.permutation(len(X)) for _repeat in range(REPEATS)]
    whole = _auc(risk_scores(model, X), labels)
    count = int(topics.max()) + 1

    every = np.concatenate(orders)

    def losses(some: range) -> list[list[float]]:
        shuffled = np.tile(X, (len(some) * REPEATS, 1)).reshape(len(some), *every.shape, -1)
        for place, topic in enumerate(some):
            columns = np.flatnonzero(topics == topic)
            shuffled[place][:, columns] = X[np.ix_(every, columns)]
        scores = risk_scores(model, shuffled.reshape(-1, X.shape[1]))
        return [
            [whole - _auc(one, labels) for one in repeats]
            for repeats in scores.reshape(len(some), REPEATS, len(X))
        ]

    # Many rows at a time: threads that go through few between two calls of Python's wait for each
    # other, and a call for each tree and topic is a quarter of the work.
    together = max(1, _CELLS_PER_CALL // (REPEATS * X.size))
    parts = [range(first, min(first + together, count)) for first in range(0, count, together)]
    with warnings_kept(), ThreadPoolExecutor(max(1, threads)) as pool:
        return np.array([found for part in pool.map(losses, parts) for found in part])


def _auc(scores: FloatArray, labels: npt.NDArray[Any]) -> float:
    value = point_metrics(scores, labels, 0.5)["roc_auc"]
    return float("nan") if value is None else value
