"""``vigie run`` as a user drives it: what it says, what it makes, what it skips and why."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.acceptance.project import Checkout, Project
from tests.conftest import ROOT
from vigie.data.postgres import open_embedded
from vigie.pipeline.definition import pipeline_steps
from vigie.report.figures import FIGURE_NAMES

STEPS = ["extract", "transform", "load", "features", "train", "evaluate", "predict"]
NUMBER = re.compile(r"\d[\d,.\u202f]*")


def skipped(output: str) -> list[str]:
    """Return the steps that the summary names as skipped."""
    return [name.lower() for name in re.findall(r"⏭️  ([A-Z]+): ", output)]


def ran(output: str) -> list[str]:
    """Return the steps that the summary gives a time for."""
    return [name.lower() for name in re.findall(r"✅ ([A-Z]+): ", output)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small generated data without its marker: real data as far as a run can tell."""
    project = Project(tmp_path_factory.mktemp("data") / "project")
    done = project.vigie("sample", "--enrolments", "700", "--out", str(project.raw))
    assert done.returncode == 0, done.stderr
    (project.raw / "GENERATED.json").unlink()
    return project.raw


@pytest.fixture
def project(tmp_path: Path, data: Path) -> Project:
    made = Project(tmp_path / "un projet à nous").plain()
    shutil.copytree(data, made.raw)
    return made


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Project:
    """A project after its first whole run; tests only read it or re-run what is cached."""
    made = Project(tmp_path_factory.mktemp("finished") / "project")
    shutil.copytree(data, made.raw)
    (made.folder / "first.txt").write_text(made.run("--mode", "dev", "--lang", "en"), "utf-8")
    return made


# --- what it says ---------------------------------------------------------------------------


def test_the_console_reads_as_the_guides_example(finished: Project) -> None:
    text = (finished.folder / "first.txt").read_text("utf-8")
    lines = text.splitlines()
    assert lines[0] == "=" * 70
    assert lines[1] == "🚀 PIPELINE ORCHESTRATOR - MODE: DEV"
    assert lines[3] == f"📋 Steps to run: {', '.join(STEPS)}"
    headings = [line for line in lines if line.startswith("🔵")]
    assert [heading.split(":")[0] for heading in headings] == [
        f"🔵 STEP {number}/7" for number in range(1, 8)
    ]
    assert "🎉 PIPELINE FINISHED SUCCESSFULLY!" in lines
    assert ran(text) == STEPS
    assert "   • Model: models/random_forest_dev.pkl" in lines
    assert "   • Predictions: reports/predictions_dev.csv" in lines
    assert "   • Evaluation: reports/figures_dev/" in lines
    assert "[" not in lines[1]  # no control sequences where the output is no terminal
    assert "\x1b" not in text


def test_the_same_in_french(finished: Project) -> None:
    for arguments, environ in ((["--lang", "fr"], {}), ([], {"LC_ALL": "fr_FR.UTF-8"})):
        lines = finished.run("--explain", *arguments, **environ).splitlines()
        assert lines[3] == f"📋 Étapes à exécuter: {', '.join(STEPS)}"
    text = finished.run("--lang", "fr")
    assert "🔵 ÉTAPE 1/7: EXTRACTION DES DONNÉES" in text
    assert "🎉 PIPELINE TERMINÉ AVEC SUCCÈS!" in text
    assert "⏱️  Temps total: " in text
    assert "📊 RÉSUMÉ PAR ÉTAPE:" in text
    assert "   • Modèle: models/random_forest_dev.pkl" in text
    finished.run("--lang", "en")


def test_the_log_has_it_all_with_timestamps(finished: Project) -> None:
    log = (finished.folder / "logs" / "pipeline_dev.log").read_text("utf-8")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO +🔵 STEP 5/7", log, re.MULTILINE)
    assert "DEBUG   plan: " in log


def test_quiet_says_nothing_when_all_is_well(finished: Project) -> None:
    assert finished.run("--quiet") == ""


# --- what it makes --------------------------------------------------------------------------


def test_the_matrix_and_its_description_belong_together(finished: Project) -> None:
    processed = finished.folder / "data" / "processed"
    values = np.load(processed / "features_dev.npy")
    labels = np.load(processed / "labels_dev.npy")
    described = json.loads((processed / "features_metadata_dev.json").read_text("utf-8"))
    assert values.dtype == np.float32
    assert values.shape == (len(labels), len(described["features"]))
    assert values.shape == (described["rows"], described["columns"])
    assert described["cutoff_days"] == 180
    assert described["generated"] is None
    assert set(np.unique(labels)) == {0, 1}


