"""A worse model does not take the current one's place; what can't be compared is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from tests.unit.models.planted import KEY, Planted, planted
from vigie.models.champion import Challenge, JudgedRows, challenge
from vigie.models.metadata import model_metadata
from vigie.models.predict import score_table
from vigie.models.store import ModelFiles, save_model
from vigie.models.train import TrainingResult, train_model

FEATURES = [
    {"name": f"f{number}", "kind": "number", "label": {"en": f"f{number}"}, "categories": []}
    for number in range(5)
]
NAMES = [feature["name"] for feature in FEATURES]
GOOD: dict[str, Any] = {"n_estimators": 60, "min_samples_leaf": 5}
# Trees of one leaf or two, on next to no rows.
BAD: dict[str, Any] = {"n_estimators": 1, "max_depth": 1, "max_features": 1, "max_samples": 0.05}


@dataclass
class Made:
    data: Planted
    result: TrainingResult
    metadata: dict[str, Any]

    def table(self) -> Any:
        found = self.result.scores
        return score_table(
            self.data.keys(), found.rows, found.scores, found.origins, found.folds,
            key_columns=KEY, group_column="group", reasons=found.reasons, feature_names=NAMES,
        )  # fmt: skip

    def judged(self) -> JudgedRows:
        rows = self.result.split.holdout_rows
        scores = self.result.scores
        return JudgedRows(
            self.data.keys().take(rows),
            self.data.X[rows],
            self.data.labels[rows],
            self.data.groups[rows],
            scores.scores[np.searchsorted(scores.rows, rows)],
        )


def make(params: Mapping[str, Any], data: Planted, **more: Any) -> Made:
    result = train_model(
        data.X, data.labels, data.groups, data.periods, params=params, n_splits=3, seed=7,
        holdout_share=0.2, drop_repeaters=True, threads=1,
    )  # fmt: skip
    values: dict[str, Any] = {
        "fingerprint": sha256(str(params).encode()).hexdigest(), "mode": "prod",
        "trained_at": "2026-11-23T07:00:00+00:00", "dataset": "oulad", "generated": False,
        "cutoff_days": 90, "kind": "random_forest", "params": params, "calibrate": None,
        "seed": 7, "n_splits": 3, "row_count": len(data.labels),
    }  # fmt: skip
    metadata = model_metadata(result, FEATURES, **values | more)
    return Made(data, result, {**metadata, "matrix_sha256": "ab"})


def files_in(folder: Path) -> ModelFiles:
    return ModelFiles(folder / "m_prod.pkl", folder / "meta_prod.json", folder / "s_prod.parquet")


def keep(folder: Path, made: Made) -> ModelFiles:
    files = files_in(folder)
    save_model(made.result.model, made.metadata, made.table(), files, folder / "v", "1")
    return files


def hold(files: ModelFiles, made: Made, **more: Any) -> Challenge | str | None:
    values: dict[str, Any] = {
        "key_columns": KEY, "tolerance": 0.005, "accept": False, "seed": 1,
        "keys_are_row_numbers": False,
    }  # fmt: skip
    return challenge(files, made.metadata, made.judged(), FEATURES, **values | more)


@pytest.fixture(scope="module")
def data() -> Planted:
    return planted(900, seed=4)


@pytest.fixture(scope="module")
def good(data: Planted) -> Made:
    return make(GOOD, data)


@pytest.fixture(scope="module")
def bad(data: Planted) -> Made:
    return make(BAD, data)


def test_a_worse_one_is_turned_down(tmp_path: Path, good: Made, bad: Made) -> None:
    found = hold(keep(tmp_path, good), bad)
    assert isinstance(found, Challenge)
    assert found.worse
    assert not found.taken
    assert found.high is not None
    assert found.high < 0
    rows = bad.judged()
    assert found.rows == len(rows.labels)
    # Both on the same rows, and neither on rows that its model has seen.
    assert found.challenger_auc == pytest.approx(roc_auc_score(rows.labels, rows.scores))
    assert found.champion_auc == pytest.approx(roc_auc_score(rows.labels, good.judged().scores))
    accepted = hold(files_in(tmp_path), bad, accept=True)
    assert isinstance(accepted, Challenge)
    assert accepted.taken
    assert accepted.accepted_by_flag
    assert accepted.document()["taken"] is True


def test_a_better_one_is_taken(tmp_path: Path, good: Made, bad: Made) -> None:
    found = hold(keep(tmp_path, bad), good)
    assert isinstance(found, Challenge)
    assert found.taken
    assert not found.accepted_by_flag
    assert found.difference > 0.05


def test_within_the_tolerance_the_new_one_is_taken(tmp_path: Path, good: Made, bad: Made) -> None:
    found = hold(keep(tmp_path, good), bad, tolerance=0.9)
    assert isinstance(found, Challenge)
    assert found.taken
    assert found.difference < 0


def test_rows_that_the_champion_never_saw_are_scored_by_its_final_model(
    tmp_path: Path, good: Made, data: Planted
) -> None:
    """A new term: other keys; the champion has no stored score of them."""
    files = keep(tmp_path, good)
    newer = replace(planted(900, seed=5), groups=np.array([f"n{n}" for n in range(900)]))
    made = make(GOOD, newer, fingerprint="c" * 64)
    rows = made.judged()
    keys = rows.keys.set_column(
        1, "student", pa.array(np.arange(len(rows.labels)) + 50_000, pa.int32())
    )
    found = challenge(
        files, made.metadata, replace(rows, keys=keys), FEATURES, key_columns=KEY,
        tolerance=0.005, accept=False, seed=1, keys_are_row_numbers=False,
    )  # fmt: skip
    assert isinstance(found, Challenge)
    expected = roc_auc_score(rows.labels, good.result.model.predict_proba(rows.X)[:, 1])
    assert found.champion_auc == pytest.approx(expected, abs=1e-6)


def test_nothing_to_compare_with(tmp_path: Path, good: Made) -> None:
    assert hold(files_in(tmp_path), good) is None
    assert hold(keep(tmp_path, good), good) is None


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        ({"cutoff_days": 120}, {}, "does not fit the features"),
        ({"generated": True}, {}, "generated data"),
        ({"matrix_sha256": "cd"}, {"keys_are_row_numbers": True}, "no key"),
    ],
)
def test_what_cannot_be_compared_is_said(
    tmp_path: Path, good: Made, bad: Made,
    change: dict[str, Any], more: dict[str, Any], said: str,
) -> None:  # fmt: skip
    files = keep(tmp_path, good)
    found = hold(files, replace(bad, metadata={**bad.metadata, **change}), **more)
    assert isinstance(found, str)
    assert said in found


def test_a_broken_champion_is_replaced_with_a_word(tmp_path: Path, good: Made, bad: Made) -> None:
    files = keep(tmp_path, good)
    files.model.write_bytes(b"torn")
    found = hold(files, bad)
    assert isinstance(found, str)
    assert "sha256" in found
