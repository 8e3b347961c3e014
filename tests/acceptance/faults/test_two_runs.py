"""Two runs at once in one project, and locks whose owners are gone."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.acceptance.faults.conftest import Reference
from tests.acceptance.faults.live import LiveRun
from tests.acceptance.faults.outputs import (
    differing,
    file_hashes,
    leftovers,
    processes_of,
    table_hashes,
)
from tests.acceptance.faults.tally import Tally
from tests.acceptance.project import Project

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CHANGE = ("--cutoff-days", "120")


def test_two_modes_at_once_both_finish(
    finished: Project, reference: Reference, tally: Tally
) -> None:
    with tally.fault("two runs at once", "two modes"):
        dev = LiveRun.start(finished, *CHANGE)
        prod = LiveRun.start(finished, "--mode", "prod", "--skip-check", "dev", "memory", *CHANGE)
        assert dev.finish() == 0, dev.errors
        assert prod.finish() == 0, prod.errors
        found = {n: v for n, v in file_hashes(finished.folder).items() if "_prod" not in n}
        assert not differing(found, reference.files["120"])
        assert (finished.folder / "reports" / "predictions_prod.csv").stat().st_size > 0
        assert not processes_of(finished.folder)
        assert not leftovers(finished)


def test_the_second_of_one_mode_names_the_first_or_waits(finished: Project, tally: Tally) -> None:
    with tally.fault("two runs at once", "one mode"):
        first = LiveRun.start(finished, *CHANGE)
        assert first.wait_for("load")
        refused = finished.vigie("run", "--lang", "en", *CHANGE)
        waiting = LiveRun.start(finished, *CHANGE, "--wait", "90")
        assert refused.returncode == 4
        assert str(first.process.pid) in refused.stderr
        assert "since" in refused.stderr
        assert first.finish() == 0
        assert waiting.finish() == 0, waiting.errors
        assert waiting.text.count("Skipped") == 7


@pytest.mark.parametrize("change", ["rebooted", "same pid"])
def test_the_lock_of_a_dead_run_is_taken_over(
    finished: Project, reference: Reference, tally: Tally, change: str
) -> None:
    with tally.fault("lock of a dead run", change):
        run = LiveRun.start(finished, *CHANGE)
        assert run.wait_for("load")
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        lock = finished.folder / ".vigie" / "run_dev.lock"
        _rewrite(lock, change)
        said = finished.run("--lang", "en", *CHANGE)
        assert "lock is taken over" in said
        assert not differing(file_hashes(finished.folder), reference.files["120"])
        assert not differing(table_hashes(finished), reference.tables["120"])
        assert lock.read_text() == ""


def _rewrite(lock: Path, change: str) -> None:
    owner = json.loads(lock.read_text())
    if change == "rebooted":
        owner["boot"] = "another"
    if change == "same pid":
        # As in containers, where every run is the first process, and this is alive.
        owner["pid"] = 1
    lock.write_text(json.dumps(owner))
