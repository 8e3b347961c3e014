"""The parts of a report that tell how good the predictions are, and for whom less so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vigie.i18n import _
from vigie.report.numbers import Numbers
from vigie.report.sources import Interval, Json, Sources, words_of

METRIC_NAMES = (
    "roc_auc",
    "average_precision",
    "recall",
    "precision",
    "accuracy",
    "f1",
    "brier",
)
# The metrics of which less is better.
LESS_IS_BETTER = frozenset({"brier"})
# Less AUC than this is 0.0000 where it is shown.
_SEEN_LOSS = 0.00005


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric beside what it is compared with; None where that isn't defined."""

    name: str
    label: str
    found: Interval
    majority: float | None
    logistic: float | None
    less_is_better: bool


@dataclass(frozen=True, slots=True)
class OtherAuc:
    """An AUC that others would publish, and on what."""

    label: str
    found: Interval
    note: str


@dataclass(frozen=True, slots=True)
class TopicImportance:
    """How much AUC is lost when nothing is known of a topic; `share` is of the greatest loss."""

    label: str
    loss: float
    share: float


def metric_labels() -> dict[str, str]:
    """Return what people call each metric."""
    return {
        "roc_auc": _("AUC"),
        "average_precision": _("average precision"),
        "recall": _("recall"),
        "precision": _("precision"),
        "accuracy": _("accuracy"),
        "f1": _("F1"),
        "brier": _("Brier score"),
    }


def metric_rows(sources: Sources) -> Iterator[MetricRow]:
    """Yield the hold-out's metrics; of an earlier run, what its record has."""
    labels = metric_labels()
    if sources.metrics is None:
        known = (sources.run or {}).get("metrics", {})
        for name in METRIC_NAMES:
            if known.get(name) is not None:
                found = Interval(known[name])
                yield MetricRow(name, labels[name], found, None, None, name in LESS_IS_BETTER)
        return
    holdout = sources.metrics["holdout"]
    logistic = holdout.get("comparison", {}).get("logistic_regression", {}).get("metrics", {})
    for name in METRIC_NAMES:
        metric = holdout["metrics"][name]
        yield MetricRow(
            name,
            labels[name],
            Interval.of(metric),
            metric.get("baseline"),
            (logistic.get(name) or {}).get("value"),
            name in LESS_IS_BETTER,
        )


def other_aucs(sources: Sources) -> Iterator[OtherAuc]:
    """Yield the AUCs of other rows than the headline's, with a word on each."""
    metrics, things = sources.metrics, sources.wording.things
    if metrics is None:
        return
    numbers = Numbers(sources.wording.language)
    mean = metrics["cross_validation"]["mean"].get("roc_auc")
    if mean is not None:
        folds = len(metrics["cross_validation"]["folds"])
        yield OtherAuc(
            _("cross-validation"),
            Interval(mean),
            _("mean of {count} folds of the earlier rows").format(count=folds),
        )
    everybody = metrics.get("populations", {}).get("everybody")
    if everybody:
        yield OtherAuc(
            _("everybody"),
            Interval.of(everybody["metrics"]["roc_auc"]),
            _(
                "with the {count} {things} counted in who were gone by the cut-off; most published "
                "figures are of this kind"
            ).format(count=numbers.count(everybody["known_bad"]), things=things),
        )
    repeated = metrics.get("repeaters") or {}
    if repeated.get("rows") and repeated.get("without"):
        yield OtherAuc(
            _("newcomers only"),
            Interval.of(repeated["without"]["metrics"]["roc_auc"]),
            _("without the {count} rows of persons who were there before").format(
                count=numbers.count(repeated["rows"])
            ),
        )
    for published in metrics.get("published", ()):
        yield OtherAuc(
            _("as it was said at the time"),
            Interval.of(published["metrics"]["roc_auc"]),
            _("by {version} on {date}, before the outcome of these {count} rows was known").format(
                version=published["model_version"],
                date=published["published"][0][:10],
                count=numbers.count(published["rows"]),
            ),
        )
    training = metrics["training"]["roc_auc"]
    if training is not None:
        yield OtherAuc(
            _("its own training rows"),
            Interval(training),
            _("no measure of quality: it has seen these outcomes"),
        )


def groups_of(holdout: Json | None) -> Iterator[Json]:
    """Yield the columns of the sub-groups; groups that have no name of their own get one."""
    names = {"–": _("not known"), "…": _("others")}
    for column in (holdout or {}).get("groups", ()):
        groups = [
            {**group, "value": names.get(group["value"], group["value"])}
            for group in column["groups"]
        ]
        yield {**column, "groups": groups}


def topics_of(sources: Sources) -> tuple[list[TopicImportance], int]:
    """Return what counts, and how many topics don't; nothing where it is of another model.

    What is lost by chance can be below nothing: that counts as nothing.
    """
    model, judged = sources.model or {}, (sources.metrics or {}).get("model_version")
    if judged not in (None, model.get("version")):
        return [], 0
    known = model.get("permutation_importance") or ()
    found = sorted(
        (one for one in known if one["value"] >= _SEEN_LOSS), key=lambda one: -one["value"]
    )
    language = sources.wording.language
    topics = [
        TopicImportance(
            words_of(one.get("label"), language) or str(one.get("topic", "")),
            one["value"],
            one["value"] / found[0]["value"],
        )
        for one in found
    ]
    return topics, len(known) - len(found)
