"""Kill -9 at any moment of any step: the same command finishes, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.acceptance.faults.conftest import VARIANTS, MakeProject, Reference
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

KILLS = int(os.environ.get("VIGIE_FAULTS_KILLS", "200"))
# Tests of their own, so that they can be at work at the same time.
PARTS = 2
# Who is killed: the run, its process group, one of its children, the server's first process, the
# session that works for the run, or everything at once.
KINDS = ("run", "run", "run", "group", "group", "child", "power")
DATABASE_KINDS = (*KINDS, "server", "server", "backend", "backend")
# Where the run works with the server; elsewhere it would not notice before long.
DATABASE_PHASES = ("server", "load", "predict")
# Where the run is about to ask for figures: earlier, one that outlives it would end the round.
HELPER_PHASES = ("train", "evaluate", "predict")
OUTLIVED_BY_THE_RUN = ("child", "helper", "server", "backend")
# How many of the runs are started in a Python of their own.
COLD = 0.2
# Faults at each phase of a round, on average a little more than two.
TIMES = (1, 2, 3)
SHORT_PHASES = ("extract", "transform")
SHORT_SECONDS = 2.0
NAMES = {
    "run": "kill -9 of the run",
    "group": "kill -9 of its process group",
    "child": "kill -9 of a child (initdb, git)",
    "helper": "kill -9 of the process that draws",
    "server": "kill -9 of the server",
    "backend": "kill -9 of the server's session",
    "power": "kill -9 of run and server at once",
}


class Lost(AssertionError):
    """A fault cost something."""


@dataclass
class Campaign:
    """Rounds of kills in one project: each round ends with a run that finishes its work.

    A round asks for other results than those that are there (another cut-off), or begins with
    nothing, not even the server's data.
    """

    project: Project
    reference: Reference
    rng: random.Random
    number: int = 0
    struck: list[tuple[str, str]] = field(default_factory=list)
    # Steps that went on when another one was struck.
    beside: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def round(self, most: int) -> list[tuple[str, str]]:
        """Kill again and again, `most` times, until the work is done; return what, and when."""
        self.number += 1
        self.struck, self.told = [], []
        variant = VARIANTS[(self.number - 1) % 2]
        # A limit that changes nothing, but that the first step depends on.
        environ = {"VIGIE_EXTRACT__MAX_REJECTED": f"0.{100 + self.number}"}
        before = self._successes()
        done = False
        for phase in self._moments():
            done = self._attempt(phase, variant, environ)
            if done or len(self.struck) == most:
                break
        if not done:
            self._finish(LiveRun.start(self.project, "--cutoff-days", variant, **environ))
        self._check_result(variant, before)
        return self.struck

    def _moments(self) -> list[str]:
        """Return the phases to strike at, in their order; "" is any moment of the whole run."""
        # The short ones are over before many a strike comes.
        phases = sorted([*PHASES, *SHORT_PHASES], key=PHASES.index)
        moments = [phase for phase in phases for _time in range(self.rng.choice(TIMES))]
        for _time in range(3):
            moments.insert(self.rng.randrange(len(moments)), "")
        return moments

    def _attempt(self, phase: str, variant: str, environ: dict[str, str]) -> bool:
        """Start the run and strike; return whether it finished all the same."""
        # What happens while libraries are imported counts too.
        cold = self.rng.random() < COLD
        run = LiveRun.start(self.project, "--cutoff-days", variant, cold=cold, **environ)
        seconds = self.reference.seconds
        if phase:
            alive = run.wait_for(phase) and run.sleep(self.rng.uniform(0, 0.9 * seconds[phase]))
        else:
            # Most of a run that resumes is short.
            alive = run.sleep(self.rng.uniform(0, seconds["launch"] + SHORT_SECONDS))
        if not alive:
            self._finish(run)
            return True
        moment = run.phase
        self.beside |= run.going_on
        kinds = DATABASE_KINDS if moment in DATABASE_PHASES else KINDS
        kinds = (*kinds, "helper") if moment in HELPER_PHASES else kinds
        # The server's data are being made: the only time that a run has a child for long.
        kind = self.rng.choice((*kinds, *["child"] * 6) if self._is_making_server() else kinds)
        kind = run.strike(kind)
        self.struck.append((kind, moment))
        self.told.append(f"{kind} in {moment}")
        if kind in OUTLIVED_BY_THE_RUN:
            code = run.finish()
            self._expect(code in (0, 1, 5), f"exit {code} after {kind}: {run.errors}")
            self._expect("Traceback" not in run.errors, run.errors)
            self._expect("defect" not in run.errors, run.errors)
            self._expect(code == 0 or "Fix:" in run.errors, run.errors)
            if code == 0:
                return True
        self._check_files()
        return False

    def _is_making_server(self) -> bool:
        return any((self.project.folder / ".vigie").glob("postgres.making*"))

    def _finish(self, run: LiveRun) -> None:
        code = run.finish()
        self._expect(code == 0, f"exit {code}: {run.text}{run.errors}")

    def _check_files(self) -> None:
        wrong = half_made(self.project.folder, self.reference.files.values())
        self._expect(not wrong, f"neither old nor new: {wrong}")

    def _check_result(self, variant: str, before: Counter[str]) -> None:
        again = Counter(self._successes())
        again.subtract(before)
        # None is one that was killed between its result and the ledger's line, and made what an
        # earlier round had made.
        self._expect(max(again.values()) == 1, f"steps were done again: {again}")
        wrong = differing(file_hashes(self.project.folder), self.reference.files[variant])
        self._expect(not wrong, f"files differ: {wrong}")
        self._check_files()
        wrong = differing(table_hashes(self.project), self.reference.tables[variant])
        self._expect(not wrong, f"tables differ: {wrong}")
        alive = processes_of(self.project.folder)
        self._expect(not alive, f"still alive: {alive}")
        self._expect(not (left := leftovers(self.project)), f"left over: {left}")

    def _successes(self) -> Counter[str]:
        path = self.project.folder / ".vigie" / "ledger_dev.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        outcomes = [json.loads(line) for line in lines]
        return Counter(one["step"] for one in outcomes if one["status"] == "success")

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise Lost(f"{self.project.folder}: {' > '.join(self.told)}\n{what}")


@pytest.mark.parametrize("part", range(PARTS))
def test_kills_at_random_moments_lose_nothing(
    reference: Reference, make_project: MakeProject, tally: Tally, part: int
) -> None:
    seed = os.environ.get("VIGIE_FAULTS_SEED", secrets.token_hex(4))
    rng = random.Random(f"{seed}-{part}")
    lost: list[str] = []
    tried, wanted = 0, -(-KILLS // PARTS)
    beside: set[str] = set()
    running = Campaign(make_project(f"kills {part}"), reference, rng)
    while tried < wanted:
        # Now and then from the very beginning, the making of the server's data included.
        if running.number >= 3:
            running = Campaign(make_project(f"kills {part}"), reference, rng)
        survived = True
        try:
            running.round(wanted - tried)
        except Lost as error:
            survived = False
            lost.append(str(error))
        for kind, moment in running.struck:
            tally.add(NAMES[kind], moment, survived=survived)
        tried += len(running.struck)
        beside |= running.beside
        if not survived:
            running = Campaign(make_project(f"kills {part}"), reference, rng)
    assert not lost, f"seed {seed}\n" + "\n\n".join(lost)
    moments = {moment for counted in tally.counts.values() for moment in counted} | beside
    assert len(set(PHASES) - moments) <= 1, sorted(moments)
