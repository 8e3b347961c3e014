"""The checklist before production, backups and their return, through the command line."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.project import Project
from tests.conftest import ROOT

SETTINGS = (
    "[modes.dev]\nmodel_params.n_estimators = 10\n[modes.prod]\nmodel_params.n_estimators = 20\n"
)
FAST = ("--lang", "en")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which dev and prod have succeeded; tests work on copies of it."""
    project = Project(tmp_path_factory.mktemp("production") / "project").plain()
    made = project.vigie("sample", "--enrolments", "600", "--out", str(project.raw))
    assert made.returncode == 0, made.stderr
    (project.raw / "GENERATED.json").unlink()
    (project.folder / "vigie.toml").write_text(SETTINGS, "utf-8")
    project.run("--mode", "dev", *FAST)
    project.run("--mode", "prod", *FAST)
    return project


@pytest.fixture
def project(tried: Project, tmp_path: Path) -> Project:
    copy = tmp_path / "project"
    # With the owners: the server's data belong to nobody where we are root.
    subprocess.run(["cp", "-a", str(tried.folder), str(copy)], check=True)
    return Project(copy).plain()


def checks(project: Project, *arguments: str, code: int) -> dict[str, dict[str, Any]]:
    done = project.vigie("check", "--json", *FAST, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["checks"]}


