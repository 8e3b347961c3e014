"""The engine that runs table expressions: Ibis on DuckDB, or on Spark.

Every call that depends on the engine is here, in ``data/`` and in ``features/build.py``, so that
it can be replaced (see docs/decisions).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.errors import DeclarationError
from vigie.i18n import _

if TYPE_CHECKING:
    import duckdb
    import ibis
    import pyarrow as pa


@contextmanager
def open_duckdb(
    *, threads: int | None = None, memory_limit: str | None = None, spill: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory DuckDB; what doesn't fit is spilled to `spill`.

    Parameters
    ----------
    threads
        Worker threads; None takes all cores.
    memory_limit
        DuckDB's form, ``"1GB"``; None leaves DuckDB's default (80 % of the memory).
    spill
        Folder for what exceeds the limit; made when needed.
    """
    import duckdb

    options: dict[str, Any] = {
        # Nothing may be fetched at run time: what needs an extension must fail here, at once.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if threads is not None:
        options["threads"] = threads
    if memory_limit is not None:
        options["memory_limit"] = memory_limit
    if spill is not None:
        options["temp_directory"] = str(spill)
    connection = duckdb.connect(config=options)
    connection.execute("SET enable_progress_bar = false")
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def open_engine(
    *, threads: int | None = None, memory_limit: str | None = None, spill: Path | None = None
) -> Iterator[Any]:
    """Yield an Ibis backend on such a DuckDB; Ibis takes half a second to import."""
    import ibis

    with open_duckdb(threads=threads, memory_limit=memory_limit, spill=spill) as connection:
        yield ibis.duckdb.from_connection(connection)


@contextmanager
def spark_engine(session: Any) -> Iterator[Any]:
    """Yield an Ibis backend on a Spark session; what it kept is let go at the end of the block."""
    import ibis

    from vigie.spark.frames import drop_views

    try:
        yield ibis.pyspark.connect(session)
    finally:
        drop_views(session)


def is_spark(backend: Any) -> bool:
    """Whether an Ibis backend is Spark."""
    return bool(backend.name == "pyspark")


def read_parquet(backend: Any, path: Path, name: str) -> ibis.Table:
    """Return a Parquet file, or the files of a folder, as a table called `name`."""
    return backend.read_parquet(parquet_files(path), table_name=name)


def parquet_files(path: Path) -> str:
    """Return what DuckDB reads: the file, or all parts where Spark wrote a folder of them."""
    return f"{path}/*.parquet" if path.is_dir() else str(path)


def with_expressions(table: ibis.Table, columns: dict[str, str]) -> ibis.Table:
    """Return `table` with one more column for each SQL expression in DuckDB's dialect.

    The expressions see the columns of `table`.

    Raises
    ------
    DeclarationError
        When a column is called so already, be it in other letters: engines ignore that.
    """
    import ibis

    if not columns:
        return table
    there = {name.casefold() for name in table.columns}
    if taken := sorted(name for name in columns if name.casefold() in there):
        raise DeclarationError(
            _("There is a column or a feature called {names} already.").format(
                names=", ".join(taken)
            ),
            where="features",
            fix=_("Give it another name."),
        )
    backend = ibis.get_backend(table)
    view = ibis.util.gen_name("vigie_view")
    added = ", ".join(f"({sql}) AS {quote_name(name)}" for name, sql in columns.items())
    _make_view(backend, view, backend.compile(table))
    return query(backend, f"SELECT *, {added} FROM {quote_name(view)}")


def materialized(table: ibis.Table, *, small: bool = False) -> ibis.Table:
    """Return `table` as computed once and kept for the life of the engine.

    Parameters
    ----------
    small
        Whether it has one row for each scored thing. Spark computes such a one at once and knows
        it by its rows: else whatever uses it would carry, and be compared with, the plans of all
        that it was made from.

    Notes
    -----
    Ibis's own ``cache()`` drops its table when Python collects it, which may be after the engine
    was closed.
    """
    import ibis

    backend = ibis.get_backend(table)
    name = ibis.util.gen_name("vigie_kept")
    if not is_spark(backend):
        return backend.create_table(name, table, temp=True)
    rows = backend.raw_sql(backend.compile(table))
    if small:
        rows = rows.localCheckpoint(eager=True)
    rows.createOrReplaceTempView(name)
    if not small:
        backend.raw_sql(f"CACHE LAZY TABLE `{name}`")
    return backend.table(name)


def query(backend: Any, sql: str) -> ibis.Table:
    """Return a query in DuckDB's dialect as a table."""
    import ibis

    # As a view: Ibis parses what it is given as SQL, each time that it is made part of another
    # query; and for Spark it would not translate all that the two engines mean differently.
    name = ibis.util.gen_name("vigie_query")
    if is_spark(backend):
        from vigie.spark.sql import to_spark

        sql = to_spark(sql)
    _make_view(backend, name, sql)
    return backend.table(name)


def _make_view(backend: Any, name: str, sql: str) -> None:
    """Call a query in the engine's own dialect by a name."""
    if is_spark(backend):
        backend.raw_sql(sql).createOrReplaceTempView(name)
    else:
        backend.raw_sql(f"CREATE TEMP VIEW {quote_name(name)} AS {sql}")


def to_arrow(table: ibis.Table) -> pa.Table:
    """Return the rows of a table; on Spark they come to the driver."""
    import ibis

    backend = ibis.get_backend(table)
    rows = backend.raw_sql(backend.compile(table))
    # Ibis would import pandas for DuckDB's, and go through it for Spark's, where a missing number
    # is NaN.
    return rows.toArrow() if is_spark(backend) else rows.to_arrow_table()


def quote_name(name: str) -> str:
    """Return `name` as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(value: str) -> str:
    """Return `value` as a SQL string."""
    return "'" + value.replace("'", "''") + "'"


def scan_parquet(path: Path) -> str:
    """Return the SQL table function that reads `path`, a file or a folder of parts."""
    return f"read_parquet({quote_text(parquet_files(path))})"


def scan_numbered(path: Path) -> str:
    """Return the same with the column ``file_row_number`` (0 is the first row)."""
    return f"read_parquet({quote_text(str(path))}, file_row_number = true)"


def to_parquet(path: Path) -> str:
    """Return the target of a ``COPY ... TO`` that writes `path`.

    Not by Parquet 2's encodings, though they take half of the space: whole numbers further apart
    than 32 bits can say are written by DuckDB 1.5 so that pyarrow cannot read them.
    """
    return f"{quote_text(str(path))} (FORMAT parquet)"


def count_rows(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    """Return the number of rows of `source` (a table, a function or a table with a condition)."""
    row = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    assert row is not None
    return int(row[0])
