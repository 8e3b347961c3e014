"""Every kind of model: made, fitted, calibrated, explained and kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from tests.unit.models.planted import PARAMS, planted
from vigie.errors import ModelError
from vigie.models import importance
from vigie.models.calibrate import CalibratedModel, Calibrator
from vigie.models.evaluate import paired_difference, point_metrics
from vigie.models.explain import contributions
from vigie.models.importance import permutation_importance
from vigie.models.kinds import kind_params, make_classifier, short_name
from vigie.models.predict import risk_scores
from vigie.models.train import TrainingResult, train_model
from vigie.paths import model_name
from vigie.settings_schema import KINDS

BAYES = "sklearn.naive_bayes.GaussianNB"
FEWER = {"hist_gradient_boosting": '{"max_iter": 40, "learning_rate": 0.1}'}


def train(kind: str, **more: Any) -> TrainingResult:
    data = planted(800, seed=3)
    values: dict[str, Any] = {
        "n_splits": 3,
        "seed": 7,
        "holdout_share": 0.2,
        "drop_repeaters": True,
        "threads": 1,
        "params": kind_params(kind, PARAMS, FEWER.get(kind, "{}")),
    }
    return train_model(data.X, data.labels, data.groups, data.periods, kind=kind, **values | more)


@pytest.mark.parametrize("kind", [*KINDS, BAYES])
@pytest.mark.parametrize("calibrate", [None, "isotonic", "sigmoid"])
def test_every_kind_learns_and_scores_alike_twice_and_on_two_threads(
    kind: str, calibrate: Any
) -> None:
    one = train(kind, calibrate=calibrate)
    two = train(kind, calibrate=calibrate, threads=2)
    assert (one.scores.scores == two.scores.scores).all()
    assert (one.permutation == two.permutation).all()
    data = planted(800, seed=3)
    assert (risk_scores(one.model, data.X) == risk_scores(two.model, data.X)).all()
    held_out = one.scores.origins == "holdout"
    found = roc_auc_score(data.labels[one.scores.rows[held_out]], one.scores.scores[held_out])
    assert found > 0.8
    assert ((one.scores.scores >= 0) & (one.scores.scores <= 1)).all()
    assert one.permutation[0].mean() > 0.1
    assert abs(one.permutation[2:]).max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("calibrate", [None, "isotonic", "sigmoid"])
def test_explanations_sum_to_the_score(kind: str, calibrate: Any) -> None:
    model = train(kind, calibrate=calibrate).model
    matrix = planted(300, seed=9).X
    parts = contributions(model, matrix)
    assert parts is not None
    base, amounts = parts
    scores = base + amounts.sum(axis=1)
    np.testing.assert_allclose(scores, model.predict_proba(matrix)[:, 1], atol=1e-12)
    # The first feature makes the outcome: it must do most of the explaining.
    assert (np.abs(amounts).argmax(axis=1) == 0).mean() > 0.6


def test_a_model_without_a_decomposition_has_no_reasons() -> None:
    found = train(BAYES)
    assert contributions(found.model, planted().X) is None
    assert (found.scores.reasons.features == -1).all()
    assert found.importances is None


def test_the_logistic_regression_stands_beside_every_model() -> None:
    found = train("extra_trees").scores
    held_out = found.origins == "holdout"
    assert np.isnan(found.baseline[~held_out]).all()
    labels = planted(800, seed=3).labels[found.rows]
    assert roc_auc_score(labels[held_out], found.baseline[held_out]) > 0.8
    own = train("logistic_regression").scores
    assert (own.baseline[held_out] == own.scores[held_out]).all()


def test_more_parameters_go_before_those_of_the_mode() -> None:
    params = kind_params(
        "random_forest", {"n_estimators": 5, "bootstrap": True}, '{"max_depth": 3}'
    )
    assert params == {"n_estimators": 5, "bootstrap": True, "max_depth": 3}
    assert kind_params("random_forest", {"bootstrap": False, "max_samples": 0.5}, "{}") == {
        "bootstrap": False,
        "max_samples": None,
    }
    assert "n_estimators" not in kind_params("hist_gradient_boosting", {"n_estimators": 5}, "{}")
    model = make_classifier("random_forest", params, seed=11, threads=2)
    assert isinstance(model, RandomForestClassifier)
    assert (model.max_depth, model.random_state, model.n_jobs) == (3, 11, 2)


@pytest.mark.parametrize(
    ("kind", "params", "what"),
    [
        ("nowhere.Model", {}, "There is no model 'nowhere.Model'"),
        ("sklearn.naive_bayes.NoSuch", {}, "There is no model"),
        ("sklearn.linear_model.LinearRegression", {}, "gives probabilities"),
        ("sklearn.svm.LinearSVC", {}, "gives probabilities"),
        ("random_forest", {"trees": 5}, "does not take these parameters"),
    ],
)
def test_what_is_no_model(kind: str, params: dict[str, Any], what: str) -> None:
    with pytest.raises(ModelError, match=what) as caught:
        make_classifier(kind, params, seed=1, threads=1)
    assert caught.value.fix


def test_a_parameter_out_of_its_range_is_the_persons_mistake() -> None:
    with pytest.raises(ModelError, match="could not be fitted") as caught:
        train("hist_gradient_boosting", params={"learning_rate": -1.0})
    assert caught.value.where == "model.params"


def test_names() -> None:
    assert [short_name(kind) for kind in (*KINDS, BAYES)] == ["rf", "et", "hgb", "lr", "m"]
    assert model_name(BAYES) == "gaussian_nb"
    assert model_name("a.b.XGBClassifier") == "xgbclassifier"


# --- calibration -----------------------------------------------------------------------------


def squeezed(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores that say too little, as a forest's do: .5 ± a third of what is true."""
    rng = np.random.default_rng(seed)
    true = rng.random(rows)
    return 0.5 + (true - 0.5) / 3, (rng.random(rows) < true).astype(int)


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
def test_calibrated_scores_mean_what_they_say(method: Any) -> None:
    calibrator = Calibrator(method).fit(*squeezed(4000, 1))
    scores, labels = squeezed(4000, 2)
    mended = calibrator(scores)

    def error(said: np.ndarray) -> float:
        bins = np.minimum((said * 10).astype(int), 9)
        return float(
            sum(
                (bins == b).mean() * abs(said[bins == b].mean() - labels[bins == b].mean())
                for b in np.unique(bins)
            )
        )

    assert error(scores) > 0.1
    assert error(mended) < 0.04
    assert (np.diff(calibrator(np.linspace(0, 1, 50))) >= 0).all()


