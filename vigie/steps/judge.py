"""The judge step of trials: how well one kind of model does at a cut-off; no model is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_write, write_json
from vigie.pipeline.step import StepContext
from vigie.steps.division import division_settings
from vigie.steps.matrix import FeatureMatrix, read_matrix

if TYPE_CHECKING:
    import numpy.typing as npt

    from vigie.models.division import Division
    from vigie.models.judge import Judged

METRICS = ("roc_auc", "average_precision", "brier")


def run(context: StepContext, *, kind: str) -> None:
    """Judge `kind` as the steps train and evaluate would; keep its scores and its metrics."""
    from vigie.models.division import divide
    from vigie.models.judge import judge

    matrix = read_matrix(context)
    persons = _person_numbers(matrix)
    division = divide(
        matrix.labels,
        matrix.keys["group_key"].to_numpy(),
        matrix.keys["period"].to_numpy(),
        **division_settings(context, matrix),
    )
    for note in division.split.notes:
        context.warn(note)
    with context.progress(_("trying {kind}").format(kind=kind), 1.0) as bar:
        judged = judge(
            matrix.values,
            matrix.labels,
            division,
            kind=kind,
            params=context.param(f"trial.{kind}"),
            calibrate=context.param("model.calibrate") or None,
            seed=context.param("seed"),
            threads=context.services["threads"],
            progress=bar.advance_to,
        )
    _write_scores(context, matrix, division, judged, persons, kind)
    document = _document(context, matrix, division, judged, persons, kind)
    write_json(context.output(f"judged {kind}").path, document)


def _person_numbers(matrix: FeatureMatrix) -> npt.NDArray[Any]:
    """Return a number for the person of each labelled row, -1 for the others.

    They are counted as evaluate counts them, so that the same draws give the same intervals.
    """
    import numpy as np
    import pyarrow as pa

    from vigie.models.split import UNLABELLED

    rows = np.flatnonzero(matrix.labels != UNLABELLED)
    names = matrix.keys["group_key"].take(pa.array(rows)).combine_chunks()
    numbers = np.full(len(matrix.labels), -1, dtype=np.int64)
    numbers[rows] = names.dictionary_encode().indices.to_numpy()
    return numbers


def _write_scores(
    context: StepContext,
    matrix: FeatureMatrix,
    division: Division,
    judged: Judged,
    persons: npt.NDArray[Any],
    kind: str,
) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    fold = np.full(len(matrix.labels), -1, dtype=np.int64)
    fold[division.earlier] = division.folds
    rows = np.sort(np.concatenate([division.earlier, division.split.holdout_rows]))
    table = pa.table(
        {
            "row": rows,
            "person": persons[rows],
            "label": matrix.labels[rows],
            # -1 is the hold-out.
            "fold": fold[rows],
            "score": judged.scores[rows],
        }
    )
    with atomic_write(context.output(f"scores {kind}").path) as path:
        pq.write_table(table, path)


def _document(
    context: StepContext,
    matrix: FeatureMatrix,
    division: Division,
    judged: Judged,
    persons: npt.NDArray[Any],
    kind: str,
) -> dict[str, Any]:
    from vigie.models.evaluate import evaluate
    from vigie.models.populations import everybody, known_bad_in

    rows, split = division.split.holdout_rows, division.split.document()
    values = (judged.scores[rows], matrix.labels[rows])
    common: dict[str, Any] = {
        "train_prevalence": float((matrix.labels[division.split.train_rows] == 1).mean()),
        "seed": context.param("seed"),
    }
    found = evaluate(*values, context.param("predict.threshold"), groups=persons[rows], **common)
    counts = matrix.metadata["counts"]
    labelled = len(division.earlier) + len(rows)
    gone = known_bad_in(counts, split["holdout_periods"], share=len(rows) / labelled)
    common["threshold"] = context.param("predict.threshold")
    beside = everybody(*values, persons[rows], gone, **common) if gone else None
    return {
        "kind": kind,
        "params": context.param(f"trial.{kind}"),
        "calibrate": context.param("model.calibrate"),
        "dataset": matrix.metadata["dataset"],
        "generated": matrix.metadata["generated"] is not None,
        "cutoff_days": matrix.metadata["cutoff_days"],
        "features": len(matrix.names),
        "split": split,
        "folds_sha256": division.sha256(),
        "holdout": {
            **{name: found[name] for name in ("rows", "positives", "prevalence")},
            **{name: _with_interval(found["metrics"][name]) for name in METRICS},
            "expected_calibration_error": found["calibration"]["expected_calibration_error"],
        },
        "everybody": beside and {
            **{name: beside[name] for name in ("rows", "positives", "prevalence", "known_bad")},
            "roc_auc": _with_interval(beside["metrics"]["roc_auc"]),
        },
        "cross_validation": _cross_validation(division, judged, matrix.labels),
        "training": {"roc_auc": judged.training_roc_auc},
        "fit_seconds": round(judged.fit_seconds, 2),
    }  # fmt: skip


def _with_interval(metric: dict[str, Any]) -> dict[str, Any]:
    return {name: metric[name] for name in ("value", "low", "high")}


def _cross_validation(
    division: Division, judged: Judged, labels: npt.NDArray[Any]
) -> dict[str, Any]:
    from vigie.models.evaluate import cross_validation_summary, point_metrics

    folds = [
        {"roc_auc": point_metrics(judged.scores[rows], labels[rows], 0.5)["roc_auc"]}
        for rows in division.members
    ]
    summary = cross_validation_summary(folds)
    return {
        "folds": len(folds),
        "roc_auc": {part: summary[part].get("roc_auc") for part in ("mean", "std")},
    }
