"""Reading one raw CSV into Parquet at the engine's speed, with every row accounted for.

DuckDB parses all columns as text and casts them in the same pass; a value that doesn't fit puts
its row aside. Three things that DuckDB alone would pass over in silence are looked at here: a
gzip stream that ends early (it returns the rows that came), a fraction in a column of whole
numbers (it rounds), and bytes that aren't UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.data.csv_file import (
    Header,
    MixedLineEnds,
    NotUtf8,
    copy_as_utf8,
    open_bytes,
    plain_path,
    read_header,
    verified,
    without_first_lines,
)
from vigie.data.raw_files import RawFile
from vigie.data.records import copy_plainly, count_lines, count_records, encoding_of
from vigie.data.rejected import Rejected, RejectedRows
from vigie.data.typed_text import bounds, misfit, number_text, type_reason, typed_value
from vigie.dataset.spec import Table
from vigie.engine import (
    count_rows,
    open_duckdb,
    quote_name,
    quote_text,
    scan_parquet,
    to_parquet,
)
from vigie.errors import DataError
from vigie.i18n import _

if TYPE_CHECKING:
    import duckdb

_MARK = "vigie_bad_value"
_AT_ONCE = 500


@dataclass(slots=True)
class ReadResult:
    """What one file gave."""

    rows: int
    rejected: RejectedRows = field(default_factory=RejectedRows)
    extra_columns: tuple[str, ...] = ()
    encoding: str = "utf-8"


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
    if table.csv.skip:
        return _read_below(connection, raw, table, target, scratch=scratch, where=where)
    with plain_path(raw, scratch, where) as path:
        encoding = table.csv.encoding or "utf-8"
        try:
            if table.csv.encoding is not None:
                result = _read_encoded(connection, path, table, target, scratch, where)
                lines = 0
            else:
                with verified(path, where) as counted:
                    result = _read_guessing(connection, path, table, target, scratch, where)
                lines = counted.lines or count_lines(path)
        except _read_faults():
            # Neither happens with well-formed files; the engine's connection may be broken now.
            encoding = table.csv.encoding or encoding_of(path)
        else:
            encoding = result.encoding
            if _is_whole(result, lines, path, table, where):
                return result
        return _read_plainly(path, table, target, encoding, scratch, where)


def _read_below(
    connection: duckdb.DuckDBPyConnection,
    raw: RawFile,
    table: Table,
    target: Path,
    *,
    scratch: Path,
    where: str,
) -> ReadResult:
    """Read the table that stands below lines of another kind."""
    skip = table.csv.skip
    below = table.model_copy(update={"csv": table.csv.model_copy(update={"skip": 0})})
    with plain_path(raw, scratch, where) as path:
        copy = without_first_lines(path, scratch, skip, table.csv.encoding)
        try:
            result = read_csv_to_parquet(
                connection, RawFile(raw.table, copy), below, target, scratch=scratch, where=where
            )
        finally:
            copy.unlink(missing_ok=True)
    result.rejected.move_down(skip)
    return result


def _read_faults() -> tuple[type[Exception], ...]:
    import duckdb

    engine = (duckdb.InternalException, duckdb.FatalException, duckdb.InvalidInputException)
    return (NotUtf8, MixedLineEnds, *engine)


def _read_guessing(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    table: Table,
    target: Path,
    scratch: Path,
    where: str,
) -> ReadResult:
    """Read a file as UTF-8, else as cp1252; with one kind of line end."""
    header = read_header(path, table, where)
    try:
        return _read(connection, path, header, table, target, "utf-8")
    except NotUtf8:
        copy = copy_as_utf8(path, scratch, encoding="cp1252", where=where)
    except MixedLineEnds:
        copy = copy_as_utf8(path, scratch, encoding="utf-8", where=where)
    encoding = "cp1252" if copy.name.endswith("cp1252") else "utf-8"
    try:
        return _read(connection, copy, header, table, target, encoding)
    except NotUtf8:
        again = copy_as_utf8(path, scratch, encoding="cp1252", where=where)
        return _read(connection, again, header, table, target, "cp1252")
    finally:
        copy.unlink(missing_ok=True)


def _is_whole(result: ReadResult, lines: int, path: Path, table: Table, where: str) -> bool:
    """Whether every record of the file was read or set aside."""
    total = result.rows + len(result.rejected)
    if lines - int(table.csv.header) == total:
        return True
    # Line ends inside of quotes, blank lines, other line ends: counted by records then.
    header = read_header(path, table, where) if table.csv.encoding is None else None
    if header is None:
        header = Header((), table.csv.delimiter or ",")
    return count_records(path, header, table.csv, result.encoding) == total


def _read_plainly(
    path: Path, table: Table, target: Path, encoding: str, scratch: Path, where: str
) -> ReadResult:
    """Read a copy in which nothing is left to guess.

    Raises
    ------
    DataError
        When rows would be lost even so.
    """
    header = read_header(path, table, where)
    copy = scratch / f"{path.name.split('.')[0]}.csv.plain"
    plain = table.model_copy(update={"csv": table.csv.model_copy(update={"quote": '"'})})
    try:
        expected = copy_plainly(path, copy, header, table.csv, encoding, where)
        with open_duckdb(threads=1) as connection:
            result = _read(connection, copy, header, plain, target, encoding, plainly=True)
    finally:
        copy.unlink(missing_ok=True)
    if result.rows + len(result.rejected) == expected:
        return result
    raise DataError(
        _("The file can't be read without losing rows: {read} of {rows} are accounted for.").format(
            read=result.rows + len(result.rejected), rows=expected
        ),
        where=where,
        fix=_("Open it in the program that made it and export it again, with fields in quotes."),
    )


def _read_encoded(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    table: Table,
    target: Path,
    scratch: Path,
    where: str,
) -> ReadResult:
    """Read a file whose encoding is declared."""
    assert table.csv.encoding is not None
    copy = copy_as_utf8(path, scratch, encoding=table.csv.encoding, where=where)
    try:
        header = read_header(copy, table, where)
        return _read(connection, copy, header, table, target, table.csv.encoding)
    finally:
        copy.unlink(missing_ok=True)


def _read(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    header: Header,
    table: Table,
    target: Path,
    encoding: str,
    *,
    plainly: bool = False,
) -> ReadResult:
    """Read a file whose every row fits in one pass; look closer only where one doesn't."""
    _forget_rejects(connection)
    try:
        if not table.csv.plain_numbers or any(one.strip for one in table.columns.values()):
            raise _BadValue
        _run(connection, f"COPY ({_fast_sql(path, header, table)}) TO {to_parquet(target)}")
        rejected = _structural_rejects(connection, path, target.parent, plainly=plainly)
    except _BadValue:
        rejected = _read_closely(connection, path, header, table, target, plainly=plainly)
    rows = count_rows(connection, scan_parquet(target))
    return ReadResult(rows, rejected, header.extra, encoding)


