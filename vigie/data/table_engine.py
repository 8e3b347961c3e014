"""The engines that the statements of transform run on; the statements are DuckDB's dialect.

Both know tables by the same names. DuckDB runs the text as it is; for Spark it is translated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vigie.engine import (
    count_rows,
    open_duckdb,
    quote_name,
    scan_numbered,
    scan_parquet,
    to_parquet,
)
from vigie.errors import DataError
from vigie.i18n import _
from vigie.spark.files import parquet_url
from vigie.spark.frames import drop_views, keep, read_view
from vigie.spark.session import first_line
from vigie.spark.sql import to_spark

if TYPE_CHECKING:
    import duckdb

ORDER = "vigie_order"


class ExpressionFault(Exception):
    """An engine can't understand an expression (internal signal; the text says why)."""


class TableEngine(Protocol):
    """What transform asks of an engine; SQL is in DuckDB's dialect throughout."""

    @property
    def place(self) -> str:
        """SQL for a row's place in its file, within what ``scan`` returns."""
        ...

    @property
    def has_asof(self) -> bool:
        """Whether it knows ``ASOF JOIN``."""
        ...

    @property
    def counts_at_once(self) -> bool:
        """Whether the rows of a whole table are counted without reading them."""
        ...

    def scan(self, name: str) -> str:
        """Return what to write after FROM for a table as it was extracted."""
        ...

    def make_view(self, name: str, sql: str) -> None:
        """Call a query by a name (quoted already)."""
        ...

    def make_table(self, name: str, sql: str) -> None:
        """Compute a query once, and call the result by a name.

        Raises
        ------
        ExpressionFault
            When the query can't be understood.
        """
        ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query that has few."""
        ...

    def count(self, source: str) -> int:
        """Return the number of rows of a table, or of a table with a condition."""
        ...

    def write(self, name: str, sql: str) -> int:
        """Write a query's rows as the clean table `name`; return how many there are."""
        ...


@dataclass(frozen=True, slots=True)
class DuckDbTables:
    """DuckDB, from one folder of Parquet files to another."""

    connection: duckdb.DuckDBPyConnection
    source: Path
    target: Path
    place: str = "file_row_number"
    has_asof: bool = True
    counts_at_once: bool = True

    def scan(self, name: str) -> str:
        """See ``TableEngine``."""
        path = self.source / f"{name}.parquet"
        if path.is_dir() or (self.source / "location.json").exists():
            raise made_by_other_engine(self.source)
        return scan_numbered(path)

    def make_view(self, name: str, sql: str) -> None:
        """See ``TableEngine``."""
        self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")

    def make_table(self, name: str, sql: str) -> None:
        """See ``TableEngine``."""
        import duckdb

        try:
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
        except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException) as error:
            raise ExpressionFault(str(error).split("\n")[0]) from error

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """See ``TableEngine``."""
        return self.connection.execute(sql).fetchall()

    def count(self, source: str) -> int:
        """See ``TableEngine``."""
        return count_rows(self.connection, source)

    def write(self, name: str, sql: str) -> int:
        """See ``TableEngine``."""
        path = self.target / f"{name}.parquet"
        self.connection.execute(f"COPY ({sql}) TO {to_parquet(path)}")
        return count_rows(self.connection, scan_parquet(path))


@contextmanager
def open_duckdb_tables(
    source: Path, target: Path, *, threads: int | None, memory_limit: str | None
) -> Iterator[TableEngine]:
    """Yield DuckDB over two folders; what doesn't fit into memory is spilled into the second."""
    spill = target / ".scratch"
    with open_duckdb(threads=threads, memory_limit=memory_limit, spill=spill) as connection:
        yield DuckDbTables(connection, source, target)
    if spill.exists():
        spill.rmdir()


@dataclass(frozen=True, slots=True)
class SparkTables:
    """Spark, from one folder of partitioned Parquet to another; both are addresses."""

    session: Any
    source: str
    target: str
    place: str = ORDER
    has_asof: bool = False
    counts_at_once: bool = False

    def scan(self, name: str) -> str:
        """See ``TableEngine``."""
        view = f"raw_{name}"
        frame = read_view(self.session, parquet_url(self.source, name), view)
        if ORDER not in frame.columns:
            raise made_by_other_engine(self.source)
        return quote_name(view)

    def make_view(self, name: str, sql: str) -> None:
        """See ``TableEngine``."""
        self._query(sql).createOrReplaceTempView(name.strip('"'))

    def make_table(self, name: str, sql: str) -> None:
        """See ``TableEngine``."""
        keep(self.session, self._query(sql), name.strip('"'))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """See ``TableEngine``."""
        return [tuple(row) for row in self._query(sql).collect()]

    def count(self, source: str) -> int:
        """See ``TableEngine``."""
        return int(self.rows(f"SELECT count(*) AS n FROM {source}")[0][0])

    def write(self, name: str, sql: str) -> int:
        """See ``TableEngine``."""
        url = parquet_url(self.target, name)
        self._query(sql).write.mode("overwrite").parquet(url)
        return int(self.session.read.parquet(url).count())

    def _query(self, sql: str) -> Any:
        from pyspark.errors import AnalysisException, ParseException
        from sqlglot.errors import SqlglotError

        try:
            frame = self.session.sql(to_spark(sql))
            # A Connect server analyses a query when its columns are first asked for.
            frame.columns  # noqa: B018
        except (AnalysisException, ParseException, SqlglotError) as error:
            raise ExpressionFault(first_line(error)) from error
        return frame


@contextmanager
def open_spark_tables(session: Any, source: str, target: str) -> Iterator[TableEngine]:
    """Yield Spark over two folders; what was kept on the cluster is let go at the end."""
    try:
        yield SparkTables(session, source, target)
    finally:
        drop_views(session)


def made_by_other_engine(folder: Path | str) -> DataError:
    """Return what to raise where the extracted tables are of the other engine's form."""
    return DataError(
        _("The extracted tables were written by another engine, and rows have no places there."),
        where=str(folder),
        fix=_("Extract them again: add extract to --steps."),
    )
