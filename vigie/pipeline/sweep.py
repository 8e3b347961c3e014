"""How early can we know? One trial at each of several cut-offs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vigie.errors import ExitCode, UsageError, VigieError
from vigie.i18n import _
from vigie.pipeline.artifacts import write_json
from vigie.pipeline.failures import StepStopped
from vigie.pipeline.options import RunOptions
from vigie.pipeline.trials import Trial, Trials, open_trials, refuse_without_days, trial_params
from vigie.settings_schema import CUTOFF_DAYS

EVERY_DAYS = 30
BESIDE = "logistic_regression"


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """What came of one cut-off: its part of the report, and whether anything was done for it.

    ``error`` is what stopped it, where it could not be judged.
    """

    content: dict[str, Any]
    is_new: bool
    error: VigieError | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """The whole report, as written, and the exit code."""

    document: dict[str, Any]
    exit_code: ExitCode


def sweep(
    options: RunOptions,
    days: Sequence[int] | None,
    *,
    on_start: Callable[[str], None],
    on_point: Callable[[SweepPoint], None],
) -> Sweep:
    """Judge the settings' kind of model at each day; write ``sweep_{mode}.json`` and ``.png``.

    Parameters
    ----------
    days
        None means every 30 days from 0 to the cut-off of the settings.
    on_start
        Called with the kind before the first trial.
    on_point
        Called after each.

    Raises
    ------
    VigieError
        When nothing can be tried; a day that alone can't be is in the report with its reason.
    StepStopped
        When it was interrupted, or for a reason that no other day would be without.
    """
    with open_trials(options) as trials:
        session = trials.session
        refuse_without_days(session)
        chosen = _in_range(days) if days else _default_days(session.settings.get("cutoff_days"))
        kind = session.settings.get("model.kind")
        kinds = trial_params(session, (kind, BESIDE))
        trials.extract()
        on_start(kind)
        points = []
        for day in chosen:
            points.append(_point(trials, day, kinds, kind))
            on_point(points[-1])
        document = {
            "dataset": session.dataset.name,
            "mode": session.mode,
            "generated": any(point.content.get("generated") for point in points),
            "kind": kind,
            "params": kinds[kind],
            "calibrate": session.settings.get("model.calibrate"),
            "points": [point.content for point in points],
        }
        write_json(session.paths.report("sweep", ".json"), document)
        _draw(session.paths.report("sweep", ".png"), document, session.language)
    failed = [point.error for point in points if point.error is not None]
    return Sweep(document, failed[0].exit_code if failed else ExitCode.OK)


def _in_range(days: Sequence[int]) -> list[int]:
    first, last = CUTOFF_DAYS
    for day in days:
        if not first <= day <= last:
            raise UsageError(
                _("The cut-off day {day} is out of range.").format(day=day),
                where="--cutoff-days",
                fix=_("Choose days from {first} to {last}.").format(first=first, last=last),
            )
    return sorted(set(days))


def _default_days(cutoff_days: int) -> list[int]:
    return sorted({*range(0, cutoff_days, EVERY_DAYS), cutoff_days})


def _point(trials: Trials, day: int, kinds: dict[str, dict[str, Any]], kind: str) -> SweepPoint:
    try:
        trial = trials.run(day, kinds)
    except StepStopped as stopped:
        if not isinstance(stopped.cause, VigieError) or stopped.cause.exit_code not in (
            ExitCode.DATA,
            ExitCode.MODEL,
        ):
            raise
        content = {"cutoff_days": day, "error": stopped.cause.what}
        return SweepPoint(content, is_new=True, error=stopped.cause)
    return SweepPoint(_content(trial, kind), trial.is_new)


def _content(trial: Trial, kind: str) -> dict[str, Any]:
    """Return one cut-off's part of the report."""
    own = trial.judged[kind]
    kept = ("features", "split", "holdout", "everybody", "cross_validation", "training")
    return {
        "cutoff_days": trial.cutoff_days,
        "generated": own["generated"],
        **{name: own[name] for name in kept},
        "logistic_regression": {"roc_auc": trial.judged[BESIDE]["holdout"]["roc_auc"]},
    }


def _draw(path: Any, document: dict[str, Any], language: str) -> None:
    from vigie.report.sweep_figure import write_sweep_figure

    write_sweep_figure(path, document, language)
