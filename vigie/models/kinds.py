"""Which models there are, and how each is made: scikit-learn's classifiers, by name or path.

Parameters that nobody gave are the ones that did best, or as well with less work, on OULAD: train
2013, test 2014, at five cut-offs.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import ModelError
from vigie.i18n import _
from vigie.models.warnings_kept import warnings_kept
from vigie.names import with_nearest
from vigie.settings_schema import KINDS

if TYPE_CHECKING:
    import numpy.typing as npt

FOREST, EXTRA_TREES = "random_forest", "extra_trees"
BOOSTING, LOGISTIC = "hist_gradient_boosting", "logistic_regression"
# A Random Forest too, grown by another library.
ACCELERATED = "random_forest, accelerated"
# These take the parameters of the mode, [modes.*] model_params.
FORESTS = (FOREST, EXTRA_TREES, ACCELERATED)
# These grow tree by tree, on as many threads as they are told to.
GROWN_BY_THREAD = (FOREST, EXTRA_TREES)

_PATHS = {
    FOREST: "sklearn.ensemble.RandomForestClassifier",
    EXTRA_TREES: "sklearn.ensemble.ExtraTreesClassifier",
    BOOSTING: "sklearn.ensemble.HistGradientBoostingClassifier",
    LOGISTIC: "sklearn.linear_model.LogisticRegression",
    # It takes the same parameters.
    ACCELERATED: "sklearn.ensemble.RandomForestClassifier",
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    BOOSTING: {
        "learning_rate": 0.03,
        "max_iter": 300,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 20,
        "l2_regularization": 5.0,
        "max_features": 0.2,
        # Its own early stopping would hold out rows without keeping a person's together.
        "early_stopping": False,
    },
    LOGISTIC: {"C": 0.05, "max_iter": 1000},
}
# What the versions of models begin with.
_SHORT = {FOREST: "rf", EXTRA_TREES: "et", BOOSTING: "hgb", LOGISTIC: "lr"}


def short_name(kind: str) -> str:
    """Return what the versions of models of this kind begin with."""
    return _SHORT.get(kind, "m")


def kind_params(kind: str, model_params: Mapping[str, Any], more: str) -> dict[str, Any]:
    """Return the parameters of a model of `kind`.

    Parameters
    ----------
    model_params
        Of the mode: the forests take them.
    more
        A JSON object; it goes before all others.
    """
    params = dict(_DEFAULTS.get(kind, {}))
    if kind in FORESTS:
        params.update(model_params)
        if not params.get("bootstrap", True):
            params["max_samples"] = None
    params.update(json.loads(more))
    return params


def make_classifier(kind: str, params: Mapping[str, Any], *, seed: int, threads: int) -> Any:
    """Return an unfitted classifier that gives probabilities and stands missing values.

    One that can't have missing values gets medians in their place and standardised columns.

    Raises
    ------
    ModelError
        When there is no such class, it is no classifier with probabilities, or it refuses the
        parameters.
    """
    from sklearn.base import is_classifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils import get_tags

    made = _construct(kind, params)
    if not is_classifier(made) or not hasattr(made, "predict_proba"):
        raise ModelError(
            _("{kind} is no classifier that gives probabilities.").format(kind=kind),
            where="model.kind",
            fix=_("Choose one with predict_proba; for some that is a parameter."),
        )
    own = made.get_params()
    if "random_state" in own:
        made.set_params(random_state=seed)
    # Logistic regression still has the parameter, without any effect but a warning.
    if "n_jobs" in own and not isinstance(made, LogisticRegression):
        made.set_params(n_jobs=threads)
    if get_tags(made).input_tags.allow_nan:
        return made
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(FunctionTransformer(as_double), medians, StandardScaler(), made)


def fit_kind(
    kind: str,
    params: Mapping[str, Any],
    X: npt.NDArray[np.float32],  # noqa: N803
    labels: npt.NDArray[Any],
    *,
    seed: int,
    threads: int,
) -> Any:
    """Return a fitted classifier of a kind, that predicts on one thread.

    Raises
    ------
    ModelError
        As in ``make_classifier``.
    ValueError, TypeError
        When scikit-learn refuses the parameters or the data.
    """
    if kind == ACCELERATED:
        from vigie.models.accelerate import fit_forest

        return fit_forest(params, X, labels, seed=seed, threads=threads)
    model = make_classifier(kind, params, seed=seed, threads=threads)
    # Some take no number of threads but use as many as there are cores, boosting for one.
    guard = warnings_kept() if _last(model).get_params().get("n_jobs") else nullcontext()
    with _limited(kind, threads), guard:
        model.fit(X, labels)
    return serial(model)


def _limited(kind: str, threads: int) -> AbstractContextManager[object]:
    """Return what holds the libraries beneath a fit to so many threads."""
    if kind in GROWN_BY_THREAD:
        # These use none of them; to look for them takes 5 ms each time.
        return nullcontext()
    from threadpoolctl import threadpool_limits

    # Two threads for the products of so narrow a matrix wait for each other: 0.5 s for 0.1.
    limits: AbstractContextManager[object] = threadpool_limits(
        {"blas": 1 if kind == LOGISTIC else threads, "openmp": threads}
    )
    return limits


def as_double(X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:  # noqa: N803
    """Return the matrix in double precision: sums of many products of singles lose digits."""
    return np.asarray(X, dtype=np.float64)


def _construct(kind: str, params: Mapping[str, Any]) -> Any:
    module, _dot, name = _PATHS.get(kind, kind).rpartition(".")
    try:
        classifier = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            _("There is no model {kind!r}: {reason}").format(kind=kind, reason=error)
            if module
            else _("There is no model {kind!r}.").format(kind=kind),
            where="model.kind",
            fix=with_nearest(
                _("Choose one of {names}, or the import path of a classifier.").format(
                    names=", ".join(KINDS)
                ),
                kind,
                KINDS,
            ),
        ) from error
    try:
        return classifier(**params)
    except TypeError as error:
        raise ModelError(
            _("The model {kind} does not take these parameters: {reason}").format(
                kind=kind, reason=error
            ),
            where="modes.*.model_params" if kind in FORESTS else "model.params",
            fix=_("Correct the parameters of the model in vigie.toml."),
        ) from error


def serial(model: Any) -> Any:
    """Make a fitted model predict on one thread, and return it.

    Threads add up the trees in whatever order they finish: another last bit each time.
    """
    last = _last(model)
    if last.get_params().get("n_jobs") is not None:
        last.set_params(n_jobs=1)
    return model


def _last(model: Any) -> Any:
    return model.steps[-1][1] if hasattr(model, "steps") else model
