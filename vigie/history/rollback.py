"""Making an earlier model the current one, in a way that the next run respects.

The training's ledger gets a success under the fingerprint under which the replaced model was up to
date, with the restored files as its outputs. As long as that fingerprint is the present one,
training has nothing to do; evaluation and predictions see other inputs and run. As soon as data,
settings or code change, training runs as it always would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from vigie.errors import ModelError
from vigie.history.model_versions import (
    METADATA_NAME,
    SCORES_NAME,
    ModelVersion,
    broken_part,
    choose_model,
    list_models,
    metadata_as_current,
    read_json_object,
)
from vigie.i18n import _
from vigie.models.compatible import check_schema, check_versions
from vigie.paths import ProjectPaths
from vigie.pipeline.artifacts import atomic_write, file_sha256
from vigie.pipeline.ledger import ROLLED_BACK_TO, Ledger, Outcome, Status
from vigie.pipeline.lock import ProjectLock
from vigie.pipeline.record import new_run_id

TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a roll-back did.

    Parameters
    ----------
    model
        The model that is the current one now.
    replaced
        The version of the model before; None where there was none.
    kept
        Whether the next run keeps the model as long as nothing changes.
    misfit
        Why the present features are not for this model, line by line.
    notes
        Harmless differences of libraries' versions.
    """

    model: ModelVersion
    replaced: str | None
    kept: bool
    misfit: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Files:
    """What a model consists of when it is the current one, by the names that train declares."""

    paths: ProjectPaths
    model_file: str

    def outputs(self) -> dict[str, Path]:
        return {
            "model": self.paths.project / "models" / self.model_file,
            "model_metadata": self.paths.model(METADATA_NAME, ".json"),
            "scores": self.paths.model(SCORES_NAME, ".parquet"),
        }

    def inputs(self) -> dict[str, Path]:
        processed = self.paths.processed
        return {
            "features": processed("features", ".npy"),
            "labels": processed("labels", ".npy"),
            "keys": processed("keys", ".parquet"),
            "features_metadata": processed("features_metadata", ".json"),
        }


def roll_back(paths: ProjectPaths, wanted: str | None, *, command: str) -> Rollback:
    """Make an earlier model the current one, under the mode's lock.

    Parameters
    ----------
    wanted
        Version or time stamp, or a beginning of either; None is the one before the current.
    command
        What was typed: shown to whoever finds the lock held.

    Raises
    ------
    UsageError
        No model, or more than one, is called so.
    ModelError
        The copy is not what its metadata say, or the libraries here cannot read it.
    LockHeld
        A run of this mode is going on.
    """
    with ProjectLock(paths.state, paths.mode, command=command).hold():
        current = read_json_object(paths.model(METADATA_NAME, ".json"))
        models = list_models(paths.model_versions, paths.mode)
        model = choose_model(models, wanted, current, where=paths.model_versions)
        notes = _check(model, paths.mode)
        _check_name(model, current.get("file"))
        files = _Files(paths, model.file_name)
        described = metadata_as_current(model)
        restored = {
            "model": model.sha256,
            "model_metadata": sha256(described.encode()).hexdigest(),
            "scores": model.metadata["scores_sha256"],
        }
        ledger, _truncated = Ledger.open(paths.ledger)
        misfit = _misfit(model.metadata, files.inputs()["features_metadata"], paths.mode)
        standing = None if misfit else _standing(ledger, files, restored)
        outcome = standing and _outcome(standing, model, restored, current.get("version"))
        with _staged(model, described, files):
            # Here, so that a full disk has shown itself before, and so that the same command goes
            # on where it was killed: until the metadata are in place, the old model is current.
            if outcome:
                ledger.append(outcome)
    return Rollback(model, current.get("version"), outcome is not None, misfit, notes)


def _check(model: ModelVersion, mode: str) -> tuple[str, ...]:
    part = broken_part(model)
    if part is not None:
        raise ModelError(
            _("{name} is missing or is not the file that the metadata describe.").format(name=part),
            where=str(model.metadata_path),
            fix=_("Choose another version: {command}").format(
                command=f"vigie models --mode {mode}"
            ),
        )
    return check_versions(model.metadata, where=str(model.metadata_path), mode=mode)


def _check_name(model: ModelVersion, current: Any) -> None:
    """Refuse a model of another kind or format: the settings would look for another file."""
    if current is None or model.file_name == current:
        return
    format_ = model.model_path.suffix.removeprefix(".")
    raise ModelError(
        _("Model {version} is kept as {name}, the current one as {current}.").format(
            version=model.version, name=model.file_name, current=current
        ),
        where=str(model.model_path),
        fix=_('Set [model] kind = "{kind}" and format = "{format}", then train.').format(
            kind=model.kind, format=format_
        ),
    )


def _misfit(metadata: Mapping[str, Any], features_metadata: Path, mode: str) -> str | None:
    """Return what keeps the model from scoring the features that are there now, if anything."""
    features = read_json_object(features_metadata)
    if not features:
        return None
    try:
        check_schema(
            metadata,
            features["features"],
            cutoff_days=features["cutoff_days"],
            dataset=features["dataset"],
            mode=mode,
        )
    except ModelError as error:
        return error.what
    return None


def _standing(ledger: Ledger, files: _Files, restored: Mapping[str, str]) -> Outcome | None:
    """Return the success of train that stands for the current files, or None.

    The same model may have been up to date under several fingerprints (it was rolled back to
    before): the one that goes with the present features is the one that a run would look up.
    """
    present = _states(files.outputs())
    inputs = _states(files.inputs())
    found = [
        outcome
        for outcome in ledger.outcomes()
        if outcome.step == TRAIN
        and outcome.status == Status.SUCCESS
        # Also the line that this command wrote before it was killed.
        and dict(outcome.outputs) in (present, restored)
    ]
    fitting = [outcome for outcome in found if dict(outcome.fingerprint.inputs) == inputs]
    return next(reversed(fitting or found), None)


def _states(files: Mapping[str, Path]) -> dict[str, str | None]:
    return {name: file_sha256(path) if path.is_file() else None for name, path in files.items()}


def _outcome(
    standing: Outcome, model: ModelVersion, restored: Mapping[str, str], replaced: str | None
) -> Outcome:
    now = datetime.now(UTC)
    return Outcome(
        run_id=new_run_id(now),
        step=TRAIN,
        status=Status.SUCCESS,
        started=now.isoformat(timespec="milliseconds"),
        finished=now.isoformat(timespec="milliseconds"),
        seconds=0.0,
        fingerprint=standing.fingerprint,
        outputs=restored,
        facts={"version": model.version, ROLLED_BACK_TO: model.version, "replaced": replaced},
    )


@contextlib.contextmanager
def _staged(model: ModelVersion, described: str, files: _Files) -> Iterator[None]:
    """Put the three files beside the current ones; they take their places when the block ends.

    The metadata come last: they say which model is the current one, and what the other two must
    be, so a kill in between is seen by whoever reads the pair.
    """
    outputs = files.outputs()
    with contextlib.ExitStack() as moves:
        for name, content, like in (
            ("model_metadata", described.encode(), model.metadata_path),
            ("model", model.model_path.read_bytes(), model.model_path),
            ("scores", model.scores_path.read_bytes(), model.scores_path),
        ):
            mode = like.stat().st_mode & 0o777
            moves.enter_context(atomic_write(outputs[name], mode=mode)).write_bytes(content)
        yield