def count(project: Project, table: str) -> int:
    done = project.vigie(
        "db", "shell", "--", "--no-psqlrc", "-Atc", f"SELECT count(*) FROM {table}"
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


# --- check -----------------------------------------------------------------------------------


def test_a_project_that_was_tried_passes(project: Project) -> None:
    found = checks(project, code=0)
    assert list(found) == [
        "dev", "declaration", "raw", "credentials", "backup", "disk", "memory", "logs", "versions",
        "audit",
    ]  # fmt: skip
    assert found["dev"]["status"] == "pass"
    assert found["declaration"]["status"] == found["audit"]["status"] == "pass"
    assert "unchanged since dev" in found["raw"]["said"]
    # The embedded server is used, and nobody said that it is meant.
    assert found["credentials"]["status"] == "warn"
    assert "DB_HOST" in found["credentials"]["fix"]


@pytest.mark.parametrize("what", ["code", "configuration", "declaration"])
def test_dev_must_have_tried_what_prod_would_do(project: Project, what: str) -> None:
    environ, arguments, said = {}, (), ""
    if what == "configuration":
        arguments, said = ("--cutoff-days", "90"), "`cutoff_days` changed from 180 to 90"
    elif what == "declaration":
        text = (ROOT / "vigie/dataset/declared/oulad.toml").read_text("utf-8")
        changed = text.replace("IN ('Fail', 'Withdrawn')", "IN ('Withdrawn')")
        assert changed != text
        (project.folder / "own.toml").write_text(changed, "utf-8")
        environ, said = {"VIGIE_DATASET": "own.toml"}, "dataset.cohort"
    else:
        package = project.folder / "code"
        shutil.copytree(ROOT / "vigie", package / "vigie")
        build = package / "vigie" / "features" / "build.py"
        build.write_text(build.read_text("utf-8") + "\nCHANGED = 1\n", "utf-8")
        environ, said = {"PYTHONPATH": str(package)}, "vigie.features.build"
    done = project.vigie("check", *FAST, *arguments, **environ)
    assert done.returncode == 7, done.stdout + done.stderr
    assert said in done.stdout
    assert "→ vigie run --mode dev" in done.stdout
    if what == "configuration":
        assert "--mode dev --cutoff-days 90" in done.stdout


def test_a_fail_stops_prod_before_it_does_anything(project: Project) -> None:
    before = (project.folder / "reports" / "predictions_prod.csv").read_bytes()
    done = project.vigie("run", "--mode", "prod", "--cutoff-days", "90", *FAST)
    assert done.returncode == 7
    assert "stopped by its checks before production: dev" in done.stderr
    assert "STEP 1" not in done.stdout
    assert (project.folder / "reports" / "predictions_prod.csv").read_bytes() == before
    steps = ("--steps", "extract", "transform")
    skipped = project.run(
        "--mode", "prod", "--cutoff-days", "90", "--skip-check", "dev", *steps, *FAST
    )
    assert "➖ dev" in skipped
    record = json.loads(sorted((project.folder / ".vigie" / "runs").glob("*.json"))[-1].read_text())
    assert [one["name"] for one in record["checks"] if one["status"] == "skipped"] == ["dev"]


def test_what_is_up_to_date_is_not_checked(project: Project) -> None:
    assert "Checks before production" not in project.run("--mode", "prod", *FAST)


def test_a_project_where_nothing_ran_yet_is_warned(tmp_path: Path, tried: Project) -> None:
    fresh = Project(tmp_path / "fresh").plain()
    shutil.copytree(tried.raw, fresh.raw)
    assert checks(fresh, code=0)["dev"]["status"] == "warn"
    fresh.run("--mode", "prod", "--steps", "extract", *FAST)
    assert checks(fresh, code=7)["dev"]["status"] == "fail"


def test_other_raw_files_and_an_old_error_are_warned_of(project: Project) -> None:
    courses = project.raw / "courses.csv"
    courses.write_text(courses.read_text("utf-8") + "XXX,2014J,200\n", "utf-8")
    assert checks(project, code=0)["raw"]["status"] == "warn"
    (project.raw / "vle.csv").unlink()
    assert project.vigie("run", "--mode", "prod", *FAST).returncode == 3
    found = checks(project, code=7)
    assert "vle.csv" in found["raw"]["said"]
    assert found["logs"]["status"] == "warn"


def test_wrong_credentials_fail_without_their_password(project: Project) -> None:
    env = project.folder / ".env"
    env.write_text("DATABASE_URL=postgresql://ann:c4n4ry@127.0.0.1:9/x\n", "utf-8")
    env.chmod(0o600)
    done = project.vigie("check", *FAST)
    assert done.returncode == 7
    assert "127.0.0.1, port 9" in done.stdout
    assert "c4n4ry" not in done.stdout + done.stderr


def test_an_unknown_check_is_named(project: Project) -> None:
    for command in (["run", "--mode", "prod"], ["check"]):
        done = project.vigie(*command, "--skip-check", "dsk", *FAST)
        assert done.returncode == 2
        assert "Did you mean disk?" in done.stderr


# --- backup and restore ----------------------------------------------------------------------


def test_prod_backs_up_before_it_replaces(project: Project) -> None:
    rows = count(project, "vigie_prod.predictions")
    change = ("--cutoff-days", "120", *FAST)
    project.run("--mode", "dev", *change)
    said = project.run("--mode", "prod", *change)
    assert said.count("backup of the present tables: backups/vigie_prod_") == 1
    changed = count(project, "vigie_prod.predictions")
    assert changed != rows
    [kept] = json.loads(project.vigie("backup", "--list", "--json").stdout)
    assert kept["row_counts"]["predictions"] == rows
    assert (project.folder / "backups" / kept["path"]).stat().st_mode & 0o077 == 0

    asked = project.vigie("restore", "last", *FAST)
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert count(project, "vigie_prod.predictions") == changed
    done = project.vigie("restore", kept["path"], "--yes", *FAST)
    assert done.returncode == 0, done.stderr
    assert count(project, "vigie_prod.predictions") == rows
    # Files and tables are of different days now: the next run notices.
    again = project.run("--mode", "prod", "--skip-check", "dev", *change)
    assert "Skipped" in again
    assert count(project, "vigie_prod.predictions") == changed


def test_a_person_is_asked(project: Project) -> None:
    assert project.vigie("backup", *FAST).returncode == 0
    for answer, code in ((b"n\n", 2), (b"\n", 2), (b"y\n", 0)):
        controller, terminal = pty.openpty()
        os.write(controller, answer)
        done = subprocess.run(
            [sys.executable, "-m", "vigie.cli", "restore", "last", *FAST],
            cwd=project.folder,
            env={**project.environ, "PYTHONPATH": str(ROOT)},
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
        os.close(terminal)
        os.close(controller)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Replace the tables of vigie_prod" in done.stdout


def test_a_damaged_backup_is_refused(project: Project) -> None:
    assert project.vigie("backup", *FAST).returncode == 0
    [dump] = (project.folder / "backups").glob("*.dump")
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    done = project.vigie("restore", dump.name, "--yes", *FAST)
    assert done.returncode == 3
    assert "checksum" in done.stderr
    missing = project.vigie("restore", "nothing", "--yes", *FAST)
    assert missing.returncode == 3
    assert dump.name in missing.stderr


def test_only_so_many_backups_are_kept(project: Project) -> None:
    for _number in range(3):
        done = project.vigie("backup", VIGIE_RETENTION__BACKUPS="2")
        assert done.returncode == 0, done.stderr
    listed = json.loads(project.vigie("backup", "--list", "--json").stdout)
    assert len(listed) == 2
    assert len(list((project.folder / "backups").iterdir())) == 4
