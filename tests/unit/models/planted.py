"""Small data in which it is known who is at risk and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

KEY = ("module", "student")
PARAMS: dict[str, Any] = {"n_estimators": 20, "min_samples_leaf": 2}


@dataclass(frozen=True)
class Planted:
    X: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    periods: np.ndarray

    def keys(self) -> pa.Table:
        return pa.table(
            {
                "module": [f"M{row % 3}" for row in range(len(self.labels))],
                "student": pa.array(np.arange(len(self.labels)), pa.int32()),
                "group": self.groups.tolist(),
            }
        )


def planted(rows: int = 400, *, seed: int = 1, unlabelled: int = 0, noise: float = 0.5) -> Planted:
    """Return data whose first feature makes the bad outcome likelier; the second lacks values."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 5)).astype(np.float32)
    labels = (matrix[:, 0] + noise * rng.normal(size=rows) > 0.3).astype(np.int8)
    matrix[rng.random(rows) < 0.2, 1] = np.nan
    labels[rows - unlabelled :] = -1
    groups = np.array([f"p{number}" for number in rng.integers(0, int(rows * 0.8), rows)])
    periods = np.where(np.arange(rows) % 5 < 3, "2013", "2014")
    return Planted(matrix, labels, groups, periods)
