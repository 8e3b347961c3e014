"""Whom one reaches, how far a score is to be believed, and thresholds by what one wants."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from vigie.models.acting import (
    calibration,
    capacity_table,
    choose_threshold,
    threshold_for_capacity,
    threshold_for_cost,
    threshold_for_recall,
)
from vigie.models.evaluate import precision_recall_points
from vigie.models.populations import everybody, known_bad_in, repeaters

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
LABELS = np.array([1, 1, 0, 1, 0, 0, 1, 0, 0, 0])


def test_capacity_by_hand() -> None:
    half, all_ = capacity_table(SCORES, LABELS, (0.5, 1.0))
    assert half == {
        "share": 0.5, "rows": 5, "threshold": 0.5, "reached": 3, "precision": 0.6, "recall": 0.75,
        "lift": pytest.approx(1.5),
    }  # fmt: skip
    assert (all_["reached"], all_["recall"], all_["lift"]) == (4, 1.0, 1.0)
    (nobody,) = capacity_table(SCORES, np.zeros(10), (0.1,))
    assert (nobody["recall"], nobody["lift"]) == (None, None)


def test_calibration_as_scikit_learn_has_it() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(5000)
    labels = (rng.random(5000) < scores**2).astype(int)
    found = calibration(scores, labels)
    true, said = calibration_curve(labels, scores, n_bins=10)
    assert [one["true"] for one in found["bins"]] == pytest.approx(true.tolist())
    assert [one["said"] for one in found["bins"]] == pytest.approx(said.tolist())
    assert sum(one["rows"] for one in found["bins"]) == 5000
    weights = np.array([one["rows"] for one in found["bins"]]) / 5000
    assert found["expected_calibration_error"] == pytest.approx(weights @ np.abs(true - said))
    assert found["expected_calibration_error"] > 0.1
    honest = calibration(scores, (rng.random(5000) < scores).astype(int))
    assert honest["expected_calibration_error"] < 0.03


def test_a_score_of_one_is_in_the_last_tenth() -> None:
    (only,) = calibration(np.ones(3), np.array([1, 1, 0]))["bins"]
    assert (only["low"], only["high"], only["rows"]) == (0.9, 1.0, 3)


def test_precision_and_recall_as_scikit_learn_has_them() -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 20, 300) / 20
    labels = (rng.random(300) < scores).astype(int)
    recall, precision = precision_recall_points(scores, labels)
    theirs = precision_recall_curve(labels, scores)
    assert precision.tolist() == pytest.approx(theirs[0][:-1][::-1].tolist())
    assert recall.tolist() == pytest.approx(theirs[1][:-1][::-1].tolist())
    assert len(precision_recall_points(scores, np.zeros(300))[0]) == 0


def test_thresholds_by_hand() -> None:
    assert threshold_for_capacity(SCORES, 3) == 0.7
    assert threshold_for_capacity(SCORES, 99) == 0.05
    assert threshold_for_recall(SCORES, LABELS, 0.75) == 0.6
    assert threshold_for_recall(SCORES, LABELS, 0.76) == 0.3
    assert threshold_for_recall(SCORES, LABELS, 1.0) == 0.3
    # False alarms are as bad as misses: two found, none wrong, two missed; or one more for one.
    assert threshold_for_cost(SCORES, LABELS, 1.0) == 0.8
    # A miss costs ten alarms: all are found.
    assert threshold_for_cost(SCORES, LABELS, 10.0) == 0.3
    assert threshold_for_cost(SCORES, LABELS, 0.01) == 0.8


def test_the_cheapest_threshold_is_the_cheapest() -> None:
    rng = np.random.default_rng(3)
    for cost in (0.3, 1.0, 4.0):
        scores = rng.integers(0, 30, 200) / 30
        labels = (rng.random(200) < scores).astype(int)

        def price(at: float, scores=scores, labels=labels, cost=cost) -> float:
            flagged = scores >= at
            return (flagged & (labels == 0)).sum() + cost * (~flagged & (labels == 1)).sum()

        chosen = threshold_for_cost(scores, labels, cost)
        assert price(chosen) == pytest.approx(min(price(at) for at in np.unique(scores)))


@pytest.mark.parametrize(
    ("given", "value", "by"),
    [
        ({}, 0.5, "threshold"),
        ({"capacity": 0.3}, 0.7, "capacity"),
        ({"recall": 0.75}, 0.6, "recall"),
        ({"missed_per_alarm": 10.0}, 0.3, "missed_per_alarm"),
    ],
)
def test_one_rule_chooses(given: dict[str, float], value: float, by: str) -> None:
    found = choose_threshold(SCORES, LABELS, threshold=0.5, **given)
    assert (found.value, found.by) == (value, by)
    assert found.wanted == next(iter(given.values()), 0.5)


# --- populations -----------------------------------------------------------------------------

COMMON = {"threshold": 0.5, "train_prevalence": 0.4, "seed": 1}


def test_everybody_counts_in_who_was_gone() -> None:
    persons = np.array([f"p{n}" for n in range(10)])
    found = everybody(SCORES, LABELS, persons, 10, **COMMON)
    assert (found["rows"], found["positives"], found["known_bad"]) == (20, 14, 10)
    # 4 x 6 pairs at .75 before, and 10 x 6 more that are right.
    before = np.mean([(a > b) for a in SCORES[LABELS == 1] for b in SCORES[LABELS == 0]])
    expected = (before * 24 + 60) / 84
    assert found["metrics"]["roc_auc"]["value"] == pytest.approx(expected)


def test_how_many_were_gone() -> None:
    counts = {"known_bad": {"2013": 50, "2014": 70}, "eligible": 1000, "cohort": 500}
    assert known_bad_in(counts, ["2014"], share=0.5) == 35
    assert known_bad_in(counts, [], share=0.2) == 12
    assert known_bad_in({**counts, "cohort": 1000}, ["2013", "2014"], share=0.2) == 120
    assert known_bad_in({}, ["2014"], share=0.2) is None


def test_repeaters_are_counted_and_left_out() -> None:
    persons = np.array([f"p{n}" for n in range(10)])
    found = repeaters(SCORES, LABELS, persons, np.array(["p2", "p6", "x"]), **COMMON)
    assert (found["rows"], found["persons"]) == (2, 2)
    assert found["without"]["rows"] == 8
    # The two were the ones that were ranked wrongly.
    assert found["without"]["metrics"]["roc_auc"]["value"] == 1.0
    nobody = repeaters(SCORES, LABELS, persons, np.array(["x"]), **COMMON)
    assert nobody == {"rows": 0, "persons": 0, "without": None}
