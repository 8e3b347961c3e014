"""Spoilt files: no traceback, no hang, and every row is read or set aside.

Each input is a short piece of a real table (of the generator's where the real OULAD isn't there)
with a few things done to it. `make fuzz` reads ten times as many.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import random
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import SHARED_DATA
from tests.fuzz.mutations import spoilt
from vigie.data.csv_file import open_bytes
from vigie.data.raw_files import RawFile
from vigie.data.read_csv import read_csv_to_parquet
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.sample import generate_sample
from vigie.dataset.spec import Column, Dataset, Dialect, Table
from vigie.errors import DataError

INPUTS = int(os.environ.get("VIGIE_FUZZ_INPUTS", "10000"))
PARTS = 8
LINES = 30
SLOW_SECONDS = 5.0


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the beginning of each table, real where it is there."""
    folder = SHARED_DATA / "oulad-mini"
    if not folder.is_dir():
        folder = tmp_path_factory.mktemp("generated")
        generate_sample(folder, enrolments=200)
    found = {}
    for path in sorted(folder.glob("*.csv*")):
        with open_bytes(path) as file:
            found[path.name.partition(".")[0]] = b"".join(file.readlines()[:LINES])
    return found


def dataset() -> Dataset:
    return parse_dataset(*read_declaration("oulad", Path()))


@pytest.mark.parametrize("part", range(PARTS))
def test_spoilt_files(part: int, pieces: dict[str, bytes], tmp_path: Path) -> None:
    rng = random.Random(1000 + part)
    tables = {table.file: table for table in dataset().tables.values() if table.file in pieces}
    assert tables
    names = sorted(tables)
    counts = {"read": 0, "refused": 0}
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for number in range(INPUTS // PARTS):
            name = names[number % len(names)]
            content = spoilt(pieces[name], rng)
            path = tmp_path / f"{name}.csv"
            path.write_bytes(content)
            started = time.perf_counter()
            try:
                outcome = read(connection, path, tables[name], tmp_path)
            except DataError:
                counts["refused"] += 1
            else:
                counts["read"] += 1
                check(outcome, content, tables[name])
            assert time.perf_counter() - started < SLOW_SECONDS, content
    # Most are read; a fuzz that only ever meets a locked door proves nothing.
    assert counts["read"] > counts["refused"]


def read(
    connection: duckdb.DuckDBPyConnection, path: Path, table: Table, folder: Path
) -> tuple[int, list[tuple[int, str]]]:
    """Return how many rows came out, and line and reason of those set aside."""
    # A name of its own each time: the engine keeps what it read of a file by its name.
    target = folder / f"out-{time.monotonic_ns()}.parquet"
    done = read_csv_to_parquet(
        connection, RawFile("t", path), table, target, scratch=folder, where=path.name
    )
    rows = pq.read_metadata(target).num_rows
    assert rows == done.rows
    target.unlink()
    return rows, [(one.line, one.reason) for one in done.rejected]


def check(outcome: tuple[int, list[tuple[int, str]]], content: bytes, table: Table) -> None:
    rows, rejected = outcome
    expected = records(content, table)
    assert rows + len(rejected) in expected, (rows, rejected, expected, content)


def records(content: bytes, table: Table) -> set[int]:
    """Return how many records stand below the header, as Python's csv module reads it.

    Two counts where blank lines may or may not be one.
    """
    text = decoded(content)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=False)
    found = list(reader)
    filled = sum(1 for row in found if row)
    return {filled - 1, len(found) - 1}


def decoded(content: bytes) -> str:
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def delimiter_of(text: str) -> str:
    first = text.replace("\r", "\n").lstrip("\n").partition("\n")[0]
    return max(",;\t|", key=first.count)


# --- well-formed files ------------------------------------------------------------------------

TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('",;\n\t|'), max_size=12
)
MISSING = ("", "?")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.tuples(TEXT, st.integers(-(2**31) + 1, 2**31 - 1), TEXT), min_size=1),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    last_end=st.booleans(),
)
# Further apart than 32 bits can say: by Parquet 2's encodings nobody but DuckDB could read them.
@example(
    rows=[("a", 135_926, "b"), ("c", -2_147_347_723, "d")],
    delimiter=",",
    quoting=csv.QUOTE_MINIMAL,
    end="\n",
    last_end=True,
)
def test_what_is_well_formed_comes_back_as_it_was(
    rows: list[tuple[str, int, str]], delimiter: str, quoting: int, end: str, last_end: bool
) -> None:
    table = Table(
        file="t",
        columns={
            "a": Column(type="text"), "n": Column(type="integer"), "b": Column(type="text")
        },
        csv=Dialect(delimiter=delimiter),
    )  # fmt: skip
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([("a", "n", "b"), *rows])
    text = written.getvalue() if last_end else written.getvalue().removesuffix(end)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.encode())
        done = read_csv_to_parquet(
            connection,
            RawFile("t", path),
            table,
            Path(folder) / "t.parquet",
            scratch=Path(folder),
            where="t.csv",
        )
        found = pq.read_table(Path(folder) / "t.parquet").to_pylist()
    assert not done.rejected

    def known(text: str) -> str | None:
        # Line ends inside of a field may come back as LF.
        return None if text in MISSING else text.replace("\r\n", "\n")

    assert [(row["a"], row["n"], row["b"]) for row in found] == [
        (known(a), n, known(b)) for a, n, b in rows
    ]
