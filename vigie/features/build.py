"""Features as they were known at the cut-off, written once in Ibis.

The cut-off is not a matter of the declaration: every table with a clock is joined to the cohort
and filtered by ``clock <= cutoff`` here, before anything is aggregated, so that a declaration
cannot leak. Each cohort row is known by its ``cohort_id``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import (
    CLOCK,
    AttributeFeature,
    Dataset,
    EventFeatures,
    ExpectedFeatures,
    Label,
    Lookup,
    Measure,
    RankFeatures,
    RatioFeature,
    cohort_column,
)
from vigie.engine import materialized, query, quote_name, with_expressions
from vigie.errors import DeclarationError
from vigie.features.feature import Feature, aggregate_label, feature_name, label_of_category, slug
from vigie.features.rhythm import with_windows
from vigie.features.vocabulary import Vocabulary
from vigie.i18n import _

if TYPE_CHECKING:
    import ibis

COHORT_ID = "cohort_id"
AGE = "vigie_age_days"
_WITHIN = "vigie_within_"
_VERSION = "vigie_version"
# Zero is what "nothing happened" means for these; for the others it is "not known".
_ZERO_WHEN_NOTHING = frozenset({"sum", "count", "active_days", "distinct"})
# Aggregates that need to know how many values there were.
_COUNTED = frozenset({"count", "mean", "std", "last", "first", "share"})


@dataclass(slots=True)
class _Part:
    """Some features as a table with one row per cohort row that has any (key: ``cohort_id``)."""

    table: ibis.Table
    features: list[Feature]
    zero: set[str] = field(default_factory=set)


def build_features(
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
    vocabulary: Vocabulary | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[ibis.Table, list[Feature]]:
    """Return the feature table (one row per cohort row, by ``cohort_id``) and its columns.

    Parameters
    ----------
    tables
        The clean tables by name.
    cohort
        One row for each thing to score, with ``cohort_id`` and ``cutoff``.
    dataset
        The declaration.
    vocabulary
        Gives and keeps the values that the declaration leaves open.
    progress
        Called with the share (0 to 1) of the work that is done; reading the rows is the last part.
    """
    vocabulary = vocabulary or Vocabulary()
    attributes = [group for group in dataset.features if isinstance(group, AttributeFeature)]
    parts: list[_Part] = []
    if attributes:
        parts.append(_attributes(attributes, cohort, dataset, vocabulary))
    late: list[RankFeatures | RatioFeature] = []
    for group in dataset.features:
        if isinstance(group, EventFeatures):
            parts.extend(_events(group, tables, cohort, dataset, vocabulary))
        elif isinstance(group, ExpectedFeatures):
            parts.extend(_expected(group, tables, cohort, dataset))
        elif not isinstance(group, AttributeFeature):
            late.append(group)
    features = [feature for part in parts for feature in part.features]
    _refuse_twins(features)
    wide = _side_by_side(cohort, parts, late, progress)
    for group in late:
        wide, more = _late_feature(group, wide, features)
        features.extend(more)
    _refuse_twins(features)
    names = [feature.name for feature in features]
    matrix = wide.select(
        wide[COHORT_ID], **{name: wide[name].cast("float32") for name in names}
    ).order_by(COHORT_ID)
    return matrix, features


def _refuse_twins(features: Iterable[Feature]) -> None:
    names = [feature.name for feature in features]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DeclarationError(
            _("Two features have the same name: {names}.").format(names=", ".join(sorted(twice))),
            where="features",
            fix=_("Give one of the measures another name."),
        )


def _side_by_side(
    cohort: ibis.Table,
    parts: Sequence[_Part],
    late: Iterable[RankFeatures | RatioFeature],
    progress: Callable[[float], None] | None,
) -> ibis.Table:
    """Return all parts in one table, with what ranks are taken within.

    In one SQL statement over computed tables: a chain of joins in Ibis takes time with the square
    of its length, minutes for a few dozen parts.
    """
    import ibis

    # Features may be called like columns of the cohort: of those, only what ranks need goes along.
    within = {name for group in late if isinstance(group, RankFeatures) for name in group.within}
    spine = cohort.select(COHORT_ID, **{f"{_WITHIN}{name}": name for name in sorted(within)})
    tables = []
    for table in (spine, *(part.table for part in parts)):
        tables.append(materialized(table))
        if progress is not None:
            progress(len(tables) / (len(parts) + 2))
    wanted = ["t0.*"]
    joins = quote_name(tables[0].op().name) + " AS t0"
    for number, part in enumerate(parts, start=1):
        for feature in part.features:
            name = quote_name(feature.name)
            value = f"t{number}.{name}"
            # Nothing happened, where nothing is known of the row.
            wanted.append(f"coalesce({value}, 0) AS {name}" if feature.name in part.zero else value)
        joins += (
            f" LEFT JOIN {quote_name(tables[number].op().name)} AS t{number} "
            f"ON t{number}.{COHORT_ID} = t0.{COHORT_ID}"
        )
    backend = ibis.get_backend(tables[0])
    sql = f"SELECT {', '.join(wanted)} FROM {joins}"
    return materialized(query(backend, sql))


def _attributes(
    groups: Iterable[AttributeFeature],
    cohort: ibis.Table,
    dataset: Dataset,
    vocabulary: Vocabulary,
) -> _Part:
    """Return all features that were known from the start, from one pass over the cohort."""
    sources: dict[str, str] = {}
    expressions: dict[str, str] = {}
    for number, group in enumerate(groups):
        if group.expression is not None:
            sources[group.name] = f"vigie_value_{number}"
            expressions[sources[group.name]] = group.expression
        elif group.column is not None:
            sources[group.name] = cohort_column(group.column)
    view = materialized(with_expressions(cohort, expressions)) if expressions else cohort
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for group in groups:
        made = _attribute(group, view, sources[group.name], dataset.cohort.source, vocabulary)
        _refuse_twins([*features, *(feature for feature, _value in made)])
        columns |= {feature.name: value for feature, value in made}
        features += [feature for feature, _value in made]
    return _Part(view.select(COHORT_ID, **columns), features)


def _attribute(
    group: AttributeFeature, view: ibis.Table, column: str, source: str, vocabulary: Vocabulary
) -> list[tuple[Feature, Any]]:
    value = view[column]
    categories = group.categories
    if group.top is not None:
        rows = view.select(COHORT_ID, column).mutate(n=1)
        categories = vocabulary.most_frequent(group.name, rows, column, group.top, view)
        if not categories:
            return []
    if categories:
        names: list[str] = []
        for one in categories:
            name = f"{group.name}_{slug(one)}"
            while name in names:
                name += "_2"
            names.append(name)
        return [
            (
                Feature(
                    name,
                    "category",
                    label_of_category(group.label, one),
                    source,
                    group.column,
                    category=one,
                    topic=group.topic or group.label,
                ),
                (value == one).fill_null(False).cast("int8"),  # noqa: FBT003
            )
            for name, one in zip(names, categories, strict=True)
        ]
    if group.order:
        codes = value.cases(*[(one, code) for code, one in enumerate(group.order)], else_=None)
        feature = Feature(
            group.name,
            "ordinal",
            group.label,
            source,
            group.column,
            categories=group.order,
            topic=group.topic,
        )
        return [(feature, codes)]
    feature = Feature(
        group.name,
        "number",
        group.label,
        source,
        group.column or group.expression,
        topic=group.topic,
    )
    return [(feature, value)]


def _events(
    group: EventFeatures,
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
    vocabulary: Vocabulary,
) -> Iterable[_Part]:
    clock = "" if dataset.known_from_start(group.table) else str(dataset.needed_clock(group.table))
    known = _known_events(group, tables, cohort, dataset)
    by = [measure for measure in group.measures if measure.by is not None]
    needed = sorted({measure.by.column for measure in by if measure.by})
    # One pass over the events: everything asked for can be made from sums per day and category,
    # of which there are far fewer than events.
    values = _value_columns(group.measures, known)
    known = with_expressions(known, values)
    daily = known.group_by(COHORT_ID, AGE, *needed).aggregate(
        n=known.count(), **_daily_columns(group.measures, known)
    )
    daily = materialized(daily)
    group = with_windows(group, daily, AGE, cohort, vocabulary)
    plain = [measure for measure in group.measures if measure.by is None]
    if plain:
        yield _from_days(group, plain, daily, clock)
    if by:
        yield _by_category(group, by, daily, clock, vocabulary, cohort)
    different = [measure for measure in plain if "distinct" in measure.aggregates]
    if different:
        yield _distinct(group, different, known, clock)


def _daily_columns(measures: Iterable[Measure], known: ibis.Table) -> dict[str, Any]:
    """Return what is kept of each day: sums, and of some measures counts, squares and extremes."""
    columns: dict[str, Any] = {}
    for measure in measures:
        name, wanted = _value_name(measure), set(measure.aggregates)
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
) -> _Part:
    """Count different values; days don't add up to that, so it is made from the events."""
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for measure in measures:
        value = known[_value_name(measure)]
        for window in measure.each_window:
            name = feature_name(group.name, measure.name, "distinct", window)
            columns[name] = value.nunique(where=None if window is None else known[AGE] < window)
            label = aggregate_label(measure.label, "distinct", window)
            source = measure.column or measure.expression
            features.append(
                Feature(
                    name,
                    "aggregate",
                    label,
                    group.table,
                    source,
                    clock,
                    "distinct",
                    window,
                    topic=measure.topic or measure.label,
                )
            )
    return _Part(known.group_by(COHORT_ID).aggregate(**columns), features, set(columns))


