"""Carries a plan out: decides again when each step's turn comes, runs it, keeps what it came to.

The runner is where the pure planner meets the world: it reads the states of artifacts (once a
decision), runs the steps and writes the ledger. It prints nothing; a ``RunObserver`` does.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from vigie.errors import VigieError
from vigie.i18n import _
from vigie.pipeline.failures import (
    StepStopped,
    blocked_error,
    error_text,
    is_interrupt,
    storage_error,
)
from vigie.pipeline.fingerprint import Fingerprint
from vigie.pipeline.import_ahead import ImportAhead, import_if_possible
from vigie.pipeline.interrupt import Beside
from vigie.pipeline.ledger import Outcome, Status
from vigie.pipeline.pipeline import Pipeline, begin_imports
from vigie.pipeline.planner import Blocked, Decision, Plan, Run, Skip, decide, makers_of
from vigie.pipeline.reasons import Reason, UpToDate
from vigie.pipeline.record import RunRecord
from vigie.pipeline.step import LaterReporter, Step, StepContext

# How long a thread waits for the interpreter where another one works: each needs it for moments,
# thousands of times, and would wait 5 ms each time. The whole of OULAD took 75 s and not 70.
SWITCH_SECONDS = 0.0002


class RunObserver(Protocol):
    """Hears what happens while a plan is carried out; `index` counts from 1 to `count`."""

    def plan_made(self, plan: Plan) -> None:
        """Hear the plan that is about to be carried out."""
        ...

    def step_started(self, index: int, count: int, step: Step, reasons: Sequence[Reason]) -> None:
        """Hear that a step begins to run, and why."""
        ...

    def step_skipped(self, index: int, count: int, step: Step, reasons: Sequence[UpToDate]) -> None:
        """Hear that a step has nothing to do."""
        ...

    def step_goes_on(self, step: Step) -> None:
        """Hear that a step that has begun goes on beside the next ones."""
        ...

    def step_tells(self, index: int, count: int, step: Step) -> None:
        """Hear that a step that went on has ended, and says now what it had to say."""
        ...

    def step_finished(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        """Hear that a step ended well; the outcome holds its seconds and facts."""
        ...

    def step_stopped(self, index: int, count: int, step: Step, outcome: Outcome) -> None:
        """Hear that a step failed or was interrupted."""
        ...


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went: what was decided at each step's turn, and what those that ran came to."""

    decisions: tuple[Decision, ...]
    outcomes: tuple[Outcome, ...]
    warnings: tuple[str, ...]

    @property
    def ran(self) -> tuple[str, ...]:
        """The names of the steps that ran."""
        return tuple(outcome.step for outcome in self.outcomes)


def run_plan(
    pipeline: Pipeline,
    plan: Plan,
    *,
    run_id: str,
    make_context: Callable[[Step], StepContext],
    observer: RunObserver,
    record: RunRecord | None = None,
    beside: bool = False,
    ahead: ImportAhead | None = None,
) -> RunResult:
    """Carry `plan` out.

    Each step is decided again when its turn comes: what an earlier step made anew may be what it
    was before, and then the cascade ends there.

    A step that goes on beside others and fails stops the run when the step that runs meanwhile
    has ended; one that fails meanwhile lets it end as well. Nothing that was done is lost.

    Parameters
    ----------
    run_id
        Names the run in the ledger.
    make_context
        Gives a step what it may see; called right before it runs.
    record
        Is kept up to date, but not closed when all went well: the caller may have more to do.
    beside
        Whether steps that may go on beside later ones do.
    ahead
        What ``begin_imports`` gave for this plan, and the caller leaves; None begins here.

    Raises
    ------
    ArtifactMissing
        A step cannot run; nothing was done if the plan knew.
    StepStopped
        A step failed or was interrupted; the ledger and the record say so.
    """
    observer.plan_made(plan)
    if record is not None:
        record.plan_made(plan)
    if plan.blocked:
        raise _close_as_failed(record, blocked_error(plan.blocked))
    begun = begin_imports(pipeline, plan) if ahead is None else contextlib.nullcontext(ahead)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    with begun as imports:
        run = _Run(pipeline, run_id, make_context, observer, record, imports, len(plan.decisions))
        try:
            for index, planned in enumerate(plan.decisions, start=1):
                step = pipeline.step(planned.step)
                others = beside and step.beside is not None and planned.step in plan.to_run[:-1]
                run.take(index, step, forced=planned.step in plan.forced, beside=others)
            run.join_all()
        except BaseException as error:
            run.let_go(error)
            raise
        finally:
            sys.setswitchinterval(interval)
    return RunResult(tuple(run.decisions), tuple(run.outcomes), tuple(run.warnings))


