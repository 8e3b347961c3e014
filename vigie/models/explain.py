"""Why a row has its score: an additive decomposition of the model that sums to the score.

On its way down a tree a row passes nodes; each step from a node to its child changes the share of
bad outcomes, and that change is credited to the feature that the node asks about. Over the way they
sum to the leaf's share minus the root's, over all trees to the score minus the mean at the roots
(Saabas 2014, "Interpreting random forests"). What a leaf credits is the same for every row in it,
and is worked out once for each leaf: 24,000 rows and 200 trees take seconds, not minutes.

Boosted trees and logistic regression add up log-odds instead. Their parts are brought to the scale
of the score in proportion, so that here too they sum to it; a calibrated score likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.models.calibrate import CalibratedModel

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]
    Matrix = npt.NDArray[np.float32]

REASONS = 3
AT_RISK = 1
# Trees are summed in so many parts whatever the number of threads: the last bit must not depend on
# it.
_PARTS = 2
# Rows are taken together, as many as fit into about 250 MB for each part.
_CELLS_PER_CHUNK = 32_000_000
_LEAF = -1


def topic_codes(features: Sequence[Mapping[str, Any]]) -> IntArray:
    """Return a number for each feature, the same for features about the same thing.

    Parameters
    ----------
    features
        The entries of ``features_metadata_{mode}.json``.
    """
    topics: dict[str, int] = {}
    codes = [topics.setdefault(topic_label(feature)["en"], len(topics)) for feature in features]
    return np.asarray(codes, dtype=np.int64)


def topic_label(feature: Mapping[str, Any]) -> dict[str, str]:
    """Return what a feature is about in each language: its topic, else its own label or name."""
    return dict(feature.get("topic") or feature.get("label") or {"en": feature["name"]})


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The strongest reasons of each row.

    Attributes
    ----------
    base
        The score of a row of which nothing is known, one per row.
    features
        Columns of the matrix, rows x 3, the strongest first; -1 where there is none.
    amounts
        What the column's topic adds to the score, rows x 3; negative where it speaks for the good
        outcome.
    """

    base: FloatArray
    features: IntArray
    amounts: FloatArray

    @classmethod
    def empty(cls, rows: int) -> Explanation:
        """Return one without any reason, to be filled."""
        return cls(
            np.full(rows, np.nan),
            np.full((rows, REASONS), -1, dtype=np.int64),
            np.zeros((rows, REASONS)),
        )

    def put(self, rows: Any, other: Explanation) -> None:
        """Write the reasons of `other` at `rows`."""
        self.base[rows] = other.base
        self.features[rows] = other.features
        self.amounts[rows] = other.amounts

    def take(self, rows: Any) -> Explanation:
        """Return the reasons of some rows."""
        return Explanation(self.base[rows], self.features[rows], self.amounts[rows])


