"""``vigie run --json`` as a scheduler uses it: one line of JSON, exit codes, steps as processes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.project import Done, Project
from tests.conftest import ROOT
from vigie.pipeline.lock import ProjectLock

STEPS = ["extract", "transform", "load", "features", "train", "evaluate", "predict"]


def answer(done: Done) -> dict[str, Any]:
    """Return the answer, which must be all of the standard output, and agree with the process."""
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    assert content["exit_code"] == done.returncode
    assert (content["error"] is None) == (done.returncode == 0)
    assert "Traceback" not in done.stderr
    return content


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("answer") / "project")
    done = made.vigie("sample", "--enrolments", "300", "--out", str(made.raw))
    assert done.returncode == 0, done.stderr
    (made.raw / "GENERATED.json").unlink()
    return made


@pytest.fixture(scope="module")
def answers(project: Project) -> list[dict[str, Any]]:
    """Each step as a process of its own, as a scheduler starts it."""
    found = []
    for step in STEPS:
        done = project.vigie("run", "--steps", step, "--json")
        assert done.returncode == 0, done.stderr
        assert "PIPELINE ORCHESTRATOR" in done.stderr
        found.append(answer(done))
    return found


def test_each_step_answers_for_itself(answers: list[dict[str, Any]]) -> None:
    for step, found in zip(STEPS, answers, strict=True):
        assert list(found["steps"]) == [step]
        assert found["status"] == found["steps"][step]["status"] == "success"
        assert found["steps"][step]["seconds"] > 0
        assert found["made"] == found["steps"][step]["outputs"] != []
    assert len({found["run_id"] for found in answers}) == len(STEPS)
    assert answers[0]["steps"]["extract"]["rows"]["student_info"] == 300
    assert answers[4]["model_version"].startswith("rf-")
    assert answers[4]["model_version"] == answers[6]["model_version"]
    assert 0.4 < answers[5]["metrics"]["roc_auc"] <= 1


def test_the_second_time_all_is_skipped_and_the_answer_has_the_same_figures(
    project: Project, answers: list[dict[str, Any]]
) -> None:
    done = project.vigie("run", "--json")
    found = answer(done)
    assert [step["status"] for step in found["steps"].values()] == ["skipped"] * 7
    assert found["made"] == []
    assert found["metrics"] == answers[5]["metrics"]
    assert found["model_version"] == answers[4]["model_version"]
    for step, before in zip(STEPS, answers, strict=True):
        assert found["steps"][step]["rows"] == before["steps"][step]["rows"]


def test_a_plan_is_answered_without_a_run(project: Project, answers: list[dict[str, Any]]) -> None:
    found = answer(project.vigie("run", "--explain", "--force", "train", "--json"))
    assert (found["status"], found["run_id"]) == ("planned", None)
    assert [step["action"] for step in found["steps"].values()] == ["skip"] * 4 + ["run"] * 3


def test_a_held_lock_is_worth_a_retry_or_is_waited_for(
    project: Project, answers: list[dict[str, Any]]
) -> None:
    lock = ProjectLock(project.folder / ".vigie", "dev", command="another")
    with lock.hold():
        found = answer(project.vigie("run", "--steps", "extract", "--json"))
        assert found["exit_code"] == 4
        assert found["error"]["kind"] == "LockHeld"
        assert found["error"]["retry"] is True
        assert found["run_id"] is None
        waiting = subprocess.Popen(
            [sys.executable, "-m", "vigie.cli", "run", "--steps", "extract", "--wait", "60"],
            cwd=project.folder,
            env={**project.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(1.5)
        assert waiting.poll() is None
    assert waiting.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "said"),
    [
        (["--mod", "dev"], 2, "UsageError", "--mod"),
        (["--steps", "trane"], 2, "UsageError", "trane"),
        (["--mode", "test"], 2, "UsageError", "test"),
        (["--config", "none.toml"], 2, "SettingsError", "settings file"),
        ([], 3, "RawDataMissing", "courses.csv"),
    ],
)
def test_what_nobody_mends_by_trying_again_says_so(
    tmp_path: Path, arguments: list[str], code: int, kind: str, said: str
) -> None:
    broken = Project(tmp_path / "project")
    broken.raw.mkdir(parents=True)
    (broken.raw / "studentInfo.csv").write_text("id;name\n1;Ann\n", "utf-8")
    found = answer(broken.vigie("run", *arguments, "--json", "--lang", "en"))
    assert found["exit_code"] == code
    assert found["status"] == "failed"
    error = found["error"]
    assert error["retry"] is False
    assert said in " ".join(str(error[part]) for part in ("what", "where", "fix"))
    assert error["kind"] == kind


def test_a_step_without_its_inputs_is_blocked(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "project")
    shutil.copytree(project.raw, other.raw)
    found = answer(other.vigie("run", "--steps", "train", "--json"))
    assert (found["exit_code"], found["error"]["kind"]) == (3, "ArtifactMissing")
    assert found["steps"]["train"]["status"] == "blocked"
    assert found["error"]["retry"] is False


def test_a_database_that_does_not_answer_is_worth_a_retry(
    project: Project, answers: list[dict[str, Any]], tmp_path: Path
) -> None:
    other = Project(tmp_path / "project")
    shutil.copytree(project.raw, other.raw)
    url = "postgresql://ann:c4n4ry@127.0.0.1:9/x"
    done = other.vigie("run", "--json", "--steps", "extract", "transform", "load", DATABASE_URL=url)
    found = answer(done)
    assert found["exit_code"] == 5
    assert found["error"]["retry"] is True
    assert "c4n4ry" not in done.stdout + done.stderr
    # What the database holds is looked at before the first step.
    assert found["steps"] == {}


def test_a_stopped_run_still_answers(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "project")
    shutil.copytree(project.raw, other.raw)
    running = subprocess.Popen(
        [sys.executable, "-m", "vigie.cli", "run", "--json", "--lang", "en"],
        cwd=other.folder,
        env={**other.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "STEP 2/7" in line:
            running.send_signal(signal.SIGINT)
            break
    out, err = running.communicate(timeout=60)
    found = answer(Done(running.args, running.returncode, out, err))
    assert (found["exit_code"], found["status"]) == (130, "interrupted")
    assert found["error"]["retry"] is True
    assert found["steps"]["extract"]["status"] == "success"
    assert found["steps"]["predict"]["status"] == "not reached"
