"""The model file and what belongs to it; nothing of it is unpickled before its hash holds.

Unpickling runs code. So the metadata (JSON) carry the sha256 of the ``.pkl``, and the bytes that
are hashed are the bytes that are loaded. A kill between the two renames leaves a pair that does
not fit together: the hash tells, and training again mends it.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import vigie
from vigie.errors import ModelError
from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_write, file_sha256, mode_by_umask, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vigie.models.train import TrainingResult

FORMAT = 1
# 12 MB instead of 54 for 200 full-grown trees on 23,000 rows, for 0.5 s of writing; zlib's higher
# levels and xz take longer and save little.
_COMPRESSION = ("zlib", 1)
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


def model_version(fingerprint: str) -> str:
    """Return the version that a training fingerprint (hexadecimal) gives a model.

    It follows from the content, not the clock, so that a rerun writes the same predictions.
    """
    return f"rf-{fingerprint[:12]}"


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
    params: Mapping[str, Any],
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
        "kind": "random_forest",
        "version": model_version(fingerprint),
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
    }


def _importance_entries(
    result: TrainingResult, features: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    bars = zip(features, result.importances, result.importances_std, strict=True)
    return [
        {"name": feature["name"], "mean": float(mean), "std": float(std)}
        for feature, mean, std in bars
    ]


def library_versions() -> dict[str, str]:
    """Return the versions that decide whether a model file can be read."""
    return {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "scikit-learn": version("scikit-learn"),
        "vigie": vigie.__version__,
    }


def save_model(
    model: Any,
    metadata: Mapping[str, Any],
    pkl_path: Path,
    metadata_path: Path,
    scores_path: Path,
    versions_dir: Path,
    timestamp: str,
) -> dict[str, Any]:
    """Write the pair and a time-stamped copy of it; return the metadata as written.

    The copy comes first: whatever model is current can be found again under its time. In each
    pair the metadata come last: where they are, the rest is.

    Parameters
    ----------
    scores_path
        The scores that belong to the model, already written; a copy is kept with the model's.
    timestamp
        As it appears in the copies' names, such as ``20261123T070000Z``.
    """
    import joblib

    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=_COMPRESSION)
    content = buffer.getbuffer()
    written = {
        **metadata,
        "file": pkl_path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "scores_sha256": file_sha256(scores_path),
    }
    mode = mode_by_umask()
    kept_scores = versions_dir / f"{scores_path.stem}_{timestamp}{scores_path.suffix}"
    # Scores of single persons are for their owner only, as the original is.
    with atomic_write(kept_scores) as temporary:
        shutil.copyfile(scores_path, temporary)
    for pkl, described in (
        (
            versions_dir / f"{pkl_path.stem}_{timestamp}{pkl_path.suffix}",
            versions_dir / f"{metadata_path.stem}_{timestamp}{metadata_path.suffix}",
        ),
        (pkl_path, metadata_path),
    ):
        with atomic_write(pkl, mode=mode) as temporary, temporary.open("wb") as out:
            shutil.copyfileobj(io.BytesIO(content), out)
        write_json(described, {**written, "file": pkl.name}, mode=mode)
    return written


def load_model(pkl_path: Path, metadata_path: Path, *, mode: str) -> LoadedModel:
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
    import joblib

    metadata = read_metadata(metadata_path, mode=mode)
    try:
        content = pkl_path.read_bytes()
    except OSError as error:
        raise _missing(pkl_path, mode) from error
    if hashlib.sha256(content).hexdigest() != metadata["sha256"]:
        raise ModelError(
            _(
                "The model file is not the one that its metadata describe, so it was not opened: "
                "its sha256 differs. A run may have been cut off, or the file was changed."
            ),
            where=f"{pkl_path} / {metadata_path.name}",
            fix=_("Train again: {command}; or put back a pair from {folder}.").format(
                command=_train_command(mode), folder=f"{pkl_path.parent.name}/versions"
            ),
        )
    notes = check_versions(metadata, where=str(metadata_path), mode=mode)
    with warnings.catch_warnings():
        # What scikit-learn warns of here has just been compared, and is told as a note.
        warnings.simplefilter("ignore")
        try:
            model = joblib.load(io.BytesIO(content))
        except Exception as error:
            raise ModelError(
                _("The model cannot be read: {reason}").format(reason=error),
                where=str(pkl_path),
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
    differences += _schema_differences(metadata["features"], features)
    if differences:
        raise ModelError(
            _("The model does not fit the features:") + "".join(f"\n  {d}" for d in differences),
            where=_("model {version}").format(version=metadata["version"]),
            fix=_("Train again on these features: {command}").format(command=_train_command(mode)),
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
