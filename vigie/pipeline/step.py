"""What a step is, and what it may ask for while it runs.

A step is a value: its names are declared before it runs, so that the planner can reason about it
without running anything. While it runs it sees the world through a ``StepContext`` that refuses
every name that was not declared; a forgotten declaration fails the first time, instead of serving
a stale result later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vigie.pipeline.interrupt import heed


@runtime_checkable
class Artifact(Protocol):
    """Something that a step reads or makes: a file, a folder of Parquet, a set of tables."""

    @property
    def name(self) -> str:
        """The name that steps declare."""
        ...

    def state(self) -> str | None:
        """Return a digest of the content, or None where it does not exist (whole)."""
        ...

    def describe(self) -> str:
        """Return what a person calls it: a path from the project, or schema and table."""
        ...


@runtime_checkable
class OnDisk(Protocol):
    """An artifact that is a file or a folder of this machine."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...


class ProgressBar(Protocol):
    """Takes the amount of work that has been done so far."""

    def advance_to(self, done: float) -> None:
        """Show that `done` units (of the total given at the start) are finished."""
        ...


class Reporter(Protocol):
    """Where a running step speaks to a person; the console and a silent one implement it."""

    def say(self, message: str) -> None:
        """Tell something worth knowing (one line)."""
        ...

    def warn(self, message: str) -> None:
        """Tell something that may make the result worse than it looks."""
        ...

    def progress(
        self, description: str, total: float | None, unit: str | None = None
    ) -> AbstractContextManager[ProgressBar]:
        """Show progress towards `total` units, or an open end where it is None.

        The `unit` is ``"rows"`` or ``"bytes"``; None where `total` is a share of the work.
        """
        ...


class LaterReporter:
    """Keeps what a step says that runs beside others, until its turn to speak comes.

    Parameters
    ----------
    reporter
        Who says it then.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self._kept: list[tuple[Callable[[str], None], str]] = []
        self._description, self._done = "", 0.0
        self._total: float | None = None
        self._unit: str | None = None

    def say(self, message: str) -> None:
        """Keep something worth knowing."""
        heed()
        self._kept.append((self.reporter.say, message))

    def warn(self, message: str) -> None:
        """Keep something that may make the result worse than it looks."""
        self._kept.append((self.reporter.warn, message))

    @contextmanager
    def progress(
        self, description: str, total: float | None, unit: str | None = None
    ) -> Iterator[ProgressBar]:
        """Remember how far the work is."""
        self._description, self._total, self._unit, self._done = description, total, unit, 0.0
        yield self

    def advance_to(self, done: float) -> None:
        """Remember that so much is done; here the work heeds that it is to stop."""
        heed()
        self._done = done

    @contextmanager
    def shown_live(self) -> Iterator[Callable[[], None]]:
        """Show progress while somebody waits for the work; what is yielded shows where it is."""
        with self.reporter.progress(self._description, self._total, self._unit) as bar:
            yield lambda: bar.advance_to(self._done)

    def speak(self) -> None:
        """Say all that was kept."""
        for say, message in self._kept:
            say(message)
        self._kept.clear()


class UndeclaredName(KeyError):
    """A step asked for a name that it did not declare: a fault in the step, never the user's."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the steps of a pipeline.

    Parameters
    ----------
    name
        The name that the command line uses.
    title
        The message id of its heading ("Extracting the data"); translated when shown.
    run
        Does the work; reads only what `inputs` and `params` name and makes every output.
    inputs, outputs
        Names of artifacts.
    params
        Dotted keys of the settings that decide the result, ``"cutoff_days"``.
    modules
        Modules whose code decides the result, beside the one that defines `run`; whatever vigie
        modules these import counts as well.
    libraries
        Distributions whose version decides the result, ``"scikit-learn"``.
    version
        Raised by hand when the same code must be taken for different work.
    beside
        Not None where later steps may run at the same time: what they need stands before this
        step runs. Names the modules to import before it starts, since two threads that import one
        package at once can see each other's half-made modules.
    after
        Steps that must have ended before this one runs, though it reads nothing of theirs.
    imports
        Modules that take long to import, in parts; loaded while earlier steps work. No step that
        comes before the first one that names a module may import anything of its package.
    """

    name: str
    title: str
    run: Callable[[StepContext], None]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    version: int = 1
    beside: tuple[str, ...] | None = None
    after: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()


@dataclass(slots=True)
class StepContext:
    """What a running step sees: its declared artifacts and parameters, and a place to speak.

    Parameters
    ----------
    step
        The step that runs.
    project
        Root folder of the project.
    mode
        ``"dev"`` or ``"prod"``.
    artifacts
        All artifacts of the pipeline by name.
    values
        The values of the declared params by dotted key.
    reporter
        Speaks to the person.
    services
        Things that are no data and decide no result: the open database address, thread count.
    facts
        What the step wants remembered in the run record (row counts, versions made); filled by
        the step.
    """

    step: Step
    project: Path
    mode: str
    artifacts: Mapping[str, Artifact]
    values: Mapping[str, Any]
    reporter: Reporter
    services: Mapping[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def input(self, name: str) -> Any:
        """Return the declared input artifact `name`; its kind is the caller's to know."""
        if name not in self.step.inputs:
            raise UndeclaredName(f"step {self.step.name!r} does not declare the input {name!r}")
        return self.artifacts[name]

    def output(self, name: str) -> Any:
        """Return the declared output artifact `name`."""
        if name not in self.step.outputs:
            raise UndeclaredName(f"step {self.step.name!r} does not declare the output {name!r}")
        return self.artifacts[name]

    def param(self, key: str) -> Any:
        """Return the value of the declared setting `key`."""
        if key not in self.step.params:
            raise UndeclaredName(f"step {self.step.name!r} does not declare the setting {key!r}")
        return self.values[key]

    def say(self, message: str) -> None:
        """Tell the person something worth knowing."""
        self.reporter.say(message)

    def warn(self, message: str) -> None:
        """Tell the person, and keep it in the run record."""
        self.warnings.append(message)
        self.reporter.warn(message)

    def progress(
        self, description: str, total: float | None = None, unit: str | None = None
    ) -> AbstractContextManager[ProgressBar]:
        """Show progress while the block runs; ``bar.advance_to(done)`` moves it."""
        return self.reporter.progress(description, total, unit)
