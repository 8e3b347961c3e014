"""The train step: cross-validation, the evaluated model and the final one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_write
from vigie.pipeline.step import StepContext
from vigie.steps.matrix import FeatureMatrix, read_matrix

if TYPE_CHECKING:
    from vigie.models.split import Known
    from vigie.models.train import TrainingResult

GROUP_COLUMN = "group_key"


@dataclass(frozen=True, slots=True)
class _Own:
    """The mode's own settings."""

    n_splits: int
    params: dict[str, Any]


def run(context: StepContext) -> None:
    """Fit, and keep the model, its description and the score of every labelled row."""
    from vigie.models.explain import topic_codes
    from vigie.models.train import train_forest

    matrix = read_matrix(context)
    params = dict(context.param(f"modes.{context.mode}.model_params"))
    if not params["bootstrap"]:
        params["max_samples"] = None
    own = _Own(context.param(f"modes.{context.mode}.n_splits_cv"), params)
    with context.progress(_("training"), 1.0) as bar:
        result = train_forest(
            matrix.values,
            matrix.labels,
            matrix.keys[GROUP_COLUMN].to_numpy(),
            matrix.keys["period"].to_numpy(),
            params=own.params,
            n_splits=own.n_splits,
            seed=context.param("seed"),
            holdout_share=context.param("evaluation.holdout_share"),
            # One thing at many cut-offs is in nearly every period: nothing would be left.
            drop_repeaters=context.param("evaluation.drop_repeaters")
            and context.services["dataset"].cohort.cutoff is None,
            known=_known(context, matrix),
            threads=context.services["threads"],
            progress=bar.advance_to,
            feature_names=matrix.names,
            topics=topic_codes(matrix.metadata["features"]),
            folds_setting=f"modes.{context.mode}.n_splits_cv",
        )
        metadata = _save(context, matrix, own, result)
    for note in result.split.notes:
        context.warn(note)
    _tell(context, result, metadata)


def _known(context: StepContext, matrix: FeatureMatrix) -> Known | None:
    """Return when outcomes that happen in a window after the cut-off are known."""
    import numpy as np
    import pyarrow as pa

    from vigie.models.split import Known

    window = context.services["dataset"].cohort.label.window
    if window is None:
        return None
    cutoff = matrix.keys["cutoff"]
    if pa.types.is_temporal(cutoff.type):
        cutoff = cutoff.cast(pa.date32()).cast(pa.int32())
    days = np.asarray(cutoff.to_numpy(), dtype=np.int64)
    return Known(days, days + window.days)


def _save(
    context: StepContext, matrix: FeatureMatrix, own: _Own, result: TrainingResult
) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from vigie.models.predict import score_table
    from vigie.models.store import model_metadata, save_model

    now = datetime.now(UTC)
    metadata = model_metadata(
        result,
        matrix.metadata["features"],
        fingerprint=context.services["fingerprint"](),
        trained_at=now.isoformat(timespec="seconds"),
        mode=context.mode,
        dataset=matrix.metadata["dataset"],
        generated=matrix.metadata["generated"] is not None,
        cutoff_days=matrix.metadata["cutoff_days"],
        params=own.params,
        seed=context.param("seed"),
        n_splits=own.n_splits,
        row_count=len(matrix.labels),
    )
    metadata["vocabulary"] = matrix.metadata["vocabulary"]
    metadata["matrix_sha256"] = matrix.sha256()
    scores = score_table(
        matrix.keys,
        result.scores.rows,
        result.scores.scores,
        result.scores.origins,
        result.scores.folds,
        key_columns=matrix.metadata["key"],
        group_column=GROUP_COLUMN,
        reasons=result.scores.reasons,
        feature_names=matrix.names,
    )
    outcomes = pa.array(matrix.labels[result.scores.rows], pa.int8())
    with atomic_write(context.output("scores").path) as path:
        pq.write_table(scores.append_column("label", outcomes), path)
    return save_model(
        result.model,
        metadata,
        context.output("model").path,
        context.output("model_metadata").path,
        context.output("scores").path,
        context.services["model_versions"],
        now.strftime("%Y%m%dT%H%M%SZ"),
    )


def _tell(context: StepContext, result: TrainingResult, metadata: dict[str, Any]) -> None:
    summary = metadata["cross_validation"]
    context.facts["version"] = metadata["version"]
    context.facts["fit_seconds"] = metadata["fit_seconds"]
    context.say(result.split.describe())
    mean, spread = summary["mean"].get("roc_auc"), summary["std"].get("roc_auc")
    if mean is not None:
        context.say(
            _("cross-validation, {folds} folds: AUC {mean:.3f} ± {spread:.3f}").format(
                folds=summary["n_splits"], mean=mean, spread=spread or 0.0
            )
        )
    context.say(
        _("model {version}, {size:.1f} MB").format(
            version=metadata["version"], size=metadata["size_bytes"] / 1e6
        )
    )
