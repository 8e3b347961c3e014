"""Every command block of the README and the documentation, as it is written, in a scratch project.

The blocks of a page run in their order, each as one script, so a page that needs something has to
make it. What can't run here stands in NOT_RUN with the reason; the guide has tests of its own
(``test_guide.py``).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.project import Project
from tests.conftest import ROOT

ENROLMENTS = 450
# The blocks are what is tried here, not the model.
SMALL = {
    f"VIGIE_MODES__{mode}__{name}": value
    for mode in ("DEV", "PROD")
    for name, value in {"MODEL_PARAMS__N_ESTIMATORS": "20", "N_SPLITS_CV": "2"}.items()
}
DOWNLOADS = "it downloads 45 MB from the Open University"
SET_UP = "it sets a checkout up: CI does that with a clean clone"
SUDO = "it changes the machine's services"
NOT_RUN = {
    "git clone <this repository> vigie": "the address is the reader's",
    "cd vigie": "the checkout that the line above makes",
    "make run": SET_UP,
    "make test": "it is what runs this test",
    "python3 -m venv .venv": SET_UP,
    ".venv/bin/python -m pip install --require-hashes -r requirements.lock": SET_UP,
    ".venv/bin/python -m pip install --no-deps --no-build-isolation -e .": SET_UP,
    "cp .env.example .env": SET_UP,
    ".venv/bin/python -m src.pipeline.orchestrator --mode dev": SET_UP,
    "vigie fetch oulad": DOWNLOADS,
    "python -m benchmarks.leaks --data data/raw": "it takes minutes on the real OULAD",
    "vigie run --steps train --mode prod --json --wait 600": "the steps before it are a loop's",
    "createuser --pwprompt vigie": "it asks an administrator's server for a user",
    "createdb --owner=vigie vigie": "it asks an administrator's server for a database",
    "sudo systemctl daemon-reload": SUDO,
    "sudo systemctl enable --now vigie-students.timer": SUDO,
    "systemctl list-timers vigie-students.timer": SUDO,
}
# Their blocks run elsewhere.
OWN_TESTS = {"guide.md", "guide.fr.md"}
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """Return the README and every page of the documentation that has a command block."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        page
        for page in found
        if page.name not in OWN_TESTS and BLOCK.search(page.read_text("utf-8"))
    ]


def blocks(page: Path) -> list[str]:
    """Return the scripts of a page, without the lines that can't run here."""
    made = []
    for block in BLOCK.findall(page.read_text("utf-8")):
        kept = [line for line in block.splitlines() if bare(line) not in NOT_RUN]
        if any(bare(line) for line in kept):
            made.append("\n".join(kept))
    return made


def bare(line: str) -> str:
    """Return a line without its comment."""
    return re.sub(r"(^|\s+)#.*$", "", line).strip()


