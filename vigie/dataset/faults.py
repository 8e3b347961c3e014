"""What contradicts itself in a declaration: names that nothing has, keys and clocks that can't be.

Each fault has its place in the declaration, so that its line can be said, and a way to mend it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from vigie.dataset.spec import (
    CLOCK_TYPES,
    COHORT_COLUMNS,
    CUTOFF,
    NUMBER_TYPES,
    OWN_PREFIX,
    ROW_ID,
    TIMED_AGGREGATES,
    AttributeFeature,
    Column,
    Dataset,
    EventFeatures,
    ExpectedFeatures,
    Lookup,
    Measure,
    Table,
)
from vigie.i18n import _
from vigie.names import suggest

Place = tuple[str | int, ...]
# ``*``, ``t.*`` and ``COLUMNS(...)``; a product has something on its left.
_ALL_COLUMNS = re.compile(r"(^|[(,])\s*\*|[A-Za-z_\"]\.\*|\bcolumns\s*\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that doesn't hold: where in the declaration, what, and what to do about it."""

    place: Place
    what: str
    fix: str = ""


def contradictions(dataset: Dataset, doubtful: frozenset[Place] = frozenset()) -> list[Fault]:
    """Return everything in the declaration that contradicts the rest of it.

    Parameters
    ----------
    doubtful
        Places of columns that could not be read: their types say nothing.
    """
    found = [fault for name in dataset.tables for fault in _in_table(dataset, name, doubtful)]
    found += _in_clocks(dataset)
    found += _in_cohort(dataset)
    for number, group in enumerate(dataset.features):
        place = ("features", number)
        if isinstance(group, AttributeFeature):
            found += _in_attribute(dataset, group, place)
        elif isinstance(group, EventFeatures):
            found += _in_events(dataset, group, place)
        elif isinstance(group, ExpectedFeatures):
            found += _in_expected(dataset, group, place)
    known = {column for table in dataset.tables.values() for column in table.columns}
    if dataset.cohort.table is not None:
        found += _unknown(("sensitive", "columns"), dataset.sensitive.columns, known)
        table = dataset.tables.get(dataset.cohort.table)
        own = set(table.columns) if table else known
        own |= {name for lookup in dataset.cohort.lookups for name in lookup.columns}
        found += _unknown(("cohort", "report_by"), dataset.cohort.report_by, own)
    found += _unknown(("sensitive", "fed"), dataset.sensitive.fed, dataset.sensitive.columns)
    return found


def unknown_name(place: Place, name: str, known: Iterable[str]) -> Fault:
    """Return the fault that `name` is none of those `known`."""
    there = sorted(known)
    nearest = suggest(name, there)
    what = _("{name!r} is not declared").format(name=name)
    if nearest:
        return Fault(place, what, _("did you mean {nearest!r}?").format(nearest=nearest))
    return Fault(place, what, _("there are: {names}").format(names=", ".join(there)))


def _unknown(place: Place, names: Sequence[str], known: Collection[str]) -> Iterator[Fault]:
    for name in names:
        if name not in known:
            yield unknown_name(place, name, known)


# --- tables ----------------------------------------------------------------------------------


def _in_table(dataset: Dataset, name: str, doubtful: frozenset[Place]) -> Iterator[Fault]:
    table, place = dataset.tables[name], ("tables", name)
    yield from _unknown((*place, "primary_key"), table.primary_key, table.columns)
    for number, index in enumerate(table.indexes):
        yield from _unknown((*place, "indexes", number), index, table.columns)
    for column_name, column in table.columns.items():
        yield from _in_column(column, (*place, "columns", column_name))
        lower = column_name.lower()
        # Beside rows of other tables the cohort's number stands too, while features are made.
        beside = lower == "cohort_id" and name != dataset.cohort.table
        # Expressions call the cut-off so, and one name can't mean two things.
        if beside or lower == CUTOFF or lower.startswith(OWN_PREFIX):
            yield _taken_name(name, column_name)
    for number, key in enumerate(table.foreign_keys):
        where = (*place, "foreign_keys", number)
        yield from _unknown((*where, "columns"), key.columns, table.columns)
        if key.references not in dataset.tables:
            yield unknown_name((*where, "references"), key.references, dataset.tables)
        else:
            yield from _in_reference(dataset, name, number, doubtful)
    yield from _in_clock(dataset, table, (*place, "clock"), doubtful)


