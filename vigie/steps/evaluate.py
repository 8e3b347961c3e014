"""The evaluate step: metrics and figures from scores that no model gave to its own rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_folder, atomic_write, write_json
from vigie.pipeline.step import StepContext
from vigie.steps.matrix import read_json, read_threshold

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import pyarrow as pa

    from vigie.models.acting import ChosenThreshold
    from vigie.report.canvas import FigureText

# Which row of the capacity table is told on the console: a tenth of all.
SHOWN_SHARE = 0.1
_WARNED_GROUPS = 5
# The shares of the work that are done when the headline is judged, and when all is drawn.
JUDGED, DRAWN = 0.15, 0.7


@dataclass(frozen=True, slots=True)
class _Holdout:
    """The rows that are judged, and what is needed to judge them."""

    table: pa.Table
    persons: npt.NDArray[Any]
    earlier_persons: npt.NDArray[Any]
    threshold: ChosenThreshold
    train_prevalence: float
    seed: int

    @classmethod
    def of(
        cls,
        scores: pa.Table,
        threshold: ChosenThreshold,
        train_prevalence: float,
        seed: int,
    ) -> _Holdout:
        import pyarrow.compute as pc

        judged = pc.equal(scores["origin"], "holdout")
        # Persons as numbers: comparing texts again and again takes longer than all the rest.
        codes = scores["group_key"].combine_chunks().dictionary_encode().indices.to_numpy()
        mask = judged.to_numpy()
        return cls(
            scores.filter(judged), codes[mask], codes[~mask], threshold, train_prevalence, seed
        )

    @property
    def scores(self) -> npt.NDArray[Any]:
        return self._column("score")

    @property
    def labels(self) -> npt.NDArray[Any]:
        return self._column("label")

    def _column(self, name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = self.table[name].to_numpy()
        return values

    def common(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold.value,
            "train_prevalence": self.train_prevalence,
            "seed": self.seed,
        }


def run(context: StepContext) -> None:
    """Judge the evaluated model on the hold-out; draw what a person looks at."""
    import pyarrow.parquet as pq

    from vigie.models.evaluate import metrics_document
    from vigie.models.store import check_scores

    metadata = read_json(context.input("model_metadata").path)
    check_scores(metadata, context.input("scores").path, mode=context.mode)
    features = read_json(context.input("features_metadata").path)
    scores = pq.read_table(context.input("scores").path)
    holdout = _Holdout.of(
        scores,
        read_threshold(context, scores),
        metadata["train_prevalence"],
        context.param("seed"),
    )
    with context.progress(_("evaluating"), 1.0) as bar:
        evaluation = _evaluation(holdout)
        bar.advance_to(JUDGED)
        with ThreadPoolExecutor(2) as pool:
            # Mostly numpy's work, which lets go of the interpreter while the figures are drawn.
            further = pool.submit(_further, context, holdout, metadata, features)
            beside = pool.submit(_beside, holdout, metadata)
            _draw(
                context, evaluation, metadata, features,
                progress=lambda share: bar.advance_to(JUDGED + share * (DRAWN - JUDGED)),
            )  # fmt: skip
            evaluation |= further.result()
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
            more={**beside.result(), **_published(context, features)},
        )
        _prepare_page(context, document, metadata)
        write_json(context.output("metrics").path, document)
        _write_card(context, document, metadata, features)
    context.facts["metrics"] = {
        name: metric["value"] for name, metric in document["holdout"]["metrics"].items()
    }
    context.facts["model_version"] = metadata["version"]
    _tell(context, document)
    _warn(context, document)


def _evaluation(holdout: _Holdout) -> dict[str, Any]:
    from vigie.models.evaluate import evaluate

    found = evaluate(
        holdout.scores,
        holdout.labels,
        holdout.threshold.value,
        groups=holdout.persons,
        train_prevalence=holdout.train_prevalence,
        seed=holdout.seed,
    )
    found["threshold_choice"] = holdout.threshold.document()
    return found


def _further(
    context: StepContext, holdout: _Holdout, metadata: dict[str, Any], features: dict[str, Any]
) -> dict[str, Any]:
    """Return what stands beside the headline's figures."""
    return {
        "comparison": _comparison(holdout, metadata),
        "groups": _groups(context, holdout, features),
    }


