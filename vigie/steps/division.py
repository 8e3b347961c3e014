"""How the settings divide the rows into those to learn from and those to judge on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vigie.dataset.spec import CUTOFF_DATE, KNOWN_DATE
from vigie.errors import SettingsError
from vigie.i18n import _
from vigie.pipeline.step import StepContext
from vigie.steps.matrix import FeatureMatrix

if TYPE_CHECKING:
    from vigie.models.split import Known


def division_settings(context: StepContext, matrix: FeatureMatrix) -> dict[str, Any]:
    """Return what ``train_model`` and ``divide`` need to know of how rows are divided."""
    holdout = context.param("evaluation.holdout")
    setting = f"modes.{context.mode}.n_splits_cv"
    return {
        "n_splits": context.param(setting),
        "folds_setting": setting,
        "seed": context.param("seed"),
        "holdout_from": context.param("evaluation.holdout_from"),
        "holdout": "latest" if holdout == "latest" else "grouped",
        "holdout_share": holdout
        if isinstance(holdout, float)
        else context.param("evaluation.holdout_share"),
        # One thing at many cut-offs is in nearly every period: nothing would be left.
        "drop_repeaters": context.param("evaluation.drop_repeaters")
        and context.services["dataset"].cohort.cutoff is None,
        "known": known_days(context, matrix),
    }


def known_days(context: StepContext, matrix: FeatureMatrix) -> Known | None:
    """Return when outcomes that happen in a window after the cut-off are known."""
    import numpy as np
    import pyarrow as pa

    from vigie.models.split import Known

    window = context.services["dataset"].cohort.label.window
    if window is None:
        return _known_on(context, matrix) if context.param("evaluation.strict_time") else None
    cutoff = matrix.keys["cutoff"]
    if pa.types.is_temporal(cutoff.type):
        cutoff = cutoff.cast(pa.date32()).cast(pa.int32())
    days = np.asarray(cutoff.to_numpy(), dtype=np.int64)
    return Known(days, days + window.days)


def _known_on(context: StepContext, matrix: FeatureMatrix) -> Known:
    """Return the same by the declared dates; a row without a date is never known too late."""
    import numpy as np

    from vigie.models.split import Known

    if KNOWN_DATE not in matrix.keys.column_names:
        raise SettingsError(
            _("Nothing says when outcomes became known."),
            where="evaluation.strict_time",
            fix=_("Declare cohort.day_zero and cohort.label.known_on, or set it to false."),
        )
    cutoff, known = (
        matrix.keys[name].to_numpy().astype("datetime64[D]") for name in (CUTOFF_DATE, KNOWN_DATE)
    )
    never, always = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    return Known(
        np.where(np.isnat(cutoff), never, cutoff.astype(np.int64)),
        np.where(np.isnat(known), always, known.astype(np.int64)),
    )
