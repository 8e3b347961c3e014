"""Which steps run, which are skipped, which cannot run, and why: decided from values alone.

Nothing here touches the disk, the clock or the environment. ``decide`` judges one step; ``plan``
folds it over a pipeline before a run, and the runner calls it again when each step's turn comes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vigie.pipeline.fingerprint import Fingerprint, canonical_json
from vigie.pipeline.ledger import ROLLED_BACK_TO, Outcome, Status
from vigie.pipeline.reasons import (
    CodeChanged,
    Forced,
    InputChanged,
    InputMissing,
    InputWillChange,
    LibraryChanged,
    NeverRan,
    OutputMissing,
    OutputTampered,
    ParamChanged,
    PreviousFailed,
    Reason,
    RolledBack,
    UpToDate,
    VersionChanged,
)
from vigie.pipeline.step import Step


class LedgerView(Protocol):
    """What planning asks of the ledger."""

    def last(self, step: str) -> Outcome | None:
        """Return the step's latest outcome, however it ended."""
        ...

    def last_success(self, step: str) -> Outcome | None:
        """Return the step's latest success."""
        ...

    def success_with(self, step: str, digest: str) -> Outcome | None:
        """Return the step's latest success with this fingerprint."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """The step runs."""

    step: str
    reasons: tuple[Reason, ...]

    @property
    def is_tentative(self) -> bool:
        """Whether it runs only if what comes before it makes something else than before."""
        return all(isinstance(reason, InputWillChange) for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Skip:
    """The step has nothing to do."""

    step: str
    reasons: tuple[UpToDate, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """The step cannot run."""

    step: str
    reasons: tuple[InputMissing, ...]


Decision = Run | Skip | Blocked


@dataclass(frozen=True, slots=True)
class Plan:
    """One decision for each requested step, in pipeline order.

    Parameters
    ----------
    decisions
        What happens to the requested steps.
    forced
        The requested steps that run whatever is known of them.
    stale
        Steps that were not requested, that the requested ones build on, and that would run had
        they been asked for: their results are used as they are.
    """

    decisions: tuple[Decision, ...]
    forced: frozenset[str] = frozenset()
    stale: tuple[Run, ...] = ()

    @property
    def blocked(self) -> tuple[Blocked, ...]:
        """The steps that cannot run."""
        return tuple(one for one in self.decisions if isinstance(one, Blocked))

    @property
    def to_run(self) -> tuple[str, ...]:
        """The names of the steps that run, in pipeline order."""
        return tuple(one.step for one in self.decisions if isinstance(one, Run))

    @property
    def is_done(self) -> bool:
        """Whether every step is skipped."""
        return all(isinstance(one, Skip) for one in self.decisions)

    def to_record(self) -> list[dict[str, Any]]:
        """Return step, action and reasons as plain JSON values."""
        return [decision_record(decision) for decision in self.decisions]


def decision_record(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain JSON values."""
    return {
        "step": decision.step,
        "action": type(decision).__name__.lower(),
        "reasons": [reason.to_record() for reason in decision.reasons],
    }


def plan(
    steps: Sequence[Step],
    *,
    requested: Collection[str],
    fingerprints: Mapping[str, Fingerprint],
    states: Mapping[str, str | None],
    ledger: LedgerView,
    forced: Collection[str] = (),
) -> Plan:
    """Decide for every requested step.

    Parameters
    ----------
    steps
        The whole pipeline in its order.
    requested, forced
        Names of the steps to look at, and of those among them that run in any case.
    fingerprints
        The present fingerprint of each requested step and of each step before it.
    states
        The present state of each of their outputs.
    ledger
        What has happened so far.
    """
    makers = makers_of(steps)
    coming: dict[str, str] = {}
    decisions: list[Decision] = []
    for step in steps:
        if step.name not in requested:
            continue
        decision = decide(
            step,
            present=fingerprints[step.name],
            states=states,
            ledger=ledger,
            forced=step.name in forced,
            coming=coming,
            makers=makers,
        )
        decisions.append(decision)
        if isinstance(decision, Run):
            coming.update(dict.fromkeys(step.outputs, step.name))
    before = ancestors(steps, requested)
    idle = [step for step in steps if step.name in before and step.name not in requested]
    judged = (
        decide(step, present=fingerprints[step.name], states=states, ledger=ledger, makers=makers)
        for step in idle
    )
    return Plan(
        decisions=tuple(decisions),
        forced=frozenset(forced) & frozenset(requested),
        stale=tuple(decision for decision in judged if isinstance(decision, Run)),
    )


