"""Whom the model fails: a planted unfair model is flagged, a fair one is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from vigie.models.subgroups import MAX_GROUPS, NOT_KNOWN, OTHERS, by_subgroup, shortfalls


def people(
    rows: int, *, seed: int, unfair: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return groups, scores, outcomes and persons; the scores of group B are lower by `unfair`."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(["A", "B", "C"], rows, p=[0.5, 0.3, 0.2]).astype(object)
    labels = (rng.random(rows) < 0.35).astype(int)
    scores = 1 / (1 + np.exp(-(2.4 * labels - 1.2 + rng.normal(size=rows))))
    scores = np.where(groups == "B", scores - unfair, scores).clip(0, 1)
    return groups, scores, labels, np.arange(rows) // 2


def figures(*data: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    return by_subgroup(*data, **{"threshold": 0.5, "margin": 0.1, "seed": 1} | more)


def test_the_figures_are_those_of_scikit_learn() -> None:
    groups, scores, labels, persons = people(3000, seed=1)
    for entry in figures(groups, scores, labels, persons):
        here = groups == entry["value"]
        flagged = scores[here] >= 0.5
        assert entry["rows"] == here.sum()
        assert entry["positives"] == labels[here].sum()
        assert entry["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels[here], scores[here]))
        assert entry["recall"]["value"] == pytest.approx(recall_score(labels[here], flagged))
        assert entry["false_positive_rate"]["value"] == pytest.approx(
            flagged[labels[here] == 0].mean()
        )
        assert entry["calibration_error"] == pytest.approx(
            scores[here].mean() - labels[here].mean()
        )
        for metric in ("roc_auc", "recall", "false_positive_rate"):
            assert entry[metric]["low"] < entry[metric]["value"] < entry[metric]["high"]


def test_an_unfair_model_is_flagged() -> None:
    found = figures(*people(3000, seed=2, unfair=0.3))
    assert [entry["value"] for entry in found if entry["falls_short"]] == ["B"]
    column = {"column": "group", "groups": found}
    assert [group["value"] for _column, group in shortfalls([column])] == ["B"]


def test_a_fair_model_is_not() -> None:
    """Small groups too: what chance does is no shortfall."""
    flagged = [
        entry["value"]
        for seed in range(20)
        for entry in figures(*people(500, seed=seed))
        if entry.get("falls_short")
    ]
    assert len(flagged) <= 1


def test_a_margin_may_be_wide() -> None:
    assert not any(
        entry["falls_short"] for entry in figures(*people(3000, seed=2, unfair=0.3), margin=0.9)
    )


def test_intervals_cover_at_their_rate() -> None:
    """In about 95 of 100 samples the interval of B's recall holds the true one."""
    truth = figures(*people(200_000, seed=0), draws=2)
    recall = next(entry["recall"]["value"] for entry in truth if entry["value"] == "B")
    inside = 0
    for seed in range(1, 121):
        found = figures(*people(600, seed=seed), draws=100)
        entry = next(one for one in found if one["value"] == "B")
        inside += entry["recall"]["low"] <= recall <= entry["recall"]["high"]
    assert 0.88 <= inside / 120 <= 0.99


def test_of_small_groups_only_their_size_is_told() -> None:
    groups, scores, labels, persons = people(400, seed=3)
    groups[:10] = "tiny"
    entry = next(one for one in figures(groups, scores, labels, persons) if one["value"] == "tiny")
    assert entry == {"value": "tiny", "rows": 10, "too_small": True}


def test_missing_values_many_values_and_numbers() -> None:
    rng = np.random.default_rng(4)
    _groups, scores, labels, persons = people(3000, seed=4)
    texts = np.array([None if n % 10 == 0 else f"v{n % 60:02}" for n in range(3000)], dtype=object)
    names = [entry["value"] for entry in figures(texts, scores, labels, persons)]
    assert len(names) == MAX_GROUPS + 1
    assert names[-1] == OTHERS
    assert NOT_KNOWN in names
    ages = rng.integers(18, 80, 3000).astype(float)
    ages[:300] = np.nan
    quarters = figures(ages, scores, labels, persons)
    assert [entry["value"] for entry in quarters][-1] == NOT_KNOWN
    assert len(quarters) == 5
    assert sum(entry["rows"] for entry in quarters) == 3000
    few = figures(rng.integers(0, 3, 3000), scores, labels, persons)
    assert [entry["value"] for entry in few] == ["0", "1", "2"]
