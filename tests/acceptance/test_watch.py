"""A new term: how it differs from what was learnt from, and how last term's predictions did."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.project import Project

SCORING = ("--steps", "extract", "transform", "features", "predict", "--lang", "en")


def students(count: int, *, seed: int, outcome: bool, shift: int = 0, city: str = "Bonn") -> str:
    rng = random.Random(seed)
    lines = ["id,hours,missed,city,result"]
    for number in range(count):
        hours, missed = rng.randint(0, 60) + shift, rng.randint(0, 5)
        fails = rng.random() < 0.1 + 0.16 * missed - 0.004 * (hours - shift)
        result = ("fail" if fails else "pass") if outcome else ""
        lines.append(f"S{seed}-{number},{hours},{missed},{rng.choice([city, 'Trier'])},{result}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project").plain()
    file = tmp_path / "students.csv"
    file.write_text(students(900, seed=1, outcome=True), "utf-8")
    done = made.vigie("init", str(file), "--target", "result", "--positive", "fail", "--id", "id")
    assert done.returncode == 0, done.stderr
    made.run("--lang", "en")
    return made


def bring(project: Project, text: str) -> None:
    (project.folder / "data" / "raw" / "students.csv").write_text(text, "utf-8")


def document(project: Project, name: str) -> dict[str, Any]:
    path = project.folder / "reports" / f"{name}_dev.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_a_term_like_the_last_raises_no_alarm(project: Project) -> None:
    bring(project, students(200, seed=2, outcome=False))
    said = project.run(*SCORING)
    drift = document(project, "drift")
    assert (drift["compared"], drift["rows"], drift["drifted"]) == ("new rows", 200, [])
    assert "not as they were" not in said
    assert "new to the model" not in said


def test_a_term_unlike_the_last_is_told(project: Project) -> None:
    bring(project, students(200, seed=3, outcome=False, shift=40, city="Mainz"))
    said = project.run(*SCORING)
    drift = document(project, "drift")
    assert "hours" in drift["drifted"]
    assert drift["two_sample"]["drifted"]
    assert "features are not as they were when the model was trained" in said
    (city,) = [one for one in drift["categories"] if one["column"] == "city"]
    assert city["unknown"] > 0.3
    assert "city:" in said
    assert "of the rows have a value new to the model" in said
    warned = json.loads(project.vigie("runs", "show", "last", "--json").stdout)
    assert "not as they were" in str(warned)


def test_last_terms_predictions_are_judged_as_they_were_made(project: Project) -> None:
    bring(project, students(300, seed=4, outcome=False))
    project.run(*SCORING)
    log = project.folder / ".vigie" / "published_dev.parquet"
    assert log.stat().st_mode & 0o077 == 0
    before = log.read_bytes()
    # The same scores again are the same publication.
    project.run(*SCORING, "--force", "predict")
    assert log.read_bytes() == before
    assert "published" not in document(project, "metrics")
    # The outcomes come; nothing is trained.
    bring(project, students(300, seed=4, outcome=True))
    said = project.run("--steps", "extract", "transform", "features", "evaluate", "--lang", "en")
    assert "before the outcome was known: AUC 0." in said
    (published,) = document(project, "metrics")["published"]
    assert published["rows"] == 300
    assert published["metrics"]["roc_auc"]["low"] > 0.55
    assert published["model_version"] == document(project, "metrics")["model_version"]
    # Also after a training that knows these outcomes: what was said, was said.
    both = students(900, seed=1, outcome=True) + "".join(
        students(300, seed=4, outcome=True).splitlines(keepends=True)[1:]
    )
    bring(project, both)
    project.run("--lang", "en")
    (again,) = document(project, "metrics")["published"]
    assert again["metrics"] == published["metrics"]
    assert again["model_version"] != document(project, "metrics")["model_version"]
    assert project.run("--lang", "en").count("Skipped") == 7


def test_an_ordinary_run_compares_the_hold_out_with_what_was_before(project: Project) -> None:
    assert document(project, "drift")["compared"] == "hold-out"
    assert not (project.folder / ".vigie" / "published_dev.parquet").exists()
