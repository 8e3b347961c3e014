"""Reading one raw CSV into Parquet at the engine's speed, with every row accounted for.

DuckDB parses all columns as text and casts them in the same pass; a value that doesn't fit puts
its row aside. Three things that DuckDB alone would pass over in silence are looked at here: a
gzip stream that ends early (it returns the rows that came), a fraction in a column of whole
numbers (it rounds), and bytes that aren't UTF-8.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import shutil
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from vigie.data.raw_files import RawFile
from vigie.dataset.spec import Column, Table
from vigie.engine import count_rows, quote_name, quote_text, scan_parquet, to_parquet
from vigie.errors import DataError
from vigie.i18n import _
from vigie.names import suggest

if TYPE_CHECKING:
    import duckdb

DELIMITERS = (",", ";", "\t", "|")
SQL_TYPES = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "day": "INTEGER",
    "number": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "boolean": "BOOLEAN",
}
_CHUNK = 1 << 20
_MARK = "vigie_bad_value"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row set aside: its line in the file (the header is line 1), why, and its text."""

    line: int
    reason: str
    text: str


@dataclass(slots=True)
class ReadResult:
    """What one file gave."""

    rows: int
    rejected: list[Rejected] = field(default_factory=list)
    extra_columns: tuple[str, ...] = ()
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[str, ...]
    delimiter: str


class _NotUtf8(Exception):
    """The bytes are not UTF-8 (internal signal to read the file again as cp1252)."""


class _MixedLineEnds(Exception):
    """The lines end in different ways (internal signal to read a normalised copy)."""


def read_csv_to_parquet(
    connection: duckdb.DuckDBPyConnection,
    raw: RawFile,
    table: Table,
    target: Path,
    *,
    scratch: Path,
    where: str,
) -> ReadResult:
    """Write the rows of `raw` that fit the declaration to the Parquet file `target`.

    Parameters
    ----------
    connection
        A DuckDB connection.
    scratch
        A folder for a copy of the file, where one is needed (zip member, other encoding).
    where
        How errors call the file.

    Raises
    ------
    DataError
        When a declared column is missing or the file is not a CSV.
    """
    with _plain_path(raw, scratch, where) as path:
        header = _read_header(path, table, where)
        with _verified(path, where):
            try:
                return _read(connection, path, header, table, target, "utf-8")
            except _NotUtf8:
                copy = _copy(path, scratch, encoding="cp1252", where=where)
            except _MixedLineEnds:
                copy = _copy(path, scratch, encoding="utf-8", where=where)
            encoding = "cp1252" if copy.name.endswith("cp1252") else "utf-8"
            try:
                return _read(connection, copy, header, table, target, encoding)
            except _NotUtf8:
                again = _copy(path, scratch, encoding="cp1252", where=where)
                return _read(connection, again, header, table, target, "cp1252")
            finally:
                copy.unlink(missing_ok=True)


@contextmanager
def _plain_path(raw: RawFile, scratch: Path, where: str) -> Iterator[Path]:
    """Yield a path that DuckDB can open; a zip's member is unpacked, its checksum verified."""
    if raw.member is None:
        yield raw.path
        return
    suffix = ".csv.gz" if raw.member.lower().endswith(".gz") else ".csv"
    copy = scratch / f"{raw.table}{suffix}"
    try:
        with zipfile.ZipFile(raw.path) as archive, archive.open(raw.member) as source:
            with copy.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK)
        yield copy
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise _unreadable(where, error) from error
    finally:
        copy.unlink(missing_ok=True)


def _open_bytes(path: Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.open(path))
    return path.open("rb")


