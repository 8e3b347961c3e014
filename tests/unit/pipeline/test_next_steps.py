"""What a person would do next hangs on what the run came to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vigie.names import STEP_NAMES
from vigie.paths import ProjectPaths
from vigie.pipeline.next_steps import RunState, next_steps, state_after
from vigie.pipeline.runner import RunResult

PREDICTIONS = "reports/predictions_dev.csv"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            RunState("dev", STEP_NAMES, predictions=PREDICTIONS),
            [f"open {PREDICTIONS}", "vigie audit", "vigie run --mode prod"],
        ),
        (
            RunState("dev", STEP_NAMES, predictions=PREDICTIONS, prod_has_run=True),
            [f"open {PREDICTIONS}", "vigie audit"],
        ),
        (RunState("dev", STEP_NAMES, generated=True), ["put your own data into data/raw/"]),
        (RunState("dev", STEP_NAMES, report="r.html", generated=True), ["r.html", "your own data"]),
        (RunState("dev", ("features", "train")), ["go on with evaluate, predict: vigie run"]),
        (RunState("prod", STEP_NAMES, predictions="p.csv"), ["open p.csv"]),
        (
            RunState("prod", STEP_NAMES, predictions="p.csv", without_outcome=1234, raw_dir="in"),
            ["open p.csv", "outcomes of the 1,234 rows without one are known, put them into in/"],
        ),
        (
            RunState("prod", STEP_NAMES, warnings=2, turned_down=True, quarantine="q"),
            ["vigie runs show", "and why: q", "vigie models --mode prod"],
        ),
    ],
)
def test_the_nearest_thing_comes_first(state: RunState, said: list[str]) -> None:
    lines = next_steps(state)
    assert len(lines) == len(said)
    for line, expected in zip(lines, said, strict=True):
        assert expected in line


def test_commands_find_the_project_from_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "my project"
    project.mkdir()
    (project / "vigie.toml").write_text("", "utf-8")
    monkeypatch.chdir(project)
    result = RunResult((), (), ())
    here = state_after(ProjectPaths(project, "dev"), STEP_NAMES, result, generated=False)
    assert next_steps(here)[0].endswith(": vigie audit")
    monkeypatch.chdir(tmp_path)
    there = state_after(ProjectPaths(project, "dev"), STEP_NAMES, result, generated=False)
    assert next_steps(there)[0].endswith(": vigie audit --project 'my project'")


def test_the_state_is_read_from_what_lies_there(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path, "prod")
    predictions = paths.report("predictions", ".csv")
    predictions.parent.mkdir()
    result = RunResult((), (), ("a warning",))
    bare = state_after(paths, STEP_NAMES, result, generated=False)
    assert (bare.predictions, bare.without_outcome, bare.warnings) == (None, 0, 1)
    assert not bare.turned_down
    predictions.write_text("x", "utf-8")
    paths.report("predictions", "_metadata.json").write_text(
        json.dumps({"counts": {"score_source": {"final": 7}}}), "utf-8"
    )
    made = state_after(paths, STEP_NAMES, result, generated=False)
    assert made.predictions == "reports/predictions_prod.csv"
    assert made.without_outcome == 7
    assert made.prod_has_run
    assert state_after(paths, ("load",), result, generated=False).predictions is None
