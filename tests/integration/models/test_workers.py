"""Fits in other processes and on a real dask cluster: the same scores, and clear errors."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import joblib
import numpy as np
import pytest
from distributed import LocalCluster

from tests.acceptance.project import Project
from tests.unit.models.planted import PARAMS, planted
from vigie.errors import ClusterError, ClusterUnreachable, ModelError
from vigie.models import workers
from vigie.models.train import TrainingResult, train_model
from vigie.models.workers import Place, open_workers

DATA = planted(unlabelled=20)
DOOMED = "tests.integration.models.doomed"


def cluster_of(count: int, **more: Any) -> LocalCluster:
    return LocalCluster(
        processes=True, n_workers=count, threads_per_worker=1, dashboard_address=None, **more
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with cluster_of(2, silence_logs=logging.CRITICAL) as made:
        yield made


def train(by: workers.Workers | None = None, **more: Any) -> TrainingResult:
    values: dict[str, Any] = {
        "params": PARAMS,
        "n_splits": 3,
        "seed": 7,
        "holdout_share": 0.2,
        "drop_repeaters": True,
        "threads": 2,
        "workers": by,
    }
    return train_model(DATA.X, DATA.labels, DATA.groups, DATA.periods, **values | more)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("random_forest", PARAMS),
        ("hist_gradient_boosting", {"max_iter": 20}),
        ("logistic_regression", {}),
    ],
)
def test_scores_are_the_same_to_the_bit_wherever_a_model_is_fitted(
    cluster: LocalCluster, kind: str, params: dict[str, Any]
) -> None:
    here = train(kind=kind, params=params, calibrate="sigmoid")
    for place in (Place("loky", 2), Place("dask", 2, cluster.scheduler_address)):
        with open_workers(place) as by:
            there = train(by, kind=kind, params=params, calibrate="sigmoid")
        assert there.scores.scores.tobytes() == here.scores.scores.tobytes(), place
        assert there.folds == here.folds
        ours, theirs = (one.model.predict_proba(DATA.X) for one in (here, there))
        assert theirs.tobytes() == ours.tobytes()
        assert list(there.fit_seconds) == list(here.fit_seconds)


def test_both_workers_fit_and_the_matrix_is_sent_once(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    with open_workers(Place("dask", 2, cluster.scheduler_address)) as by:
        assert by.describe()["workers"] == 2
        scatter = by.client.scatter
        monkeypatch.setattr(
            by.client, "scatter", lambda *a, **k: sent.append(a) or scatter(*a, **k)
        )
        count = "executed_count"
        before = by.client.run(lambda dask_worker: getattr(dask_worker.state, count))
        train(by)
        train(by, seed=8)
        after = by.client.run(lambda dask_worker: getattr(dask_worker.state, count))
    assert all(after[worker] > before[worker] for worker in after)
    assert len(sent) == 2
    assert {id(arguments[0]) for arguments in sent} == {id(DATA.X), id(DATA.labels)}


def test_a_model_that_refuses_says_so_as_it_does_here(cluster: LocalCluster) -> None:
    with open_workers(Place("dask", 2, cluster.scheduler_address)) as by:
        with pytest.raises(ModelError, match=r"could not be fitted: .*n_estimators"):
            train(by, params={"n_estimators": -1})


def test_workers_with_other_versions_are_refused(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = workers._ours(workers.COMPARED)
    monkeypatch.setattr(workers, "_ours", lambda _names: real | {"scikit-learn": "0.1"})
    with pytest.raises(ClusterError) as caught:
        workers.check_workers(Place("dask", 1, cluster.scheduler_address))
    assert not caught.value.transient
    lines = (caught.value.where or "").splitlines()
    assert len(lines) == 2
    assert f"scikit-learn {real['scikit-learn']}, here 0.1" in lines[0]


def test_what_grows_forests_elsewhere_is_compared_too(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearnex", reason="scikit-learn-intelex is not to be had here")
    place = Place("dask", 1, cluster.scheduler_address, accelerated=True)
    workers.check_workers(place)
    real = workers._ours(place.compared)
    assert real["scikit-learn-intelex"]
    monkeypatch.setattr(workers, "_ours", lambda _names: real | {"scikit-learn-intelex": "1"})
    with pytest.raises(ClusterError) as caught:
        workers.check_workers(place)
    assert "scikit-learn-intelex" in str(caught.value.where)
    # Whose forests are grown by scikit-learn needs it nowhere.
    workers.check_workers(Place("dask", 1, cluster.scheduler_address))


def test_no_scheduler_is_told_within_two_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(ClusterUnreachable) as caught:
        workers.check_workers(Place("dask", 1, "tcp://127.0.0.1:9"))
    assert time.monotonic() - started < 2.5
    assert caught.value.where == "engine.dask_scheduler = tcp://127.0.0.1:9"


def test_a_cluster_without_workers_is_refused() -> None:
    with cluster_of(0) as empty, pytest.raises(ClusterUnreachable, match="has no worker"):
        workers.check_workers(Place("dask", 1, empty.scheduler_address))


def test_a_fit_that_kills_its_worker_ends_the_training() -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        with cluster_of(1, silence_logs=logging.CRITICAL) as own:
            with open_workers(Place("dask", 1, own.scheduler_address)) as by:
                with pytest.raises(ClusterError, match="Worker after worker died"):
                    train(by, kind=f"{DOOMED}.Deadly", params={})
    # With one process joblib would fit in ours.
    with open_workers(Place("loky", 2)) as by:
        with pytest.raises(ClusterError, match="process that fitted a model died"):
            train(by, kind=f"{DOOMED}.Deadly", params={})


def test_a_cluster_that_goes_away_is_worth_a_retry() -> None:
    own = cluster_of(1, silence_logs=logging.CRITICAL)
    try:
        with open_workers(Place("dask", 1, own.scheduler_address)) as by:
            ending = threading.Timer(1.0, own.close)
            ending.start()
            with pytest.raises(ClusterUnreachable, match="went away"):
                train(by, kind=f"{DOOMED}.Slow", params={})
            ending.join()
    finally:
        own.close()


def scored(project: Project) -> tuple[bytes, bytes]:
    """Return the kept scores, and what the kept model says of all rows.

    The model's file is not compared: a model that was read back is written in other bytes.
    """
    models = project.folder / "models"
    rows = np.load(project.folder / "data" / "processed" / "features_dev.npy")
    model = joblib.load(models / "random_forest_dev.pkl")
    return (models / "out_of_fold_dev.parquet").read_bytes(), model.predict_proba(rows).tobytes()


def test_a_run_on_a_cluster_makes_the_same_scores(cluster: LocalCluster, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    assert project.vigie("sample", "--enrolments", "300", "--out", str(project.raw)).returncode == 0
    to_train = ("--steps", "extract", "transform", "features", "train")
    project.run(*to_train)
    made = scored(project)
    on_dask = {
        "VIGIE_ENGINE__JOBLIB": "dask",
        "VIGIE_ENGINE__DASK_SCHEDULER": cluster.scheduler_address,
    }
    steps = json.loads(project.run(*to_train, "--json", **on_dask))["steps"]
    assert {step["status"] for step in steps.values()} == {"skipped"}
    found = json.loads(project.run(*to_train, "--force", "train", "--json", **on_dask))
    assert found["steps"]["train"]["facts"]["workers"] == {
        "joblib": "dask",
        "scheduler": cluster.scheduler_address,
        "workers": 2,
        "threads": 2,
    }
    assert scored(project) == made
    gone = on_dask | {"VIGIE_ENGINE__DASK_SCHEDULER": "tcp://127.0.0.1:9"}
    done = project.vigie("run", *to_train, "--force", "--json", **gone)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["error"]["retry"]) == (9, True)
    assert {step["status"] for step in answer["steps"].values()} == {"not reached"}
