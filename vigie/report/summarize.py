"""What the report says, as plain values: made before anything is drawn or written.

Everything here can be tested without a browser. A part of which nothing is known is None or empty,
never an error: a report of half a run is a report of half a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vigie.i18n import _
from vigie.names import shown_periods
from vigie.report.listing import Listing
from vigie.report.numbers import Numbers
from vigie.report.run_parts import (
    ChangeGroup,
    CohortLine,
    SettingLine,
    StepTime,
    TableRows,
    change_groups,
    cohort_lines,
    setting_lines,
    step_times,
    table_rows,
    versions,
    warnings_of,
)

Json = Mapping[str, Any]
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
class Wording:
    """What the data set's declaration calls things, in the reader's language.

    Parameters
    ----------
    left_out
        For each reason why rows are left out, its words.
    """

    language: str
    title: str
    attribution: str | None
    thing: str
    things: str
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """All that a report is made of, as it was read; what there isn't is None.

    Parameters
    ----------
    metrics, drift, audit, sweep
        What stands in ``reports/*_{mode}.json``.
    model, features, predictions
        The metadata of the model, of the features and of the predictions.
    listing
        The predictions.
    run
        ``summary``, ``record`` and ``steps`` (by name, with ``facts``) of the run.
    changes
        ``RunDiff.to_record()`` of the run before and this one.
    files
        Where a reader finds what the page is made of, by name, from the project's folder.
    audit_is_current
        Whether the audit is of these results.
    """

    mode: str
    wording: Wording
    metrics: Json | None = None
    model: Json | None = None
    features: Json | None = None
    predictions: Json | None = None
    drift: Json | None = None
    audit: Json | None = None
    sweep: Json | None = None
    listing: Listing | None = None
    run: Json | None = None
    changes: Json | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    audit_is_current: bool = True


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know before anything else is read; ``bad`` where it spoils the results."""

    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure between its bounds; None where it isn't defined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, metric: Json | None) -> Interval:
        """Take it from a metrics document."""
        found = metric or {}
        return cls(found.get("value"), found.get("low"), found.get("high"))

    @property
    def complement(self) -> Interval:
        """What is left to one: of the share found, the share missed."""
        low, high = (None if one is None else 1 - one for one in (self.low, self.high))
        return Interval(None if self.value is None else 1 - self.value, high, low)


@dataclass(frozen=True, slots=True)
class Risk:
    """How many are at risk.

    Parameters
    ----------
    flagged
        Predicted at risk: with a score of `threshold` or more.
    low_bound, high_bound
        Below the first the risk is low, from the second on high.
    """

    rows: int
    flagged: int
    high: int
    medium: int
    low: int
    threshold: float
    low_bound: float
    high_bound: float


@dataclass(frozen=True, slots=True)
class Trust:
    """How far to trust a prediction, on rows that the judged model never saw.

    Parameters
    ----------
    caught, missed
        Shares of those who came to the bad outcome.
    false_alarms
        Share of the flagged who didn't.
    error_points
        How far scores are off on average, in points of a hundred.
    """

    rows: int
    periods: str
    positives: int
    flagged: int
    caught: Interval
    missed: Interval
    false_alarms: Interval
    error_points: float


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


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page says, part by part; see the parts."""

    mode: str
    wording: Wording
    outcome: str
    cutoff_days: int | None
    generated: bool
    model_version: str | None
    made_by_run: str | None
    made_at: str | None
    notices: tuple[Notice, ...]
    risk: Risk | None
    trust: Trust | None
    listing: Listing | None
    metrics: tuple[MetricRow, ...]
    other_aucs: tuple[OtherAuc, ...]
    topics: tuple[TopicImportance, ...]
    topics_without_loss: int
    holdout: Json | None
    split: Json
    groups: tuple[Json, ...]
    sweep: Json | None
    drift: Json | None
    audit: Json | None
    audit_is_current: bool
    tables: tuple[TableRows, ...]
    cohort: tuple[CohortLine, ...]
    features: tuple[Json, ...]
    model: Json
    steps: tuple[StepTime, ...]
    seconds: float | None
    settings: tuple[SettingLine, ...]
    versions: tuple[tuple[str, str], ...]
    warnings: tuple[tuple[str, str], ...]
    run_before: str | None
    changes: tuple[ChangeGroup, ...]
    files: Mapping[str, str]


def summarize(sources: Sources) -> Report:
    """Return what the report says of these sources, in the language in use."""
    metrics, model, features = sources.metrics, sources.model or {}, sources.features or {}
    holdout = metrics["holdout"] if metrics else None
    run = sources.run or {}
    summary, record, steps = (run.get(part) or {} for part in ("summary", "record", "steps"))
    language = sources.wording.language
    topics, without_loss = _topics(sources)
    return Report(
        mode=sources.mode,
        wording=sources.wording,
        outcome=_words(features.get("label", {}).get("name"), language) or _("at risk"),
        cutoff_days=_first("cutoff_days", sources.predictions, metrics, model, features),
        generated=bool(_first("generated", sources.predictions, metrics, model)),
        model_version=_first("model_version", sources.predictions, metrics)
        or model.get("version")
        or summary.get("model_version"),
        made_by_run=summary.get("run_id"),
        made_at=summary.get("started"),
        notices=tuple(_notices(sources)),
        risk=_risk(sources),
        trust=_trust(metrics),
        listing=sources.listing,
        metrics=tuple(_metric_rows(sources)),
        other_aucs=tuple(_other_aucs(sources)),
        topics=tuple(topics),
        topics_without_loss=without_loss,
        holdout=holdout,
        split=(metrics or model).get("split", {}),
        groups=tuple(_groups(holdout)),
        sweep=sources.sweep,
        drift=sources.drift,
        audit=sources.audit,
        audit_is_current=sources.audit_is_current,
        tables=table_rows(steps),
        cohort=cohort_lines(
            features.get("counts", {}),
            (metrics or model).get("split", {}),
            sources.wording.left_out,
            sources.wording.things,
        ),
        features=tuple(features.get("features", ())),
        model=model,
        steps=step_times(steps),
        seconds=summary.get("seconds"),
        settings=setting_lines(record),
        versions=versions(record, model),
        warnings=warnings_of(record),
        run_before=sources.changes["a"]["run_id"] if sources.changes else None,
        changes=change_groups(sources.changes),
        files=sources.files,
    )


def _first(name: str, *documents: Json | None) -> Any:
    """Return a value from the first document that has it."""
    return next((one[name] for one in documents if one and one.get(name) is not None), None)


def _words(label: Json | None, language: str) -> str:
    return str((label or {}).get(language) or (label or {}).get("en") or "")


# --- for who acts ----------------------------------------------------------------------------


def _notices(sources: Sources) -> Iterator[Notice]:
    """Yield what a reader must know first, the worst first."""
    judged = (sources.metrics or {}).get("model_version")
    said = (sources.predictions or {}).get("model_version")
    if sources.audit and sources.audit_is_current and sources.audit.get("status") == "fail":
        yield Notice(
            _("The audit found that these results can't be right: see below before you act."),
            bad=True,
        )
    if judged and said and judged != said:
        yield Notice(
            _(
                "The list is by model {said}, the figures about its quality are of model {judged}. "
                "Run evaluate to judge the one that made the list."
            ).format(said=said, judged=judged),
            bad=True,
        )
    drift = sources.drift or {}
    if drift.get("compared") == "new rows" and (drift["drifted"] or drift["scores"]["drifted"]):
        yield Notice(
            _(
                "These rows are not as those that the model learnt from ({count} of {all} features "
                "differ): its scores may be worse than the figures say."
            ).format(count=len(drift["drifted"]), all=len(drift["features"]))
        )
    if sources.listing is None:
        yield Notice(
            _("There is no list here: no prediction was made, or a later run has replaced it.")
        )
    if sources.metrics is None:
        yield Notice(
            _(
                "Nothing says how good these predictions are: evaluate didn't run, or a later run "
                "has replaced its figures."
            )
        )


def _risk(sources: Sources) -> Risk | None:
    listing, bounds = sources.listing, (sources.predictions or {}).get("bounds")
    if listing is None or bounds is None:
        return None
    return Risk(
        rows=len(listing),
        flagged=listing.flagged_count,
        high=listing.count("high"),
        medium=listing.count("medium"),
        low=listing.count("low"),
        threshold=bounds["threshold"],
        low_bound=bounds["low"],
        high_bound=bounds["high"],
    )


def _trust(metrics: Json | None) -> Trust | None:
    if metrics is None:
        return None
    holdout = metrics["holdout"]
    recall = Interval.of(holdout["metrics"]["recall"])
    if recall.value is None:
        return None
    confusion = holdout["confusion"]
    return Trust(
        rows=holdout["rows"],
        periods=shown_periods(metrics["split"].get("holdout_periods", ())),
        positives=holdout["positives"],
        flagged=confusion["true_positive"] + confusion["false_positive"],
        caught=recall,
        missed=recall.complement,
        false_alarms=Interval.of(holdout["metrics"]["precision"]).complement,
        error_points=holdout["calibration"]["expected_calibration_error"] * 100,
    )


# --- for who answers for it ------------------------------------------------------------------


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


def _metric_rows(sources: Sources) -> Iterator[MetricRow]:
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


def _other_aucs(sources: Sources) -> Iterator[OtherAuc]:
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


def _groups(holdout: Json | None) -> Iterator[Json]:
    """Yield the columns of the sub-groups; groups that have no name of their own get one."""
    names = {"–": _("not known"), "…": _("others")}
    for column in (holdout or {}).get("groups", ()):
        groups = [
            {**group, "value": names.get(group["value"], group["value"])}
            for group in column["groups"]
        ]
        yield {**column, "groups": groups}


def _topics(sources: Sources) -> tuple[list[TopicImportance], int]:
    """Return what counts, and how many topics don't; nothing where the figures are of another model.

    What is lost by chance can be below nothing: that counts as nothing.
    """
    model, judged = sources.model or {}, (sources.metrics or {}).get("model_version")
    if judged not in (None, model.get("version")):
        return [], 0
    known = model.get("permutation_importance") or ()
    found = sorted((one for one in known if one["value"] >= _SEEN_LOSS), key=lambda one: -one["value"])
    language = sources.wording.language
    topics = [
        TopicImportance(
            _words(one.get("label"), language) or str(one.get("topic", "")),
            one["value"],
            one["value"] / found[0]["value"],
        )
        for one in found
    ]
    return topics, len(known) - len(found)
