from __future__ import annotations

import hashlib
import json
import os
import pickle
import stat
import sys
import warnings
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.models.planted import PARAMS, planted
from vigie.errors import ExitCode, ModelError
from vigie.models import store
from vigie.models.compatible import check_schema
from vigie.models.metadata import library_versions, model_metadata, model_version
from vigie.models.train import train_model

FEATURES = [
    {"name": name, "kind": "number", "label": {"en": name, "fr": name}, "categories": []}
    for name in ("clicks_sum", "score_mean", "days_active", "late_count")
] + [{"name": "region", "kind": "category", "label": None, "categories": ["North", "South"]}]
STAMP = "20261123T070000Z"


@pytest.fixture(scope="module")
def result():
    data = planted()
    return train_model(
        data.X,
        data.labels,
        data.groups,
        data.periods,
        params=PARAMS,
        n_splits=3,
        seed=7,
        holdout_share=0.2,
        drop_repeaters=True,
        threads=1,
    )


@pytest.fixture(scope="module")
def metadata(result):
    return model_metadata(
        result,
        FEATURES,
        fingerprint="0123456789abcdef" * 4,
        trained_at="2026-11-23T07:00:00+00:00",
        mode="dev",
        dataset="oulad",
        generated=True,
        cutoff_days=90,
        kind="random_forest",
        params=PARAMS,
        calibrate=None,
        seed=7,
        n_splits=3,
        row_count=400,
    )


SCORES = pa.table({"id_student": [1, 2], "score": [0.25, 0.75]})


def files_in(folder: Path, suffix: str = ".pkl") -> store.ModelFiles:
    return store.ModelFiles(
        folder / f"random_forest_dev{suffix}",
        folder / "model_metadata_dev.json",
        folder / "out_of_fold_dev.parquet",
    )


def save(folder: Path, model, metadata, suffix: str = ".pkl") -> tuple[Path, Path]:
    files = files_in(folder, suffix)
    store.save_model(model, metadata, SCORES, files, folder / "versions", STAMP)
    return files.model, files.metadata


@pytest.fixture
def pair(tmp_path, result, metadata) -> tuple[Path, Path]:
    return save(tmp_path, result.model, metadata)


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def test_what_is_saved_comes_back(pair, result):
    loaded = store.load_model(*pair, mode="dev")
    matrix = planted().X
    assert (loaded.model.predict_proba(matrix) == result.model.predict_proba(matrix)).all()
    assert loaded.notes == ()
    assert loaded.metadata["version"] == "rf-0123456789ab"
    assert loaded.metadata["sha256"] == hashlib.sha256(pair[0].read_bytes()).hexdigest()
    assert loaded.model.n_jobs == 1


def test_metadata_tell_what_the_model_is(pair):
    found = json.loads(pair[1].read_text("utf-8"))
    assert [entry["name"] for entry in found["features"]] == [f["name"] for f in FEATURES]
    assert found["generated"] is True
    assert found["cutoff_days"] == 90
    assert found["counts"]["labelled"] == 400
    assert found["split"]["left_out_rows"] > 0
    assert len(found["cross_validation"]["folds"]) == found["cross_validation"]["n_splits"] == 3
    assert len(found["importances"]) == 5
    assert set(found["libraries"]) == {"python", "numpy", "scikit-learn", "vigie"}


def test_a_time_stamped_copy_is_kept(pair, tmp_path):
    copies = {path.name: path for path in (tmp_path / "versions").iterdir()}
    assert set(copies) == {
        f"random_forest_dev_{STAMP}.pkl",
        f"model_metadata_dev_{STAMP}.json",
        f"out_of_fold_dev_{STAMP}.parquet",
    }
    scores = copies[f"out_of_fold_dev_{STAMP}.parquet"]
    assert scores.read_bytes() == (tmp_path / "out_of_fold_dev.parquet").read_bytes()
    assert stat.S_IMODE(scores.stat().st_mode) == 0o600
    restored = store.load_model(
        copies[f"random_forest_dev_{STAMP}.pkl"],
        copies[f"model_metadata_dev_{STAMP}.json"],
        mode="dev",
    )
    assert restored.metadata["file"] == f"random_forest_dev_{STAMP}.pkl"


