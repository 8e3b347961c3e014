"""Rows on their way into PostgreSQL: small batches, none lost, in order."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pyarrow as pa
import pytest

from vigie.data.load_plan import plan_predictions
from vigie.data.load_rows import SENT_BYTES, Source, arrow_columns, small_batches, table_source
from vigie.data.load_session import _copy
from vigie.data.load_transaction import Transaction, Watch


def source_of(table: pa.Table) -> Source:
    return table_source(plan_predictions(arrow_columns(table.schema), ("n",), {}), table)


@pytest.mark.parametrize("text", ["", "a", "a long text " * 40, "one of 100 kB " * 7_000])
def test_batches_are_small_and_nothing_is_lost(text: str) -> None:
    count = 140_000 if len(text) < 1000 else 30
    table = pa.table({"n": pa.array(range(count), pa.int32()), "text": [text] * count})
    batches = [batch for chunk in source_of(table).open_chunks() for batch in small_batches(chunk)]
    assert [n for batch in batches for n in batch["n"].to_pylist()] == list(range(count))
    # A single row may be larger than what is sent at a time.
    assert all(batch.num_rows == 1 or batch.nbytes <= 2 * SENT_BYTES for batch in batches)


def test_a_fault_while_reading_comes_as_it_is() -> None:
    class Connection:
        def cursor(self) -> Any:
            return nullcontext()

    def broken() -> Any:
        raise OSError("the file is gone")
        yield

    plan = source_of(pa.table({"n": pa.array([1], pa.int32())})).plan
    transaction = Transaction(Connection(), "s", "r", Watch())
    with pytest.raises(OSError, match="gone"):
        _copy(transaction, "t", Source(plan, 1, broken), 1.0)
