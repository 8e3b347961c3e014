"""Fit the models, each once: one per fold, one to be judged, one to be kept.

How forests share the cores was measured (23,275 x 94 real features, 200 trees, 7 fits, 2 cores):
one fit after another, its trees on all threads: 35 s of processor time, both cores 96 % busy;
two fits at a time on threads: the same; two processes (loky): the same, and a second or two to
start them and a copy of everything in memory. So the simplest is what is done unless the settings
name another place (``vigie.models.workers``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import DataError, ModelError
from vigie.i18n import _
from vigie.models.calibrate import CalibratedModel, Calibrator, Method
from vigie.models.division import divide
from vigie.models.drift import make_reference
from vigie.models.evaluate import point_metrics
from vigie.models.explain import Explanation, explain
from vigie.models.importance import permutation_importance
from vigie.models.kinds import (
    FOREST,
    FORESTS,
    LOGISTIC,
    fit_kind,
    kind_params,
    make_classifier,
)
from vigie.models.predict import NOISE_DECIMALS, risk_scores
from vigie.models.split import UNLABELLED, HoldoutKind, Known, Split
from vigie.models.workers import FitTask, InProcess, Workers

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
    baseline
        For the rows of the hold-out what a logistic regression on the same rows would say; NaN
        elsewhere.
    """

    rows: IntArray
    scores: FloatArray
    origins: npt.NDArray[np.str_]
    folds: IntArray
    reasons: Explanation
    baseline: FloatArray


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
        Mean decrease in impurity by feature of `model`, and its spread over the trees; None for
        models that have none.
    permutation
        Loss of AUC on the hold-out when a topic is shuffled, topics x shuffles.
    reference
        What later rows are compared with, as in ``make_reference``.
    fit_seconds
        By model: ``final``, ``evaluated``, ``fold 1`` and so on.
    """

    model: Any
    split: Split
    scores: TrainingScores
    folds: tuple[FoldMetrics, ...]
    training_roc_auc: float | None
    train_prevalence: float
    importances: FloatArray | None
    importances_std: FloatArray | None
    permutation: FloatArray
    fit_seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)

    def fold_documents(self) -> list[dict[str, Any]]:
        """Return the folds' metrics as plain values for metadata and reports."""
        return [asdict(fold) for fold in self.folds]


@dataclass(slots=True)
class _Fitting:
    """The matrix and how to fit on some of its rows; keeps time and tells progress."""

    X: Matrix
    labels: npt.NDArray[Any]
    kind: str
    params: Mapping[str, Any]
    seed: int
    threads: int
    topics: IntArray
    progress: Callable[[float], None] | None
    fit_seconds: dict[str, float] = field(default_factory=dict)

    def fit(self, rows_by_name: Mapping[str, IntArray], workers: Workers) -> dict[str, Any]:
        """Return a model fitted on each set of rows; whoever fits it, it is the same one."""
        for name, rows in rows_by_name.items():
            if len(np.unique(self.labels[rows])) < 2:
                raise ModelError(
                    _("The rows of the model {name!r} have one outcome only.").format(name=name),
                    where="n_splits_cv",
                    fix=_("Use fewer folds or bring more rows of both outcomes."),
                )
        # Wrong parameters are found here, in the reader's language, before anything is sent away.
        make_classifier(self.kind, self.params, seed=self.seed, threads=1)
        tasks = [
            FitTask(name, self.kind, self.params, rows, self.seed)
            for name, rows in rows_by_name.items()
        ]
        total, done = sum(len(task.rows) for task in tasks), 0
        models: dict[str, Any] = {}
        try:
            for task, fitted in zip(tasks, workers.fit(tasks, self.X, self.labels), strict=True):
                models[task.name] = fitted.model
                self.fit_seconds[task.name] = fitted.seconds
                done += len(task.rows)
                if self.progress is not None:
                    self.progress(done / total)
        except (ValueError, TypeError) as error:
            raise _refused(self.kind, error) from error
        return models


