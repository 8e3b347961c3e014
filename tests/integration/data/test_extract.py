"""Raw CSVs of all kinds into Parquet, on the real DuckDB."""

from __future__ import annotations

import csv
import gzip
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.tiny_oulad import TinyOulad, student, visit
from vigie.data.extract import ExtractedTable, extract_tables
from vigie.data.raw_files import find_raw_files, require_all
from vigie.dataset.spec import Dataset
from vigie.errors import DataError, RawDataMissing, TooManyRejected


def extract(
    raw: Path, dataset: Dataset, out: Path, max_rejected: float = 0.5
) -> dict[str, ExtractedTable]:
    found = find_raw_files(raw, dataset)
    require_all(found, raw, dataset)
    out.mkdir()
    return extract_tables(
        found,
        dataset,
        out,
        project=raw.parent,
        max_rejected=max_rejected,
        threads=2,
        memory_limit="500MB",
    )


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param({}, id="official"),
        pytest.param({"missing": "?", "end": "\n", "quote": ""}, id="uci"),
        pytest.param({"end": "\r"}, id="old mac"),
        pytest.param({"sep": ";"}, id="semicolons"),
    ],
)
def test_every_known_layout_gives_the_same_tables(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad, layout: dict[str, str]
) -> None:
    tiny_oulad.studentInfo[0]["imd_band"] = None
    tiny_oulad.studentVle = [visit(1, -3, 4), visit(1, 7, 2, site=2)]
    extract(tiny_oulad.write(tmp_path / "official"), oulad, tmp_path / "expected")
    extract(tiny_oulad.write(tmp_path / "other", **layout), oulad, tmp_path / "out")
    for table in oulad.tables:
        expected = pq.read_table(tmp_path / "expected" / f"{table}.parquet")
        assert pq.read_table(tmp_path / "out" / f"{table}.parquet").equals(expected)
    info = pq.read_table(tmp_path / "out" / "student_info.parquet").to_pylist()
    assert [row["imd_band"] for row in info] == [None, "20-30%"]


def test_gzip_zip_and_subfolders_are_found(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "deep").mkdir()
    info = raw / "studentInfo.csv"
    (raw / "deep" / "studentInfo.csv.gz").write_bytes(gzip.compress(info.read_bytes()))
    info.unlink()
    with zipfile.ZipFile(raw / "some.zip", "w") as archive:
        archive.write(raw / "vle.csv", "folder/vle.csv")
    (raw / "vle.csv").unlink()
    tables = extract(raw, oulad, tmp_path / "out")
    assert tables["student_info"].rows == 2
    assert tables["vle"].rows == 2
    assert tables["vle"].file == "raw/some.zip!folder/vle.csv"


def test_byte_order_mark_and_cp1252(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    tiny_oulad.studentInfo[1]["region"] = "Île-de-France"
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "studentInfo.csv").write_bytes(tiny_oulad.text("studentInfo").encode("cp1252"))
    (raw / "vle.csv").write_bytes(b"\xef\xbb\xbf" + tiny_oulad.text("vle").encode())
    tables = extract(raw, oulad, tmp_path / "out")
    info = pq.read_table(tmp_path / "out" / "student_info.parquet").to_pylist()
    assert info[1]["region"] == "Île-de-France"
    assert tables["student_info"].encoding == "cp1252"
    assert tables["vle"].rows == 2


