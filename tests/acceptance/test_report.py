"""The page that every run leaves, ``vigie report`` and ``vigie runs --html``."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.project import Project
from tests.acceptance.test_run import skipped
from tests.acceptance.test_watch import students
from tests.conftest import ROOT

PAGE = "reports/report_dev.html"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of a single CSV after its first run."""
    folder = tmp_path_factory.mktemp("report")
    made = Project(folder / "project")
    file = folder / "students.csv"
    file.write_text(students(600, seed=1, outcome=True), "utf-8")
    done = made.vigie("init", str(file), "--target", "result", "--positive", "fail", "--id", "id")
    assert done.returncode == 0, done.stderr
    (made.folder / "first.txt").write_text(made.run("--lang", "en"), "utf-8")
    return made


def page_of(project: Project, name: str = PAGE) -> Path:
    return project.folder / name


def runs_of(project: Project) -> list[str]:
    return sorted(path.stem for path in (project.folder / ".vigie" / "runs").glob("*.json"))


def test_a_run_leaves_a_page_for_its_owner_and_names_it(project: Project) -> None:
    said = (project.folder / "first.txt").read_text("utf-8")
    assert f"   • Report: {PAGE}" in said.splitlines()
    page = page_of(project)
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    text = page.read_text("utf-8")
    assert text.endswith("</html>")
    (run_id,) = runs_of(project)
    assert run_id in text
    rows = re.search(r"([\d,]+) of ([\d,]+) (\w+) are predicted", re.sub("<[^>]+>", "", text))
    assert rows is not None
    assert rows[2] == "600"
    assert "vigie audit --mode dev" in text


# A run whose helper does all of its work in the same process, so that one sees what it did.
OWN_HELPER = """
from vigie.cli import main
from vigie.pipeline.ledger import Ledger
from vigie.pipeline.resources import Resources

class Helper:
    is_there = True

    def prepare(self, function, *arguments):
        function(*arguments)

    def each(self, function, *arguments):
        return function(*arguments)

def begin(resources, _libraries):
    resources.helper = Helper()

opened, read = [], Ledger.open

def open_ledger(path, **options):
    opened.append(path.name)
    return read(path, **options)

Ledger.open = open_ledger
Resources.begin_helper = begin
assert main(["run", "--force", "evaluate"]) == 0
from vigie.report.page_figures import _judged_figures
kept = _judged_figures.cache_info()
print("drawn", kept.misses, "taken", kept.hits, opened)
"""


def test_what_a_run_needs_twice_is_drawn_and_read_once(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OWN_HELPER],
        cwd=project.folder,
        env=project.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["drawn 1 taken 1 ['ledger_dev.jsonl']"], (
        done.stdout + done.stderr
    )


def test_a_run_with_nothing_to_do_leaves_the_page_as_it_is(project: Project) -> None:
    page = page_of(project)
    before = page.read_bytes(), page.stat().st_mtime_ns, page.stat().st_ino
    assert len(skipped(project.run("--lang", "en"))) == 7
    assert (page.read_bytes(), page.stat().st_mtime_ns, page.stat().st_ino) == before
    # And is quick: what draws and writes pages isn't even imported.
    imported = project.vigie("run", "--lang", "en", PYTHONPROFILEIMPORTTIME="1").stderr
    assert "vigie.pipeline.pages" in imported
    for heavy in ("jinja2", "matplotlib", "pyarrow"):
        assert heavy not in imported, heavy


@pytest.mark.parametrize("spoil", ["deleted", "cut", "outdated"])
def test_a_missing_changed_or_outdated_page_is_made_again(project: Project, spoil: str) -> None:
    page = page_of(project)
    before = page.read_bytes()
    if spoil == "deleted":
        page.unlink()
    elif spoil == "cut":
        page.write_bytes(before[:1000])
    else:
        done = project.vigie("audit", "--lang", "en")
        assert done.returncode == 0, done.stdout
    assert len(skipped(project.run("--lang", "en"))) == 7
    if spoil == "outdated":
        assert "The last audit, part by part." in page.read_text("utf-8")
    else:
        assert page.read_bytes() == before


