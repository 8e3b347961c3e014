"""The features of a declaration that names none: what tables, keys and clocks already say.

Everything here is what a person would try first: what was known of each row from the start; of
each table with a clock how much, how often, how recently and how it changes; and where events
belong to things that were due, what didn't come.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vigie.dataset.spec import (
    CUTOFF,
    ROW_ID,
    Aggregate,
    AttributeFeature,
    By,
    Column,
    Dataset,
    EventFeatures,
    ExpectedFeatures,
    FeatureGroup,
    ForeignKey,
    Label,
    Lookup,
    Measure,
    RankFeatures,
    Table,
)
from vigie.engine import quote_name

TOP_CATEGORIES = 20
TOP_EVENT_CATEGORIES = 12
NUMBERS = frozenset({"integer", "number"})
DAYS = frozenset({"day", "date", "timestamp"})


def default_features(dataset: Dataset) -> tuple[FeatureGroup, ...]:
    """Return features made from the declared tables, keys and clocks alone.

    Columns of the key, of foreign keys, of the outcome and those declared as sensitive are none.
    A day or date counts only where it was over at the cut-off: a later one wasn't known.
    """
    made = list[FeatureGroup](_attributes(dataset))
    taken = {group.name for group in made}
    for group in _from_events(dataset):
        if group.name not in taken:
            made.append(group)
            taken.add(group.name)
    made.extend(_ranks(dataset, made))
    return tuple(made)


# --- what was known from the start ------------------------------------------------------------


def _attributes(dataset: Dataset) -> Iterator[AttributeFeature]:
    cohort = dataset.cohort
    sources: list[tuple[str, tuple[str, ...] | None]] = []
    if cohort.table is not None:
        sources.append((cohort.table, None))
    sources += [(lookup.table, lookup.columns) for lookup in cohort.lookups]
    seen: set[str] = set()
    for name, chosen in sources:
        table = dataset.tables[name]
        for column_name, column in table.columns.items():
            if chosen is not None and column_name not in chosen:
                continue
            no_feature = column_name in _no_attributes(dataset, table) or not column.feature
            if column_name in seen or no_feature:
                continue
            seen.add(column_name)
            yield from _attribute(dataset, column_name, column)


def _no_attributes(dataset: Dataset, table: Table) -> set[str]:
    cohort = dataset.cohort
    names = {*table.primary_key, *dataset.sensitive.withheld, ROW_ID, CUTOFF}
    names |= {column for key in table.foreign_keys for column in key.columns}
    names |= {name for name in (cohort.group, cohort.label.column) if name is not None}
    # Parts of the key that are no identifiers of their own, such as a course, say something.
    categories = {name for name in cohort.key if _is_category(dataset, name)}
    # What the outcome is made of; and what orders the rows, which is new in each period.
    expressions = f"{cohort.label.positive_sql} {cohort.period or ''}"
    spoken = {name for name in table.columns if name in expressions}
    return ((names | set(cohort.key)) - categories) | spoken


def _is_category(dataset: Dataset, name: str) -> bool:
    """Whether a column of the key is one of many tables: it tells kinds apart, not rows."""
    cohort = dataset.cohort
    if cohort.table is None or len(cohort.key) < 2 or name == cohort.group:
        return False
    column = dataset.tables[cohort.table].columns.get(name)
    others = [table for table in dataset.tables.values() if name in table.primary_key]
    return column is not None and column.type == "text" and len(others) > 1


def _attribute(dataset: Dataset, name: str, column: Column) -> Iterator[AttributeFeature]:
    label = _label(name)
    if column.type in NUMBERS:
        yield AttributeFeature(kind="attribute", name=name, label=label, column=name)
    elif column.type == "boolean":
        value = f"CAST({quote_name(name)} AS INTEGER)"
        yield AttributeFeature(kind="attribute", name=name, label=label, expression=value)
    elif column.type == "text":
        yield AttributeFeature(
            kind="attribute", name=name, label=label, column=name, top=TOP_CATEGORIES
        )
    elif not dataset.timeless:
        yield AttributeFeature(
            kind="attribute",
            name=f"days_since_{name}",
            label=Label(en=f"days since {label.en}", fr=f"jours depuis {label.fr}"),
            expression=_age_sql(dataset, name, column),
        )
    else:
        day = f"date_diff('day', DATE '2000-01-01', CAST({quote_name(name)} AS DATE))"
        yield AttributeFeature(kind="attribute", name=f"{name}_day", label=label, expression=day)


def _age_sql(dataset: Dataset, name: str, column: Column) -> str:
    quoted = quote_name(name)
    if column.type == "day":
        return f"CASE WHEN {quoted} <= {CUTOFF} THEN {CUTOFF} - {quoted} END"
    date = f"CAST({quoted} AS DATE)"
    if dataset.cohort.cutoff is None:
        # The cut-off is a day number: it can't be compared with a date.
        return f"date_diff('day', DATE '2000-01-01', {date})"
    end = f"CAST({CUTOFF} AS DATE)"
    return f"CASE WHEN {date} <= {end} THEN date_diff('day', {date}, {end}) END"


# --- beside others ----------------------------------------------------------------------------


def _ranks(dataset: Dataset, made: Iterable[FeatureGroup]) -> Iterator[RankFeatures]:
    """Yield where each row stands among those of the same course, shop or year.

    What is usual differs from one to the next: a rank carries over where a number does not.
    """
    within = tuple(name for name in dataset.cohort.key if _is_category(dataset, name))
    of = tuple(f"{one.name}_*" for one in made if isinstance(one, EventFeatures | ExpectedFeatures))
    if within and of:
        label = Label(en="rank beside others", fr="rang parmi les autres")
        yield RankFeatures(kind="rank", name="rank", label=label, within=within, of=of)


# --- events -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """How a table's rows are matched with the cohort's: directly, or through its foreign keys."""

    on: tuple[str, ...]
    lookups: tuple[Lookup, ...]


def _from_events(dataset: Dataset) -> Iterator[FeatureGroup]:
    for name, table in dataset.tables.items():
        is_known = table.clock is not None or dataset.known_from_start(name)
        if not is_known or name == dataset.cohort.table or _is_looked_up(dataset, name):
            continue
        way = _way_to_cohort(dataset, table)
        if way is None:
            continue
        yield _events(dataset, name, table, way)
        for key in table.foreign_keys:
            expected = _expected(dataset, name, table, key)
            if expected is not None:
                yield expected


def _is_looked_up(dataset: Dataset, name: str) -> bool:
    """Whether a table gives the cohort its columns already, one row for each of the cohort's."""
    key = set(dataset.tables[name].primary_key)
    return any(lookup.table == name and key <= set(lookup.on) for lookup in dataset.cohort.lookups)


