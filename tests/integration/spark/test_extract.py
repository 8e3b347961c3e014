"""Raw files with everything that rows may have wrong: both engines do the same with each."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import duckdb
import pytest

from vigie.data import spark_extract
from vigie.data.extract import extract_tables
from vigie.data.raw_files import find_raw_files
from vigie.data.spark_extract import extract_on_spark
from vigie.data.spark_raw import spark_files
from vigie.dataset.spec import Cohort, Column, Dataset, Dialect, Outcome, Table
from vigie.engine import scan_parquet
from vigie.errors import DataError, TooManyRejected

COLUMNS = {
    "id": Column(type="integer", required=True),
    "amount": Column(type="number", minimum=0, maximum=1000),
    "day": Column(type="day"),
    "seen": Column(type="date"),
    "at": Column(type="timestamp"),
    "good": Column(type="boolean"),
    "note": Column(type="text"),
}
HEADER = "id,amount,day,seen,at,good,note\n"
GOOD = "1,1.5,3,2024-01-31,2024-01-31 10:11:12,true,plain\n"


def dataset(**more: Any) -> Dataset:
    table = Table(file="rows*", columns=COLUMNS, **more)
    return Dataset(
        name="rows",
        tables={"rows": table},
        cohort=Cohort(
            table="rows",
            key=("id",),
            label=Outcome(positive="good", known="good IS NOT NULL"),
            singular={"en": "row", "fr": "ligne"},
            plural={"en": "rows", "fr": "lignes"},
        ),
    )


def both(session: Any, tmp_path: Path, declared: Dataset, limit: float = 1.0) -> list[Any]:
    """Return what each engine makes of the raw files: the summary, the rows, those set aside."""
    raw = tmp_path / "raw"
    files = find_raw_files(raw, declared)
    found = []
    for name in ("duckdb", "spark"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "duckdb":
            summary = extract_tables(
                files,
                declared,
                folder,
                project=tmp_path,
                max_rejected=limit,
                threads=1,
                memory_limit="1GB",
            )
        else:
            summary = extract_on_spark(
                session,
                spark_files(files, tmp_path),
                declared,
                folder,
                folder.as_uri(),
                max_rejected=limit,
            )
        path = folder / "rows.parquet"
        with duckdb.connect() as connection:
            order = " ORDER BY vigie_order" if path.is_dir() else ""
            rows = connection.execute(f"SELECT * FROM {scan_parquet(path)}{order}")
            table = rows.to_arrow_table()
        if path.is_dir():
            places = table.column("vigie_order").to_pylist()
            assert places == list(range(len(places)))
            table = table.drop(["vigie_order"])
        rejected = folder / "rejected" / "rows.csv"
        text = rejected.read_text("utf-8") if rejected.exists() else ""
        found.append((summary["rows"], table.schema, table.to_pylist(), text))
    return found


def write(tmp_path: Path, text: str, name: str = "rows.csv") -> None:
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    content = text.encode()
    (raw / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def same(found: list[Any]) -> Any:
    ours, theirs = found
    for mine, other in zip(ours, theirs, strict=True):
        assert str(other) == str(mine)
    return theirs


def test_rows_that_fit_in_all_types(spark: Any, tmp_path: Path) -> None:
    odd = [
        "2,.5,+4,2024-1-1,2024-01-31T10:11,t,?\n",
        "3.0,1e2,5.,2024/02/29,2024-01-31,0,\n",
        ' 7,1_0.25,007,,,,"quoted, with ""marks"""\n',
        "4,,?,2024-12-31 10:00,2024-01-01 24:00:00,FALSE,été\n",
        "5,1e-400,-3,2024-01-01,2024-01-01 10:00:00.1234567,yes, spaces \n",
    ]
    write(tmp_path, "\ufeff" + HEADER + GOOD + "".join(odd))
    summary, _schema, rows, rejected = same(both(spark, tmp_path, dataset()))
    assert (summary.rows, rejected) == (6, "")
    assert rows[3]["note"] == 'quoted, with "marks"'


@pytest.mark.parametrize(
    ("bad", "first"),
    [
        # What is no number is found while reading; the others take a closer look at every row.
        (["x,1,1,,,,a\n", "9,n/a,1,,,,b\n", "9,1,zwei,,,,c\n"], "id: not a number"),
        (["1.5,1,1,,,,a\n", "x,1,1,,,,?\n"], "id: not a whole number"),
        ([",1,1,,,,a\n", "9,-1,1,,,,b\n", "9,1000.5,1,,,,c\n"], "id: is missing"),
        (["9,1,1,2024-02-30,,,a\n", "9,1,1,,soon,,b\n", "9,1,1,,,maybe,c\n"], "seen: not a date"),
        (["9,1,3000000000,,,,a\n", "3000000000,1,1,,,,b\n"], "day: not a day number"),
        (["9,1\n", "9,1,1,,,,a,b\n", "9,inf,1,,,,c\n"], "too few columns"),
    ],
    ids=["numbers", "fractions", "bounds", "dates", "large", "columns"],
)
def test_rows_that_do_not_fit_have_the_same_line_reason_and_text(
    spark: Any, tmp_path: Path, bad: list[str], first: str
) -> None:
    write(tmp_path, HEADER + GOOD + bad[0] + GOOD + "".join(bad[1:]) + GOOD, "rows.csv.gz")
    _summary, _schema, rows, rejected = same(both(spark, tmp_path, dataset()))
    assert len(rows) >= 3
    assert f"raw/rows.csv.gz,3,{first}" in rejected


