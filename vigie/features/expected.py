"""Features of what was due until the cut-off, and whether it was done, late or missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import CLOCK, Dataset, ExpectedFeatures, Measure
from vigie.engine import materialized, with_expressions
from vigie.errors import DeclarationError
from vigie.features.feature import Feature, aggregate_label, feature_name
from vigie.features.known import clocked, not_after
from vigie.features.part import (
    COHORT_ID,
    ZERO_WHEN_NOTHING,
    Part,
    condition_name,
    value_columns,
    value_name,
)
from vigie.i18n import _

if TYPE_CHECKING:
    import ibis


def expected_features(
    group: ExpectedFeatures,
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
) -> Iterable[Part]:
    """Yield what had become, by each cohort row's cut-off, of all that was due by then.

    Parameters
    ----------
    group
        What is due and when, what answers it, and what to measure of both.
    tables, cohort, dataset
        As of ``build_features``.
    """
    pairs = _due_and_done(group, tables, cohort, dataset)
    ordered = [measure for measure in group.measures if measure.order_by]
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for measure in group.measures:
        for aggregate in measure.aggregates:
            if aggregate == "last":
                continue
            name = feature_name(group.name, measure.name, aggregate, None)
            columns[name] = _pair_aggregate(aggregate, pairs, measure)
            features.append(_expected_feature(group, measure, aggregate, name, dataset))
    zero = {f.name for f in features if f.aggregate in ZERO_WHEN_NOTHING}
    yield Part(pairs.group_by(COHORT_ID).aggregate(**columns), features, zero)
    for measure in ordered:
        if "last" in measure.aggregates:
            yield _last_value(group, measure, pairs, dataset)


def _due_and_done(
    group: ExpectedFeatures,
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
) -> ibis.Table:
    """Return each cohort row with what was due by its cut-off, and what had come of it by then."""
    due = tables[group.due]
    if group.when:
        due = with_expressions(due, {"vigie_when": group.when})
        due = due.filter(due["vigie_when"]).drop("vigie_when")
    due = due.mutate(due_day=due[group.due_clock])
    event_columns = list(group.match.values())
    spine = cohort.select(
        COHORT_ID,
        "cutoff",
        *{
            *group.due_on,
            *(c for c in event_columns if c in cohort.columns and c not in due.columns),
        },
    )
    asked = due.inner_join(spine, list(group.due_on))
    asked = asked.filter(not_after(asked["due_day"], asked["cutoff"]))
    dataset.needed_clock(group.events)
    events = clocked(group.events, tables, dataset).rename({"event_day": CLOCK})
    done = events.inner_join(
        asked.select(COHORT_ID, "cutoff", *event_columns),
        [(left, right) for left, right in group.match.items()],
    )
    done = done.filter(not_after(done["event_day"], done["cutoff"]))
    new = [name for name in events.columns if name not in group.match]
    done = done.select(COHORT_ID, *group.match.values(), *new)
    others = [
        name
        for name in asked.columns
        if name not in done.columns or name in (COHORT_ID, *event_columns)
    ]
    pairs = asked.select(*others).left_join(done, [COHORT_ID, *event_columns])
    pairs = pairs.drop(*[name for name in pairs.columns if name.endswith("_right")])
    values = value_columns(group.measures, pairs)
    conditions = {
        condition_name(measure): f"coalesce({measure.when}, false)"
        for measure in group.measures
        if measure.when
    }
    return materialized(with_expressions(pairs, {**values, **conditions}))


def _pair_aggregate(aggregate: str, pairs: ibis.Table, measure: Measure) -> Any:
    value = pairs[value_name(measure)]
    condition = pairs[condition_name(measure)] if measure.when else None
    if aggregate == "count":
        return pairs.count(where=condition)
    if aggregate == "share":
        return pairs.count(where=condition) / pairs.count()
    simple = {"sum": value.sum, "mean": value.mean, "min": value.min, "max": value.max}
    if aggregate in simple:
        return simple[aggregate]()
    if aggregate == "std":
        return value.cast("float64").std(how="pop")
    raise DeclarationError(
        _("The aggregate {aggregate!r} is not to be had for expected events.").format(
            aggregate=aggregate
        ),
        where=f"features.{measure.name}",
    )


def _last_value(
    group: ExpectedFeatures, measure: Measure, pairs: ibis.Table, dataset: Dataset
) -> Part:
    # Ordered first/last aggregates don't exist on every engine; a row number does.
    import ibis

    rows = pairs if measure.when is None else pairs.filter(pairs[condition_name(measure)])
    order = [ibis.desc(rows[name]) for name in measure.order_by]
    numbered = rows.mutate(vigie_rank=ibis.row_number().over(group_by=COHORT_ID, order_by=order))
    name = feature_name(group.name, measure.name, "last", None)
    last = numbered.filter(numbered["vigie_rank"] == 0).select(
        COHORT_ID, **{name: numbered[value_name(measure)]}
    )
    return Part(last, [_expected_feature(group, measure, "last", name, dataset)])


def _expected_feature(
    group: ExpectedFeatures, measure: Measure, aggregate: str, name: str, dataset: Dataset
) -> Feature:
    return Feature(
        name,
        "aggregate",
        aggregate_label(measure.label, aggregate, None),
        f"{group.due}, {group.events}",
        measure.column or measure.expression or measure.when,
        f"{group.due_clock}, {dataset.needed_clock(group.events)!s}",
        aggregate,
        topic=measure.topic or measure.label,
    )
