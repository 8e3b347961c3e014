"""Clean tables and the cohort, on the real DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.integration.data.test_extract import extract
from tests.tiny_oulad import TinyOulad, registration, student, submission, visit, work
from vigie.data.cohort import TransformReport
from vigie.data.transform import Cleaned, transform_tables
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.spec import Dataset
from vigie.errors import DataError, DeclarationError


def transform(
    tiny: TinyOulad, oulad: Dataset, folder: Path, cutoff: int = 60, sample: int | None = None
) -> TransformReport:
    extract(tiny.write(folder / "raw"), oulad, folder / "extracted")
    (folder / "clean").mkdir()
    return transform_tables(
        folder / "extracted",
        folder / "clean",
        oulad,
        cutoff=cutoff,
        sample_size=sample,
        threads=2,
        memory_limit="500MB",
    )


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "clean" / f"{table}.parquet").to_pylist()
    return found


def test_the_cohort_is_who_can_still_be_helped(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentInfo = [
        student(1, "Pass"),
        student(2, "Fail"),
        student(3, "Withdrawn"),  # leaves on the cut-off day
        student(4, "Withdrawn"),  # leaves the day after
        student(5, "Withdrawn"),  # nobody knows when
        student(6, "Distinction"),  # registers on the cut-off day
        student(7, "Pass"),  # registers the day after
        student(8, None),  # type: ignore[arg-type] # no result yet
    ]
    tiny_oulad.studentRegistration = [
        registration(1, None),
        registration(2),
        registration(3, left=60),
        registration(4, left=61),
        registration(5),
        registration(6, 60),
        registration(7, 61),
        registration(8),
    ]
    report = transform(tiny_oulad, oulad, tmp_path)
    cohort = rows(tmp_path, "cohort")
    assert {row["id_student"]: row["label"] for row in cohort} == {
        1: 0,
        2: 1,
        4: 1,
        5: 1,
        6: 0,
        8: None,
    }
    assert [row["cohort_id"] for row in cohort] == list(range(6))
    assert report.excluded == {"withdrawn": 1, "not_yet_registered": 1}
    assert (report.candidates, report.eligible, report.positives, report.unlabelled) == (8, 6, 3, 1)
    assert {row["period"] for row in cohort} == {"2013"}
    # nothing of what happened later lies beside the features
    assert not {"final_result", "date_unregistration"} & set(cohort[0])


def test_text_is_trimmed_and_the_known_wart_mended(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentInfo[0].update(imd_band="10-20", region="  Wales ")
    tiny_oulad.studentInfo[1].update(imd_band="20-Oct", region="  ")
    transform(tiny_oulad, oulad, tmp_path)
    info = rows(tmp_path, "student_info")
    assert [row["imd_band"] for row in info] == ["10-20%", "10-20%"]
    assert [row["region"] for row in info] == ["Wales", None]


def test_keys_that_do_not_hold_are_set_aside_and_counted(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentInfo.append(student(1, "Fail", region="London Region"))
    tiny_oulad.studentVle = [visit(1, 3, 5), visit(99, 3, 5), visit(1, 3, 5), visit(2, 1, 1, 777)]
    report = transform(tiny_oulad, oulad, tmp_path)
    assert report.set_aside == {
        "student_info": {"duplicate_key": 1},
        "student_vle": {"no_student_info": 1, "no_vle": 1},
    }
    # the first of two rows with one key stays; repeated clicks are records of their own
    assert [row["region"] for row in rows(tmp_path, "student_info")] == ["Wales", "Wales"]
    assert [row["row_id"] for row in rows(tmp_path, "student_vle")] == [0, 2]


def pages_optional(project: Path) -> Dataset:
    """Return OULAD's declaration, but that a click may be on no page."""
    text, origin = read_declaration("oulad", project)
    page = 'id_site = { type = "integer", required = true, comment = "Page" }'
    assert page in text
    return parse_dataset(text.replace(page, page.replace("required = true, ", "")), origin)


def test_a_key_with_a_missing_part_refers_to_nothing_and_holds(
    tmp_path: Path, tiny_oulad: TinyOulad
) -> None:
    optional = pages_optional(tmp_path)
    clicks = [visit(1, 3, 5), visit(1, 4, 5), visit(99, 3, 5), visit(1, 1, 1, 777)]
    clicks[1]["id_site"] = ""
    tiny_oulad.studentVle = clicks
    report = transform(tiny_oulad, optional, tmp_path)
    assert report.set_aside == {"student_vle": {"no_student_info": 1, "no_vle": 1}}
    assert [row["id_site"] for row in rows(tmp_path, "student_vle")] == [1, None]


def test_of_many_rows_with_few_keys_each_row_counts(tmp_path: Path, tiny_oulad: TinyOulad) -> None:
    optional = pages_optional(tmp_path)
    clicks = [visit(1, day, 5) for day in range(100)]
    clicks += [visit(99, day, 5) for day in range(3)] + [visit(2, day, 1, 777) for day in range(4)]
    tiny_oulad.studentVle = clicks
    assert transform(tiny_oulad, optional, tmp_path / "a").set_aside == {
        "student_vle": {"no_student_info": 3, "no_vle": 4}
    }
    for click in clicks[100:]:
        click["id_site"] = ""
    assert transform(tiny_oulad, optional, tmp_path / "b").set_aside == {
        "student_vle": {"no_student_info": 3}
    }
    assert [row["row_id"] for row in rows(tmp_path / "b", "student_vle")] == [
        *range(100),
        *range(103, 107),
    ]


