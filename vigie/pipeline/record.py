"""What one run was told, did and brought: a JSON file a run, for people and for ``vigie runs``.

The ledger decides what is skipped; a record decides nothing, so only its first writing may fail
loudly.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vigie.errors import VigieError
from vigie.i18n import _
from vigie.pipeline.artifacts import write_json
from vigie.pipeline.ledger import Outcome, Status
from vigie.pipeline.planner import Decision, Plan, Skip, decision_record

FORMAT = 1
RUNNING = "running"
KILLED = "killed"


@dataclass(frozen=True, slots=True)
class GitState:
    """The commit that a folder is at, and whether tracked files differ from it."""

    commit: str
    dirty: bool


def new_run_id(now: datetime | None = None) -> str:
    """Return a unique name that sorts by time: ``20260701T101530.123Z-9f3a``."""
    now = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{secrets.token_hex(2)}"


def read_git_state(folder: Path, *, timeout_seconds: float = 2.0) -> GitState | None:
    """Return the state of the git checkout around `folder`; None outside one or without git."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD", timeout_seconds=timeout_seconds)
    if commit is None:
        return None
    changed = _git(
        folder, "status", "--porcelain", "--untracked-files=no", timeout_seconds=timeout_seconds
    )
    return GitState(commit.strip(), dirty=bool(changed))


class RunRecord:
    """The record of a run that is going on, written at once; the disk has it when the run ends."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        mode: str,
        command: str,
        settings: Mapping[str, Any],
        libraries: Mapping[str, str | None] | None = None,
        git: GitState | None = None,
        run_id: str | None = None,
    ) -> RunRecord:
        """Begin the record of a run in `folder` (the project's ``.vigie/runs``).

        Call it while the project's lock is held: runs of this mode that still count as running
        are then known to be dead, and are marked as killed.

        Parameters
        ----------
        mode, command
            What was asked for, passwords masked.
        settings
            Plain JSON values with their origins, already masked.
        """
        now = datetime.now(UTC)
        run_id = run_id or new_run_id(now)
        content: dict[str, Any] = {
            "format": FORMAT,
            "run_id": run_id,
            "mode": mode,
            "command": command,
            "status": RUNNING,
            "started": now.isoformat(timespec="milliseconds"),
            "finished": None,
            "seconds": None,
            "settings": dict(settings),
            "libraries": dict(libraries or {}),
            "git": asdict(git) if git else None,
            "plan": [],
            "stale": [],
            "steps": {},
            "warnings": [],
            "notes": [],
            "error": None,
        }
        record = cls(folder / f"{run_id}.json", content)
        try:
            mark_killed(folder, mode)
            write_json(record.path, content)
        except OSError as error:
            raise VigieError(
                _("The run's record cannot be written: {reason}.").format(reason=error.strerror),
                where=str(record.path),
                fix=_("Free some space there, or give yourself the right to write."),
            ) from error
        return record

    @property
    def run_id(self) -> str:
        """The run's name."""
        return str(self.content["run_id"])

    def note(self, text: str) -> None:
        """Keep a remark: a lock taken over, a ledger repaired."""
        self.content["notes"].append(text)
        self._save()

    def plan_made(self, plan: Plan) -> None:
        """Keep the plan as it was shown."""
        self.content["plan"] = plan.to_record()
        self.content["stale"] = [decision_record(one) for one in plan.stale]
        self._save()

    def step_decided(self, decision: Decision) -> None:
        """Keep what was decided when the step's turn came."""
        self._step(decision.step)["decision"] = decision_record(decision)
        # A run in which all is skipped should not wait for the disk once a step.
        if not isinstance(decision, Skip):
            self._save()

    def step_ended(self, outcome: Outcome, warnings: list[str]) -> None:
        """Keep how a step ended, with its fingerprint, its facts and its warnings."""
        line = outcome.to_record()
        del line["format"], line["run_id"], line["step"]
        self._step(outcome.step).update(line, warnings=list(warnings))
        self.content["warnings"] += [
            {"step": outcome.step, "message": message} for message in warnings
        ]
        self._save()

    def end(self, status: Status, *, error: str | None = None) -> None:
        """Close the record."""
        now = datetime.now(UTC)
        started = datetime.fromisoformat(self.content["started"])
        self.content |= {
            "status": str(status),
            "finished": now.isoformat(timespec="milliseconds"),
            "seconds": round((now - started).total_seconds(), 3),
            "error": error,
        }
        self._save(durable=True)

    def _step(self, name: str) -> dict[str, Any]:
        step: dict[str, Any] = self.content["steps"].setdefault(name, {})
        return step

    def _save(self, *, durable: bool = False) -> None:
        """Write the record; no step waits for the disk because of it, only the end does."""
        with contextlib.suppress(OSError):
            write_json(self.path, self.content, durable=durable)


def list_runs(folder: Path) -> list[str]:
    """Return the ids of all recorded runs, oldest first."""
    return sorted(path.stem for path in folder.glob("[0-9]*.json"))


def read_record(folder: Path, run_id: str) -> dict[str, Any] | None:
    """Return a run's record, or None where there is none that can be read."""
    try:
        content = json.loads((folder / f"{run_id}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def mark_killed(folder: Path, mode: str) -> list[str]:
    """Mark this mode's latest runs that never ended as killed; return their ids."""
    killed = []
    for run_id in reversed(list_runs(folder)):
        content = read_record(folder, run_id)
        if content is None or content.get("mode") != mode:
            continue
        if content.get("status") != RUNNING:
            break
        write_json(folder / f"{run_id}.json", content | {"status": KILLED})
        killed.append(run_id)
    return killed


def _git(folder: Path, *arguments: str, timeout_seconds: float) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
