"""Reading what the features step made, as the later steps need it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.errors import DataError
from vigie.i18n import _
from vigie.pipeline.step import StepContext

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from vigie.models.acting import ChosenThreshold


@dataclass(frozen=True, slots=True)
class FeatureMatrix:
    """The matrix (float32, rows x features), its labels (int8), its rows' keys and description."""

    values: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    keys: pa.Table
    metadata: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [feature["name"] for feature in self.metadata["features"]]

    def sha256(self) -> str:
        """Return a digest of the values."""
        return hashlib.sha256(self.values.tobytes()).hexdigest()


def read_json(path: Any) -> dict[str, Any]:
    """Return the JSON object in a file that an earlier step wrote."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def read_matrix(context: StepContext) -> FeatureMatrix:
    """Return the outputs of the features step, which belong together.

    Raises
    ------
    DataError
        When they don't have the same number of rows and columns.
    """
    import numpy as np
    import pyarrow.parquet as pq

    values = np.load(context.input("features").path, allow_pickle=False)
    labels = np.load(context.input("labels").path, allow_pickle=False)
    keys = pq.read_table(context.input("keys").path)
    metadata = read_json(context.input("features_metadata").path)
    matrix = FeatureMatrix(values, labels, keys, metadata)
    rows = {values.shape[0], labels.shape[0], keys.num_rows, metadata["rows"]}
    if len(rows) != 1 or values.shape[1] != len(matrix.names):
        raise DataError(
            _("The files of the features don't belong together."),
            where=context.input("features").describe(),
            fix=_("Make them again: {command}").format(
                command=f"vigie run --mode {context.mode} --steps features --force"
            ),
        )
    return matrix


def read_threshold(context: StepContext, scores: pa.Table) -> ChosenThreshold:
    """Return from which score on a row is predicted at risk, by the settings.

    Parameters
    ----------
    scores
        Those kept with the model; the hold-out's are not looked at.
    """
    import pyarrow.compute as pc

    from vigie.models.acting import choose_threshold

    seen = scores.filter(pc.equal(scores["origin"], "fold"))
    return choose_threshold(
        seen["score"].to_numpy(),
        seen["label"].to_numpy(),
        threshold=context.param("predict.threshold"),
        capacity=context.param("predict.capacity"),
        recall=context.param("predict.recall"),
        missed_per_alarm=context.param("predict.missed_per_alarm"),
    )