def _in_column(column: Column, place: Place) -> Iterator[Fault]:
    for bound in ("minimum", "maximum"):
        if getattr(column, bound) is not None and column.type not in NUMBER_TYPES:
            yield Fault(
                (*place, bound),
                _("only numbers have bounds, and this is a {type}").format(type=column.type),
                _("take it out"),
            )
    if column.format is not None and column.type not in ("date", "timestamp"):
        yield Fault(
            (*place, "format"),
            _("only dates and timestamps have a format, and this is a {type}").format(
                type=column.type
            ),
            _('take it out, or make it type = "date"'),
        )
    low, high = column.minimum, column.maximum
    if low is not None and high is not None and low > high:
        yield Fault((*place, "minimum"), _("is above the maximum"), _("exchange them"))


def _in_reference(
    dataset: Dataset, name: str, number: int, doubtful: frozenset[Place]
) -> Iterator[Fault]:
    table, place = dataset.tables[name], ("tables", name, "foreign_keys", number)
    key = table.foreign_keys[number]
    target = dataset.tables[key.references]
    if not set(target.primary_key) <= set(target.columns):
        return
    if key.target != target.primary_key:
        yield Fault(
            place,
            _("{columns} must be the primary key of {table} ({primary})").format(
                columns=", ".join(key.target),
                table=key.references,
                primary=", ".join(target.primary_key) or _("it has none"),
            ),
            _("name its columns under 'to', or give {table} that primary_key").format(
                table=key.references
            ),
        )
        return
    for here, there in zip(key.columns, key.target, strict=True):
        ours, theirs = table.columns.get(here), target.columns.get(there)
        columns = {
            ("tables", name, "columns", here),
            ("tables", key.references, "columns", there),
        }
        if ours and theirs and _family(ours) != _family(theirs) and not columns & doubtful:
            yield Fault(
                place,
                _("{here} is {ours}, {table}.{there} is {theirs}").format(
                    here=here, ours=ours.type, table=key.references, there=there, theirs=theirs.type
                ),
                _("give both the same type"),
            )


def _family(column: Column) -> str:
    return "number" if column.type in NUMBER_TYPES else column.type


def _in_clock(
    dataset: Dataset, table: Table, place: Place, doubtful: frozenset[Place]
) -> Iterator[Fault]:
    if table.clock is None:
        return
    if table.known_at_start:
        yield Fault(
            place,
            _("a table with a clock isn't known at the start"),
            _("take out either 'clock' or 'known_at_start'"),
        )
    if table.clock in table.columns:
        column = table.columns[table.clock]
        where: Place = (*place[:2], "columns", table.clock)
    else:
        parent, dot, inner = table.clock.partition(".")
        if not dot:
            yield unknown_name(place, table.clock, table.columns)
            return
        if parent not in dataset.tables:
            yield unknown_name(place, parent, dataset.tables)
            return
        if [key.references for key in table.foreign_keys].count(parent) != 1:
            yield Fault(
                place,
                _("exactly one foreign key must name {table}").format(table=parent),
                _("declare it under foreign_keys, or copy the day into a column of this table"),
            )
            return
        if inner not in dataset.tables[parent].columns:
            yield unknown_name(place, inner, dataset.tables[parent].columns)
            return
        column = dataset.tables[parent].columns[inner]
        where = ("tables", parent, "columns", inner)
    if column.type not in CLOCK_TYPES and where not in doubtful:
        yield Fault(
            place,
            _("column {name!r} must be a day, a date or a timestamp").format(name=table.clock),
            _("give the column one of these types, or name another one"),
        )


def _in_clocks(dataset: Dataset) -> Iterator[Fault]:
    """Yield the fault that no cut-off can be held against all clocks."""
    kinds: dict[bool, str] = {}
    for name, table in dataset.tables.items():
        if table.clock not in table.columns:
            continue
        kinds.setdefault(table.columns[table.clock].type == "day", name)
        if len(kinds) > 1:
            other = kinds[table.columns[table.clock].type != "day"]
            yield Fault(
                ("tables", name, "clock"),
                _(
                    "dates and day numbers can't be held against the same cut-off; see {table}"
                ).format(table=other),
                _("let all clocks be dates, or all be day numbers"),
            )
            return


# --- cohort ----------------------------------------------------------------------------------


