"""The generated data against the figures that were counted on the real release."""

from __future__ import annotations

import filecmp
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from vigie.data.extract import extract_tables
from vigie.data.raw_files import find_raw_files
from vigie.data.transform import transform_tables
from vigie.dataset.sample import GENERATED_MARKER, SampleReport, generate_sample, load_facts
from vigie.dataset.spec import Dataset
from vigie.engine import open_engine, read_parquet
from vigie.errors import UsageError
from vigie.features.build import build_features

FACTS = load_facts()
ENROLMENTS = 8_000
KEY = "code_module, code_presentation, id_student"
# Train 2013, test 2014 on the whole real release, with the same features and forest.
REAL_AUC = {30: 0.764, 60: 0.816, 90: 0.849, 120: 0.880, 180: 0.930}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> SampleReport:
    return generate_sample(tmp_path_factory.mktemp("sample") / "raw", enrolments=ENROLMENTS)


@pytest.fixture(scope="module")
def extracted(report: SampleReport, oulad: Dataset) -> Path:
    folder = report.out.parent / "extracted"
    folder.mkdir()
    extract_tables(
        find_raw_files(report.out, oulad),
        oulad,
        folder,
        project=report.out.parent,
        max_rejected=0,
        threads=2,
        memory_limit="1GB",
    )
    return folder


@pytest.fixture(scope="module")
def tables(extracted: Path, oulad: Dataset) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    for name in oulad.tables:
        connection.execute(f"CREATE VIEW {name} AS FROM '{extracted}/{name}.parquet'")
    yield connection
    connection.close()


def ask(tables: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    return tables.execute(sql).fetchall()


def one(tables: duckdb.DuckDBPyConnection, sql: str) -> float:
    return float(ask(tables, sql)[0][0])


def test_the_layout_is_the_official_one(report: SampleReport) -> None:
    with (report.out / "studentRegistration.csv").open("rb") as opened:
        assert opened.readline() == (
            b'"code_module","code_presentation","id_student","date_registration",'
            b'"date_unregistration"\r\n'
        )
        assert opened.readline().endswith((b',""\r\n', b'"\r\n'))
    marker = json.loads((report.out / GENERATED_MARKER).read_text())
    assert marker["enrolments"] == ENROLMENTS
    assert sorted(path.name for path in report.out.iterdir()) == sorted(
        [GENERATED_MARKER, *(f"{name}.csv" for name in report.row_counts)]
    )


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate_sample(tmp_path / name, enrolments=300, seed=seed)
    names = [path.name for path in (tmp_path / "a").iterdir()]
    _same, differ, errors = filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False)
    assert (differ, errors) == ([], [])
    _same, differ, _errors = filecmp.cmpfiles(tmp_path / "a", tmp_path / "c", names, shallow=False)
    assert "studentVle.csv" in differ


def test_packed_files_hold_the_same_and_take_the_others_place(tmp_path: Path) -> None:
    plain = generate_sample(tmp_path / "a", enrolments=300)
    for folder in ("b", "c"):
        generate_sample(tmp_path / folder, enrolments=200)
        packed = generate_sample(tmp_path / folder, enrolments=300, packed=True)
        assert packed.row_counts == plain.row_counts
        names = {path.name for path in packed.out.iterdir()}
        assert names == {GENERATED_MARKER, *(f"{name}.csv.gz" for name in plain.row_counts)}
    for name in plain.row_counts:
        file = tmp_path / "b" / f"{name}.csv.gz"
        assert gzip.decompress(file.read_bytes()) == (plain.out / f"{name}.csv").read_bytes()
        assert file.read_bytes() == (tmp_path / "c" / file.name).read_bytes()
    generate_sample(tmp_path / "b", enrolments=300)
    assert not list((tmp_path / "b").glob("*.gz"))