def _fast_sql(path: Path, header: Header, table: Table) -> str:
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
            cast = typed_value(quoted, column)
            values.append(f"{cast} AS {quoted}")
            faults.append(f"{quoted} IS NOT NULL AND {cast} IS NULL")
        faults += [sql for _reason, sql in bounds(quoted, column)]
    check = f" WHERE CASE WHEN {' OR '.join(faults)} THEN error('{_MARK}') ELSE true END"
    return f"SELECT {', '.join(values)} FROM {source}{check if faults else ''}"


def _read_closely(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    header: Header,
    table: Table,
    target: Path,
    *,
    plainly: bool,
) -> RejectedRows:
    """Read everything as text, set aside the rows with a bad value, keep the others."""
    _forget_rejects(connection)
    types = dict.fromkeys(table.columns, "VARCHAR")
    source = _source(path, header, types, table)
    values: list[str] = []
    cases: list[str] = []
    reasons: list[str] = []
    for name, column in table.columns.items():
        quoted = quote_name(name)
        value = number_text(quoted, column, table.csv)
        typed = typed_value(value, column)
        values.append(f"{typed} AS {quoted}")
        faults = [(type_reason(column), misfit(value, typed, column))]
        for reason, sql in [*faults, *bounds(typed, column)]:
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
    structural = _structural_rejects(connection, path, target.parent, plainly=plainly)
    # The header is a line, but no record.
    first = int(table.csv.header)
    bad = _in_batches(
        connection,
        f"SELECT vigie_record, vigie_fault, vigie_text FROM {scan_parquet(flagged)} "
        "WHERE vigie_fault IS NOT NULL ORDER BY vigie_record",
    )
    places = ((n + first, reasons[fault], raw) for n, fault, raw in bad)
    rejected = RejectedRows(_in_file_order(iter(structural), places), target.parent)
    kept = _narrowed(connection, flagged, table) or names
    _run(
        connection,
        f"COPY (SELECT {kept} FROM {scan_parquet(flagged)} WHERE vigie_fault IS NULL) "
        f"TO {to_parquet(target)}",
    )
    flagged.unlink()
    return rejected


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