@dataclass(slots=True)
class _GoingOn:
    """A step that runs beside later ones."""

    index: int
    step: Step
    present: Fingerprint
    context: StepContext
    started: _Started
    speech: LaterReporter
    work: Beside[None] | None = None
    done: Outcome | None = None
    stopped: StepStopped | None = None


@dataclass(slots=True)
class _Run:
    """A plan while it is carried out."""

    pipeline: Pipeline
    run_id: str
    make_context: Callable[[Step], StepContext]
    observer: RunObserver
    record: RunRecord | None
    ahead: ImportAhead
    count: int
    decisions: list[Decision] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    going_on: list[_GoingOn] = field(default_factory=list)
    # Held by whoever writes the ledger or the record: a step beside others does, when it ends.
    books: threading.RLock = field(default_factory=threading.RLock)

    def take(self, index: int, step: Step, *, forced: bool, beside: bool) -> None:
        """Decide for a step whose turn has come, and run it if so decided."""
        self._join(
            one
            for one in self.going_on
            if one.step.name in step.after or set(one.step.outputs) & set(step.inputs)
        )
        self._join([one for one in self.going_on if one.work and not one.work.is_running])
        try:
            states = self.pipeline.states((*step.inputs, *step.outputs))
            present = self.pipeline.fingerprint(step, states)
        except BaseException as error:
            # Nothing ran, so there is nothing for the ledger; the caller still learns where.
            stopped = self._stopped(step, error)
            self._end_record(stopped)
            raise stopped from error
        with self.books:
            decision = decide(
                step,
                present=present,
                states=states,
                ledger=self.pipeline.ledger,
                makers=makers_of(self.pipeline.steps),
                forced=forced,
            )
            self.decisions.append(decision)
            if self.record is not None:
                self.record.step_decided(decision)
        match decision:
            case Blocked():
                raise _close_as_failed(self.record, blocked_error([decision]))
            case Skip(reasons=reasons):
                self.observer.step_skipped(index, self.count, step, reasons)
            case Run(reasons=reasons):
                self.observer.step_started(index, self.count, step, reasons)
                if beside:
                    self._begin(index, step, present)
                else:
                    self._run(index, step, present)

    def join_all(self) -> None:
        """Wait for every step that still goes on."""
        self._join(list(self.going_on))

    def let_go(self, error: BaseException) -> None:
        """End what goes on when the run does: let it finish after a failure, else stop it.

        Raises
        ------
        StepStopped, KeyboardInterrupt
            When somebody has had enough while it finishes.
        """
        reason = error
        for one in list(self.going_on):
            if is_interrupt(reason):
                self._interrupt(one)
                continue
            try:
                self._join([one], closes_record=False)
            except BaseException as other:
                # Its own failure has been told and kept; the run's error is the first one.
                if is_interrupt(other):
                    reason = other
        if reason is not error:
            raise reason

    def _run(self, index: int, step: Step, present: Fingerprint) -> None:
        context: StepContext | None = None
        started = _Started()
        try:
            self.ahead.wait_for(step.imports)
            context = self.make_context(step)
            done = self._carry_out(step, present, context, started)
        except BaseException as error:
            raise self._tell_stopped(index, step, present, context, started, error) from error
        self._keep_success(done, context)
        self.observer.step_finished(index, self.count, step, done)

    def _begin(self, index: int, step: Step, present: Fingerprint) -> None:
        """Start a step that goes on beside the next ones."""
        for module in step.beside or ():
            import_if_possible(module)
        started = _Started()
        try:
            self.ahead.wait_for(step.imports)
            context = self.make_context(step)
        except BaseException as error:
            raise self._tell_stopped(index, step, present, None, started, error) from error
        speech = LaterReporter(context.reporter)
        context.reporter = speech
        one = _GoingOn(index, step, present, context, started, speech)

        def work() -> None:
            try:
                done = self._carry_out(step, present, context, started, one)
            except BaseException as error:
                with self.books:
                    if one.done is not None:
                        # It was interrupted, and that is told and kept.
                        return
                    asked = one.work is not None and one.work.stop_requested
                    stopped = self._stopped(step, KeyboardInterrupt() if asked else error)
                    stopped.__cause__ = error
                    one.done = self._keep_failure(stopped, present, context, started)
                    one.stopped = stopped
                return
            self._keep_success(done, context)

        self.observer.step_goes_on(step)
        self.going_on.append(one)
        one.work = Beside(work)

    def _join(self, ones: Iterable[_GoingOn], *, closes_record: bool = True) -> None:
        """Wait for steps that go on, and tell how they ended.

        Parameters
        ----------
        closes_record
            Whether the run ends with the failure of one; not where it has ended with another.

        Raises
        ------
        StepStopped
            When one of them did not end well, or was interrupted while we waited.
        """
        for one in list(ones):
            try:
                self._wait_for(one)
            except KeyboardInterrupt as error:
                self._interrupt(one)
                if one.stopped is None:
                    raise
                self._end_record(one.stopped)
                raise one.stopped from error
            self._tell_end(one)
            if one.stopped is not None:
                if closes_record:
                    self._end_record(one.stopped)
                raise one.stopped

    def _wait_for(self, one: _GoingOn) -> None:
        work = one.work
        if work is not None and work.is_running:
            with one.speech.shown_live() as show:
                while work.is_running:
                    work.wait()
                    show()
        if work is not None:
            # It keeps its own failures; one in the keeping is a defect to be seen.
            work.result()

    def _interrupt(self, one: _GoingOn) -> None:
        """Stop a step that goes on; what doesn't heed is left to the end of the process."""
        if one.work is not None:
            one.work.stop()
        with self.books:
            if one.done is None:
                one.stopped = self._stopped(one.step, KeyboardInterrupt())
                one.done = self._keep_failure(one.stopped, one.present, one.context, one.started)
        self._tell_end(one)

    def _tell_end(self, one: _GoingOn) -> None:
        self.going_on.remove(one)
        self.observer.step_tells(one.index, self.count, one.step)
        one.speech.speak()
        assert one.done is not None
        tell = self.observer.step_stopped if one.stopped else self.observer.step_finished
        tell(one.index, self.count, one.step, one.done)

    def _tell_stopped(
        self,
        index: int,
        step: Step,
        present: Fingerprint,
        context: StepContext | None,
        started: _Started,
        error: BaseException,
    ) -> StepStopped:
        """Keep that a step did not end well, close the record with it, and tell."""
        stopped = self._stopped(step, error)
        failed = self._keep_failure(stopped, present, context, started)
        self._end_record(stopped)
        self.observer.step_stopped(index, self.count, step, failed)
        return stopped

    def _carry_out(
        self,
        step: Step,
        present: Fingerprint,
        context: StepContext,
        started: _Started,
        going_on: _GoingOn | None = None,
    ) -> Outcome:
        step.run(context)
        outputs = _made(self.pipeline, step)
        done = self._outcome(step, Status.SUCCESS, present, context, started, outputs=outputs)
        with self.books:
            if going_on is not None and going_on.done is not None:
                # Given up while it ended: what it made is made again, or found to be the same.
                raise KeyboardInterrupt
            self.pipeline.ledger.append(done)
            if going_on is not None:
                going_on.done = done
        return done

    def _keep_success(self, done: Outcome, context: StepContext) -> None:
        with self.books:
            self.outcomes.append(done)
            self.warnings += context.warnings
            if self.record is not None:
                self.record.step_ended(done, context.warnings)

    def _keep_failure(
        self,
        stopped: StepStopped,
        present: Fingerprint,
        context: StepContext | None,
        started: _Started,
    ) -> Outcome:
        step = self.pipeline.step(stopped.step)
        failed = self._outcome(
            step, stopped.status, present, context, started, error=error_text(stopped.cause)
        )
        with self.books:
            # The disk may be full: that must not hide why the step stopped.
            with contextlib.suppress(OSError, VigieError, TypeError, ValueError):
                self.pipeline.ledger.append(failed)
            if self.record is not None:
                self.record.step_ended(failed, context.warnings if context else [])
        return failed

    def _outcome(
        self,
        step: Step,
        status: Status,
        present: Fingerprint,
        context: StepContext | None,
        started: _Started,
        **more: Any,
    ) -> Outcome:
        return Outcome(
            run_id=self.run_id,
            step=step.name,
            status=status,
            started=started.at.isoformat(timespec="milliseconds"),
            finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
            seconds=time.perf_counter() - started.clock,
            fingerprint=present,
            facts=context.facts if context else {},
            **more,
        )

    def _end_record(self, stopped: StepStopped) -> None:
        if self.record is not None:
            with self.books:
                self.record.end(stopped.status, error=error_text(stopped.cause))

    def _stopped(self, step: Step, error: BaseException) -> StepStopped:
        status = Status.FAILED if isinstance(error, Exception) else Status.INTERRUPTED
        cause = storage_error(error) or error
        return StepStopped(step.name, status, cause)


@dataclass(frozen=True, slots=True)
class _Started:
    """When a step began, by the calendar and by the clock that measures."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)


def _made(pipeline: Pipeline, step: Step) -> dict[str, str | None]:
    """Return the states of a step's outputs, all of which must be there now."""
    states = pipeline.states(step.outputs)
    absent = [pipeline.artifacts[name].describe() for name, state in states.items() if not state]
    if absent:
        raise VigieError(
            _("Step {step} ended without making {outputs}.").format(
                step=step.name, outputs=", ".join(absent)
            ),
            fix=_("Run it again with --debug and report what it says."),
        )
    return states


def _close_as_failed(record: RunRecord | None, error: VigieError) -> VigieError:
    if record is not None:
        record.end(Status.FAILED, error=error_text(error))
    return error