def test_a_sample_is_whole_enrolments_and_does_not_reshuffle(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    def world(count: int) -> TinyOulad:
        return TinyOulad(
            studentInfo=[student(n) for n in range(count)],
            studentRegistration=[registration(n) for n in range(count)],
            studentVle=[visit(n, day, 1) for n in range(count) for day in (1, 2)],
            studentAssessment=[submission(n, 11, 15, 70) for n in range(count)],
        )

    sampled = {}
    for count in (100, 110):
        folder = tmp_path / str(count)
        report = transform(world(count), oulad, folder, sample=20)
        assert (report.eligible, report.cohort) == (count, 20)
        chosen = {row["id_student"] for row in rows(folder, "cohort")}
        sampled[count] = chosen
        assert {row["id_student"] for row in rows(folder, "student_info")} == chosen
        assert len(rows(folder, "student_vle")) == 2 * len(chosen)
        assert {row["id_student"] for row in rows(folder, "student_assessment")} == chosen
        assert len(rows(folder, "assessments")) == 3  # what is not about a student stays
    newcomers = sampled[110] - sampled[100]
    assert newcomers <= set(range(100, 110))
    assert len(sampled[100] - sampled[110]) == len(newcomers)


def test_an_expression_that_cannot_be_carried_out_is_the_declarations(
    tmp_path: Path, tiny_oulad: TinyOulad
) -> None:
    text, origin = read_declaration("oulad", tmp_path)
    positive = "positive = \"final_result IN ('Fail', 'Withdrawn')\""
    assert positive in text
    wrong = parse_dataset(
        text.replace(positive, 'positive = "CAST(final_result AS INTEGER) = 1"'), origin
    )
    with pytest.raises(DeclarationError, match="TRY_CAST"):
        transform(tiny_oulad, wrong, tmp_path)


def test_nobody_left_is_an_error(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    tiny_oulad.studentRegistration = [registration(1, 100), registration(2, 100)]
    with pytest.raises(DataError) as caught:
        transform(tiny_oulad, oulad, tmp_path)
    assert caught.value.where == "withdrawn: 0, not_yet_registered: 2"


def test_the_same_input_gives_the_same_bytes(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentVle = [visit(n % 2 + 1, n % 50, n % 7 + 1) for n in range(5000)]
    tiny_oulad.assessments.append(work(14, 30))
    for name in ("one", "two"):
        transform(tiny_oulad, oulad, tmp_path / name)
    for file in sorted((tmp_path / "one" / "clean").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / "clean" / file.name).read_bytes()


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_cohort_at_day_180(tmp_path: Path, oulad: Dataset, real_oulad: Path) -> None:
    extract(real_oulad, oulad, tmp_path / "extracted", max_rejected=0)
    (tmp_path / "clean").mkdir()
    report = transform_tables(
        tmp_path / "extracted",
        tmp_path / "clean",
        oulad,
        cutoff=180,
        sample_size=None,
        threads=2,
        memory_limit="1GB",
    )
    assert report.cohort == 23_275
    assert report.excluded == {"withdrawn": 9_318, "not_yet_registered": 0}
    assert report.set_aside == {}
    assert report.rows["student_vle"] == 10_655_280


def test_tables_cleaned_for_another_cutoff_are_linked(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentVle = [visit(1, 3, 2), visit(9, 4, 1), visit(2, 70, 5)]  # 9 is nobody
    first = transform(tiny_oulad, oulad, tmp_path, cutoff=30)
    common: dict[str, Any] = {"threads": 2, "memory_limit": "500MB"}
    reports = {}
    for name, cleaned in (
        ("linked", Cleaned(tmp_path / "clean", first.rows, first.set_aside)),
        ("anew", None),
    ):
        (tmp_path / name).mkdir()
        reports[name] = transform_tables(
            tmp_path / "extracted", tmp_path / name, oulad, cutoff=60, sample_size=None,
            cleaned=cleaned, **common,
        )  # fmt: skip
    assert reports["linked"] == reports["anew"]
    assert reports["linked"].set_aside == {"student_vle": {"no_student_info": 1}}
    for file in (tmp_path / "anew").iterdir():
        assert (tmp_path / "linked" / file.name).read_bytes() == file.read_bytes(), file.name
    table = "student_vle.parquet"
    assert (tmp_path / "linked" / table).samefile(tmp_path / "clean" / table)
    # What rows a sample has hangs on the cohort.
    (tmp_path / "sampled").mkdir()
    transform_tables(
        tmp_path / "extracted", tmp_path / "sampled", oulad, cutoff=60, sample_size=1,
        cleaned=Cleaned(tmp_path / "clean", first.rows, first.set_aside), **common,
    )  # fmt: skip
    assert not (tmp_path / "sampled" / table).samefile(tmp_path / "clean" / table)