def _in_file_order(
    structural: Iterator[Rejected], bad: Iterable[tuple[int, str, str]]
) -> Iterator[Rejected]:
    """Merge both kinds; a record's line is found by counting the structural rejects before it."""
    passed, ahead = 0, next(structural, None)
    for place, reason, text in bad:
        while ahead is not None and ahead.line <= place + passed:
            yield ahead
            passed, ahead = passed + 1, next(structural, None)
        yield Rejected(place + passed, reason, text)
    if ahead is not None:
        yield ahead
    yield from structural


def _structural_rejects(
    connection: duckdb.DuckDBPyConnection, path: Path, folder: Path, *, plainly: bool
) -> RejectedRows:
    """Return the rows that don't have the columns; unless `plainly`, look at why."""
    rows = (
        "SELECT line, first(error_type) AS kind, first(column_name), first(csv_line) AS raw "
        "FROM reject_errors GROUP BY line"
    )
    # Among lines that end otherwise, one is taken together with the next.
    found = connection.execute(
        "SELECT bool_or(kind = 'INVALID ENCODING'), "
        "bool_or(contains(trim(raw, E' \\t\\n\\v\\f\\r'), E'\\n') OR contains(raw, E'\\r')) "
        f"FROM ({rows})"
    ).fetchone()
    not_utf8, joined = found or (False, False)
    if not_utf8:
        raise NotUtf8
    if joined and not plainly and _has_carriage_returns(path):
        raise MixedLineEnds
    reasons = {
        "CAST": _("{column}: not a number"),
        "MISSING COLUMNS": _("too few columns"),
        "TOO MANY COLUMNS": _("too many columns"),
        "UNQUOTED VALUE": _("a quotation mark that isn't closed"),
        "LINE SIZE OVER MAXIMUM": _("the line is too long"),
    }
    rejected = (
        Rejected(line, reasons.get(kind, kind.lower()).format(column=column), (raw or "")[:10_000])
        for line, kind, column, raw in _in_batches(connection, f"{rows} ORDER BY line")
    )
    return RejectedRows(rejected, folder)


def _in_batches(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[tuple[Any, ...]]:
    answer = connection.execute(sql)
    while rows := answer.fetchmany(_AT_ONCE):
        yield from rows


def _has_carriage_returns(path: Path) -> bool:
    with open_bytes(path) as file:
        while block := file.read(1 << 20):
            if b"\r" in block:
                return True
    return False


def _forget_rejects(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DROP TABLE IF EXISTS reject_errors")
    connection.execute("DROP TABLE IF EXISTS reject_scans")


def _source(path: Path, header: Header, types: dict[str, str], table: Table) -> str:
    columns = ", ".join(
        f"{quote_text(name)}: {quote_text(types.get(name, 'VARCHAR'))}" for name in header.names
    )
    # Without any, only an empty field is missing.
    missing = ", ".join(quote_text(marker) for marker in table.missing or ("",))
    quote = quote_text(table.csv.quote)
    return (
        f"read_csv({quote_text(str(path))}, columns={{{columns}}}, "
        f"header={str(table.csv.header).lower()}, auto_detect=false, "
        f"delim={quote_text(header.delimiter)}, quote={quote}, escape={quote}, "
        f"nullstr=[{missing}], store_rejects=true, rejects_limit=0)"
    )


def _coalesced(header: Header, table: Table) -> str:
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
            raise NotUtf8 from error
        if "state machine" in message or "new_line" in message:
            raise MixedLineEnds from error
        raise
    except duckdb.ConversionException as error:
        raise _BadValue from error
