from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.history.kept_runs import keep_model, keep_run
from vigie.history.model_versions import list_models
from vigie.history.prune import prune_models, prune_runs
from vigie.paths import ProjectPaths
from vigie.pipeline.record import list_runs

STAMPS = [f"2026070{day}T100000Z" for day in range(1, 6)]


@pytest.fixture
def paths(tmp_path: Path) -> ProjectPaths:
    made = ProjectPaths(tmp_path, "dev")
    for stamp in STAMPS:
        keep_model(made, stamp)
    return made


def stamps(paths: ProjectPaths) -> list[str]:
    return [model.stamp for model in list_models(paths.model_versions, paths.mode)][::-1]


def test_the_oldest_runs_go_but_never_a_running_one(tmp_path: Path) -> None:
    ids = [f"2026070{day}T100000.000Z-aaaa" for day in range(1, 6)]
    for run_id in ids:
        keep_run(tmp_path, run_id)
    keep_run(tmp_path, "20260601T100000.000Z-aaaa", mode="prod", status=None)
    assert prune_runs(tmp_path / "runs", 2) == ids[:3]
    assert list_runs(tmp_path / "runs") == ["20260601T100000.000Z-aaaa", *ids[3:]]
    assert prune_runs(tmp_path / "runs", 0) == [ids[3]]
    assert prune_runs(tmp_path / "runs", 200) == []


def test_the_oldest_models_go_with_all_their_files(paths: ProjectPaths) -> None:
    prod = ProjectPaths(paths.project, "prod")
    keep_model(prod, STAMPS[0])
    assert prune_models(paths, 2) == STAMPS[:3][::-1]
    assert stamps(paths) == STAMPS[3:]
    assert len(list(paths.model_versions.glob("*_dev_*"))) == 6
    assert stamps(prod) == STAMPS[:1]
    assert prune_models(paths, 2) == []


def test_the_current_model_stays_however_old(paths: ProjectPaths) -> None:
    oldest = paths.model_versions / f"model_metadata_dev_{STAMPS[0]}.json"
    paths.model("model_metadata", ".json").write_bytes(oldest.read_bytes())
    assert prune_models(paths, 2) == [STAMPS[2], STAMPS[1]]
    assert stamps(paths) == [STAMPS[0], *STAMPS[3:]]


def test_older_models_make_way_only_for_whole_ones(paths: ProjectPaths) -> None:
    (paths.model_versions / f"model_metadata_dev_{STAMPS[4]}.json").unlink()
    (paths.model_versions / f"random_forest_dev_{STAMPS[3]}.pkl").write_bytes(b"torn")
    # Of five, two don't count: three whole ones are to be kept.
    assert prune_models(paths, 3) == []
    assert prune_models(paths, 2) == [STAMPS[0]]
    assert stamps(paths) == STAMPS[1:]
