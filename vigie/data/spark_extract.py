"""Extract on Spark: raw CSVs to partitioned Parquet, with DuckDB's fate for every row.

Each file is parsed once, over as many tasks as Spark cuts it into, and kept on the cluster. Rows
that are certainly good stay there. Texts that the engines might read differently are gathered,
each once, and DuckDB says on the driver what they are; rows that don't fit come to the driver with
their line. What a row's place in its file is follows from the blocks that the file was cut into.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from vigie.data.csv_file import Header, header_of
from vigie.data.extract import ExtractedTable, check_rejected, summed
from vigie.data.read_csv import ReadResult
from vigie.data.rejected import Rejected, RejectedRows, write_rejected
from vigie.data.spark_values import Verdicts, judge_odd_texts
from vigie.dataset.spec import Dataset, Table
from vigie.errors import DataError
from vigie.i18n import _
from vigie.spark import lines as sql
from vigie.spark.files import parquet_url
from vigie.spark.frames import drop_views, keep

# A driver has room for so many different texts, and for so many rows that don't fit.
MOST_ODD = 200_000
MOST_REJECTED = 1_000_000
# A compressed file is read by one core alone; what it becomes need not be.
ROWS_PER_FILE = 1_000_000
_ORDER = "vigie_order"


@dataclass(frozen=True, slots=True)
class SparkFile:
    """One raw file: its address for Spark, and how errors call it."""

    url: str
    shown: str
    bytes: int


@dataclass(frozen=True, slots=True)
class _Block:
    """A piece of a file that one task reads: where it starts, and its lines.

    ``place`` is that of its first line; ``doubtful`` and ``blank`` count lines.
    """

    start: int
    place: int
    lines: int
    doubtful: int
    blank: int


@dataclass(slots=True)
class _Part:
    """One file of a table, parsed: the view that holds it, its blocks, what became of its rows."""

    view: str
    header: Header
    verdicts: Verdicts
    blocks: list[_Block]
    result: ReadResult = dataclass_field(default_factory=lambda: ReadResult(0))
    closely: bool = False
    dirty: set[int] = dataclass_field(default_factory=set)
    wide: set[str] = dataclass_field(default_factory=set)


def extract_on_spark(
    session: Any,
    raw: Mapping[str, Sequence[SparkFile]],
    dataset: Dataset,
    folder: Path,
    target: str,
    *,
    max_rejected: float,
    on_table: Callable[[str, float], None] | None = None,
) -> dict[str, ExtractedTable]:
    """Write each declared table as partitioned Parquet below the address `target`.

    Parameters
    ----------
    raw
        The raw files of each table, in their order.
    folder
        A folder of this machine; rows that don't fit go to ``rejected/{table}.csv`` below it.
    target
        Each table has a column ``vigie_order``: the row's place among those kept, from 0.
    max_rejected, on_table
        As for ``extract_tables``.

    Raises
    ------
    TooManyRejected
        When more rows of a table don't fit than `max_rejected` allows.
    DataError
        When a file is written in a way that only DuckDB reads.
    """
    total = max(1, sum(file.bytes for files in raw.values() for file in files))
    done = 0
    extracted: dict[str, ExtractedTable] = {}
    for name, table in dataset.tables.items():
        try:
            parts = {
                file.shown: _parse(session, file, table, f"vigie_part_{number}")
                for number, file in enumerate(raw[name])
            }
            read = {where: part.result for where, part in parts.items()}
            for where, result in read.items():
                write_rejected(folder / "rejected" / f"{name}.csv", where, result.rejected)
            limit = max_rejected if table.max_rejected is None else table.max_rejected
            check_rejected(name, read, limit)
            _write(session, list(parts.values()), table, parquet_url(target, name))
        finally:
            drop_views(session)
        extracted[name] = summed(read)
        done += sum(file.bytes for file in raw[name])
        if on_table:
            on_table(name, done / total)
    return extracted


# --- one file ----------------------------------------------------------------------------------


def _parse(session: Any, file: SparkFile, table: Table, view: str) -> _Part:
    """Parse a file, keep the result on the cluster, and find out what becomes of its rows."""
    _refuse_dialect(table, file.shown)
    first = session.read.text(file.url).head(1)
    line = str(first[0][0]).removeprefix(sql.BOM) if first else ""
    header = header_of(line, table, file.shown)
    fields = _fields(header, table)
    keep(session, _parsed(session, file.url, header, fields, table), view)
    blocks = _blocks(session, view, file.shown, table)
    doubtful = any(block.doubtful for block in blocks)
    odd = _odd_texts(session, view, file.shown) if doubtful else []
    part = _Part(view, header, judge_odd_texts(odd, fields, table), blocks)
    rows = _misfits(session, part, table) if doubtful else []
    _account(session, part, table, rows)
    return part


def _refuse_dialect(table: Table, where: str) -> None:
    encoding = (table.csv.encoding or "utf-8").lower().replace("_", "-")
    if encoding not in {"utf-8", "utf8", "ascii", "us-ascii"}:
        raise _only_duckdb(
            _("Spark reads UTF-8 only, and the file is declared as {encoding}.").format(
                encoding=encoding
            ),
            where,
        )


def _only_duckdb(what: str, where: str) -> DataError:
    return DataError(
        what,
        where=where,
        fix=_(
            "Write the file as UTF-8 with one line for each row, or extract with DuckDB, which "
            'reads it as it is: [engine] name = "duckdb".'
        ),
    )


def _fields(header: Header, table: Table) -> list[sql.Field]:
    return [
        sql.Field(
            name,
            header.names.index(name),
            column.type,
            column.format,
            table.csv.decimal,
            table.csv.thousands,
        )
        for name, column in table.columns.items()
    ]


def _parsed(
    session: Any, url: str, header: Header, fields: Sequence[sql.Field], table: Table
) -> Any:
    """Return the frame of a file's rows: typed values, and the raw line where one is in doubt."""
    quote = table.csv.quote
    first = f"{sql.BLOCK} = 0 AND ({sql.PLACE} & 8589934591) = 0"
    lines = session.read.text(url).selectExpr(
        f"value AS {sql.LINE}",
        f"_metadata.file_block_start AS {sql.BLOCK}",
        f"monotonically_increasing_id() AS {sql.PLACE}",
    )
    if not table.csv.header:
        without = f"IF({first}, regexp_replace({sql.LINE}, '^{sql.BOM}', ''), {sql.LINE})"
        lines = lines.selectExpr(f"{without} AS {sql.LINE}", sql.BLOCK, sql.PLACE)
    count = len(header.names)
    head = f"WHEN {first} THEN 'header' " if table.csv.header else ""
    kind = (
        f"CASE {head}WHEN NOT is_valid_utf8({sql.LINE}) THEN 'encoding' "
        f"WHEN {sql.LINE} = '' THEN 'blank' "
        f"WHEN {sql.broken_quotes_sql(header.delimiter, quote)} THEN 'quotes' "
        f"WHEN size({sql.FIELDS}) < {count} THEN 'few' "
        f"WHEN size({sql.FIELDS}) > {count} THEN 'many' ELSE 'row' END AS {sql.KIND}"
    )
    split = (
        lines.selectExpr("*", f"{sql.simple_sql(header.delimiter, quote)} AS {sql.SIMPLE}")
        .selectExpr("*", f"{sql.fields_sql(header.delimiter, quote)} AS {sql.FIELDS}")
        .selectExpr("*", kind)
    )
    texts = {field.name: sql.value_sql(field, table.missing) for field in fields}
    taken = split.selectExpr(
        sql.LINE,
        sql.BLOCK,
        sql.PLACE,
        sql.KIND,
        *(
            f"IF({sql.KIND} = 'row', {text}, NULL) AS {_text(number)}"
            for number, text in enumerate(texts.values())
        ),
    )
    return _with_values(taken, header, fields, table)


