"""Transform: clean tables and the cohort, one row for each thing to score.

Rows that contradict the declared keys are set aside and counted. The cohort is made by the
declaration's expressions; who is left out is counted by reason. A sample takes whole cohort rows
with all their events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vigie.dataset.spec import (
    CUTOFF,
    ROW_ID,
    AttributeFeature,
    Cohort,
    Dataset,
    ForeignKey,
    Table,
    cohort_column,
)
from vigie.engine import (
    count_rows,
    open_duckdb,
    quote_name,
    quote_text,
    scan_numbered,
    scan_parquet,
    to_parquet,
)
from vigie.errors import DataError, DeclarationError
from vigie.i18n import _

if TYPE_CHECKING:
    import duckdb

COHORT = "cohort"
NO_CUTOFF = "no_cutoff"


@dataclass(slots=True)
class TransformReport:
    """What became of the rows.

    ``set_aside`` counts, for each table, the rows whose keys don't hold, by reason; ``excluded``
    counts who is not in the cohort, by reason, in the order of the declaration.
    """

    rows: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, dict[str, int]] = field(default_factory=dict)
    candidates: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    eligible: int = 0
    cohort: int = 0
    positives: int = 0
    unlabelled: int = 0


def transform_tables(
    source: Path,
    target: Path,
    dataset: Dataset,
    *,
    cutoff: int | None,
    sample_size: int | None,
    threads: int | None,
    memory_limit: str | None,
) -> TransformReport:
    """Write the clean tables and ``cohort.parquet`` into `target`.

    Parameters
    ----------
    source
        Folder of the extracted Parquet files.
    cutoff
        The day at which the cohort is looked at, in the unit of the clocks; None where no table
        has one.
    sample_size
        How many cohort rows are kept; None keeps all.

    Raises
    ------
    DataError
        When nobody is left in the cohort.
    """
    report = TransformReport()
    spill = target / ".scratch"
    with open_duckdb(threads=threads, memory_limit=memory_limit, spill=spill) as connection:
        for name, table in _referenced_first(dataset):
            _clean_view(connection, name, table, source, report)
        _make_cohort(connection, dataset, cutoff, report)
        if sample_size is not None:
            _sample_cohort(connection, dataset, sample_size)
        _count_cohort(connection, report)
        for name, table in dataset.tables.items():
            sampled = sample_size is not None and _sample_view(connection, name, dataset)
            _write_table(connection, name, table, target, report, sampled=sampled)
        connection.execute(
            f"COPY (SELECT * FROM {COHORT} ORDER BY cohort_id) "
            f"TO {to_parquet(target / 'cohort.parquet')}"
        )
    if spill.exists():
        spill.rmdir()
    return report


def _referenced_first(dataset: Dataset) -> Iterable[tuple[str, Table]]:
    """Yield the tables so that each comes after those that its foreign keys name."""
    left = dict(dataset.tables)
    done: set[str] = set()
    while left:
        ready = [
            name
            for name, table in left.items()
            if all(key.references in done or key.references == name for key in table.foreign_keys)
        ] or list(left)
        for name in ready:
            yield name, left.pop(name)
            done.add(name)


def _clean_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    table: Table,
    source: Path,
    report: TransformReport,
) -> None:
    """Make the view ``clean_{name}``: trimmed, repaired, without rows whose keys don't hold."""
    base = f"SELECT {_clean_columns(table)} FROM {scan_numbered(source / f'{name}.parquet')}"
    keep = ["true"]
    faults: dict[str, int] = {}
    connection.execute(f"CREATE OR REPLACE VIEW {_view(name)} AS {base}")
    repeated = _repeated_keys(connection, name, table)
    if repeated:
        faults["duplicate_key"] = repeated
        columns = ", ".join(quote_name(column) for column in table.primary_key)
        base = (
            f"SELECT * FROM ({base}) QUALIFY "
            f"row_number() OVER (PARTITION BY {columns} ORDER BY vigie_order) = 1"
        )
    for key in table.foreign_keys:
        orphan = _orphan_condition(key, name)
        lost = count_rows(connection, f"{_view(name)} AS t WHERE {orphan}")
        if lost:
            faults[f"no_{key.references}"] = lost
            keep.append(f"NOT ({orphan})")
    if faults:
        report.set_aside[name] = faults
        # Clean rows are computed once here: the conditions look at other views.
        connection.execute(
            f"CREATE TABLE {_view(name, '_kept')} AS "
            f"SELECT * FROM ({base}) AS t WHERE {' AND '.join(keep)}"
        )
        connection.execute(
            f"CREATE OR REPLACE VIEW {_view(name)} AS SELECT * FROM {_view(name, '_kept')}"
        )


