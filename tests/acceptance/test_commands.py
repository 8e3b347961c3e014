"""The smaller commands, and that what there is, is documented."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.acceptance.project import Project
from tests.conftest import ROOT
from tests.integration.data.release_server import Release, serve, zip_of

CANARY = "c4n4ry-p4ss"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def commands(project: Project) -> list[str]:
    """Return the commands that the help names."""
    text = project.vigie("--help").stdout
    listed = text.partition("Commands:")[2]
    return re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)


# --- documentation ---------------------------------------------------------------------------


def test_every_command_and_option_is_documented(project: Project) -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    names = commands(project)
    assert {"run", "config", "fetch", "sample"} <= set(names)
    for name in names:
        assert f"\n## vigie {name}\n" in page, name
        assert f"`vigie {name}" in readme, name
    options = set(re.findall(r"--[a-z][a-z-]+", project.vigie("run", "--help").stdout))
    for option in options - {"--help", "--version"}:
        assert f"* `{option}" in page, option


def test_the_reference_is_what_the_code_says() -> None:
    from tests.reference import pages

    for path, text in pages().items():
        assert path.read_text("utf-8") == text, f"make reference, for {path.name}"


def test_the_exit_codes_are_documented() -> None:
    from vigie.errors import ExitCode

    page = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \| ", page, re.MULTILINE), code


def test_an_unknown_option_or_command_exits_2(project: Project) -> None:
    for arguments in (["run", "--mod", "dev"], ["rum"], ["run", "--cutoff-days", "soon"]):
        done = project.vigie(*arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
        assert f"vigie {arguments[0]} --help" in done.stderr or "vigie --help" in done.stderr


def test_the_schema_is_of_all_that_a_declaration_may_say(project: Project) -> None:
    content = json.loads(project.vigie("schema").stdout)
    assert {"tables", "cohort", "features", "sensitive", "audit"} <= set(content["properties"])
    assert "clock" in content["$defs"]["Table"]["properties"]
    page = (ROOT / "docs" / "reference" / "declaration.md").read_text("utf-8")
    assert project.vigie("schema", "--markdown").stdout == page, "make reference"


# --- config ----------------------------------------------------------------------------------


def test_config_shows_values_and_origins_but_no_secret(project: Project) -> None:
    (project.folder / "vigie.toml").write_text("[modes.dev]\nsample_size = 700\n", "utf-8")
    (project.folder / ".env").write_text(
        f"DATABASE_URL=postgresql://ann:{CANARY}@db.example/x\nVIGIE_SEED=7\n", "utf-8"
    )
    done = project.vigie("config", VIGIE_CUTOFF_DAYS="90")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert re.search(r" 700 +vigie\.toml line 2$", lines["modes.dev.sample_size"])
    assert re.search(r" 7 +\.env VIGIE_SEED$", lines["seed"])
    assert re.search(r" 90 +environment VIGIE_CUTOFF_DAYS$", lines["cutoff_days"])
    assert re.search(r" 5 +default$", lines["modes.prod.n_splits_cv"])
    assert "postgresql://ann:***@db.example/x" in lines["database.url"]
    assert CANARY not in done.stdout + done.stderr


def test_a_wrong_setting_names_file_key_and_the_nearest(project: Project) -> None:
    (project.folder / "vigie.toml").write_text("[modes.dev]\nsample_sise = 700\n", "utf-8")
    done = project.vigie("config")
    assert done.returncode == 2
    assert "vigie.toml line 2" in done.stderr
    assert "modes.dev.sample_sise" in done.stderr
    assert "sample_size" in done.stderr
    (project.folder / "vigie.toml").write_text('[modes.dev]\nsample_size = "many"\n', "utf-8")
    done = project.vigie("run")
    assert done.returncode == 2
    assert "vigie.toml line 2" in done.stderr
    assert "a whole number" in done.stderr


# --- sample ----------------------------------------------------------------------------------


def test_a_packed_sample_is_oulads_alone(project: Project) -> None:
    done = project.vigie("sample", "--enrolments", "200", "--gzip", "--out", "packed")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (project.folder / "packed").iterdir()}
    assert "studentVle.csv.gz" in names
    assert not any(name.endswith(".csv") for name in names)
    refused = project.vigie("sample", "--dataset", "shop", "--gzip", "--out", "shop")
    assert refused.returncode == 2
    assert "--gzip" in refused.stderr
    assert not (project.folder / "shop").exists()


def test_sample_by_scale(project: Project) -> None:
    done = project.vigie("sample", "--scale", "0.01", "--out", "made")
    assert done.returncode == 0, done.stderr
    assert len((project.folder / "made" / "studentInfo.csv").read_text().splitlines()) == 327
    both = project.vigie("sample", "--scale", "0.01", "--enrolments", "300", "--out", "made")
    assert both.returncode == 2
    assert "both say how many" in both.stderr
    for scale in ("0", "-1", "1e9", "nan"):
        refused = project.vigie("sample", f"--scale={scale}", "--out", "made")
        assert refused.returncode == 2, scale
        assert "--scale" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_sample_writes_the_official_layout(project: Project) -> None:
    done = project.vigie("sample", "--enrolments", "300", "--seed", "3", "--out", "made")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (project.folder / "made").iterdir())
    assert names == [
        "GENERATED.json",
        "assessments.csv",
        "courses.csv",
        "studentAssessment.csv",
        "studentInfo.csv",
        "studentRegistration.csv",
        "studentVle.csv",
        "vle.csv",
    ]
    lines = (project.folder / "made" / "studentInfo.csv").read_text("utf-8").splitlines()
    assert len(lines) == 301
    assert re.search(r"studentInfo +300$", done.stdout, re.MULTILINE)


def test_too_few_enrolments(project: Project) -> None:
    done = project.vigie("sample", "--enrolments", "3")
    assert done.returncode in (2, 3)
    assert "too few" in done.stderr
    assert "Traceback" not in done.stderr


# --- fetch -----------------------------------------------------------------------------------


def test_a_failed_download_says_where_and_what_to_do(project: Project) -> None:
    small = zip_of({"courses.csv": b"a\n1\n"})
    with serve(Release(b"", status=404)) as gone, serve(Release(small)) as wrong:
        done = project.vigie("fetch", "oulad", "--url", gone, wrong)
    assert done.returncode == 3
    assert "HTTP 404" in done.stderr
    assert "studentInfo.csv" in done.stderr
    assert "put the zip into" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((project.folder / "data" / "raw").iterdir()) == []


def test_an_unknown_data_set(project: Project) -> None:
    done = project.vigie("fetch", "uolad")
    assert done.returncode == 2
    assert "oulad" in done.stderr


def test_what_to_type_next_names_the_project_as_it_was_named(project: Project) -> None:
    elsewhere = project.folder / "of students"
    elsewhere.mkdir()
    named = "--project 'of students'"
    audit = project.vigie("audit", "--project", "of students", "--lang", "en")
    assert f"Fix:   Make one first: vigie run {named} --mode dev" in audit.stderr
    check = project.vigie("check", "--project", "of students", "--lang", "en")
    assert f"→ vigie run {named} --mode dev" in check.stdout
    at_home = project.vigie("audit", "--lang", "en")
    assert "Fix:   Make one first: vigie run --mode dev" in at_home.stderr
