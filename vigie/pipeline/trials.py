"""Trials: how well models would do at other cut-offs or of other kinds; nothing current changes.

Each cut-off has a folder of its own, ``.vigie/trials_{mode}/{day}/``, with clean tables, features
and what was judged, and a ledger: what has not changed is not done again, a killed trial goes on
where it stopped. Sweeps and comparisons share them. They may be deleted at any time.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vigie.data.stored_tables import StoredTables
from vigie.errors import UsageError
from vigie.i18n import _
from vigie.pipeline.artifacts import FileArtifact
from vigie.pipeline.console import LOGGER, Console, start_log
from vigie.pipeline.definition import trial_steps
from vigie.pipeline.ledger import Ledger, Outcome
from vigie.pipeline.lock import ProjectLock
from vigie.pipeline.options import RunOptions
from vigie.pipeline.orchestrator import PipelineOrchestrator
from vigie.pipeline.pipeline import Pipeline, make_plan
from vigie.pipeline.planner import Plan
from vigie.pipeline.reasons import Reason, UpToDate
from vigie.pipeline.record import new_run_id
from vigie.pipeline.runner import run_plan
from vigie.pipeline.session import Session
from vigie.pipeline.step import Artifact, ProgressBar, Step, StepContext


@dataclass(slots=True)
class TrialSpeaker:
    """Hears the steps of trials: they go to the log; warnings are shown, each once.

    ``ran`` counts the steps that had something to do.
    """

    console: Console
    of: str = ""
    ran: int = 0
    warned: set[str] = field(default_factory=set)

    def plan_made(self, plan: Plan) -> None:
        """Hear the plan."""

    def step_started(self, index: int, count: int, step: Step, reasons: Sequence[Reason]) -> None:
        """Hear that a step begins."""
        self.ran += 1
        LOGGER.debug("%s %s: %s", self.of, step.name, "; ".join(r.describe() for r in reasons))

    def step_skipped(self, index: int, count: int, step: Step, reasons: Sequence[UpToDate]) -> None:
        """Hear that a step has nothing to do."""

    def step_goes_on(self, step: Step) -> None:
        """Say nothing: no step of a trial does."""

    def step_tells(self, index: int, count: int, step: Step) -> None:
        """Say nothing: no step of a trial went on."""

    def step_finished(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        """Hear that a step ended well."""
        LOGGER.debug("%s %s: %.2f s", self.of, step.name, outcome.seconds)

    def step_stopped(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        """Hear that a step did not end well; whoever asked for the trial says so."""

    def say(self, message: str) -> None:
        """Log what a step says."""
        LOGGER.info("%s %s", self.of, message)

    def warn(self, message: str) -> None:
        """Show a warning, once."""
        if message not in self.warned:
            self.warned.add(message)
            self.console.warn(message)

    def progress(
        self, description: str, total: float | None, unit: str | None = None
    ) -> AbstractContextManager[ProgressBar]:
        """Show progress on a terminal; elsewhere the results are progress enough."""
        shown = self.console if self.console.is_terminal else Console("", quiet=True)
        return shown.progress(f"{self.of} {description}".strip(), total, unit)


@dataclass(frozen=True, slots=True)
class Trial:
    """What was judged at one cut-off: documents by kind, and whether anything had to be done."""

    cutoff_days: int | None
    judged: dict[str, dict[str, Any]]
    comparison: dict[str, Any] | None
    is_new: bool


@dataclass(slots=True)
class Trials:
    """The trials of one project and mode, under its lock.

    Make one with ``open_trials``.
    """

    session: Session
    run_id: str
    speaker: TrialSpeaker
    cleaned: Path | None = None

    def extract(self) -> None:
        """Read the raw files where that has not been done: the mode's own step, for its runs too.

        Raises
        ------
        VigieError
            When there is nothing to read, or the declaration does not hold.
        """
        session = self.session
        if not session.raw.will_generate():
            session.raw.locate()
        session.warn_if_generated()
        session.refuse_bad_expressions()
        ledger, _truncated = Ledger.open(session.paths.ledger)
        pipeline = session.pipeline(ledger)
        with session.console.progress(_("reading the raw files"), None):
            self._carry_out(pipeline, ("extract",), {})

    def run(
        self,
        cutoff_days: int | None,
        kinds: dict[str, dict[str, Any]],
        *,
        comparison: Path | None = None,
    ) -> Trial:
        """Judge kinds of model at a cut-off.

        Parameters
        ----------
        kinds
            The parameters of each.
        comparison
            Where to write what the kinds have in pairs; None where they are not compared.

        Raises
        ------
        StepStopped
            When a step failed or was interrupted.
        """
        session = self.session
        folder = session.paths.trials / ("all" if cutoff_days is None else str(cutoff_days))
        steps = trial_steps(session.mode, tuple(kinds), compared=comparison is not None)
        artifacts = self._artifacts(folder, tuple(kinds), comparison)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ledger, _truncated = Ledger.open(folder / "ledger.jsonl")
        values = {f"trial.{kind}": params for kind, params in kinds.items()}
        pipeline = Pipeline(
            steps=steps,
            artifacts=artifacts,
            values=session.values(steps, {**values, "cutoff_days": cutoff_days}),
            ledger=ledger,
            code=session.code.digests,
        )
        self.speaker.ran = 0
        self.speaker.of = (
            "" if cutoff_days is None else _("day {cutoff}:").format(cutoff=cutoff_days)
        )
        names = tuple(step.name for step in steps)
        services = {"cleaned": self._cleaned_for(folder), "storage": self._storage_of(folder)}
        self._carry_out(pipeline, names, services)
        self.cleaned = self.cleaned or folder / "clean"
        judged = {kind: _read(artifacts[f"judged {kind}"]) for kind in kinds}
        compared = None if comparison is None else _read(artifacts["comparison"])
        return Trial(cutoff_days, judged, compared, is_new=self.speaker.ran > 0)

    def _cleaned_for(self, folder: Path) -> Path | None:
        return None if self.cleaned == folder / "clean" else self.cleaned

    def _storage_of(self, folder: Path) -> str | None:
        """Return where Spark keeps a trial's tables: apart from every other's and the mode's."""
        storage = self.session.settings.get("engine.storage")
        if storage is None:
            return None
        return f"{storage.rstrip('/')}/{folder.parent.name}/{folder.name}"

    def _carry_out(
        self, pipeline: Pipeline, names: Sequence[str], services: dict[str, Any]
    ) -> None:
        def make_context(step: Step) -> StepContext:
            context = self.session.context(step, pipeline)
            context.reporter = self.speaker
            context.services = {**context.services, **services}
            return context

        run_plan(
            pipeline,
            make_plan(pipeline, requested=names),
            run_id=self.run_id,
            make_context=make_context,
            observer=self.speaker,
        )

    def _artifacts(
        self, folder: Path, kinds: Sequence[str], comparison: Path | None
    ) -> dict[str, Artifact]:
        session = self.session
        project, hashes = session.paths.project, session.hashes
        files = {
            "features": folder / "features.npy",
            "labels": folder / "labels.npy",
            "keys": folder / "keys.parquet",
            "features_metadata": folder / "features_metadata.json",
        }
        for kind in kinds:
            files[f"judged {kind}"] = folder / f"judged_{kind}.json"
            files[f"scores {kind}"] = folder / f"scores_{kind}.parquet"
        if comparison is not None:
            files["comparison"] = comparison
        made: list[Artifact] = [
            StoredTables(name, path, project, hashes, session.resources.spark_if_engine)
            for name, path in (
                ("extracted", session.paths.extracted),
                ("clean", folder / "clean"),
            )
        ]
        made += [FileArtifact(name, path, project, hashes=hashes) for name, path in files.items()]
        return {artifact.name: artifact for artifact in made}


