from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.history.kept_runs import evaluated, keep_run, trained
from tests.unit.pipeline.test_ledger import make_outcome
from vigie.errors import UsageError
from vigie.history.runs import RunHistory, resolve_run_id
from vigie.pipeline.ledger import Status
from vigie.pipeline.lock import ProjectLock

IDS = ["20260703T100000.000Z-cc33", "20260702T100000.000Z-bb22", "20260701T100000.000Z-aa11"]
FIRST, SECOND, THIRD = IDS[::-1]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("last", IDS[0]),
        ("last~0", IDS[0]),
        ("last~2", IDS[2]),
        (IDS[1], IDS[1]),
        ("20260701", IDS[2]),
        ("bb22", IDS[1]),
    ],
)
def test_a_run_by_any_of_its_names(wanted: str, found: str) -> None:
    assert resolve_run_id(wanted, IDS) == found


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ("2026070", IDS[0]),  # all of them
        ("20260702T100000.000Z-bb23", f"Did you mean {IDS[1]}?"),
        ("last~3", "3 runs"),
        ("xyz", IDS[0]),
        ("", IDS[0]),
    ],
)
def test_an_unknown_or_ambiguous_name_shows_which_there_are(wanted: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_run_id(wanted, IDS)
    assert named in str(caught.value)


def test_without_any_run_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No run is recorded yet") as caught:
        RunHistory(tmp_path).find("last")
    assert "vigie run" in str(caught.value.fix)


def test_runs_are_summed_up_newest_first(tmp_path: Path) -> None:
    train = trained("rf-1", "2026-07-01T10:00:01+00:00")
    score = evaluated(0.9, "2026-07-01T10:00:02+00:00")
    failed = make_outcome("load", Status.FAILED, outputs={}, error="refused")
    keep_run(tmp_path, FIRST, outcomes=(train, score), warnings=("careful",))
    keep_run(tmp_path, SECOND, skipped={"train": train, "evaluate": score})
    keep_run(tmp_path, THIRD, mode="prod", outcomes=(failed,), status=Status.FAILED, git=None)
    third, second, first = [run.summary for run in RunHistory(tmp_path).runs()]
    assert (first.ran, first.skipped, first.failed) == (("train", "evaluate"), (), ())
    assert (first.auc, first.model_version, first.warning_count) == (0.9, "rf-1", 2)
    assert (first.git_commit, first.git_dirty) == ("a" * 40, False)
    # What it skipped was made before, and is what it had all the same.
    assert (second.ran, second.skipped) == ((), ("train", "evaluate"))
    assert (second.auc, second.model_version) == (0.9, "rf-1")
    assert (third.status, third.failed, third.auc, third.git_commit) == (
        "failed",
        ("load",),
        None,
        None,
    )
    only = [run.summary.run_id for run in RunHistory(tmp_path).runs(mode="dev", last=1)]
    assert only == [SECOND]


def test_a_run_that_nobody_carries_on_counts_as_killed(tmp_path: Path) -> None:
    keep_run(tmp_path, FIRST, status=None)
    lock = ProjectLock(tmp_path, "dev")
    with lock.hold():
        assert RunHistory(tmp_path).find("last").summary.status == "running"
    assert RunHistory(tmp_path).find("last").summary.status == "killed"
    assert not lock.acquire()  # looking hasn't kept it
    lock.release()


def test_a_broken_record_is_left_out_of_the_list_and_named_when_asked_for(tmp_path: Path) -> None:
    keep_run(tmp_path, FIRST)
    (tmp_path / "runs" / f"{SECOND}.json").write_text('{"mode": "de')
    assert [run.summary.run_id for run in RunHistory(tmp_path).runs()] == [FIRST]
    with pytest.raises(UsageError, match="cannot be read"):
        RunHistory(tmp_path).find(SECOND)


def test_a_skip_whose_success_is_gone_has_no_facts(tmp_path: Path) -> None:
    score = evaluated(0.9, "2026-07-01T10:00:02+00:00")
    keep_run(tmp_path, FIRST, skipped={"evaluate": score})
    summary = RunHistory(tmp_path).find("last").summary
    assert (summary.skipped, summary.auc) == (("evaluate",), None)