def test_what_cannot_be_written_spoils_no_run(project: Project) -> None:
    page = page_of(project)
    page.unlink()
    page.mkdir()
    done = project.vigie("run", "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert "The report could not be made" in done.stdout
    assert "vigie report --mode dev" in done.stdout
    page.rmdir()
    project.run("--lang", "en")
    assert page.is_file()


def test_the_report_in_the_other_language_and_of_earlier_runs(project: Project) -> None:
    done = project.vigie("report", "--lang", "fr")
    assert (done.returncode, done.stdout.strip()) == (0, str(page_of(project).resolve()))
    text = page_of(project).read_text("utf-8")
    assert '<html lang="fr">' in text
    first = runs_of(project)[0]
    project.run("--lang", "en", "--force", "train", "evaluate", "predict")
    said = project.run("--lang", "en", VIGIE_SEED="7")
    assert "evaluate" not in skipped(said)
    done = project.vigie("report", first, "--lang", "en")
    assert done.returncode == 0, done.stderr
    earlier = page_of(project, f"reports/report_dev_{first}.html")
    assert done.stdout.strip() == str(earlier.resolve())
    text = earlier.read_text("utf-8")
    assert "a later run has replaced" in text
    assert "list-data" not in text
    assert stat.S_IMODE(earlier.stat().st_mode) == 0o600
    now = page_of(project).read_text("utf-8")
    assert "What changed since the run before" in now
    assert re.search(r"<code>seed</code></th><td>42</td><td>7</td>", now)
    done = project.vigie("report", "last", "--lang", "en")
    assert done.stdout.strip() == str(page_of(project).resolve())


def test_faults_are_named(project: Project, tmp_path: Path) -> None:
    empty = Project(tmp_path / "empty")
    for command in (["report"], ["runs", "--html"]):
        done = empty.vigie(*command, "--lang", "en")
        assert done.returncode == 3, done.stdout
        assert "vigie run" in done.stderr
    done = project.vigie("report", "last", "--mode", "prod", "--lang", "en")
    assert done.returncode == 2
    assert "is of mode dev" in done.stderr


def test_the_index_of_all_runs(project: Project) -> None:
    done = project.vigie("runs", "--html", "--lang", "en")
    index = page_of(project, "reports/runs.html")
    assert (done.returncode, done.stdout.strip()) == (0, str(index.resolve()))
    text = index.read_text("utf-8")
    for run_id in runs_of(project):
        assert run_id in text
    assert "seed: 42 → 7" in text
    assert '<svg class="figure"' in text
    assert 'href="report_dev.html"' in text


def test_first_steps_alone_leave_no_page(tmp_path: Path) -> None:
    made = Project(tmp_path / "project")
    (tmp_path / "students.csv").write_text(students(100, seed=5, outcome=True), "utf-8")
    made.vigie("init", str(tmp_path / "students.csv"), "--target", "result", "--positive", "fail")
    said = made.run("--steps", "extract", "--lang", "en")
    assert "could not be made" not in said
    assert not page_of(made).exists()


def test_a_machine_may_do_without(project: Project, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", project.folder, tmp_path / "copy"], check=True)
    plain = Project(tmp_path / "copy").plain()
    assert page_of(plain).exists()
    said = plain.run("--lang", "en", "--force", "evaluate", "predict")
    # The page that was there told of other results.
    assert not page_of(plain).exists()
    assert "report_dev" not in said
    figures = {path.name for path in (plain.folder / "reports" / "figures_dev").iterdir()}
    assert figures == {"confusion_matrix.png", "roc_curve.png", "feature_importance.png"}
    assert plain.vigie("report").returncode == 0
    assert page_of(plain).exists()
