"""SQL of a declaration, tried on empty tables before anything runs: every expression at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vigie.data.cohort import clean_view, rows_sql, window_events_sql
from vigie.data.typed_text import SQL_TYPES
from vigie.dataset.faults import Fault, Place, unknown_name
from vigie.dataset.spec import (
    CLOCK,
    CUTOFF,
    ROW_ID,
    AttributeFeature,
    Dataset,
    EventFeatures,
    ExpectedFeatures,
    Measure,
)
from vigie.engine import open_duckdb, quote_name
from vigie.i18n import _
from vigie.refusals import why_refused

if TYPE_CHECKING:
    import duckdb

_ROWS = "vigie_rows"
_EVENTS = "vigie_events"


def expression_faults(dataset: Dataset) -> list[Fault]:
    """Return what can't be understood in the declaration's SQL, and names that it doesn't give."""
    with open_duckdb() as connection:
        return list(_Trial(connection, dataset).faults())


class _Trial:
    """Empty tables as they are declared, and what is tried on them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
        self.connection = connection
        self.dataset = dataset
        for name, table in dataset.tables.items():
            columns = ", ".join(
                f"{quote_name(column)} {SQL_TYPES[declared.type]}"
                for column, declared in table.columns.items()
            )
            connection.execute(f"CREATE TABLE {quote_name(name)} ({columns})")
            connection.execute(
                f"CREATE VIEW {clean_view(name)} AS "
                f"SELECT *, CAST(0 AS BIGINT) AS vigie_order FROM {quote_name(name)}"
            )

    def faults(self) -> Iterator[Fault]:
        cohort = self.dataset.cohort
        if cohort.sql is not None:
            found = self._try(("cohort", "sql"), f"SELECT * FROM ({cohort.sql})")
            if found:
                yield from found
                return
        try:
            rows = rows_sql(self.dataset, None)
            self.connection.execute(f"CREATE TABLE {_ROWS} AS SELECT * FROM ({rows}) LIMIT 0")
        except self._errors() as error:
            place = ("cohort", "cutoff") if cohort.cutoff else ("cohort", "lookups")
            yield self._fault(place, error)
            return
        yield from self._cutoff_of_clocks()
        yield from self._in_cohort()
        for number, group in enumerate(self.dataset.features):
            inner: Place = ("features", number)
            if isinstance(group, AttributeFeature):
                yield from self._expression(inner, "expression", group.expression, _ROWS)
                if cohort.table is None and group.column is not None:
                    yield from self._names((*inner, "column"), [group.column])
            elif isinstance(group, EventFeatures):
                yield from self._in_events(group, inner)
            elif isinstance(group, ExpectedFeatures):
                yield from self._in_expected(group, inner)

    def _cutoff_of_clocks(self) -> Iterator[Fault]:
        """Yield the fault that the cut-off can't be held against the clocks."""
        clocks = (self.dataset.clock_of(name) for name in self.dataset.tables)
        kinds = {clock.type for clock in clocks if clock is not None}
        if not kinds:
            return
        found = self.connection.execute(
            f"SELECT typeof({CUTOFF}) FROM (SELECT NULL) LEFT JOIN {_ROWS} ON true"
        )
        row = found.fetchone()
        assert row is not None
        is_number = row[0] in {"INTEGER", "BIGINT", "SMALLINT", "TINYINT", "HUGEINT"}
        if is_number != (kinds == {"day"}):
            yield Fault(
                ("cohort", "cutoff"),
                _("the cut-off is {kind}, the clocks are of type {clocks}").format(
                    kind=row[0], clocks=", ".join(sorted(kinds))
                ),
                _("give the cut-off as the clocks are: a date, or a day number"),
            )

    def _in_cohort(self) -> Iterator[Fault]:
        cohort = self.dataset.cohort
        for number, exclusion in enumerate(cohort.exclude):
            yield from self._expression(
                ("cohort", "exclude", number), "when", exclusion.when, _ROWS, boolean=True
            )
        label = cohort.label
        place: Place = ("cohort", "label")
        if isinstance(label.positive, str):
            yield from self._expression(place, "positive", label.positive, _ROWS, boolean=True)
        yield from self._expression(place, "known", label.known, _ROWS, boolean=True)
        if label.window is not None:
            events = window_events_sql(self.dataset, label.window)
            inner = (*place, "window")
            yield from self._expression(inner, "when", label.window.when, events, boolean=True)
            yield from self._names((*inner, "on"), label.window.on)
        yield from self._expression(("cohort",), "period", cohort.period, _ROWS)
        yield from self._expression(("cohort",), "day_zero", cohort.day_zero, _ROWS)
        yield from self._expression(place, "known_on", label.known_on, _ROWS)
        if cohort.table is None:
            for key, names in (
                ("key", cohort.key),
                ("group", (cohort.group,)),
                ("sample_by", cohort.sample_by or ()),
            ):
                yield from self._names(("cohort", key), [name for name in names if name])
            if label.column is not None:
                yield from self._names((*place, "column"), [label.column])
            yield from self._names(("cohort", "report_by"), cohort.report_by)
            known = [*self.dataset.sensitive.columns]
            yield from self._names(("sensitive", "columns"), known)

    def _in_events(self, group: EventFeatures, place: Place) -> Iterator[Fault]:
        taken = {*self.dataset.tables[group.table].columns}
        more = ""
        for number, lookup in enumerate(group.lookups):
            for name in lookup.columns:
                if name not in taken:
                    more += f", l{number}.{quote_name(name)}"
                    taken.add(name)
        joins = "".join(
            f", {quote_name(lookup.table)} AS l{number}"
            for number, lookup in enumerate(group.lookups)
        )
        rows = self.dataset.clocked_sql(group.table, quote_name)
        yield from self._names((*place, "on"), [name for name in group.on if name in taken])
        sql = f"SELECT t.*{more}, r.{CUTOFF} FROM ({rows}) AS t{joins}, {_ROWS} AS r"
        yield from self._in_measures(group.measures, place, sql)

    def _in_expected(self, group: ExpectedFeatures, place: Place) -> Iterator[Fault]:
        yield from self._expression(place, "when", group.when, quote_name(group.due), boolean=True)
        due = self.dataset.tables[group.due].columns
        events = self.dataset.tables[group.events].columns
        more = "".join(f", e.{quote_name(name)}" for name in events if name not in due)
        rows = self.dataset.clocked_sql(group.events, quote_name)
        sql = (
            f"SELECT d.*{more}, e.{CLOCK} AS event_day, "
            f"d.{quote_name(group.due_clock)} AS due_day, r.{CUTOFF} "
            f"FROM {quote_name(group.due)} AS d, ({rows}) AS e, {_ROWS} AS r"
        )
        yield from self._in_measures(group.measures, place, sql)

    def _in_measures(
        self, measures: tuple[Measure, ...], place: Place, events: str
    ) -> Iterator[Fault]:
        """Try measures on the rows that the SQL `events` gives."""
        try:
            self.connection.execute(f"CREATE OR REPLACE TABLE {_EVENTS} AS {events} LIMIT 0")
        except self._errors() as error:
            yield self._fault(place, error)
            return
        for number, measure in enumerate(measures):
            inner = (*place, "measures", number)
            yield from self._expression(inner, "expression", measure.expression, _EVENTS)
            yield from self._expression(inner, "when", measure.when, _EVENTS, boolean=True)

    def _expression(
        self, place: Place, key: str, sql: str | None, rows: str, *, boolean: bool = False
    ) -> list[Fault]:
        if sql is None:
            return []
        value = f"CASE WHEN ({sql}) THEN 1 END" if boolean else f"({sql})"
        return self._try((*place, key), f"SELECT {value} FROM {rows} AS c")

    def _names(self, place: Place, names: list[str] | tuple[str, ...]) -> Iterator[Fault]:
        known = {*self._columns(_ROWS), ROW_ID}
        for name in names:
            if name not in known:
                yield unknown_name(place, name, known)

    def _columns(self, table: str) -> list[str]:
        found = self.connection.execute(f"DESCRIBE {table}").fetchall()
        return [str(row[0]) for row in found]

    def _try(self, place: Place, sql: str) -> list[Fault]:
        try:
            self.connection.execute(f"EXPLAIN {sql}")
        except self._errors() as error:
            return [self._fault(place, error)]
        return []

    @staticmethod
    def _errors() -> type[Exception]:
        import duckdb

        return duckdb.Error

    def _fault(self, place: Place, error: Exception) -> Fault:
        """Return what the engine says, with the nearest of the names that it knows."""
        names: list[str] = []
        for table in (_ROWS, _EVENTS):
            with contextlib.suppress(self._errors()):
                names += self._columns(table)
        return Fault(place, *why_refused(error, names))
