"""Extract: every raw table, typed by the declaration, into Parquet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vigie.data.raw_files import RawFile
from vigie.data.read_csv import ReadResult, read_csv_to_parquet
from vigie.data.rejected import write_rejected
from vigie.dataset.spec import Dataset
from vigie.engine import open_duckdb, scan_parquet, to_parquet
from vigie.errors import TooManyRejected
from vigie.i18n import _

if TYPE_CHECKING:
    import duckdb


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
    sizes = {
        name: sum(part.path.stat().st_size for part in file.parts) for name, file in raw.items()
    }
    done = 0
    extracted: dict[str, ExtractedTable] = {}
    with open_duckdb(threads=threads, memory_limit=memory_limit, spill=scratch) as connection:
        for name, table in dataset.tables.items():
            read: dict[str, ReadResult] = {}
            for number, part in enumerate(raw[name].parts):
                where = part.describe(project)
                target = folder / f"{name}.parquet" if not number else _part(scratch, number)
                read[where] = read_csv_to_parquet(
                    connection, part, table, target, scratch=scratch, where=where
                )
                write_rejected(folder / "rejected" / f"{name}.csv", where, read[where].rejected)
                read[where].rejected.close()
            if len(read) > 1:
                _join_parts(connection, folder / f"{name}.parquet", scratch, len(read))
            limit = max_rejected if table.max_rejected is None else table.max_rejected
            check_rejected(name, read, limit)
            extracted[name] = summed(read)
            done += sizes[name]
            if on_table:
                on_table(name, done / max(1, sum(sizes.values())))
    for left in scratch.iterdir():
        left.unlink()
    scratch.rmdir()
    return extracted


def _part(scratch: Path, number: int) -> Path:
    return scratch / f"part-{number}.parquet"


def _join_parts(
    connection: duckdb.DuckDBPyConnection, target: Path, scratch: Path, parts: int
) -> None:
    """Put the rows of several files one after the other, in the files' order."""
    first = target.rename(_part(scratch, 0))
    paths = [first, *(_part(scratch, number) for number in range(1, parts))]
    rows = " UNION ALL BY NAME ".join(f"SELECT * FROM {scan_parquet(path)}" for path in paths)
    connection.execute(f"COPY ({rows}) TO {to_parquet(target)}")
    for path in paths:
        path.unlink()


def summed(read: Mapping[str, ReadResult]) -> ExtractedTable:
    """Return what came of a table's files together."""
    extra = dict.fromkeys(name for result in read.values() for name in result.extra_columns)
    return ExtractedTable(
        ", ".join(read),
        sum(result.rows for result in read.values()),
        sum(len(result.rejected) for result in read.values()),
        tuple(extra),
        ", ".join(dict.fromkeys(result.encoding for result in read.values())),
    )


def check_rejected(name: str, read: Mapping[str, ReadResult], max_rejected: float) -> None:
    """Raise ``TooManyRejected`` where more of a table is set aside than is bearable."""
    rejected = sum(len(result.rejected) for result in read.values())
    total = rejected + sum(result.rows for result in read.values())
    if rejected <= max_rejected * total:
        return
    where, first = next(
        (where, result.rejected.first) for where, result in read.items() if result.rejected
    )
    raise TooManyRejected(
        _("{rejected} of {total} rows of {table} don't fit the declaration.").format(
            rejected=rejected, total=total, table=name
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