def test_what_an_interruption_leaves_is_marked_as_it_was(tmp_path: Path) -> None:
    generate_sample(tmp_path, enrolments=200, seed=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(_share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_sample(tmp_path, enrolments=300, seed=2, progress=stop)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_too_few_enrolments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        generate_sample(tmp_path / "x", enrolments=10)
    assert caught.value.where == "--enrolments"


def test_sizes(report: SampleReport) -> None:
    scale = ENROLMENTS / FACTS["enrolments"]
    assert report.row_counts["studentInfo"] == ENROLMENTS
    assert report.row_counts["courses"] == 22
    assert report.row_counts["assessments"] == 206
    assert report.row_counts["vle"] == 6_364
    assert report.row_counts["studentAssessment"] == pytest.approx(173_912 * scale, rel=0.05)
    assert report.row_counts["studentVle"] == pytest.approx(10_655_280 * scale, rel=0.01)


def test_keys_hold(tables: duckdb.DuckDBPyConnection) -> None:
    assert one(tables, f"SELECT count(*) - count(DISTINCT ({KEY})) FROM student_info") == 0
    assert (
        one(tables, "SELECT count(*) - count(DISTINCT (id_assessment, id_student)) "
                    "FROM student_assessment") == 0
    )  # fmt: skip
    for sql in (
        f"SELECT count(*) FROM student_vle ANTI JOIN student_info USING ({KEY})",
        (
            "SELECT count(*) FROM student_vle ANTI JOIN vle "
            "USING (id_site, code_module, code_presentation)"
        ),
        f"SELECT count(*) FROM student_registration ANTI JOIN student_info USING ({KEY})",
        f"SELECT count(*) FROM student_info ANTI JOIN student_registration USING ({KEY})",
        (
            "SELECT count(*) FROM (student_assessment JOIN assessments USING (id_assessment)) "
            f"ANTI JOIN student_info USING ({KEY})"
        ),
    ):
        assert one(tables, sql) == 0, sql
    several = one(
        tables,
        "SELECT count(*) FROM (SELECT 1 FROM student_info GROUP BY id_student HAVING count(*) > 1)",
    )
    assert several == pytest.approx(3_538 * ENROLMENTS / 32_593, rel=0.05)


def test_results_by_presentation(tables: duckdb.DuckDBPyConnection) -> None:
    found = ask(
        tables,
        "SELECT p, final_result, n, sum(n) OVER (PARTITION BY p) FROM ("
        "SELECT code_module || '/' || code_presentation AS p, final_result, count(*) AS n "
        "FROM student_info GROUP BY 1, 2)",
    )
    for presentation, result, count, total in found:
        real = FACTS["presentations"][presentation]["result_share"][result]
        assert count / total == pytest.approx(real, abs=1.01 / float(total)), presentation


def test_missing_cells_and_warts(tables: duckdb.DuckDBPyConnection) -> None:
    scale = ENROLMENTS / 32_593
    share = "SELECT avg(CAST({} IS NULL AS INT)) FROM {}"
    assert one(tables, share.format("imd_band", "student_info")) == pytest.approx(0.034, abs=0.01)
    assert one(tables, share.format("week_from", "vle")) == pytest.approx(0.824, abs=0.01)
    assert one(tables, "SELECT count(*) FROM assessments WHERE date IS NULL") == 11
    assert one(tables, share.format("score", "student_assessment")) == pytest.approx(
        0.001, abs=6e-4
    )
    registered = "SELECT count(*) FROM student_registration WHERE date_registration IS NULL"
    assert one(tables, registered) == pytest.approx(45 * scale, abs=2)
    joined = f"FROM student_registration JOIN student_info USING ({KEY}) WHERE "
    assert one(
        tables,
        f"SELECT count(*) {joined} final_result = 'Withdrawn' AND date_unregistration IS NULL",
    ) == pytest.approx(93 * scale, abs=1)
    assert one(
        tables, f"SELECT count(*) {joined} final_result = 'Fail' AND date_unregistration NOTNULL"
    ) == pytest.approx(9 * scale, abs=1)
    assert one(tables, f"SELECT count(*) {joined} date_registration >= date_unregistration") == 0
    assert one(tables, "SELECT count(*) FROM student_info WHERE imd_band = '10-20'") > 0
    assert one(tables, "SELECT count(*) FROM student_info WHERE imd_band = '10-20%'") == 0
    banked = "SELECT avg(is_banked), max(CASE WHEN is_banked = 1 THEN date_submitted END)"
    assert ask(tables, f"{banked} FROM student_assessment")[0] == (
        pytest.approx(FACTS["assessments"]["is_banked_share"], abs=0.005),
        -1,
    )


@pytest.mark.parametrize("kind", ["TMA", "CMA"])
def test_submissions_by_result(tables: duckdb.DuckDBPyConnection, kind: str) -> None:
    found = dict(
        ask(
            tables,
            "SELECT final_result, avg(CAST(s.id_student NOTNULL AS INT)) "
            "FROM student_info JOIN assessments USING (code_module, code_presentation) "
            "LEFT JOIN student_assessment s USING (id_assessment, id_student) "
            f"WHERE assessment_type = '{kind}' GROUP BY 1",
        )
    )
    rates = FACTS["assessments"]["submission_rate_TMA_CMA_by_result_all_students"][kind]
    for result, rate in rates.items():
        assert found[result] == pytest.approx(rate, abs=0.05), result


@pytest.mark.parametrize("result", ["Pass", "Withdrawn", "Fail", "Distinction"])
def test_clicks_of_a_student_by_result(tables: duckdb.DuckDBPyConnection, result: str) -> None:
    found = ask(
        tables,
        "SELECT quantile_cont(clicks, [0.25, 0.5, 0.75, 0.9]), avg(CAST(clicks = 0 AS INT)) FROM ("
        "SELECT coalesce(sum(sum_click), 0) AS clicks FROM student_info "
        f"LEFT JOIN student_vle USING ({KEY}) WHERE final_result = '{result}' GROUP BY {KEY})",
    )[0]
    real = FACTS["clicks"]["per_student_clicks_quantiles_by_result"][result]
    for value, name in zip(found[0], ("p25", "p50", "p75", "p90"), strict=True):
        assert value == pytest.approx(real[name], rel=0.35, abs=25), name
    quiet = FACTS["clicks"]["enrolments_without_any_click"]["share_by_result"][result]
    assert found[1] == pytest.approx(quiet, abs=0.01)


@pytest.mark.parametrize("week", [-2, 0, 5, 12, 20, 30])
def test_who_comes_in_a_week(tables: duckdb.DuckDBPyConnection, week: int) -> None:
    found = dict(
        ask(
            tables,
            "SELECT final_result, avg(CAST(v.id_student NOTNULL AS INT)) FROM student_info "
            f"LEFT JOIN (SELECT DISTINCT {KEY} FROM student_vle WHERE date BETWEEN {7 * week} AND "
            f"{7 * week + 6}) v USING ({KEY}) GROUP BY 1",
        )
    )
    for result, weekly in FACTS["clicks"]["weekly_by_result"].items():
        real = weekly[str(week)]["active_share"]
        assert found[result] == pytest.approx(real, abs=0.06), result


def test_repeated_rows(tables: duckdb.DuckDBPyConnection) -> None:
    repeated = one(
        tables,
        "SELECT 1 - count(*) / (SELECT count(*) FROM student_vle) FROM "
        f"(SELECT DISTINCT {KEY}, id_site, date FROM student_vle)",
    )
    assert repeated == pytest.approx(0.206, abs=0.04)
    exact = one(
        tables,
        "SELECT 1 - count(*) / (SELECT count(*) FROM student_vle) FROM "
        "(SELECT DISTINCT * FROM student_vle)",
    )
    assert exact == pytest.approx(787_170 / 10_655_280, abs=0.02)
    mean = one(tables, "SELECT avg(sum_click) FROM student_vle")
    assert mean == pytest.approx(FACTS["clicks"]["sum_click_mean"], rel=0.15)


@pytest.mark.slow
def test_a_models_auc_rises_with_the_cut_off_as_it_really_does(
    report: SampleReport, extracted: Path, oulad: Dataset
) -> None:
    found = {cutoff: _auc(extracted, report.out.parent, oulad, cutoff) for cutoff in REAL_AUC}
    assert list(found.values()) == sorted(found.values())
    for cutoff, real in REAL_AUC.items():
        assert found[cutoff] == pytest.approx(real, abs=0.03), cutoff


def _auc(extracted: Path, scratch: Path, oulad: Dataset, cutoff: int) -> float:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    clean = scratch / f"clean{cutoff}"
    clean.mkdir()
    limits: dict[str, Any] = {"threads": 2, "memory_limit": "1GB"}
    transform_tables(extracted, clean, oulad, cutoff=cutoff, sample_size=None, **limits)
    with open_engine(**limits) as engine:
        tables = {n: read_parquet(engine, clean / f"{n}.parquet", n) for n in oulad.tables}
        cohort = read_parquet(engine, clean / "cohort.parquet", "cohort")
        expression, features = build_features(tables, cohort, oulad)
        built, people = expression.to_pyarrow(), cohort.to_pyarrow()
    values = np.column_stack([built[feature.name].to_numpy() for feature in features])
    labels = people["label"].to_numpy()
    early = np.array(people["period"].to_pylist()) == "2013"
    forest = RandomForestClassifier(
        100, min_samples_leaf=5, max_samples=0.5, max_features="log2", random_state=1, n_jobs=2
    ).fit(values[early], labels[early])
    return float(roc_auc_score(labels[~early], forest.predict_proba(values[~early])[:, 1]))