def _text(number: int) -> str:
    return f"vigie_text_{number}"


def _with_values(taken: Any, header: Header, fields: Sequence[sql.Field], table: Table) -> Any:
    """Return values where texts are plain, odd texts otherwise, and lines that are in doubt."""
    values, odd, any_odd, doubts = [], [], [], [f"{sql.KIND} NOT IN ('row', 'blank')"]
    for number, field in enumerate(fields):
        text, name = sql.number_text_sql(_text(number), field), sql.name_of(field.name)
        plain, typed = sql.plain_sql(text, field), sql.typed_sql(text, field)
        values.append(f"IF({plain}, {typed}, NULL) AS {name}")
        is_odd = f"{_text(number)} IS NOT NULL AND {name} IS NULL"
        odd.append(f"IF({is_odd}, named_struct('c', {number}, 't', {text}), NULL)")
        any_odd.append(f"({is_odd})")
        doubts += [is_odd, *_bound_faults(name, table, field.name)]
        if field.type in {"integer", "day"}:
            doubts.append(f"abs({name}) > 2147483647")
    places = {field.position: number for number, field in enumerate(fields)}
    shown = ", ".join(f"coalesce({_text(places[at])}, '')" for at in sorted(places))
    # Nearly no row has one, and gathering them takes Spark long.
    gathered = f"IF({' OR '.join(any_odd)}, array_compact(array({', '.join(odd)})), NULL)"
    any_doubt = " OR ".join(f"({one})" for one in doubts)
    doubt = f"{sql.KIND} <> 'header' AND coalesce({any_doubt}, false)"
    return (
        taken.selectExpr("*", *values)
        .selectExpr("*", f"{gathered} AS {sql.ODD}", f"{doubt} AS vigie_doubt")
        .selectExpr(
            sql.BLOCK,
            sql.PLACE,
            sql.KIND,
            sql.ODD,
            "vigie_doubt",
            *(sql.name_of(field.name) for field in fields),
            f"IF(vigie_doubt, {sql.LINE}, NULL) AS {sql.LINE}",
            f"IF(vigie_doubt, concat_ws({sql.text_of(header.delimiter)}, {shown}), NULL) "
            "AS vigie_shown",
        )
    )


