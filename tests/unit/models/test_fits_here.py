"""How fits of this process share its threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from vigie.models import workers
from vigie.models.kinds import ACCELERATED, BOOSTING, EXTRA_TREES, FOREST, fit_kind
from vigie.models.workers import FitTask, Fitted, InProcess

SECONDS = 20
MATRIX = np.zeros((100, 3), np.float32)
LABELS = np.zeros(100)


def tasks(*sizes: int, kind: str = FOREST) -> list[FitTask]:
    return [
        FitTask(f"{place} of {size}", kind, {}, np.arange(size), 1)
        for place, size in enumerate(sizes)
    ]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Name and threads of each fit, in the order in which they began."""
    begun: list[tuple[str, int]] = []

    def fit(_X: Any, _labels: Any, task: FitTask, threads: int) -> Fitted:  # noqa: N803
        begun.append((task.name, threads))
        return Fitted(task.name, 0.0)

    monkeypatch.setattr(workers, "_fit", fit)
    return begun


def test_two_small_forests_grow_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=SECONDS)

    def fit(_X: Any, _labels: Any, task: FitTask, threads: int) -> Fitted:  # noqa: N803
        both.wait()
        return Fitted(task.name, float(threads))

    monkeypatch.setattr(workers, "_fit", fit)
    wanted = tasks(10, 30, 20, 40, kind=EXTRA_TREES)
    found = list(InProcess(2).fit(wanted, MATRIX, LABELS))
    assert [one.model for one in found] == [task.name for task in wanted]
    assert {one.seconds for one in found} == {1.0}


def test_the_greatest_first_and_all_in_their_order(fits: list[tuple[str, int]]) -> None:
    wanted = tasks(10, 30, 20)
    found = list(InProcess(2).fit(wanted, MATRIX, LABELS))
    assert [one.model for one in found] == [task.name for task in wanted]
    assert fits[0] == ("1 of 30", 1)


@pytest.mark.parametrize("kind", [BOOSTING, ACCELERATED, "some.path.Classifier"])
def test_what_takes_all_threads_by_itself_goes_one_after_another(
    fits: list[tuple[str, int]], kind: str
) -> None:
    list(InProcess(2).fit(tasks(10, 30, kind=kind), MATRIX, LABELS))
    assert fits == [("0 of 10", 2), ("1 of 30", 2)]


def test_great_forests_go_one_after_another(
    fits: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SMALL_CELLS", MATRIX.size - 1)
    list(InProcess(2).fit(tasks(10, 30), MATRIX, LABELS))
    assert fits == [("0 of 10", 2), ("1 of 30", 2)]


def test_a_single_fit_or_core_has_all(fits: list[tuple[str, int]]) -> None:
    list(InProcess(2).fit(tasks(10), MATRIX, LABELS))
    list(InProcess(1).fit(tasks(10, 30), MATRIX, LABELS))
    assert fits == [("0 of 10", 2), ("0 of 10", 1), ("1 of 30", 1)]


def test_after_one_that_fails_no_other_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    other, let = threading.Event(), threading.Event()

    def fit(_X: Any, _labels: Any, task: FitTask, _threads: int) -> Fitted:  # noqa: N803
        begun.append(task.name)
        if task.name == "0 of 90":
            assert other.wait(SECONDS)
            raise ValueError("refused")
        other.set()
        assert let.wait(SECONDS)
        return Fitted(task.name, 0.0)

    monkeypatch.setattr(workers, "_fit", fit)
    with pytest.raises(ValueError, match="refused"):
        list(InProcess(2).fit(tasks(90, 80, 70, 60, 50), MATRIX, LABELS))
    let.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(SECONDS)
    # The failed one's thread may have taken the next before it was told.
    assert {"0 of 90", "1 of 80"} <= set(begun) <= {"0 of 90", "1 of 80", "2 of 70"}


def test_only_what_uses_other_threads_looks_for_their_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threadpoolctl, "threadpool_limits", None)
    rng = np.random.default_rng(1)
    X = rng.random((300, 4), np.float32)  # noqa: N806
    labels = (X[:, 0] > rng.random(300)).astype(int)
    for kind in (FOREST, EXTRA_TREES):
        fit_kind(kind, {"n_estimators": 5}, X, labels, seed=1, threads=2)
    with pytest.raises(TypeError):
        fit_kind(BOOSTING, {}, X, labels, seed=1, threads=2)
