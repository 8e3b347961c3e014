"""Whether a new model (the challenger) may take the place of the current one (the champion).

Both are judged on the same rows, the challenger's hold-out, none of which the model behind a score
has seen: where the champion learnt from a row, its stored out-of-fold score stands for it. Their
difference is told with a paired interval: persons are drawn, and both models get the same ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.errors import ModelError
from vigie.i18n import _
from vigie.models.compatible import check_schema
from vigie.models.evaluate import paired_difference
from vigie.models.predict import honest_scores
from vigie.models.store import ModelFiles, check_scores, load_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]

METRIC = "roc_auc"


@dataclass(frozen=True, slots=True)
class Challenge:
    """How the challenger did beside the champion.

    Parameters
    ----------
    champion, challenger
        Their versions.
    rows
        How many rows both were judged on.
    champion_auc, challenger_auc
        On these rows.
    difference, low, high
        Challenger minus champion, and its 95 % interval.
    tolerance
        How much lower the challenger may be.
    worse
        Whether it is lower by more than that.
    accepted_by_flag
        Whether it was taken although it is worse.
    """

    champion: str
    challenger: str
    rows: int
    champion_auc: float
    challenger_auc: float
    difference: float
    low: float | None
    high: float | None
    tolerance: float
    worse: bool
    accepted_by_flag: bool = False

    @property
    def taken(self) -> bool:
        """Whether the challenger becomes the current model."""
        return not self.worse or self.accepted_by_flag

    def document(self) -> dict[str, Any]:
        """Return plain values for metadata and the run's record."""
        return {**asdict(self), "taken": self.taken}


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """The rows that both models are judged on: the hold-out of the challenger.

    Parameters
    ----------
    keys
        Their keys and persons.
    X, labels, groups
        Their features, outcomes (0/1) and persons.
    scores
        What the challenger's evaluated model says of them.
    """

    keys: pa.Table
    X: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]
    groups: npt.NDArray[Any]
    scores: FloatArray


def challenge(
    files: ModelFiles,
    metadata: Mapping[str, Any],
    rows: JudgedRows,
    features: Sequence[Mapping[str, Any]],
    *,
    key_columns: Sequence[str],
    tolerance: float,
    accept: bool,
    seed: int,
    keys_are_row_numbers: bool,
) -> Challenge | str | None:
    """Hold the challenger against the current model.

    Parameters
    ----------
    files
        Of the current model.
    metadata
        Of the challenger, as ``model_metadata`` returns them.
    rows
        The challenger's hold-out.
    features
        Descriptions of the columns of ``rows.X``.
    keys_are_row_numbers
        Whether a row is known by its place in a file only.

    Returns
    -------
    The comparison; a sentence where the two cannot be compared; None where there is no current
    model, or it is the same one.
    """
    import pyarrow.parquet as pq

    if not files.metadata.is_file():
        return None
    mode = str(metadata["mode"])
    try:
        champion = load_model(files.model, files.metadata, mode=mode)
        check_scores(champion.metadata, files.scores, mode=mode)
        check_schema(
            champion.metadata,
            features,
            cutoff_days=metadata["cutoff_days"],
            dataset=metadata["dataset"],
            mode=mode,
        )
    except ModelError as error:
        return error.what.splitlines()[0]
    if champion.metadata["version"] == metadata["version"]:
        return None
    stored = pq.read_table(files.scores)
    if champion.metadata.get("generated") != metadata["generated"]:
        return _("one of them learnt from generated data")
    same_rows = champion.metadata.get("matrix_sha256") == metadata["matrix_sha256"]
    if keys_are_row_numbers and not same_rows:
        return _("rows have no key, so it can't be told which of them it has learnt from")
    # Which rows a score is honest for goes by the key; the rest the final model never saw.
    theirs, _place = honest_scores(rows.keys, rows.X, champion.model, stored, key_columns)
    found = paired_difference(
        rows.scores, theirs, rows.labels, groups=rows.groups, metric=METRIC, seed=seed
    )
    worse = found.difference < -tolerance
    return Challenge(
        champion=str(champion.metadata["version"]),
        challenger=str(metadata["version"]),
        rows=len(rows.labels),
        champion_auc=found.second,
        challenger_auc=found.first,
        difference=found.difference,
        low=found.low,
        high=found.high,
        tolerance=tolerance,
        worse=worse,
        accepted_by_flag=worse and accept,
    )