def fit_classifier(
    kind: str,
    params: Mapping[str, Any],
    X: Matrix,  # noqa: N803
    labels: npt.NDArray[Any],
    *,
    seed: int,
    threads: int,
) -> Any:
    """Return a fitted classifier of a kind, that predicts on one thread.

    Raises
    ------
    ModelError
        When scikit-learn refuses the parameters or the data.
    """
    try:
        return fit_kind(kind, params, X, labels, seed=seed, threads=threads)
    except (ValueError, TypeError) as error:
        raise _refused(kind, error) from error


def _refused(kind: str, reason: Exception) -> ModelError:
    return ModelError(
        _("The model {kind} could not be fitted: {reason}").format(kind=kind, reason=reason),
        where="modes.*.model_params" if kind in FORESTS else "model.params",
        fix=_("Correct the parameters of the model in vigie.toml."),
    )


def train_model(
    X: Matrix,  # noqa: N803
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    periods: npt.NDArray[Any],
    *,
    kind: str = FOREST,
    params: Mapping[str, Any],
    calibrate: Method | None = None,
    n_splits: int,
    seed: int,
    holdout_share: float,
    drop_repeaters: bool,
    threads: int,
    workers: Workers | None = None,
    progress: Callable[[float], None] | None = None,
    holdout: HoldoutKind = "latest",
    holdout_from: str | None = None,
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
    kind
        What to fit, as in ``make_classifier``.
    params
        Its parameters; seed and threads are set here.
    calibrate
        How scores are calibrated, on out-of-fold scores; None leaves them as they are.
    holdout_share, drop_repeaters, holdout, holdout_from, known
        See ``holdout_split``.
    threads
        How many threads may be used; the result does not depend on it.
    workers
        Who fits, as ``open_workers`` gives it: None fits here. Neither does it depend on that.
        For several trainings on one matrix, give the same workers and the same matrix.
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
    division = divide(
        labels,
        groups,
        periods,
        n_splits=n_splits,
        folds_setting=folds_setting,
        seed=seed,
        holdout=holdout,
        holdout_share=holdout_share,
        holdout_from=holdout_from,
        drop_repeaters=drop_repeaters,
        known=known,
    )
    split, earlier, folds = division.split, division.earlier, division.folds
    labelled = np.flatnonzero(labels != UNLABELLED)
    _check_features(X[labelled], feature_names)
    if topics is None:
        topics = np.arange(X.shape[1])
    fitting = _Fitting(X, labels, kind, params, seed, threads, topics, progress)
    members = division.members
    learnt = {f"fold {number}": rows for number, rows in enumerate(division.others, start=1)}
    models = fitting.fit(
        {"evaluated": split.train_rows, **learnt, "final": labelled},
        workers or InProcess(threads),
    )
    evaluated, final = models.pop("evaluated"), models.pop("final")
    scored = _Scored.by_models(
        fitting, [*models.values(), evaluated], [*members, split.holdout_rows]
    )
    if calibrate is not None:
        final = scored.calibrate(calibrate, labels, split.train_rows, final)
    scored.explain(fitting)
    importances, spread = _importances(final)
    seen = risk_scores(scored.models[-1], X[split.train_rows])
    return TrainingResult(
        model=final,
        split=split,
        scores=_training_scores(labelled, scored, split, earlier, folds, _baseline(fitting, split)),
        folds=tuple(
            _fold_metrics(fold, scored.scores[rows], labels[rows], threshold)
            for fold, rows in enumerate(members)
        ),
        training_roc_auc=point_metrics(seen, labels[split.train_rows], 0.5)["roc_auc"],
        train_prevalence=float((labels[split.train_rows] == 1).mean()),
        importances=importances,
        importances_std=spread,
        permutation=permutation_importance(
            evaluated,
            X[split.holdout_rows],
            labels[split.holdout_rows],
            topics,
            seed=seed,
            threads=threads,
        ),
        fit_seconds=fitting.fit_seconds,
        versions=_versions(),
        reference=make_reference(
            X[labelled],
            scored.scores[labelled],
            feature_names or [str(place) for place in range(X.shape[1])],
        ),
    )


@dataclass(slots=True, eq=False)
class _Scored:
    """Models with the rows that each of them, and it alone, may judge: folds, then the hold-out."""

    models: list[Any]
    rows: list[IntArray]
    scores: FloatArray
    reasons: Explanation

    @classmethod
    def by_models(cls, fitting: _Fitting, models: list[Any], rows: list[IntArray]) -> _Scored:
        scored = cls(
            models,
            rows,
            np.full(len(fitting.labels), np.nan),
            Explanation.empty(len(fitting.labels)),
        )
        for model, own in zip(models, rows, strict=True):
            scored.scores[own] = risk_scores(model, fitting.X[own])
        return scored

    def calibrate(
        self, method: Method, labels: npt.NDArray[Any], train_rows: IntArray, final: Any
    ) -> Any:
        """Calibrate every score with what other rows tell, and return the calibrated final model.

        The hold-out's with the out-of-fold scores of what its model learnt from, a fold's with
        those of the other folds.
        """
        raw = self.scores.copy()
        labelled = np.sort(np.concatenate(self.rows))
        earlier = np.concatenate(self.rows[:-1])
        learnt = [np.setdiff1d(earlier, own) for own in self.rows[:-1]] + [train_rows]
        for place, (own, others) in enumerate(zip(self.rows, learnt, strict=True)):
            calibrator = Calibrator(method).fit(raw[others], labels[others])
            self.models[place] = CalibratedModel(self.models[place], calibrator)
            self.scores[own] = np.round(calibrator(raw[own]), NOISE_DECIMALS)
        return CalibratedModel(final, Calibrator(method).fit(raw[labelled], labels[labelled]))

    def explain(self, fitting: _Fitting) -> None:
        """Say of each row why its model gave it its score."""
        for model, own in zip(self.models, self.rows, strict=True):
            self.reasons.put(
                own, explain(model, fitting.X[own], fitting.topics, threads=fitting.threads)
            )


def _baseline(fitting: _Fitting, split: Split) -> FloatArray:
    """Return what a logistic regression says of the hold-out; more has to be worth its while."""
    found = np.full(len(fitting.labels), np.nan)
    rows = split.train_rows
    model = fit_classifier(
        LOGISTIC,
        kind_params(LOGISTIC, {}, "{}"),
        fitting.X[rows],
        fitting.labels[rows],
        seed=fitting.seed,
        threads=fitting.threads,
    )
    found[split.holdout_rows] = risk_scores(model, fitting.X[split.holdout_rows])
    return found


def _training_scores(
    labelled: IntArray,
    scored: _Scored,
    split: Split,
    earlier: IntArray,
    folds: IntArray,
    baseline: FloatArray,
) -> TrainingScores:
    fold_of_row = np.full(len(scored.scores), -1, dtype=np.int64)
    fold_of_row[earlier] = folds
    held_out = np.zeros(len(scored.scores), dtype=bool)
    held_out[split.holdout_rows] = True
    return TrainingScores(
        rows=labelled,
        scores=scored.scores[labelled],
        origins=np.where(held_out[labelled], HOLDOUT, FOLD),
        folds=fold_of_row[labelled],
        reasons=scored.reasons.take(labelled),
        baseline=baseline[labelled],
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


def _importances(model: Any) -> tuple[FloatArray | None, FloatArray | None]:
    inner = model.model if isinstance(model, CalibratedModel) else model
    if not hasattr(inner, "feature_importances_"):
        return None, None
    trees = getattr(inner, "estimators_", None)
    if trees is None or not all(hasattr(tree, "feature_importances_") for tree in np.ravel(trees)):
        return np.asarray(inner.feature_importances_), None
    by_tree = np.array([tree.feature_importances_ for tree in np.ravel(trees)])
    return np.asarray(inner.feature_importances_), by_tree.std(axis=0)


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
