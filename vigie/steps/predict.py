"""The predict step: a score for everyone, as a CSV and as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vigie.data.load import load_predictions
from vigie.dataset.spec import ROW_ID, Dataset
from vigie.i18n import _
from vigie.names import shown_periods
from vigie.pipeline.artifacts import write_json
from vigie.pipeline.step import StepContext
from vigie.steps.matrix import FeatureMatrix, read_matrix, read_threshold

if TYPE_CHECKING:
    import pyarrow as pa

    from vigie.models.store import LoadedModel

GROUP_COLUMN = "group_key"
# So many more rows than before without any known category are worth a warning.
UNKNOWN_SHARE = 0.01


def run(context: StepContext) -> None:
    """Check that the model fits the features, score every row, publish."""
    import pyarrow.parquet as pq

    from vigie.models.compatible import check_schema
    from vigie.models.predict import write_predictions_csv, write_predictions_metadata
    from vigie.models.published import append_published
    from vigie.models.store import check_scores, load_model

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
        if _keys_are_row_numbers(matrix) and (
            loaded.metadata.get("matrix_sha256") != matrix.sha256()
        ):
            # Row 5 of another file is another thing: no stored score is its own.
            known = stored.slice(0, 0)
        else:
            known = stored
        table = _score(context, matrix, loaded, known, threshold)
        drift = _drift(context, matrix, loaded, stored, known, table)
        write_json(context.output("drift").path, drift)
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
        context.services["before_replacing"](context.reporter)
        load_predictions(
            address,
            context.services["schema"],
            table,
            matrix.metadata["key"],
            fingerprint=context.services["fingerprint"](),
            run={"mode": context.mode, "model_version": loaded.metadata["version"]},
        )
        if not _keys_are_row_numbers(matrix):
            append_published(
                context.services["published"],
                matrix.keys,
                table,
                key_columns=matrix.metadata["key"],
                model_version=loaded.metadata["version"],
                published_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
    context.facts["model_version"] = loaded.metadata["version"]
    _tell(context, table)
    _tell_known_keys(context, matrix, known)
    _tell_drift(context, drift)


def _tell_known_keys(context: StepContext, matrix: FeatureMatrix, known: pa.Table) -> None:
    """Say which rows to be scored have the key of one learnt from: files often count from 1."""
    from vigie.models.predict import stored_places

    place = stored_places(matrix.keys, known, matrix.metadata["key"])
    count = int(((place >= 0) & (matrix.labels < 0)).sum())
    if count:
        context.warn(
            _(
                "{count} rows without an outcome have the key ({key}) of a row that the model "
                "learnt from, and keep the score of that row. If they are others, or are asked "
                "about at another time, let the key tell them apart."
            ).format(count=f"{count:,}", key=", ".join(matrix.metadata["key"]))
        )


def _keys_are_row_numbers(matrix: FeatureMatrix) -> bool:
    return ROW_ID in matrix.metadata["key"]


def _score(
    context: StepContext,
    matrix: FeatureMatrix,
    loaded: LoadedModel,
    stored: pa.Table,
    threshold: float,
) -> pa.Table:
    from vigie.models.predict import predict_table

    metadata = loaded.metadata
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


# --- drift -----------------------------------------------------------------------------------

_SHOWN = 3


def _drift(
    context: StepContext,
    matrix: FeatureMatrix,
    loaded: LoadedModel,
    stored: pa.Table,
    known: pa.Table,
    table: pa.Table,
) -> dict[str, Any]:
    """Compare the rows that the model hasn't learnt from with those that it has.

    Where there is no such row, the hold-out is compared with the rows before it, as if it had been
    new: that tells why the model was as good on it as it was.
    """
    import numpy as np
    import pyarrow.compute as pc

    from vigie.models.drift import MIN_ROWS, SAMPLE_COLUMN, drift_document, make_reference
    from vigie.models.predict import stored_places

    about = {"model_version": loaded.metadata["version"], "mode": context.mode}
    place = stored_places(matrix.keys, known, matrix.metadata["key"])
    source, score = table["score_source"], table["risk_score"]
    common: dict[str, Any] = {
        "psi": context.param("watch.psi"),
        "two_sample_auc": context.param("watch.two_sample_auc"),
        "seed": context.param("seed"),
        "threads": context.services["threads"],
    }
    features = matrix.metadata["features"]
    new = place < 0
    if new.sum() >= MIN_ROWS and "reference" in loaded.metadata:
        kept = stored.filter(stored[SAMPLE_COLUMN].is_valid())[SAMPLE_COLUMN].combine_chunks()
        return {
            **about,
            "compared": "new rows",
            **drift_document(
                loaded.metadata["reference"],
                kept.flatten().to_numpy().reshape(len(kept), len(features)),
                matrix.values[new],
                score.filter(pc.equal(source, "final")).to_numpy(),
                features,
                **common,
            ),
        }
    origin = np.asarray([*known["origin"].to_pylist(), ""], dtype=object)[place]
    late, early = origin == "holdout", origin == "fold"
    if not late.any() or not early.any():
        return {**about, "compared": "nothing", "rows": int(new.sum())}
    earlier = matrix.values[early]
    names = [feature["name"] for feature in features]
    return {
        **about,
        "compared": "hold-out",
        "periods": loaded.metadata["split"]["holdout_periods"],
        **drift_document(
            make_reference(earlier, score.filter(pc.equal(source, "fold")).to_numpy(), names),
            earlier,
            matrix.values[late],
            score.filter(pc.equal(source, "holdout")).to_numpy(),
            features,
            **common,
        ),
    }


def _tell_drift(context: StepContext, drift: dict[str, Any]) -> None:
    language = context.services["language"]
    if drift["compared"] == "nothing":
        return
    topics = list(
        dict.fromkeys(
            entry["topic"].get(language, entry["topic"]["en"])
            for entry in drift["features"]
            if entry["drifted"]
        )
    )
    file = context.output("drift").describe()
    shown = ", ".join(topics[:_SHOWN]) + (", …" if len(topics) > _SHOWN else "")
    if drift["compared"] == "hold-out":
        if topics and drift["periods"]:
            context.say(
                _("{periods} differs from what was before it most in: {topics} ({file})").format(
                    periods=shown_periods(drift["periods"]), topics=shown, file=file
                )
            )
        return
    if topics:
        context.warn(
            _(
                "{count} of {all} features are not as they were when the model was trained, "
                "most: {topics}. See {file}; train again when outcomes are known."
            ).format(
                count=len(drift["drifted"]), all=len(drift["features"]), topics=shown, file=file
            )
        )
    if drift["scores"]["drifted"]:
        context.warn(
            _("the scores are not as they were: on average {now:.2f}, then {then:.2f}").format(
                now=drift["scores"]["mean"], then=drift["scores"]["reference_mean"]
            )
        )
    for category in drift["categories"]:
        if category["unknown"] > category["reference_unknown"] + UNKNOWN_SHARE:
            context.warn(
                _("{column}: {share:.0f}% of the rows have a value new to the model").format(
                    column=category["label"].get(language, category["column"]),
                    share=category["unknown"] * 100,
                )
            )
    two = drift["two_sample"]
    if two and two["drifted"] and not topics:
        context.warn(
            _(
                "these rows can be told from those that the model learnt from (AUC {auc:.2f}), "
                "by several features together. See {file}."
            ).format(auc=two["roc_auc"], file=file)
        )
