"""Features against values worked out by hand, and against the future."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.integration.data.test_transform import transform
from tests.tiny_oulad import TinyOulad, registration, student, submission, visit, work
from vigie.dataset.spec import Dataset, RankFeatures
from vigie.engine import open_engine, read_parquet
from vigie.features.build import build_features

Values = dict[str, float | None]


def build(tiny: TinyOulad, oulad: Dataset, folder: Path, cutoff: int = 60) -> list[Values]:
    """Return the features of each enrolment, ordered by student."""
    transform(tiny, oulad, folder, cutoff)
    return built(oulad, folder / "clean")


def built(oulad: Dataset, clean: Path) -> list[Values]:
    with open_engine(threads=2, memory_limit="500MB") as engine:
        tables = {
            name: read_parquet(engine, clean / f"{name}.parquet", name) for name in oulad.tables
        }
        cohort = read_parquet(engine, clean / "cohort.parquet", "cohort")
        shares: list[float] = []
        expression, features = build_features(tables, cohort, oulad, progress=shares.append)
        assert shares == sorted(shares)
        assert 0 < shares[0] < shares[-1] < 1
        found: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
    names = [feature.name for feature in features]
    return [{name: row[name] for name in names} for row in found]


def test_clicks_by_hand(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    tiny_oulad.studentVle = [
        visit(1, -5, 2),
        visit(1, 40, 3),
        visit(1, 58, 4, site=2),
        visit(1, 58, 4, site=2),  # repeated rows are separate records
        visit(1, 60, 1),
        visit(1, 61, 100),  # the future
    ]
    busy, idle = build(tiny_oulad, oulad, tmp_path)
    assert busy["clicks_sum"] == 14
    assert busy["clicks_mean"] == pytest.approx(14 / 5)
    assert busy["clicks_active_days"] == 4
    assert busy["clicks_days_since_last"] == 0
    assert busy["clicks_days_since_first"] == 65
    assert busy["clicks_sum_7d"] == 9
    assert busy["clicks_active_days_7d"] == 2
    assert busy["clicks_sum_28d"] == 12
    assert busy["clicks_trend_7d"] == 1
    assert busy["clicks_trend_14d"] == pytest.approx(9 / 12)
    assert busy["clicks_sum_quiz"] == 8
    assert busy["clicks_sum_homepage"] == 6
    # who never came stays, with zeros where nothing happened and gaps where nothing is known
    assert idle["clicks_sum"] == 0
    assert idle["clicks_active_days"] == 0
    assert idle["clicks_sum_quiz"] == 0
    assert idle["clicks_days_since_last"] is None
    assert idle["clicks_mean"] is None


def test_work_by_hand(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    tiny_oulad.assessments = [
        work(11, 20, 10),
        work(12, 50, 30),
        work(13, 55, 0, "CMA"),
        work(14, 80, 20),
        work(15, None, 100, "Exam"),
    ]
    tiny_oulad.studentAssessment = [
        submission(1, 11, 18, 80),
        submission(1, 12, 53, 60),  # late, but in by the cut-off
        submission(1, 14, 59, 90),  # not due yet
        submission(2, 11, 61, 70),  # due, handed in only after the cut-off
        submission(2, 13, -1, 50, banked=1),
    ]
    good, bad = build(tiny_oulad, oulad, tmp_path)
    assert (good["work_due_count"], bad["work_due_count"]) == (3, 3)
    assert (good["work_missed_count"], bad["work_missed_count"]) == (1, 2)
    assert bad["work_missed_share"] == pytest.approx(2 / 3)
    assert bad["work_missed_weight_sum"] == 40
    assert (good["work_late_count"], bad["work_late_count"]) == (1, 0)
    assert (good["work_score_mean"], bad["work_score_mean"]) == (70, 50)
    assert good["work_score_zero_mean"] == pytest.approx(140 / 3)
    assert good["work_last_score_last"] == 60
    assert good["work_points_sum"] == pytest.approx(8 + 18)
    assert good["points_share"] == pytest.approx(26 / 40)
    assert good["work_last_due_missed_last"] == 1
    assert good["work_days_early_mean"] == pytest.approx((2 - 3) / 2)
    assert bad["work_banked_count"] == 1
    assert (good["submissions_count"], bad["submissions_count"]) == (3, 1)
    assert (good["submissions_days_since_last"], bad["submissions_days_since_last"]) == (1, 61)


def test_people_by_hand(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    tiny_oulad.studentInfo = [
        student(1, imd_band=None, region="Atlantis", disability="Y"),
        student(2, imd_band="90-100%", highest_education="No Formal quals", gender="M"),
    ]
    first, second = build(tiny_oulad, oulad, tmp_path)
    assert (first["imd_band"], second["imd_band"]) == (None, 9)
    assert (first["highest_education"], second["highest_education"]) == (2, 0)
    assert (first["gender_m"], second["gender_m"]) == (0, 1)
    assert (first["disability"], second["disability"]) == (1, 0)
    assert sum(value or 0 for name, value in first.items() if name.startswith("region_")) == 0
    assert second["region_wales"] == 1
    assert (first["module_aaa"], first["module_bbb"]) == (1, 0)
    assert first["registration_day"] == -30
    assert first["starts_in_february"] == 0


def test_ranks_leave_out_whoever_has_no_value(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad
) -> None:
    tiny_oulad.studentInfo = [student(number) for number in range(1, 5)]
    tiny_oulad.studentRegistration = [registration(number) for number in range(1, 5)]
    tiny_oulad.studentAssessment = [
        submission(number, 11, 10, score) for number, score in ((1, 20), (2, 50), (3, 90))
    ]
    ranks = [row["work_score_mean_rank"] for row in build(tiny_oulad, oulad, tmp_path)]
    assert ranks == [0, 0.5, 1, None]


def test_ranks_of_all_that_begin_so(tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad) -> None:
    groups = [
        one.model_copy(update={"of": ("submissions_*", "submissions_count")})
        if isinstance(one, RankFeatures)
        else one
        for one in oulad.features
    ]
    some = oulad.model_copy(update={"features": tuple(groups)})
    [row, *_more] = build(tiny_oulad, some, tmp_path)
    assert [name for name in row if name.endswith("_rank")] == [
        "submissions_count_rank", "submissions_days_since_last_rank",
    ]  # fmt: skip


def _same(one: list[Values], other: list[Values]) -> bool:
    def key(value: float | None) -> float | str:
        return "none" if value is None or math.isnan(value) else value

    return [[key(v) for v in row.values()] for row in one] == [
        [key(v) for v in row.values()] for row in other
    ]


@pytest.mark.parametrize("cutoff", [0, 20, 60])
def test_what_happens_after_the_cut_off_changes_nothing(
    tmp_path: Path, oulad: Dataset, tiny_oulad: TinyOulad, cutoff: int
) -> None:
    tiny_oulad.studentVle = [
        visit(1 + n % 2, day, n % 5 + 1, 1 + n % 2) for n, day in enumerate(range(-10, 120))
    ]
    tiny_oulad.studentAssessment = [
        submission(1, 11, 19, 80),
        submission(2, 11, 30, 40),
        submission(1, 12, 55, 90),
        submission(2, 12, 70, 30),
    ]
    everything = build(tiny_oulad, oulad, tmp_path / "full", cutoff)
    tiny_oulad.studentVle = [row for row in tiny_oulad.studentVle if row["date"] <= cutoff]
    tiny_oulad.studentAssessment = [
        row for row in tiny_oulad.studentAssessment if row["date_submitted"] <= cutoff
    ]
    tiny_oulad.studentInfo[0]["final_result"] = "Fail"
    known = build(tiny_oulad, oulad, tmp_path / "cut", cutoff)
    assert _same(everything, known)


def test_every_feature_says_where_it_comes_from(oulad: Dataset, tmp_path: Path) -> None:
    transform(TinyOulad(), oulad, tmp_path)
    with open_engine(threads=2) as engine:
        clean = tmp_path / "clean"
        tables = {
            name: read_parquet(engine, clean / f"{name}.parquet", name) for name in oulad.tables
        }
        cohort = read_parquet(engine, clean / "cohort.parquet", "cohort")
        _table, features = build_features(tables, cohort, oulad)
    assert len({feature.name for feature in features}) == len(features) > 60
    for feature in features:
        assert feature.source
        assert feature.label.en
        assert feature.label.fr
        if feature.kind == "aggregate":
            assert feature.clock
    assert pq.read_table(clean / "cohort.parquet").num_rows == 2
