from __future__ import annotations

import dataclasses
import io
import warnings

import joblib
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.unit.models.planted import PARAMS, Planted, planted
from vigie.errors import DataError, ModelError
from vigie.models.predict import risk_scores
from vigie.models.train import TrainingResult, train_model


def train(data: Planted, **more) -> TrainingResult:
    values = {
        "params": PARAMS,
        "n_splits": 3,
        "seed": 7,
        "holdout_share": 0.2,
        "drop_repeaters": True,
        "threads": 1,
    }
    return train_model(data.X, data.labels, data.groups, data.periods, **values | more)


@pytest.fixture(scope="module")
def data() -> Planted:
    return planted(unlabelled=20)


@pytest.fixture(scope="module")
def result(data) -> TrainingResult:
    return train(data)


def test_every_labelled_row_has_one_honest_score(data, result):
    scores = result.scores
    assert scores.rows.tolist() == np.flatnonzero(data.labels >= 0).tolist()
    assert not np.isnan(scores.scores).any()
    held_out = scores.origins == "holdout"
    assert scores.rows[held_out].tolist() == result.split.holdout_rows.tolist()
    assert set(scores.folds[held_out]) == {-1}
    assert set(scores.folds[~held_out]) == {0, 1, 2}
    assert (scores.origins[np.isin(scores.rows, result.split.left_out_rows)] == "fold").all()
    assert len(result.split.left_out_rows) > 0


def test_scores_are_those_of_models_that_did_not_see_the_row(data, result):
    final = risk_scores(result.model, data.X[result.scores.rows])
    labels = data.labels[result.scores.rows]
    assert (final != result.scores.scores).mean() > 0.5
    assert roc_auc_score(labels, final) > roc_auc_score(labels, result.scores.scores)


def test_a_persons_rows_share_a_fold(data, result):
    in_fold = result.scores.folds >= 0
    groups = data.groups[result.scores.rows[in_fold]]
    folds = result.scores.folds[in_fold]
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1


def test_the_score_is_the_risk_of_the_bad_outcome(data, result):
    honest = result.scores.scores
    assert np.corrcoef(honest, data.X[result.scores.rows, 0])[0, 1] > 0.6
    assert roc_auc_score(data.labels[result.scores.rows], honest) > 0.85


def test_the_direction_does_not_hang_on_the_place_of_the_class(data, result):
    class Reversed:
        classes_ = result.model.classes_[::-1]

        def predict_proba(self, rows):
            return result.model.predict_proba(rows)[:, ::-1]

    assert (risk_scores(Reversed(), data.X) == risk_scores(result.model, data.X)).all()


def test_a_model_without_the_class_at_risk_is_refused(data, result):
    class Unaware:
        classes_ = np.array(["Fail", "Pass"])

    with pytest.raises(ModelError, match="Fail, Pass"):
        risk_scores(Unaware(), data.X)


def test_the_same_to_the_last_bit_on_any_number_of_threads(data, result):
    other = train(data, threads=2)
    assert other.scores.scores.tobytes() == result.scores.scores.tobytes()
    assert other.importances.tobytes() == result.importances.tobytes()
    assert other.folds == result.folds
    files = []
    for model in (result.model, other.model):
        buffer = io.BytesIO()
        joblib.dump(model, buffer)
        files.append(buffer.getvalue())
    assert files[0] == files[1]


def test_folds_tell_what_they_reached(result):
    assert [fold.fold for fold in result.folds] == [1, 2, 3]
    assert sum(fold.rows for fold in result.folds) == len(result.split.period_rows)
    assert all(0.8 < fold.roc_auc < 1 for fold in result.folds)
    assert result.training_roc_auc > 0.97
    assert result.fold_documents()[0]["brier"] == result.folds[0].brier


def test_importances_and_versions(data, result):
    assert result.importances.shape == result.importances_std.shape == (5,)
    assert result.importances.argmax() == 0
    assert result.importances.sum() == pytest.approx(1)
    assert set(result.versions) == {"scikit-learn", "numpy"}


def test_no_fit_is_done_twice(data, result):
    assert list(result.fit_seconds) == ["evaluated", "fold 1", "fold 2", "fold 3", "final"]


def test_progress_ends_at_one(data):
    shares: list[float] = []
    train(data, params={"n_estimators": 2}, progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) == 5
    assert shares[-1] == 1.0


def test_nothing_warns(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(data, params={"n_estimators": 2}, threads=2)


def test_a_column_of_nothing_and_a_constant_one_do_no_harm(data):
    matrix = data.X.copy()
    matrix[:, 2], matrix[:, 3] = np.nan, 1
    assert train(dataclasses.replace(data, X=matrix)).importances[2:4].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": np.ones((400, 5), np.float32)}, "same value in all rows"),
        ({"X": np.full((400, 5), np.nan, np.float32)}, "same value in all rows"),
        ({"X": np.zeros((399, 5), np.float32)}, "don't fit together"),
        ({"X": np.zeros((400, 0), np.float32)}, "don't fit together"),
        ({"labels": np.full(400, -1, np.int8)}, "No row has a known outcome"),
        ({"labels": np.ones(400, np.int8)}, "one outcome only"),
    ],
)
def test_data_that_teach_nothing(data, change, words):
    with pytest.raises(DataError, match=words) as caught:
        train(dataclasses.replace(data, **change))
    assert caught.value.where
    assert caught.value.fix


def test_infinite_values_are_named(data):
    matrix = data.X.copy()
    matrix[3, 4] = np.inf
    with pytest.raises(DataError, match="infinite") as caught:
        train(dataclasses.replace(data, X=matrix), feature_names=list("abcde"))
    assert caught.value.where == "e"


def test_parameters_that_scikit_learn_refuses(data):
    with pytest.raises(ModelError, match="n_estimators"):
        train(data, params={"n_estimators": -1})
    with pytest.raises(ModelError, match="n_tree"):
        train(data, params={"n_tree": 5})
