"""The evaluate step: metrics and figures from scores that no model gave to its own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_folder, write_json
from vigie.pipeline.step import StepContext
from vigie.steps.matrix import read_json

if TYPE_CHECKING:
    import pyarrow as pa


def run(context: StepContext) -> None:
    """Judge the evaluated model on the hold-out; draw what a person looks at."""
    import pyarrow.parquet as pq

    from vigie.models.evaluate import metrics_document
    from vigie.models.store import check_scores

    metadata = read_json(context.input("model_metadata").path)
    check_scores(metadata, context.input("scores").path, mode=context.mode)
    features = read_json(context.input("features_metadata").path)
    scores = pq.read_table(context.input("scores").path)
    with context.progress(_("evaluating"), None):
        evaluation = _evaluation(context, scores, metadata)
        document = metrics_document(
            evaluation,
            metadata["cross_validation"]["folds"],
            mode=context.mode,
            dataset=metadata["dataset"],
            generated=metadata["generated"],
            cutoff_days=metadata["cutoff_days"],
            model_version=metadata["version"],
            split=metadata["split"],
            training_roc_auc=metadata["training_roc_auc"],
        )
        write_json(context.output("metrics").path, document)
        _draw(context, evaluation, metadata, features)
    context.facts["metrics"] = {
        name: metric["value"] for name, metric in document["holdout"]["metrics"].items()
    }
    context.facts["model_version"] = metadata["version"]
    _tell(context, document)


def _evaluation(context: StepContext, scores: pa.Table, metadata: dict[str, Any]) -> dict[str, Any]:
    import pyarrow.compute as pc

    from vigie.models.evaluate import evaluate

    holdout = scores.filter(pc.equal(scores["origin"], "holdout"))
    return evaluate(
        holdout["score"].to_numpy(),
        holdout["label"].to_numpy(),
        context.param("predict.threshold"),
        groups=holdout["group_key"].to_numpy(),
        train_prevalence=metadata["train_prevalence"],
        seed=context.param("seed"),
    )


def _draw(
    context: StepContext,
    evaluation: dict[str, Any],
    metadata: dict[str, Any],
    features: dict[str, Any],
) -> None:
    from vigie.report.figures import FigureText, importances_in_language, write_figures

    language = context.param("lang")
    described = {**metadata, "features": features["features"]}
    with atomic_folder(context.output("figures").path) as folder:
        write_figures(
            folder,
            evaluation,
            importances_in_language(described, language),
            FigureText(language, metadata["cutoff_days"], metadata["generated"], metadata["split"]),
            labelled_rows=metadata["counts"]["labelled"],
            by_shuffling=not metadata["importances"],
        )


def _tell(context: StepContext, document: dict[str, Any]) -> None:
    metrics = document["holdout"]["metrics"]
    for name, label in (
        ("roc_auc", _("AUC")),
        ("average_precision", _("average precision")),
        ("accuracy", _("accuracy")),
        ("recall", _("recall")),
        ("precision", _("precision")),
        ("f1", _("F1")),
        ("brier", _("Brier score")),
    ):
        metric = metrics[name]
        if metric["value"] is None or metric["low"] is None:
            continue
        context.say(
            _("{label:<18} {value:.3f}  [{low:.3f}; {high:.3f}]  majority: {baseline}").format(
                label=label,
                value=metric["value"],
                low=metric["low"],
                high=metric["high"],
                baseline="–" if metric["baseline"] is None else f"{metric['baseline']:.3f}",
            )
        )
    if document["training"]["roc_auc"] is not None:
        context.say(
            _("(on its own training rows the model would claim AUC {auc:.3f})").format(
                auc=document["training"]["roc_auc"]
            )
        )
