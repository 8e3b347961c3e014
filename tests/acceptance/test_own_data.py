"""Data sets of one's own: from a CSV to scores of new rows, and a shop with many cut-offs."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path

import pytest

from tests.acceptance.project import Project

ROWS = 600


def customers(count: int, *, seed: int, outcome: bool = True) -> str:
    """Return a file with semicolons, decimal commas, a blank marker and an outcome, or none yet."""
    rng = random.Random(seed)
    lines = ["nr;Alter;Umsatz;Stadt;Kanal;gekuendigt"]
    for number in range(count):
        age, city = rng.randint(18, 80), rng.choice(["Köln", "Bonn", "Trier"])
        spent = rng.lognormvariate(4, 0.8)
        chance = 0.15 + 0.5 * (age < 35) + 0.2 * (city == "Trier")
        left = "ja" if rng.random() < chance else "nein"
        shown = "-" if rng.random() < 0.05 else f"{spent:.2f}".replace(".", ",")
        channel = rng.choice(["web", "shop"])
        lines.append(f"K{seed}-{number};{age};{shown};{city};{channel};{left if outcome else ''}")
    return "\n".join(lines) + "\n"


def scores(project: Project) -> dict[str, dict[str, str]]:
    with (project.folder / "reports" / "predictions_dev.csv").open(encoding="utf-8") as opened:
        return {row["nr"]: row for row in csv.DictReader(opened)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("own") / "project").plain()
    file = project.folder.parent / "kunden.csv"
    file.write_bytes(customers(ROWS, seed=1).encode("cp1252"))
    done = project.vigie("init", str(file), "--target", "gekuendigt", "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert "gekuendigt = ja is taken for the bad outcome" in done.stdout
    assert "numbers have a decimal comma" in done.stdout
    assert "the key is nr" in done.stdout
    said = project.run("--lang", "en")
    assert "600 of 600 rows are in the cohort" in said
    return project


def test_from_a_csv_to_scores(trained: Project) -> None:
    found = scores(trained)
    assert len(found) == ROWS
    assert {row["cutoff_days"] for row in found.values()} == {""}
    metrics = json.loads((trained.folder / "reports" / "metrics_dev.json").read_text("utf-8"))
    assert metrics["holdout"]["metrics"]["roc_auc"]["value"] > 0.65
    again = trained.run("--lang", "en")
    assert again.count("Skipped") == 7


def test_a_declaration_is_not_replaced_unasked(trained: Project) -> None:
    file = trained.folder.parent / "kunden.csv"
    before = (trained.folder / "dataset.toml").read_bytes()
    refused = trained.vigie("init", str(file), "--lang", "en")
    assert refused.returncode == 2
    assert "--replace" in refused.stderr
    assert (trained.folder / "dataset.toml").read_bytes() == before
    missing = trained.vigie("init", "nowhere.csv", "--replace", "--lang", "en")
    assert missing.returncode == 3
    assert "nowhere.csv" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_new_rows_without_outcomes_are_scored_by_the_model_there_is(trained: Project) -> None:
    raw = trained.folder / "data" / "raw" / "kunden.csv"
    steps = ("--steps", "extract", "transform", "features", "predict", "--lang", "en")
    model = (trained.folder / "models" / "random_forest_dev.pkl").read_bytes()
    whole = customers(80, seed=2, outcome=False).replace("Bonn", "Mainz", 3)
    raw.write_bytes(whole.encode("cp1252"))
    trained.run(*steps)
    first = scores(trained)
    assert len(first) == 80
    assert {row["score_source"] for row in first.values()} == {"final"}
    audit = trained.vigie("audit", "--lang", "en")
    assert audit.returncode == 3
    assert "no outcomes yet" in audit.stderr
    assert "Traceback" not in audit.stderr
    # The same rows score the same whatever other rows are in the file.
    lines = whole.splitlines()
    raw.write_bytes(("\n".join(lines[:11]) + "\n").encode("cp1252"))
    trained.run(*steps)
    for number, row in scores(trained).items():
        assert row["risk_score"] == first[number]["risk_score"]
    assert (trained.folder / "models" / "random_forest_dev.pkl").read_bytes() == model
    # Others that are called like those learnt from would get the scores of those: that is said.
    raw.write_bytes(customers(30, seed=1, outcome=False).encode("cp1252"))
    named = trained.vigie("run", *steps)
    assert named.returncode == 0, named.stderr
    assert "30 rows without an outcome have the key (nr) of a row" in named.stdout + named.stderr
    # A column that is gone is named; nothing is scored without it.
    raw.write_bytes("\n".join(line.rsplit(";", 2)[0] for line in lines).encode("cp1252"))
    gone = trained.vigie("run", *steps)
    assert gone.returncode == 3
    assert "Kanal" in gone.stderr
    assert "Traceback" not in gone.stderr


@pytest.mark.parametrize(
    ("kind", "expression", "told"),
    [
        ("derived", "Altr / 2", ("there is no column 'Altr'", "Did you mean 'alter'?")),
        ("derived", "Alter +", ("syntax error", "Correct the expression.")),
        ("attribute", "CAST(Stadt AS INTEGER)", ("to INT32", "TRY_CAST gives NULL")),
        ("attribute", "regexp_extract(Stadt, '(')", ("missing )", "dataset.toml")),
    ],
)
def test_an_expression_that_fails_on_the_rows_is_told_as_the_declarations(
    trained: Project, kind: str, expression: str, told: tuple[str, ...]
) -> None:
    declaration = trained.folder / "dataset.toml"
    before = declaration.read_text("utf-8")
    feature = (
        f'\n[[features]]\nkind = "{kind}"\nname = "more"\nexpression = "{expression}"\n'
        'label = { en = "more", fr = "plus" }\n'
    )
    try:
        declaration.write_text(before + feature, "utf-8")
        done = trained.vigie("run", "--steps", "transform", "features", "--lang", "en")
    finally:
        declaration.write_text(before, "utf-8")
    assert done.returncode == 2, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "An expression of the declaration fails" in said
    for one in told:
        assert one in said
    assert "Traceback" not in said


def test_a_shop_with_a_cut_off_each_month(tmp_path: Path) -> None:
    project = Project(tmp_path / "project").plain()
    made = project.vigie(
        "sample", "--dataset", "shop", "--customers", "800", "--out", str(project.raw)
    )
    assert made.returncode == 0, made.stderr
    (project.raw / "GENERATED.json").unlink()
    (project.folder / "vigie.toml").write_text('dataset = "shop"\n', "utf-8")
    said = project.run("--lang", "en")
    assert "each as known at its own cut-off" in said
    metrics = json.loads((project.folder / "reports" / "metrics_dev.json").read_text("utf-8"))
    assert 0.6 < metrics["holdout"]["metrics"]["roc_auc"]["value"] < 0.95
    assert metrics["split"]["kind"] == "latest"
    # A cut-off in days means nothing here, and changes nothing.
    assert project.run("--lang", "en", "--cutoff-days", "30").count("Skipped") == 7


def test_sql_that_nothing_understands_stops_a_run_before_its_first_step(
    trained: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project").plain()
    left = shutil.ignore_patterns(".vigie")
    shutil.copytree(trained.folder, project.folder, dirs_exist_ok=True, ignore=left)
    declaration = project.folder / "dataset.toml"
    text = declaration.read_text("utf-8")
    declaration.write_text(
        text.replace("[cohort]\n", "[cohort]\nperiod = \"CASE WHEN Stadd = 'Bonn' THEN 1 END\"\n"),
        "utf-8",
    )
    done = project.vigie("run", "--lang", "en")
    assert done.returncode == 2
    line = text[: text.index("[cohort]\n")].count("\n") + 2
    assert f"dataset.toml line {line}" in done.stderr
    assert "did you mean 'Stadt'" in done.stderr
    assert "STEP 1" not in done.stdout
    assert "Traceback" not in done.stderr
