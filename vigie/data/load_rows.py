"""Rows on their way into PostgreSQL: read batch by batch, in the types that COPY needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.data.load_plan import TablePlan

BATCH_ROWS = 65_536
# What is sent at a time. The driver turns a batch into COPY's form, then writes it to the socket;
# what fits into the socket's buffer is sent at once, and the server reads it while the next batch
# is made. With larger ones they wait for each other: 10.66 M rows took 16 s instead of 10.
SENT_BYTES = 40_000


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one table: how many, and how to read them as Arrow record batches."""

    plan: TablePlan
    row_count: int
    open_batches: Callable[[], Iterator[Any]]


class RowStream:
    """The batches of a source as a driver reads them, once.

    The driver turns whatever goes wrong while it reads into a text; ``fault`` keeps the exception.

    Parameters
    ----------
    source
        The rows.
    sent
        Told the number of rows of each batch that the driver is done with.
    """

    def __init__(self, source: Source, sent: Callable[[int], None]) -> None:
        self._source = source
        self._sent = sent
        self.fault: BaseException | None = None

    def reader(self) -> Any:
        """Return a ``pyarrow.RecordBatchReader``."""
        schema = arrow_schema(self._source.plan)
        return _arrow().RecordBatchReader.from_batches(schema, self._batches())

    def _batches(self) -> Iterator[Any]:
        try:
            for batch in self._source.open_batches():
                rows = max(1, SENT_BYTES * batch.num_rows // max(1, batch.nbytes))
                for begin in range(0, batch.num_rows, rows):
                    yield batch.slice(begin, rows)
                self._sent(batch.num_rows)
        except BaseException as error:
            self.fault = error
            raise


def arrow_columns(schema: Any) -> dict[str, str]:
    """Return the columns of a ``pyarrow.Schema`` and the names of their types."""
    return {one.name: str(one.type) for one in schema}


def parquet_columns(path: Path) -> dict[str, str]:
    """Return the columns of a table's Parquet and the names of their Arrow types."""
    return arrow_columns(_parquet().read_schema(_parts(path)[0]))


def parquet_source(plan: TablePlan, path: Path) -> Source:
    """Return a source that holds a few batches of the file in memory at a time."""

    def batches() -> Iterator[Any]:
        names = [column.source for column in plan.columns]
        for part in _parts(path):
            with _parquet().ParquetFile(part, pre_buffer=False) as file:
                yield from _fitted(file.iter_batches(BATCH_ROWS, columns=names), plan)

    rows = sum(_parquet().read_metadata(part).num_rows for part in _parts(path))
    return Source(plan, rows, batches)


def _parts(path: Path) -> list[Path]:
    """Return the Parquet files of a table: one, or those of the folder that Spark wrote."""
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def table_source(plan: TablePlan, table: Any) -> Source:
    """Return a source over a ``pyarrow.Table``."""
    return Source(plan, table.num_rows, lambda: _fitted(table.to_batches(BATCH_ROWS), plan))


def arrow_schema(plan: TablePlan) -> Any:
    """Return the Arrow types that COPY's binary form needs for the plan's columns."""
    arrow = _arrow()
    types = {
        "text": arrow.string(),
        "boolean": arrow.bool_(),
        "smallint": arrow.int16(),
        "integer": arrow.int32(),
        "bigint": arrow.int64(),
        "double precision": arrow.float64(),
        "date": arrow.date32(),
        "timestamp without time zone": arrow.timestamp("us"),
        "timestamp with time zone": arrow.timestamp("us", "UTC"),
    }
    return arrow.schema([(column.name, types[column.type]) for column in plan.columns])


def _fitted(batches: Iterable[Any], plan: TablePlan) -> Iterator[Any]:
    """Bring batches to the order, the names and the types of the plan's columns."""
    names = [column.source for column in plan.columns]
    wanted = arrow_schema(plan)
    make = _arrow().RecordBatch.from_arrays
    for batch in batches:
        columns = [
            batch.column(name).cast(one.type) for name, one in zip(names, wanted, strict=True)
        ]
        yield make(columns, schema=wanted)


def _arrow() -> Any:
    import pyarrow as pa

    return pa


def _parquet() -> Any:
    import pyarrow.parquet as pq

    return pq