def _cohort_columns(dataset: Dataset) -> list[str]:
    """Return the columns by which rows of other tables can belong to a row of the cohort."""
    cohort = dataset.cohort
    group = [cohort.group] if cohort.group and cohort.group not in cohort.key else []
    return [name for name in (*cohort.key, *group) if name != ROW_ID]


def _shared_keys(dataset: Dataset) -> list[tuple[str, ...]]:
    """Return columns of the cohort's table that point to a thing other tables may be about too.

    A loan's account has transactions: they are known of the loan by way of the account.
    """
    if dataset.cohort.table is None:
        return []
    keys = dataset.tables[dataset.cohort.table].foreign_keys
    return [key.columns for key in keys if key.target == key.columns]


def _way_to_cohort(dataset: Dataset, table: Table) -> _Way | None:
    wanted, shared = _cohort_columns(dataset), _shared_keys(dataset)
    on = [name for name in wanted if name in table.columns]
    lookups: list[Lookup] = []
    for key in table.foreign_keys:
        if key.references == dataset.cohort.table or key.target != key.columns:
            continue
        other = dataset.tables[key.references]
        if key.columns in shared and _is_looked_up(dataset, key.references):
            # It says the same of each event as it does of the row itself.
            continue
        # What two tables call alike is taken from the first of them.
        named = (*table.columns, *(name for one in lookups for name in one.columns))
        taken = {name.lower() for name in named}
        found = [name for name in wanted if name not in on and name in other.columns]
        on += found
        more = tuple(
            column
            for column in other.columns
            if column.lower() not in taken and column not in key.columns and column not in found
        )
        if found or more:
            lookups.append(Lookup(table=key.references, on=key.columns, columns=(*found, *more)))
    # What belongs to all rows alike, a holiday for instance, is nobody's event.
    identifies = dataset.cohort.group or (wanted[-1] if len(wanted) == 1 else None)
    if on and (identifies is None or identifies in on):
        return _Way(tuple(name for name in wanted if name in on), tuple(lookups))
    for columns in shared:
        if all(name in table.columns for name in columns):
            return _Way(columns, tuple(lookups))
        for lookup in lookups:
            if all(name in (*table.columns, *lookup.columns) for name in columns):
                return _Way(columns, tuple(lookups))
    return None


def _columns_of(dataset: Dataset, table: Table, way: _Way) -> dict[str, Column]:
    """Return the columns that say something of an event, its own and those of its lookups."""
    ids = {*way.on, *table.primary_key, table.clock}
    ids |= {column for key in table.foreign_keys for column in key.columns}
    found = {name: column for name, column in table.columns.items() if name not in ids}
    for lookup in way.lookups:
        other = dataset.tables[lookup.table]
        theirs = {*way.on, *other.primary_key}
        theirs |= {column for key in other.foreign_keys for column in key.columns}
        found |= {name: other.columns[name] for name in lookup.columns if name not in theirs}
    withheld = dataset.sensitive.withheld
    return {
        name: column for name, column in found.items() if column.feature and name not in withheld
    }


