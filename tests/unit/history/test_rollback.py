from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.history.kept_runs import (
    digest,
    input_states,
    keep_features,
    keep_model,
    output_states,
    record_training,
)
from tests.unit.pipeline.test_ledger import make_outcome
from vigie.errors import LockHeld, ModelError, UsageError
from vigie.history.model_versions import summarize_models
from vigie.history.rollback import Rollback, roll_back
from vigie.paths import ProjectPaths
from vigie.pipeline.artifacts import TEMPORARY_MARK
from vigie.pipeline.fingerprint import Fingerprint
from vigie.pipeline.ledger import Ledger, Outcome, Status
from vigie.pipeline.lock import ProjectLock
from vigie.pipeline.planner import Run, Skip, decide
from vigie.pipeline.reasons import InputChanged, RolledBack
from vigie.pipeline.step import Step

OLD, NEW = "20260701T100000Z", "20260702T100000Z"
TRAIN = Step(
    name="train",
    title="",
    run=print,
    inputs=("features", "labels", "keys", "features_metadata"),
    outputs=("model", "model_metadata", "scores"),
)


@pytest.fixture
def paths(tmp_path: Path) -> ProjectPaths:
    """A project whose first model was followed by one on other data."""
    made = ProjectPaths(tmp_path, "dev")
    for stamp in (OLD, NEW):
        keep_features(made, stamp)
        keep_model(made, stamp)
        record_training(made)
    return made


def back(paths: ProjectPaths, wanted: str | None = None) -> Rollback:
    return roll_back(paths, wanted, command="vigie rollback")


def decided(paths: ProjectPaths, fingerprint: Fingerprint) -> Run | Skip:
    ledger, _note = Ledger.open(paths.ledger)
    states = output_states(paths)
    found = decide(TRAIN, present=fingerprint, states=states, ledger=ledger, makers={})
    assert isinstance(found, Run | Skip)
    return found


def standing(paths: ProjectPaths, step: str = "train") -> Outcome:
    ledger, _note = Ledger.open(paths.ledger)
    found = ledger.last_success(step)
    assert found is not None
    return found


def test_all_three_files_are_those_of_the_earlier_training(paths: ProjectPaths) -> None:
    ledger, _note = Ledger.open(paths.ledger)
    first = next(ledger.outcomes())
    done = back(paths)
    assert output_states(paths) == first.outputs  # byte for byte, the metadata too
    metadata = json.loads(paths.model("model_metadata", ".json").read_bytes())
    assert metadata["file"] == "random_forest_dev.pkl"
    assert (done.model.stamp, done.kept, done.misfit) == (OLD, True, None)
    assert done.replaced != done.model.version
    assert [one.stamp for one in summarize_models(paths) if one.current] == [OLD]


def test_training_is_skipped_until_something_changes(paths: ProjectPaths) -> None:
    newer = standing(paths)
    version = back(paths).model.version
    decision = decided(paths, newer.fingerprint)
    assert isinstance(decision, Skip)
    (reason,) = decision.reasons
    assert isinstance(reason, RolledBack)
    assert f"rolled back to {version} on 20" in reason.describe()
    keep_features(paths, "other")
    parts = {**newer.fingerprint.to_record(), "inputs": input_states(paths)}
    decision = decided(paths, Fingerprint.from_record(parts))
    assert isinstance(decision, Run)
    assert {type(one) for one in decision.reasons} == {InputChanged}


def test_back_and_forth(paths: ProjectPaths) -> None:
    newer = standing(paths)
    before = output_states(paths)
    back(paths)
    assert back(paths, NEW).kept
    assert output_states(paths) == before
    assert isinstance(decided(paths, newer.fingerprint), Skip)


def test_on_the_old_data_again_the_old_training_stands(paths: ProjectPaths) -> None:
    ledger, _note = Ledger.open(paths.ledger)
    older, newer = ledger.outcomes()
    back(paths)
    keep_features(paths, OLD)  # the run after that makes the features of the old data
    assert isinstance(decided(paths, older.fingerprint), Skip)
    # And forward from there: the newer model is to stand for the old data now.
    assert back(paths, NEW).kept
    assert standing(paths).fingerprint == older.fingerprint
    assert dict(standing(paths).outputs) == dict(newer.outputs)


def test_a_model_of_other_features_is_no_excuse_not_to_train(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path, "dev")
    for stamp, day in ((OLD, 180), (NEW, 90)):
        keep_features(paths, stamp, cutoff_days=day)
        keep_model(paths, stamp, cutoff_days=day)
        record_training(paths)
    newer = standing(paths)
    done = back(paths)
    assert not done.kept
    assert "the model knows day 180, the features day 90" in str(done.misfit)
    assert isinstance(decided(paths, newer.fingerprint), Run)


def test_without_a_recorded_training_it_says_so(paths: ProjectPaths) -> None:
    paths.ledger.unlink()
    assert not back(paths).kept
    assert not paths.ledger.exists()