def _in_cohort(dataset: Dataset) -> Iterator[Fault]:
    cohort = dataset.cohort
    columns: set[str] | None = None
    if cohort.table is not None:
        if cohort.table not in dataset.tables:
            yield unknown_name(("cohort", "table"), cohort.table, dataset.tables)
        else:
            columns = set(dataset.tables[cohort.table].columns)
            yield from _taken_keys(cohort.table, cohort.key)
    for number, lookup in enumerate(cohort.lookups):
        yield from _in_lookup(dataset, lookup, columns, ("cohort", "lookups", number))
        if columns is not None:
            columns |= set(lookup.columns)
    yield from _same_names(dataset, cohort.table, cohort.lookups, ("cohort",))
    if columns is not None:
        known = {*columns, ROW_ID}
        yield from _unknown(("cohort", "key"), cohort.key, known)
        yield from _unknown(("cohort", "group"), [cohort.group] if cohort.group else [], known)
        label = cohort.label.column
        yield from _unknown(("cohort", "label", "column"), [label] if label else [], known)
        yield from _unknown(("cohort", "sample_by"), cohort.sample_by or (), known)
    window = cohort.label.window
    if window is not None:
        place: Place = ("cohort", "label", "window")
        if window.table not in dataset.tables:
            yield unknown_name((*place, "table"), window.table, dataset.tables)
        else:
            other = dataset.tables[window.table]
            yield from _unknown((*place, "on"), window.on, other.columns)
            known = set(other.columns)
            for number, lookup in enumerate(window.lookups):
                yield from _in_lookup(dataset, lookup, known, (*place, "lookups", number))
                known |= set(lookup.columns)
            yield from _same_names(dataset, window.table, window.lookups, place)
            if other.clock is None:
                yield _no_clock((*place, "table"), window.table)


def _taken_keys(table: str, key: Sequence[str]) -> Iterator[Fault]:
    """Yield the names of a key that the cohort has for itself; the cut-off's no table may have."""
    for column in dict.fromkeys(key):
        if column.lower() in COHORT_COLUMNS and column.lower() != CUTOFF:
            yield _taken_name(table, column)


def _taken_name(table: str, column: str) -> Fault:
    return Fault(
        ("tables", table, "columns", column),
        _("vigie needs the name {name!r} for itself").format(name=column),
        _('call the column otherwise and add source = "{name}"').format(name=column),
    )


def _in_lookup(
    dataset: Dataset, lookup: Lookup, columns: set[str] | None, place: Place
) -> Iterator[Fault]:
    if lookup.table not in dataset.tables:
        yield unknown_name((*place, "table"), lookup.table, dataset.tables)
        return
    other = dataset.tables[lookup.table]
    yield from _unknown((*place, "on"), lookup.on, other.columns)
    if columns is not None:
        yield from _unknown((*place, "on"), lookup.on, columns)
    yield from _unknown((*place, "columns"), lookup.columns, other.columns)
    own_clock = other.clock if other.clock in other.columns else None
    left = [name for name in other.primary_key if name not in lookup.on and name != own_clock]
    if not other.primary_key or left:
        yield Fault(
            (*place, "on"),
            _("{table} may have several rows for one: its primary key is {key}").format(
                table=lookup.table, key=", ".join(other.primary_key) or _("not declared")
            ),
            _("look up by the whole primary key, or declare one"),
        )


def _same_names(
    dataset: Dataset, table: str | None, lookups: Sequence[Lookup], place: Place
) -> Iterator[Fault]:
    """Columns of two tables with one name: the rows that they are joined to could mean either."""
    # The engine takes names for the same that differ in case alone.
    own = dataset.tables[table].columns if table in dataset.tables else ()
    taken = {name.lower(): table for name in own}
    for number, lookup in enumerate(lookups):
        for name in lookup.columns:
            if name.lower() in taken:
                yield Fault(
                    (*place, "lookups", number, "columns"),
                    _("{name!r} is a column of {one} and of {other}: which is meant?").format(
                        name=name, one=taken[name.lower()], other=lookup.table
                    ),
                    _(
                        "leave it out, or call it otherwise where {other} is declared: "
                        '{other}_{name} = {{ ..., source = "{name}" }}'
                    ).format(name=name, other=lookup.table),
                )
            taken.setdefault(name.lower(), lookup.table)


def _no_clock(place: Place, table: str) -> Fault:
    return Fault(
        place,
        _("table {table!r} has no clock: when its rows became known can't be told").format(
            table=table
        ),
        _("name the column that says so: [tables.{table}] clock").format(table=table),
    )


# --- features --------------------------------------------------------------------------------


def _words(expression: str | None) -> list[str]:
    return re.findall(r"\w+", expression or "")


def _not_peoples(dataset: Dataset, expression: str, place: Place) -> Iterator[Fault]:
    """Names that mean vigie's own columns in an expression over the cohort, the outcome's too."""
    cohort, own = dataset.cohort, {*COHORT_COLUMNS} - {CUTOFF}
    names: Iterable[str] = own
    if cohort.table in dataset.tables:
        names = dataset.tables[cohort.table].columns
        names = [*names, *(name for lookup in cohort.lookups for name in lookup.columns)]
    said = {word.lower() for word in _words(expression)}
    for name in names:
        if name.lower() in own & said:
            yield Fault(
                (*place, "expression"),
                _("in an expression {name!r} would be vigie's own column").format(name=name),
                _('call the column otherwise and add source = "{name}"').format(name=name),
            )
    if _ALL_COLUMNS.search(expression):
        yield Fault(
            (*place, "expression"),
            _("among all columns would be the outcome"),
            _("name the columns that are meant"),
        )


