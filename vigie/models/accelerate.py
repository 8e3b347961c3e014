"""A Random Forest grown by oneDAL (the ``accelerated`` extra), given back as scikit-learn's own.

scikit-learn-intelex grows other trees than scikit-learn from the same seed, several times as fast,
and knows no missing values. They are given to it as a number far below all others, so that every
split sends them to the left; in the trees that come back that is what scikit-learn calls
``missing_go_to_left``. So the model file, its explanations and its scores don't need the extra.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import SettingsError
from vigie.i18n import _

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    IntArray = npt.NDArray[np.int64]

LIBRARY = "scikit-learn-intelex"
# Finite in single precision, and so far down that no midpoint reaches a real value.
BELOW_ALL = np.float32(-1e30)


def fit_forest(
    params: Mapping[str, Any],
    X: Matrix,  # noqa: N803
    labels: npt.NDArray[Any],
    *,
    seed: int,
    threads: int,
) -> Any:
    """Return a ``sklearn.ensemble.RandomForestClassifier`` grown by oneDAL.

    Parameters
    ----------
    params
        Of scikit-learn's Random Forest.
    X
        float32, rows x features, NaN where not known.

    Raises
    ------
    SettingsError
        When the extra is not installed, or it can't grow such a forest.
    """
    grow = _forest_class()
    filled = np.where(np.isnan(X), BELOW_ALL, X)
    grown = grow(**params, random_state=seed, n_jobs=threads).fit(filled, labels)
    if not hasattr(grown, "_onedal_estimator"):
        # It falls back to scikit-learn in silence.
        raise SettingsError(
            _("The accelerated forest can't be grown with these parameters: {params}.").format(
                params=", ".join(f"{name} = {value}" for name, value in sorted(params.items()))
            ),
            where="model.accelerated",
            fix=_("Leave them at their defaults, or set [model] accelerated = false."),
        )
    return _as_sklearn(grown, params, filled, labels, seed=seed, threads=threads)


def library_version() -> dict[str, str]:
    """Return which release grew the trees, for the model's metadata."""
    from importlib.metadata import version

    return {LIBRARY: version(LIBRARY)}


def check_installed() -> None:
    """Refuse to begin what could not be trained.

    Raises
    ------
    SettingsError
        When the extra is not installed.
    """
    from importlib.util import find_spec

    if find_spec("sklearnex") is None:
        raise _not_installed()


def _forest_class() -> Any:
    try:
        from sklearnex.ensemble import RandomForestClassifier
    except ImportError as error:
        raise _not_installed() from error
    return RandomForestClassifier


def _not_installed() -> SettingsError:
    return SettingsError(
        _("The accelerated forest needs {library}, which is not installed.").format(
            library=LIBRARY
        ),
        where="model.accelerated",
        fix=_('Install it: pip install "vigie[accelerated]", or set it to false.'),
    )


def _as_sklearn(
    grown: Any,
    params: Mapping[str, Any],
    filled: Matrix,
    labels: npt.NDArray[Any],
    *,
    seed: int,
    threads: int,
) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(**params, random_state=seed, n_jobs=1)
    classes, codes = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(classes))[codes]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        # Mostly scikit-learn's search for the rows' leaves, which needs no interpreter.
        forest.estimators_ = list(
            pool.map(lambda tree: _counted(tree, filled, one_hot), grown.estimators_)
        )
    forest.estimator_ = type(forest.estimators_[0])()
    forest.classes_ = classes
    forest.n_classes_ = len(classes)
    forest.n_outputs_ = 1
    forest.n_features_in_ = filled.shape[1]
    return forest


def _counted(tree: Any, filled: Matrix, one_hot: npt.NDArray[np.float64]) -> Any:
    """Return the tree with the shares of the classes in each node, and missing values to the left.

    What scikit-learn-intelex gives back has the majority's class in each leaf, not the shares.
    They are counted anew, over all training rows and not just those that the tree was grown from:
    what a leaf says rests on more rows then.
    """
    state = tree.tree_.__getstate__()
    nodes = state["nodes"].copy()
    leaf = tree.tree_.apply(filled)
    counts = np.column_stack(
        [np.bincount(leaf, weights=column, minlength=len(nodes)) for column in one_hot.T]
    )
    left, right = nodes["left_child"], nodes["right_child"]
    for parents in reversed(_levels(left, right)):
        counts[parents] = counts[left[parents]] + counts[right[parents]]
    rows = counts.sum(axis=1)
    shares = counts / rows[:, None]
    nodes["n_node_samples"] = nodes["weighted_n_node_samples"] = rows
    nodes["impurity"] = 1 - (shares**2).sum(axis=1)
    nodes["missing_go_to_left"] = 1
    tree.tree_.__setstate__({**state, "nodes": nodes, "values": shares[:, None, :]})
    return tree


def _levels(left: IntArray, right: IntArray) -> list[IntArray]:
    """Return the nodes that have children, those of one depth together, the root's first."""
    found: list[IntArray] = []
    level = np.zeros(1, dtype=np.int64)
    while True:
        level = level[left[level] >= 0]
        if not level.size:
            return found
        found.append(level)
        level = np.concatenate([left[level], right[level]])