def test_the_predictions_are_complete_sorted_and_out_of_fold(finished: Project) -> None:
    with (finished.folder / "reports" / "predictions_dev.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    described = json.loads(
        (finished.folder / "data" / "processed" / "features_metadata_dev.json").read_text("utf-8")
    )
    assert len(rows) == described["rows"]
    assert list(rows[0])[:6] == [
        "code_module",
        "code_presentation",
        "id_student",
        "risk_score",
        "risk_level",
        "prediction",
    ]
    scores = [float(row["risk_score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row, score in zip(rows, scores, strict=True):
        level = "high" if score >= 0.7 else "medium" if score >= 0.3 else "low"
        assert row["risk_level"] == level
        assert row["prediction"] == ("at_risk" if score >= 0.5 else "not_at_risk")
        assert row["out_of_fold"] == "true"
        assert row["cutoff_days"] == "180"


def test_each_prediction_says_why(finished: Project) -> None:
    described = json.loads(
        (finished.folder / "data" / "processed" / "features_metadata_dev.json").read_text("utf-8")
    )
    labels = {feature["label"]["en"] for feature in described["features"]}
    with (finished.folder / "reports" / "predictions_dev.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    for row in rows:
        amounts = []
        for name in ("reason_1", "reason_2", "reason_3"):
            told = re.fullmatch(r"(.+): (.+) \(([+-]\d\.\d\d)\)", row[name])
            assert told is not None, row[name]
            assert told[1] in labels
            amounts.append(abs(float(told[3])))
        assert amounts == sorted(amounts, reverse=True)
    # What makes somebody the riskiest of all speaks for risk, and the other way round.
    assert "(+" in rows[0]["reason_1"]
    assert "(-" in rows[-1]["reason_1"]


def test_the_score_is_of_the_bad_outcome(finished: Project) -> None:
    with (finished.raw / "studentInfo.csv").open(encoding="utf-8") as opened:
        result = {
            (row["code_module"], row["code_presentation"], row["id_student"]): row["final_result"]
            for row in csv.DictReader(opened)
        }
    with (finished.folder / "reports" / "predictions_dev.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    scores: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        key = (row["code_module"], row["code_presentation"], row["id_student"])
        scores[result[key] in ("Fail", "Withdrawn")].append(float(row["risk_score"]))
    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.2


def test_metrics_stand_beside_their_baseline_and_interval(finished: Project) -> None:
    metrics = json.loads((finished.folder / "reports" / "metrics_dev.json").read_text("utf-8"))
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "brier"):
        assert set(metrics["holdout"]["metrics"][name]) >= {"value", "low", "high", "baseline"}
    assert metrics["split"]["kind"] == "latest"
    assert metrics["split"]["holdout_periods"] == ["2014"]
    assert metrics["cross_validation"]["mean"]["roc_auc"] > 0.7
    # the claim that a model makes of its own training rows is not what is published
    assert metrics["training"]["roc_auc"] > metrics["holdout"]["metrics"]["roc_auc"]["value"]


def test_the_database_holds_what_the_files_hold(finished: Project) -> None:
    summary = json.loads(
        (finished.folder / "data" / "interim" / "clean_dev" / "summary.json").read_text("utf-8")
    )
    with (
        open_embedded(finished.folder / ".vigie" / "postgres") as address,
        psycopg.connect("".join(address.url())) as connection,
    ):
        for table, rows in {**summary["rows"], "cohort": summary["cohort"]}.items():
            found = connection.execute(f"SELECT count(*) FROM vigie_dev.{table}").fetchone()
            assert found == (rows,), table
        predicted = connection.execute("SELECT count(*) FROM vigie_dev.predictions").fetchone()
        assert predicted == (summary["cohort"],)
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'vigie%' ORDER BY 1"
        ).fetchall()
        assert schemas == [("vigie_dev",), ("vigie_history",)]


def test_a_dev_run_leaves_nothing_of_prod(finished: Project) -> None:
    names = [str(path.relative_to(finished.folder)) for path in finished.folder.rglob("*")]
    assert not [name for name in names if "prod" in name]


# --- what it skips --------------------------------------------------------------------------


def test_a_second_run_skips_everything_and_says_why(finished: Project) -> None:
    text = finished.run("--lang", "en")
    assert skipped(text) == STEPS
    assert text.count("nothing has changed since") == 14


def in_python(project: Project, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Python's in the project, which tells what it has imported."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=project.folder, env=project.environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_run_with_nothing_to_do_imports_no_step_and_no_library(finished: Project) -> None:
    program = (
        "import sys\nfrom vigie.cli import main\ncode = main(['run'])\n"
        "sys.exit(code or ' '.join(sorted(sys.modules)))\n"
    )
    done = in_python(finished, program)
    assert skipped(done.stdout) == STEPS
    modules = set(done.stderr.split())
    assert "vigie.pipeline.runner" in modules
    assert not {"duckdb", "numpy", "psycopg", "pyarrow", "sqlglot"} & modules
    assert not [name for name in modules if name.startswith(("vigie.steps.", "vigie.checks."))]


def test_pandas_is_not_needed(tmp_path: Path) -> None:
    """It is not among what is installed, but the tests' own environment has it."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "pandas.py").write_text("raise ImportError('there is none')\n", "utf-8")
    project = Project(tmp_path / "project")
    done = project.vigie("run", "--lang", "en", cold=True, PYTHONPATH=str(stub))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"VIGIE_MODES__DEV__MODEL_PARAMS__N_ESTIMATORS": "37"}, STEPS[4:]),
        ({"VIGIE_PREDICT__HIGH": "0.9"}, ["predict"]),
        ({"VIGIE_PREDICT__THRESHOLD": "0.4"}, ["evaluate", "predict"]),
        ({"VIGIE_CUTOFF_DAYS": "90"}, STEPS[1:]),
        ({"VIGIE_EXTRACT__MAX_REJECTED": "0.5"}, ["extract"]),
        ({"VIGIE_MODES__PROD__SAMPLE_SIZE": "5"}, []),
    ],
)
def test_a_changed_setting_runs_what_depends_on_it_and_nothing_else(
    finished: Project, environ: dict[str, str], expected: list[str]
) -> None:
    plan = finished.run("--explain", "--lang", "en", **environ)
    planned = re.findall(r"^   (\w+) +run", plan, re.MULTILINE)
    # What builds on a step that runs may run as well; that it need not is seen when it is its turn.
    first = STEPS.index(expected[0]) if expected else len(STEPS)
    assert set(expected) <= set(planned)
    assert all(STEPS.index(step) >= first for step in planned)
    assert finished.run("--explain", "--lang", "en").count("skip ") == 7


def test_an_identical_rebuild_stops_the_cascade(project: Project) -> None:
    project.run("--steps", "extract", "transform", "features")
    text = project.run("--steps", "extract", "transform", "features", "--force", "extract")
    assert ran(text) == ["extract"]
    assert skipped(text) == ["transform", "features"]


def test_steps_run_in_pipeline_order(project: Project) -> None:
    text = project.run("--steps", "features", "transform", "extract")
    assert ran(text) == ["extract", "transform", "features"]


def test_outputs_touched_by_hand_are_made_again(project: Project) -> None:
    steps = ("--steps", "extract", "transform", "features")
    project.run(*steps)
    labels = project.folder / "data" / "processed" / "labels_dev.npy"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1])
    text = project.run(*steps, "--lang", "en")
    assert ran(text) == ["features"]
    assert labels.read_bytes() == whole


def test_a_step_without_its_input_names_the_step_to_run(project: Project) -> None:
    done = project.vigie("run", "--steps", "train", "--lang", "en")
    assert done.returncode == 3
    assert "Step train cannot run" in done.stderr
    assert "features" in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_alone_uses_the_model_that_is_there(finished: Project) -> None:
    model = finished.folder / "models" / "random_forest_dev.pkl"
    before = model.read_bytes()
    (finished.folder / "reports" / "predictions_dev.csv").unlink()
    text = finished.run("--steps", "predict")
    assert ran(text) == ["predict"]
    assert model.read_bytes() == before


def test_changed_code_counts_and_a_comment_does_not(tmp_path: Path) -> None:
    checkout = Checkout.copy(tmp_path / "vigie", enrolments=400)
    steps = "--mode dev --lang en --steps extract transform features"
    run = f"{sys.executable} -m src.pipeline.orchestrator {steps}"
    assert checkout.bash(run).returncode == 0
    helper = checkout.folder / "vigie" / "features" / "feature.py"
    text = helper.read_text("utf-8")
    helper.write_text(text + "\n# a remark\n", "utf-8")
    assert skipped(checkout.bash(run).stdout) == ["extract", "transform", "features"]
    changed = text.replace('.strip("_")', '.strip("_ ")')
    assert changed != text
    helper.write_text(changed, "utf-8")
    plan = checkout.bash(f"{run} --explain").stdout
    assert "the code changed: vigie.features.feature" in plan
    assert plan.count("skip ") == 2


# --- wrong use ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps"], ["--steps names no step", "extract transform load"]),
        (["--steps", "trian"], ["no step called 'trian'", "Did you mean train?"]),
        (["--mode", "production"], ["no mode called 'production'", "prod"]),
        (["--force", "predicts"], ["Did you mean predict?"]),
        (["--cutoff-days", "soon"], ["--cutoff-days"]),
        (["--bogus"], ["--bogus"]),
        (["--project", "/no/such/folder"], ["does not exist"]),
        (["--config", "nowhere.toml"], ["nowhere.toml"]),
    ],
)
def test_wrong_use_exits_2_and_names_what_there_is(
    finished: Project, arguments: list[str], said: list[str]
) -> None:
    done = finished.vigie("run", "--lang", "en", *arguments)
    assert done.returncode == 2
    for text in said:
        assert text in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_prod_refuses_without_data_and_names_the_two_ways(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    done = project.vigie("run", "--mode", "prod", "--lang", "en")
    assert done.returncode == 3
    assert "vigie fetch oulad" in done.stderr
    assert "studentVle.csv" in done.stderr
    assert not (project.folder / "data" / "interim").exists()


def test_a_defect_shows_no_traceback_unless_asked(project: Project) -> None:
    (project.raw / "vle.csv").write_bytes(b"\x00\x01\x02")
    done = project.vigie("run", "--steps", "extract")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    done = project.vigie("run", "--steps", "extract", "--debug")
    assert "Traceback" in done.stderr
    assert "Traceback" in (project.folder / "logs" / "pipeline_dev.log").read_text("utf-8")


# --- generated data -------------------------------------------------------------------------


@pytest.mark.slow
def test_dev_without_data_generates_some_and_says_so(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    text = project.run("--lang", "en")
    assert text.splitlines()[0].startswith("⚠️  GENERATED DATA")
    assert "sample: 5,000 of them" in text
    predictions = json.loads(
        (project.folder / "reports" / "predictions_dev_metadata.json").read_text("utf-8")
    )
    assert predictions["generated"] is True
    assert predictions["rows"] == 5000
    assert not (project.folder / "data" / "raw").exists()
    assert skipped(project.run("--lang", "en")) == STEPS


# --- trouble --------------------------------------------------------------------------------


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vigie.cli", "run", "--lang", "en", *arguments],
        cwd=project.folder,
        env={**project.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(running: subprocess.Popen[str], text: str) -> None:
    assert running.stdout is not None
    for line in running.stdout:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


def test_ctrl_c_stops_says_so_and_the_same_command_resumes(project: Project) -> None:
    running = start(project)
    wait_for(running, "STEP 4/7")
    running.send_signal(signal.SIGINT)
    _out, err = running.communicate(timeout=20)
    assert running.returncode == 130, err
    assert "Interrupted" in err
    text = project.run("--lang", "en")
    # The load goes on beside step 4: it had ended or not.
    assert skipped(text)[:2] == ["extract", "transform"]
    assert ran(text)[-1] == "predict"


@pytest.mark.parametrize("step", ["extract", "transform", "features", "train"])
def test_ctrl_c_in_the_middle_of_a_library(finished: Project, step: str) -> None:
    running = start(finished, "--steps", step, "--force")
    wait_for(running, "STEP 1/1")
    time.sleep(0.05)
    begin = time.monotonic()
    running.send_signal(signal.SIGINT)
    _out, err = running.communicate(timeout=20)
    assert time.monotonic() - begin < 2
    assert running.returncode == 130, err
    assert "Resume: " in err
    assert skipped(finished.run("--lang", "en"))


def test_rows_that_do_not_fit_are_kept_for_whoever_mends_them(project: Project) -> None:
    file = project.raw / "studentRegistration.csv"
    lines = file.read_text("utf-8").splitlines(keepends=True)
    lines[1:21] = ["=cmd|'/c calc'!A0,2013J,soon,x,\n"] * 20
    file.write_text("".join(lines), "utf-8")
    done = project.vigie("run", "--lang", "en")
    assert done.returncode == 3
    assert "20 of 700 rows of student_registration" in done.stderr
    kept = project.folder / "data" / "quarantine" / "student_registration.csv"
    assert str(kept.relative_to(project.folder)) in done.stderr
    assert kept.stat().st_mode & 0o777 == 0o600
    with kept.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["line"] for row in rows] == [str(line) for line in range(2, 22)]
    assert all(row["text"].startswith("'=cmd") for row in rows)
    (project.folder / "vigie.toml").write_text("[extract]\nmax_rejected = 0.05\n", "utf-8")
    assert "20 rows of student_registration don't fit" in project.run("--lang", "en")


def test_kill_and_resume_gives_the_same_predictions(project: Project, finished: Project) -> None:
    running = start(project)
    wait_for(running, "STEP 3/7")
    time.sleep(0.3)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    text = project.run("--lang", "en")
    assert skipped(text) == ["extract", "transform"]
    name = Path("reports") / "predictions_dev.csv"
    assert (project.folder / name).read_bytes() == (finished.folder / name).read_bytes()


def test_what_a_kill_left_beside_a_result_goes_though_nothing_is_to_be_done(
    finished: Project,
) -> None:
    # Killed after the new folder took the old one's place, before that was removed.
    left = finished.folder / "data" / "interim" / ".clean_dev.vigie-tmp-0123abcd"
    left.mkdir()
    (left / "pupils.parquet").write_text("old")
    assert skipped(finished.run("--lang", "en")) == STEPS
    assert not left.exists()


def test_two_runs_of_one_mode_are_kept_apart(project: Project) -> None:
    running = start(project, "--steps", "extract", "transform", "features")
    wait_for(running, "STEP 1/3")
    second = project.vigie("run", "--lang", "en")
    other = project.vigie("run", "--mode", "prod", "--lang", "en", "--steps", "extract")
    running.communicate(timeout=60)
    assert running.returncode == 0
    assert second.returncode == 4
    assert str(running.pid) in second.stderr
    assert other.returncode == 0


def test_a_second_run_waits_where_it_is_told_to(project: Project) -> None:
    running = start(project, "--steps", "extract", "transform")
    wait_for(running, "STEP 1/2")
    second = project.vigie("run", "--lang", "en", "--steps", "extract", "--wait", "60")
    assert running.wait(timeout=60) == 0
    assert second.returncode == 0, second.stderr
    assert skipped(second.stdout) == ["extract"]


def test_an_unreachable_server_fails_before_any_work(project: Project) -> None:
    (project.folder / ".env").write_text(
        "DB_HOST=127.0.0.1\nDB_PORT=1\nDB_NAME=x\nDB_USER=u\nDB_PASSWORD='canary-77'\n"
    )
    done = project.vigie("run", "--lang", "en")
    assert done.returncode == 5
    assert "127.0.0.1" in done.stderr
    assert ".env" in done.stderr
    assert not (project.folder / "data" / "interim").exists()
    for path in project.folder.rglob("*"):
        if path.is_file() and path.name != ".env":
            assert b"canary-77" not in path.read_bytes(), path
    assert "canary-77" not in done.stdout + done.stderr


def test_the_run_itself_imports_nothing_of_what_its_helper_does(tmp_path: Path) -> None:
    """Were anything drawn here after all, it would be slower and nobody would see why."""
    project = Project(tmp_path / "project")
    program = (
        "import sys\nfrom vigie.cli import main\ncode = main(['run'])\n"
        "sys.exit(code or str(sorted({'matplotlib', 'jinja2', 'PIL'} & set(sys.modules))))\n"
    )
    done = in_python(project, program)
    assert done.stderr.strip() == "[]", done.stderr
    drawn = project.folder / "reports" / "figures_dev"
    assert {file.name for file in drawn.iterdir()} >= set(FIGURE_NAMES)
    assert "<svg" in (project.folder / "reports" / "report_dev.html").read_text("utf-8")


def test_no_step_imports_what_is_imported_ahead_for_a_later_one(project: Project) -> None:
    steps = pipeline_steps("dev")
    ahead = {name.partition(".")[0] for step in steps for name in step.imports} - {"numpy"}
    assert {"sklearn", "scipy"} <= ahead
    earlier = [step.name for step in steps if not step.imports]
    assert earlier == ["extract", "transform", "load", "features"]
    program = (
        "import sys\nfrom vigie.cli import main\n"
        f"code = main(['run', '--steps', *{earlier!r}])\n"
        f"sys.exit(code or str(sorted({ahead!r} & set(sys.modules))))\n"
    )
    done = in_python(project, program)
    assert done.stderr.strip() == "[]", done.stderr
