"""``vigie run`` with raw files and tables at addresses, as only Spark may see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.acceptance.project import clean_environment

DECLARATION = """
name = "rows"
[tables.rows]
file = "rows"
primary_key = ["id"]
[tables.rows.columns]
id = { type = "integer", required = true }
amount = { type = "number" }
note = { type = "text" }
bad = { type = "integer" }
[cohort]
table = "rows"
key = ["id"]
singular = { en = "row", fr = "ligne" }
plural = { en = "rows", fr = "lignes" }
[cohort.label]
name = { en = "bad", fr = "mauvais" }
positive = "bad = 1"
known = "bad IS NOT NULL"
[[features]]
kind = "attribute"
name = "half"
expression = "amount / 2"
label = { en = "half", fr = "moitié" }
[[features]]
kind = "attribute"
name = "note"
column = "note"
top = 2
label = { en = "note", fr = "note" }
"""


def run(project: Path, *more: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "vigie.cli", "run", "--project", project, *more],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=clean_environment(project.with_name("home")) | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_at_addresses_is_done_once_and_noticed_when_files_change(tmp_path: Path) -> None:
    project, there = tmp_path / "project", tmp_path / "there"
    for folder in (project, there):
        folder.mkdir()
    rows = "".join(f"{n},{n}.5,{'a' if n % 3 else 'b'},{n % 2}\n" for n in range(60))
    (there / "rows.csv").write_text("id,amount,note,bad\n" + rows + "x,1,a,0\n")
    (project / "dataset.toml").write_text(DECLARATION)
    (project / "vigie.toml").write_text(
        f'dataset = "dataset.toml"\nraw_dir = "{there.as_uri()}"\nextract.max_rejected = 0.5\n'
        f'[engine]\nname = "spark"\nspark_master = "local[2]"\n'
        f'storage = "{(tmp_path / "lake").as_uri()}"\n'
    )
    steps = ("--steps", "extract", "transform", "features")
    said = run(project, *steps)
    assert "60 rows of 1 tables read" in said
    assert "WARN" not in said
    assert (project / "logs" / "spark_dev.log").stat().st_size > 0
    assert "rows.csv,62,id: not a number" in (project / "data/quarantine/rows.csv").read_text()
    folder = project / "data" / "interim" / "clean_dev"
    location = json.loads((folder / "location.json").read_text())
    assert location["url"] == f"{(tmp_path / 'lake').as_uri()}/clean_dev/a"
    assert not list(folder.glob("*.parquet"))
    # Another master decides no result; another engine may.
    assert "Extraction done" not in run(project, *steps, VIGIE_ENGINE__SPARK_MASTER="local[1]")
    plan = run(project, *steps, "--explain", VIGIE_ENGINE__NAME="duckdb", VIGIE_RAW_DIR=str(there))
    assert "engine.name" in plan
    # A part file that is gone is missed.
    next((tmp_path / "lake" / "clean_dev" / "a" / "rows.parquet").glob("*.parquet")).unlink()
    assert "run" in next(
        line for line in run(project, *steps, "--explain").splitlines() if "transform " in line
    )