def test_the_hold_out_teaches_the_calibration_nothing() -> None:
    data = planted(800, seed=3)
    other = data.labels.copy()
    latest = data.periods == "2014"
    other[latest] = 1 - other[latest]
    arguments = {
        "params": PARAMS, "calibrate": "isotonic", "n_splits": 3, "seed": 7,
        "holdout_share": 0.2, "drop_repeaters": True, "threads": 1,
    }  # fmt: skip
    one, two = (
        train_model(data.X, labels, data.groups, data.periods, **arguments)  # type: ignore[arg-type]
        for labels in (data.labels, other)
    )
    assert (one.scores.scores == two.scores.scores).all()


def test_a_calibrated_model_knows_its_classes() -> None:
    data = planted()
    forest = RandomForestClassifier(10, random_state=0).fit(data.X, data.labels)
    raw = risk_scores(forest, data.X)
    model = CalibratedModel(forest, Calibrator("sigmoid").fit(raw, data.labels))
    both = model.predict_proba(data.X)
    assert both.shape == (400, 2)
    np.testing.assert_allclose(both.sum(axis=1), 1)


# --- importance and paired differences ---------------------------------------------------------


def test_topics_are_shuffled_together() -> None:
    rng = np.random.default_rng(2)
    cause = rng.normal(size=600)
    # Two columns say the same: shuffled one by one neither would seem to matter much.
    X = np.stack([cause, cause, rng.normal(size=600)], axis=1).astype(np.float32)  # noqa: N806
    labels = (cause > 0).astype(int)
    forest = RandomForestClassifier(30, random_state=0, max_features=1).fit(X[:300], labels[:300])
    alone = permutation_importance(forest, X[300:], labels[300:], np.arange(3), seed=1)
    together = permutation_importance(forest, X[300:], labels[300:], np.array([0, 0, 1]), seed=1)
    assert together.shape == (2, 3)
    assert together[0].mean() > 0.4
    assert alone[:2].mean() < together[0].mean() / 2
    assert abs(together[1].mean()) < 0.02


def test_a_paired_difference() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 2000)
    groups = np.arange(2000)
    good = labels + rng.normal(size=2000)
    same = good + 0.05 * rng.normal(size=2000)
    worse = good + 2 * rng.normal(size=2000)
    close = paired_difference(good, same, labels, groups=groups, seed=1)
    assert close.low is not None
    assert close.high is not None
    assert abs(close.difference) < 0.005
    assert close.low < 0 < close.high or abs(close.difference) < 0.003
    # What both find hard cancels out: the interval is far narrower than that of either.
    assert close.high - close.low < 0.01
    far = paired_difference(good, worse, labels, groups=groups, seed=1)
    assert far.low is not None
    assert far.low > 0.05
    assert far.first == pytest.approx(roc_auc_score(labels, good))
    assert far.second == pytest.approx(roc_auc_score(labels, worse))
    assert far.difference == pytest.approx(far.first - far.second)
    back = paired_difference(worse, good, labels, groups=groups, seed=1)
    assert back.difference == -far.difference
    assert back.high == pytest.approx(-far.low)


def test_paired_intervals_cover_at_their_rate() -> None:
    """In 95 of 100 the true difference (of equally good scores: none) is in the interval."""
    rng = np.random.default_rng(8)
    inside = 0
    for seed in range(200):
        labels = rng.integers(0, 2, 300)
        one, two = (labels + 1.5 * rng.normal(size=300) for _score in range(2))
        found = paired_difference(one, two, labels, groups=np.arange(300), seed=seed, draws=200)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0 <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_other_metrics_are_paired_too() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0])
    one, two = np.array([0.1, 0.9, 0.2, 0.8, 0.4, 0.3]), np.full(6, 0.5)
    found = paired_difference(
        one, two, labels, groups=np.arange(6), metric="brier", seed=1, draws=50
    )
    expected = [point_metrics(scores, labels, 0.5)["brier"] for scores in (one, two)]
    assert [found.first, found.second] == pytest.approx(expected)


@pytest.mark.parametrize("cells", [1, 2_500])
def test_how_many_topics_go_into_one_call_changes_nothing(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = planted(300, seed=3)
    forest = RandomForestClassifier(10, random_state=0).fit(data.X, data.labels)
    topics = np.arange(data.X.shape[1]) // 2
    whole = permutation_importance(forest, data.X, data.labels, topics, seed=1)
    assert whole.shape == (topics.max() + 1, 3)
    monkeypatch.setattr(importance, "_CELLS_PER_CALL", cells * data.X.shape[1])
    parts = permutation_importance(forest, data.X, data.labels, topics, seed=1, threads=2)
    assert (parts == whole).all()
