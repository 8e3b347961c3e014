"""A run that is watched while it works, so that a fault can come at a chosen moment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.acceptance import warm
from tests.acceptance.faults.outputs import processes_of
from tests.acceptance.project import Project

STEPS = ("extract", "transform", "load", "features", "train", "evaluate", "predict")
# Before the banner; from there to the first step, the server's start; the steps.
PHASES = ("launch", "server", *STEPS)
BETWEEN = "between steps"
CLOSING = "closing"
POLL_SECONDS = 0.003
PATIENCE_SECONDS = 90
_HEADING = re.compile(r"(?:🔵 STEP|🔹 Meanwhile, step) (\d)/(\d)")


def phases_of(text: str, steps: tuple[str, ...] = STEPS) -> tuple[str, set[str]]:
    """Return what the run that wrote `text` is doing, and which steps go on beside that."""
    phase, going_on = "launch", set[str]()
    for line in text.splitlines():
        if line.startswith("📋"):
            phase = "server"
        elif heading := _HEADING.match(line):
            phase = steps[int(heading[1]) - 1]
        elif line == "   goes on beside the next steps":
            going_on.add(phase)
        elif line.startswith(("✅", "⏭️")):
            going_on.discard(phase)
            phase = BETWEEN
        elif line.startswith("🎉"):
            phase = CLOSING
    return phase, going_on


@dataclass
class LiveRun:
    """``vigie run`` in a session of its own; what it says goes to files."""

    project: Project
    process: warm.Warmed | subprocess.Popen[bytes]
    out: Path
    err: Path
    steps: tuple[str, ...] = STEPS
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls,
        project: Project,
        *arguments: str,
        steps: tuple[str, ...] = STEPS,
        cold: bool = False,
        **environ: str,
    ) -> LiveRun:
        """Start ``vigie run``; `cold` in a Python of its own (see ``warm``)."""
        # A name each, so that two runs at once don't write over each other.
        stem = f"{project.folder.name}-{time.monotonic_ns()}"
        out, err = (project.folder.parent / f"{stem}.{name}" for name in ("out", "err"))
        chosen = () if steps == STEPS else ("--steps", *steps)
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = warm.start(
                ["run", "--lang", "en", *chosen, *arguments],
                folder=project.folder,
                # A run that hangs is told to say where.
                environ={**project.environ, "PYTHONFAULTHANDLER": "1", **environ},
                stdout=to_out,
                stderr=to_err,
                new_session=True,
                cold=cold,
            )
        return cls(project, process, out, err, steps)

    @property
    def text(self) -> str:
        return self.out.read_text("utf-8", "replace")

    @property
    def errors(self) -> str:
        return self.err.read_text("utf-8", "replace")

    @property
    def phase(self) -> str:
        return phases_of(self.text, self.steps)[0]

    @property
    def going_on(self) -> set[str]:
        """The steps that go on beside that."""
        return phases_of(self.text, self.steps)[1]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_for(self, phase: str) -> bool:
        """Wait until the run is in `phase` or past it; False where it ended first."""
        order = ("launch", "server", *self.steps, CLOSING)
        waited_for = order.index(phase)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.ended:
            now = self.phase
            if now != BETWEEN and order.index(now) >= waited_for:
                return True
            if time.monotonic() >= deadline:
                raise AssertionError(f"never came to {phase}: {self.text}\n{self.where()}")
            time.sleep(POLL_SECONDS)
        return False

    def where(self) -> str:
        """End the run and return where its threads were, and what else is at work."""
        others = [" ".join(one.cmdline()) for one in processes_of(self.project.folder)]
        self.process.send_signal(signal.SIGABRT)
        self.process.wait(PATIENCE_SECONDS)
        return "\n".join([self.errors, *others])

    def sleep(self, seconds: float) -> bool:
        """Let the run work on; False where it ended meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.ended:
                return False
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        return not self.ended

    def finish(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """Kill the run and the server: the power is cut."""
        victims = processes_of(self.project.folder)
        for process in victims:
            _kill(process)
        self.process.wait(PATIENCE_SECONDS)
        psutil.wait_procs(victims, timeout=10)

    def strike(self, kind: str) -> str:
        """Let a fault of `kind` happen; return the kind that did."""
        if kind in {"child", "helper"} and (children := self._children(helper=kind == "helper")):
            _kill(children[0])
            return kind
        if kind == "server" and (server := postmaster(self.project)):
            _kill(server)
            return kind
        if kind == "backend" and (backends := _backends(self.project)):
            _kill(backends[0])
            return kind
        if kind == "power":
            self.kill_all()
            return kind
        if kind == "group" and self._leads_its_group():
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            kind = "run"
            self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        return kind

    def _leads_its_group(self) -> bool:
        """Tell whether the run has a group of its own already: one that is forked makes it."""
        try:
            return os.getpgid(self.process.pid) == self.process.pid
        except ProcessLookupError:
            return False

    def _children(self, *, helper: bool) -> list[psutil.Process]:
        """Return the process that draws, or all other children."""
        found = []
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    draws = any("vigie.pipeline.helper" in part for part in child.cmdline())
                    found += [child] if draws == helper else []
        return found


def postmaster(project: Project) -> psutil.Process | None:
    """Return the embedded server's first process, if it lives."""
    folder = project.folder / ".vigie" / "postgres"
    try:
        process = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
        return process if Path(process.cwd()) == folder.resolve() else None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None


def _backends(project: Project) -> list[psutil.Process]:
    server = postmaster(project)
    try:
        children = server.children() if server else []
        return [one for one in children if "vigie vigie [local]" in " ".join(one.cmdline())]
    except psutil.Error:
        return []


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