def _clean_columns(table: Table) -> str:
    columns = []
    for name, column in table.columns.items():
        value = quote_name(name)
        if column.type == "text":
            value = f"nullif(trim({value}), '')"
            if column.repair:
                pairs = " ".join(
                    f"WHEN {quote_text(wrong)} THEN {quote_text(right)}"
                    for wrong, right in column.repair.items()
                )
                value = f"CASE {value} {pairs} ELSE {value} END"
        columns.append(f"{value} AS {quote_name(name)}")
    # The place in the file: the first of two rows with one key is kept, and it numbers the rows
    # of a table that has no key of its own.
    return ", ".join([*columns, "file_row_number AS vigie_order"])


def _repeated_keys(connection: duckdb.DuckDBPyConnection, name: str, table: Table) -> int:
    if not table.primary_key:
        return 0
    columns = ", ".join(quote_name(column) for column in table.primary_key)
    distinct = count_rows(connection, f"(SELECT DISTINCT {columns} FROM {_view(name)})")
    return count_rows(connection, _view(name)) - distinct


def _orphan_condition(key: ForeignKey, name: str) -> str:
    target = key.to or key.columns
    matches = " AND ".join(
        f"o.{quote_name(there)} = t.{quote_name(here)}"
        for here, there in zip(key.columns, target, strict=True)
    )
    given = " AND ".join(f"t.{quote_name(here)} IS NOT NULL" for here in key.columns)
    return f"{given} AND NOT EXISTS (SELECT 1 FROM {_view(key.references)} AS o WHERE {matches})"


def _make_cohort(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    cutoff: int | None,
    report: TransformReport,
) -> None:
    cohort = dataset.cohort
    for name in dataset.tables:
        # Under their own names, for the declaration's expressions.
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS "
            f"SELECT * EXCLUDE (vigie_order) FROM {_view(name)}"
        )
    first_reason = " ".join(
        f"WHEN {one.when} THEN {quote_text(one.reason)}" for one in cohort.exclude
    )
    group = [cohort.group] if cohort.group else list(cohort.key)
    together = ", ".join(f"CAST(c.{quote_name(name)} AS VARCHAR)" for name in group)
    known, positive = _label_sql(dataset)
    # Under names of its own: the table's columns may be called label or period too.
    _run_declared(
        connection,
        f"CREATE OR REPLACE TEMP TABLE vigie_candidates AS "
        f"SELECT *, CASE WHEN {_no_cutoff(cohort)} THEN {quote_text(NO_CUTOFF)} {first_reason} END "
        f"AS vigie_excluded, CASE WHEN {known} THEN CAST(({positive}) AS TINYINT) END "
        f"AS vigie_label, concat_ws(chr(31), {together}) AS vigie_group, "
        f"{_period_sql(cohort)} AS vigie_period FROM ({_rows_sql(cohort, cutoff)}) AS c",
    )
    report.candidates = count_rows(connection, "vigie_candidates")
    for reason in [
        *([NO_CUTOFF] if cohort.cutoff else []),
        *(one.reason for one in cohort.exclude),
    ]:
        report.excluded[reason] = count_rows(
            connection, f"vigie_candidates WHERE vigie_excluded = {quote_text(reason)}"
        )
    kept = [name for name in _attribute_columns(dataset) if name not in cohort.key]
    key = ", ".join(quote_name(name) for name in cohort.key)
    attributes = "".join(
        f", {quote_name(name)} AS {quote_name(cohort_column(name))}" for name in kept
    )
    _run_declared(
        connection,
        f"CREATE OR REPLACE TEMP TABLE {COHORT} AS SELECT "
        f"CAST(row_number() OVER (ORDER BY {key}) - 1 AS INTEGER) AS cohort_id, {key}, {CUTOFF}, "
        f"vigie_label AS label, vigie_group AS group_key, vigie_period AS period{attributes} "
        "FROM vigie_candidates WHERE vigie_excluded IS NULL",
    )
    report.eligible = count_rows(connection, COHORT)
    if not report.eligible:
        raise DataError(
            _("Nobody is left to score at cut-off {cutoff}.").format(cutoff=cutoff)
            if dataset.uses_cutoff_days
            else _("Nobody is left to score."),
            where=", ".join(f"{reason}: {count}" for reason, count in report.excluded.items()),
            fix=_("Choose another --cutoff-days, or look at the exclusions of the declaration."),
        )
    _refuse_repeated(connection, cohort)


