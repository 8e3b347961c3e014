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
import platform
import shutil
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

import vigie
from vigie.errors import ModelError
from vigie.i18n import _
from vigie.models.explain import topic_codes, topic_label
from vigie.models.kinds import short_name
from vigie.pipeline.artifacts import atomic_write, file_sha256, mode_by_umask, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from vigie.models.train import TrainingResult

FORMAT = 1
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
_NAMES_SHOWN = 10


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


def model_version(kind: str, fingerprint: str) -> str:
    """Return the version that a training fingerprint (hexadecimal) gives a model of a kind.

    It follows from the content, not the clock, so that a rerun writes the same predictions.
    """
    return f"{short_name(kind)}-{fingerprint[:12]}"


def model_metadata(
    result: TrainingResult,
    features: Sequence[Mapping[str, Any]],
    *,
    fingerprint: str,
    trained_at: str,
    mode: str,
    dataset: str,
    generated: bool,
    cutoff_days: int | None,
    kind: str,
    params: Mapping[str, Any],
    calibrate: str | None,
    seed: int,
    n_splits: int,
    row_count: int,
) -> dict[str, Any]:
    """Return what is to be known about a trained model, without the hash of its file.

    Parameters
    ----------
    features
        The entries of ``features_metadata_{mode}.json``: name, kind, label, categories.
    fingerprint
        Hexadecimal; what the training depended on.
    trained_at
        ISO 8601 with its zone.
    row_count
        All rows, those without an outcome included.
    """
    from vigie.models.evaluate import cross_validation_summary

    return {
        "format": FORMAT,
        "kind": kind,
        "calibrate": calibrate,
        "version": model_version(kind, fingerprint),
        "trained_at": trained_at,
        "training_fingerprint": fingerprint,
        "mode": mode,
        "dataset": dataset,
        "generated": generated,
        "cutoff_days": cutoff_days,
        "params": dict(params),
        "seed": seed,
        "counts": {"rows": row_count, "labelled": len(result.scores.rows)},
        "split": result.split.document(),
        "cross_validation": {
            "n_splits": n_splits,
            **cross_validation_summary(result.fold_documents()),
        },
        "training_roc_auc": result.training_roc_auc,
        "train_prevalence": result.train_prevalence,
        "fit_seconds": {name: round(value, 3) for name, value in result.fit_seconds.items()},
        "libraries": library_versions(),
        "features": [_schema_entry(feature) for feature in features],
        "importances": _importance_entries(result, features),
        "permutation_importance": _permutation_entries(result, features),
        "reference": result.reference,
    }


