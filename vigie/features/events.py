"""Features of events, by windows of days and by categories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import Dataset, EventFeatures, Measure
from vigie.engine import materialized, with_expressions
from vigie.errors import DeclarationError
from vigie.features.feature import Feature, aggregate_label, feature_name, label_of_category, slug
from vigie.features.known import known_events
from vigie.features.part import AGE, COHORT_ID, ZERO_WHEN_NOTHING, Part, value_columns, value_name
from vigie.features.rhythm import with_windows
from vigie.features.vocabulary import Vocabulary
from vigie.i18n import _

if TYPE_CHECKING:
    import ibis

# Aggregates that need to know how many values there were.
_COUNTED = frozenset({"count", "mean", "std", "last", "first", "share"})


def event_features(
    group: EventFeatures,
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
    vocabulary: Vocabulary,
) -> Iterable[Part]:
    """Yield what is known of each cohort row's events at its cut-off.

    Parameters
    ----------
    group
        What to measure, in which windows of days and by which categories.
    tables, cohort, dataset, vocabulary
        As of ``build_features``.
    """
    clock = "" if dataset.known_from_start(group.table) else str(dataset.needed_clock(group.table))
    known = known_events(group, tables, cohort, dataset)
    known = with_expressions(known, value_columns(group.measures, known))
    plain = [measure for measure in group.measures if measure.by is None]
    by = [measure for measure in group.measures if measure.by is not None]
    # Sums by day make all that windows ask for, and there are far fewer of them than events. Those
    # by category are made from the events once more: of sums by both, which would make either,
    # there are many (OULAD's clicks: three times as many as by day), more than a second look costs.
    if plain:
        daily = known.group_by(COHORT_ID, AGE).aggregate(
            n=known.count(), **_daily_columns(plain, known)
        )
        daily = materialized(daily)
        group = with_windows(group, daily, AGE, cohort, vocabulary)
        plain = [measure for measure in group.measures if measure.by is None]
        yield _from_days(group, plain, daily, clock)
    if by:
        yield from _by_category(group, by, known, clock, vocabulary, cohort)
    different = [measure for measure in plain if "distinct" in measure.aggregates]
    if different:
        yield _distinct(group, different, known, clock)


def _aggregate(
    group: EventFeatures,
    measure: Measure,
    name: str,
    clock: str,
    aggregate: str,
    window: int | None = None,
    category: str | None = None,
) -> Feature:
    """Return what a column is: an aggregate of a measure, in a window or of one category."""
    if category is None:
        label = aggregate_label(measure.label, aggregate, window)
    else:
        label = label_of_category(measure.label, category)
    return Feature(
        name,
        "aggregate",
        label,
        group.table,
        measure.column or measure.expression,
        clock,
        aggregate,
        window,
        category=category,
        topic=measure.topic or measure.label,
    )


def _daily_columns(measures: Iterable[Measure], known: ibis.Table) -> dict[str, Any]:
    """Return what is kept of each day: sums, and of some measures counts, squares and extremes."""
    columns: dict[str, Any] = {}
    for measure in measures:
        name, wanted = value_name(measure), set(measure.aggregates)
        if wanted == {"distinct"}:
            continue
        value = known[name]
        columns.setdefault(f"s_{name}", value.sum())
        if wanted & _COUNTED or measure.when:
            columns.setdefault(f"n_{name}", value.count())
        if "std" in wanted:
            number = value.cast("float64")
            columns.setdefault(f"q_{name}", (number * number).sum())
        if "min" in wanted:
            columns.setdefault(f"l_{name}", value.min())
        if "max" in wanted:
            columns.setdefault(f"h_{name}", value.max())
    return columns


def _distinct(
    group: EventFeatures, measures: Iterable[Measure], known: ibis.Table, clock: str
) -> Part:
    """Count different values; days don't add up to that, so it is made from the events."""
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for measure in measures:
        value = known[value_name(measure)]
        for window in measure.each_window:
            name = feature_name(group.name, measure.name, "distinct", window)
            columns[name] = value.nunique(where=None if window is None else known[AGE] < window)
            features.append(_aggregate(group, measure, name, clock, "distinct", window))
    return Part(known.group_by(COHORT_ID).aggregate(**columns), features, set(columns))


def _from_days(
    group: EventFeatures, measures: list[Measure], daily: ibis.Table, clock: str
) -> Part:
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for measure in measures:
        for aggregate in measure.aggregates:
            # Days don't add up to it: see ``_distinct``.
            if aggregate == "distinct":
                continue
            for window in measure.each_window:
                name = feature_name(group.name, measure.name, aggregate, window)
                columns[name] = _day_aggregate(aggregate, daily, measure, window)
                features.append(_aggregate(group, measure, name, clock, aggregate, window))
    zero = {f.name for f in features if f.aggregate in ZERO_WHEN_NOTHING}
    return Part(daily.group_by(COHORT_ID).aggregate(**columns), features, zero)