def _rows_sql(cohort: Cohort, cutoff: int | None) -> str:
    """Return the cohort's rows with what lookups add, and the cut-off of each."""
    rows = f"({cohort.sql})" if cohort.table is None else _view(cohort.table)
    for lookup in cohort.lookups:
        using = ", ".join(quote_name(name) for name in lookup.on)
        wanted = ", ".join(quote_name(name) for name in (*lookup.on, *lookup.columns))
        rows += f" LEFT JOIN (SELECT {wanted} FROM {_view(lookup.table)}) USING ({using})"
    number = f", vigie_order AS {ROW_ID}" if ROW_ID in cohort.key else ""
    days = f"CAST({'NULL' if cutoff is None else cutoff} AS INTEGER)"
    if cohort.cutoff is None:
        return f"SELECT *, {days} AS {CUTOFF}{number} FROM {rows}"
    if cohort.cutoff.strip().lower() == CUTOFF:
        return f"SELECT *{number} FROM {rows}"
    return (
        f"SELECT * EXCLUDE (cutoff_days), ({cohort.cutoff}) AS {CUTOFF} "
        f"FROM (SELECT *{number}, {days} AS cutoff_days FROM {rows})"
    )


def _no_cutoff(cohort: Cohort) -> str:
    return f"{CUTOFF} IS NULL" if cohort.cutoff else "false"


def _period_sql(cohort: Cohort) -> str:
    if cohort.period:
        return f"CAST({cohort.period} AS VARCHAR)"
    return f"CAST({CUTOFF} AS VARCHAR)" if cohort.cutoff else "'all'"


def _label_sql(dataset: Dataset) -> tuple[str, str]:
    """Return when the outcome is known, and when it is bad, as SQL over the cohort's rows ``c``."""
    label = dataset.cohort.label
    if label.window is None:
        return label.known_sql, label.positive_sql
    window = label.window
    table = dataset.tables[window.table]
    if table.clock is None:
        raise DeclarationError(
            _("Table {table!r} has no clock: when its rows happened can't be told.").format(
                table=window.table
            ),
            where="cohort.label.window",
            fix=_("Name the column that says when a row became known."),
        )
    clock = f"e.{quote_name(table.clock)}"
    if table.columns[table.clock].type == "timestamp":
        clock = f"CAST({clock} AS DATE)"
    begin = (
        f"CAST(c.{CUTOFF} AS DATE)" if table.columns[table.clock].type != "day" else f"c.{CUTOFF}"
    )
    matches = " AND ".join(f"e.{quote_name(name)} = c.{quote_name(name)}" for name in window.on)
    when = f" AND ({window.when})" if window.when else ""
    happened = (
        f"EXISTS (SELECT 1 FROM {quote_name(window.table)} AS e WHERE {matches} "
        f"AND {clock} > {begin} AND {clock} <= {begin} + {window.days}{when})"
    )
    latest = f"(SELECT max({clock}) FROM {quote_name(window.table)} AS e)"
    bad = f"NOT {happened}" if window.bad == "none" else happened
    return label.known or f"{begin} + {window.days} <= {latest}", bad