def test_several_files_another_dialect_and_formats(spark: Any, tmp_path: Path) -> None:
    columns = {
        "id": Column(type="integer", source=2),
        "amount": Column(type="number"),
        "seen": Column(type="date", format="%d.%m.%Y"),
        "at": Column(type="timestamp", format="%d.%m.%Y %H:%M"),
    }
    declared = dataset(csv=Dialect(delimiter=";", decimal=",", thousands="."), missing=("", "-"))
    table = declared.tables["rows"].model_copy(update={"columns": columns})
    declared = declared.model_copy(update={"tables": {"rows": table}})
    head = "amount;number;seen;at;more\n"
    write(
        tmp_path, head + "1.234,5;1;31.01.2024;31.01.2024 10:11;x\n-;2;1.2.2024;-;y\n", "rows1.csv"
    )
    write(tmp_path, head + "0,25;3000000000;-;-;\nx;4;31.02.2024;-;\n", "rows2.csv")
    summary, schema, rows, rejected = same(both(spark, tmp_path, declared))
    assert (summary.rows, summary.rejected, summary.extra_columns) == (3, 1, ("more",))
    assert rows[1]["seen"].isoformat() == "2024-02-01"
    assert str(schema.field("id").type) == "int64"
    assert "raw/rows2.csv,3,amount: not a number" in rejected


def test_blocks_of_a_large_file_are_numbered_one_after_the_other(
    spark: Any, tmp_path: Path
) -> None:
    lines = [f"{number},1,1,,,,{number:050}\n" for number in range(2000)]
    lines[700] = "x,1,1,,,,\n"
    lines[1500] = "1\n"
    write(tmp_path, HEADER + "".join(lines))
    spark.conf.set("spark.sql.files.maxPartitionBytes", "20000")
    try:
        summary, _schema, rows, _rejected = same(both(spark, tmp_path, dataset()))
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert (summary.rows, summary.rejected) == (1998, 2)
    assert [row["id"] for row in rows[698:702]] == [698, 699, 701, 702]


def test_quotation_marks_that_need_a_close_look_beside_those_that_do_not(
    spark: Any, tmp_path: Path
) -> None:
    notes = ['"plain"', '""', '"a, b"', '"says ""no"""', '""""', "bare", "", '"é, ""\'"", |"']
    rows = [
        f'"{number}","1.5",3,"2024-01-31",,"true",{note}\n' for number, note in enumerate(notes)
    ]
    write(tmp_path, HEADER + "".join(rows) + '8,1,1,,,,"a",b\n')
    summary, _schema, found, rejected = same(both(spark, tmp_path, dataset()))
    assert (summary.rows, summary.rejected) == (8, 1)
    assert [row["note"] for row in found[2:5]] == ["a, b", 'says "no"', '"']
    assert "too many columns" in rejected


def test_a_compressed_file_becomes_several(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_extract, "ROWS_PER_FILE", 20)
    write(tmp_path, HEADER + "".join(f"{one},1,1,,,,a\n" for one in range(50)), "rows.csv.gz")
    summary, _schema, rows, _rejected = same(both(spark, tmp_path, dataset()))
    assert summary.rows == len(rows) == 50
    assert len(list((tmp_path / "spark" / "rows.parquet").glob("*.parquet"))) == 3


def test_too_many_rejected_stop_it_and_are_all_listed(spark: Any, tmp_path: Path) -> None:
    write(tmp_path, HEADER + GOOD + "x,1,1,,,,a\n")
    with pytest.raises(TooManyRejected, match="1 of 2 rows"):
        extract_on_spark(
            spark,
            spark_files(find_raw_files(tmp_path / "raw", dataset()), tmp_path),
            dataset(),
            tmp_path,
            tmp_path.as_uri(),
            max_rejected=0.1,
        )
    assert "raw/rows.csv,3,id: not a number" in (tmp_path / "rejected" / "rows.csv").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEADER + GOOD + '2,1,1,,,,"two\nlines"\n', "line 3"),
        (HEADER.encode() + b"2,1,1,,,,\xe9t\xe9\n", "UTF-8"),
    ],
    ids=["line end in quotes", "cp1252"],
)
def test_what_only_duckdb_reads_is_refused(
    spark: Any, tmp_path: Path, content: str | bytes, said: str
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "rows.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    files = spark_files(find_raw_files(raw, dataset()), tmp_path)
    with pytest.raises(DataError) as caught:
        extract_on_spark(spark, files, dataset(), tmp_path, tmp_path.as_uri(), max_rejected=1.0)
    assert said in str(caught.value)
    assert 'name = "duckdb"' in str(caught.value.fix)
