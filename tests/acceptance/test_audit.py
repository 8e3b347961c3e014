"""The audit passes what is honest, and finds the leaks that are planted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.project import Project
from tests.conftest import ROOT

STEPS = ("--steps", "extract", "transform", "features", "train", "evaluate")
PARTS = {
    "point_in_time", "clocks", "shuffled_label", "single_features", "groups", "direction",
    "too_good",
}  # fmt: skip


def audited(project: Project, *, code: int) -> dict[str, dict[str, Any]]:
    done = project.vigie("audit", "--json", "--lang", "en")
    assert done.returncode == code, done.stdout + done.stderr
    content = json.loads(done.stdout)
    kept = json.loads((project.folder / "reports" / "audit_dev.json").read_text("utf-8"))
    assert kept == content
    return {part["name"]: part for part in content["parts"]}


@pytest.fixture(scope="module")
def oulad(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("audit") / "project").plain()
    made = project.vigie("sample", "--enrolments", "1500", "--out", str(project.raw))
    assert made.returncode == 0, made.stderr
    project.run(*STEPS)
    return project


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    project = Project(tmp_path / "shop").plain()
    made = project.vigie(
        "sample", "--dataset", "shop", "--customers", "500", "--out", str(project.raw)
    )
    assert made.returncode == 0, made.stderr
    return project


def with_declaration(project: Project, name: str, *changes: tuple[str, str]) -> None:
    """Give the project a declaration of its own: a shipped one with changes."""
    text = (ROOT / "vigie" / "dataset" / "declared" / f"{name}.toml").read_text("utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (project.folder / "own.toml").write_text(text, "utf-8")
    (project.folder / "vigie.toml").write_text('dataset = "own.toml"\n', "utf-8")


def test_an_honest_run_passes(oulad: Project) -> None:
    found = audited(oulad, code=0)
    assert set(found) == PARTS
    assert {part["status"] for part in found.values()} == {"pass"}
    assert "student_registration.date_unregistration" in found["clocks"]["figures"]["late_columns"]
    assert found["too_good"]["figures"]["limit"] == 0.95
    listed = oulad.vigie("audit", "--features", "--lang", "en").stdout
    assert "student_vle, sum_click, clock date" in listed


def test_many_cut_offs_pass_as_well(shop: Project) -> None:
    with_declaration(shop, "shop")
    shop.run(*STEPS)
    found = audited(shop, code=0)
    assert found["point_in_time"]["figures"]["cutoffs"] >= 5
    assert found["point_in_time"]["figures"]["rows"] > 500


def test_a_column_of_the_outcome_is_found(shop: Project) -> None:
    leak = (
        "SELECT DISTINCT o.customer_id, m.month_end, (SELECT count(*) FROM orders AS x WHERE "
        "x.customer_id = o.customer_id AND CAST(x.ordered_at AS DATE) > m.month_end AND "
        "CAST(x.ordered_at AS DATE) <= m.month_end + 90) AS contacts"
    )
    feature = (
        '[[features]]\nkind = "attribute"\nname = "contacts"\ncolumn = "contacts"\n'
        'label = { en = "contacts", fr = "contacts" }\n\n[cohort.label]'
    )
    with_declaration(
        shop,
        "shop",
        ("SELECT DISTINCT o.customer_id, m.month_end", leak),
        ("[cohort.label]", feature),
    )
    shop.run(*STEPS)
    found = audited(shop, code=8)
    assert found["single_features"]["status"] == "fail"
    assert set(found["single_features"]["figures"]["suspects"]) == {"contacts"}
    assert found["too_good"]["status"] == "fail"
    assert "contacts" in found["too_good"]["said"]


def test_a_wrong_clock_is_found(oulad: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project").plain()
    subprocess.run(["cp", "-a", f"{oulad.folder}/.", str(project.folder)], check=True)
    # The day of withdrawal stands in the row of the registration, and is known much later.
    feature = (
        '[[features]]\nkind = "events"\nname = "registration"\ntable = "student_registration"\n'
        'on = ["code_module", "code_presentation", "id_student"]\n'
        'label = { en = "registration", fr = "inscription" }\n\n[[features.measures]]\n'
        'name = "ends"\nlabel = { en = "ends", fr = "finit" }\naggregates = ["max"]\n'
        'expression = "date_unregistration"\n\n[[features]]\nkind = "attribute"\nname = "module"'
    )
    with_declaration(
        project, "oulad", ('[[features]]\nkind = "attribute"\nname = "module"', feature)
    )
    project.run(*STEPS)
    found = audited(project, code=8)
    assert found["clocks"]["status"] == "fail"
    assert found["clocks"]["figures"]["suspects"] == ["registration_ends_max"]
    checked = json.loads(project.vigie("check", "--json", "--lang", "en").stdout)["checks"]
    finding = next(one for one in checked if one["name"] == "audit")
    assert finding["status"] == "warn"
    assert "registration_ends_max" in finding["said"]


def test_a_feature_that_saw_the_future_is_found(oulad: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project").plain()
    subprocess.run(["cp", "-a", f"{oulad.folder}/.", str(project.folder)], check=True)
    path = project.folder / "data" / "processed" / "features_dev.npy"
    metadata = json.loads(
        (project.folder / "data" / "processed" / "features_metadata_dev.json").read_text("utf-8")
    )
    names = [feature["name"] for feature in metadata["features"]]
    matrix = np.load(path)
    matrix[3:10, names.index("clicks_sum")] += 1
    np.save(path, matrix)
    found = audited(project, code=8)
    assert found["point_in_time"]["figures"]["differ"] == {"clicks_sum": 7}
    assert "student_vle" in found["point_in_time"]["said"]


def test_without_a_run_there_is_nothing_to_audit(tmp_path: Path) -> None:
    project = Project(tmp_path / "project").plain()
    done = project.vigie("audit", "--lang", "en")
    assert done.returncode == 3
    assert "vigie run --mode dev" in done.stderr
