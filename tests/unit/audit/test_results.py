"""What the audit makes of matrices, folds and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vigie.audit.results import (
    check_direction,
    check_groups,
    check_shuffled_label,
    single_aucs,
    too_good_auc,
)
from vigie.dataset.declaration import parse_dataset, read_declaration


def test_single_aucs_count_missing_values_as_lowest() -> None:
    labels = np.array([1, 1, 0, 0, -1], dtype=np.int8)
    matrix = np.array(
        [[1, 5, np.nan], [2, 1, np.nan], [3, 4, 1], [4, 2, 2], [9, 9, 9]], dtype=np.float32
    )
    assert single_aucs(matrix, labels).tolist() == pytest.approx([1.0, 0.5, 1.0])


def test_shuffled_labels_are_not_learnt_unless_persons_give_them_away() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(3000) < 0.3).astype(np.int8)
    matrix = rng.normal(size=(3000, 4)).astype(np.float32)
    matrix[:, 0] += labels * 3
    groups = np.arange(3000)
    honest = check_shuffled_label(matrix, labels, groups, seed=1, threads=1)
    assert honest.status == "pass"
    assert abs(honest.figures["auc"] - 0.5) < honest.figures["limit"] < 0.12


def test_who_is_in_two_folds_is_named() -> None:
    fine = check_groups(["a", "a", "b", "a"], [0, 0, 1, -1], ["fold", "fold", "fold", "holdout"])
    assert fine.status == "pass"
    torn = check_groups(["a", "a", "b"], [0, 1, 1], ["fold", "fold", "fold"])
    assert torn.status == "fail"
    assert "a" in torn.said


def test_scores_that_point_the_wrong_way_fail() -> None:
    scores, labels = np.array([0.9, 0.8, 0.1]), np.array([1, 1, 0])
    assert check_direction(scores, labels).status == "pass"
    assert check_direction(1 - scores, labels).status == "fail"


@pytest.mark.parametrize(
    ("day", "limit"), [(30, 0.90), (90, 0.90), (91, 0.95), (180, 0.95), (250, 0.95), (None, 0.90)]
)
def test_the_alarm_depends_on_the_cut_off(day: int | None, limit: float) -> None:
    text, origin = read_declaration("oulad", Path())
    assert too_good_auc(parse_dataset(text, origin), day) == limit
    shop, origin = read_declaration("shop", Path())
    assert too_good_auc(parse_dataset(shop, origin), day) == 0.98
