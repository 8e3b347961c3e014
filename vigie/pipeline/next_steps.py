"""What a person would do after a run: told at its end, from what the run came to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vigie.i18n import _
from vigie.names import STEP_NAMES
from vigie.paths import ProjectPaths
from vigie.pipeline.runner import RunResult
from vigie.settings import project_option


@dataclass(frozen=True, slots=True)
class RunState:
    """What there is after a run that ended well.

    Parameters
    ----------
    mode
        ``"dev"`` or ``"prod"``.
    steps
        The steps that were asked for, in pipeline order.
    generated
        Whether the data are generated.
    raw_dir
        Where the raw files belong, from the project.
    report, predictions, quarantine
        Paths from the project of what there is to look at; None where it isn't there, or where
        this run has nothing to do with it.
    warnings
        How many warnings the steps gave.
    turned_down
        Whether a new model was turned down for the current one.
    without_outcome
        How many of the scored rows have no outcome yet.
    prod_has_run
        Whether prod has made predictions before.
    option
        What commands need to find the project from here, such as `` --project students``.
    """

    mode: str
    steps: tuple[str, ...]
    generated: bool = False
    raw_dir: str = "data/raw"
    report: str | None = None
    predictions: str | None = None
    quarantine: str | None = None
    warnings: int = 0
    turned_down: bool = False
    without_outcome: int = 0
    prod_has_run: bool = False
    option: str = ""

    def command(self, words: str) -> str:
        """Return a command of vigie as it is to be typed here."""
        return f"vigie {words}{self.option}"


def next_steps(state: RunState) -> tuple[str, ...]:
    """Return what to do next, the nearest thing first; each is one line."""
    return tuple(_next_steps(state))


def _next_steps(state: RunState) -> Iterator[str]:
    again = state.command(f"run --mode {state.mode}")
    if "predict" in state.steps:
        if state.report:
            yield _("read the report: {path}").format(path=state.report)
        if state.predictions:
            yield _("open {path}: the likeliest come first").format(path=state.predictions)
    if state.warnings:
        yield _("look at what was warned of (⚠️  above): {command}").format(
            command=state.command("runs show")
        )
    if state.quarantine:
        yield _("see which rows were set aside, and why: {path}").format(path=state.quarantine)
    if state.turned_down:
        yield _("compare the models: {command}").format(
            command=state.command(f"models --mode {state.mode}")
        )
    if "predict" not in state.steps:
        later = STEP_NAMES[STEP_NAMES.index(state.steps[-1]) + 1 :]
        yield _("go on with {steps}: {command}").format(steps=", ".join(later), command=again)
    elif state.generated:
        yield _("put your own data into {folder}/ ({oulad}), or begin with any CSV: {init}").format(
            folder=state.raw_dir,
            oulad=state.command("fetch oulad"),
            init=state.command("init FILE.csv"),
        )
    elif state.mode == "dev":
        yield _("make sure that nothing knows the future: {command}").format(
            command=state.command("audit")
        )
        if not state.prod_has_run:
            yield _("then take everything: {command}").format(
                command=state.command("run --mode prod")
            )
    elif state.without_outcome:
        yield _(
            "when the outcomes of the {count} rows without one are known, put them into {folder}/ "
            "and run again: these predictions are judged by them"
        ).format(count=f"{state.without_outcome:,}", folder=state.raw_dir)


def state_after(
    paths: ProjectPaths, steps: Sequence[str], result: RunResult, *, generated: bool
) -> RunState:
    """Return what there is after a run of `steps` that ended well."""

    def shown(path: Path, *, made_by: str) -> str | None:
        there = made_by in steps and path.exists()
        return str(path.relative_to(paths.project)) if there else None

    facts = {outcome.step: outcome.facts for outcome in result.outcomes}
    challenge = facts.get("train", {}).get("challenge") or {}
    rejected = facts.get("extract", {}).get("rejected")
    return RunState(
        mode=paths.mode,
        steps=tuple(steps),
        generated=generated,
        raw_dir=paths.raw_dir,
        report=shown(paths.report("report", ".html"), made_by="predict"),
        predictions=shown(paths.report("predictions", ".csv"), made_by="predict"),
        quarantine=shown(paths.quarantine, made_by="extract") if rejected else None,
        warnings=len(result.warnings),
        turned_down=not challenge.get("taken", True),
        without_outcome=_without_outcome(paths.report("predictions", "_metadata.json")),
        prod_has_run=replace(paths, mode="prod").report("predictions", ".csv").exists(),
        option=project_option(paths.project),
    )


def _without_outcome(metadata: Path) -> int:
    """Return how many rows of the predictions have no known outcome."""
    try:
        counts = json.loads(metadata.read_text("utf-8"))["counts"]
        return int(counts["score_source"]["final"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
