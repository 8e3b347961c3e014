"""Kinds of model, champion and challenger, and what stays the same bit by bit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.project import Project

SKIP = ("--skip-check", "dev", "audit")
FEWER = {
    "VIGIE_MODES__PROD__MODEL_PARAMS__N_ESTIMATORS": "30",
    "VIGIE_MODES__PROD__N_SPLITS_CV": "3",
}
WORSE = {
    **FEWER,
    "VIGIE_MODES__PROD__MODEL_PARAMS__N_ESTIMATORS": "1",
    "VIGIE_MODES__PROD__MODEL_PARAMS__MAX_DEPTH": "1",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("models") / "project").plain()
    done = made.vigie("sample", "--enrolments", "1500", "--out", str(made.raw))
    assert done.returncode == 0, done.stderr
    made.run("--mode", "prod", *SKIP, **FEWER)
    return made


def models(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        project.vigie("models", "--mode", "prod", "--json").stdout
    )
    return found


def files(project: Project) -> dict[str, str]:
    folder = project.folder / "models"
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def test_a_worse_model_does_not_take_its_place_unless_accepted(project: Project) -> None:
    before = files(project)
    (champion,) = models(project)
    said = project.run("--mode", "prod", *SKIP, **WORSE)
    assert "is worse by more than 0.005" in said
    assert "vigie run --mode prod --accept" in said
    assert files(project) == before
    turned_down, kept = models(project)
    assert (kept["version"], kept["current"]) == (champion["version"], True)
    assert turned_down["turned_down"]
    assert not turned_down["current"]
    assert "turned down" in project.vigie("models", "--mode", "prod").stdout
    # It has been decided: the same command doesn't train again.
    assert project.run("--mode", "prod", *SKIP, **WORSE).count("Skipped") == 7
    accepted = project.run("--mode", "prod", *SKIP, "--accept", **WORSE)
    assert "taken because of --accept" in accepted
    assert files(project) != before
    assert models(project)[0]["current"]
    metadata = json.loads((project.folder / "models" / "model_metadata_prod.json").read_bytes())
    assert metadata["challenge"]["accepted_by_flag"] is True
    assert metadata["challenge"]["champion"] == champion["version"]
    # A better one takes its place by itself.
    better = project.run("--mode", "prod", *SKIP, **FEWER)
    assert "beside the current model" in better
    assert models(project)[0]["current"]
    assert files(project)["random_forest_prod.pkl"] == before["random_forest_prod.pkl"]


def test_the_file_follows_the_kind(project: Project) -> None:
    boosting = {
        **FEWER,
        "VIGIE_MODEL__KIND": "hist_gradient_boosting",
        "VIGIE_MODEL__PARAMS": '{"max_iter": 60, "learning_rate": 0.1}',
        "VIGIE_MODEL__CALIBRATE": "isotonic",
        "VIGIE_MODEL__TOLERANCE": "0.2",
    }
    said = project.run("--mode", "prod", *SKIP, **boosting)
    assert "   • Model: models/hist_gradient_boosting_prod.pkl" in said
    there = files(project)
    assert "hist_gradient_boosting_prod.pkl" in there
    assert "random_forest_prod.pkl" not in there
    assert project.run("--mode", "prod", *SKIP, **boosting).count("Skipped") == 7
    back = project.vigie("rollback", models(project)[1]["stamp"], "--mode", "prod")
    assert back.returncode != 0
    assert 'Set [model] kind = "random_forest"' in back.stderr
    worse = {
        **WORSE, "VIGIE_MODEL__KIND": "extra_trees",
    }  # fmt: skip
    refused = project.vigie("run", "--mode", "prod", *SKIP, **worse)
    assert refused.returncode == 6
    assert "The current one was kept" in refused.stderr
    assert files(project) == there


def test_accept_is_about_training(project: Project) -> None:
    done = project.vigie("run", "--steps", "predict", "--accept")
    assert done.returncode == 2
    assert "train is not among the steps" in done.stderr


def results(project: Project) -> dict[str, str]:
    """Return digests of features, metrics and scores."""
    names = (
        "data/processed/features_dev.npy",
        "models/random_forest_dev.pkl",
        "models/out_of_fold_dev.parquet",
        "reports/metrics_dev.json",
        "reports/predictions_dev.csv",
    )
    return {n: hashlib.sha256((project.folder / n).read_bytes()).hexdigest() for n in names}


def test_twice_and_on_one_core_or_two_it_is_the_same_to_the_last_bit(
    project: Project, tmp_path: Path
) -> None:
    found = []
    for number, threads in enumerate(("1", "2", "2")):
        other = Project(tmp_path / f"p{number}").plain()
        other.raw.mkdir(parents=True)
        for file in project.raw.iterdir():
            (other.raw / file.name).hardlink_to(file)
        other.run(VIGIE_ENGINE__THREADS=threads)
        found.append(results(other))
    assert found[0] == found[1] == found[2]
