"""``vigie sweep`` and ``vigie compare``: trials that leave everything current as it is."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.project import Project
from tests.conftest import ROOT
from vigie.pipeline.lock import ProjectLock

FEWER = {"VIGIE_MODES__DEV__MODEL_PARAMS__N_ESTIMATORS": "30"}
KINDS = ("random_forest", "logistic_regression", "sklearn.naive_bayes.GaussianNB")
STEPS = ("--steps", "extract", "transform", "features", "train", "evaluate")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("trials") / "project").plain()
    made.environ |= FEWER
    done = made.vigie("sample", "--enrolments", "1500", "--out", str(made.raw))
    assert done.returncode == 0, done.stderr
    made.run(*STEPS)
    return made


def current(project: Project) -> dict[str, str]:
    """Return digests of all that runs have made."""
    folders = ("data/interim", "data/processed", "models", "reports")
    found = [file for name in folders for file in (project.folder / name).rglob("*")]
    return {
        file.relative_to(project.folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in found
        if file.is_file() and not file.name.startswith(("sweep_", "comparison_"))
    }


def report(project: Project, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (project.folder / "reports" / f"{name}_dev.json").read_text("utf-8")
    )
    return found


def test_a_sweep_judges_as_runs_do_and_changes_nothing_current(project: Project) -> None:
    before = current(project)
    done = project.vigie("sweep", "--cutoff-days", "180", "60")
    assert done.returncode == 0, done.stderr
    assert current(project) == before
    found = report(project, "sweep")
    assert [one["cutoff_days"] for one in found["points"]] == [60, 180]
    assert (found["kind"], found["generated"]) == ("random_forest", True)
    early, late = found["points"]
    run = report(project, "metrics")
    auc = run["holdout"]["metrics"]["roc_auc"]
    for name in ("value", "low", "high"):
        assert late["holdout"]["roc_auc"][name] == pytest.approx(auc[name], abs=1e-6)
    everybody = run["populations"]["everybody"]["metrics"]["roc_auc"]["value"]
    assert late["everybody"]["roc_auc"]["value"] == pytest.approx(everybody, abs=1e-6)
    assert late["everybody"]["roc_auc"]["value"] > late["holdout"]["roc_auc"]["value"]
    folds = run["cross_validation"]["mean"]["roc_auc"]
    assert late["cross_validation"]["roc_auc"]["mean"] == pytest.approx(folds, abs=1e-6)
    assert late["training"]["roc_auc"] == pytest.approx(run["training"]["roc_auc"], abs=1e-6)
    assert 0.6 < early["holdout"]["roc_auc"]["value"] < late["holdout"]["roc_auc"]["value"]
    assert early["logistic_regression"]["roc_auc"]["low"] > 0.6
    assert (project.folder / "reports" / "sweep_dev.png").read_bytes()[:4] == b"\x89PNG"
    for one in found["points"]:
        assert f"{one['holdout']['roc_auc']['value']:.3f} [" in done.stdout


def test_what_has_not_changed_is_not_done_again(project: Project) -> None:
    project.vigie("sweep", "--cutoff-days", "60", "180")
    file = project.folder / "reports" / "sweep_dev.json"
    first = file.read_bytes()
    again = project.vigie("sweep", "--cutoff-days", "60", "180")
    assert again.stdout.count("unchanged") == 2
    assert file.read_bytes() == first
    printed = project.vigie("sweep", "--cutoff-days", "60", "180", "--json")
    assert json.loads(printed.stdout) == json.loads(first)
    other = project.vigie("sweep", "--cutoff-days", "60", "180", "120")
    assert other.stdout.count("unchanged") == 2
    # A run at that day finds the extracted tables, and its own model untouched by the sweep.
    assert project.run(*STEPS).count("Skipped") == 5


def test_a_killed_sweep_goes_on_where_it_stopped(project: Project) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "vigie.cli", "sweep", "--cutoff-days", "40", "100"],
        cwd=project.folder,
        env={**project.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        if line.split()[:1] == ["40"]:
            break
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = project.vigie("sweep", "--cutoff-days", "40", "100")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert lines["40"].endswith("unchanged")
    assert not lines["100"].endswith("unchanged")


def test_a_day_that_cannot_be_judged_leaves_the_others(project: Project) -> None:
    done = project.vigie("sweep", "--cutoff-days", "-360", "180")
    assert done.returncode == 3
    assert " -360  ❌" in done.stdout
    bad, good = report(project, "sweep")["points"]
    assert set(bad) == {"cutoff_days", "error"}
    assert bad["error"] in done.stdout
    assert good["holdout"]["roc_auc"]["value"] > 0.8


def test_days_out_of_range_and_a_lock_that_is_held(project: Project) -> None:
    far = project.vigie("sweep", "--cutoff-days", "5000")
    assert far.returncode == 2
    assert "from -365 to 1000" in far.stderr
    with ProjectLock(project.folder / ".vigie", "dev").hold():
        for command in ("sweep", "compare"):
            held = project.vigie(command)
            assert held.returncode == 4, held.stderr


def test_a_data_set_without_days_is_not_swept_but_its_kinds_are_compared(tmp_path: Path) -> None:
    project = Project(tmp_path / "p").plain()
    file = tmp_path / "rows.csv"
    rows = (f"{n},{n % 7},{n * 7 % 11},{'bad' if n % 7 > 3 else 'good'}" for n in range(300))
    file.write_text("\n".join(["id,x,z,y", *rows]) + "\n", "utf-8")
    done = project.vigie("init", str(file), "--target", "y", "--positive", "bad", "--id", "id")
    assert done.returncode == 0, done.stderr
    refused = project.vigie("sweep")
    assert refused.returncode == 2
    assert "has no cut-off days to choose from" in refused.stderr
    compared = project.vigie("compare", *KINDS, "--json", **FEWER)
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["cutoff_days"] is None


def test_kinds_are_compared_on_the_same_folds(project: Project) -> None:
    before = current(project)
    done = project.vigie("compare", *KINDS)
    assert done.returncode == 0, done.stderr
    assert current(project) == before
    found = report(project, "comparison")
    assert [one["kind"] for one in found["kinds"]] == list(KINDS)
    by_kind = {one["kind"]: one for one in found["kinds"]}
    means = {kind: one["cross_validation"]["roc_auc"]["mean"] for kind, one in by_kind.items()}
    assert found["best"] == max(means, key=lambda kind: means[kind])
    assert by_kind[found["best"]]["difference_from_best"] is None
    best = by_kind[found["best"]]["holdout"]["roc_auc"]["value"]
    for kind, one in by_kind.items():
        if kind == found["best"]:
            continue
        beside = one["difference_from_best"]["holdout"]
        assert beside["low"] <= beside["value"] <= beside["high"]
        assert beside["value"] == pytest.approx(one["holdout"]["roc_auc"]["value"] - best)
    auc = report(project, "metrics")["holdout"]["metrics"]["roc_auc"]["value"]
    assert by_kind["random_forest"]["holdout"]["roc_auc"]["value"] == pytest.approx(auc, abs=1e-6)
    digests = {
        json.loads(file.read_text("utf-8"))["folds_sha256"]
        for file in (project.folder / ".vigie" / "trials_dev" / "180").glob("judged_*.json")
    }
    assert digests == {found["folds_sha256"]}
    if found["best"] != "random_forest":
        assert f'kind = "{found["best"]}"' in done.stdout
    # Another kind is one more; the others are not fitted again.
    log = (project.folder / "logs" / "pipeline_dev.log").read_text("utf-8")
    project.vigie("compare", *KINDS, "sklearn.tree.DecisionTreeClassifier")
    more = (project.folder / "logs" / "pipeline_dev.log").read_text("utf-8")[len(log) :]
    assert more.count("judge ") == 2  # begins and ends
    assert "judge sklearn.tree.DecisionTreeClassifier" in more


def test_kinds_that_there_are_not(project: Project) -> None:
    unknown = project.vigie("compare", "random_forest", "randm_forest")
    assert unknown.returncode == 6
    assert "Did you mean random_forest?" in unknown.stderr
    one = project.vigie("compare", "random_forest")
    assert one.returncode == 2
    assert "One kind alone" in one.stderr