def _run_declared(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Run SQL that expressions of the declaration are part of; what is wrong in them is named."""
    import duckdb

    try:
        connection.execute(sql)
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException) as error:
        raise DeclarationError(
            _("The cohort's expressions can't be understood: {reason}").format(
                reason=str(error).split("\n")[0]
            ),
            where="cohort",
            fix=_("Correct the expression; the columns are those of the table and its lookups."),
        ) from error


def _refuse_repeated(connection: duckdb.DuckDBPyConnection, cohort: Cohort) -> None:
    """Refuse a cohort in which two rows have one key: scores could not be told apart."""
    key = ", ".join(quote_name(name) for name in cohort.key)
    rows = connection.execute(
        f"SELECT {key}, count(*) FROM {COHORT} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
    ).fetchall()
    if rows:
        shown = ", ".join(
            f"{name} = {value}" for name, value in zip(cohort.key, rows[0], strict=False)
        )
        raise DeclarationError(
            _("Several rows to score have the same key: {key}.").format(key=shown),
            where="cohort.key",
            fix=_("Add the columns that tell them apart, the cut-off for instance."),
        )


def _attribute_columns(dataset: Dataset) -> list[str]:
    """Return the columns that attribute features read; nothing else goes into the cohort.

    The label's own columns, and what happened after the cut-off, thus never lie beside what the
    features are made from.
    """
    import sqlglot

    names: list[str] = []
    for group in dataset.features:
        if isinstance(group, AttributeFeature):
            if group.column is not None:
                names.append(group.column)
            if group.expression is not None:
                tree = sqlglot.parse_one(group.expression, dialect="duckdb")
                names += [column.name for column in tree.find_all(sqlglot.exp.Column)]
    return list(dict.fromkeys(names))


def _sample_cohort(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, sample_size: int
) -> None:
    """Keep the `sample_size` rows whose key has the smallest hash.

    A hash of the key alone: rows that come later change the sample only by displacing the rows
    with the largest hashes, they don't reshuffle it.
    """
    key = ", ".join(f"CAST({quote_name(name)} AS VARCHAR)" for name in dataset.cohort.key)
    ordered = ", ".join(quote_name(name) for name in dataset.cohort.key)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {COHORT} AS SELECT * REPLACE "
        f"(CAST(row_number() OVER (ORDER BY {ordered}) - 1 AS INTEGER) AS cohort_id) FROM "
        f"(SELECT * FROM {COHORT} ORDER BY md5(concat_ws(chr(31), {key})), {ordered} "
        f"LIMIT {sample_size})"
    )


def _count_cohort(connection: duckdb.DuckDBPyConnection, report: TransformReport) -> None:
    report.cohort = count_rows(connection, COHORT)
    report.positives = count_rows(connection, f"{COHORT} WHERE label = 1")
    report.unlabelled = count_rows(connection, f"{COHORT} WHERE label IS NULL")


def _sample_view(connection: duckdb.DuckDBPyConnection, name: str, dataset: Dataset) -> bool:
    """Restrict the view of a table that belongs to cohort rows to those of the sample.

    A table belongs to them when it has the cohort's key, by itself or through the tables that its
    foreign keys name (a submission knows the presentation through its assessment).
    """
    key = list(dataset.cohort.key)
    table = dataset.tables[name]
    if key == [ROW_ID] and name == dataset.cohort.table:
        connection.execute(
            f"CREATE OR REPLACE VIEW {_view(name, '_sampled')} AS SELECT t.* "
            f"FROM {_view(name)} AS t SEMI JOIN {COHORT} AS c ON c.{ROW_ID} = t.vigie_order"
        )
        return True
    missing = [column for column in key if column not in table.columns]
    if len(missing) == len(key):
        return False
    joins = ""
    for number, foreign in enumerate(table.foreign_keys):
        provided = [c for c in missing if c in dataset.tables[foreign.references].columns]
        if provided:
            matches = " AND ".join(
                f"l{number}.{quote_name(there)} = t.{quote_name(here)}"
                for here, there in zip(foreign.columns, foreign.to or foreign.columns, strict=True)
            )
            joins += f" JOIN {_view(foreign.references)} AS l{number} ON {matches}"
            missing = [column for column in missing if column not in provided]
    if missing:
        return False
    names = ", ".join(f"{quote_name(column)}" for column in key)
    connection.execute(
        f"CREATE OR REPLACE VIEW {_view(name, '_sampled')} AS SELECT t.* FROM {_view(name)} AS t"
        f"{joins} SEMI JOIN {COHORT} USING ({names})"
    )
    return True


def _write_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    table: Table,
    target: Path,
    report: TransformReport,
    *,
    sampled: bool,
) -> None:
    path = target / f"{name}.parquet"
    numbered = "" if table.primary_key else f", vigie_order AS {ROW_ID}"
    # A plain scan keeps the order of the file; a join need not.
    order = " ORDER BY vigie_order" if sampled or name in report.set_aside else ""
    connection.execute(
        f"COPY (SELECT * EXCLUDE (vigie_order){numbered} "
        f"FROM {_view(name, '_sampled' if sampled else '')}{order}) TO {to_parquet(path)}"
    )
    report.rows[name] = count_rows(connection, scan_parquet(path))


def _view(name: str, suffix: str = "") -> str:
    return quote_name(f"clean_{name}{suffix}")


def clean_paths(folder: Path, names: Iterable[str]) -> Mapping[str, Path]:
    """Return the file of each clean table."""
    return {name: folder / f"{name}.parquet" for name in names}
