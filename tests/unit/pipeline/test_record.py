from __future__ import annotations

import json
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.pipeline.test_ledger import make_outcome
from vigie.errors import VigieError
from vigie.pipeline.ledger import Status
from vigie.pipeline.planner import Plan, Run
from vigie.pipeline.reasons import NeverRan
from vigie.pipeline.record import (
    GitState,
    RunRecord,
    list_runs,
    new_run_id,
    read_git_state,
    read_record,
)


def start(folder: Path, **more: Any) -> RunRecord:
    values: dict[str, Any] = {
        "mode": "dev",
        "command": "vigie run",
        "settings": {"n": {"value": 5, "origin": "default"}},
    }
    return RunRecord.start(folder, **values | more)


def test_run_ids_sort_by_time_and_are_unique() -> None:
    now = datetime(2026, 7, 1, 10, 15, 30, 123456, tzinfo=UTC)
    ids = [new_run_id(now + timedelta(milliseconds=each)) for each in range(20)]
    assert ids == sorted(ids)
    assert ids[0].startswith("20260701T101530.123Z-")
    assert len({new_run_id(now) for _each in range(20)}) > 15


def test_record_is_on_the_disk_all_along(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    record = start(folder, git=GitState("abc", dirty=True), libraries={"numpy": "2"})
    path = folder / f"{record.run_id}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["status"] == "running"
    record.note("lock taken over")
    record.plan_made(Plan((Run("train", (NeverRan(),)),)))
    record.step_decided(Run("train", (NeverRan(),)))
    record.step_ended(make_outcome(facts={"auc": 0.9}), ["careful"])
    record.end(Status.SUCCESS)
    content = read_record(folder, record.run_id)
    assert content is not None
    assert content == record.content
    assert content["status"] == "success"
    assert content["seconds"] >= 0
    assert content["settings"]["n"]["origin"] == "default"
    assert content["git"] == {"commit": "abc", "dirty": True}
    assert content["plan"][0]["reasons"] == [{"kind": "NeverRan"}]
    assert content["steps"]["train"]["decision"]["action"] == "run"
    assert content["steps"]["train"]["facts"] == {"auc": 0.9}
    assert content["steps"]["train"]["fingerprint"]["params"] == {"n": 5}
    assert content["warnings"] == [{"step": "train", "message": "careful"}]


def test_runs_that_never_ended_are_marked_killed(tmp_path: Path) -> None:
    begin = datetime(2026, 7, 1, tzinfo=UTC)

    def begun(seconds: int, mode: str = "dev") -> RunRecord:
        run_id = new_run_id(begin + timedelta(seconds=seconds))
        return start(tmp_path, run_id=run_id, mode=mode)

    begun(0).end(Status.FAILED, error="x")
    killed, other = begun(1), begun(2, "prod")
    (tmp_path / "20260701T000002.500Z-bad.json").write_text("{")
    present = begun(3)
    statuses = [
        (read_record(tmp_path, run_id) or {}).get("status") for run_id in list_runs(tmp_path)
    ]
    assert statuses == ["failed", "killed", "running", None, "running"]
    assert killed.run_id < other.run_id < present.run_id


def test_unwritable_folder_is_told_at_the_start_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VigieError) as caught:
        start(tmp_path / "file" / "runs")
    assert caught.value.fix
    record = start(tmp_path / "runs")
    record.path = tmp_path / "file" / "x.json"
    record.end(Status.SUCCESS)


def test_missing_record(tmp_path: Path) -> None:
    assert read_record(tmp_path, "x") is None
    assert list_runs(tmp_path / "none") == []


def test_git_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert read_git_state(tmp_path) is None
    assert read_git_state(tmp_path / "no such folder") is None

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    git("init")
    assert read_git_state(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--no-gpg-sign", "-m", "x")
    state = read_git_state(tmp_path)
    assert state is not None
    assert len(state.commit) == 40
    assert not state.dirty
    (tmp_path / "a").write_text("2")
    assert read_git_state(tmp_path) == GitState(state.commit, dirty=True)


def test_git_that_hangs_or_is_absent_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "git"
    script.write_text("#!/bin/sh\nexec sleep 5\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert read_git_state(tmp_path, timeout_seconds=0.1) is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert read_git_state(tmp_path) is None