def _importance_entries(
    result: TrainingResult, features: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    if result.importances is None:
        return []
    spread = result.importances_std
    return [
        {
            "name": feature["name"],
            "mean": float(mean),
            "std": None if spread is None else float(spread[place]),
        }
        for place, (feature, mean) in enumerate(zip(features, result.importances, strict=True))
    ]


def _permutation_entries(
    result: TrainingResult, features: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return each topic with its loss of AUC, the mean and the extremes of the shuffles."""
    codes = topic_codes(features)
    first = {code: place for place, code in reversed(list(enumerate(codes.tolist())))}
    found = []
    for code, losses in enumerate(result.permutation):
        feature = features[first[code]]
        found.append(
            {
                "topic": topic_label(feature)["en"],
                "label": topic_label(feature),
                "features": [features[at]["name"] for at in np.flatnonzero(codes == code).tolist()],
                "value": float(losses.mean()),
                "low": float(losses.min()),
                "high": float(losses.max()),
            }
        )
    return sorted(found, key=lambda entry: -entry["value"])


def library_versions() -> dict[str, str]:
    """Return the versions that decide whether a model file can be read."""
    return {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "scikit-learn": version("scikit-learn"),
        "vigie": vigie.__version__,
    }


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
                command=_train_command(mode), folder=f"{model_path.parent.name}/versions"
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
                fix=_("Train again: {command}").format(command=_train_command(mode)),
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
            fix=_("Train again: {command}").format(command=_train_command(mode)),
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


def check_versions(metadata: Mapping[str, Any], *, where: str, mode: str) -> tuple[str, ...]:
    """Return notes on harmless differences between the libraries then and now.

    scikit-learn promises nothing for models of another release (its user guide, "Model
    persistence"); the tree's memory layout did change between minor ones. NumPy's arrays do not
    come back across a major one.

    Raises
    ------
    ModelError
        When scikit-learn differs in its major or minor version, or NumPy in its major one.
    """
    now, notes = library_versions(), []
    for library, parts in (("scikit-learn", 2), ("numpy", 1), ("python", 0)):
        then = str(metadata["libraries"].get(library, ""))
        if then == now[library]:
            continue
        if then.split(".")[:parts] != now[library].split(".")[:parts]:
            raise ModelError(
                _("The model was trained with {library} {then}; here it is {now}.").format(
                    library=library, then=then or "?", now=now[library]
                ),
                where=where,
                fix=_("Train again ({command}), or install {library}=={then}.").format(
                    command=_train_command(mode), library=library, then=then or "?"
                ),
            )
        notes.append(
            _("the model was trained with {library} {then}, here it is {now}").format(
                library=library, then=then or "?", now=now[library]
            )
        )
    return tuple(notes)


def check_schema(
    metadata: Mapping[str, Any],
    features: Sequence[Mapping[str, Any]],
    *,
    cutoff_days: int | None,
    dataset: str,
    mode: str,
) -> None:
    """Refuse features that are not those that the model was trained on, in their order.

    Parameters
    ----------
    features
        The entries of ``features_metadata_{mode}.json``.

    Raises
    ------
    ModelError
        With everything that differs, one line each.
    """
    differences = []
    if metadata.get("dataset", dataset) != dataset:
        differences.append(
            _("data set: the model knows {then}, these are {now}").format(
                then=metadata["dataset"], now=dataset
            )
        )
    if metadata["cutoff_days"] != cutoff_days:
        differences.append(
            _("cut-off: the model knows day {then}, the features day {now}").format(
                then=metadata["cutoff_days"], now=cutoff_days
            )
        )
    advice = _("Train again on these features: {command}")
    if not differences:
        # Outcomes in new files let windows and categories be learnt anew.
        advice = _(
            "Train again on these features: {command}. Or, where the rows are only to be scored, "
            "leave their outcomes empty: windows and categories are then those of the model."
        )
    differences += _schema_differences(metadata["features"], features)
    if differences:
        raise ModelError(
            _("The model does not fit the features:") + "".join(f"\n  {d}" for d in differences),
            where=_("model {version}").format(version=metadata["version"]),
            fix=advice.format(command=_train_command(mode)),
        )


def _schema_differences(
    trained: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]
) -> list[str]:
    then = {str(entry["name"]): _schema_entry(entry) for entry in trained}
    now = {str(entry["name"]): _schema_entry(entry) for entry in given}
    missing = [name for name in then if name not in now]
    new = [name for name in now if name not in then]
    lines = []
    if missing:
        lines.append(_("- missing: {names}").format(names=_listed(missing)))
    if new:
        lines.append(_("+ new: {names}").format(names=_listed(new)))
    for name in missing:
        near = get_close_matches(name, new, n=1, cutoff=0.8)
        if near:
            lines.append("  " + _("{name}: renamed to {now}?").format(name=name, now=near[0]))
    if not missing and not new and list(then) != list(now):
        place, (old, current) = next(
            (i, pair) for i, pair in enumerate(zip(then, now, strict=True)) if pair[0] != pair[1]
        )
        lines.append(
            _("other order: column {place} was {then}, is {now}").format(
                place=place + 1, then=old, now=current
            )
        )
    lines.extend(
        _("~ {name}: {part} was {then}, is {now}").format(
            name=name, part=part, then=then[name][part], now=now[name][part]
        )
        for name in then
        for part in ("kind", "categories")
        if name in now and then[name][part] != now[name][part]
    )
    return lines


def _schema_entry(feature: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": feature["name"],
        "kind": feature.get("kind"),
        "categories": list(feature.get("categories") or ()),
        "label": feature.get("label"),
    }


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    rest = len(names) - _NAMES_SHOWN
    return shown + (" " + _("and {count} more").format(count=rest) if rest > 0 else "")


def _train_command(mode: str) -> str:
    return f"vigie run --mode {mode} --steps train"


def _missing(path: Path, mode: str) -> ModelError:
    return ModelError(
        _("There is no trained model."),
        where=str(path),
        fix=_("Train one: {command}").format(command=_train_command(mode)),
    )


def _broken(path: Path, mode: str, reason: str) -> ModelError:
    return ModelError(
        _("The model's metadata cannot be read: {reason}").format(reason=reason),
        where=str(path),
        fix=_("Train again: {command}").format(command=_train_command(mode)),
    )