def script_folder(folder: Path) -> Path:
    """Make ``vigie`` and ``python`` of this environment commands, as an activated one has them."""
    folder.mkdir()
    for name, arguments in {"python": "", "vigie": "-m vigie.cli "}.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n', "utf-8")
        script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A folder as a reader has it: small data in data/raw, and the CSV of the README."""
    root = tmp_path_factory.mktemp("pages")
    made = Project(root / "project")
    done = made.vigie("sample", "--enrolments", str(ENROLMENTS), "--out", str(made.raw))
    assert done.returncode == 0, done.stderr
    made.environ["PATH"] = f"{script_folder(root / 'bin')}:{made.environ['PATH']}"
    made.environ |= {"PYTHONPATH": str(ROOT), **SMALL}
    lines = ["id,age,weight,died"]
    lines += [
        f"{n},{30 + n * 7 % 50},{50 + n * 13 % 40},{'yes' if n * 7 % 50 + n % 9 > 35 else 'no'}"
        for n in range(200)
    ]
    (made.folder / "patients.csv").write_text("\n".join(lines) + "\n", "utf-8")
    # Pages speak to who has run it before, and come here in any order.
    made.run("--mode", "dev")
    made.run("--mode", "prod")
    return made


def test_what_is_not_run_is_still_written_somewhere() -> None:
    written = {
        bare(line)
        for page in pages()
        for block in BLOCK.findall(page.read_text("utf-8"))
        for line in block.splitlines()
    }
    assert set(NOT_RUN) <= written


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_as_written(project: Project, page: Path) -> None:
    for script in blocks(page):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=project.folder,
            env=project.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr, script


# --- the reference of files and tables -----------------------------------------------------------

FILES = ROOT / "docs" / "reference" / "files-and-tables.md"
# What only some runs leave.
SOMETIMES = {
    "data/quarantine/{table}.csv", "data/generated/", "backups/", "reports/audit_{mode}.json",
    "reports/report_{mode}.html",
}  # fmt: skip


def described(heading: str) -> list[str]:
    """Return the first column of the table below a heading."""
    _before, _heading, text = FILES.read_text("utf-8").partition(f"\n{heading}\n")
    assert text, heading
    rows = re.split(r"^##", text, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE)


@pytest.fixture(scope="module")
def ran(project: Project) -> Project:
    project.run("--mode", "dev", "--lang", "en")
    return project


def test_the_files_are_what_a_run_leaves(ran: Project) -> None:
    for name in described("## Files"):
        if name in SOMETIMES:
            continue
        pattern = name.replace("{mode}", "dev").replace("{kind}", "random_forest")
        found = list(ran.folder.glob(pattern.rstrip("/")))
        assert found, name
    with (ran.folder / "reports" / "predictions_dev.csv").open(encoding="utf-8") as opened:
        header = opened.readline().strip().split(",")
    key = ["code_module", "code_presentation", "id_student"]
    assert header == key + described("## `predictions_{mode}.csv`")
    for name, folder in {
        "predictions_{mode}_metadata": "reports",
        "metrics_{mode}": "reports",
        "features_metadata_{mode}": "data/processed",
        "drift_{mode}": "reports",
    }.items():
        file = ran.folder / folder / f"{name.replace('{mode}', 'dev')}.json"
        assert described(f"## `{name}.json`") == list(json.loads(file.read_text("utf-8"))), name


def test_the_tables_are_what_a_run_leaves(ran: Project) -> None:
    query = (
        "COPY (SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema IN ('vigie_dev', 'vigie_history') "
        "ORDER BY table_name, ordinal_position) TO STDOUT"
    )
    done = subprocess.run(
        ["vigie", "db", "shell"],
        input=query,
        cwd=ran.folder,
        env=ran.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tables: dict[str, dict[str, str]] = {}
    for line in done.stdout.splitlines():
        table, column, kind = line.split("\t")
        tables.setdefault(table, {})[column] = kind
    for name in ("vigie_load", "runs", "run_steps", "run_metrics"):
        assert described_types(name) == tables[name], name
    key = {"code_module": "text", "code_presentation": "text", "id_student": "integer"}
    assert key | described_types("predictions") == tables["predictions"]
    said = described_types("cohort")
    assert said.keys() <= tables["cohort"].keys()
    assert {"integer", "date", "timestamp"} >= {tables["cohort"]["cutoff"]}
    for column in ("cohort_id", "label", "group_key", "period"):
        assert tables["cohort"][column] == said[column], column


def described_types(table: str) -> dict[str, str]:
    """Return column and type of a table's description."""
    text = FILES.read_text("utf-8").partition(f"\n### `{table}`\n")[2]
    rows = re.split(r"^##", text, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", rows, re.MULTILINE))


# --- units -----------------------------------------------------------------------------------


def test_the_systemd_units_are_right(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (ROOT / "docs" / "how-to" / "schedule.md").read_text("utf-8")
    units = dict(re.findall(r'^```ini title="([^"]+)"\n(.*?)^```', text, re.DOTALL | re.MULTILINE))
    assert sorted(units) == ["vigie-students.service", "vigie-students.timer"]
    # Its own paths are the reader's: whether they exist is not the unit's fault.
    program = "/srv/vigie/.venv/bin/vigie"
    assert program in units["vigie-students.service"]
    for name, content in units.items():
        there = content.replace(program, sys.executable)
        (tmp_path / name).write_text(there, "utf-8")
    assert verified(tmp_path, sorted(units)) == ""
    broken = (tmp_path / "vigie-students.timer").read_text("utf-8")
    (tmp_path / "vigie-students.timer").write_text(broken.replace("03:30", "25:30"), "utf-8")
    assert "25:30" in verified(tmp_path, ["vigie-students.timer"])


def verified(folder: Path, names: list[str]) -> str:
    """Return what systemd says of our units."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(folder / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "\n".join(line for line in done.stderr.splitlines() if "vigie-students" in line)