@pytest.mark.skipif(os.name == "nt", reason="no umask")
def test_the_umask_decides_who_may_read(tmp_path, metadata):
    before = os.umask(0o027)
    try:
        pkl, described = save(tmp_path, [1], metadata)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE(pkl.stat().st_mode) == stat.S_IMODE(described.stat().st_mode) == 0o640


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_changed_file_is_refused_before_it_is_unpickled(pair, tmp_path):
    trace = tmp_path / "exploded"
    pair[0].write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(ModelError, match="sha256") as caught:
        store.load_model(*pair, mode="prod")
    assert not trace.exists()
    assert "vigie run --mode prod --steps train" in caught.value.fix
    assert caught.value.exit_code == ExitCode.MODEL
    pickle.loads(pair[0].read_bytes())
    assert trace.exists(), "the bomb is a real one"


def test_a_kill_between_the_two_renames_is_found(pair, metadata, monkeypatch):
    old = pair[1].read_bytes()
    # Only the pair in use is cut off; its copy has been written whole.
    written: list[Path] = []

    def write_json(path, value, *, mode):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        path.write_text(json.dumps(value), "utf-8")

    monkeypatch.setattr(store, "write_json", write_json)
    with pytest.raises(KeyboardInterrupt):
        save(pair[0].parent, ["another model"], metadata)
    assert pair[1].read_bytes() == old
    with pytest.raises(ModelError, match="cut off"):
        store.load_model(*pair, mode="dev")


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_file(pair, which):
    pair[which].unlink()
    with pytest.raises(ModelError, match="no trained model") as caught:
        store.load_model(*pair, mode="dev")
    assert caught.value.where == str(pair[which])
    assert caught.value.fix == "Train one: vigie run --mode dev --steps train"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": "a"}', "\udcff"])
def test_broken_metadata(pair, text):
    pair[1].write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match="metadata cannot be read"):
        store.load_model(*pair, mode="dev")


def test_a_file_that_is_no_model(pair):
    pair[0].write_bytes(b"nothing")
    change(pair[1], sha256=hashlib.sha256(b"nothing").hexdigest())
    with pytest.raises(ModelError, match="cannot be read"):
        store.load_model(*pair, mode="dev")


