"""``vigie runs``, ``vigie models`` and ``vigie rollback`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.project import Done, Project
from tests.acceptance.test_run import ran, skipped
from vigie.data.postgres import open_embedded

CANARY = "c4n4ry-p4ss"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that ran twice: at day 180, then at day 90."""
    made = Project(tmp_path_factory.mktemp("history") / "project").plain()
    done = made.vigie("sample", "--enrolments", "300", "--out", str(made.raw))
    assert done.returncode == 0, done.stderr
    made.run()
    (made.folder / "first.csv").write_bytes(predictions(made))
    made.run("--cutoff-days", "90")
    return made


def predictions(project: Project) -> bytes:
    return (project.folder / "reports" / "predictions_dev.csv").read_bytes()


def ask(project: Project, *arguments: str) -> Done:
    done = project.vigie(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines()), default=0) <= 100 or "--json" in arguments
    return done


def answer(project: Project, *arguments: str) -> Any:
    return json.loads(ask(project, *arguments, "--json").stdout)


def test_list_show_diff_and_the_way_back(project: Project) -> None:
    second, first = answer(project, "runs")
    lines = ask(project, "runs").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [second["run_id"], first["run_id"]]
    assert f"{first['auc']:.3f}" in lines[2]
    assert first["model_version"] in lines[2]
    shown = ask(project, "runs", "show", first["run_id"][-4:]).stdout
    assert "roc_auc" in shown
    assert "transform  success" in shown
    changed = ask(project, "runs", "diff", "last~1", "last").stdout
    assert "cutoff_days: 180 → 90   (default → --cutoff-days)" in changed
    assert f"roc_auc: {first['auc']:.3f} → {second['auc']:.3f}" in changed
    assert answer(project, "runs", "diff", "last~1", "last")["code"] == []

    newer, older = answer(project, "models")
    assert (newer["current"], older["current"]) == (True, False)
    assert (newer["cutoff_days"], older["cutoff_days"]) == (90, 180)
    assert older["holdout_auc"] == first["auc"]
    told = ask(project, "rollback").stdout
    assert older["version"] in told
    assert "the model knows day 180, the features day 90" in told
    assert [one["current"] for one in answer(project, "models")] == [False, True]

    output = project.run()
    assert "train" in skipped(output)
    assert predictions(project) == (project.folder / "first.csv").read_bytes()
    again = answer(project, "runs")[0]
    assert (again["auc"], again["model_version"]) == (first["auc"], first["model_version"])

    # Nothing was ever started for them: the tables came with the runs.
    with (
        open_embedded(project.folder / ".vigie" / "postgres") as address,
        psycopg.connect("".join(address.url())) as connection,
    ):
        found = connection.execute(
            "SELECT r.run_id, m.value FROM vigie_history.runs r JOIN vigie_history.run_metrics m "
            "USING (run_id) WHERE m.name = 'roc_auc' ORDER BY 1 DESC"
        ).fetchall()
    assert found == [(one["run_id"], one["auc"]) for one in (again, second, first)]


def test_a_roll_back_on_the_same_data_holds_until_a_setting_changes(project: Project) -> None:
    project.run()
    version = answer(project, "models")[0]["version"]
    before = next(one for one in answer(project, "models") if one["current"])
    config = project.folder / "vigie.toml"
    config.write_text("[modes.dev.model_params]\nmin_samples_leaf = 20\n", "utf-8")
    assert "train" in ran(project.run())
    assert version != answer(project, "models")[0]["version"]
    assert "--force train" in ask(project, "rollback", before["version"]).stdout
    output = project.run()
    assert ran(output) == ["evaluate", "predict"]
    assert f"rolled back to {before['version']} on" in output
    assert predictions(project) == (project.folder / "first.csv").read_bytes()
    assert skipped(project.run())[-3:] == ["train", "evaluate", "predict"]
    config.write_text("[modes.dev.model_params]\nmin_samples_leaf = 7\n", "utf-8")
    assert "min_samples_leaf` changed from 20 to 7" in project.run("--explain")


def test_names_that_mean_nothing(project: Project) -> None:
    for arguments in (
        ("runs", "show", "xyz"),
        ("runs", "diff", "last", "last~99"),
        ("runs", "--mode", "test"),
        ("models", "--mode", "test"),
        ("rollback", "xyz"),
        ("rollback", "--mode", "prod"),
    ):
        done = project.vigie(*arguments)
        assert done.returncode in (2, 6), arguments
        assert "Fix:" in done.stderr, arguments
        assert "Traceback" not in done.stderr


def test_retention(project: Project) -> None:
    (project.folder / "vigie.toml").write_text("[retention]\nruns = 2\nmodels = 1\n", "utf-8")
    project.run()
    assert len(answer(project, "runs")) == 2
    kept = answer(project, "models")
    assert kept[0]["current"] or len(kept) == 2
    assert sum(one["current"] for one in kept) == 1


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    failing = Project(tmp_path / "project").plain()
    assert failing.vigie("run", "--steps", "predict").returncode == 3
    away = f"postgresql://ann:{CANARY}@127.0.0.1:1/x"
    assert failing.vigie("run", DATABASE_URL=away).returncode == 5
    shown = ask(failing, "runs", "show").stdout
    assert "status       failed" in shown
    assert "PostgreSQL doesn't answer" in shown
    assert "postgresql://ann:***@127.0.0.1:1/x" in shown
    shown += ask(failing, "runs", "show", "--json").stdout
    blocked = ask(failing, "runs", "show", "last~1").stdout
    assert "Step predict cannot run" in blocked
    assert CANARY not in shown + ask(failing, "runs", "diff").stdout


def test_before_anything_ran(tmp_path: Path) -> None:
    empty = Project(tmp_path / "project")
    assert "No run is recorded yet" in ask(empty, "runs").stdout
    assert "No model has been made yet" in ask(empty, "models").stdout
    assert answer(empty, "runs") == answer(empty, "models") == []
    assert not (empty.folder / ".vigie").exists()