def _comparison(holdout: _Holdout, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what a logistic regression does on the same rows, and what the model before did."""
    from vigie.models.evaluate import METRICS, paired_difference, point_metrics

    found: dict[str, Any] = {}
    if "baseline" in holdout.table.column_names:
        baseline = holdout.table["baseline"].to_numpy()
        point = point_metrics(baseline, holdout.labels, holdout.threshold.value)
        beside = paired_difference(
            holdout.scores, baseline, holdout.labels, groups=holdout.persons, seed=holdout.seed
        )
        found["logistic_regression"] = {
            "metrics": {name: {"value": point[name]} for name in METRICS},
            "roc_auc_difference": {
                "value": beside.difference,
                "low": beside.low,
                "high": beside.high,
            },
        }
    if metadata.get("challenge"):
        found["model_before"] = metadata["challenge"]
    return found


def _groups(
    context: StepContext, holdout: _Holdout, features: dict[str, Any]
) -> list[dict[str, Any]]:
    from vigie.dataset.spec import report_column
    from vigie.models.subgroups import by_subgroup

    found = []
    for reported in features.get("reported", ()):
        column = report_column(reported["column"])
        if column not in holdout.table.column_names:
            # Of a model that was trained before it was declared.
            continue
        found.append(
            {
                **reported,
                "groups": by_subgroup(
                    holdout.table[column].to_numpy(),
                    holdout.scores,
                    holdout.labels,
                    holdout.persons,
                    threshold=holdout.threshold.value,
                    margin=context.param("evaluation.recall_margin"),
                    seed=holdout.seed,
                ),
            }
        )
    return found


def _beside(holdout: _Holdout, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the figures for other populations than the headline's."""
    from vigie.models.populations import everybody, known_bad_in, repeaters

    values = (holdout.scores, holdout.labels, holdout.persons)
    split = metadata["split"]
    known_bad = known_bad_in(
        metadata["counts"],
        split.get("holdout_periods", ()),
        share=holdout.table.num_rows / max(1, metadata["counts"]["labelled"]),
    )
    found: dict[str, Any] = {
        "repeaters": repeaters(*values, holdout.earlier_persons, **holdout.common())
    }
    if known_bad:
        found["populations"] = {"everybody": everybody(*values, known_bad, **holdout.common())}
    return found


def _published(context: StepContext, features: dict[str, Any]) -> dict[str, Any]:
    """Return how predictions did that were made before the outcome was known."""
    import pyarrow.parquet as pq

    from vigie.models.published import published_metrics, with_outcomes

    table = with_outcomes(
        context.input("published").path,
        pq.read_table(context.input("keys").path),
        features["key"],
    )
    if table is None:
        return {}
    threshold = context.param("predict.threshold")
    return {"published": published_metrics(table, threshold=threshold, seed=context.param("seed"))}


def _draw(
    context: StepContext,
    evaluation: dict[str, Any],
    metadata: dict[str, Any],
    features: dict[str, Any],
    *,
    progress: Callable[[float], None],
) -> None:
    from vigie.report.figures import importances_in_language, write_figures

    language = context.param("lang")
    described = {**metadata, "features": features["features"]}
    with atomic_folder(context.output("figures").path) as folder:
        write_figures(
            folder,
            evaluation,
            importances_in_language(described, language),
            _figure_text(context, metadata),
            labelled_rows=metadata["counts"]["labelled"],
            by_shuffling=not metadata["importances"],
            losses=importances_in_language({**described, "importances": []}, language),
            basic=context.param("report.figures") == "basic",
            progress=progress,
            helper=context.services.get("helper"),
        )


def _prepare_page(context: StepContext, document: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Have the report's figures drawn by the time that the run ends and the report is written."""
    from vigie.report.page_figures import prepare_figures

    helper = context.services.get("helper")
    if helper is not None and context.services["settings"].get("report.page"):
        helper.prepare(
            prepare_figures, document["holdout"], _figure_text(context, metadata, bare=True)
        )


def _figure_text(
    context: StepContext, metadata: dict[str, Any], *, bare: bool = False
) -> FigureText:
    from vigie.report.canvas import FigureText

    return FigureText(
        context.param("lang"),
        metadata["cutoff_days"],
        metadata["generated"],
        metadata["split"],
        bare,
    )


def _write_card(
    context: StepContext,
    document: dict[str, Any],
    metadata: dict[str, Any],
    features: dict[str, Any],
) -> None:
    from vigie.report.model_card import model_card

    dataset = context.services["dataset"]
    text = model_card(
        document,
        metadata,
        features,
        language=context.param("lang"),
        title=None if dataset.title is None else dict(dataset.title),
        attribution=dataset.attribution,
        things=dict(dataset.cohort.plural),
        reasons={one.reason: dict(one.name) for one in dataset.cohort.exclude},
    )
    with atomic_write(context.output("model_card").path) as path:
        path.write_text(text, "utf-8")


# --- what is said ----------------------------------------------------------------------------


def _tell(context: StepContext, document: dict[str, Any]) -> None:
    holdout = document["holdout"]
    logistic = holdout["comparison"].get("logistic_regression", {})
    for name, label in (
        ("roc_auc", _("AUC")),
        ("average_precision", _("average precision")),
        ("accuracy", _("accuracy")),
        ("recall", _("recall")),
        ("precision", _("precision")),
        ("f1", _("F1")),
        ("brier", _("Brier score")),
    ):
        metric = holdout["metrics"][name]
        if metric["value"] is None or metric["low"] is None:
            continue
        other = logistic.get("metrics", {}).get(name, {}).get("value")
        context.say(
            _(
                "{label:<18} {value:.3f}  [{low:.3f}; {high:.3f}]  majority: {baseline}  "
                "logistic regression: {other}"
            ).format(
                label=label,
                value=metric["value"],
                low=metric["low"],
                high=metric["high"],
                baseline="–" if metric["baseline"] is None else f"{metric['baseline']:.3f}",
                other="–" if other is None else f"{other:.3f}",
            )
        )
    _tell_aucs(context, document)
    _tell_acting(context, holdout)
    for published in document.get("published", ()):
        auc = published["metrics"]["roc_auc"]
        if auc["value"] is not None and auc["low"] is not None:
            context.say(
                _(
                    "as {version} said on {date}, before the outcome was known: AUC {auc:.3f} "
                    "[{low:.3f}; {high:.3f}] on {rows} rows"
                ).format(
                    version=published["model_version"],
                    date=published["published"][0][:10],
                    auc=auc["value"],
                    low=auc["low"],
                    high=auc["high"],
                    rows=f"{published['rows']:,}",
                )
            )


def _tell_aucs(context: StepContext, document: dict[str, Any]) -> None:
    """Say the AUCs that others would publish beside the one that counts."""
    folds = document["cross_validation"]["mean"].get("roc_auc")
    training, value = document["training"]["roc_auc"], document["holdout"]["metrics"]["roc_auc"]
    if None not in (folds, training, value["value"]):
        context.say(
            _(
                "AUC {holdout:.3f} on the hold-out, {folds:.3f} in cross-validation; on its own "
                "training rows the model would claim {training:.3f}"
            ).format(holdout=value["value"], folds=folds, training=training)
        )
    beside = document["holdout"]["comparison"].get("logistic_regression", {})
    better = beside.get("roc_auc_difference", {})
    if better.get("high") is not None and better["high"] < 0:
        context.say(
            _(
                "a logistic regression does better here: AUC higher by {value:.3f} [{low:.3f}; "
                "{high:.3f}]; see what else does: vigie compare --mode {mode}"
            ).format(
                value=-better["value"],
                low=-better["high"],
                high=-better["low"],
                mode=context.mode,
            )
        )
    everybody = document.get("populations", {}).get("everybody")
    if everybody and everybody["metrics"]["roc_auc"]["value"] is not None:
        context.say(
            _(
                "with the {gone} who were gone by the cut-off, whom most count in: AUC {auc:.3f}"
            ).format(
                gone=f"{everybody['known_bad']:,}", auc=everybody["metrics"]["roc_auc"]["value"]
            )
        )
    repeated = document["repeaters"]
    if repeated["rows"] and repeated["without"]:
        context.say(
            _("{rows} of the hold-out were there before; without them: AUC {auc:.3f}").format(
                rows=f"{repeated['rows']:,}",
                auc=repeated["without"]["metrics"]["roc_auc"]["value"],
            )
        )


def _tell_acting(context: StepContext, holdout: dict[str, Any]) -> None:
    things = context.services["dataset"].cohort.plural.in_language(context.services["language"])
    shown = next((row for row in holdout["capacity"] if row["share"] == SHOWN_SHARE), None)
    if shown and shown["recall"] is not None:
        context.say(
            _(
                "if you can call {rows} {things}, {reached} of them are really at risk: "
                "{recall:.0f}% of all who are"
            ).format(
                rows=f"{shown['rows']:,}",
                things=things,
                reached=f"{shown['reached']:,}",
                recall=shown["recall"] * 100,
            )
        )
    context.say(
        _("scores are off by {error:.1f} points of a hundred on average").format(
            error=holdout["calibration"]["expected_calibration_error"] * 100
        )
    )
    choice = holdout["threshold_choice"]
    if choice["by"] != "threshold":
        context.say(
            _("predicted at risk from a score of {value:.3f}, by {rule} = {wanted:g}").format(
                value=choice["value"], rule=f"predict.{choice['by']}", wanted=choice["wanted"]
            )
        )


def _warn(context: StepContext, document: dict[str, Any]) -> None:
    from vigie.models.subgroups import shortfalls

    overall = document["holdout"]["metrics"]["recall"]["value"]
    found = list(shortfalls(document["holdout"]["groups"]))
    for column, group in found[:_WARNED_GROUPS]:
        context.warn(
            _(
                "{column} {value}: {recall:.0f}% of those at risk are found, of all {overall:.0f}% "
                "({rows} rows)"
            ).format(
                column=column["label"].get(context.services["language"], column["column"]),
                value=group["value"],
                recall=group["recall"]["value"] * 100,
                overall=overall * 100,
                rows=f"{group['rows']:,}",
            )
        )
    if len(found) > _WARNED_GROUPS:
        context.warn(
            _("{count} more groups: {file}").format(
                count=len(found) - _WARNED_GROUPS, file=context.output("metrics").describe()
            )
        )