def _two_of_a_name(measures: Sequence[Measure], place: Place) -> Iterator[Fault]:
    """Measures of one name that measure different things: one would get the other's values."""
    first: dict[str, tuple[str | None, ...]] = {}
    for number, measure in enumerate(measures):
        made = (measure.column, measure.expression, measure.when)
        if first.setdefault(measure.name, made) != made:
            yield Fault(
                (*place, "measures", number, "name"),
                _("another measure is called {name!r}, and is something else").format(
                    name=measure.name
                ),
                _("give it another name"),
            )


def _withheld(dataset: Dataset, names: Iterable[str | None], place: Place) -> Iterator[Fault]:
    for name in names:
        if name in dataset.sensitive.withheld:
            yield Fault(
                place,
                _("{name!r} is declared as sensitive: the model doesn't see it").format(name=name),
                _("take the feature out, or add the column to sensitive.fed"),
            )


def _in_attribute(dataset: Dataset, group: AttributeFeature, place: Place) -> Iterator[Fault]:
    cohort = dataset.cohort
    yield from _withheld(dataset, [group.column, *_words(group.expression)], place)
    if group.expression is not None:
        yield from _not_peoples(dataset, group.expression, place)
    if cohort.table is None or group.column is None or cohort.table not in dataset.tables:
        return
    known = set(dataset.tables[cohort.table].columns)
    known |= {name for lookup in cohort.lookups for name in lookup.columns}
    yield from _unknown((*place, "column"), [group.column], known)


def _in_events(dataset: Dataset, group: EventFeatures, place: Place) -> Iterator[Fault]:
    if group.table not in dataset.tables:
        yield unknown_name((*place, "table"), group.table, dataset.tables)
        return
    table = dataset.tables[group.table]
    known = set(table.columns)
    for number, lookup in enumerate(group.lookups):
        yield from _in_lookup(dataset, lookup, known, (*place, "lookups", number))
        known |= set(lookup.columns)
    yield from _same_names(dataset, group.table, group.lookups, place)
    yield from _unknown((*place, "on"), group.on, known)
    timeless = table.clock is None
    if timeless and not dataset.known_from_start(group.table):
        fault = _no_clock((*place, "table"), group.table)
        more = _("or, if all of it was known from the start: known_at_start = true")
        yield Fault(fault.place, fault.what, f"{fault.fix}, {more}")
    yield from _two_of_a_name(group.measures, place)
    for number, measure in enumerate(group.measures):
        inner = (*place, "measures", number)
        named = [measure.column, measure.by.column if measure.by else None]
        yield from _unknown(inner, [name for name in named if name], known)
        spoken = [*_words(measure.expression), *_words(measure.when)]
        yield from _withheld(dataset, [*named, *spoken], inner)
        yield from _in_measure(measure, inner, timeless=timeless)


def _in_measure(measure: Measure, place: Place, *, timeless: bool) -> Iterator[Fault]:
    if "trend" in measure.aggregates and not measure.windows:
        yield Fault(
            (*place, "aggregates"),
            _("a trend compares windows, and there are none"),
            _("add windows = [14], for instance"),
        )
    timed = sorted(TIMED_AGGREGATES & set(measure.aggregates))
    if timeless and (timed or measure.windows):
        yield Fault(
            place,
            _("{asked} ask when something happened, and the table has no clock").format(
                asked=", ".join([*timed, *(["windows"] if measure.windows else [])])
            ),
            _("take them out, or give the table a clock"),
        )


def _in_expected(dataset: Dataset, group: ExpectedFeatures, place: Place) -> Iterator[Fault]:
    for key, name in (("due", group.due), ("events", group.events)):
        if name not in dataset.tables:
            yield unknown_name((*place, key), name, dataset.tables)
    if not {group.due, group.events} <= set(dataset.tables):
        return
    due, events = dataset.tables[group.due], dataset.tables[group.events]
    yield from _two_of_a_name(group.measures, place)
    for table, name, clock in (
        (group.due, "due_day", group.due_clock),
        (group.due, "event_day", None),
        (group.events, "event_day", events.clock),
        (group.events, "due_day", None),
    ):
        if name in dataset.tables[table].columns and name != clock:
            yield _taken_name(table, name)
    yield from _unknown((*place, "due_clock"), [group.due_clock], due.columns)
    yield from _unknown((*place, "due_on"), group.due_on, due.columns)
    yield from _unknown((*place, "match"), list(group.match), events.columns)
    if events.clock is None:
        yield _no_clock((*place, "events"), group.events)
