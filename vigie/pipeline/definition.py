"""The seven steps of the pipeline: what each reads, makes and depends on."""

from __future__ import annotations

from vigie.pipeline.fingerprint import EXCLUDED_MODULES
from vigie.pipeline.step import Step

MODES = ("dev", "prod")
STEP_NAMES = ("extract", "transform", "load", "features", "train", "evaluate", "predict")
# How a server is started and reached decides nothing of what is loaded into it.
NO_RESULT = (
    *EXCLUDED_MODULES,
    "vigie.data.address",
    "vigie.data.postgres",
    "vigie.data.postgres_process",
    "vigie.steps.import_ahead",
)
# Their versions decide results or the form of files.
LIBRARIES = ("python", "duckdb", "ibis-framework", "pyarrow", "numpy", "scikit-learn")
# What decides from which score on a row is predicted at risk.
THRESHOLD = (
    "predict.threshold",
    "predict.capacity",
    "predict.recall",
    "predict.missed_per_alarm",
)


def pipeline_steps(mode: str) -> tuple[Step, ...]:
    """Return the seven steps of `mode`, in their order."""
    from vigie.steps import evaluate, extract, features, load, predict, train, transform

    own = f"modes.{mode}"
    return (
        Step(
            name="extract",
            title="EXTRACTING THE DATA",
            run=extract.run,
            inputs=("raw",),
            outputs=("extracted",),
            params=("dataset.tables", "extract.max_rejected"),
            libraries=("duckdb",),
        ),
        Step(
            name="transform",
            title="TRANSFORMING THE DATA",
            run=transform.run,
            inputs=("extracted",),
            outputs=("clean",),
            params=(
                "dataset.tables",
                "dataset.cohort",
                "dataset.features",
                "dataset.sensitive",
                "cutoff_days",
                f"{own}.sample_size",
            ),
            libraries=("duckdb",),
        ),
        Step(
            name="load",
            title="LOADING INTO POSTGRESQL",
            run=load.run,
            inputs=("clean",),
            outputs=("database",),
            params=("dataset.tables", "dataset.cohort"),
        ),
        Step(
            name="features",
            title="BUILDING THE FEATURES",
            run=features.run,
            inputs=("clean",),
            outputs=("features", "labels", "keys", "features_metadata"),
            params=(
                "dataset.tables",
                "dataset.cohort",
                "dataset.features",
                "dataset.sensitive",
                "cutoff_days",
            ),
            libraries=("duckdb", "ibis-framework", "numpy"),
        ),
        Step(
            name="train",
            title="TRAINING THE MODEL",
            run=train.run,
            inputs=("features", "labels", "keys", "features_metadata"),
            outputs=("model", "model_metadata", "scores"),
            params=(
                f"{own}.n_splits_cv",
                f"{own}.model_params",
                "model.kind",
                "model.params",
                "model.calibrate",
                "model.tolerance",
                "model.format",
                "evaluation.holdout",
                "evaluation.holdout_share",
                "evaluation.holdout_from",
                "evaluation.drop_repeaters",
                "evaluation.strict_time",
                "seed",
            ),
            libraries=("scikit-learn", "numpy"),
        ),
        Step(
            name="evaluate",
            title="EVALUATING THE MODEL",
            run=evaluate.run,
            inputs=("scores", "model_metadata", "features_metadata", "keys", "published"),
            outputs=("metrics", "figures", "model_card"),
            params=(*THRESHOLD, "evaluation.recall_margin", "seed", "lang"),
            libraries=("scikit-learn", "numpy", "matplotlib"),
        ),
        Step(
            name="predict",
            title="PREDICTING THE RISKS",
            run=predict.run,
            inputs=(
                "features",
                "labels",
                "keys",
                "features_metadata",
                "model",
                "model_metadata",
                "scores",
            ),
            outputs=("predictions", "predictions_metadata", "predictions_table", "drift"),
            params=(
                "predict.low",
                "predict.high",
                *THRESHOLD,
                "watch.psi",
                "watch.two_sample_auc",
                "seed",
                "lang",
            ),
            libraries=("scikit-learn", "numpy"),
        ),
    )
