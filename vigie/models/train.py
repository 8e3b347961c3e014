"""Fit the forests, each once: one per fold, one to be judged, one to be kept.

How the fits share the cores was measured (23,275 x 94 real features, 200 trees, 7 fits, 2 cores):
one fit after another, its trees on all threads: 35 s of processor time, both cores 96 % busy;
two fits at a time on threads: the same; two processes (loky): the same, and a second or two to
start them and a copy of everything in memory. So the simplest is kept.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import DataError, ModelError
from vigie.i18n import _
from vigie.models.evaluate import point_metrics
from vigie.models.explain import Explanation, explain
from vigie.models.predict import risk_scores
from vigie.models.split import UNLABELLED, HoldoutKind, Known, Split, grouped_folds, holdout_split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]
    Matrix = npt.NDArray[np.float32]

FOLD, HOLDOUT = "fold", "holdout"
FOLD_METRICS = ("roc_auc", "accuracy", "average_precision", "brier")


@dataclass(frozen=True, slots=True)
class FoldMetrics:
    """What one fold's model reached on the rows it did not see; None where undefined."""

    fold: int
    rows: int
    positives: int
    roc_auc: float | None
    accuracy: float | None
    average_precision: float | None
    brier: float | None


@dataclass(frozen=True, slots=True, eq=False)
class TrainingScores:
    """An honest score for every labelled row, ordered by row number.

    Parameters
    ----------
    rows
        Row numbers.
    scores
        Probability of the bad outcome, from a model that never saw the row.
    origins
        ``"fold"`` or ``"holdout"`` per row.
    folds
        The fold, -1 for rows of the hold-out.
    reasons
        Why each row has its score, from the model that gave it.
    """

    rows: IntArray
    scores: FloatArray
    origins: npt.NDArray[np.str_]
    folds: IntArray
    reasons: Explanation


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """Everything that the fits gave.

    Parameters
    ----------
    model
        Fitted on all labelled rows: scores the rows without an outcome. Predicts on one thread.
    training_roc_auc
        The evaluated model on the rows it learned from: a warning figure, no measure of quality.
    train_prevalence
        Share of at-risk rows among those that the evaluated model learned from.
    importances, importances_std
        Mean decrease in impurity by feature of `model`, and its spread over the trees.
    fit_seconds
        By model: ``final``, ``evaluated``, ``fold 1`` and so on.
    """

    model: Any
    split: Split
    scores: TrainingScores
    folds: tuple[FoldMetrics, ...]
    training_roc_auc: float | None
    train_prevalence: float
    importances: FloatArray
    importances_std: FloatArray
    fit_seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def fold_documents(self) -> list[dict[str, Any]]:
        """Return the folds' metrics as plain values for metadata and reports."""
        return [asdict(fold) for fold in self.folds]


@dataclass(slots=True)
class _Fitting:
    """The matrix and how to fit on some of its rows; keeps time and tells progress."""

    X: Matrix
    labels: npt.NDArray[Any]
    params: Mapping[str, Any]
    seed: int
    threads: int
    topics: IntArray | None
    total_rows: int
    progress: Callable[[float], None] | None
    done_rows: int = 0
    fit_seconds: dict[str, float] = field(default_factory=dict)

    def explain(self, model: Any, rows: IntArray) -> Explanation:
        """Return why `model` scores `rows` as it does."""
        return explain(model, self.X[rows], self.topics, threads=self.threads)

    def fit(self, name: str, rows: IntArray) -> Any:
        """Return a forest fitted on `rows`; on any number of threads it is the same one."""
        from sklearn.ensemble import RandomForestClassifier

        labels = self.labels[rows]
        if len(np.unique(labels)) < 2:
            raise ModelError(
                _("The rows of the model {name!r} have one outcome only.").format(name=name),
                where="n_splits_cv",
                fix=_("Use fewer folds or bring more rows of both outcomes."),
            )
        started = time.perf_counter()
        settings = {**self.params, "random_state": self.seed, "n_jobs": self.threads}
        try:
            model = RandomForestClassifier(**settings)
            model.fit(self.X[rows], labels)
        except (ValueError, TypeError) as error:
            raise ModelError(
                _("The Random Forest could not be fitted: {reason}").format(reason=error),
                where="model_params",
                fix=_("Correct the parameters of the model in vigie.toml."),
            ) from error
        # Threads add up the trees in whatever order they finish: another last bit each time.
        model.set_params(n_jobs=1)
        self.fit_seconds[name] = time.perf_counter() - started
        self.done_rows += len(rows)
        if self.progress is not None:
            self.progress(min(1.0, self.done_rows / self.total_rows))
        return model