@pytest.mark.parametrize("name", ["random_forest_dev_{}.pkl", "out_of_fold_dev_{}.parquet"])
def test_a_copy_that_is_not_as_described_is_refused(paths: ProjectPaths, name: str) -> None:
    before = output_states(paths)
    (paths.model_versions / name.format(OLD)).write_bytes(b"touched")
    with pytest.raises(ModelError, match=name.format(OLD)):
        back(paths)
    assert output_states(paths) == before
    assert [one.problem for one in summarize_models(paths)] == [None, name.format(OLD)]


def test_a_model_of_libraries_that_are_not_here_is_refused(paths: ProjectPaths) -> None:
    described = paths.model_versions / f"model_metadata_dev_{OLD}.json"
    metadata = json.loads(described.read_bytes())
    metadata["libraries"]["scikit-learn"] = "0.20.0"
    described.write_text(json.dumps(metadata))
    with pytest.raises(ModelError, match=r"scikit-learn 0\.20\.0"):
        back(paths)


def test_a_run_that_goes_on_is_not_disturbed(paths: ProjectPaths) -> None:
    with ProjectLock(paths.state, "dev").hold(), pytest.raises(LockHeld):
        back(paths)


def test_names(paths: ProjectPaths) -> None:
    older = next(one for one in summarize_models(paths) if one.stamp == OLD)
    assert back(paths, older.version[:8]).model.stamp == OLD
    with pytest.raises(ModelError, match="no model before"):
        back(paths)
    with pytest.raises(UsageError, match="2 models begin"):
        back(paths, "rf-")
    with pytest.raises(UsageError, match="There is no model") as caught:
        back(paths, "20260703T100000Z")
    assert OLD in str(caught.value.fix)


def test_the_one_before_is_another_model(paths: ProjectPaths) -> None:
    again = keep_model(paths, "20260703T100000Z", version="rf-same")
    keep_model(paths, "20260704T100000Z", version=again["version"])
    assert back(paths).model.stamp == NEW


# --- cut off ---------------------------------------------------------------------------------


def test_a_full_disk_changes_nothing(paths: ProjectPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_ledger: Ledger, _outcome: Outcome) -> None:
        raise OSError(28, "No space left on device")

    before, ledger = output_states(paths), digest(paths.ledger)
    monkeypatch.setattr(Ledger, "append", refuse)
    with pytest.raises(OSError, match="No space"):
        back(paths)
    assert (output_states(paths), digest(paths.ledger)) == (before, ledger)
    assert not list((paths.project / "models").rglob(f"*{TEMPORARY_MARK}*"))


@pytest.mark.parametrize("moved", [(), ("scores",), ("scores", "model")])
def test_the_same_command_finishes_what_a_kill_cut_off(
    paths: ProjectPaths, monkeypatch: pytest.MonkeyPatch, moved: tuple[str, ...]
) -> None:
    newer, append = standing(paths), Ledger.append

    def killed(ledger: Ledger, outcome: Outcome) -> None:
        append(ledger, outcome)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            back(paths)
    names = {"scores": "out_of_fold_dev{}.parquet", "model": "random_forest_dev{}.pkl"}
    for part in moved:
        copy = paths.model_versions / names[part].format(f"_{OLD}")
        (paths.project / "models" / names[part].format("")).write_bytes(copy.read_bytes())
    done = back(paths)
    assert (done.model.stamp, done.kept) == (OLD, True)
    assert isinstance(decided(paths, newer.fingerprint), Skip)


def test_an_outcome_of_train_that_failed_stands_for_nothing(paths: ProjectPaths) -> None:
    ledger, _note = Ledger.open(paths.ledger)
    ledger.append(make_outcome("train", Status.FAILED, outputs={}))
    assert back(paths).kept


def test_a_model_of_another_kind_is_refused_with_what_to_set(paths: ProjectPaths) -> None:
    """The settings say what the model file is called: the next run would look for another."""
    before = output_states(paths)
    folder, other = paths.model_versions, f"extra_trees_dev_{OLD}.pkl"
    (folder / f"random_forest_dev_{OLD}.pkl").rename(folder / other)
    described = folder / f"model_metadata_dev_{OLD}.json"
    content = json.loads(described.read_bytes()) | {"file": other, "kind": "extra_trees"}
    described.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="kept as extra_trees_dev") as caught:
        back(paths, OLD)
    assert caught.value.fix == 'Set [model] kind = "extra_trees" and format = "pkl", then train.'
    assert output_states(paths) == before
    # By itself it goes back to what it can go back to only.
    with pytest.raises(ModelError, match="no model before"):
        back(paths)


def test_one_that_was_turned_down_was_never_the_model_before(paths: ProjectPaths) -> None:
    described = paths.model_versions / f"model_metadata_dev_{OLD}.json"
    content = json.loads(described.read_bytes())
    described.write_text(json.dumps({**content, "challenge": {"taken": False}}))
    with pytest.raises(ModelError, match="no model before"):
        back(paths)
    assert [one.turned_down for one in summarize_models(paths)] == [False, True]
    # But who names it gets it.
    assert back(paths, OLD).model.stamp == OLD
