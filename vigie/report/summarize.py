"""What the report says, as plain values: made before anything is drawn or written.

Everything here can be tested without a browser. A part of which nothing is known is None or empty,
never an error: a report of half a run is a report of half a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vigie.i18n import _
from vigie.names import shown_periods
from vigie.report.listing import Listing
from vigie.report.quality_parts import (
    MetricRow,
    OtherAuc,
    TopicImportance,
    groups_of,
    metric_rows,
    other_aucs,
    topics_of,
)
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
from vigie.report.sources import Interval, Json, Sources, Wording, words_of


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know before anything else is read; ``bad`` where it spoils the results."""

    text: str
    bad: bool = False


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
    topics, without_loss = topics_of(sources)
    return Report(
        mode=sources.mode,
        wording=sources.wording,
        outcome=words_of(features.get("label", {}).get("name"), language) or _("at risk"),
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
        metrics=tuple(metric_rows(sources)),
        other_aucs=tuple(other_aucs(sources)),
        topics=tuple(topics),
        topics_without_loss=without_loss,
        holdout=holdout,
        split=(metrics or model).get("split", {}),
        groups=tuple(groups_of(holdout)),
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
