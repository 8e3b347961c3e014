from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from vigie.errors import DataError
from vigie.models.evaluate import (
    METRICS,
    bootstrap_intervals,
    cross_validation_summary,
    evaluate,
    metrics_document,
    point_metrics,
    roc_points,
)


def scored(rows: int = 500, seed: int = 0, decimals: int = 2):
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.35).astype(np.int8)
    # Few distinct scores: ties must count as in scikit-learn.
    scores = np.round(np.clip(rng.normal(0.35 + 0.25 * labels, 0.2), 0, 1), decimals)
    groups = np.array([f"p{n}" for n in rng.integers(0, rows // 2, rows)])
    return scores, labels, groups


def assess(scores, labels, groups, threshold=0.5, **more):
    values = {"train_prevalence": 0.3, "seed": 5} | more
    return evaluate(scores, labels, threshold, groups=groups, **values)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )
)
def test_metrics_are_scikit_learns(rows):
    scores = np.array([score / 10 for score, _ in rows])
    labels = np.array([int(label) for _, label in rows])
    found = point_metrics(scores, labels, 0.5)
    flagged = scores >= 0.5
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(labels, scores))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(labels, scores))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, flagged))
    assert found["recall"] == pytest.approx(sk.recall_score(labels, flagged))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, flagged, zero_division=0))
    if flagged.any():
        assert found["precision"] == pytest.approx(sk.precision_score(labels, flagged))
    else:
        assert found["precision"] is None


def test_roc_points_lie_on_scikit_learns_curve():
    scores, labels, _ = scored()
    fpr, tpr = roc_points(scores, labels)
    expected = sk.roc_curve(labels, scores, drop_intermediate=False)
    assert fpr == pytest.approx(expected[0])
    assert tpr == pytest.approx(expected[1])
    assert np.trapezoid(tpr, fpr) == pytest.approx(sk.roc_auc_score(labels, scores))


def test_every_metric_has_an_interval_and_a_baseline():
    found = assess(*scored())
    assert set(found["metrics"]) == set(METRICS)
    for metric in found["metrics"].values():
        assert metric["low"] < metric["value"] < metric["high"]
        assert metric["high"] - metric["low"] < 0.25
        assert "baseline" in metric


def test_the_baseline_says_the_same_of_everyone():
    scores, labels, groups = scored()
    found = assess(scores, labels, groups)
    share = labels.mean()
    baseline = {name: metric["baseline"] for name, metric in found["metrics"].items()}
    assert baseline["accuracy"] == pytest.approx(1 - share)
    assert baseline["roc_auc"] == 0.5
    assert baseline["average_precision"] == pytest.approx(share)
    assert baseline["brier"] == pytest.approx(np.mean((0.3 - labels) ** 2))
    assert baseline["recall"] == baseline["f1"] == 0
    assert baseline["precision"] is None
    assert found["baseline"] == {"prediction": "not_at_risk", "score": 0.3}


def test_the_majority_at_risk_is_predicted_at_risk():
    scores, labels, groups = scored()
    found = assess(scores, labels, groups, train_prevalence=0.6)
    assert found["metrics"]["recall"]["baseline"] == 1
    assert found["metrics"]["precision"]["baseline"] == pytest.approx(labels.mean())


def test_the_confusion_matrix_is_scikit_learns():
    scores, labels, groups = scored()
    found = assess(scores, labels, groups, threshold=0.4)
    expected = sk.confusion_matrix(labels, scores >= 0.4).ravel().tolist()
    assert list(found["confusion"].values()) == expected
    assert found["rows"] == 500
    assert found["positives"] == labels.sum()
    assert found["persons"] == len(set(groups))


