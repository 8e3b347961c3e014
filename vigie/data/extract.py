"""Extract: every raw table, typed by the declaration, into Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vigie.data.raw_files import RawFile
from vigie.data.read_csv import ReadResult, Rejected, read_csv_to_parquet
from vigie.dataset.spec import Dataset
from vigie.engine import open_duckdb
from vigie.errors import TooManyRejected
from vigie.i18n import _
from vigie.spreadsheet import harmless_text


@dataclass(frozen=True, slots=True)
class ExtractedTable:
    """What came of one table."""

    file: str
    rows: int
    rejected: int
    extra_columns: tuple[str, ...]
    encoding: str


def extract_tables(
    raw: Mapping[str, RawFile],
    dataset: Dataset,
    folder: Path,
    *,
    project: Path,
    max_rejected: float,
    threads: int | None,
    memory_limit: str | None,
    on_table: Callable[[str, float], None] | None = None,
) -> dict[str, ExtractedTable]:
    """Write ``{table}.parquet`` for each declared table, and the rows set aside beside them.

    Parameters
    ----------
    raw
        The raw file of each table.
    folder
        Where to write; rows that don't fit go to ``rejected/{table}.csv`` below it.
    max_rejected
        The largest share (0 to 1) of a table's rows that may be set aside, where the table
        doesn't say otherwise.
    on_table
        Called with a table's name and the share of all bytes (0 to 1) that are read by then.

    Raises
    ------
    TooManyRejected
        When more rows of a table don't fit than `max_rejected` allows.
    """
    scratch = folder / ".scratch"
    scratch.mkdir()
    sizes = {name: file.path.stat().st_size for name, file in raw.items()}
    done = 0
    extracted: dict[str, ExtractedTable] = {}
    with open_duckdb(threads=threads, memory_limit=memory_limit, spill=scratch) as connection:
        for name, table in dataset.tables.items():
            where = raw[name].describe(project)
            result = read_csv_to_parquet(
                connection,
                raw[name],
                table,
                folder / f"{name}.parquet",
                scratch=scratch,
                where=where,
            )
            if result.rejected:
                write_rejected(folder / "rejected" / f"{name}.csv", where, result.rejected)
            limit = max_rejected if table.max_rejected is None else table.max_rejected
            check_rejected(name, where, result, limit)
            extracted[name] = ExtractedTable(
                where, result.rows, len(result.rejected), result.extra_columns, result.encoding
            )
            done += sizes[name]
            if on_table:
                on_table(name, done / max(1, sum(sizes.values())))
    for left in scratch.iterdir():
        left.unlink()
    scratch.rmdir()
    return extracted


def write_rejected(path: Path, where: str, rejected: list[Rejected]) -> None:
    """Write the rows set aside: file, line, reason and the row as it stood.

    A row that a spreadsheet would run has an apostrophe before it.
    """
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["file", "line", "reason", "text"])
        writer.writerows([where, one.line, one.reason, harmless_text(one.text)] for one in rejected)


def check_rejected(name: str, where: str, result: ReadResult, max_rejected: float) -> None:
    """Raise ``TooManyRejected`` where more of a table is set aside than is bearable."""
    total = result.rows + len(result.rejected)
    if len(result.rejected) <= max_rejected * total:
        return
    first = result.rejected[0]
    raise TooManyRejected(
        _("{rejected} of {total} rows of {table} don't fit the declaration.").format(
            rejected=len(result.rejected), total=total, table=name
        ),
        where=_("{file}, line {line}: {reason}: {text}").format(
            file=where, line=first.line, reason=first.reason, text=first.text[:120]
        ),
        fix=_(
            "Mend the file (data/quarantine/{table}.csv lists the rows), or raise max_rejected "
            "(now {limit}) if they can be done without: under [extract] of vigie.toml for all "
            "tables, under [tables.{table}] of the declaration for this one."
        ).format(table=name, limit=max_rejected),
    )
