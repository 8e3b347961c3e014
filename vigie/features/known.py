"""What was known at the cut-off: the only way to a table's rows.

Every table with a clock is joined to the cohort and filtered by ``clock <= cutoff`` here, before
anything is aggregated, so that a declaration cannot leak.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import CLOCK, Dataset, EventFeatures, Lookup
from vigie.features.part import AGE, COHORT_ID

if TYPE_CHECKING:
    import ibis

_VERSION = "vigie_version"


def known_events(
    group: EventFeatures,
    tables: Mapping[str, ibis.Table],
    cohort: ibis.Table,
    dataset: Dataset,
) -> ibis.Table:
    """Return the events known at their cohort row's cut-off, with their age in days."""
    table = clocked(group.table, tables, dataset)
    versioned: list[Lookup] = []
    clocks: list[tuple[str, Lookup]] = []
    for number, lookup in enumerate(group.lookups):
        declared = dataset.tables[lookup.table]
        if declared.clock is None:
            table = _looked_up(table, tables[lookup.table], lookup, {})
        elif set(declared.primary_key) <= set(lookup.on):
            clock = f"{_VERSION}_{number}"
            other = clocked(lookup.table, tables, dataset)
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

    seen = not_after(known[clock], known["cutoff"])
    if set(lookup.columns) & set(on):
        # Whose event it is wasn't known either.
        return known.filter(seen)
    return known.mutate(**{name: seen.ifelse(known[name], ibis.null()) for name in lookup.columns})


def clocked(name: str, tables: Mapping[str, ibis.Table], dataset: Dataset) -> ibis.Table:
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
    known = joined.filter(not_after(joined[CLOCK], joined["cutoff"]))
    return known.mutate(**{AGE: _days_between(known[CLOCK], known["cutoff"])})


def _looked_up_at_cutoff(
    known: ibis.Table, lookup: Lookup, tables: Mapping[str, ibis.Table], dataset: Dataset
) -> ibis.Table:
    """Join the columns of a table that changes: its last row that was known at the cut-off."""
    import ibis

    other = clocked(lookup.table, tables, dataset).select(*lookup.on, *lookup.columns, CLOCK)
    asked = known.select(*lookup.on, "cutoff").distinct()
    found = other.rename({_VERSION: CLOCK}).inner_join(asked, list(lookup.on))
    found = found.filter(not_after(found[_VERSION], found["cutoff"]))
    # Of two rows with one clock, the same is taken each time.
    order = [ibis.desc(found[_VERSION]), *(found[name] for name in lookup.columns)]
    numbered = found.mutate(
        vigie_rank=ibis.row_number().over(group_by=[*lookup.on, "cutoff"], order_by=order)
    )
    last = numbered.filter(numbered["vigie_rank"] == 0).drop("vigie_rank", _VERSION)
    joined = known.left_join(last, [*lookup.on, "cutoff"])
    return joined.drop(*[name for name in joined.columns if name.endswith("_right")])


def not_after(clock: Any, cutoff: Any) -> Any:
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
