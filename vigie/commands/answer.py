"""What ``vigie run --json`` answers to the program that started it.

One line on the standard output, the last thing that is printed, so that a scheduler that keeps a
command's last line has all of it, even where it has mixed in what went to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie import __version__
from vigie.errors import ExitCode, VigieError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vigie.history.runs import RecordedRun, StepOfRun
    from vigie.pipeline.options import RunTrace
    from vigie.pipeline.orchestrator import PipelineOrchestrator

FORMAT = 1
# "failed" and "interrupted" are said by the exit code, "success" is the only other end.
PLANNED, NOT_REACHED, BLOCKED = "planned", "not reached", "blocked"


@dataclass(slots=True)
class _Asked:
    """The one run of this process that is to be answered for."""

    orchestrator: PipelineOrchestrator | None = None
    error: dict[str, Any] | None = None


_asked = _Asked()


def begin() -> None:
    """Forget an earlier run of this process."""
    _asked.orchestrator = _asked.error = None


def watch(orchestrator: PipelineOrchestrator) -> None:
    """Remember whose run is to be answered for."""
    _asked.orchestrator = orchestrator


def failed(cause: BaseException, *, step: str | None = None, resume: str | None = None) -> None:
    """Remember what went wrong, in which step, and the command that resumes."""
    _asked.error = error_document(cause, step=step, resume=resume)


def give(code: int) -> None:
    """Print the answer; whoever closed the pipe does not want it."""
    asked = _asked.orchestrator
    content = document(code, asked.trace if asked else None, _asked.error)
    if asked is not None:
        content["mode"] = asked.options.mode
    text = json.dumps(content, ensure_ascii=False, default=str)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def error_document(
    cause: BaseException, *, step: str | None = None, resume: str | None = None
) -> dict[str, Any]:
    """Return an error as plain values: what, where and fix as people are told.

    ``retry`` says whether the same command may succeed a little later with nothing mended: the
    lock was held, a server did not answer, somebody stopped the run.
    """
    from vigie.pipeline.fingerprint import mask_passwords

    ours = cause if isinstance(cause, VigieError) else None
    stopped = not isinstance(cause, Exception)
    return {
        "kind": type(cause).__name__,
        "step": step,
        "what": ours.what if ours else mask_passwords(str(cause)) or type(cause).__name__,
        "where": ours.where if ours else None,
        "fix": ours.fix if ours else None,
        "resume": resume,
        "retry": stopped or (ours is not None and ours.transient),
    }


def document(
    code: int, trace: RunTrace | None, error: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a run came to.

    Parameters
    ----------
    code
        The exit code.
    trace
        None where the command line was not even understood.
    error
        As ``error_document`` makes it.
    """
    run = _recorded(trace)
    record = run.record if run else {}
    return {
        "format": FORMAT,
        "vigie": __version__,
        "run_id": trace.run_id if trace else None,
        "mode": trace.mode if trace else None,
        "status": _status(code, trace),
        "exit_code": int(code),
        "started": record.get("started"),
        "seconds": record.get("seconds"),
        "steps": _steps(trace, run),
        "metrics": run.metrics if run else {},
        "model_version": run.summary.model_version if run else None,
        "made": [
            name for step in (run.summary.ran if run else ()) for name in _outputs(trace, step)
        ],
        "warnings": list(record.get("warnings", ())),
        "notes": list(record.get("notes", ())),
        "error": dict(error) if error and code else None,
    }


def _status(code: int, trace: RunTrace | None) -> str:
    if code == ExitCode.INTERRUPTED:
        return "interrupted"
    if code:
        return "failed"
    return "success" if trace and trace.run_id else PLANNED


def _recorded(trace: RunTrace | None) -> RecordedRun | None:
    from vigie.history.runs import RunHistory

    if trace is None or trace.run_id is None:
        return None
    return RunHistory(trace.state).read(trace.run_id)


def _steps(trace: RunTrace | None, run: RecordedRun | None) -> dict[str, dict[str, Any]]:
    """Return every step of the plan by name, also those that the run did not come to."""
    from vigie.pipeline.planner import Blocked, decision_record

    found: dict[str, dict[str, Any]] = {}
    for decision in trace.plan.decisions if trace and trace.plan else ():
        step = run.step(decision.step) if run else None
        if step is not None:
            found[step.name] = _step(step, _outputs(trace, step.name))
            continue
        planned = decision_record(decision)
        status = PLANNED if trace and trace.run_id is None else NOT_REACHED
        found[decision.step] = {
            "status": BLOCKED if isinstance(decision, Blocked) else status,
            "action": planned["action"],
            "reasons": planned["reasons"],
        }
    return found


def _step(step: StepOfRun, outputs: tuple[str, ...]) -> dict[str, Any]:
    facts = {name: value for name, value in step.facts.items() if name != "rows"}
    return {
        "status": BLOCKED if step.action == BLOCKED else step.status,
        "action": step.action,
        "reasons": list(step.reasons),
        "seconds": step.seconds if step.seconds is not None else 0.0,
        "rows": step.facts.get("rows"),
        "facts": facts,
        "warnings": list(step.warnings),
        "outputs": list(outputs),
    }


def _outputs(trace: RunTrace | None, step: str) -> tuple[str, ...]:
    return tuple(trace.outputs.get(step, ())) if trace else ()
