"""The model file and what belongs to it; nothing of it is unpickled before its hash holds.

Unpickling runs code. So the metadata (JSON) carry the sha256 of the ``.pkl``, and the bytes that
are hashed are the bytes that are loaded. A kill between the two renames leaves a pair that does
not fit together: the hash tells, and training again mends it.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import shutil
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.errors import ModelError
from vigie.i18n import _
from vigie.models.compatible import check_versions, train_command
from vigie.pipeline.artifacts import atomic_write, file_sha256, mode_by_umask, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

# 12 MB instead of 54 for 200 full-grown trees on 23,000 rows, for 0.5 s of writing; zlib's higher
# levels and xz take longer and save little.
_COMPRESSION = ("zlib", 1)
SKOPS_SUFFIX = ".skops"
# What skops doesn't trust by itself and our models are made of: data and our own code.
_TRUSTED = frozenset(
    {
        "numpy.dtype",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
        "vigie.models.calibrate.CalibratedModel",
        "vigie.models.calibrate.Calibrator",
        "vigie.models.kinds.as_double",
    }
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is the one its metadata describe.

    Parameters
    ----------
    notes
        Differences of library versions that do no harm but should be known.
    """

    model: Any
    metadata: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The three files that make a model, of the current one or of a version."""

    model: Path
    metadata: Path
    scores: Path

    def version(self, folder: Path, stamp: str) -> ModelFiles:
        """Return their places in a folder of versions, under a time stamp."""
        return ModelFiles(
            *(
                folder / f"{path.stem}_{stamp}{path.suffix}"
                for path in (self.model, self.metadata, self.scores)
            )
        )


def save_model(
    model: Any,
    metadata: Mapping[str, Any],
    scores: pa.Table,
    files: ModelFiles,
    versions_dir: Path,
    timestamp: str,
    *,
    current: bool = True,
) -> dict[str, Any]:
    """Keep a model as a version and, if asked, as the current one; return its metadata.

    The version comes first: whatever model is current can be found again under its time. In each
    set of files the metadata come last: where they are, the rest is.

    Parameters
    ----------
    metadata
        Of ``model_metadata``.
    scores
        The scores that belong to the model, of ``score_table``.
    files
        Where the current model is; by the suffix the model is pickled (``.pkl``) or written in
        skops' format, that no code is run for when it is read (``.skops``).
    timestamp
        As it appears in the versions' names, such as ``20261123T070000Z``.
    current
        Whether it becomes the current model.

    Raises
    ------
    ModelError
        When skops isn't installed or can't keep the model.
    """
    import pyarrow.parquet as pq

    content = _serialized(model, files.model.suffix)
    kept = files.version(versions_dir, timestamp)
    # Scores of single persons are for their owner only.
    with atomic_write(kept.scores) as temporary:
        pq.write_table(scores, temporary)
    written = {
        **metadata,
        "file": files.model.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "scores_sha256": file_sha256(kept.scores),
    }
    mode = mode_by_umask()
    _write_bytes(kept.model, content, mode)
    write_json(kept.metadata, {**written, "file": kept.model.name}, mode=mode)
    if current:
        with atomic_write(files.scores) as temporary:
            shutil.copyfile(kept.scores, temporary)
        _write_bytes(files.model, content, mode)
        write_json(files.metadata, written, mode=mode)
    return written


def _write_bytes(path: Path, content: memoryview, mode: int) -> None:
    with atomic_write(path, mode=mode) as temporary, temporary.open("wb") as out:
        shutil.copyfileobj(io.BytesIO(content), out)


def _serialized(model: Any, suffix: str) -> memoryview:
    buffer = io.BytesIO()
    if suffix == SKOPS_SUFFIX:
        skops_io = _skops()
        try:
            skops_io.dump(model, buffer)
        except Exception as error:
            raise ModelError(
                _("skops cannot keep this model: {reason}").format(reason=error),
                where="model.format",
                fix=_('Set [model] format = "pkl".'),
            ) from error
        strange = set(skops_io.get_untrusted_types(data=buffer.getvalue())) - _TRUSTED
        if strange:
            raise ModelError(
                _("skops cannot keep this model: {reason}").format(
                    reason=_("types not known to be safe: {types}").format(
                        types=", ".join(sorted(strange))
                    )
                ),
                where="model.format",
                fix=_('Set [model] format = "pkl".'),
            )
    else:
        import joblib

        joblib.dump(model, buffer, compress=_COMPRESSION)
    return buffer.getbuffer()


def _deserialized(content: bytes, suffix: str) -> Any:
    if suffix == SKOPS_SUFFIX:
        # It refuses whatever type is neither its own nor among these.
        return _skops().loads(content, trusted=sorted(_TRUSTED))
    import joblib

    return joblib.load(io.BytesIO(content))


def _skops() -> Any:
    try:
        return importlib.import_module("skops.io")
    except ImportError as error:
        raise ModelError(
            _("Models in skops' format need skops, which is not installed."),
            where="model.format",
            fix=_('Install it (pip install "vigie[skops]"), or set [model] format = "pkl".'),
        ) from error


def load_model(model_path: Path, metadata_path: Path, *, mode: str) -> LoadedModel:
    """Return the model after its file's hash and its libraries' versions have been checked.

    Parameters
    ----------
    mode
        Named in the command that mends.

    Raises
    ------
    ModelError
        When a file is missing or broken, the hash differs, or a library's version does not fit.
    """
    metadata = read_metadata(metadata_path, mode=mode)
    try:
        content = model_path.read_bytes()
    except OSError as error:
        raise _missing(model_path, mode) from error
    if hashlib.sha256(content).hexdigest() != metadata["sha256"]:
        raise ModelError(
            _(
                "The model file is not the one that its metadata describe, so it was not opened: "
                "its sha256 differs. A run may have been cut off, or the file was changed."
            ),
            where=f"{model_path} / {metadata_path.name}",
            fix=_("Train again: {command}; or put back a pair from {folder}.").format(
                command=train_command(mode), folder=f"{model_path.parent.name}/versions"
            ),
        )
    notes = check_versions(metadata, where=str(metadata_path), mode=mode)
    with warnings.catch_warnings():
        # What scikit-learn warns of here has just been compared, and is told as a note.
        warnings.simplefilter("ignore")
        try:
            model = _deserialized(content, model_path.suffix)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                _("The model cannot be read: {reason}").format(reason=error),
                where=str(model_path),
                fix=_("Train again: {command}").format(command=train_command(mode)),
            ) from error
    return LoadedModel(model, metadata, notes)


def check_scores(metadata: Mapping[str, Any], scores_path: Path, *, mode: str) -> None:
    """Refuse scores that are not those of the model that the metadata describe.

    Raises
    ------
    ModelError
        When the digests differ: a training or a roll-back was cut off.
    """
    expected = metadata.get("scores_sha256")
    if expected is not None and file_sha256(scores_path) != expected:
        raise ModelError(
            _("The scores don't belong to the model: a run may have been cut off."),
            where=str(scores_path),
            fix=_("Train again: {command}").format(command=train_command(mode)),
        )


def read_metadata(metadata_path: Path, *, mode: str) -> dict[str, Any]:
    """Return the metadata; enough of them to check a model is there.

    Raises
    ------
    ModelError
        When the file is missing, is not JSON or lacks what the checks need.
    """
    try:
        metadata = json.loads(metadata_path.read_text("utf-8"))
    except OSError as error:
        raise _missing(metadata_path, mode) from error
    except ValueError as error:
        raise _broken(metadata_path, mode, str(error)) from error
    needed = {"version", "sha256", "features", "libraries", "cutoff_days"}
    lacking = needed - set(metadata) if isinstance(metadata, dict) else needed
    if lacking:
        raise _broken(
            metadata_path, mode, _("{keys} missing").format(keys=", ".join(sorted(lacking)))
        )
    found: dict[str, Any] = metadata
    return found


def _missing(path: Path, mode: str) -> ModelError:
    return ModelError(
        _("There is no trained model."),
        where=str(path),
        fix=_("Train one: {command}").format(command=train_command(mode)),
    )


def _broken(path: Path, mode: str, reason: str) -> ModelError:
    return ModelError(
        _("The model's metadata cannot be read: {reason}").format(reason=reason),
        where=str(path),
        fix=_("Train again: {command}").format(command=train_command(mode)),
    )