def _read_header(path: Path, table: Table, where: str) -> _Header:
    try:
        with _open_bytes(path) as opened:
            line = opened.readline(_CHUNK)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(where, error) from error
    # Lines may end in CR alone, which readline doesn't know.
    line = (line.removeprefix(codecs.BOM_UTF8).splitlines() or [b""])[0]
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("cp1252", errors="replace")
    wanted = list(table.columns)
    best = _Header((), ",")
    for delimiter in DELIMITERS:
        try:
            names = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
        except csv.Error as error:
            raise _unreadable(where, error) from error
        header = _Header(tuple(name.strip() for name in names), delimiter)
        if len(set(wanted) & set(header.names)) > len(set(wanted) & set(best.names)):
            best = header
        best = best if best.names else header
    _check_header(best.names, wanted, where)
    return best


def _check_header(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        first = missing[0]
        near = suggest(first, [name for name in names if name not in wanted])
        shown = ", ".join(names)[:200] or _("nothing")
        raise DataError(
            _("Columns are missing: {columns}.").format(columns=", ".join(missing)),
            where=_("{file}, line 1; it has: {names}").format(file=where, names=shown),
            fix=_("Rename column {near!r} to {name!r}, or correct the declaration.").format(
                near=near, name=first
            )
            if near
            else _("Export the file again with these columns, or correct the declaration."),
        )
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(
            _("Columns appear twice: {columns}.").format(columns=", ".join(twice)),
            where=_("{file}, line 1").format(file=where),
            fix=_("Give each column a name of its own."),
        )


def _read(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    header: _Header,
    table: Table,
    target: Path,
    encoding: str,
) -> ReadResult:
    """Read a file whose every row fits in one pass; look closer only where one doesn't."""
    extra = tuple(name for name in header.names if name not in table.columns)
    _forget_rejects(connection)
    try:
        _run(connection, f"COPY ({_fast_sql(path, header, table)}) TO {to_parquet(target)}")
        rejected = _structural_rejects(connection)
    except _BadValue:
        rejected = _read_closely(connection, path, header, table, target)
    rows = count_rows(connection, scan_parquet(target))
    return ReadResult(rows, rejected, extra, encoding)


def _fast_sql(path: Path, header: _Header, table: Table) -> str:
    """Return SQL that reads all rows and fails at the first value that parses but doesn't fit."""
    whole = ("integer", "day")
    types = {
        name: "DOUBLE" if column.type in (*whole, "number") else "VARCHAR"
        for name, column in table.columns.items()
    }
    source = _source(path, header, types, table)
    values, faults = [], []
    for name, column in table.columns.items():
        quoted = quote_name(name)
        if column.type in whole:
            values.append(f"CAST({quoted} AS INTEGER) AS {quoted}")
            faults.append(f"{quoted} <> round({quoted}) OR abs({quoted}) > 2147483647")
        elif column.type in ("number", "text"):
            values.append(quoted)
        else:
            cast = f"TRY_CAST({quoted} AS {SQL_TYPES[column.type]})"
            values.append(f"{cast} AS {quoted}")
            faults.append(f"{quoted} IS NOT NULL AND {cast} IS NULL")
        faults += [sql for _reason, sql in _bounds(quoted, column)]
    check = f" WHERE CASE WHEN {' OR '.join(faults)} THEN error('{_MARK}') ELSE true END"
    return f"SELECT {', '.join(values)} FROM {source}{check if faults else ''}"


def _read_closely(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    header: _Header,
    table: Table,
    target: Path,
) -> list[Rejected]:
    """Read everything as text, set aside the rows with a bad value, keep the others."""
    _forget_rejects(connection)
    types = dict.fromkeys(table.columns, "VARCHAR")
    source = _source(path, header, types, table)
    values: list[str] = []
    cases: list[str] = []
    reasons: list[str] = []
    for name, column in table.columns.items():
        quoted = quote_name(name)
        typed = f"TRY_CAST({quoted} AS {SQL_TYPES[column.type]})"
        values.append(f"{typed} AS {quoted}")
        faults = [(_type_reason(column), _misfit(quoted, typed, column))]
        for reason, sql in [*faults, *_bounds(typed, column)]:
            cases.append(f"WHEN {sql} THEN {len(reasons)}")
            reasons.append(f"{name}: {reason}")
    names = ", ".join(quote_name(name) for name in table.columns)
    text = f"concat_ws({quote_text(header.delimiter)}, {_coalesced(header, table)})"
    flagged = target.with_name(f".{target.name}.flagged")
    _run(
        connection,
        f"COPY (SELECT {', '.join(values)}, CASE {' '.join(cases)} END AS vigie_fault, "
        f"row_number() OVER () AS vigie_record, "
        f"CASE WHEN vigie_fault IS NOT NULL THEN {text} END AS vigie_text FROM {source}) "
        f"TO {to_parquet(flagged)}",
    )
    structural = _structural_rejects(connection)
    bad = connection.execute(
        f"SELECT vigie_record, vigie_fault, vigie_text FROM {scan_parquet(flagged)} "
        "WHERE vigie_fault IS NOT NULL ORDER BY vigie_record"
    ).fetchall()
    kept = _narrowed(connection, flagged, table) or names
    _run(
        connection,
        f"COPY (SELECT {kept} FROM {scan_parquet(flagged)} WHERE vigie_fault IS NULL) "
        f"TO {to_parquet(target)}",
    )
    flagged.unlink()
    return _in_file_order(structural, [(n, reasons[fault], raw) for n, fault, raw in bad])


def _type_reason(column: Column) -> str:
    return {
        "integer": _("not a whole number"),
        "day": _("not a day number"),
        "number": _("not a number"),
        "date": _("not a date"),
        "timestamp": _("not a date and time"),
        "boolean": _("neither true nor false"),
    }.get(column.type, _("not a text"))


def _misfit(quoted: str, typed: str, column: Column) -> str:
    misfit = f"{quoted} IS NOT NULL AND {typed} IS NULL"
    if column.type in ("integer", "day"):
        # The cast rounds 1.5 to 2; a whole number written as 18.0 or 1e3 is accepted.
        misfit += f" OR TRY_CAST({quoted} AS DOUBLE) <> round(TRY_CAST({quoted} AS DOUBLE))"
    return misfit


def _bounds(value: str, column: Column) -> list[tuple[str, str]]:
    faults = []
    if column.required:
        faults.append((_("is missing"), f"{value} IS NULL"))
    if column.minimum is not None:
        faults.append(
            (_("is below {bound}").format(bound=column.minimum), f"{value} < {column.minimum}")
        )
    if column.maximum is not None:
        faults.append(
            (_("is above {bound}").format(bound=column.maximum), f"{value} > {column.maximum}")
        )
    return faults


def _narrowed(connection: duckdb.DuckDBPyConnection, flagged: Path, table: Table) -> str:
    """Return the columns of the kept rows; whole numbers as INTEGER where all of them fit."""
    columns = []
    for name, column in table.columns.items():
        quoted = quote_name(name)
        if column.type == "integer":
            wide = count_rows(
                connection,
                f"{scan_parquet(flagged)} WHERE vigie_fault IS NULL AND abs({quoted}) > 2147483647",
            )
            columns.append(quoted if wide else f"CAST({quoted} AS INTEGER) AS {quoted}")
        else:
            columns.append(quoted)
    return ", ".join(columns)


def _in_file_order(structural: list[Rejected], bad: list[tuple[int, str, str]]) -> list[Rejected]:
    """Merge both kinds; a record's line is found by counting the structural rejects before it."""
    lines = [one.line for one in structural]
    rejected, passed = list(structural), 0
    for record, reason, text in bad:
        line = record + 1 + passed
        while passed < len(lines) and lines[passed] <= line:
            passed += 1
            line += 1
        rejected.append(Rejected(line, reason, text))
    return sorted(rejected, key=lambda one: one.line)


def _structural_rejects(connection: duckdb.DuckDBPyConnection) -> list[Rejected]:
    rows = connection.execute(
        "SELECT line, first(error_type), first(column_name), first(csv_line) "
        "FROM reject_errors GROUP BY line ORDER BY line"
    ).fetchall()
    if any(kind == "INVALID ENCODING" for _line, kind, _column, _raw in rows):
        raise _NotUtf8
    if any(kind == "UNQUOTED VALUE" and "\r" in (raw or "") for _line, kind, _column, raw in rows):
        raise _MixedLineEnds
    reasons = {
        "CAST": _("{column}: not a number"),
        "MISSING COLUMNS": _("too few columns"),
        "TOO MANY COLUMNS": _("too many columns"),
        "UNQUOTED VALUE": _("a quotation mark that isn't closed"),
        "LINE SIZE OVER MAXIMUM": _("the line is too long"),
    }
    return [
        Rejected(line, reasons.get(kind, kind.lower()).format(column=column), (raw or "")[:10_000])
        for line, kind, column, raw in rows
    ]


def _forget_rejects(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DROP TABLE IF EXISTS reject_errors")
    connection.execute("DROP TABLE IF EXISTS reject_scans")


def _source(path: Path, header: _Header, types: dict[str, str], table: Table) -> str:
    columns = ", ".join(
        f"{quote_text(name)}: {quote_text(types.get(name, 'VARCHAR'))}" for name in header.names
    )
    missing = ", ".join(quote_text(marker) for marker in table.missing)
    return (
        f"read_csv({quote_text(str(path))}, columns={{{columns}}}, header=true, auto_detect=false, "
        f"delim={quote_text(header.delimiter)}, quote='\"', escape='\"', nullstr=[{missing}], "
        "store_rejects=true, rejects_limit=0)"
    )


def _coalesced(header: _Header, table: Table) -> str:
    return ", ".join(
        f"coalesce({quote_name(name)}, '')" for name in header.names if name in table.columns
    )


class _BadValue(Exception):
    """A value parses but doesn't fit (internal signal to look closer)."""


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    import duckdb

    try:
        connection.execute(sql)
    except duckdb.InvalidInputException as error:
        message = str(error)
        if _MARK in message:
            raise _BadValue from error
        if "unicode" in message.lower() or "utf-8" in message.lower():
            raise _NotUtf8 from error
        if "state machine" in message or "new_line" in message:
            raise _MixedLineEnds from error
        raise
    except duckdb.ConversionException as error:
        raise _BadValue from error


def _copy(path: Path, scratch: Path, *, encoding: str, where: str) -> Path:
    """Return a UTF-8 copy with LF line ends; bytes that cp1252 doesn't know become U+FFFD."""
    copy = scratch / f"{path.name.split('.')[0]}.csv.from-{encoding}"
    try:
        with _open_bytes(path) as source:
            text = io.TextIOWrapper(source, encoding=encoding, errors="replace", newline=None)
            with copy.open("w", encoding="utf-8", newline="\n") as sink:
                shutil.copyfileobj(text, sink, _CHUNK)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(where, error) from error
    return copy


@contextmanager
def _verified(path: Path, where: str) -> Iterator[None]:
    """Check a gzip stream to its end beside the block; DuckDB takes a broken-off one for whole."""
    if not path.name.lower().endswith(".gz"):
        yield
        return
    faults: list[Exception] = []

    def drain() -> None:
        try:
            with gzip.open(path) as opened:
                while opened.read(_CHUNK):
                    pass
        except (OSError, EOFError, zlib.error) as error:
            faults.append(error)

    thread = threading.Thread(target=drain, name="verify-gzip", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if faults:
            raise _unreadable(where, faults[0]) from faults[0]


def _unreadable(where: str, error: Exception) -> DataError:
    return DataError(
        _("The file can't be read to its end: {reason}").format(reason=error),
        where=where,
        fix=_("It is damaged or not what its name says; copy or download it again."),
    )
