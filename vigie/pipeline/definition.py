"""The seven steps of the pipeline: what each reads, makes and depends on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from vigie.pipeline.fingerprint import EXCLUDED_MODULES
from vigie.pipeline.step import Step, StepContext

# How a server is started and reached decides nothing of what is loaded into it. Evaluate has the
# page's figures drawn, but none of them is among its outputs.
NO_RESULT = (
    *EXCLUDED_MODULES,
    "vigie.data.address",
    "vigie.data.postgres",
    "vigie.data.postgres_cluster",
    "vigie.data.postgres_process",
    "vigie.spark.session",
    "vigie.models.warnings_kept",
    "vigie.models.workers",
    "vigie.report.page_figures",
)
# Their versions decide results or the form of files.
LIBRARIES = ("python", "duckdb", "ibis-framework", "pyarrow", "numpy", "scikit-learn")
# In small parts, each after those that it imports itself.
SKLEARN_IMPORTS = (
    "numpy",
    "scipy.sparse",
    "scipy.spatial",
    "scipy.stats",
    "sklearn.utils.validation",
    "sklearn.tree",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
)
# Of the process that draws figures and fills the page in; our modules once it is known what they
# are in this run, as those of the steps.
HELPER_LIBRARIES = (
    "numpy",
    "matplotlib",
    "matplotlib.figure",
    "matplotlib.patheffects",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "PIL.PngImagePlugin",
)
HELPER_MODULES = ("vigie.report.figures", "vigie.report.page", "vigie.report.page_figures")
# What decides from which score on a row is predicted at risk.
THRESHOLD = (
    "predict.threshold",
    "predict.capacity",
    "predict.recall",
    "predict.missed_per_alarm",
)


def _carried_out_by(module: str) -> Callable[..., None]:
    """Return the function ``run`` of a step's module, which is not imported yet.

    To plan, and to find that there is nothing to do, no step is needed; where there is something
    to do, ``begin_imports`` imports it.
    """

    def run(context: StepContext, **options: Any) -> None:
        importlib.import_module(module).run(context, **options)

    # Whose code the step is made of.
    run.__module__ = module
    return run


def pipeline_steps(
    mode: str, engine: str = "duckdb", *, accelerated: bool = False
) -> tuple[Step, ...]:
    """Return the seven steps of `mode`, in their order, for an engine.

    Which cluster Spark runs on decides no result; that it is Spark does: sums of fractions may
    differ in their last digits.
    """
    own = f"modes.{mode}"
    more = ("pyspark",) if engine == "spark" else ()
    growing = ("scikit-learn-intelex",) if accelerated else ()
    return (
        Step(
            name="extract",
            title="EXTRACTING THE DATA",
            run=_carried_out_by("vigie.steps.extract"),
            inputs=("raw",),
            outputs=("extracted",),
            params=("dataset.tables", "extract.max_rejected", "engine.name"),
            libraries=("duckdb", *more),
        ),
        Step(
            name="transform",
            title="TRANSFORMING THE DATA",
            run=_carried_out_by("vigie.steps.transform"),
            inputs=("extracted",),
            outputs=("clean",),
            params=(
                "dataset.tables",
                "dataset.cohort",
                "dataset.features",
                "dataset.sensitive",
                "cutoff_days",
                f"{own}.sample_size",
                "engine.name",
            ),
            libraries=("duckdb", *more),
        ),
        Step(
            name="load",
            title="LOADING INTO POSTGRESQL",
            run=_carried_out_by("vigie.steps.load"),
            inputs=("clean",),
            outputs=("database",),
            params=("dataset.tables", "dataset.cohort"),
            beside=(
                "pgpq",
                "psycopg.conninfo",
                "psycopg.sql",
                "pyarrow.parquet",
                "vigie.data.backup",
            ),
        ),
        Step(
            name="features",
            title="BUILDING THE FEATURES",
            run=_carried_out_by("vigie.steps.features"),
            inputs=("clean",),
            outputs=("features", "labels", "keys", "features_metadata"),
            params=(
                "dataset.tables",
                "dataset.cohort",
                "dataset.features",
                "dataset.sensitive",
                "cutoff_days",
                "engine.name",
            ),
            libraries=("duckdb", "ibis-framework", "numpy", *more),
        ),
        Step(
            name="train",
            title="TRAINING THE MODEL",
            run=_carried_out_by("vigie.steps.train"),
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
                "model.accelerated",
                "evaluation.holdout",
                "evaluation.holdout_share",
                "evaluation.holdout_from",
                "evaluation.drop_repeaters",
                "evaluation.strict_time",
                "seed",
            ),
            libraries=("scikit-learn", "numpy", *growing),
            imports=(*SKLEARN_IMPORTS, "sklearnex.ensemble") if accelerated else SKLEARN_IMPORTS,
        ),
        Step(
            name="evaluate",
            title="EVALUATING THE MODEL",
            run=_carried_out_by("vigie.steps.evaluate"),
            inputs=("scores", "model_metadata", "features_metadata", "keys", "published"),
            outputs=("metrics", "figures", "model_card"),
            params=(*THRESHOLD, "evaluation.recall_margin", "report.figures", "seed", "lang"),
            libraries=("scikit-learn", "numpy", "matplotlib"),
            imports=SKLEARN_IMPORTS,
            beside=(),
        ),
        Step(
            name="predict",
            title="PREDICTING THE RISKS",
            run=_carried_out_by("vigie.steps.predict"),
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
            # Its table stands in the schema that load fills.
            after=("load",),
            imports=SKLEARN_IMPORTS,
        ),
    )


def trial_steps(mode: str, kinds: Sequence[str], *, compared: bool = False) -> tuple[Step, ...]:
    """Return the steps of a trial: kinds of model at one cut-off, of which none is kept.

    Parameters
    ----------
    kinds
        Each is judged by a step of its own; its parameters are the value ``trial.{kind}``.
    compared
        Whether they are held against each other too.
    """
    first = {step.name: step for step in pipeline_steps(mode)}
    train = first["train"]
    kept = ("evaluation.", f"modes.{mode}.n_splits_cv", "seed", "model.calibrate")
    params = tuple(key for key in train.params if key.startswith(kept))
    steps = [first["transform"], first["features"]]
    steps += [
        Step(
            name=f"judge {kind}",
            title=f"judge {kind}",
            run=partial(_carried_out_by("vigie.steps.judge"), kind=kind),
            inputs=train.inputs,
            outputs=(f"judged {kind}", f"scores {kind}"),
            params=(*params, "predict.threshold", f"trial.{kind}"),
            libraries=train.libraries,
            imports=train.imports,
        )
        for kind in kinds
    ]
    if compared:
        steps.append(
            Step(
                name="compare",
                title="compare",
                run=partial(_carried_out_by("vigie.steps.compare"), kinds=tuple(kinds)),
                inputs=tuple(f"{what} {kind}" for kind in kinds for what in ("judged", "scores")),
                outputs=("comparison",),
                params=("seed",),
                libraries=("numpy",),
            )
        )
    return tuple(steps)