def _value_columns(measures: Iterable[Measure], table: ibis.Table) -> dict[str, str]:
    """Return the SQL of each measured value, by the name of the column that will hold it."""
    columns: dict[str, str] = {}
    for measure in measures:
        value = measure.expression or (f'"{measure.column}"' if measure.column else "1")
        if measure.when:
            value = f"CASE WHEN {measure.when} THEN {value} END"
        columns.setdefault(_value_name(measure), value)
    return columns


def _value_name(measure: Measure) -> str:
    return f"v_{measure.name}"


def _known_events(
    group: EventFeatures,
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
) -> ibis.Table:
    """Return the events known at their cohort row's cut-off, with their age in days."""
    table = _clocked(group.table, tables, dataset)
    versioned: list[Lookup] = []
    clocks: list[tuple[str, Lookup]] = []
    for number, lookup in enumerate(group.lookups):
        declared = dataset.tables[lookup.table]
        if declared.clock is None:
            table = _looked_up(table, tables[lookup.table], lookup, {})
        elif set(declared.primary_key) <= set(lookup.on):
            clock = f"{_VERSION}_{number}"
            other = _clocked(lookup.table, tables, dataset)
            table = _looked_up(table, other, lookup, {clock: CLOCK})
            clocks.append((clock, lookup))
        else:
            versioned.append(lookup)
    known = _known_at_cutoff(table, cohort, group.on)
    for clock, lookup in clocks:
        known = _hidden_until_known(known, lookup, clock, group.on)
    for lookup in versioned:
        known = _looked_up_at_cutoff(known, lookup, tables, dataset)
    return known