def train_forest(
    X: Matrix,  # noqa: N803
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    periods: npt.NDArray[Any],
    *,
    params: Mapping[str, Any],
    n_splits: int,
    seed: int,
    holdout_share: float,
    drop_repeaters: bool,
    threads: int,
    progress: Callable[[float], None] | None = None,
    holdout: HoldoutKind = "latest",
    known: Known | None = None,
    threshold: float = 0.5,
    feature_names: Sequence[str] | None = None,
    topics: IntArray | None = None,
    folds_setting: str = "n_splits_cv",
) -> TrainingResult:
    """Fit the folds' models, the evaluated one and the final one; no fit is done twice.

    Folds cover all labelled rows outside the hold-out, repeaters that the evaluated model leaves
    out among them, so that every labelled row gets a score from a model that never saw it.

    Parameters
    ----------
    X
        float32, rows x features, NaN where not known.
    labels
        1 (at risk), 0 (not), -1 (not known yet) per row.
    groups, periods
        The person of each row, and what orders the rows in time.
    params
        Parameters of ``RandomForestClassifier``; seed and threads are set here.
    holdout_share, drop_repeaters, holdout, known
        See ``holdout_split``.
    threads
        How many threads a fit may use; the result does not depend on it.
    progress
        Called with the share (0 to 1) of the work that is done.
    threshold
        For the folds' accuracy.
    feature_names
        Named in errors.
    topics
        Which columns are about the same, as in ``explain``.
    folds_setting
        The key of `n_splits`, named in errors.

    Raises
    ------
    DataError
        When the rows or labels don't allow a model.
    ModelError
        When scikit-learn refuses the parameters.
    """
    X, labels, groups = np.asarray(X), np.asarray(labels), np.asarray(groups)  # noqa: N806
    _check_shapes(X, labels, groups, np.asarray(periods), feature_names)
    split = holdout_split(
        labels,
        groups,
        periods,
        holdout_share=holdout_share,
        drop_repeaters=drop_repeaters,
        seed=seed,
        kind=holdout,
        known=known,
    )
    labelled = np.flatnonzero(labels != UNLABELLED)
    _check_features(X[labelled], feature_names)
    earlier = split.period_rows
    folds = grouped_folds(labels[earlier], groups[earlier], n_splits, seed, setting=folds_setting)
    total = len(labelled) + len(split.train_rows) + (n_splits - 1) * len(earlier)
    fitting = _Fitting(X, labels, params, seed, threads, topics, total, progress)
    score_of_row, reasons = np.full(len(labels), np.nan), Explanation.empty(len(labels))
    training_auc = _judge(fitting, split, score_of_row, reasons)
    fold_metrics = _fit_folds(fitting, earlier, folds, score_of_row, reasons, threshold)
    model = fitting.fit("final", labelled)
    importances, spread = _importances(model)
    return TrainingResult(
        model=model,
        split=split,
        scores=_training_scores(labelled, score_of_row, reasons, split, earlier, folds),
        folds=fold_metrics,
        training_roc_auc=training_auc,
        train_prevalence=float((labels[split.train_rows] == 1).mean()),
        importances=importances,
        importances_std=spread,
        fit_seconds=fitting.fit_seconds,
        versions=_versions(),
    )


def _judge(
    fitting: _Fitting, split: Split, score_of_row: FloatArray, reasons: Explanation
) -> float | None:
    """Fit the evaluated model and score the hold-out; return its AUC on the rows it learned."""
    model = fitting.fit("evaluated", split.train_rows)
    score_of_row[split.holdout_rows] = risk_scores(model, fitting.X[split.holdout_rows])
    reasons.put(split.holdout_rows, fitting.explain(model, split.holdout_rows))
    seen = risk_scores(model, fitting.X[split.train_rows])
    return point_metrics(seen, fitting.labels[split.train_rows], 0.5)["roc_auc"]