def _day_aggregate(aggregate: str, days: ibis.Table, measure: Measure, window: int | None) -> Any:
    import ibis

    name = value_name(measure)
    recent = None if window is None else days[AGE] < window
    value = days[f"s_{name}"]
    # Of a measure with a condition, only the rows that meet it count.
    count = days[f"n_{name}"] if f"n_{name}" in days.columns else days["n"]
    happened = count > 0 if measure.when else None
    both = recent if happened is None else happened if recent is None else recent & happened

    def mean() -> Any:
        return value.sum(where=recent) / count.sum(where=recent).nullif(0)

    def std() -> Any:
        squares = days[f"q_{name}"].sum(where=recent) / count.sum(where=recent).nullif(0)
        # Rounding may leave a hair less than nothing.
        return ibis.greatest(squares - mean() * mean(), 0.0).sqrt()

    def of_day(best: Any) -> Any:
        # The mean of that day: which of its rows came last is not known.
        return best(value / count.nullif(0), days[AGE])

    simple: dict[str, Callable[[], Any]] = {
        "sum": lambda: value.sum(where=recent),
        "count": lambda: count.sum(where=recent),
        "mean": mean,
        "std": std,
        "min": lambda: days[f"l_{name}"].min(where=recent),
        "max": lambda: days[f"h_{name}"].max(where=recent),
        "last": lambda: of_day(lambda mean_of_day, age: mean_of_day.argmin(age, where=both)),
        "first": lambda: of_day(lambda mean_of_day, age: mean_of_day.argmax(age, where=both)),
        "share": lambda: count.sum(where=recent) / days["n"].sum(where=recent).nullif(0),
        "active_days": lambda: days.count(where=both),
        "days_since_last": lambda: days[AGE].min(where=happened),
        "days_since_first": lambda: days[AGE].max(where=happened),
    }
    if aggregate in simple:
        return simple[aggregate]()
    if aggregate == "trend" and window is not None:
        now = value.sum(where=recent).fill_null(0)
        doubled = value.sum(where=days[AGE] < 2 * window)
        return now / doubled.nullif(0)
    raise DeclarationError(
        _("The aggregate {aggregate!r} is not to be had for events{window}.").format(
            aggregate=aggregate,
            window="" if window else _(" without a window"),
        ),
        where="features",
    )


def _by_category(
    group: EventFeatures,
    measures: Sequence[Measure],
    known: ibis.Table,
    clock: str,
    vocabulary: Vocabulary,
    cohort: ibis.Table,
) -> Iterable[Part]:
    """Yield a part for each column of categories, in the order of the measures."""
    values: dict[str, dict[str, Any]] = {}
    for measure in measures:
        named = value_name(measure)
        values.setdefault(_category_of(measure), {})[f"s_{named}"] = known[named].sum()
    sums = {
        column: materialized(
            known.group_by(COHORT_ID, column).aggregate(vigie_n=known.count(), **of)
        )
        for column, of in values.items()
    }
    names: set[str] = set()
    for column, same in groupby(measures, _category_of):
        columns: dict[str, Any] = {}
        features: list[Feature] = []
        table = sums[column]
        for measure in same:
            # Without a value to sum, rows are counted.
            value = table[f"s_{value_name(measure)}"]
            for one in _values_of(group, measure, table, vocabulary, cohort):
                name = f"{feature_name(group.name, measure.name, 'sum', None)}_{slug(one)}"
                while name in names:
                    name += "_2"
                names.add(name)
                columns[name] = value.sum(where=table[column].cast("string") == one)
                features.append(_aggregate(group, measure, name, clock, "sum", category=one))
        part = (
            table.group_by(COHORT_ID).aggregate(**columns) if columns else cohort.select(COHORT_ID)
        )
        yield Part(part, features, set(columns))


def _category_of(measure: Measure) -> str:
    assert measure.by is not None
    return measure.by.column


def _values_of(
    group: EventFeatures,
    measure: Measure,
    rows: ibis.Table,
    vocabulary: Vocabulary,
    cohort: ibis.Table,
) -> Sequence[str]:
    """Return the categories that a measure is taken of: those declared, or the most frequent."""
    assert measure.by is not None
    column, top = measure.by.column, measure.by.top
    if top is None:
        return measure.by.values
    return vocabulary.most_frequent(
        f"{group.name}.{measure.name}.{column}", rows, column, top, cohort
    )
