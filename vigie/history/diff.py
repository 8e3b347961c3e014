"""What changed between two runs, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vigie.history.runs import RecordedRun, RunSummary
from vigie.pipeline.fingerprint import Fingerprint
from vigie.pipeline.planner import changes
from vigie.pipeline.reasons import ParamChanged

# Parameters of steps that are the declaration and no setting.
DECLARATION = "dataset."

# Facts of steps that count rows or columns.
COUNTS = (
    "rows",
    "rejected",
    "set_aside",
    "candidates",
    "excluded",
    "eligible",
    "cohort",
    "positives",
    "unlabelled",
    "features",
    "risk_level",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One value that is another in the other run; None where a run hasn't got it."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class SettingChange(Change):
    """A setting, with where each run had it from."""

    origin_a: str | None = None
    origin_b: str | None = None


@dataclass(frozen=True, slots=True)
class RunDiff:
    """All that differs between run `a` and run `b`.

    Parameters
    ----------
    declaration
        What the data set's declaration says otherwise.
    inputs
        Fingerprints of data: ``features.clean`` is what the features step read.
    code
        Modules whose code decides results, by their digests.
    git
        ``commit`` and ``dirty``.
    rows
        Counts by step: ``load.rows.cohort``.
    metrics
        Of the hold-out, and the model's version.
    seconds
        By step, and ``total``; None where the step didn't run.
    warnings_a, warnings_b
        Warnings that only this run gave.
    """

    a: RunSummary
    b: RunSummary
    settings: tuple[SettingChange, ...]
    declaration: tuple[Change, ...]
    inputs: tuple[Change, ...]
    code: tuple[Change, ...]
    git: tuple[Change, ...]
    libraries: tuple[Change, ...]
    rows: tuple[Change, ...]
    metrics: tuple[Change, ...]
    seconds: tuple[Change, ...]
    warnings_a: tuple[str, ...]
    warnings_b: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def diff_runs(a: RecordedRun, b: RecordedRun) -> RunDiff:
    """Compare two runs.

    Where a step was skipped, the outcome that it was skipped for is compared: two runs of which
    the second had nothing to do have the same metrics, rows and data. Times are each run's own.
    """
    warnings_a, warnings_b = _warnings(a), _warnings(b)
    return RunDiff(
        a=a.summary,
        b=b.summary,
        settings=tuple(_setting_changes(a, b)),
        declaration=_declaration_changes(a, b),
        inputs=_changes(_inputs(a), _inputs(b)),
        code=_changes(_parts(a, "code"), _parts(b, "code")),
        git=_changes(a.record.get("git") or {}, b.record.get("git") or {}),
        libraries=_changes(_libraries(a), _libraries(b)),
        rows=_changes(_rows(a), _rows(b)),
        metrics=_changes(_metrics(a), _metrics(b)),
        seconds=_changes(_seconds(a), _seconds(b)),
        warnings_a=tuple(text for text in warnings_a if text not in warnings_b),
        warnings_b=tuple(text for text in warnings_b if text not in warnings_a),
    )


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    keys = list(a) + [key for key in b if key not in a]
    return tuple(Change(key, a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key))


def _setting_changes(a: RecordedRun, b: RecordedRun) -> Iterator[SettingChange]:
    then, now = a.record.get("settings") or {}, b.record.get("settings") or {}
    for key in [*then, *(key for key in now if key not in then)]:
        value_a, origin_a = then.get(key) or (None, None)
        value_b, origin_b = now.get(key) or (None, None)
        if value_a != value_b:
            yield SettingChange(key, value_a, value_b, origin_a, origin_b)


def _declaration_changes(a: RecordedRun, b: RecordedRun) -> tuple[Change, ...]:
    found: dict[str, Change] = {}
    for step in a.steps:
        other = b.step(step.name)
        if other is None or not (step.fingerprint and other.fingerprint):
            continue
        then, now = map(Fingerprint.from_record, (step.fingerprint, other.fingerprint))
        for one in changes(then, now):
            if isinstance(one, ParamChanged) and one.key.startswith(DECLARATION):
                found[one.key] = Change(one.key, one.old, one.new)
    return tuple(found.values())


def _inputs(run: RecordedRun) -> dict[str, Any]:
    return {
        f"{step.name}.{name}": state
        for step in run.steps
        for name, state in step.fingerprint.get("inputs", {}).items()
    }


def _parts(run: RecordedRun, part: str) -> dict[str, Any]:
    return {
        name: value
        for step in run.steps
        for name, value in sorted(step.fingerprint.get(part, {}).items())
    }


def _libraries(run: RecordedRun) -> dict[str, Any]:
    # What the steps' results depend on, beside what the run itself had.
    return {**_parts(run, "libraries"), **(run.record.get("libraries") or {})}


def _rows(run: RecordedRun) -> dict[str, int]:
    return {
        f"{step.name}.{key}": count
        for step in run.steps
        for name in COUNTS
        for key, count in _flat(name, step.facts.get(name))
    }


def _flat(name: str, value: Any) -> Iterator[tuple[str, int]]:
    if isinstance(value, Mapping):
        for inner, count in value.items():
            yield from _flat(f"{name}.{inner}", count)
    elif isinstance(value, int):
        yield name, value


def _metrics(run: RecordedRun) -> dict[str, Any]:
    return {"model": run.summary.model_version, **run.metrics}


def _seconds(run: RecordedRun) -> dict[str, float | None]:
    return {step.name: step.seconds for step in run.steps} | {"total": run.summary.seconds}


def _warnings(run: RecordedRun) -> list[str]:
    given = run.record.get("warnings") or ()
    return [f"{one.get('step')}: {one.get('message')}" for one in given]
