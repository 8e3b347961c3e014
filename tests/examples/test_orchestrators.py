"""The examples, run by the orchestrators themselves, each in an environment of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.project import Project
from tests.conftest import ROOT
from vigie.pipeline.lock import ProjectLock

ENVIRONMENTS = Path(os.environ.get("VIGIE_EXAMPLES_VENVS", ROOT / ".venv-examples"))
STEPS = ["extract", "transform", "load", "features", "train", "evaluate", "predict"]
VIGIE = Path(sys.executable).parent / "vigie"
# Runs one of the DAG's operators without a DAG run, and says how it ended.
ONE_STEP = """
import sys
sys.path.insert(0, sys.argv[1])
from vigie_dag import VigieStep
step = VigieStep(task_id="one", step="extract", command=sys.argv[2], project=sys.argv[3],
                 mode=sys.argv[4])
step.wait_seconds = 0
try:
    step.execute({})
except Exception as error:
    print("ENDED", type(error).__name__)
else:
    print("ENDED well")
"""
MATERIALIZE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from dagster import materialize
from vigie_assets import ASSETS, Vigie
where = Vigie(command=sys.argv[2], project=sys.argv[3], mode=sys.argv[4])
done = materialize(ASSETS, resources={"vigie": where}, raise_on_error=False)
found = {
    event.asset_key.path[-1]: {
        name: value.value for name, value in event.materialization.metadata.items()
    }
    for event in done.get_asset_materialization_events()
}
retries = sum(event.event_type_value == "STEP_UP_FOR_RETRY" for event in done.all_events)
print(json.dumps({"success": done.success, "assets": found, "retries": retries}))
"""


def environment(name: str) -> Path:
    folder = ENVIRONMENTS / name / "bin"
    if not (folder / "python").exists():
        pytest.skip(f"no environment with {name}: make test-examples makes it")
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("orchestrated") / "project")
    done = made.vigie("sample", "--enrolments", "300", "--out", str(made.raw))
    assert done.returncode == 0, done.stderr
    return made


def start(project: Project, program: Path, *arguments: str, **more: str) -> str:
    done = subprocess.run(
        [str(program), *arguments],
        cwd=project.folder,
        env={**project.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    return done.stdout


@pytest.fixture(scope="module")
def airflow(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of an Airflow of its own, with its database."""
    program = environment("airflow") / "airflow"
    home = tmp_path_factory.mktemp("airflow")
    found = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "examples" / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_VAR_VIGIE_COMMAND": str(VIGIE),
        "AIRFLOW_VAR_VIGIE_PROJECT": str(project.folder),
        "AIRFLOW_VAR_VIGIE_MODE": "dev",
    }
    said = start(project, program, "db", "migrate", **found)
    assert (home / "airflow.db").exists(), said
    return found


def test_airflow_runs_the_seven_steps_and_keeps_their_answers(
    project: Project, airflow: dict[str, str]
) -> None:
    program = environment("airflow") / "airflow"
    said = start(project, program, "dags", "test", "vigie", **airflow)
    assert "DagRun success" in said or "state=success" in said, said[-3000:]
    with sqlite3.connect(Path(airflow["AIRFLOW_HOME"]) / "airflow.db") as database:
        states = dict(database.execute("SELECT task_id, state FROM task_instance").fetchall())
        kept = dict(
            database.execute(
                "SELECT task_id, value FROM xcom WHERE key = 'return_value'"
            ).fetchall()
        )
    assert states == dict.fromkeys(STEPS, "success")
    answers: dict[str, Any] = {step: json.loads(text) for step, text in kept.items()}
    for step in STEPS:
        answer = answers[step]
        answer = json.loads(answer) if isinstance(answer, str) else answer
        assert answer["exit_code"] == 0
        assert answer["steps"][step]["status"] in {"success", "skipped"}


@pytest.mark.parametrize(
    ("mode", "held", "ended"),
    [
        ("dev", False, "ENDED well"),
        ("dev", True, "ENDED AirflowException"),
        ("none", False, "ENDED AirflowFailException"),
    ],
)
def test_airflow_tries_again_only_what_a_retry_can_mend(
    project: Project, airflow: dict[str, str], mode: str, held: bool, ended: str
) -> None:
    python = environment("airflow") / "python"
    folder, place = str(ROOT / "examples" / "airflow"), str(project.folder)
    arguments = ("-c", ONE_STEP, folder, str(VIGIE), place, mode)
    if not held:
        assert ended in start(project, python, *arguments, **airflow)
        return
    with ProjectLock(project.folder / ".vigie", "dev").hold():
        assert ended in start(project, python, *arguments, **airflow)


def materialized(project: Project, mode: str = "dev") -> dict[str, Any]:
    python = environment("dagster") / "python"
    folder = str(ROOT / "examples" / "dagster")
    said = start(project, python, "-c", MATERIALIZE, folder, str(VIGIE), str(project.folder), mode)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def test_dagster_materialises_the_seven_assets_with_metadata(project: Project) -> None:
    found = materialized(project)
    assert found["success"]
    assert list(found["assets"]) == STEPS
    assert found["assets"]["extract"]["rows"]["student_info"] == 300
    assert found["assets"]["predict"]["dagster/row_count"] > 100
    assert found["assets"]["train"]["model_version"].startswith("rf-")
    assert 0.4 < found["assets"]["evaluate"]["roc_auc"] <= 1


def test_dagster_does_not_retry_what_nobody_mends_by_waiting(project: Project) -> None:
    assert materialized(project, "none") == {"success": False, "assets": {}, "retries": 0}
