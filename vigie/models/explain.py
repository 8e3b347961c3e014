"""Why a row has its score: an additive decomposition of the forest that sums to the score.

On its way down a tree a row passes nodes; each step from a node to its child changes the share of
bad outcomes, and that change is credited to the feature that the node asks about. Over the way they
sum to the leaf's share minus the root's, over all trees to the score minus the mean at the roots
(Saabas 2014, "Interpreting random forests"). What a leaf credits is the same for every row in it,
and is worked out once for each leaf: 24,000 rows and 200 trees take seconds, not minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
    codes = [
        topics.setdefault((feature.get("topic") or feature["label"])["en"], len(topics))
        for feature in features
    ]
    return np.asarray(codes, dtype=np.int64)


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

    Parameters
    ----------
    model
        A forest of scikit-learn's.
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
        base, amounts = contributions(model, X[rows], threads=threads)
        found.put(rows, _strongest(base, amounts, topics))
    return found


def contributions(
    model: Any,
    X: Matrix,  # noqa: N803
    *,
    threads: int = 1,
) -> tuple[float, FloatArray]:
    """Return the base and what each feature adds to the score of each row (rows x features).

    ``base + amounts.sum(axis=1)`` is the model's probability of the bad outcome.
    """
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
        values = _shares(tree, column)
        base += float(values[0])
        np.take(_credits(tree, values, X.shape[1]), tree.apply(X), axis=0, out=taken, mode="clip")
        total += taken
    return base, total


def _shares(tree: Any, column: int) -> FloatArray:
    """Return the share of bad outcomes in each node."""
    counts = tree.value[:, 0, :]
    shares: FloatArray = counts[:, column] / counts.sum(axis=1)
    return shares


def _credits(tree: Any, values: FloatArray, features: int) -> FloatArray:
    """Return what the way to each node credits to each feature (nodes x features)."""
    credit = np.zeros((tree.node_count, features))
    level = np.zeros(1, dtype=np.int64)
    while len(level):
        inner = level[tree.children_left[level] != _LEAF]
        for children in (tree.children_left[inner], tree.children_right[inner]):
            credit[children] = credit[inner]
            credit[children, tree.feature[inner]] += values[children] - values[inner]
        level = np.concatenate([tree.children_left[inner], tree.children_right[inner]])
    return credit


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