def decide(
    step: Step,
    *,
    present: Fingerprint,
    states: Mapping[str, str | None],
    ledger: LedgerView,
    makers: Mapping[str, str],
    forced: bool = False,
    coming: Mapping[str, str] | None = None,
) -> Decision:
    """Decide for one step.

    Parameters
    ----------
    present
        The step's fingerprint now.
    states
        The present state of each of its outputs.
    makers
        Which step makes which artifact.
    coming
        Artifacts that will be made anew before this step's turn, with the step that does it.
    """
    coming = coming or {}
    missing = tuple(
        InputMissing(name, makers.get(name))
        for name in step.inputs
        if present.inputs[name] is None and name not in coming
    )
    if missing:
        return Blocked(step.name, missing)
    expected = [InputWillChange(name, coming[name]) for name in step.inputs if name in coming]
    match = ledger.success_with(step.name, present.digest)
    if match and not forced and not expected and not any(_bad_outputs(step, match, states)):
        return Skip(step.name, (_up_to_date(match),))
    reasons: list[Reason] = [Forced()] if forced else []
    reasons += _past_reasons(step, present, states, ledger, coming)
    return Run(step.name, (*reasons, *expected))


def changes(old: Fingerprint, new: Fingerprint) -> Iterator[Reason]:
    """Yield what differs between two fingerprints of one step; nothing where they are equal."""
    if old.version != new.version:
        yield VersionChanged(old.version, new.version)
    for key, before, after in _differences(_flat(old.params), _flat(new.params)):
        yield ParamChanged(key, before, after)
    modules = tuple(name for name, _old, _new in _differences(old.code, new.code))
    if modules:
        yield CodeChanged(modules)
    for name, before, after in _differences(old.libraries, new.libraries):
        yield LibraryChanged(name, before, after)
    for name, before, after in _differences(old.inputs, new.inputs):
        yield InputChanged(name, before, after)


def makers_of(steps: Sequence[Step]) -> dict[str, str]:
    """Return which step makes which artifact.

    Raises
    ------
    ValueError
        Two steps have one name or make one artifact, or a step reads what a later one makes.
    """
    makers: dict[str, str] = {}
    read: set[str] = set()
    names = [step.name for step in steps]
    if len(set(names)) != len(names):
        raise ValueError(f"two steps have the same name: {names}")
    for step in steps:
        read.update(step.inputs)
        for output in step.outputs:
            if output in makers:
                raise ValueError(f"both {makers[output]!r} and {step.name!r} make {output!r}")
            if output in read:
                raise ValueError(f"{output!r} is read before {step.name!r} makes it")
            makers[output] = step.name
    return makers


def ancestors(steps: Sequence[Step], requested: Collection[str]) -> set[str]:
    """Return the names of the steps whose results the requested ones build on, however far."""
    needed: set[str] = set()
    found: set[str] = set()
    for step in reversed(steps):
        feeds = bool(needed.intersection(step.outputs))
        if feeds:
            found.add(step.name)
        if feeds or step.name in requested:
            needed.update(step.inputs)
    return found


def _up_to_date(success: Outcome) -> UpToDate:
    version = success.facts.get(ROLLED_BACK_TO)
    return RolledBack(success.finished, version) if version else UpToDate(success.finished)


def _past_reasons(
    step: Step,
    present: Fingerprint,
    states: Mapping[str, str | None],
    ledger: LedgerView,
    coming: Mapping[str, str],
) -> list[Reason]:
    """Return what sets this step apart from its last success."""
    last = ledger.last(step.name)
    success = ledger.last_success(step.name)
    reasons: list[Reason] = []
    if success is not None:
        reasons += [
            change
            for change in changes(success.fingerprint, present)
            if not (isinstance(change, InputChanged) and change.name in coming)
        ]
        reasons += _bad_outputs(step, success, states)
    elif last is None:
        reasons.append(NeverRan())
    failed = last is not None and last.status != Status.SUCCESS
    if last and failed and (success is None or last.fingerprint.digest == present.digest):
        reasons.append(PreviousFailed(str(last.status), last.finished))
    return reasons


def _bad_outputs(
    step: Step, success: Outcome, states: Mapping[str, str | None]
) -> Iterator[Reason]:
    for name in step.outputs:
        state = states[name]
        if state is None:
            yield OutputMissing(name)
        elif state != success.outputs.get(name):
            yield OutputTampered(name)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(old.keys() | new.keys()):
        # As JSON, because to Python 1, 1.0 and True are all equal.
        if key in old and key in new and canonical_json(old[key]) == canonical_json(new[key]):
            continue
        yield key, old.get(key), new.get(key)


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted keys; an empty one stays a value."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
