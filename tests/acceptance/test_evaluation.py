"""What evaluate says beside the metrics: whom a model reaches, whom it fails, who is judged."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.acceptance.project import Project

STEPS = ("--steps", "train", "evaluate", "predict")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("evaluation") / "project").plain()
    done = made.vigie("sample", "--enrolments", "2500", "--out", str(made.raw))
    assert done.returncode == 0, done.stderr
    made.run()
    return made


def metrics(project: Project) -> dict[str, Any]:
    path = project.folder / "reports" / "metrics_dev.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def predictions(project: Project) -> list[dict[str, str]]:
    with (project.folder / "reports" / "predictions_dev.csv").open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_the_metrics_say_whom_it_reaches_and_how_far_to_believe_it(project: Project) -> None:
    holdout = metrics(project)["holdout"]
    tenth = next(row for row in holdout["capacity"] if row["share"] == 0.1)
    assert tenth["rows"] == round(holdout["rows"] / 10)
    assert tenth["reached"] <= tenth["rows"]
    assert tenth["lift"] > 1.5
    assert sum(one["rows"] for one in holdout["calibration"]["bins"]) == holdout["rows"]
    assert holdout["calibration"]["expected_calibration_error"] < 0.1
    logistic = holdout["comparison"]["logistic_regression"]
    assert logistic["metrics"]["roc_auc"]["value"] > 0.8
    beside = logistic["roc_auc_difference"]
    assert beside["low"] < beside["value"] < beside["high"]
    assert beside["value"] == pytest.approx(
        holdout["metrics"]["roc_auc"]["value"] - logistic["metrics"]["roc_auc"]["value"], abs=2e-6
    )


def test_it_is_reported_by_group(project: Project) -> None:
    groups = {one["column"]: one for one in metrics(project)["holdout"]["groups"]}
    assert set(groups) == {"code_module", "gender", "age_band", "imd_band", "disability", "region"}
    assert groups["gender"]["sensitive"]
    assert not groups["code_module"]["sensitive"]
    assert groups["gender"]["label"] == {"en": "gender", "fr": "genre"}
    rows = metrics(project)["holdout"]["rows"]
    for one in groups.values():
        assert sum(group["rows"] for group in one["groups"]) == rows


def test_personal_columns_are_neither_published_nor_readable_by_others(project: Project) -> None:
    assert not {"gender", "report_gender"} & set(predictions(project)[0])
    for name in ("data/processed/keys_dev.parquet", "models/out_of_fold_dev.parquet"):
        assert (project.folder / name).stat().st_mode & 0o077 == 0
        assert "report_gender" in pq.read_schema(project.folder / name).names


def test_other_populations_stand_beside_the_headline(project: Project) -> None:
    found = metrics(project)
    everybody = found["populations"]["everybody"]
    headline = found["holdout"]["metrics"]["roc_auc"]["value"]
    assert everybody["known_bad"] > 100
    assert everybody["rows"] == found["holdout"]["rows"] + everybody["known_bad"]
    assert everybody["metrics"]["roc_auc"]["value"] > headline
    assert found["repeaters"]["rows"] > 0
    assert found["repeaters"]["without"]["rows"] == (
        found["holdout"]["rows"] - found["repeaters"]["rows"]
    )


def test_the_model_card_has_the_runs_own_figures(project: Project) -> None:
    card = (project.folder / "models" / "model_card_dev.md").read_text("utf-8")
    auc = metrics(project)["holdout"]["metrics"]["roc_auc"]
    assert f"{auc['value']:.3f} [{auc['low']:.3f}; {auc['high']:.3f}]" in card
    for part in ("generated data", "## For whom less well", "### gender", "## Intended use"):
        assert part in card
    said = project.run("--lang", "fr")
    assert "évaluation" in said.lower()
    card = (project.folder / "models" / "model_card_dev.md").read_text("utf-8")
    assert "## Pour qui moins bien" in card


def test_thresholds_by_what_one_can_or_wants_to_do(project: Project) -> None:
    said = project.run(VIGIE_PREDICT__CAPACITY="0.1")
    assert "by predict.capacity = 0.1" in said
    found = metrics(project)["holdout"]
    assert found["threshold_choice"]["by"] == "capacity"
    assert found["threshold"] == found["threshold_choice"]["value"]
    flagged = [row["prediction"] == "at_risk" for row in predictions(project)]
    assert 0.06 < sum(flagged) / len(flagged) < 0.14
    project.run(VIGIE_PREDICT__RECALL="0.9")
    assert metrics(project)["holdout"]["metrics"]["recall"]["value"] > 0.8
    both = project.vigie("run", VIGIE_PREDICT__RECALL="0.9", VIGIE_PREDICT__CAPACITY="0.1")
    assert both.returncode == 2
    assert "Choose the threshold by one of predict.capacity and predict.recall" in both.stderr


def test_which_rows_are_held_out(project: Project) -> None:
    project.run(*STEPS, VIGIE_EVALUATION__HOLDOUT="0.3")
    split = metrics(project)["split"]
    assert split["kind"] == "grouped"
    share = split["holdout_rows"] / (split["holdout_rows"] + split["train_rows"])
    assert 0.25 < share < 0.35
    # At day 30 of 2014's first term, October's outcomes of 2013 weren't known.
    project.run("--cutoff-days", "30", VIGIE_EVALUATION__STRICT_TIME="false")
    assert metrics(project)["split"]["early_rows"] == 0
    said = project.run("--cutoff-days", "30", VIGIE_EVALUATION__STRICT_TIME="true")
    strict = metrics(project)["split"]
    assert strict["early_rows"] > 100
    assert "left out whose outcome was not known by then" in said


def test_strict_time_needs_dates(tmp_path: Path) -> None:
    project = Project(tmp_path / "p").plain()
    file = tmp_path / "rows.csv"
    lines = ["id,x,y", *(f"{n},{n % 7},{'bad' if n % 3 == 0 else 'good'}" for n in range(300))]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    done = project.vigie("init", str(file), "--target", "y", "--positive", "bad", "--id", "id")
    assert done.returncode == 0, done.stderr
    refused = project.vigie("run", VIGIE_EVALUATION__STRICT_TIME="true")
    assert refused.returncode == 2
    assert "Nothing says when outcomes became known" in refused.stderr
