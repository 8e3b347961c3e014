from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.models.planted import planted
from vigie.errors import DataError, SettingsError
from vigie.models.split import grouped_folds, holdout_split


def split(labels: list[int], groups: list[str], periods: list[str], **more):
    values = {"holdout_share": 0.2, "drop_repeaters": True, "seed": 1} | more
    return holdout_split(np.array(labels), np.array(groups), np.array(periods), **values)


def test_latest_period_is_held_out():
    found = split([0, 1, 0, 1, 0, 1, 0, 1, -1], list("abcdefghi"), ["2013"] * 4 + ["2014"] * 5)
    assert found.kind == "latest"
    assert found.train_rows.tolist() == [0, 1, 2, 3]
    assert found.holdout_rows.tolist() == [4, 5, 6, 7]
    assert found.holdout_periods == ("2014",)
    assert found.notes == ()


@pytest.mark.parametrize(("drop", "train", "left_out"), [(True, 4, 2), (False, 6, 0)])
def test_repeaters_are_counted_and_left_out_on_demand(drop, train, left_out):
    found = split([0, 1] * 5, list("abcdefefgh"), ["2013"] * 6 + ["2014"] * 4, drop_repeaters=drop)
    assert found.repeater_rows == 2
    assert len(found.train_rows) == train
    assert len(found.left_out_rows) == left_out
    assert found.period_rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert ("left out" in found.describe()) is drop
    assert found.document()["left_out_rows"] == left_out


def test_periods_join_until_the_holdout_has_both_classes():
    found = split([0, 1] * 4 + [1, 1], list("abcdefghij"), ["1"] * 4 + ["2"] * 4 + ["3"] * 2)
    assert found.holdout_periods == ("2", "3")


def test_numbers_order_as_numbers():
    periods = np.array([9, 9, 9, 9, 10, 10, 10, 10])
    found = holdout_split(
        np.array([0, 1] * 4),
        np.arange(8),
        periods,
        holdout_share=0.2,
        drop_repeaters=True,
        seed=1,
    )
    assert found.holdout_rows.tolist() == [4, 5, 6, 7]


def test_holdout_by_person_where_the_latest_period_will_not_do():
    data = planted()
    labels = np.where(data.periods == "2013", 0, data.labels)
    found = holdout_split(
        labels, data.groups, data.periods, holdout_share=0.2, drop_repeaters=True, seed=1
    )
    assert found.kind == "grouped"
    assert "latest period" in found.notes[0]
    assert set(data.groups[found.train_rows]).isdisjoint(data.groups[found.holdout_rows])


def test_one_period_is_held_out_by_person():
    data = planted()
    found = split(data.labels.tolist(), data.groups.tolist(), [""] * 400)
    share = len(set(data.groups[found.holdout_rows])) / len(set(data.groups))
    assert found.kind == "grouped"
    assert found.notes == ()
    assert 0.12 < share < 0.28


def test_new_rows_do_not_move_the_others():
    data = planted(600)
    long = split(data.labels.tolist(), data.groups.tolist(), [""] * 600)
    short = split(data.labels[:400].tolist(), data.groups[:400].tolist(), [""] * 400)
    assert set(short.holdout_rows) == {row for row in long.holdout_rows if row < 400}


def test_few_persons_still_give_both_classes_on_both_sides():
    for seed in range(20):
        labels = [0, 1] * 10
        found = split(labels, [f"p{i}" for i in range(20)], [""] * 20, seed=seed)
        for rows in (found.train_rows, found.holdout_rows):
            assert min(np.bincount(np.array(labels)[rows])) >= 2


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([-1, -1], "nothing to learn from"),
        ([1, 1, -1], "not at risk"),
        ([0, 0], "No row is at risk"),
        ([0, 1, 2], "must be 1"),
        ([0, 1, 1], "cannot be divided"),
    ],
)
def test_labels_that_allow_no_split(labels, words):
    with pytest.raises(DataError, match=words) as caught:
        split(labels, list("abc")[: len(labels)], [""] * len(labels))
    assert caught.value.where
    assert caught.value.fix


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_folds_never_split_a_person(data):
    n_splits = data.draw(st.integers(2, 5))
    rows = data.draw(st.lists(st.tuples(st.integers(0, 12), st.sampled_from([-1, 0, 1]))))
    # As many persons of each class as there are folds, so that the folds exist.
    rows += [(100 + i, 0) for i in range(n_splits)] + [(200 + i, 1) for i in range(n_splits)]
    groups = np.array([group for group, _ in rows])
    labels = np.array([label for _, label in rows])
    folds = grouped_folds(labels, groups, n_splits, data.draw(st.integers(0, 99)))
    assert ((folds == -1) == (labels == -1)).all()
    for group in set(groups[labels >= 0]):
        assert len(set(folds[(groups == group) & (labels >= 0)])) == 1
    for label in (0, 1):
        assert set(folds[labels == label]) == set(range(n_splits))


def test_folds_are_as_even_as_scikit_learns():
    from sklearn.model_selection import StratifiedGroupKFold

    data = planted(2000)
    ours = grouped_folds(data.labels, data.groups, 5, 3)
    theirs = np.empty(2000, dtype=int)
    cross = StratifiedGroupKFold(5, shuffle=True, random_state=3)
    for fold, (_, rows) in enumerate(cross.split(data.X, data.labels, data.groups)):
        theirs[rows] = fold
    for values in (np.ones(2000), data.labels == 1):
        spread = [np.ptp(np.bincount(folds, values, 5)) for folds in (ours, theirs)]
        assert spread[0] <= spread[1] + 2


def test_folds_follow_from_the_seed():
    data = planted()
    first, again, other = (grouped_folds(data.labels, data.groups, 3, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_too_few_persons_for_the_folds():
    with pytest.raises(DataError, match="there are 2") as caught:
        grouped_folds(
            np.array([0, 0, 0, 1, 1, 1]),
            np.array(list("abcdde")),
            3,
            1,
            setting="modes.dev.n_splits_cv",
        )
    assert caught.value.where == "modes.dev.n_splits_cv"
    assert caught.value.fix == "Set modes.dev.n_splits_cv to 2 or less, or bring more rows."


def test_one_fold_is_none():
    with pytest.raises(SettingsError, match="at least 2"):
        grouped_folds(np.array([0, 1]), np.array([1, 2]), 1, 1)


def test_a_hold_out_begins_where_it_is_asked_to() -> None:
    periods = np.repeat(np.array(["2008-01-01", "2009-12-31", "2010-01-01", "2011-05-01"]), 6)
    labels = np.tile(np.array([0, 1], dtype=np.int8), 12)
    groups = np.arange(24)
    split = holdout_split(
        labels, groups, periods, holdout_share=0.2, drop_repeaters=False, seed=1, since="2010-01-01"
    )
    assert split.holdout_periods == ("2010-01-01", "2011-05-01")
    assert list(split.train_rows) == list(range(12))
    with pytest.raises(DataError) as raised:
        holdout_split(
            labels, groups, periods, holdout_share=0.2, drop_repeaters=False, seed=1, since="2030"
        )
    assert "2030" in str(raised.value)