def _looked_up(
    table: ibis.Table, other: ibis.Table, lookup: Lookup, more: Mapping[str, str]
) -> ibis.Table:
    """Join what `lookup` takes from `other`; an event without it stays."""
    taken = other.select(
        *lookup.on, *lookup.columns, **{new: other[name] for new, name in more.items()}
    )
    joined = table.left_join(taken, list(lookup.on))
    return joined.drop(*[f"{name}_right" for name in lookup.on])


def _hidden_until_known(
    known: ibis.Table, lookup: Lookup, clock: str, on: Iterable[str]
) -> ibis.Table:
    """Blank what was looked up in a row that wasn't known at the cut-off."""
    import ibis

    seen = _not_after(known[clock], known["cutoff"])
    if set(lookup.columns) & set(on):
        # Whose event it is wasn't known either.
        return known.filter(seen)
    return known.mutate(**{name: seen.ifelse(known[name], ibis.null()) for name in lookup.columns})


def _clocked(name: str, tables: Mapping[str, ibis.Table], dataset: Dataset) -> ibis.Table:
    """Return a table with the column ``vigie_clock``, where it has a clock."""
    clock = None if dataset.known_from_start(name) else dataset.needed_clock(name)
    table = tables[name]
    if clock is None:
        return table
    if clock.key is None:
        return table.mutate(**{CLOCK: table[clock.column]})
    parent = tables[clock.key.references]
    names = dict(zip(clock.key.columns, clock.key.target, strict=True))
    dated = parent.select(
        **{here: parent[there] for here, there in names.items()}, **{CLOCK: parent[clock.column]}
    )
    return table.inner_join(dated, list(clock.key.columns))