def test_mixed_line_ends_lose_nothing(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    lines = tiny_oulad.text("vle").split("\r\n")
    (raw / "vle.csv").write_bytes(f"{lines[0]}\n{lines[1]}\r\n{lines[2]}\n".encode())
    assert extract(raw, oulad, tmp_path / "out")["vle"].rows == 2


def test_misfits_are_set_aside_with_line_and_reason(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentInfo = [
        student(1),
        student("abc"),  # type: ignore[arg-type]
        student(3, num_of_prev_attempts="1.5"),
        student(4, studied_credits=-5),
        student(5, code_module=None),
        student(6, num_of_prev_attempts="2.0"),
    ]
    raw = tiny_oulad.write(tmp_path / "raw")
    lines = tiny_oulad.text("studentInfo").split("\r\n")
    lines[2:2] = ['"AAA","2013J"']
    (raw / "studentInfo.csv").write_bytes("\r\n".join(lines).encode())
    tables = extract(raw, oulad, tmp_path / "out", max_rejected=0.9)
    kept = pq.read_table(tmp_path / "out" / "student_info.parquet").to_pylist()
    assert [row["id_student"] for row in kept] == [1, 6]
    assert kept[1]["num_of_prev_attempts"] == 2
    with (tmp_path / "out" / "rejected" / "student_info.csv").open(encoding="utf-8") as opened:
        rejected = list(csv.DictReader(opened))
    assert [(row["line"], row["reason"]) for row in rejected] == [
        ("3", "too few columns"),
        ("4", "id_student: not a whole number"),
        ("5", "num_of_prev_attempts: not a whole number"),
        ("6", "studied_credits: is below 0.0"),
        ("7", "code_module: is missing"),
    ]
    assert {row["file"] for row in rejected} == {"raw/studentInfo.csv"}
    assert "abc" in rejected[1]["text"]
    # rows read + rows set aside = rows in the file
    assert tables["student_info"].rows + tables["student_info"].rejected == len(lines) - 2


def test_too_many_misfits_stop_the_run(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentVle = [visit(1, 3, 4), visit(1, "x", 4)]  # type: ignore[arg-type]
    raw = tiny_oulad.write(tmp_path / "raw")
    with pytest.raises(TooManyRejected) as caught:
        extract(raw, oulad, tmp_path / "out", max_rejected=0.01)
    assert caught.value.what == "1 of 2 rows of student_vle don't fit the declaration."
    assert "studentVle.csv, line 3: date: not a number" in (caught.value.where or "")
    assert "max_rejected" in (caught.value.fix or "")


def test_a_missing_column_is_named_with_the_nearest_one(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    vle = raw / "studentVle.csv"
    vle.write_text(vle.read_text("utf-8").replace("sum_click", "sum_clicks"), "utf-8")
    with pytest.raises(DataError) as caught:
        extract(raw, oulad, tmp_path / "out")
    assert caught.value.what == "Columns are missing: sum_click."
    assert "raw/studentVle.csv, line 1" in (caught.value.where or "")
    assert "Rename column 'sum_clicks' to 'sum_click'" in (caught.value.fix or "")


def test_a_gzip_stream_that_ends_early_is_not_taken_for_whole(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentVle = [visit(1, day % 200, day % 97 + 1) for day in range(20_000)]
    raw = tiny_oulad.write(tmp_path / "raw")
    whole = gzip.compress((raw / "studentVle.csv").read_bytes())
    (raw / "studentVle.csv").unlink()
    (raw / "studentVle.csv.gz").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(DataError, match="can't be read to its end"):
        extract(raw, oulad, tmp_path / "out")


@pytest.mark.parametrize("name", ["studentVle.csv.gz", "all.zip", "latin.csv.gz"])
def test_a_bomb_is_stopped_before_it_fills_the_disk(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad, name: str
) -> None:
    tiny_oulad.studentVle = [visit(1, 1, 1)]
    raw = tiny_oulad.write(tmp_path / "raw")
    rows = (raw / "studentVle.csv").read_bytes()
    header, row = rows.splitlines(keepends=True)[:2]
    # A byte that is no UTF-8 at the end makes it be read a second time.
    last = b'"\xe9"\r\n' if name.startswith("latin") else b""
    content = header + row * (120_000_000 // len(row)) + last
    (raw / "studentVle.csv").unlink()
    if name.endswith(".zip"):
        with zipfile.ZipFile(raw / name, "w", zipfile.ZIP_DEFLATED) as archive:
            # Names that lead outside are of no use: only the last part counts, for reading.
            archive.writestr("../../studentVle.csv", content)
    else:
        (raw / "studentVle.csv.gz").write_bytes(gzip.compress(content, 9))
    with pytest.raises(DataError, match="more than 200 times its size") as caught:
        extract(raw, oulad, tmp_path / "out")
    assert "unpack it yourself" in (caught.value.fix or "")
    left = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert left < 5_000_000


@pytest.mark.parametrize("name", ["studentInfo.csv.gz", "studentInfo.zip"])
def test_a_file_that_is_not_what_it_says(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad, name: str
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "studentInfo.csv").rename(raw / name)
    with pytest.raises(DataError) as caught:
        extract(raw, oulad, tmp_path / "out")
    assert name in (caught.value.where or "")


def test_missing_files_are_all_named(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "vle.csv").unlink()
    (raw / "studentVle.csv").rename(raw / "studentVle (1).csv")
    with pytest.raises(RawDataMissing) as caught:
        extract(raw, oulad, tmp_path / "out")
    assert caught.value.what == "Raw files are missing: vle.csv, studentVle.csv."
    assert "studentVle (1).csv" in (caught.value.where or "")


def test_two_files_for_one_table_are_refused(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "copy").mkdir()
    (raw / "copy" / "vle.csv").write_bytes((raw / "vle.csv").read_bytes())
    with pytest.raises(DataError, match="two raw files"):
        find_raw_files(raw, oulad)


@pytest.mark.real_data
def test_the_real_mini_oulad_is_read_whole(
    tmp_path: Path, oulad: Dataset, real_oulad_mini: Path
) -> None:
    tables = extract(real_oulad_mini, oulad, tmp_path / "out", max_rejected=0)
    assert tables["student_vle"].rows == 753_564
    assert tables["student_info"].rows == 2_515
    assert not any(table.rejected for table in tables.values())


# --- files that the engine alone would not read whole -----------------------------------------

HEADER = b'"id_site","code_module","code_presentation","activity_type","week_from","week_to"'


def one_site(number: int, more: bytes = b"") -> bytes:
    return b'"%d","AAA","2013J","resource","",""%s' % (number, more)


@pytest.mark.parametrize(
    ("lines", "end", "rows", "aside"),
    [
        # A line that ends otherwise than the others must not swallow the next one.
        ([one_site(1), one_site(2, b"\n" + one_site(3)), one_site(4)], b"\r\n", 4, 0),
        # A quotation mark that isn't closed takes all up to the next one along, as one row.
        ([one_site(1), one_site(2, b'"q\n' + one_site(3)), one_site(4)], b"\r\n", 2, 1),
        ([one_site(1), b'"2","AAA","2013J","x', one_site(3), one_site(4)], b"\n", 2, 1),
        ([one_site(1), b"", one_site(2), b"", b""], b"\n", 2, 0),
        ([one_site(1), one_site(2, b",x"), b'"3","AAA"', one_site(4)], b"\n", 2, 2),
        ([one_site(1), b'"2","AAA","2013J","a\nb","",""', one_site(3)], b"\n", 3, 0),
    ],
)
def test_every_row_is_read_or_set_aside(
    tmp_path: Path,
    oulad: Dataset,
    tiny_oulad: TinyOulad,
    lines: list[bytes],
    end: bytes,
    rows: int,
    aside: int,
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "vle.csv").write_bytes(end.join([HEADER, *lines, b""]))
    vle = extract(raw, oulad, tmp_path / "out", max_rejected=1.0)["vle"]
    assert (vle.rows, vle.rejected) == (rows, aside)
    if aside:
        with (tmp_path / "out" / "rejected" / "vle.csv").open(encoding="utf-8") as opened:
            assert len(list(csv.DictReader(opened))) == aside


def test_a_file_cut_off_in_the_middle_loses_its_last_line_only(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    whole = b"\n".join([HEADER, one_site(1), one_site(2), one_site(3)])
    (raw / "vle.csv").write_bytes(whole[:-12])
    vle = extract(raw, oulad, tmp_path / "out", max_rejected=1.0)["vle"]
    assert (vle.rows, vle.rejected) == (2, 1)
    rejected = (tmp_path / "out" / "rejected" / "vle.csv").read_text("utf-8")
    assert "a quotation mark that isn't closed" in rejected


# --- a table in several files ------------------------------------------------------------------


def in_parts(oulad: Dataset, **more: object) -> Dataset:
    vle = oulad.tables["vle"].model_copy(update={"file": "vle_*", **more})
    return oulad.model_copy(update={"tables": {**oulad.tables, "vle": vle}})


def test_a_table_in_several_files(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "vle.csv").unlink()
    (raw / "vle_2014.csv").write_bytes(b"\n".join([HEADER, one_site(3), b'"4"', b""]))
    (raw / "vle_2013.csv.gz").write_bytes(
        gzip.compress(b"\r\n".join([HEADER + b',"new"', one_site(1, b",x"), one_site(2, b",y")]))
    )
    vle = extract(raw, in_parts(oulad), tmp_path / "out")["vle"]
    assert (vle.rows, vle.rejected, vle.extra_columns) == (3, 1, ("new",))
    assert vle.file == "raw/vle_2013.csv.gz, raw/vle_2014.csv"
    found = pq.read_table(tmp_path / "out" / "vle.parquet")
    assert found["id_site"].to_pylist() == [1, 2, 3]
    rejected = (tmp_path / "out" / "rejected" / "vle.csv").read_text("utf-8")
    assert "raw/vle_2014.csv,3,too few columns" in rejected


def test_one_of_several_files_without_a_column_is_refused(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "vle.csv").rename(raw / "vle_a.csv")
    (raw / "vle_b.csv").write_bytes(HEADER.replace(b',"week_to"', b"") + b'\n"1","A","B","c",""\n')
    with pytest.raises(DataError, match="week_to") as caught:
        extract(raw, in_parts(oulad), tmp_path / "out")
    assert "vle_b.csv" in str(caught.value)


def test_each_table_may_have_a_limit_of_its_own(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    (raw / "vle.csv").rename(raw / "vle_a.csv")
    with (raw / "vle_a.csv").open("ab") as opened:
        opened.write(b'"9"\n')
    extract(raw, in_parts(oulad, max_rejected=0.9), tmp_path / "out", max_rejected=0.0)
    with pytest.raises(TooManyRejected, match="vle"):
        extract(raw, in_parts(oulad, max_rejected=0.01), tmp_path / "again", max_rejected=1.0)


def test_a_file_of_misfits_alone_is_not_held_in_memory(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    raw = tiny_oulad.write(tmp_path / "raw")
    count, long = 4_000, "long" * 1_250
    header = (raw / "vle.csv").read_text("utf-8").splitlines()[0]
    # By turns without columns and with a value that doesn't fit, so that both kinds are merged.
    rows = (f"{n},{long}\n" if n % 2 else f"{n},{long},,,1.5,\n" for n in range(count))
    (raw / "vle.csv").write_text(header + "\n" + "".join(rows), "utf-8")
    tracemalloc.start()
    try:
        vle = extract(raw, oulad, tmp_path / "out", max_rejected=1.0)["vle"]
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (vle.rows, vle.rejected) == (0, count)
    with (tmp_path / "out" / "rejected" / "vle.csv").open(encoding="utf-8") as opened:
        lines = [int(row["line"]) for row in csv.DictReader(opened)]
    assert lines == list(range(2, count + 2))
    # Their text alone is 20 MB.
    assert most < 10_000_000, most
