"""What a run, a plan and failed runs say, whole, in both languages; figures are masked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.acceptance.project import Project
from tests.golden.files import check_golden

LANGUAGES = ("en", "fr")
# Small, and enough for two folds and a hold-out.
ENROLMENTS = "1500"
QUICK = {
    # Where steps go on beside others, their lines come when they have ended: each time elsewhere.
    "VIGIE_ENGINE__THREADS": "1",
    "VIGIE_MODES__DEV__MODEL_PARAMS__N_ESTIMATORS": "10",
    "VIGIE_MODES__DEV__SAMPLE_SIZE": "600",
}


def masked(text: str, project: Project) -> str:
    """Return the text without what differs from run to run, and from library to library."""
    text = text.replace(str(project.folder), "<project>").replace(str(project.folder.parent), "<>")
    text = re.sub(r"host=/\S+?&", "host=<socket>&", text)
    text = re.sub(r"rf-[0-9a-f]{12}", "rf-<version>", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC", "<time>", text)
    # Which groups are named, and what a line of progress says, hangs on chance and on the machine.
    text = re.sub(
        r"^(⚠️  (module|sex|sexe|genre|gender|région|region)\b.*|   … .*)\n", "", text, flags=re.M
    )
    return re.sub(r"\d[\d,.]*", "#", text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("golden") / "project")
    project.environ |= QUICK
    made = project.vigie("sample", "--enrolments", ENROLMENTS, "--out", "data/raw")
    assert made.returncode == 0, made.stderr
    (project.raw / "GENERATED.json").unlink()
    return project


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_and_its_plan(finished: Project, language: str) -> None:
    check_golden(f"{language}/run", masked(finished.run("--lang", language, "--force"), finished))
    check_golden(
        f"{language}/explain",
        masked(finished.run("--lang", language, "--explain"), finished),
    )
    check_golden(
        f"{language}/run-nothing-changed",
        masked(finished.run("--lang", language, "--steps", "features", "train"), finished),
    )


def bad_toml(project: Project) -> list[str]:
    (project.folder / "vigie.toml").write_text("[modes.dev\nsample_size = 3\n", "utf-8")
    return ["run"]


def unknown_setting(project: Project) -> list[str]:
    (project.folder / "vigie.toml").write_text("[modes.dev]\nsample_sise = 700\n", "utf-8")
    return ["run"]


def wrong_setting(project: Project) -> list[str]:
    (project.folder / "vigie.toml").write_text('[modes.dev]\nsample_size = "many"\n', "utf-8")
    return ["run"]


def no_raw_files(project: Project) -> list[str]:
    shutil.rmtree(project.folder / "data", ignore_errors=True)
    return ["run", "--mode", "prod"]


def one_raw_file_missing(project: Project) -> list[str]:
    (project.raw / "courses.csv").unlink()
    return ["run"]


def a_column_missing(project: Project) -> list[str]:
    path = project.raw / "courses.csv"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n", "utf-8")
    return ["run"]


def not_a_csv(project: Project) -> list[str]:
    (project.raw / "vle.csv").write_bytes(bytes(range(256)) * 40)
    return ["run"]


def model_missing(project: Project) -> list[str]:
    return ["run", "--steps", "predict"]


def port_closed(project: Project) -> list[str]:
    (project.folder / ".env").write_text(
        "DATABASE_URL=postgresql://ann:secret@127.0.0.1:9/x\nVIGIE_DATABASE__CONNECT_TIMEOUT=1\n",
        "utf-8",
    )
    return ["db", "shell"]


def no_project(project: Project) -> list[str]:
    return ["run", "--project", "nowhere"]


def no_such_run(project: Project) -> list[str]:
    return ["runs", "show", "20200101"]


def no_model_to_roll_back_to(project: Project) -> list[str]:
    return ["rollback"]


def no_backup(project: Project) -> list[str]:
    return ["restore", "last"]


def no_results_to_audit(project: Project) -> list[str]:
    return ["audit"]


def no_such_file_for_init(project: Project) -> list[str]:
    return ["init", "custmers.csv"]


def no_such_column_for_init(project: Project) -> list[str]:
    lines = ["id,age,died", *(f"{n},{20 + n % 50},{'yes' if n % 3 else 'no'}" for n in range(90))]
    (project.folder / "patients.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return ["init", "patients.csv", "--target", "dead"]


FAILURES = [
    bad_toml,
    unknown_setting,
    wrong_setting,
    no_raw_files,
    one_raw_file_missing,
    a_column_missing,
    not_a_csv,
    model_missing,
    port_closed,
    no_project,
    no_such_run,
    no_model_to_roll_back_to,
    no_backup,
    no_results_to_audit,
    no_such_file_for_init,
    no_such_column_for_init,
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("raw") / "project")
    assert project.vigie("sample", "--enrolments", "300", "--out", "data/raw").returncode == 0
    return project.raw


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_an_error_says_what_where_and_fix(failure, raw: Path, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(raw, project.raw)
    arguments = failure(project)
    for language in LANGUAGES:
        done = project.vigie(*arguments, "--lang", language)
        assert done.returncode not in {0, 1}, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stdout + done.stderr
        name = failure.__name__.replace("_", "-")
        check_golden(f"{language}/error-{name}", masked(done.stderr, project))