def _fit_folds(
    fitting: _Fitting,
    earlier: IntArray,
    folds: IntArray,
    score_of_row: FloatArray,
    reasons: Explanation,
    threshold: float,
) -> tuple[FoldMetrics, ...]:
    """Fit a model without each fold in turn and score the fold with it."""
    metrics = []
    for fold in range(int(folds.max()) + 1):
        rows = earlier[folds == fold]
        model = fitting.fit(f"fold {fold + 1}", earlier[folds != fold])
        score_of_row[rows] = risk_scores(model, fitting.X[rows])
        reasons.put(rows, fitting.explain(model, rows))
        metrics.append(_fold_metrics(fold, score_of_row[rows], fitting.labels[rows], threshold))
    return tuple(metrics)


def _training_scores(
    labelled: IntArray,
    score_of_row: FloatArray,
    reasons: Explanation,
    split: Split,
    earlier: IntArray,
    folds: IntArray,
) -> TrainingScores:
    fold_of_row = np.full(len(score_of_row), -1, dtype=np.int64)
    fold_of_row[earlier] = folds
    held_out = np.zeros(len(score_of_row), dtype=bool)
    held_out[split.holdout_rows] = True
    return TrainingScores(
        rows=labelled,
        scores=score_of_row[labelled],
        origins=np.where(held_out[labelled], HOLDOUT, FOLD),
        folds=fold_of_row[labelled],
        reasons=reasons.take(labelled),
    )


def _fold_metrics(
    fold: int, scores: FloatArray, labels: npt.NDArray[Any], threshold: float
) -> FoldMetrics:
    found = point_metrics(scores, labels, threshold)
    return FoldMetrics(
        fold=fold + 1,
        rows=len(labels),
        positives=int((labels == 1).sum()),
        **{name: found[name] for name in FOLD_METRICS},
    )


def _importances(model: Any) -> tuple[FloatArray, FloatArray]:
    by_tree = np.array([tree.feature_importances_ for tree in model.estimators_])
    return np.asarray(model.feature_importances_), by_tree.std(axis=0)


def _versions() -> dict[str, str]:
    import sklearn

    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__}


def _check_shapes(
    X: Matrix,  # noqa: N803
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    periods: npt.NDArray[Any],
    feature_names: Sequence[str] | None,
) -> None:
    sizes = {len(labels), len(groups), len(periods), len(X)}
    columns = X.shape[1] if X.ndim == 2 else -1
    if len(sizes) > 1 or columns < 1 or (feature_names and len(feature_names) != columns):
        raise DataError(
            _("Features {shape}, labels ({labels}) and keys ({keys}) don't fit together.").format(
                shape=X.shape, labels=len(labels), keys=len(groups)
            ),
            where="data/processed",
            fix=_("Make the features again: {command}").format(
                command="vigie run --steps features --force features"
            ),
        )


def _check_features(X: Matrix, feature_names: Sequence[str] | None) -> None:  # noqa: N803
    """Refuse infinite values, and features of which none tells one row from another."""
    endless = np.flatnonzero(np.isinf(X).any(axis=0))
    if len(endless):
        names = [feature_names[i] if feature_names else f"[{i}]" for i in endless[:5]]
        raise DataError(
            _("A feature has infinite values."),
            where=", ".join(names),
            fix=_("Check the column that the feature is made of for such values."),
        )
    missing = np.isnan(X)
    missing_somewhere = missing.any(axis=0) & ~missing.all(axis=0)
    # fmin and fmax pass over NaN without a warning where all are.
    varied = np.fmin.reduce(X, axis=0) < np.fmax.reduce(X, axis=0)
    if not (missing_somewhere | varied).any():
        raise DataError(
            _("Every feature has the same value in all rows: there is nothing to learn from."),
            where=_("{rows} rows, {columns} features").format(rows=X.shape[0], columns=X.shape[1]),
            fix=_("Check the cut-off (is anything known by then?) and the declared features."),
        )