@contextmanager
def open_trials(options: RunOptions) -> Iterator[Trials]:
    """Hold the mode's lock while the block tries things.

    Raises
    ------
    VigieError
        When the settings or the declaration can't be read, or a run of the mode is going on.
    """
    session = PipelineOrchestrator(options).open()[0]
    if options.quiet:
        # What is printed then is for programs.
        session.console.stream = sys.stderr
    session.log_bytes = start_log(session.paths.log)
    for note in session.settings.notes:
        session.console.warn(note)
    lock = ProjectLock(session.paths.state, session.mode, command=shlex.join(options.command))
    try:
        with lock.hold(options.wait_seconds) as taken_over, ExitStack() as session.resources.held:
            if taken_over is not None:
                session.console.warn(taken_over.describe())
            yield Trials(session, new_run_id(), TrialSpeaker(session.console))
    finally:
        session.save_caches()


def trial_params(session: Session, kinds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the parameters that each kind would have if it were the one in the settings.

    ``[model] params`` are those of ``[model] kind``, and no other kind's.

    Raises
    ------
    ModelError
        When there is no such kind, or it refuses the parameters.
    """
    from vigie.models.kinds import kind_params, make_classifier

    found = {}
    for kind in dict.fromkeys(kinds):
        own = kind == session.settings.get("model.kind")
        found[kind] = kind_params(
            kind,
            session.settings.get(f"modes.{session.mode}.model_params"),
            session.settings.get("model.params") if own else "{}",
        )
        make_classifier(kind, found[kind], seed=0, threads=1)
    return found


def refuse_without_days(session: Session) -> None:
    """Raise ``UsageError`` where the data set has no cut-off days to choose from."""
    if not session.dataset.uses_cutoff_days:
        raise UsageError(
            _("The data set {name} has no cut-off days to choose from.").format(
                name=session.dataset.name
            ),
            where="--cutoff-days",
            fix=_(
                "Where rows have a cut-off of their own the declaration says when "
                "(cohort.cutoff); where no table has a clock there is none."
            ),
        )


def _read(artifact: Artifact) -> dict[str, Any]:
    assert isinstance(artifact, FileArtifact)
    content: dict[str, Any] = json.loads(artifact.path.read_text("utf-8"))
    return content