def _events(dataset: Dataset, name: str, table: Table, way: _Way) -> EventFeatures:
    columns = _columns_of(dataset, table, way)
    measure = functools.partial(_measure, name)
    numbers = [one for one, column in columns.items() if column.type in NUMBERS]
    texts = [one for one, column in columns.items() if column.type == "text"]
    timed = table.clock is not None
    measures = [measure("rows", ("count",))]
    if timed:
        measures = [
            measure("rows", ("count", "active_days", "days_since_last", "days_since_first")),
            measure("rows", ("count", "active_days", "trend"), windows="auto"),
        ]
    aggregates: tuple[Aggregate, ...] = ("sum", "mean", "std", "min", "max")
    for number in numbers:
        last: tuple[Aggregate, ...] = ("last",) if timed else ()
        measures.append(measure(number, (*aggregates, *last), column=number))
        if timed and number in table.columns:
            several: tuple[Aggregate, ...] = ("sum", "mean", "trend")
            measures.append(measure(number, several, column=number, windows="auto"))
    counted = [one for one in numbers if one in table.columns]
    for text in texts:
        measures.append(
            Measure(
                name=f"by_{text}",
                label=_label(f"{name}: {counted[0]}" if len(counted) == 1 else name),
                column=counted[0] if len(counted) == 1 else None,
                aggregates=("sum",),
                by=By(column=text, top=TOP_EVENT_CATEGORIES),
            )
        )
        measures.append(measure(text, ("distinct",), column=text))
    return EventFeatures(
        kind="events",
        name=name,
        label=_label(name),
        table=name,
        on=way.on,
        lookups=way.lookups,
        measures=tuple(measures),
    )


def _expected(
    dataset: Dataset, name: str, table: Table, key: ForeignKey
) -> ExpectedFeatures | None:
    """Return what was due of each row, where the referenced table says when and for whom."""
    due = dataset.tables[key.references]
    if due.clock is not None or key.target != key.columns:
        return None
    days = [one for one, column in due.columns.items() if column.type in DAYS]
    due_on = tuple(one for one in _cohort_columns(dataset) if one in due.columns)
    person = [one for one in _cohort_columns(dataset) if one in table.columns]
    if len(days) != 1 or not due_on or not person or set(person) & set(due_on):
        return None
    columns = {**due.columns, **table.columns}
    ids = {*key.columns, *due_on, *person, days[0], table.clock}
    ids |= {column for one in due.foreign_keys for column in one.columns}
    numbers = [n for n, c in columns.items() if c.type in NUMBERS and n not in ids]
    late, early = _late_and_early(dataset, name, due.columns[days[0]])
    measure = functools.partial(_measure, key.references)
    measures = [
        measure("due", ("count",)),
        measure("missed", ("count", "share"), when="event_day IS NULL"),
        measure("late", ("count", "share"), when=late),
        measure("days_early", ("mean", "min"), expression=early),
        measure(
            "last_missed",
            ("last",),
            expression="CASE WHEN event_day IS NULL THEN 1 ELSE 0 END",
            order_by=("due_day", *key.columns),
        ),
    ]
    for number in numbers:
        if number in table.columns:
            measures.append(measure(number, ("mean", "min", "max", "std"), expression=number))
            zero = f"coalesce({quote_name(number)}, 0)"
            measures.append(measure(f"{number}_or_zero", ("mean", "sum"), expression=zero))
        else:
            missed = "event_day IS NULL"
            measures.append(measure(number, ("sum",), expression=quote_name(number)))
            measures.append(
                measure(f"{number}_missed", ("sum",), expression=quote_name(number), when=missed)
            )
    return ExpectedFeatures(
        kind="expected",
        name=f"{key.references}_due",
        label=_label(key.references),
        due=key.references,
        due_clock=days[0],
        due_on=due_on,
        events=name,
        match={column: column for column in (*key.columns, *person)},
        measures=tuple(measures),
    )


def _late_and_early(dataset: Dataset, events: str, due: Column) -> tuple[str, str]:
    """Return SQL for whether something came after it was due, and how many days before."""
    kinds = {due.type, dataset.needed_clock(events).type}
    if kinds == {"day"}:
        return "event_day > due_day", "due_day - event_day"
    early = "date_diff('day', CAST(event_day AS DATE), CAST(due_day AS DATE))"
    # What is due on a day may come until that day's end.
    whole = "CAST(event_day AS DATE) > CAST(due_day AS DATE)"
    return ("event_day > due_day" if kinds == {"timestamp"} else whole), early


def _measure(
    table: str,
    name: str,
    aggregates: Iterable[Aggregate],
    *,
    column: str | None = None,
    expression: str | None = None,
    when: str | None = None,
    windows: tuple[int, ...] | Literal["auto"] = (),
    order_by: tuple[str, ...] = (),
) -> Measure:
    return Measure(
        name=name,
        label=_label(table if name == "rows" else f"{table}: {name}"),
        column=column,
        expression=expression,
        when=when,
        aggregates=tuple(aggregates),
        windows=windows,
        order_by=order_by,
    )


def _label(name: str) -> Label:
    text = name.replace("_", " ")
    return Label(en=text, fr=text)