@pytest.mark.parametrize(
    ("library", "then", "refused"),
    [
        ("scikit-learn", "1.2.2", True),
        ("scikit-learn", "patch", False),
        ("scikit-learn", None, True),
        ("numpy", "1.26.4", True),
        ("numpy", "minor", False),
        ("python", "3.8.1", False),
        ("vigie", "0.0.0", False),
    ],
)
def test_library_versions(pair, library, then, refused):
    now = library_versions()
    parts = now[library].split(".")
    then = {"patch": ".".join([*parts[:2], "99"]), "minor": f"{parts[0]}.99.0"}.get(then, then)
    libraries = {key: value for key, value in now.items() if key != library}
    change(pair[1], libraries=libraries | ({library: then} if then else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if refused:
            with pytest.raises(ModelError, match=f"trained with {library}") as caught:
                store.load_model(*pair, mode="dev")
            assert "--steps train" in caught.value.fix
        else:
            notes = store.load_model(*pair, mode="dev").notes
            assert len(notes) == (library != "vigie")


def check(metadata, features, cutoff_days=90, dataset="oulad") -> str:
    with pytest.raises(ModelError) as caught:
        check_schema(metadata, features, cutoff_days=cutoff_days, dataset=dataset, mode="dev")
    assert caught.value.where == "model rf-0123456789ab"
    assert "vigie run --mode dev --steps train" in caught.value.fix
    # Emptying outcomes mends windows and categories, neither the cut-off nor the data set.
    alike = (cutoff_days, dataset) == (metadata["cutoff_days"], metadata.get("dataset", dataset))
    assert ("leave their outcomes empty" in caught.value.fix) == alike
    return caught.value.what


def test_the_same_schema_passes(metadata):
    check_schema(
        json.loads(json.dumps(metadata)), FEATURES, cutoff_days=90, dataset="oulad", mode="dev"
    )


def test_missing_and_new_features_are_listed(metadata):
    text = check(metadata, [*FEATURES[1:], {"name": "clicks_mean"}, {"name": "clicks_sums"}])
    assert text.splitlines() == [
        "The model does not fit the features:",
        "  - missing: clicks_sum",
        "  + new: clicks_mean, clicks_sums",
        "    clicks_sum: renamed to clicks_sums?",
    ]


def test_many_names_are_cut_short(metadata):
    text = check(metadata, FEATURES + [{"name": f"more{n}"} for n in range(13)])
    assert "more9 and 3 more" in text


def test_another_order_names_the_first_place(metadata):
    text = check(metadata, [FEATURES[0], FEATURES[2], FEATURES[1], *FEATURES[3:]])
    assert "other order: column 2 was score_mean, is days_active" in text


def test_other_categories(metadata):
    changed = FEATURES[-1] | {"categories": ["North", "East"]}
    text = check(metadata, [*FEATURES[:-1], changed])
    assert "~ region: categories was ['North', 'South'], is ['North', 'East']" in text


def test_another_cutoff_or_data_set(metadata):
    assert "day 90, the features day 180" in check(metadata, FEATURES, cutoff_days=180)
    assert "the model knows oulad, these are mine" in check(metadata, FEATURES, dataset="mine")


def test_the_version_follows_from_the_content():
    assert model_version("random_forest", "ab" * 32) == "rf-abababababab"


def test_saving_again_gives_the_same_file(pair, result, metadata):
    first = pair[0].read_bytes()
    save(pair[0].parent, result.model, metadata)
    assert pair[0].read_bytes() == first


def test_scores_of_another_model_are_refused(pair, tmp_path) -> None:
    scores = tmp_path / "out_of_fold_dev.parquet"
    metadata = store.read_metadata(pair[1], mode="dev")
    store.check_scores(metadata, scores, mode="dev")
    scores.write_bytes(b"of another model")
    with pytest.raises(ModelError, match="belong") as caught:
        store.check_scores(metadata, scores, mode="dev")
    assert "--steps train" in str(caught.value.fix)


def test_skops_keeps_a_model_that_runs_no_code_when_read(tmp_path, result, metadata):
    model, described = save(tmp_path, result.model, metadata, ".skops")
    assert model.name == "random_forest_dev.skops"
    assert model.read_bytes()[:2] == b"PK"
    loaded = store.load_model(model, described, mode="dev")
    matrix = planted().X
    assert (loaded.model.predict_proba(matrix) == result.model.predict_proba(matrix)).all()


def test_skops_refuses_what_it_does_not_know(tmp_path, metadata):
    with pytest.raises(ModelError, match="types not known to be safe") as caught:
        save(tmp_path, Stranger(), metadata, ".skops")
    assert 'format = "pkl"' in caught.value.fix
    assert not (tmp_path / "random_forest_dev.skops").exists()


class Stranger:
    """Of a type that nobody has vouched for."""

    def __init__(self) -> None:
        self.value = 1


def test_a_stranger_in_a_skops_file_is_not_made(tmp_path, result, metadata, monkeypatch):
    model, described = save(tmp_path, result.model, metadata, ".skops")
    monkeypatch.setattr(store, "_TRUSTED", frozenset())
    with pytest.raises(ModelError, match="cannot be read"):
        store.load_model(model, described, mode="dev")


def test_without_skops_it_says_what_to_install(tmp_path, result, metadata, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ModelError) as caught:
        save(tmp_path, result.model, metadata, ".skops")
    assert "vigie[skops]" in caught.value.fix


def test_one_that_was_turned_down_is_a_version_only(tmp_path, result, metadata):
    files = files_in(tmp_path)
    turned_down = {**metadata, "challenge": {"taken": False}}
    store.save_model(
        result.model, turned_down, SCORES, files, tmp_path / "versions", STAMP, current=False
    )
    assert len(list((tmp_path / "versions").iterdir())) == 3
    assert not files.model.exists()
    assert not files.metadata.exists()
    assert not files.scores.exists()
