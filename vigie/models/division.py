"""Hold-out and folds together: how the rows of a training or of a trial are divided."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.models.split import HoldoutKind, Known, Split, grouped_folds, holdout_split

if TYPE_CHECKING:
    import numpy.typing as npt

    IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """The labelled rows, divided into hold-out and folds: the same for whatever is compared.

    Parameters
    ----------
    split
        Who is learnt from and who is judged.
    earlier
        Rows outside the hold-out, ascending.
    folds
        The fold of each of them, from 0.
    """

    split: Split
    earlier: IntArray
    folds: IntArray

    @property
    def members(self) -> list[IntArray]:
        """The rows of each fold."""
        return [self.earlier[self.folds == fold] for fold in range(int(self.folds.max()) + 1)]

    @property
    def others(self) -> list[IntArray]:
        """What each fold's model learns from: the rows outside the hold-out and the fold."""
        return [self.earlier[self.folds != fold] for fold in range(int(self.folds.max()) + 1)]

    def sha256(self) -> str:
        """Return a digest of which row is where: two with the same one share all folds."""
        digest = hashlib.sha256()
        for rows in (self.split.train_rows, self.split.holdout_rows, self.earlier, self.folds):
            digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes() + b"|")
        return digest.hexdigest()


def divide(
    labels: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    periods: npt.NDArray[Any],
    *,
    n_splits: int,
    seed: int,
    holdout: HoldoutKind,
    holdout_share: float,
    drop_repeaters: bool,
    holdout_from: str | None = None,
    known: Known | None = None,
    folds_setting: str = "n_splits_cv",
) -> Division:
    """Divide the labelled rows into the hold-out, and the rest into folds.

    Parameters
    ----------
    labels, groups, periods, holdout, holdout_share, drop_repeaters, holdout_from, known
        As in ``holdout_split``.
    n_splits, folds_setting
        As in ``grouped_folds``.

    Raises
    ------
    DataError
        When the rows or labels don't allow a division.
    """
    split = holdout_split(
        labels,
        groups,
        periods,
        holdout_share=holdout_share,
        drop_repeaters=drop_repeaters,
        seed=seed,
        kind=holdout,
        since=holdout_from,
        known=known,
    )
    earlier = split.period_rows
    folds = grouped_folds(labels[earlier], groups[earlier], n_splits, seed, setting=folds_setting)
    return Division(split, earlier, folds)