def _bound_faults(value: str, table: Table, name: str) -> list[str]:
    column = table.columns[name]
    faults = [f"{sql.KIND} = 'row' AND {value} IS NULL"] if column.required else []
    if column.minimum is not None:
        faults.append(f"{value} < {column.minimum!r}D")
    if column.maximum is not None:
        faults.append(f"{value} > {column.maximum!r}D")
    return faults


def _blocks(session: Any, view: str, where: str, table: Table) -> list[_Block]:
    """Return what each block of the file holds; refuse what only DuckDB reads."""
    rows = session.sql(
        f"SELECT {sql.BLOCK}, min({sql.PLACE}), max({sql.PLACE}), count(*), "
        f"count_if(vigie_doubt), count_if({sql.KIND} = 'blank'), "
        f"count_if({sql.KIND} = 'encoding'), count_if({sql.KIND} = 'quotes'), "
        f"count_if({sql.KIND} = 'header') FROM {view} GROUP BY {sql.BLOCK} ORDER BY {sql.BLOCK}"
    ).collect()
    blocks = [_Block(row[0], row[1], row[3], row[4], row[5]) for row in rows]
    if sum(row[6] for row in rows):
        raise _only_duckdb(_("The file is not UTF-8, which is all that Spark reads."), where)
    if sum(row[7] for row in rows):
        line = _first_line_of(session, view, "quotes", blocks)
        raise _only_duckdb(
            _(
                "{count} lines have quotation marks elsewhere than around whole fields, such as "
                "around a line end; Spark can't tell where the row ends."
            ).format(count=sum(row[7] for row in rows)),
            _("{file}, line {line}").format(file=where, line=line),
        )
    whole = all(row[2] - row[1] + 1 == row[3] for row in rows)
    if not whole or (rows and sum(row[8] for row in rows) != int(table.csv.header)):
        raise _only_duckdb(_("Spark doesn't say where each row of the file stands."), where)
    return blocks


def _first_line_of(session: Any, view: str, kind: str, blocks: list[_Block]) -> int:
    row = session.sql(
        f"SELECT {sql.BLOCK}, {sql.PLACE} FROM {view} WHERE {sql.KIND} = '{kind}' "
        f"ORDER BY {sql.BLOCK}, {sql.PLACE} LIMIT 1"
    ).collect()[0]
    return _line_numbers(blocks)[row[0]] + int(row[1])


