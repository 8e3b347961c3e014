"""Transform: clean tables and the cohort, one row for each thing to score.

Rows that contradict the declared keys are set aside and counted. The cohort is made by the
declaration's expressions; who is left out is counted by reason. A sample takes whole cohort rows
with all their events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vigie.data.cohort import COHORT, TransformReport, clean_view, make_cohort
from vigie.data.table_engine import ORDER, TableEngine, open_duckdb_tables
from vigie.dataset.spec import (
    ROW_ID,
    Dataset,
    ForeignKey,
    Table,
)
from vigie.engine import quote_name, quote_text, scan_numbered
from vigie.pipeline.artifacts import link_file
from vigie.refusals import declared_expressions


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Clean tables that are there already, and what was said when they were made.

    Parameters
    ----------
    folder
        Of the same extracted tables by the same declaration, without a sample.
    rows, set_aside
        As in ``TransformReport``.
    """

    folder: Path
    rows: Mapping[str, int]
    set_aside: Mapping[str, Mapping[str, int]]


def transform_tables(
    source: Path,
    target: Path,
    dataset: Dataset,
    *,
    cutoff: int | None,
    sample_size: int | None,
    threads: int | None,
    memory_limit: str | None,
    on_table: Callable[[str, float], None] | None = None,
    cleaned: Cleaned | None = None,
    origin: str | None = None,
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
    on_table
        Called with a table's name and the share of all bytes (0 to 1) that are written by then.
    cleaned
        The same tables, cleaned for another cut-off: linked where they are the same for this one,
        which they are unless a sample of the cohort decides which rows they have.
    origin
        Where the declaration is, named in errors; None names the data set.

    Raises
    ------
    DataError
        When nobody is left in the cohort.
    DeclarationError
        When an expression can't be carried out on the rows.
    """
    sizes = {name: (source / f"{name}.parquet").stat().st_size for name in dataset.tables}
    done = 0
    if sample_size is not None:
        cleaned = None

    def tell(name: str) -> None:
        nonlocal done
        if cleaned is not None:
            link_file(cleaned.folder / f"{name}.parquet", target / f"{name}.parquet")
        done += sizes[name]
        if on_table:
            on_table(name, done / max(1, sum(sizes.values())))

    with (
        declared_expressions(origin or dataset.name),
        open_duckdb_tables(source, target, threads=threads, memory_limit=memory_limit) as engine,
    ):
        return transform_on(
            engine,
            dataset,
            cutoff=cutoff,
            sample_size=sample_size,
            cleaned=cleaned,
            on_table=tell,
        )


def transform_on(
    engine: TableEngine,
    dataset: Dataset,
    *,
    cutoff: int | None,
    sample_size: int | None,
    cleaned: Cleaned | None = None,
    on_table: Callable[[str], None] | None = None,
) -> TransformReport:
    """Write the same with any engine, which knows where the tables come from and go to."""
    report = TransformReport()
    if cleaned is not None:
        report.set_aside = {table: dict(faults) for table, faults in cleaned.set_aside.items()}
    for name, table in _referenced_first(dataset):
        if cleaned is None:
            _make_clean_view(engine, name, table, report)
        else:
            _make_known_view(engine, name, table, cleaned.folder)
    make_cohort(engine, dataset, cutoff, report)
    if sample_size is not None:
        _sample_cohort(engine, dataset, sample_size)
    _count_cohort(engine, report)
    for name, table in dataset.tables.items():
        if cleaned is not None:
            report.rows[name] = cleaned.rows[name]
        else:
            sampled = sample_size is not None and _make_sampled_view(engine, name, dataset)
            _write_table(engine, name, table, report, sampled=sampled)
        if on_table is not None:
            on_table(name)
    engine.write("cohort", f"SELECT * FROM {COHORT} ORDER BY cohort_id")
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


def _make_clean_view(engine: TableEngine, name: str, table: Table, report: TransformReport) -> None:
    """Make the view ``clean_{name}``: trimmed, repaired, without rows whose keys don't hold."""
    base = f"SELECT {_clean_columns(table, engine.place)} FROM {engine.scan(name)}"
    keep = ["true"]
    faults: dict[str, int] = {}
    engine.make_view(clean_view(name), base)
    repeated = _repeated_keys(engine, name, table)
    if repeated:
        faults["duplicate_key"] = repeated
        columns = ", ".join(quote_name(column) for column in table.primary_key)
        base = (
            f"SELECT * EXCLUDE (vigie_rank) FROM (SELECT *, row_number() OVER "
            f"(PARTITION BY {columns} ORDER BY {ORDER}) AS vigie_rank FROM ({base})) "
            "WHERE vigie_rank = 1"
        )
    for key in table.foreign_keys:
        given, matches = _given(key), _matches(key, "o")
        lost = _unmatched(engine, name, key)
        if lost:
            faults[f"no_{key.references}"] = lost
            there = f"EXISTS (SELECT 1 FROM {clean_view(key.references)} AS o WHERE {matches})"
            keep.append(f"NOT ({given} AND NOT {there})")
    if faults:
        report.set_aside[name] = faults
        # Clean rows are computed once here: the conditions look at other views.
        engine.make_table(
            clean_view(name, "_kept"), f"SELECT * FROM ({base}) AS t WHERE {' AND '.join(keep)}"
        )
        engine.make_view(clean_view(name), f"SELECT * FROM {clean_view(name, '_kept')}")


def _make_known_view(engine: TableEngine, name: str, table: Table, folder: Path) -> None:
    """Make the view ``clean_{name}`` of a table that was cleaned before."""
    columns = f"* EXCLUDE ({ROW_ID}, file_row_number), {ROW_ID} AS {ORDER}"
    if table.primary_key:
        columns = f"* EXCLUDE (file_row_number), file_row_number AS {ORDER}"
    engine.make_view(
        clean_view(name), f"SELECT {columns} FROM {scan_numbered(folder / f'{name}.parquet')}"
    )


def _clean_columns(table: Table, place: str) -> str:
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
    return ", ".join([*columns, f"{place} AS {ORDER}"])


def _repeated_keys(engine: TableEngine, name: str, table: Table) -> int:
    if not table.primary_key:
        return 0
    columns = ", ".join(quote_name(column) for column in table.primary_key)
    distinct = engine.count(f"(SELECT DISTINCT {columns} FROM {clean_view(name)})")
    return engine.count(clean_view(name)) - distinct


def _unmatched(engine: TableEngine, name: str, key: ForeignKey) -> int:
    """Return how many rows of a table refer to a row that isn't there."""
    rows = clean_view(name)
    # As an anti join: DuckDB carries NOT EXISTS out in three times the work.
    missing = f"AS t ANTI JOIN {clean_view(key.references)} AS o ON {_matches(key, 'o')}"
    looked_up = rows
    if _are_few(engine, name, key):
        columns = ", ".join(quote_name(column) for column in key.columns)
        looked_up = f"(SELECT DISTINCT {columns} FROM {rows})"
    # Whether parts of a key are missing is only asked where some row is unmatched.
    return engine.count(f"{looked_up} {missing}") and engine.count(
        f"{rows} {missing} WHERE {_given(key)}"
    )


def _are_few(engine: TableEngine, name: str, key: ForeignKey) -> bool:
    """Whether a table's values of a key are few, so that each is looked up once, not row by row.

    Finding them takes half the work of the join; where they are as many as the rows, more of it.
    """
    if not engine.counts_at_once:
        return False
    return engine.count(clean_view(key.references)) * 10 < engine.count(clean_view(name))


def _given(key: ForeignKey) -> str:
    """Return the condition that the key of a row ``t`` has no missing part."""
    return " AND ".join(f"t.{quote_name(here)} IS NOT NULL" for here in key.columns)


def _matches(key: ForeignKey, other: str) -> str:
    """Return the condition that a row ``t`` refers to a row of the other table, called `other`."""
    return " AND ".join(
        f"{other}.{quote_name(there)} = t.{quote_name(here)}"
        for here, there in zip(key.columns, key.target, strict=True)
    )


def _sample_cohort(engine: TableEngine, dataset: Dataset, sample_size: int) -> None:
    """Keep the `sample_size` rows whose key has the smallest hash.

    A hash of the key alone: rows that come later change the sample only by displacing the rows
    with the largest hashes, they don't reshuffle it.
    """
    key = ", ".join(f"CAST({quote_name(name)} AS VARCHAR)" for name in dataset.cohort.key)
    ordered = ", ".join(quote_name(name) for name in dataset.cohort.key)
    engine.make_table(
        COHORT,
        f"SELECT CAST(row_number() OVER (ORDER BY {ordered}) - 1 AS INTEGER) AS cohort_id, "
        "* EXCLUDE (cohort_id) FROM "
        f"(SELECT * FROM {COHORT} ORDER BY md5(concat_ws(chr(31), {key})), {ordered} "
        f"LIMIT {sample_size})",
    )


def _count_cohort(engine: TableEngine, report: TransformReport) -> None:
    report.cohort = engine.count(COHORT)
    report.positives = engine.count(f"{COHORT} WHERE label = 1")
    report.unlabelled = engine.count(f"{COHORT} WHERE label IS NULL")


def _make_sampled_view(engine: TableEngine, name: str, dataset: Dataset) -> bool:
    """Restrict the view of a table that belongs to cohort rows to those of the sample.

    A table belongs to them when it has the cohort's key, by itself or through the tables that its
    foreign keys name (a submission knows the presentation through its assessment).
    """
    key = list(dataset.cohort.key)
    table = dataset.tables[name]
    if key == [ROW_ID] and name == dataset.cohort.table:
        engine.make_view(
            clean_view(name, "_sampled"),
            f"SELECT t.* FROM {clean_view(name)} AS t "
            f"SEMI JOIN {COHORT} AS c ON c.{ROW_ID} = t.{ORDER}",
        )
        return True
    missing = [column for column in key if column not in table.columns]
    if len(missing) == len(key):
        return False
    joins = ""
    for number, foreign in enumerate(table.foreign_keys):
        provided = [c for c in missing if c in dataset.tables[foreign.references].columns]
        if provided:
            other = f"l{number}"
            joins += (
                f" JOIN {clean_view(foreign.references)} AS {other} ON {_matches(foreign, other)}"
            )
            missing = [column for column in missing if column not in provided]
    if missing:
        return False
    names = ", ".join(f"{quote_name(column)}" for column in key)
    engine.make_view(
        clean_view(name, "_sampled"),
        f"SELECT t.* FROM {clean_view(name)} AS t{joins} SEMI JOIN {COHORT} USING ({names})",
    )
    return True


def _write_table(
    engine: TableEngine, name: str, table: Table, report: TransformReport, *, sampled: bool
) -> None:
    numbered = "" if table.primary_key else f", {ORDER} AS {ROW_ID}"
    # A plain scan keeps the order of the file; a join need not.
    order = f" ORDER BY {ORDER}" if sampled or name in report.set_aside else ""
    report.rows[name] = engine.write(
        name,
        f"SELECT * EXCLUDE ({ORDER}){numbered} "
        f"FROM {clean_view(name, '_sampled' if sampled else '')}{order}",
    )


def clean_paths(folder: Path, names: Iterable[str]) -> Mapping[str, Path]:
    """Return the file of each clean table."""
    return {name: folder / f"{name}.parquet" for name in names}
