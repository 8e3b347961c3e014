"""``[model] accelerated``: grown by another library, recorded, and scored by scikit-learn's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.project import Project


def test_an_accelerated_run_says_so_and_scores_as_well(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    pytest.importorskip("sklearnex", reason="scikit-learn-intelex is not to be had here")
    made = project.vigie("sample", "--enrolments", "900", "--out", "data/raw")
    assert made.returncode == 0, made.stderr
    steps = ("--steps", "extract", "transform", "features", "train", "evaluate")
    found = {}
    for accelerated in ("false", "true"):
        project.run(*steps, VIGIE_MODEL__ACCELERATED=accelerated)
        metadata = json.loads((project.folder / "models" / "model_metadata_dev.json").read_text())
        metrics = json.loads((project.folder / "reports" / "metrics_dev.json").read_text())
        found[accelerated] = metadata, metrics["holdout"]["metrics"]["roc_auc"]["value"]
    (plain, plain_auc), (grown, auc) = found["false"], found["true"]
    assert "accelerated" not in plain
    assert grown["accelerated"]["scikit-learn-intelex"]
    assert grown["kind"] == plain["kind"] == "random_forest"
    assert grown["version"] != plain["version"]
    assert auc == pytest.approx(plain_auc, abs=0.03)
    # Its file is a forest like any other: whoever scores doesn't need the library.
    answer = project.run("--steps", "features", "train", "--explain")
    assert "model.accelerated" in answer