def test_intervals_follow_from_the_seed_only():
    scores, labels, groups = scored()
    first, again, other = (
        bootstrap_intervals(scores, labels, groups, 0.5, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_intervals_do_not_hang_on_the_size_of_a_chunk(monkeypatch):
    scores, labels, groups = scored()
    whole = bootstrap_intervals(scores, labels, groups, 0.5, seed=1)
    monkeypatch.setattr("vigie.models.evaluate._CELLS_PER_CHUNK", 500 * 7)
    assert bootstrap_intervals(scores, labels, groups, 0.5, seed=1) == whole


def test_intervals_widen_where_rows_of_a_person_go_together():
    scores, labels, _ = scored(200)
    ten_times = np.repeat(np.arange(200), 10)
    alone = bootstrap_intervals(scores[ten_times], labels[ten_times], np.arange(2000), 0.5, seed=1)
    together = bootstrap_intervals(scores[ten_times], labels[ten_times], ten_times, 0.5, seed=1)
    for name in METRICS:
        narrow, wide = (high - low for low, high in (alone[name], together[name]))
        assert wide > 2 * narrow


@pytest.mark.slow
def test_intervals_cover_at_their_rate():
    # The true accuracy at .5 and Brier score of scores that are the real probabilities.
    rng = np.random.default_rng(3)
    truth = rng.random(2_000_000)
    accuracy, brier = np.maximum(truth, 1 - truth).mean(), (truth * (1 - truth)).mean()
    covered = {"accuracy": 0, "brier": 0}
    for repetition in range(300):
        scores = rng.random(300)
        labels = (rng.random(300) < scores).astype(int)
        found = bootstrap_intervals(scores, labels, np.arange(300), 0.5, seed=repetition, draws=300)
        for name, value in (("accuracy", accuracy), ("brier", brier)):
            covered[name] += found[name][0] <= value <= found[name][1]
    assert all(0.90 < count / 300 < 0.985 for count in covered.values())


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_null_with_a_reason_and_no_warning(label):
    scores, _, groups = scored(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = assess(scores, np.full(50, label), groups)
    auc = found["metrics"]["roc_auc"]
    assert auc["value"] is auc["low"] is auc["baseline"] is None
    assert auc["reason"] == "only one class among the outcomes"
    assert found["metrics"]["accuracy"]["value"] is not None
    assert found["roc"] == []
    assert ("reason" in found["metrics"]["recall"]) is (label == 0)


def test_nobody_flagged():
    scores, labels, groups = scored()
    found = assess(scores, labels, groups, threshold=2.0)
    assert found["metrics"]["precision"]["reason"] == "no row is predicted at risk"
    assert found["metrics"]["recall"]["value"] == 0


@pytest.mark.parametrize(
    ("scores", "labels"), [([], []), ([0.5], [-1]), ([0.5], [1, 0]), ([np.nan, 0.1], [1, 0])]
)
def test_rows_that_cannot_be_judged(scores, labels):
    with pytest.raises(DataError):
        assess(np.array(scores), np.array(labels), np.arange(len(labels)))


def test_the_mean_and_spread_over_the_folds():
    folds = [{"fold": 1, "roc_auc": 0.8}, {"fold": 2, "roc_auc": 0.9}, {"fold": 3, "roc_auc": None}]
    summary = cross_validation_summary(folds)
    assert summary["mean"] == {"roc_auc": pytest.approx(0.85)}
    assert summary["std"] == {"roc_auc": pytest.approx(np.std([0.8, 0.9], ddof=1))}
    assert summary["folds"] == folds


def test_the_document_is_the_same_text_every_time():
    def document() -> str:
        return json.dumps(
            metrics_document(
                assess(*scored()),
                [{"fold": 1, "roc_auc": 1 / 3}],
                mode="dev",
                dataset="oulad",
                generated=True,
                cutoff_days=90,
                model_version="rf-1",
                split={"kind": "grouped"},
                training_roc_auc=0.99999999,
            )
        )

    text = document()
    assert text == document()
    parsed = json.loads(text)
    assert parsed["cross_validation"]["mean"]["roc_auc"] == 0.333333
    assert parsed["training"]["roc_auc"] == 1.0
    assert len(parsed["holdout"]["roc"]) <= 101
    assert parsed["holdout"]["roc"][0] == [0, 0]
    assert parsed["holdout"]["roc"][-1] == [1, 1]
