"""The train step: cross-validation, the evaluated model and the final one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import ROW_ID, report_column
from vigie.errors import ModelError
from vigie.i18n import _
from vigie.pipeline.step import StepContext
from vigie.steps.division import division_settings
from vigie.steps.matrix import FeatureMatrix, read_matrix

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from vigie.models.calibrate import Method
    from vigie.models.champion import Challenge
    from vigie.models.store import ModelFiles
    from vigie.models.train import TrainingResult

GROUP_COLUMN = "group_key"


@dataclass(frozen=True, slots=True)
class _Own:
    """What is fitted, by the settings."""

    kind: str
    params: dict[str, Any]
    calibrate: Method | None
    n_splits: int
    accelerated: bool

    @property
    def grown_as(self) -> str:
        """The kind by what fits it."""
        from vigie.models.kinds import ACCELERATED

        return ACCELERATED if self.accelerated else self.kind

    @classmethod
    def of(cls, context: StepContext) -> _Own:
        from vigie.models.kinds import FOREST, kind_params

        kind = context.param("model.kind")
        given = context.param(f"modes.{context.mode}.model_params")
        return cls(
            kind,
            kind_params(kind, given, context.param("model.params")),
            context.param("model.calibrate") or None,
            context.param(f"modes.{context.mode}.n_splits_cv"),
            context.param("model.accelerated") and kind == FOREST,
        )


def run(context: StepContext) -> None:
    """Fit, and keep the model, its description and the score of every labelled row."""
    from vigie.models.explain import topic_codes
    from vigie.models.train import train_model
    from vigie.models.workers import open_workers

    matrix = read_matrix(context)
    own = _Own.of(context)
    with (
        context.progress(_("training"), 1.0) as bar,
        open_workers(context.services["place"]) as workers,
    ):
        context.facts["workers"] = workers.describe()
        result = train_model(
            matrix.values,
            matrix.labels,
            matrix.keys[GROUP_COLUMN].to_numpy(),
            matrix.keys["period"].to_numpy(),
            kind=own.grown_as,
            params=own.params,
            calibrate=own.calibrate,
            **division_settings(context, matrix),
            threads=context.services["threads"],
            workers=workers,
            progress=bar.advance_to,
            feature_names=matrix.names,
            topics=topic_codes(matrix.metadata["features"]),
        )
    for note in result.split.notes:
        context.warn(note)
    _keep(context, matrix, own, result)


def _keep(context: StepContext, matrix: FeatureMatrix, own: _Own, result: TrainingResult) -> None:
    """Keep the new model as a version, and as the current one unless that one is better."""
    from vigie.models.store import ModelFiles, save_model

    now = datetime.now(UTC)
    files = ModelFiles(
        context.output("model").path,
        context.output("model_metadata").path,
        context.output("scores").path,
    )
    metadata = _metadata(context, matrix, own, result, now)
    found = _challenge(context, matrix, result, metadata, files)
    if found is not None:
        metadata["challenge"] = found.document()
    taken = found is None or found.taken
    if not taken:
        _check_kind(context, files, found)
    previous = _current_file(files)
    written = save_model(
        result.model,
        metadata,
        _scores(matrix, result, context.param("seed")),
        files,
        context.services["model_versions"],
        now.strftime("%Y%m%dT%H%M%SZ"),
        current=taken,
    )
    if taken and previous is not None and previous != files.model:
        # A model of another kind or format, kept among the versions: its metadata are gone.
        previous.unlink(missing_ok=True)
    _tell(context, result, written)
    if found is not None:
        _tell_challenge(context, found)


def _metadata(
    context: StepContext, matrix: FeatureMatrix, own: _Own, result: TrainingResult, now: datetime
) -> dict[str, Any]:
    from vigie.models.metadata import model_metadata

    metadata = model_metadata(
        result,
        matrix.metadata["features"],
        fingerprint=context.services["fingerprint"](),
        trained_at=now.isoformat(timespec="seconds"),
        mode=context.mode,
        dataset=matrix.metadata["dataset"],
        generated=matrix.metadata["generated"] is not None,
        cutoff_days=matrix.metadata["cutoff_days"],
        kind=own.kind,
        params=own.params,
        calibrate=own.calibrate,
        seed=context.param("seed"),
        n_splits=own.n_splits,
        row_count=len(matrix.labels),
    )
    metadata["counts"] |= {
        name: matrix.metadata["counts"][name] for name in ("eligible", "cohort", "known_bad")
    }
    if own.accelerated:
        from vigie.models.accelerate import library_version

        metadata["accelerated"] = library_version()
    metadata["vocabulary"] = matrix.metadata["vocabulary"]
    metadata["matrix_sha256"] = matrix.sha256()
    return metadata


def _scores(matrix: FeatureMatrix, result: TrainingResult, seed: int) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    from vigie.models.drift import SAMPLE_COLUMN, sample_rows
    from vigie.models.predict import score_table

    found = result.scores
    table = score_table(
        matrix.keys,
        found.rows,
        found.scores,
        found.origins,
        found.folds,
        key_columns=matrix.metadata["key"],
        group_column=GROUP_COLUMN,
        reasons=found.reasons,
        feature_names=matrix.names,
        more_columns=[
            column
            for column in (report_column(r["column"]) for r in matrix.metadata["reported"])
            if column in matrix.keys.column_names
        ],
    )
    # A sample of what was learnt from goes with the scores: they are their owner's only.
    kept = sample_rows(len(found.rows), seed)
    values = np.full((len(found.rows), matrix.values.shape[1]), np.nan, dtype=np.float32)
    values[kept] = matrix.values[found.rows[kept]]
    is_kept = np.zeros(len(found.rows), dtype=bool)
    is_kept[kept] = True
    flat = pa.array(values.ravel(), pa.float32())
    table = table.append_column(
        SAMPLE_COLUMN,
        pa.FixedSizeListArray.from_arrays(flat, matrix.values.shape[1], mask=pa.array(~is_kept)),
    )
    outcomes = pa.array(matrix.labels[found.rows], pa.int8())
    baseline = pa.array(found.baseline, pa.float64(), from_pandas=True)
    return table.append_column("label", outcomes).append_column("baseline", baseline)


# --- champion and challenger -----------------------------------------------------------------


def _challenge(
    context: StepContext,
    matrix: FeatureMatrix,
    result: TrainingResult,
    metadata: dict[str, Any],
    files: ModelFiles,
) -> Challenge | None:
    """Hold the new model of ``prod`` against the current one, where there is one to compare."""
    import numpy as np

    from vigie.models.champion import JudgedRows, challenge

    if context.mode != "prod":
        return None
    rows = result.split.holdout_rows
    scores = result.scores
    found = challenge(
        replace(files, model=_current_file(files) or files.model),
        metadata,
        JudgedRows(
            matrix.keys.take(rows),
            matrix.values[rows],
            matrix.labels[rows],
            matrix.keys[GROUP_COLUMN].to_numpy()[rows],
            scores.scores[np.searchsorted(scores.rows, rows)],
        ),
        matrix.metadata["features"],
        key_columns=matrix.metadata["key"],
        tolerance=context.param("model.tolerance"),
        accept=context.services["accept"],
        seed=context.param("seed"),
        keys_are_row_numbers=ROW_ID in matrix.metadata["key"],
    )
    if isinstance(found, str):
        context.say(
            _("not compared with the model before, which it replaces: {reason}").format(
                reason=found
            )
        )
        return None
    return found


def _check_kind(context: StepContext, files: ModelFiles, found: Challenge | None) -> None:
    """Refuse to keep the current model where the settings ask for one of another kind or format.

    Its file has another name than the one that the next steps look for.
    """
    previous = _current_file(files)
    if found is None or previous is None or previous == files.model:
        return
    raise ModelError(
        _(
            "The model {challenger} is worse than the current one, {champion}, on the same "
            "{rows} rows: AUC {new:.3f} instead of {old:.3f}. The current one was kept."
        ).format(
            challenger=found.challenger,
            champion=found.champion,
            rows=f"{found.rows:,}",
            new=found.challenger_auc,
            old=found.champion_auc,
        ),
        where="model.kind",
        fix=_("Set [model] kind and format back, or take it in any case: {command}").format(
            command=f"vigie run --mode {context.mode} --accept"
        ),
    )


def _current_file(files: ModelFiles) -> Path | None:
    """Return the model file that the current metadata speak of, None where there are none."""
    try:
        name = json.loads(files.metadata.read_text("utf-8"))["file"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files.metadata.with_name(str(name))


def _tell_challenge(context: StepContext, found: Challenge) -> None:
    context.facts["challenge"] = found.document()
    interval = (
        "–" if found.low is None or found.high is None else f"[{found.low:+.3f}; {found.high:+.3f}]"
    )
    context.say(
        _(
            "beside the current model {champion} on the same {rows} rows: AUC {new:.3f} and "
            "{old:.3f}, difference {difference:+.3f} {interval}"
        ).format(
            champion=found.champion,
            rows=f"{found.rows:,}",
            new=found.challenger_auc,
            old=found.champion_auc,
            difference=found.difference,
            interval=interval,
        )
    )
    if found.accepted_by_flag:
        context.warn(
            _("the new model is worse than the one before; it was taken because of --accept")
        )
    elif found.worse:
        context.warn(
            _(
                "the new model {challenger} is worse by more than {tolerance}: {champion} stays "
                "the current one. To take the new one: {command}"
            ).format(
                challenger=found.challenger,
                champion=found.champion,
                tolerance=found.tolerance,
                command=f"vigie run --mode {context.mode} --accept",
            )
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
