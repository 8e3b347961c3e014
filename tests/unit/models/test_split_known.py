"""Outcomes that were not known yet when the hold-out began."""

from __future__ import annotations

import numpy as np

from vigie.models.split import Known, holdout_split


def test_they_are_left_out_and_counted() -> None:
    cutoffs = np.repeat(np.array([100, 130, 160, 190, 220]), 4)
    labels = np.tile(np.array([0, 1, 0, 1], dtype=np.int8), 5)
    groups = np.tile(np.arange(4), 5)
    split = holdout_split(
        labels,
        groups,
        cutoffs.astype(str),
        holdout_share=0.2,
        drop_repeaters=False,
        seed=1,
        known=Known(cutoffs, cutoffs + 60),
    )
    assert split.holdout_periods == ("220",)
    # What was asked at 160 was known on day 220, what was asked at 190 was not.
    assert cutoffs[split.train_rows].max() == 160
    assert split.early_rows == 4
    assert set(cutoffs[split.left_out_rows]) == {190}
    assert "4 left out whose outcome was not known by then" in split.describe()
    assert split.document()["early_rows"] == 4
    without = holdout_split(
        labels, groups, cutoffs.astype(str), holdout_share=0.2, drop_repeaters=False, seed=1
    )
    assert without.early_rows == 0
    assert len(without.train_rows) == 16
