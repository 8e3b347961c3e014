"""Ctrl-C at any moment: the run stops at once, says how to go on, and the same command does."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.acceptance.faults.conftest import Reference
from tests.acceptance.faults.live import PHASES, LiveRun
from tests.acceptance.faults.outputs import (
    differing,
    file_hashes,
    half_made,
    leftovers,
    processes_of,
    table_hashes,
)
from tests.acceptance.faults.tally import Tally
from tests.acceptance.project import Project

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SECONDS = 2.0
# Ctrl-C reaches every process of the terminal's foreground group.
CHANGE = ("--cutoff-days", "120")


def test_ctrl_c_stops_within_two_seconds_and_the_same_command_resumes(
    finished: Project, reference: Reference, tally: Tally
) -> None:
    rng = random.Random()
    for phase in PHASES[1:]:
        with tally.fault("Ctrl-C", phase):
            run = LiveRun.start(finished, *CHANGE)
            assert run.wait_for(phase)
            assert run.sleep(rng.uniform(0, 0.5 * reference.seconds[phase])), "it was too quick"
            os.killpg(run.process.pid, signal.SIGINT)
            began = time.monotonic()
            code = run.finish()
            seconds = time.monotonic() - began
            assert code == 130, f"{code} at {run.phase}: {run.errors}"
            assert seconds < SECONDS, f"{seconds:.1f}s at {run.phase}"
            assert "Interrupted" in run.errors
            assert "same command" in run.errors
            assert "Traceback" not in run.errors
            assert not half_made(finished.folder, reference.files.values())
            assert not processes_of(finished.folder)
    finished.run(*CHANGE)
    assert not differing(file_hashes(finished.folder), reference.files["120"])
    assert not differing(table_hashes(finished), reference.tables["120"])
    assert not leftovers(finished)


def test_a_polite_end_leaves_nothing_running(
    finished: Project, reference: Reference, tally: Tally
) -> None:
    """SIGTERM and SIGHUP, as from a scheduler, a container's stop or a closed terminal."""
    # Under nohup, which every child inherits, a run is meant to outlive the terminal.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for name in ("SIGTERM",) if ignored else ("SIGTERM", "SIGHUP"):
        with tally.fault(name, "load"):
            run = LiveRun.start(finished, *CHANGE, "--force", "load")
            assert run.wait_for("load")
            run.process.send_signal(signal.Signals[name])
            assert run.finish(10) != 0
            assert not half_made(finished.folder, reference.files.values())
    finished.run(*CHANGE)
    assert not differing(table_hashes(finished), reference.tables["120"])
    assert not processes_of(finished.folder)
