"""Row counts in the database equal those of the files: embedded server, and one of ``.env``."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.project import Project
from tests.integration.postgres15 import OwnServer, own_server
from vigie.data.postgres import open_embedded

__all__ = ["own_server"]

TABLES = (
    "courses",
    "assessments",
    "vle",
    "student_info",
    "student_registration",
    "student_assessment",
    "student_vle",
)
Query = Callable[[str], list[tuple[object, ...]]]


@contextmanager
def embedded(project: Project) -> Iterator[Query]:
    """Yield what asks the project's embedded server."""
    with (
        open_embedded(project.folder / ".vigie" / "postgres") as address,
        psycopg.connect("".join(address.url())) as connection,
    ):
        yield lambda sql: connection.execute(sql).fetchall()  # type: ignore[arg-type]


def raw_rows(folder: Path) -> dict[str, int]:
    """Return the records of each raw file, counted by Python's own csv module."""
    counts = {}
    for path in folder.glob("*.csv*"):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            stem = path.name.split(".")[0]
            table = re.sub(r"(?<!^)(?=[A-Z])", "_", stem).lower()
            counts[table] = sum(1 for _row in csv.reader(file)) - 1
    return counts


def check_counts(project: Project, ask: Query, schema: str) -> None:
    """Hold the loaded tables against the raw files and the predictions against the CSV."""
    raw = raw_rows(project.raw)
    assert set(raw) == set(TABLES)
    clean = project.folder / "data" / "interim" / "clean_prod" / "summary.json"
    summary = json.loads(clean.read_text("utf-8"))
    for table, rows in raw.items():
        assert ask(f'SELECT count(*) FROM {schema}."{table}"') == [(rows,)], table
    assert ask(f"SELECT count(*) FROM {schema}.cohort") == [(summary["cohort"],)]
    with (project.folder / "reports" / "predictions_prod.csv").open(newline="") as file:
        predicted = sum(1 for _row in csv.DictReader(file))
    assert ask(f"SELECT count(*) FROM {schema}.predictions") == [(predicted,)]
    assert predicted == summary["cohort"]


@pytest.fixture
def real_project(tmp_path: Path, real_oulad_mini: Path) -> Project:
    """A project whose raw files are the mini release."""
    made = Project(tmp_path / "project").plain()
    made.raw.mkdir(parents=True)
    for path in real_oulad_mini.iterdir():
        (made.raw / path.name).symlink_to(path)
    return made


@pytest.mark.real_data
def test_real_data_in_the_embedded_server(real_project: Project) -> None:
    real_project.run("--mode", "prod")
    with embedded(real_project) as ask:
        check_counts(real_project, ask, "vigie_prod")
        # Nobody is dropped for having done nothing, and they are the likeliest to fail.
        silent = (
            "FROM vigie_prod.predictions p WHERE NOT EXISTS (SELECT FROM vigie_prod.student_vle v "
            "WHERE v.id_student = p.id_student AND v.code_module = p.code_module "
            "AND v.code_presentation = p.code_presentation)"
        )
        [(silent_count, silent_risk)] = ask(f"SELECT count(*), avg(risk_score) {silent}")
        assert isinstance(silent_count, int)
        assert silent_count > 0
        [(overall,)] = ask("SELECT avg(risk_score) FROM vigie_prod.predictions")
        assert silent_risk > overall  # type: ignore[operator]
        # The score is the probability of the bad outcome, in this direction and no other.
        by_result = dict(
            ask(
                "SELECT i.final_result, avg(p.risk_score) FROM vigie_prod.predictions p "
                "JOIN vigie_prod.student_info i "
                "USING (code_module, code_presentation, id_student) GROUP BY 1"
            )
        )
        good = max(by_result["Pass"], by_result["Distinction"])  # type: ignore[type-var]
        bad = min(by_result["Fail"], by_result["Withdrawn"])  # type: ignore[type-var]
        assert bad > good + 0.2  # type: ignore[operator]
    metrics = json.loads((real_project.folder / "reports" / "metrics_prod.json").read_text())
    assert metrics["holdout"]["metrics"]["roc_auc"]["value"] > 0.8


def test_a_server_of_ones_own(tmp_path: Path, own_server: OwnServer) -> None:
    project = Project(tmp_path / "project").plain()
    made = project.vigie("sample", "--enrolments", "700", "--out", str(project.raw))
    assert made.returncode == 0, made.stderr
    (project.raw / "GENERATED.json").unlink()
    env = project.folder / ".env"
    env.write_text(own_server.dotenv(), "utf-8")
    env.chmod(0o600)
    said = project.run("--mode", "prod")
    assert own_server.password not in said
    assert f"{own_server.host}:{own_server.port}" in said
    assert not (project.folder / ".vigie" / "postgres").exists()
    with psycopg.connect(own_server.conninfo) as connection:
        check_counts(
            project,
            lambda sql: connection.execute(sql).fetchall(),  # type: ignore[arg-type]
            "vigie_prod",
        )
    again = project.run("--mode", "prod")
    assert again.count("⏭️  Skipped") == 7
