"""Trials judge exactly as training does, and kinds are compared on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.unit.models.planted import PARAMS, Planted, planted
from vigie.models.comparison import as_good_as, best_kind, differences
from vigie.models.division import Division, divide
from vigie.models.judge import judge
from vigie.models.train import train_model

SPLIT: dict[str, Any] = {
    "n_splits": 3,
    "seed": 7,
    "holdout": "latest",
    "holdout_share": 0.2,
    "drop_repeaters": True,
}


@pytest.fixture(scope="module")
def data() -> Planted:
    return planted(unlabelled=20)


@pytest.fixture(scope="module")
def division(data: Planted) -> Division:
    return divide(data.labels, data.groups, data.periods, **SPLIT)


@pytest.mark.parametrize("calibrate", [None, "sigmoid", "isotonic"])
def test_the_same_scores_as_in_training_to_the_last_bit(
    data: Planted, division: Division, calibrate: Any
) -> None:
    common: dict[str, Any] = {"params": PARAMS, "calibrate": calibrate, "threads": 1}
    trained = train_model(data.X, data.labels, data.groups, data.periods, **common, **SPLIT)
    found = judge(data.X, data.labels, division, kind="random_forest", seed=7, **common)
    rows = trained.scores.rows
    assert np.array_equal(found.scores[rows], trained.scores.scores)
    assert found.training_roc_auc == trained.training_roc_auc
    assert np.isnan(np.delete(found.scores, rows)).all()
    assert division.split.document() == trained.split.document()
    in_fold = trained.scores.folds >= 0
    assert division.earlier.tolist() == rows[in_fold].tolist()
    assert division.folds.tolist() == trained.scores.folds[in_fold].tolist()


def test_progress_ends_at_one(data: Planted, division: Division) -> None:
    seen: list[float] = []
    judge(
        data.X, data.labels, division, kind="random_forest", params=PARAMS, calibrate=None,
        seed=7, threads=1, progress=seen.append,
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == SPLIT["n_splits"] + 1


def test_the_digest_tells_divisions_apart(data: Planted, division: Division) -> None:
    again = divide(data.labels, data.groups, data.periods, **SPLIT)
    assert again.sha256() == division.sha256()
    other = divide(data.labels, data.groups, data.periods, **SPLIT | {"seed": 8})
    assert other.sha256() != division.sha256()
    more = divide(data.labels, data.groups, data.periods, **SPLIT | {"n_splits": 4})
    assert more.sha256() != division.sha256()


def judged(auc: float) -> dict[str, Any]:
    return {"cross_validation": {"roc_auc": {"mean": auc}}}


def test_the_best_is_chosen_by_cross_validation_and_of_equals_the_first() -> None:
    assert best_kind({"a": judged(0.7), "b": judged(0.8), "c": judged(0.8)}) == "b"


def scores_of(rows: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return scores of a good model, one as good, and a bad one; labels; who is held out."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.4).astype(int)
    signal = labels + rng.normal(size=rows)
    scores = {
        "good": signal + 0.3 * rng.normal(size=rows),
        "alike": signal + 0.3 * rng.normal(size=rows),
        "bad": signal + 3 * rng.normal(size=rows),
    }
    return scores, labels, np.arange(rows) % 2 == 0


def test_differences_are_paired_and_on_both_sides() -> None:
    scores, labels, held_out = scores_of(2000, 3)
    found = differences(scores, labels, np.arange(2000), held_out, "good", seed=1)
    assert set(found) == {"alike", "bad"}
    for name, rows in (("cross_validation", ~held_out), ("holdout", held_out)):
        one = found["bad"][name]
        wanted = roc_auc_score(labels[rows], scores["bad"][rows]) - roc_auc_score(
            labels[rows], scores["good"][rows]
        )
        assert one["value"] == pytest.approx(wanted, abs=1e-12)
        assert one["low"] < one["value"] < one["high"] < 0
        # The same draws for both: tighter than what each AUC alone is known to.
        assert found["alike"][name]["high"] - found["alike"][name]["low"] < 0.03
    assert as_good_as(found) == ["alike"]


def test_of_two_kinds_that_are_alike_neither_is_called_worse_too_often() -> None:
    wrong = 0
    for seed in range(40):
        scores, labels, held_out = scores_of(400, seed)
        pair = {name: scores[name] for name in ("good", "alike")}
        found = differences(pair, labels, np.arange(400), held_out, "good", seed=seed)
        wrong += not as_good_as(found)
    # One side of a 95 % interval: 2.5 % of 40.
    assert wrong <= 5