def explain(
    model: Any,
    X: Matrix,  # noqa: N803
    topics: IntArray | None = None,
    *,
    threads: int = 1,
) -> Explanation:
    """Return the strongest reasons for the score that `model` gives each row of `X`.

    There are none for a model without a decomposition.

    Parameters
    ----------
    model
        A fitted classifier.
    X
        float32, rows x features.
    topics
        A number for each column: columns of one topic are one reason, with what they add together.
        By default each stands for itself.
    threads
        How many may be used; the result does not depend on it.
    """
    if topics is None:
        topics = np.arange(X.shape[1])
    found = Explanation.empty(len(X))
    chunk = max(1, _CELLS_PER_CHUNK // max(1, X.shape[1]))
    for start in range(0, len(X), chunk):
        rows = slice(start, start + chunk)
        parts = contributions(model, X[rows], threads=threads)
        if parts is None:
            break
        found.put(rows, _strongest(*parts, topics))
    return found


def contributions(
    model: Any,
    X: Matrix,  # noqa: N803
    *,
    threads: int = 1,
) -> tuple[float, FloatArray] | None:
    """Return the base and what each feature adds to the score of each row (rows x features).

    ``base + amounts.sum(axis=1)`` is the model's probability of the bad outcome. None for a model
    that no additive decomposition is known of.
    """
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    if isinstance(model, CalibratedModel):
        inner = contributions(model.model, X, threads=threads)
        return None if inner is None else _rescaled(*inner, model.calibrated)
    if isinstance(model, RandomForestClassifier | ExtraTreesClassifier):
        return _of_forest(model, X, threads)
    if isinstance(model, HistGradientBoostingClassifier):
        return _rescaled(*_of_boosting(model, X), _probability)
    if isinstance(model, Pipeline) and isinstance(model.steps[-1][1], LogisticRegression):
        last = model.steps[-1][1]
        return _rescaled(
            float(last.intercept_[0]), model[:-1].transform(X) * last.coef_[0], _probability
        )
    return None


def _probability(log_odds: FloatArray) -> FloatArray:
    # Without overflow at either end.
    positive = np.exp(-np.abs(log_odds))
    probability: FloatArray = np.where(log_odds >= 0, 1, positive) / (1 + positive)
    return probability


def _rescaled(base: float, amounts: FloatArray, scale: Any) -> tuple[float, FloatArray]:
    """Return the parts of ``scale(sum)``: each in its proportion to the sum of all."""
    moved = amounts.sum(axis=1)
    new_base = float(scale(np.array([base]))[0])
    difference = scale(base + moved) - new_base
    factor = np.divide(difference, moved, out=np.ones_like(moved), where=moved != 0)
    return new_base, amounts * factor[:, None]


def _of_forest(model: Any, X: Matrix, threads: int) -> tuple[float, FloatArray]:  # noqa: N803
    column = int(np.flatnonzero(np.asarray(model.classes_) == AT_RISK)[0])
    trees = [tree.tree_ for tree in model.estimators_]
    X = np.ascontiguousarray(X, dtype=np.float32)  # noqa: N806
    parts = [trees[number::_PARTS] for number in range(_PARTS)]
    if threads > 1:
        with ThreadPoolExecutor(min(threads, _PARTS)) as pool:
            summed = list(pool.map(lambda part: _sum_of(part, X, column), parts))
    else:
        summed = [_sum_of(part, X, column) for part in parts]
    base = sum(part[0] for part in summed) / len(trees)
    amounts = np.sum([part[1] for part in summed], axis=0) / len(trees)
    return base, amounts


def _sum_of(trees: list[Any], X: Matrix, column: int) -> tuple[float, FloatArray]:  # noqa: N803
    base = 0.0
    total = np.zeros(X.shape)
    taken = np.empty(X.shape)
    for tree in trees:
        counts = tree.value[:, 0, :]
        values = counts[:, column] / counts.sum(axis=1)
        base += float(values[0])
        credit = _credits(tree.children_left, tree.children_right, tree.feature, values, X.shape[1])
        np.take(credit, tree.apply(X), axis=0, out=taken, mode="clip")
        total += taken
    return base, total


def _credits(
    left: IntArray, right: IntArray, feature: IntArray, values: FloatArray, features: int
) -> FloatArray:
    """Return what the way to each node credits to each feature (nodes x features)."""
    credit = np.zeros((len(values), features))
    level = np.zeros(1, dtype=np.int64)
    while len(level):
        inner = level[left[level] != _LEAF]
        for children in (left[inner], right[inner]):
            credit[children] = credit[inner]
            credit[children, feature[inner]] += values[children] - values[inner]
        level = np.concatenate([left[inner], right[inner]])
    return credit


def _of_boosting(model: Any, X: Matrix) -> tuple[float, FloatArray]:  # noqa: N803
    """Return the same of boosted trees, in log-odds.

    A node's value is the mean of the leaves below it, by the rows that they were fitted on.
    """
    base = float(np.ravel(model._baseline_prediction)[0])  # noqa: SLF001
    values_of_rows = np.asarray(X, dtype=np.float64)
    total = np.zeros(X.shape)
    for (predictor,) in model._predictors:  # noqa: SLF001
        nodes = predictor.nodes
        is_leaf = nodes["is_leaf"].astype(bool)
        left = np.where(is_leaf, _LEAF, nodes["left"].astype(np.int64))
        right = np.where(is_leaf, _LEAF, nodes["right"].astype(np.int64))
        values, counts = nodes["value"].copy(), nodes["count"].astype(np.float64)
        # Children come after their parent.
        for node in np.flatnonzero(~is_leaf)[::-1]:
            below = [left[node], right[node]]
            values[node] = values[below] @ counts[below] / counts[below].sum()
        base += float(values[0])
        feature = nodes["feature_idx"].astype(np.int64)
        credit = _credits(left, right, feature, values, X.shape[1])
        total += credit[_leaves(nodes, left, right, feature, values_of_rows)]
    return base, total


def _leaves(
    nodes: Any, left: IntArray, right: IntArray, feature: IntArray, rows: FloatArray
) -> IntArray:
    place = np.zeros(len(rows), dtype=np.int64)
    moving = np.arange(len(rows))
    while len(moving):
        moving = moving[left[place[moving]] != _LEAF]
        here = place[moving]
        value = rows[moving, feature[here]]
        missing = np.isnan(value)
        goes_left = np.where(
            missing, nodes["missing_go_to_left"][here] != 0, value <= nodes["num_threshold"][here]
        )
        place[moving] = np.where(goes_left, left[here], right[here])
    return place


def _strongest(base: float, amounts: FloatArray, topics: IntArray) -> Explanation:
    """Return the topics that add or take most, each by its strongest column; of equals the first.

    A topic is shown by the column that does most of what the whole topic does.
    """
    columns = np.argsort(topics, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(topics[columns])) + 1]
    ends = np.r_[starts[1:], len(columns)]
    together = np.add.reduceat(amounts[:, columns], starts, axis=1)
    count = min(REASONS, len(starts))
    order = np.argsort(-np.abs(together), axis=1, kind="stable")[:, :count]
    strongest = np.take_along_axis(together, order, axis=1)
    shown = np.full(order.shape, -1, dtype=np.int64)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        rows, places = np.nonzero((order == number) & (strongest != 0))
        members = np.sort(columns[start:end])
        pull = amounts[np.ix_(rows, members)] * np.sign(strongest[rows, places])[:, None]
        shown[rows, places] = members[np.argmax(pull, axis=1)] if len(rows) else 0
    found = Explanation.empty(len(amounts))
    found.base[:] = base
    found.features[:, :count] = shown
    found.amounts[:, :count] = strongest
    return found
