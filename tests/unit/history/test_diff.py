from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.history.kept_runs import SETTINGS, evaluated, keep_run, trained
from tests.unit.pipeline.test_ledger import make_fingerprint, make_outcome
from vigie.history.diff import Change, RunDiff, SettingChange, diff_runs
from vigie.history.runs import RunHistory
from vigie.pipeline.record import GitState

A, B = "20260701T100000.000Z-aa11", "20260702T100000.000Z-bb22"


def compare(state: Path) -> RunDiff:
    history = RunHistory(state)
    return diff_runs(history.find(A), history.find(B))


def load(rows: dict[str, int], seconds: float, **fingerprint: Any):
    return make_outcome(
        "load",
        finished=f"2026-07-01T10:00:{sum(rows.values()):02}+00:00",
        facts={"rows": rows, "seconds": {"commit": 0.1}},
        seconds=seconds,
        fingerprint=make_fingerprint("load", **fingerprint),
    )


def test_everything_that_differs_is_named(tmp_path: Path) -> None:
    keep_run(
        tmp_path,
        A,
        outcomes=(load({"cohort": 10}, 1.0), evaluated(0.8, "a"), trained("rf-1", "b")),
        warnings=("few rows",),
    )
    keep_run(
        tmp_path,
        B,
        outcomes=(
            load(
                {"cohort": 12, "vle": 3},
                2.5,
                params={"n": 5, "dataset.cohort": {"key": "id"}},
                code={"m": "c2"},
                libraries={"numpy": "2.1"},
                inputs={"features": "f2"},
            ),
            evaluated(0.9, "c"),
            trained("rf-2", "d"),
        ),
        settings={**SETTINGS, "cutoff_days": ["90", "--cutoff-days"]},
        libraries={"numpy": "2.1", "vigie": "0.1.0"},
        git=GitState("b" * 40, dirty=True),
    )
    found = compare(tmp_path)
    assert found.settings == (
        SettingChange("cutoff_days", "180", "90", "default", "--cutoff-days"),
    )
    assert found.declaration == (Change("dataset.cohort.key", None, "id"),)
    assert found.inputs == (Change("load.features", "f1", "f2"),)
    assert found.libraries == (Change("numpy", "2.0", "2.1"),)
    assert found.git == (Change("commit", "a" * 40, "b" * 40), Change("dirty", False, True))
    assert found.rows == (Change("load.rows.cohort", 10, 12), Change("load.rows.vle", None, 3))
    assert found.metrics == (Change("model", "rf-1", "rf-2"), Change("roc_auc", 0.8, 0.9))
    assert Change("load", 1.0, 2.5) in found.seconds
    assert found.warnings_a == ("load: few rows", "evaluate: few rows", "train: few rows")
    assert found.warnings_b == ()


def test_code_is_compared_by_module(tmp_path: Path) -> None:
    keep_run(tmp_path, A, outcomes=(load({"cohort": 1}, 1.0, code={"m": "c1", "n": "c1"}),))
    keep_run(tmp_path, B, outcomes=(load({"cohort": 2}, 1.0, code={"m": "c2", "o": "c1"}),))
    assert compare(tmp_path).code == (
        Change("m", "c1", "c2"),
        Change("n", "c1", None),
        Change("o", None, "c1"),
    )


def test_a_run_that_had_nothing_to_do_had_the_same(tmp_path: Path) -> None:
    rows, score = load({"cohort": 10}, 1.0), evaluated(0.8, "2026-07-01T10:00:50+00:00")
    keep_run(tmp_path, A, outcomes=(rows, score))
    keep_run(tmp_path, B, skipped={"load": rows, "evaluate": score})
    found = compare(tmp_path)
    assert not any((found.settings, found.inputs, found.code, found.rows, found.metrics))
    # Its times are its own.
    assert Change("load", 1.0, None) in found.seconds