def _known_at_cutoff(table: ibis.Table, cohort: ibis.Table, on: Iterable[str]) -> ibis.Table:
    """Return the rows known at their cohort row's cut-off, with their age in days."""
    spine = cohort.select(COHORT_ID, "cutoff", *on)
    joined = table.inner_join(spine, list(on))
    if CLOCK not in joined.columns:
        # Known from the start: as good as of the day of the cut-off.
        return joined.mutate(**{AGE: 0})
    known = joined.filter(_not_after(joined[CLOCK], joined["cutoff"]))
    return known.mutate(**{AGE: _days_between(known[CLOCK], known["cutoff"])})


def _looked_up_at_cutoff(
    known: ibis.Table, lookup: Lookup, tables: Mapping[str, ibis.Table], dataset: Dataset
) -> ibis.Table:
    """Join the columns of a table that changes: its last row that was known at the cut-off."""
    import ibis

    other = _clocked(lookup.table, tables, dataset).select(*lookup.on, *lookup.columns, CLOCK)
    asked = known.select(*lookup.on, "cutoff").distinct()
    found = other.rename({_VERSION: CLOCK}).inner_join(asked, list(lookup.on))
    found = found.filter(_not_after(found[_VERSION], found["cutoff"]))
    # Of two rows with one clock, the same is taken each time.
    order = [ibis.desc(found[_VERSION]), *(found[name] for name in lookup.columns)]
    numbered = found.mutate(
        vigie_rank=ibis.row_number().over(group_by=[*lookup.on, "cutoff"], order_by=order)
    )
    last = numbered.filter(numbered["vigie_rank"] == 0).drop("vigie_rank", _VERSION)
    joined = known.left_join(last, [*lookup.on, "cutoff"])
    return joined.drop(*[name for name in joined.columns if name.endswith("_right")])


def _not_after(clock: Any, cutoff: Any) -> Any:
    """Return whether a row was known at the cut-off; a date as cut-off means that day's end."""
    if cutoff.type().is_date() and clock.type().is_timestamp():
        return clock.cast("date") <= cutoff
    if cutoff.type().is_timestamp() and clock.type().is_date():
        return clock.cast("timestamp") <= cutoff
    return clock <= cutoff


def _days_between(clock: Any, cutoff: Any) -> Any:
    if cutoff.type().is_integer():
        return cutoff - clock
    return cutoff.cast("date").delta(clock.cast("date"), unit="day").cast("int32")


