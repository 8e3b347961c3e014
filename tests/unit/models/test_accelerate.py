"""A forest grown by scikit-learn-intelex, given back as scikit-learn's own."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from vigie.errors import SettingsError
from vigie.models import accelerate
from vigie.models.accelerate import fit_forest
from vigie.models.explain import explain
from vigie.models.kinds import ACCELERATED
from vigie.models.predict import risk_scores
from vigie.models.train import fit_classifier, train_model
from vigie.models.workers import InProcess, LokyWorkers, Workers

PARAMS = {"n_estimators": 60, "min_samples_leaf": 5, "max_features": "log2", "max_samples": 0.5}


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    pytest.importorskip("sklearnex", reason="scikit-learn-intelex is not to be had here")


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """3,000 rows of which two columns tell, one of them by being missing."""
    random = np.random.default_rng(3)
    X = random.normal(size=(3000, 8)).astype(np.float32)  # noqa: N806
    gone = random.random(3000) < 0.3
    label = (X[:, 0] + 2 * gone + random.normal(size=3000) > 1).astype(np.int8)
    X[gone, 1] = np.nan
    return X, label


@pytest.fixture(scope="module")
def forest(rows: tuple[np.ndarray, np.ndarray]) -> RandomForestClassifier:
    X, label = rows  # noqa: N806
    return fit_forest(PARAMS, X[:2000], label[:2000], seed=1, threads=2)


def test_is_a_plain_forest_as_good_as_scikit_learns(
    rows: tuple[np.ndarray, np.ndarray], forest: RandomForestClassifier
) -> None:
    X, label = rows  # noqa: N806
    assert type(forest) is RandomForestClassifier
    plain = RandomForestClassifier(**PARAMS, random_state=1).fit(X[:2000], label[:2000])
    auc = [
        roc_auc_score(label[2000:], one.predict_proba(X[2000:])[:, 1]) for one in (forest, plain)
    ]
    assert auc[0] > 0.85
    assert auc[0] == pytest.approx(auc[1], abs=0.02)


def test_missing_values_tell(
    rows: tuple[np.ndarray, np.ndarray], forest: RandomForestClassifier
) -> None:
    X, _label = rows  # noqa: N806
    known = X[2000:][~np.isnan(X[2000:, 1])]
    blank = known.copy()
    blank[:, 1] = np.nan
    assert risk_scores(forest, blank).mean() > risk_scores(forest, known).mean() + 0.3


def test_leaves_say_the_shares_of_the_training_rows(
    rows: tuple[np.ndarray, np.ndarray], forest: RandomForestClassifier
) -> None:
    X, label = rows[0][:2000], rows[1][:2000]  # noqa: N806
    tree = forest.estimators_[0].tree_
    leaf = tree.apply(X)
    for one in np.unique(leaf):
        assert tree.value[one, 0, 1] == pytest.approx(label[leaf == one].mean())
        assert tree.n_node_samples[one] == (leaf == one).sum()
    assert tree.value[0, 0, 1] == pytest.approx(label.mean())
    assert forest.feature_importances_.sum() == pytest.approx(1)


def test_same_on_one_thread_or_two_and_twice(
    rows: tuple[np.ndarray, np.ndarray], forest: RandomForestClassifier
) -> None:
    X, label = rows  # noqa: N806
    again = fit_classifier(ACCELERATED, PARAMS, X[:2000], label[:2000], seed=1, threads=1)
    np.testing.assert_array_equal(risk_scores(again, X), risk_scores(forest, X))
    other = fit_forest(PARAMS, X[:2000], label[:2000], seed=2, threads=2)
    assert not np.array_equal(risk_scores(other, X), risk_scores(forest, X))


@pytest.mark.parametrize("workers", [InProcess(2), LokyWorkers(2)], ids=["here", "loky"])
def test_whole_training_whoever_fits(
    rows: tuple[np.ndarray, np.ndarray], forest: RandomForestClassifier, workers: Workers
) -> None:
    X, label = rows  # noqa: N806
    result = train_model(
        X,
        label,
        np.arange(3000),
        np.repeat(["2013", "2014"], [2000, 1000]),
        kind=ACCELERATED,
        params=PARAMS,
        n_splits=2,
        seed=1,
        holdout_share=0.2,
        drop_repeaters=False,
        threads=2,
        workers=workers,
    )
    assert type(result.model) is RandomForestClassifier
    # The evaluated model learnt from the rows of 2013: the same forest, oneDAL's.
    held_out = np.searchsorted(result.scores.rows, np.arange(2000, 3000))
    np.testing.assert_array_equal(result.scores.scores[held_out], risk_scores(forest, X[2000:]))


def test_reasons_sum_to_the_score(
    rows: tuple[np.ndarray, np.ndarray], forest: RandomForestClassifier
) -> None:
    X = rows[0][2000:2050, :]  # noqa: N806
    found = explain(forest, X, np.zeros(8, dtype=np.int64), threads=1)
    # All columns are one topic: the one reason is all of the difference.
    np.testing.assert_allclose(found.base + found.amounts[:, 0], risk_scores(forest, X), atol=1e-9)


def test_file_needs_the_library_no_more(forest: RandomForestClassifier) -> None:
    kept = pickle.dumps(forest)
    code = (
        "import sys, pickle; sys.modules['sklearnex'] = sys.modules['daal4py'] = None; "
        "print(len(pickle.loads(sys.stdin.buffer.read()).estimators_))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=kept, capture_output=True, check=True)
    assert done.stdout.split() == [b"60"]


def test_what_it_cannot_grow_is_refused(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, label = rows  # noqa: N806
    with pytest.raises(SettingsError, match="criterion = entropy"):
        fit_forest({**PARAMS, "criterion": "entropy"}, X, label, seed=1, threads=1)


def test_without_the_library_the_extra_is_named(
    rows: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearnex.ensemble", None)
    with pytest.raises(SettingsError) as caught:
        fit_forest(PARAMS, *rows, seed=1, threads=1)
    assert accelerate.LIBRARY in caught.value.what
    assert "vigie[accelerated]" in str(caught.value.fix)
