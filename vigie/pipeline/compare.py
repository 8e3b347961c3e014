"""Which kind of model does best here? Several at one cut-off, on the same folds and hold-out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vigie.errors import UsageError
from vigie.i18n import _
from vigie.pipeline.options import RunOptions
from vigie.pipeline.trials import open_trials, trial_params
from vigie.settings_schema import KINDS


def compare(
    options: RunOptions, kinds: Sequence[str], *, on_start: Callable[[], None]
) -> dict[str, Any]:
    """Judge each kind, write ``comparison_{mode}.json`` and return what is in it.

    Parameters
    ----------
    kinds
        Names or import paths; none means the four that have names, and the settings' own.
    on_start
        Called before the first trial.

    Raises
    ------
    VigieError
        When nothing can be compared.
    StepStopped
        When a step failed or was interrupted.
    """
    with open_trials(options) as trials:
        session = trials.session
        current = session.settings.get("model.kind")
        wanted = tuple(dict.fromkeys(kinds or (*KINDS, current)))
        if len(wanted) < 2:
            raise UsageError(
                _("One kind alone can't be compared."),
                where=" ".join(wanted),
                fix=_("Name two or more, or none for all of: {names}.").format(
                    names=" ".join(KINDS)
                ),
            )
        params = trial_params(session, wanted)
        trials.extract()
        on_start()
        day = session.settings.get("cutoff_days") if session.dataset.uses_cutoff_days else None
        trial = trials.run(day, params, comparison=session.paths.report("comparison", ".json"))
    assert trial.comparison is not None
    return {**trial.comparison, "current": current}