def _from_days(
    group: EventFeatures, measures: list[Measure], daily: ibis.Table, clock: str
) -> _Part:
    merged = {"s": "sum", "n": "sum", "q": "sum", "l": "min", "h": "max"}
    by_day = daily.group_by(COHORT_ID, AGE).aggregate(
        n=daily["n"].sum(),
        **{
            name: getattr(daily[name], merged[name[0]])()
            for name in daily.columns
            if name[1:3] == "_v"
        },
    )
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for measure in measures:
        for aggregate in measure.aggregates:
            # Days don't add up to it: see ``_distinct``.
            if aggregate == "distinct":
                continue
            for window in measure.each_window:
                name = feature_name(group.name, measure.name, aggregate, window)
                columns[name] = _day_aggregate(aggregate, by_day, measure, window)
                features.append(
                    Feature(
                        name,
                        "aggregate",
                        aggregate_label(measure.label, aggregate, window),
                        group.table,
                        measure.column or measure.expression,
                        clock,
                        aggregate,
                        window,
                        topic=measure.topic or measure.label,
                    )
                )
    zero = {f.name for f in features if f.aggregate in _ZERO_WHEN_NOTHING}
    return _Part(by_day.group_by(COHORT_ID).aggregate(**columns), features, zero)


def _day_aggregate(aggregate: str, days: ibis.Table, measure: Measure, window: int | None) -> Any:
    import ibis

    name = _value_name(measure)
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
    measures: Iterable[Measure],
    daily: ibis.Table,
    clock: str,
    vocabulary: Vocabulary,
    cohort: ibis.Table,
) -> _Part:
    columns: dict[str, Any] = {}
    features: list[Feature] = []
    for measure in measures:
        assert measure.by is not None
        category = measure.by.column
        # Without a value to sum, rows are counted.
        value = daily[f"s_{_value_name(measure)}"]
        values = measure.by.values
        if measure.by.top is not None:
            rows = daily.group_by(COHORT_ID, category).aggregate(n=daily["n"].sum())
            name = f"{group.name}.{measure.name}.{category}"
            values = vocabulary.most_frequent(name, rows, category, measure.by.top, cohort)
        for one in values:
            name = f"{feature_name(group.name, measure.name, 'sum', None)}_{slug(one)}"
            while name in columns:
                name += "_2"
            columns[name] = value.sum(where=daily[category].cast("string") == one)
            label = label_of_category(measure.label, one)
            source = measure.column or measure.expression
            features.append(
                Feature(
                    name,
                    "aggregate",
                    label,
                    group.table,
                    source,
                    clock,
                    "sum",
                    category=one,
                    topic=measure.topic or measure.label,
                )
            )
    part = daily.group_by(COHORT_ID).aggregate(**columns) if columns else cohort.select(COHORT_ID)
    return _Part(part, features, set(columns))


def _expected(
    group: ExpectedFeatures,
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
) -> Iterable[_Part]:
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
    zero = {f.name for f in features if f.aggregate in _ZERO_WHEN_NOTHING}
    yield _Part(pairs.group_by(COHORT_ID).aggregate(**columns), features, zero)
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
    asked = asked.filter(_not_after(asked["due_day"], asked["cutoff"]))
    dataset.needed_clock(group.events)
    events = _clocked(group.events, tables, dataset).rename({"event_day": CLOCK})
    done = events.inner_join(
        asked.select(COHORT_ID, "cutoff", *event_columns),
        [(left, right) for left, right in group.match.items()],
    )
    done = done.filter(_not_after(done["event_day"], done["cutoff"]))
    new = [name for name in events.columns if name not in group.match]
    done = done.select(COHORT_ID, *group.match.values(), *new)
    others = [
        name
        for name in asked.columns
        if name not in done.columns or name in (COHORT_ID, *event_columns)
    ]
    pairs = asked.select(*others).left_join(done, [COHORT_ID, *event_columns])
    pairs = pairs.drop(*[name for name in pairs.columns if name.endswith("_right")])
    values = _value_columns(group.measures, pairs)
    conditions = {
        f"w_{measure.name}": f"coalesce({measure.when}, false)"
        for measure in group.measures
        if measure.when
    }
    return materialized(with_expressions(pairs, {**values, **conditions}))


