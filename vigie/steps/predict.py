"""The predict step: a score for everyone, as a CSV and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vigie.data.load import load_predictions
from vigie.dataset.spec import ROW_ID, Dataset
from vigie.i18n import _
from vigie.pipeline.step import StepContext
from vigie.steps.matrix import FeatureMatrix, read_matrix, read_threshold

if TYPE_CHECKING:
    import pyarrow as pa

    from vigie.models.store import LoadedModel

GROUP_COLUMN = "group_key"


def run(context: StepContext) -> None:
    """Check that the model fits the features, score every row, publish."""
    import pyarrow.parquet as pq

    from vigie.models.predict import write_predictions_csv, write_predictions_metadata
    from vigie.models.store import check_schema, check_scores, load_model

    matrix = read_matrix(context)
    loaded = load_model(
        context.input("model").path, context.input("model_metadata").path, mode=context.mode
    )
    check_scores(loaded.metadata, context.input("scores").path, mode=context.mode)
    for note in loaded.notes:
        context.warn(note)
    check_schema(
        loaded.metadata,
        matrix.metadata["features"],
        cutoff_days=matrix.metadata["cutoff_days"],
        dataset=matrix.metadata["dataset"],
        mode=context.mode,
    )
    with context.progress(_("scoring"), None):
        stored = pq.read_table(context.input("scores").path)
        threshold = read_threshold(context, stored).value
        table = _score(context, matrix, loaded, stored, threshold)
        write_predictions_csv(table, context.output("predictions").path)
        write_predictions_metadata(
            context.output("predictions_metadata").path,
            table,
            mode=context.mode,
            dataset=matrix.metadata["dataset"],
            generated=matrix.metadata["generated"] is not None,
            key_columns=matrix.metadata["key"],
            model_metadata=loaded.metadata,
            low=context.param("predict.low"),
            high=context.param("predict.high"),
            threshold=threshold,
            cutoff_days=matrix.metadata["cutoff_days"],
        )
        address = context.services["address"]()
        context.services["before_replacing"]()
        load_predictions(
            address,
            context.services["schema"],
            table,
            matrix.metadata["key"],
            fingerprint=context.services["fingerprint"](),
            run={"mode": context.mode, "model_version": loaded.metadata["version"]},
        )
    context.facts["model_version"] = loaded.metadata["version"]
    _tell(context, table)


def _score(
    context: StepContext,
    matrix: FeatureMatrix,
    loaded: LoadedModel,
    stored: pa.Table,
    threshold: float,
) -> pa.Table:
    from vigie.models.predict import predict_table

    metadata = loaded.metadata
    if ROW_ID in matrix.metadata["key"] and metadata.get("matrix_sha256") != matrix.sha256():
        # Row 5 of another file is another thing: no stored score is its own.
        stored = stored.slice(0, 0)
    return predict_table(
        matrix.keys,
        matrix.values,
        matrix.labels,
        loaded.model,
        stored,
        key_columns=matrix.metadata["key"],
        group_column=GROUP_COLUMN,
        low=context.param("predict.low"),
        high=context.param("predict.high"),
        threshold=threshold,
        model_version=metadata["version"],
        cutoff_days=matrix.metadata["cutoff_days"],
        features=matrix.metadata["features"],
        language=context.param("lang"),
        threads=context.services["threads"],
    )


def _tell(context: StepContext, table: pa.Table) -> None:
    dataset: Dataset = context.services["dataset"]
    levels = table["risk_level"].to_pylist()
    counts = {level: levels.count(level) for level in ("high", "medium", "low")}
    context.facts["rows"] = table.num_rows
    context.facts["risk_level"] = counts
    context.say(
        _("{rows} {things}: {high} at high risk, {medium} medium, {low} low").format(
            rows=f"{table.num_rows:,}",
            things=dataset.cohort.plural.in_language(context.services["language"]),
            **{level: f"{count:,}" for level, count in counts.items()},
        )
    )
