"""Reasons: what each feature adds, together the score, and in words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import RandomForestClassifier

from vigie.models.explain import REASONS, contributions, explain, topic_codes
from vigie.models.predict import risk_scores
from vigie.models.reasons import reason_texts, value_text

Matrix = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def data() -> tuple[Matrix, npt.NDArray[np.int8]]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 6)).astype(np.float32)  # noqa: N806
    X[rng.random(X.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(X[:, 2]) + 0.3 * rng.normal(size=400) > 0).astype(np.int8)
    return X, labels


@pytest.fixture(scope="module")
def forest(data: tuple[Matrix, npt.NDArray[np.int8]]) -> RandomForestClassifier:
    return RandomForestClassifier(60, random_state=0, min_samples_leaf=2).fit(*data)


def test_the_parts_sum_to_the_score(
    forest: RandomForestClassifier, data: tuple[Matrix, npt.NDArray[np.int8]]
) -> None:
    X = data[0]  # noqa: N806
    base, amounts = contributions(forest, X)
    np.testing.assert_allclose(
        base + amounts.sum(axis=1), forest.predict_proba(X)[:, 1], atol=1e-12
    )
    np.testing.assert_allclose(base + amounts.sum(axis=1), risk_scores(forest, X), atol=1e-9)


def test_by_hand(data: tuple[Matrix, npt.NDArray[np.int8]]) -> None:
    X = np.array([[0.0], [0.0], [1.0], [1.0]], dtype=np.float32)  # noqa: N806
    stump = RandomForestClassifier(1, bootstrap=False, random_state=0).fit(X, [0, 0, 1, 1])
    base, amounts = contributions(stump, X)
    assert base == 0.5
    assert amounts[:, 0].tolist() == [-0.5, -0.5, 0.5, 0.5]


def test_threads_and_chunks_change_nothing(
    forest: RandomForestClassifier,
    data: tuple[Matrix, npt.NDArray[np.int8]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X = data[0]  # noqa: N806
    one = explain(forest, X)
    two = explain(forest, X, threads=2)
    monkeypatch.setattr("vigie.models.explain._CELLS_PER_CHUNK", 100)
    small = explain(forest, X)
    for other in (two, small):
        assert (one.amounts == other.amounts).all()
        assert (one.features == other.features).all()
        assert (one.base == other.base).all()


def test_the_strongest_come_first(
    forest: RandomForestClassifier, data: tuple[Matrix, npt.NDArray[np.int8]]
) -> None:
    X, labels = data  # noqa: N806
    found = explain(forest, X)
    sizes = np.abs(found.amounts)
    assert (np.diff(sizes, axis=1) <= 0).all()
    # The column that makes the outcome is the first reason of nearly every row that has it.
    known = ~np.isnan(X[:, 2])
    assert (found.features[known, 0] == 2).mean() > 0.9
    bad = known & (labels == 1) & (X[:, 2] > 0.5)
    assert (found.amounts[bad, 0] > 0).all()


def test_columns_about_the_same_are_one_reason(
    forest: RandomForestClassifier, data: tuple[Matrix, npt.NDArray[np.int8]]
) -> None:
    X = data[0][:200]  # noqa: N806
    topics = np.array([1, 0, 1, 0, 2, 2])
    base, amounts = contributions(forest, X)
    found = explain(forest, X, topics)
    sums = np.stack([amounts[:, topics == topic].sum(axis=1) for topic in range(3)], axis=1)
    assert np.allclose(base + found.amounts.sum(axis=1), forest.predict_proba(X)[:, 1], atol=1e-12)
    for row in range(len(X)):
        told = topics[found.features[row]]
        assert sorted(told) == [0, 1, 2]
        assert np.allclose(found.amounts[row], sums[row, told])
        # A topic is shown by the column that does most of what the topic does.
        for place in range(3):
            members = np.flatnonzero(topics == told[place])
            pull = amounts[row, members] * np.sign(found.amounts[row, place])
            assert found.features[row, place] == members[np.argmax(pull)]


def test_features_say_what_they_are_about() -> None:
    features = [
        {"label": {"en": "missed (number)"}, "topic": {"en": "missed"}},
        {"label": {"en": "clicks"}},
        {"label": {"en": "missed (share)"}, "topic": {"en": "missed"}},
    ]
    assert topic_codes(features).tolist() == [0, 1, 0]


def test_fewer_features_than_reasons() -> None:
    X = np.array([[0.0], [0.0], [1.0], [1.0]], dtype=np.float32)  # noqa: N806
    stump = RandomForestClassifier(3, random_state=0).fit(X, [0, 0, 1, 1])
    found = explain(stump, X)
    assert found.features.shape == (4, REASONS)
    assert (found.features[:, 1:] == -1).all()
    texts = reason_texts(found, X, [{"name": "a", "label": {"en": "a", "fr": "a"}}], "en")
    assert texts[1] == ["", "", "", ""]
    assert explain(stump, X[:0]).features.shape == (0, REASONS)


@pytest.mark.parametrize(
    ("feature", "value", "english", "french"),
    [
        ({"kind": "category"}, 1.0, "yes", "yes"),
        ({"kind": "ordinal", "categories": ["low", "high"]}, 1.0, "high", "high"),
        ({"kind": "aggregate", "aggregate": "days_since_last"}, 19.0, "19", "19"),
        ({"kind": "aggregate", "aggregate": "share"}, 0.667, "67%", "67\N{NO-BREAK SPACE}%"),
        ({"kind": "number"}, 1234.56, "1235", "1235"),
        ({"kind": "number"}, 0.1234, "0.123", "0,123"),
        ({"kind": "number"}, float("nan"), "not known", "not known"),
    ],
)
def test_values_in_words(
    feature: dict[str, object], value: float, english: str, french: str
) -> None:
    assert value_text(feature, value, "en") == english
    assert value_text(feature, value, "fr") == french


def test_a_reason_in_words(
    forest: RandomForestClassifier, data: tuple[Matrix, npt.NDArray[np.int8]]
) -> None:
    X = data[0][:1]  # noqa: N806
    features = [
        {"name": f"f{n}", "kind": "number", "label": {"en": f"clicks {n}", "fr": f"clics {n}"}}
        for n in range(6)
    ]
    found = explain(forest, X)
    column, amount = int(found.features[0, 0]), float(found.amounts[0, 0])
    text = reason_texts(found, X, features, "en")[0][0]
    assert text.startswith(f"clicks {column}: ")
    assert text.endswith(f"({amount:+.2f})")
    french = reason_texts(found, X, features, "fr")[0][0]
    assert french.startswith(f"clics {column}")
    assert f"{amount:+.2f}".replace(".", ",") in french