def _line_numbers(blocks: list[_Block]) -> dict[int, int]:
    """Return for each block what to add to a place for the line's number in the file, from 1."""
    before = itertools.accumulate((block.lines for block in blocks), initial=1)
    return {block.start: lines - block.place for block, lines in zip(blocks, before, strict=False)}


def _odd_texts(session: Any, view: str, where: str) -> list[tuple[int, str]]:
    rows = session.sql(
        f"SELECT DISTINCT o.c, o.t FROM {view} LATERAL VIEW explode({sql.ODD}) x AS o "
        f"LIMIT {MOST_ODD + 1}"
    ).collect()
    if len(rows) > MOST_ODD:
        raise _only_duckdb(
            _(
                "More than {count} different values are written in a way that Spark doesn't read "
                "for certain as DuckDB does."
            ).format(count=MOST_ODD),
            where,
        )
    return [(int(row[0]), str(row[1])) for row in rows]


# --- rows that don't fit -----------------------------------------------------------------------


def _misfits(session: Any, part: _Part, table: Table) -> list[Any]:
    """Return the rows that don't fit.

    DuckDB looks closely, and says more of a row, only where a value of the file parses but doesn't
    fit; so does this.
    """
    verdicts = part.verdicts
    doubtful = verdicts.resolved(session, session.table(part.view).where("vigie_doubt"))
    uncastable, misfit, close = verdicts.fault_cases(table)
    broken = f"{sql.KIND} <> 'row'"
    judged = doubtful.selectExpr(
        sql.BLOCK,
        sql.PLACE,
        sql.KIND,
        sql.LINE,
        "vigie_shown",
        f"IF({broken}, NULL, {uncastable}) AS vigie_cast",
        f"IF({broken}, false, {misfit}) AS vigie_misfit",
        f"IF({broken}, NULL, {close}) AS vigie_close",
    )
    judged.createOrReplaceTempView(f"{part.view}_judged")
    row = session.sql(
        f"SELECT count_if(vigie_misfit AND vigie_cast IS NULL) FROM {part.view}_judged"
    ).collect()[0]
    part.closely = not table.csv.plain_numbers or bool(row[0])
    fault = "vigie_close" if part.closely else "vigie_cast"
    rows: list[Any] = session.sql(
        f"SELECT {sql.BLOCK}, {sql.PLACE}, {sql.KIND}, {sql.LINE}, vigie_shown, {fault} "
        f"FROM {part.view}_judged WHERE {sql.KIND} IN ('few', 'many') OR {fault} IS NOT NULL "
        f"ORDER BY 1, 2 LIMIT {MOST_REJECTED}"
    ).collect()
    return rows


def _account(session: Any, part: _Part, table: Table, rows: Sequence[Any]) -> None:
    first = _line_numbers(part.blocks)
    reasons = part.verdicts.reasons(table, closely=part.closely)
    broken = {"few": _("too few columns"), "many": _("too many columns")}
    rejected = RejectedRows(
        Rejected(
            first[row[0]] + row[1],
            broken.get(row[2]) or reasons[row[5]],
            (row[4] if row[2] == "row" and part.closely else row[3])[:10_000],
        )
        for row in rows
    )
    part.dirty = {row[0] for row in rows} | {one.start for one in part.blocks if one.blank}
    records = sum(block.lines - block.blank for block in part.blocks)
    part.result = ReadResult(
        records - bool(part.blocks) * int(table.csv.header) - len(rows),
        rejected,
        part.header.extra,
        "utf-8",
    )
    part.wide = _wide_columns(session, part, table) if part.closely else set()


def _wide_columns(session: Any, part: _Part, table: Table) -> set[str]:
    """Return the columns of whole numbers that don't fit into 32 bits."""
    names = [name for name, column in table.columns.items() if column.type == "integer"]
    if not names:
        return set()
    most = ", ".join(f"max(abs({sql.name_of(name)}))" for name in names)
    row = _kept(session, part, table).selectExpr(*most.split(", ")).collect()[0]
    return {name for name, value in zip(names, row, strict=True) if (value or 0) > 2147483647}


