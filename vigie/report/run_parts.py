"""The parts of a report that tell of the run: its data, settings, times and what has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vigie.i18n import _

Json = Mapping[str, Any]
_DIGEST_CHARACTERS = 12
# Times differ by themselves: less than this says nothing.
_SECONDS_THAT_MATTER = 0.1
_SHOWN_CHARACTERS = 80
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class TableRows:
    """What came in of a raw table; None where the run doesn't know.

    Parameters
    ----------
    unfit
        Rows that are no rows of this table, set aside when it was read.
    set_aside
        Rows whose keys don't hold, by the reason's short name.
    """

    table: str
    read: int | None
    unfit: int
    set_aside: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CohortLine:
    """A step on the way from all candidates to the rows that are judged.

    ``kind`` is ``"all"``, ``"out"`` (taken away), ``"left"`` (what is left) or ``"part"`` (of it).
    """

    label: str
    rows: int
    kind: str


@dataclass(frozen=True, slots=True)
class StepTime:
    """How a step ended, and how long it took; None where it was skipped."""

    name: str
    status: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class SettingLine:
    """A setting, and where its value is from; a default is what nobody has set."""

    key: str
    value: str
    origin: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class ChangeGroup:
    """What is another value than in the run before: key, then, now; all as they are shown."""

    title: str
    changes: tuple[tuple[str, str, str], ...]


def table_rows(steps: Json) -> tuple[TableRows, ...]:
    """Return what came in, table by table.

    Parameters
    ----------
    steps
        The run's steps by name, with their ``facts``.
    """
    read = _facts(steps, "extract")
    unfit, set_aside = read.get("rejected") or {}, _facts(steps, "transform").get("set_aside") or {}
    return tuple(
        TableRows(name, count, unfit.get(name, 0), set_aside.get(name) or {})
        for name, count in (read.get("rows") or {}).items()
    )


def cohort_lines(
    counts: Json, split: Json, left_out: Mapping[str, str], things: str
) -> tuple[CohortLine, ...]:
    """Return the way from all candidates to the rows that are judged.

    Parameters
    ----------
    counts
        Of the features' metadata.
    split
        Of the metrics or the model.
    left_out
        Words for the reasons why rows are left out.
    """
    return tuple(_cohort_lines(counts, split, left_out, things))


def _cohort_lines(
    counts: Json, split: Json, left_out: Mapping[str, str], things: str
) -> Iterator[CohortLine]:
    if "candidates" in counts:
        yield CohortLine(
            _("{things} in the data").format(things=things), counts["candidates"], "all"
        )
        for reason, rows in (counts.get("excluded") or {}).items():
            if rows:
                words = left_out.get(reason) or _("without a cut-off")
                yield CohortLine(_("left out: {reason}").format(reason=words), rows, "out")
        sampled = counts.get("eligible", counts["cohort"]) - counts["cohort"]
        if sampled > 0:
            yield CohortLine(_("left out: not in the sample of this mode"), sampled, "out")
        yield CohortLine(_("scored"), counts["cohort"], "left")
        if counts.get("unlabelled"):
            yield CohortLine(_("of them without an outcome yet"), counts["unlabelled"], "part")
        yield CohortLine(_("of them came to the bad outcome"), counts["positive"], "part")
    if "train_rows" in split:
        yield CohortLine(_("learnt from, to be judged"), split["train_rows"], "part")
        if split.get("left_out_rows"):
            yield CohortLine(
                _("in neither: earlier rows of the same persons, or outcomes not yet known"),
                split["left_out_rows"],
                "part",
            )
        yield CohortLine(_("judged on"), split["holdout_rows"], "part")


def step_times(steps: Json) -> tuple[StepTime, ...]:
    """Return how each step ended and how long it took."""
    return tuple(
        StepTime(name, str(step.get("status") or step.get("action")), step.get("seconds"))
        for name, step in steps.items()
    )


def setting_lines(record: Json) -> tuple[SettingLine, ...]:
    """Return all settings of a run's record, which is in English; secrets are masked there."""
    words = {"default": _("default"), "not set": _("not set")}
    found = record.get("settings") or {}
    return tuple(
        SettingLine(
            key, words.get(str(value), str(value)), words.get(origin, origin), origin == _DEFAULT
        )
        for key, (value, origin) in found.items()
    )


def versions(record: Json, model: Json) -> tuple[tuple[str, str], ...]:
    """Return the versions that decided the results, by what they are of."""
    libraries = {**(model.get("libraries") or {}), **(record.get("libraries") or {})}
    found = [(name, str(version)) for name, version in libraries.items() if version]
    git = record.get("git") or {}
    if git.get("commit"):
        commit = git["commit"][:_DIGEST_CHARACTERS]
        found.append(
            (_("git commit"), f"{commit} {_('(with changes)')}" if git["dirty"] else commit)
        )
    return tuple(found)


def warnings_of(record: Json) -> tuple[tuple[str, str], ...]:
    """Return what the run warned of, each with its step."""
    found = record.get("warnings") or ()
    return tuple((str(one.get("step") or ""), str(one.get("message") or "")) for one in found)


def change_groups(changes: Json | None) -> tuple[ChangeGroup, ...]:
    """Return what changed since the run before; empty groups are left out."""
    if changes is None:
        return ()
    seconds = [
        one
        for one in changes["seconds"]
        if abs((one["a"] or 0.0) - (one["b"] or 0.0)) >= _SECONDS_THAT_MATTER
    ]
    groups = (
        (_("metrics"), changes["metrics"], _metric),
        (_("settings"), changes["settings"], _text),
        (_("declaration"), changes["declaration"], _text),
        (_("data"), _once(changes["inputs"]), _digest),
        (_("rows"), changes["rows"], _text),
        (_("code"), changes["code"], _digest),
        (_("git"), changes["git"], _digest),
        (_("libraries"), changes["libraries"], _text),
        (_("seconds"), seconds, _metric),
    )
    found = (
        ChangeGroup(title, tuple((one["key"], shown(one["a"]), shown(one["b"])) for one in listed))
        for title, listed, shown in groups
    )
    return tuple(group for group in found if group.changes)


def _once(inputs: Sequence[Json]) -> list[Json]:
    """Return one change for each artifact, however many steps read it."""
    found = {one["key"].partition(".")[2]: one for one in inputs}
    return [{**one, "key": name} for name, one in found.items()]


def _facts(steps: Json, name: str) -> Json:
    found: Json = (steps.get(name) or {}).get("facts") or {}
    return found


def _text(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _digest(value: Any) -> str:
    return _text(value[:_DIGEST_CHARACTERS] if isinstance(value, str) else value)


def _metric(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else _text(value)
