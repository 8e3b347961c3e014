"""A pipeline, and how a plan for it is made from the world as it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vigie.pipeline.fingerprint import Fingerprint, fingerprint, library_versions, module_of
from vigie.pipeline.import_ahead import ImportAhead
from vigie.pipeline.ledger import Ledger
from vigie.pipeline.planner import Plan, plan
from vigie.pipeline.planner import ancestors as steps_before
from vigie.pipeline.step import Artifact, Step

Versions = Callable[[Iterable[str]], Mapping[str, str | None]]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps together with what planning and running them needs.

    Parameters
    ----------
    steps
        All steps in their order.
    artifacts
        Every artifact that a step names.
    values
        The value of every setting that a step names.
    ledger
        Where outcomes are kept.
    code
        Gives the digests of a step's code: ``CodeReader(...).digests``.
    libraries
        Gives the versions of libraries.
    """

    steps: tuple[Step, ...]
    artifacts: Mapping[str, Artifact]
    values: Mapping[str, Any]
    ledger: Ledger
    code: Callable[[Step], Mapping[str, str]]
    libraries: Versions = library_versions
    # Not to be copied with the values that it was made of.
    _known: dict[str, Fingerprint] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def step(self, name: str) -> Step:
        """Return the step of that name."""
        return next(step for step in self.steps if step.name == name)

    def states(
        self, names: Iterable[str], known: dict[str, str | None] | None = None
    ) -> dict[str, str | None]:
        """Return the present states of artifacts; with `known`, those that it lacks are added."""
        states = {} if known is None else known
        for name in names:
            if name not in states:
                states[name] = self.artifacts[name].state()
        return states

    def fingerprint(self, step: Step, states: Mapping[str, str | None]) -> Fingerprint:
        """Return the fingerprint of a step whose inputs are in these states."""
        known = self._known.get(step.name)
        if known is not None:
            # Of all that it is made of, only what the step reads can have changed since.
            return replace(known, inputs={name: states[name] for name in step.inputs})
        libraries = self.libraries(step.libraries)
        found = fingerprint(step, self.values, self.code(step), libraries, states)
        self._known[step.name] = found
        return found


def make_plan(
    pipeline: Pipeline, *, requested: Collection[str], forced: Collection[str] = ()
) -> Plan:
    """Look at the world as it is and plan: what ``--explain`` prints and ``run_plan`` takes."""
    concerned = set(requested) | steps_before(pipeline.steps, requested)
    states: dict[str, str | None] = {}
    fingerprints: dict[str, Fingerprint] = {}
    for step in pipeline.steps:
        if step.name in concerned:
            pipeline.states((*step.inputs, *step.outputs), known=states)
            fingerprints[step.name] = pipeline.fingerprint(step, states)
    return plan(
        pipeline.steps,
        requested=requested,
        fingerprints=fingerprints,
        states=states,
        ledger=pipeline.ledger,
        forced=forced,
    )


def begin_imports(pipeline: Pipeline, plan: Plan) -> ImportAhead:
    """Import the steps that are to run, and begin to import their libraries.

    The steps here and now, as soon after the plan has digested their code as can be; what they
    need in a thread, which is to be left when they have ended. Worth its while before the first
    step: a server that starts needs no interpreter. Whoever gives up before then still waits for
    the one module that is being imported, a second at most.
    """
    steps = [] if plan.blocked else [pipeline.step(name) for name in plan.to_run]
    for step in steps:
        importlib.import_module(module_of(step.run))
    return ImportAhead([module for step in steps for module in step.imports])