def _kept(session: Any, part: _Part, table: Table) -> Any:
    """Return the rows that fit, with resolved values."""
    uncastable, _misfit, close = part.verdicts.fault_cases(table)
    fault = close if part.closely else uncastable
    rows = session.table(part.view).where(f"{sql.KIND} = 'row'")
    resolved = part.verdicts.resolved(session, rows)
    return resolved.where(f"NOT vigie_doubt OR ({fault}) IS NULL")


# --- writing -----------------------------------------------------------------------------------


def _write(session: Any, parts: Sequence[_Part], table: Table, url: str) -> None:
    """Write the rows of all files one after the other, numbered, and count them again."""
    wide = set().union(*(part.wide for part in parts))
    frames, before = [], 0
    for part in parts:
        frames += _numbered(session, part, table, before)
        before += part.result.rows
    columns = [
        f"CAST({sql.name_of(name)} AS INT) AS {sql.name_of(name)}"
        if column.type == "integer" and name not in wide
        else sql.name_of(name)
        for name, column in table.columns.items()
    ]
    # Files differ in what was odd in them, and so in their other columns.
    chosen = [frame.selectExpr(*columns, _ORDER) for frame in frames]
    together = functools.reduce(lambda one, other: one.unionAll(other), chosen)
    together.write.option("maxRecordsPerFile", ROWS_PER_FILE).mode("overwrite").parquet(url)
    written = int(session.read.parquet(url).count())
    if written != before:
        raise DataError(
            _("{written} rows were written of {rows} that were read.").format(
                written=written, rows=before
            ),
            where=url,
            fix=_("The raw file changed meanwhile, or its storage lost some: run it again."),
        )


def _numbered(session: Any, part: _Part, table: Table, before: int) -> list[Any]:
    """Return the kept rows with their place among all that are kept.

    In a block of which every line was kept it follows from the line; in the others it is counted.
    """
    rows = _kept(session, part, table)
    first = int(table.csv.header)
    kept = _kept_before(session, part, table, rows)
    if not part.blocks:
        return [rows.selectExpr("*", f"CAST(0 AS BIGINT) AS {_ORDER}")]
    starts = " ".join(
        f"WHEN {block.start}L THEN "
        f"{before + kept[block.start] - block.place - (0 if block.start else first)}L"
        for block in part.blocks
    )
    base = f"CASE {sql.BLOCK} {starts} END"
    if not part.dirty:
        return [rows.selectExpr("*", f"{sql.PLACE} + {base} AS {_ORDER}")]
    dirty = ", ".join(f"{start}L" for start in sorted(part.dirty))
    counted = " ".join(
        f"WHEN {start}L THEN {before + kept[start] - 1}L" for start in sorted(part.dirty)
    )
    return [
        rows.where(f"{sql.BLOCK} NOT IN ({dirty})").selectExpr(
            "*", f"{sql.PLACE} + {base} AS {_ORDER}"
        ),
        rows.where(f"{sql.BLOCK} IN ({dirty})").selectExpr(
            "*",
            f"row_number() OVER (PARTITION BY {sql.BLOCK} ORDER BY {sql.PLACE}) + "
            f"CASE {sql.BLOCK} {counted} END AS {_ORDER}",
        ),
    ]


def _kept_before(session: Any, part: _Part, table: Table, rows: Any) -> dict[int, int]:
    """Return how many rows are kept of the blocks before each block."""
    counts = {block.start: block.lines for block in part.blocks}
    if 0 in counts:
        counts[0] -= int(table.csv.header)
    if part.dirty:
        dirty = ", ".join(f"{start}L" for start in sorted(part.dirty))
        found = rows.where(f"{sql.BLOCK} IN ({dirty})").groupBy(sql.BLOCK).count().collect()
        counts |= dict.fromkeys(part.dirty, 0) | {row[0]: row[1] for row in found}
    before = itertools.accumulate(counts.values(), initial=0)
    return dict(zip(counts, before, strict=False))
