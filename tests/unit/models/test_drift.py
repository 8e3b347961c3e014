"""A planted drift is flagged, clean rows are not, few rows raise no false alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vigie.models.drift import drift_document, make_reference, psi_of

FEATURES: list[dict[str, Any]] = [
    {"name": "clicks", "kind": "aggregate", "label": {"en": "clicks"}, "column": "n"},
    {"name": "mark", "kind": "aggregate", "label": {"en": "mark"}, "column": "m"},
    {"name": "module_a", "kind": "category", "label": {"en": "module: A"},
     "topic": {"en": "module"}, "column": "module"},
    {"name": "module_b", "kind": "category", "label": {"en": "module: B"},
     "topic": {"en": "module"}, "column": "module"},
    {"name": "constant", "kind": "attribute", "label": {"en": "constant"}, "column": "c"},
]  # fmt: skip
NAMES = [feature["name"] for feature in FEATURES]
LIMITS: dict[str, Any] = {"psi": 0.2, "two_sample_auc": 0.75, "seed": 1}


def rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and scores that come about the same way each time."""
    rng = np.random.default_rng(seed)
    module = rng.integers(0, 2, count)
    X = np.stack(  # noqa: N806
        [rng.lognormal(3, 1, count), rng.normal(60, 15, count), module == 0, module == 1,
         np.full(count, 7.0)], axis=1,
    ).astype(np.float32)  # fmt: skip
    X[rng.random(count) < 0.1, 1] = np.nan
    return X, rng.beta(2, 4, count)


REFERENCE_ROWS, REFERENCE_SCORES = rows(5000, 0)
REFERENCE = make_reference(REFERENCE_ROWS, REFERENCE_SCORES, NAMES)


def compare(X: np.ndarray, scores: np.ndarray) -> dict[str, Any]:  # noqa: N803
    return drift_document(REFERENCE, REFERENCE_ROWS[:1000], X, scores, FEATURES, **LIMITS)


def test_clean_rows_are_clean() -> None:
    found = compare(*rows(2000, 1))
    assert found["drifted"] == []
    assert not found["scores"]["drifted"]
    assert not found["two_sample"]["drifted"]
    assert found["two_sample"]["roc_auc"] == pytest.approx(0.5, abs=0.05)
    assert (found["rows"], found["reference_rows"]) == (2000, 5000)


@pytest.mark.parametrize("count", [40, 200, 1000])
def test_few_rows_raise_no_false_alarm(count: int) -> None:
    alarms = sum(
        bool(found["drifted"]) or found["scores"]["drifted"]
        for found in (compare(*rows(count, seed)) for seed in range(100, 125))
    )
    assert alarms <= 1


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (lambda x: x[:, 0].__imul__(4), "clicks"),
        (lambda x: x[: len(x) // 2, 1].fill(np.nan), "mark"),
        (lambda x: x[::2, 4].fill(8.0), "constant"),
    ],
)
def test_a_planted_drift_is_named(plant: Any, name: str) -> None:
    X, scores = rows(500, 2)  # noqa: N806
    plant(X)
    found = compare(X, scores)
    assert found["drifted"] == [name]
    assert found["features"][0]["name"] == name
    assert found["features"][0]["psi"] > found["features"][0]["limit"]


def test_missing_values_are_told() -> None:
    X, scores = rows(500, 2)  # noqa: N806
    X[:400, 1] = np.nan
    entry = next(one for one in compare(X, scores)["features"] if one["name"] == "mark")
    assert entry["missing"] > 0.8
    assert entry["reference_missing"] == pytest.approx(0.1, abs=0.02)


def test_categories_that_nobody_knew() -> None:
    X, scores = rows(500, 2)  # noqa: N806
    X[:100, 2:4] = 0
    (module,) = compare(X, scores)["categories"]
    assert module["unknown"] == 0.2
    assert module["reference_unknown"] == 0.0
    assert module["label"] == {"en": "module"}


def test_scores_that_have_moved() -> None:
    X, scores = rows(500, 2)  # noqa: N806
    found = compare(X, scores**0.4)
    assert found["scores"]["drifted"]
    assert found["scores"]["mean"] > found["scores"]["reference_mean"]


def test_features_that_moved_together_only() -> None:
    """Each is as before, and yet all is different: the classifier sees it."""
    rng = np.random.default_rng(5)
    one = rng.normal(size=4000)
    then = np.stack([one, rng.normal(size=4000)], axis=1).astype(np.float32)
    now = np.stack([one, one + 0.1 * rng.normal(size=4000)], axis=1).astype(np.float32)
    described = FEATURES[:2]
    reference = make_reference(then, REFERENCE_SCORES[:4000], NAMES[:2])
    found = drift_document(
        reference, then[:1500], now, REFERENCE_SCORES[:4000], described, **LIMITS
    )
    assert found["drifted"] == []
    assert found["two_sample"]["drifted"]
    assert found["two_sample"]["roc_auc"] > 0.75


def test_too_few_rows_for_two_samples() -> None:
    X, scores = rows(10, 3)  # noqa: N806
    assert compare(X, scores)["two_sample"] is None


def test_psi_by_hand() -> None:
    before, now = np.array([49.5, 49.5]), np.array([24.5, 74.5])
    assert psi_of(before, now) == pytest.approx(
        (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    )
    assert psi_of(before, before) == 0.0
    assert np.isfinite(psi_of(np.array([0.0, 10.0]), np.array([10.0, 0.0])))
