"""The runs that a project has had, read from their records and the ledgers.

A skipped step left nothing in its run's record but the time of the success that it relied on. That
success is in the mode's ledger, so what a run *had* (its metrics, its model) is known even where it
made nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vigie.errors import UsageError
from vigie.i18n import _
from vigie.names import with_nearest
from vigie.pipeline.ledger import Ledger, Outcome, Status
from vigie.pipeline.lock import is_held
from vigie.pipeline.record import KILLED, RUNNING, list_runs, read_record

HEADLINE_METRIC = "roc_auc"
SKIPPED = "skipped"
_LAST = re.compile(r"last(?:~(\d+))?")
_IDS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class StepOfRun:
    """What one step came to in one run.

    Parameters
    ----------
    action
        ``"run"``, ``"skip"`` or ``"blocked"``.
    reasons
        Why, as the record has it.
    status
        How it ended; ``"skipped"`` where it was, None where it never ended.
    started, seconds
        None unless it ran.
    fingerprint, facts, outputs
        Of the outcome that counts: its own, or the earlier success that it was skipped for.
    warnings
        What it warned of in this run.
    """

    name: str
    action: str
    reasons: tuple[Mapping[str, Any], ...] = ()
    status: str | None = None
    started: str | None = None
    seconds: float | None = None
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def row_count(self) -> int | None:
        """All rows that the step counted, of all its tables."""
        rows = self.facts.get("rows")
        if isinstance(rows, Mapping):
            return sum(rows.values())
        return rows if isinstance(rows, int) else None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of ``vigie runs``.

    Parameters
    ----------
    status
        As recorded; a run that nobody carries on any more counts as killed.
    ran, skipped, failed
        Names of steps.
    auc, model_version
        What the run had in the end, be it made by it or by an earlier one.
    """

    run_id: str
    mode: str
    status: str
    started: str
    seconds: float | None
    ran: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    auc: float | None
    model_version: str | None
    warning_count: int
    git_commit: str | None
    git_dirty: bool | None

    def to_record(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run with all that its record and the ledger know of it.

    Parameters
    ----------
    record
        The record as it is on the disk.
    """

    summary: RunSummary
    steps: tuple[StepOfRun, ...]
    record: Mapping[str, Any]

    def step(self, name: str) -> StepOfRun | None:
        """Return the step of that name, None where the run didn't come to it."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def metrics(self) -> dict[str, float]:
        """The hold-out's metrics that count for this run."""
        step = self.step("evaluate")
        found = step.facts.get("metrics", {}) if step else {}
        return {name: value for name, value in found.items() if value is not None}


class RunHistory:
    """The runs of a project.

    Parameters
    ----------
    state
        The project's ``.vigie``.
    ledger
        That of one mode, where it was read already: with the years it gets long.
    """

    def __init__(self, state: Path, ledger: Ledger | None = None) -> None:
        self.folder = state / "runs"
        self._state = state
        self._ledgers: dict[Path, Ledger] = {} if ledger is None else {ledger.path: ledger}
        self._held: dict[str, bool] = {}

    def ids(self) -> list[str]:
        """Return the ids of all runs, newest first."""
        return list_runs(self.folder)[::-1]

    def ledger(self, mode: str) -> Ledger:
        """Return what the steps of a mode have come to."""
        path = self._state / f"ledger_{mode}.jsonl"
        if path not in self._ledgers:
            self._ledgers[path], _truncated = Ledger.open(path, repair=False)
        return self._ledgers[path]

    def read(self, run_id: str) -> RecordedRun | None:
        """Return a run, or None where its record cannot be read."""
        record = read_record(self.folder, run_id)
        if record is None or "mode" not in record or "status" not in record:
            return None
        mode = str(record["mode"])
        steps = tuple(
            self._step(mode, name, entry) for name, entry in record.get("steps", {}).items()
        )
        return RecordedRun(self._summary(record, steps), steps, record)

    def runs(self, *, mode: str | None = None, last: int | None = None) -> Iterator[RecordedRun]:
        """Yield runs, newest first, `last` of them at most."""
        count = 0
        for run_id in self.ids():
            if last is not None and count >= last:
                return
            run = self.read(run_id)
            if run is not None and mode in (None, run.summary.mode):
                count += 1
                yield run

    def find(self, wanted: str) -> RecordedRun:
        """Return the run that a person means.

        Parameters
        ----------
        wanted
            An id, a beginning that only one id has, the four characters that one ends with,
            ``last``, or ``last~1`` for the one before.

        Raises
        ------
        UsageError
            No run is called so, or several are.
        """
        run = self.read(resolve_run_id(wanted, self.ids()))
        if run is None:
            raise UsageError(
                _("The record of run {run} cannot be read.").format(run=wanted),
                where=str(self.folder),
                fix=_("List the runs: {command}").format(command="vigie runs"),
            )
        return run

    def _summary(self, record: Mapping[str, Any], steps: Sequence[StepOfRun]) -> RunSummary:
        git = record.get("git") or {}
        evaluated = next((step.facts for step in steps if step.name == "evaluate"), {})
        versions = [step.facts.get("version") for step in steps if step.name == "train"]
        versions += [step.facts.get("model_version") for step in reversed(steps)]
        status = str(record["status"])
        if status == RUNNING and not self._is_held(str(record["mode"])):
            status = KILLED
        return RunSummary(
            run_id=str(record["run_id"]),
            mode=str(record["mode"]),
            status=status,
            started=str(record["started"]),
            seconds=record.get("seconds"),
            ran=tuple(step.name for step in steps if step.status == Status.SUCCESS),
            skipped=tuple(step.name for step in steps if step.status == SKIPPED),
            failed=tuple(step.name for step in steps if _stopped(step)),
            auc=evaluated.get("metrics", {}).get(HEADLINE_METRIC),
            model_version=next((version for version in versions if version), None),
            warning_count=len(record.get("warnings", ())),
            git_commit=git.get("commit"),
            git_dirty=git.get("dirty"),
        )

    def _step(self, mode: str, name: str, entry: Mapping[str, Any]) -> StepOfRun:
        decision = entry.get("decision") or {}
        action, reasons = str(decision.get("action", "run")), tuple(decision.get("reasons", ()))
        if action == "skip":
            earlier = self._earlier(mode, name, reasons)
            return StepOfRun(
                name,
                action,
                reasons,
                status=SKIPPED,
                fingerprint=earlier.fingerprint.to_record() if earlier else {},
                facts=earlier.facts if earlier else {},
                outputs=earlier.outputs if earlier else {},
            )
        return StepOfRun(
            name,
            action,
            reasons,
            status=entry.get("status"),
            started=entry.get("started"),
            seconds=entry.get("seconds"),
            fingerprint=entry.get("fingerprint") or {},
            facts=entry.get("facts") or {},
            outputs=entry.get("outputs") or {},
            warnings=tuple(entry.get("warnings") or ()),
            error=entry.get("error"),
        )

    def _earlier(
        self, mode: str, step: str, reasons: Sequence[Mapping[str, Any]]
    ) -> Outcome | None:
        """Return the success that a skipped step relied on."""
        since = next((str(reason["since"]) for reason in reasons if "since" in reason), "")
        return self.ledger(mode).success_at(step, since)

    def _is_held(self, mode: str) -> bool:
        if mode not in self._held:
            self._held[mode] = is_held(self._state, mode)
        return self._held[mode]


def resolve_run_id(wanted: str, run_ids: Sequence[str]) -> str:
    """Return the one id that `wanted` means among `run_ids`, newest first.

    Raises
    ------
    UsageError
        None is meant, or several.

    Examples
    --------
    >>> resolve_run_id("last~1", ["20260702-bb", "20260701-aa"])
    '20260701-aa'
    """
    if not run_ids:
        raise UsageError(
            _("No run is recorded yet."), fix=_("Start one: {command}").format(command="vigie run")
        )
    place = _LAST.fullmatch(wanted)
    if place:
        back = int(place[1] or 0)
        if back < len(run_ids):
            return run_ids[back]
        raise _no_such_run(wanted, _("There are {count} runs.").format(count=len(run_ids)))
    if wanted in run_ids:
        return wanted
    found = [one for one in run_ids if wanted and one.startswith(wanted)]
    found = found or [one for one in run_ids if wanted and one.endswith(f"-{wanted}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            _("{count} runs begin with {wanted!r}.").format(count=len(found), wanted=wanted),
            fix=_("Name one of them: {names}").format(names=_listed(found)),
        )
    newest = _("The newest are: {names}").format(names=_listed(run_ids))
    raise _no_such_run(wanted, with_nearest(newest, wanted, run_ids))


def _no_such_run(wanted: str, fix: str) -> UsageError:
    return UsageError(_("There is no run {wanted!r}.").format(wanted=wanted), fix=fix)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_IDS_SHOWN]) + (", …" if len(names) > _IDS_SHOWN else "")


def _stopped(step: StepOfRun) -> bool:
    return step.action == "blocked" or step.status in (Status.FAILED, Status.INTERRUPTED)
