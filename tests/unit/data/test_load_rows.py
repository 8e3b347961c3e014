"""Rows on their way into PostgreSQL: small pieces, none lost, in order."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from vigie.data.load_plan import plan_predictions
from vigie.data.load_rows import SENT_BYTES, Source, arrow_columns, copy_bytes, table_source
from vigie.data.load_session import _copy
from vigie.data.load_transaction import Transaction, Watch


def source_of(table: pa.Table) -> Source:
    return table_source(plan_predictions(arrow_columns(table.schema), ("n",), {}), table)


@pytest.mark.parametrize("text", ["", "a", "a long text " * 40, "one of 100 kB " * 7_000])
def test_pieces_are_small_and_nothing_is_lost(text: str) -> None:
    count = 140_000 if len(text) < 1000 else 30
    table = pa.table({"n": pa.array(range(count), pa.int32()), "text": [text] * count})
    source = source_of(table)
    pieces = list(copy_bytes(source.plan, source.open_chunks()))
    assert sum(rows for _piece, rows in pieces) == count
    # COPY's form: 11 bytes and two numbers, rows of fields with their lengths, -1.
    row = 2 + 4 + 4 + 4 + len(text)
    sent = b"".join(piece for piece, _rows in pieces)
    assert len(sent) == 19 + count * row + 2
    assert [int.from_bytes(sent[at + 6 : at + 10]) for at in range(19, len(sent) - 2, row)] == [
        *range(count)
    ]
    # A single row may be larger than what is sent at a time; lengths take room too.
    assert all(rows <= 1 or len(piece) <= 3 * SENT_BYTES for piece, rows in pieces)


def test_a_fault_while_reading_comes_as_it_is() -> None:
    class Connection:
        def cursor(self) -> Any:
            return nullcontext(self)

        def copy(self, _statement: str) -> Any:
            return nullcontext(SimpleNamespace(write=len))

    def broken() -> Any:
        raise OSError("the file is gone")
        yield

    plan = source_of(pa.table({"n": pa.array([1], pa.int32())})).plan
    transaction = Transaction(Connection(), "s", "r", Watch())
    with pytest.raises(OSError, match="gone"):
        _copy(transaction, "t", Source(plan, 1, broken), 1.0)