def _pair_aggregate(aggregate: str, pairs: ibis.Table, measure: Measure) -> Any:
    value = pairs[_value_name(measure)]
    condition = pairs[f"w_{measure.name}"] if measure.when else None
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
) -> _Part:
    # Ordered first/last aggregates don't exist on every engine; a row number does.
    import ibis

    rows = pairs if measure.when is None else pairs.filter(pairs[f"w_{measure.name}"])
    order = [ibis.desc(rows[name]) for name in measure.order_by]
    numbered = rows.mutate(vigie_rank=ibis.row_number().over(group_by=COHORT_ID, order_by=order))
    name = feature_name(group.name, measure.name, "last", None)
    last = numbered.filter(numbered["vigie_rank"] == 0).select(
        COHORT_ID, **{name: numbered[_value_name(measure)]}
    )
    return _Part(last, [_expected_feature(group, measure, "last", name, dataset)])


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


def _ranked(group: RankFeatures, known: Collection[str]) -> list[str]:
    """Return the features to rank, each once, in the order of the declaration."""
    found: list[str] = []
    for pattern in group.of:
        names = [name for name in known if fnmatchcase(name, pattern)]
        if not names:
            raise DeclarationError(
                _("features.{group}: there is no feature {name!r} to rank.").format(
                    group=group.name, name=pattern
                ),
                where=f"features.{group.name}.of",
            )
        found += names
    return list(dict.fromkeys(found))


def _late_feature(
    group: RankFeatures | RatioFeature, wide: ibis.Table, features: list[Feature]
) -> tuple[ibis.Table, list[Feature]]:
    if isinstance(group, RatioFeature):
        feature = Feature(
            group.name, "derived", group.label, "features", group.expression, topic=group.topic
        )
        return with_expressions(wide, {group.name: group.expression}), [feature]
    known = {feature.name: feature for feature in features}
    ranked = {f"{name}_{group.name}": known[name] for name in _ranked(group, known)}
    more = [
        Feature(
            new,
            "rank",
            Label(
                en=f"{base.label.en}, {group.label.en}",
                fr=f"{base.label.fr}, {group.label.fr}",
            ),
            base.source,
            base.column,
            base.clock,
            "rank",
            base.window_days,
            topic=base.topic or base.label,
        )
        for new, base in ranked.items()
    ]
    return _with_ranks(group, wide, ranked), more


def _with_ranks(group: RankFeatures, wide: ibis.Table, ranked: Mapping[str, Feature]) -> ibis.Table:
    """Return `wide` with the rank of each feature, by its name, among the rows that have a value.

    All values below each other and ranked by one window, which is then as narrow as can be: a
    window for each of thirty ranks, each with all columns in tow, takes three times as long.
    """
    import ibis

    within = [f"{_WITHIN}{name}" for name in group.within]
    names = [feature.name for feature in ranked.values()]
    narrow = materialized(wide.select(COHORT_ID, *within, *names))
    backend = ibis.get_backend(narrow)
    source, keys = quote_name(narrow.op().name), [quote_name(name) for name in within]
    listed = []
    for number, name in enumerate(names):
        value = quote_name(name)
        # Sums of fractions depend on their order in the last digits: ties must not.
        exact = f"CAST({value} AS REAL)" if narrow[name].type().is_floating() else value
        columns = [COHORT_ID, *keys, f"{number} AS which", f"CAST({exact} AS DOUBLE) AS v"]
        # Rows without the value must not shift the others.
        listed.append(f"SELECT {', '.join(columns)} FROM {source} WHERE {value} IS NOT NULL")
    partition = ", ".join(["which", *keys])
    by_row = ", ".join(
        f"max(CASE WHEN which = {number} THEN r END) AS {quote_name(new)}"
        for number, new in enumerate(ranked)
    )
    ranks = query(
        backend,
        f"SELECT {COHORT_ID}, {by_row} FROM (SELECT {COHORT_ID}, which, "
        f"percent_rank() OVER (PARTITION BY {partition} ORDER BY v) AS r "
        f"FROM ({' UNION ALL '.join(listed)}) AS listed) AS ranks GROUP BY {COHORT_ID}",
    )
    return wide.left_join(materialized(ranks), COHORT_ID).drop(f"{COHORT_ID}_right")
