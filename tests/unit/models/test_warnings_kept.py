"""Warning filters while trees grow in several threads."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from vigie.models.importance import permutation_importance
from vigie.models.kinds import fit_kind
from vigie.models.warnings_kept import warnings_kept


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that give way to each other all the time."""
    # What scikit-learn imports sets filters of its own.
    fit_kind("random_forest", {"n_estimators": 2}, *rows(), seed=0, threads=1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    sys.setswitchinterval(interval)


def rows(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32)  # noqa: N806
    return X, (X[:, 0] > 0).astype(int)


def test_forest_in_threads_leaves_the_filters_whole(hasty: None) -> None:
    X, labels = rows()  # noqa: N806
    before = list(warnings.filters)
    for seed in range(12):
        params = {"n_estimators": 60, "max_depth": 2}
        fit_kind("random_forest", params, X, labels, seed=seed, threads=3)
    assert list(warnings.filters) == before


def test_shuffling_in_threads_leaves_the_filters_whole(
    hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vigie.models.importance._CELLS_PER_CALL", 1)
    X, labels = rows()  # noqa: N806
    params = {"n_estimators": 30, "max_depth": 2}
    model = fit_kind("random_forest", params, X, labels, seed=0, threads=1)
    before = list(warnings.filters)
    for seed in range(12):
        permutation_importance(model, X, labels, np.arange(6), seed=seed, threads=3)
    assert list(warnings.filters) == before


def test_filters_stay_for_all_who_are_in_and_come_back_when_the_last_has_left() -> None:
    before = warnings.filters
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with warnings_kept():
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=other)
    with warnings_kept():
        thread.start()
        assert inside.wait(20)
        warnings.resetwarnings()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert list(warnings.filters) == list(before)
    warnings.resetwarnings()
    assert list(warnings.filters) == list(before)
    leave.set()
    thread.join(20)
    assert warnings.filters is before


def test_lost_filters_are_not_kept_lost() -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        with warnings_kept():
            assert warnings.filters
