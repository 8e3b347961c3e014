"""The models that were made, as the training has kept them in ``models/versions``.

A version is three files of one time stamp: the model, its metadata and the scores that go with
it. The metadata are written last, so a version without them was cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from vigie.errors import ModelError, UsageError
from vigie.i18n import _
from vigie.names import with_nearest
from vigie.paths import ProjectPaths
from vigie.pipeline.artifacts import file_sha256, json_text
from vigie.pipeline.ledger import Ledger, Status

METADATA_NAME, SCORES_NAME = "model_metadata", "out_of_fold"
MODEL_SUFFIXES = (".pkl", ".skops")
_DEFAULT_KIND = "random_forest"
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_NAMES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A kept model.

    Parameters
    ----------
    stamp
        When it was kept, as in its files' names.
    metadata
        As kept; empty where they are missing or broken.
    """

    stamp: str
    model_path: Path
    metadata_path: Path
    scores_path: Path
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def version(self) -> str:
        """What the training's fingerprint calls it: ``rf-`` and twelve digits."""
        return str(self.metadata.get("version", ""))

    @property
    def kind(self) -> str:
        """What kind of model it is, as in the settings."""
        return str(self.metadata.get("kind", _DEFAULT_KIND))

    @property
    def file_name(self) -> str:
        """What its model file is called when it is the current one."""
        return f"{self.model_path.stem.removesuffix('_' + self.stamp)}{self.model_path.suffix}"

    @property
    def taken(self) -> bool:
        """Whether it became the current model when it was made."""
        return bool((self.metadata.get("challenge") or {}).get("taken", True))

    @property
    def sha256(self) -> str:
        """The digest that the model file must have."""
        return str(self.metadata.get("sha256", ""))


def list_models(versions: Path, mode: str) -> list[ModelVersion]:
    """Return every version of a mode's model, newest first, broken ones included."""
    paths = _files(versions, mode)
    return [_version(versions, mode, stamp, paths[stamp]) for stamp in sorted(paths, reverse=True)]


def count_models(versions: Path, mode: str) -> int:
    """Return how many ``list_models`` would, without reading any."""
    return len(_files(versions, mode))


def _files(versions: Path, mode: str) -> dict[str, list[Path]]:
    """Return the files of a mode's versions by their time stamps."""
    paths: dict[str, list[Path]] = {}
    for path in versions.glob(f"*_{mode}_*"):
        stamp = path.stem.rpartition("_")[2]
        if _STAMP.fullmatch(stamp) and path.stem.endswith(f"_{mode}_{stamp}"):
            paths.setdefault(stamp, []).append(path)
    return paths


def _version(versions: Path, mode: str, stamp: str, paths: Sequence[Path]) -> ModelVersion:
    metadata_path = versions / f"{METADATA_NAME}_{mode}_{stamp}.json"
    metadata = read_json_object(metadata_path)
    there = [path.name for path in paths if path.suffix in MODEL_SUFFIXES]
    # The name alone: whatever it says, the file is in this folder.
    named = Path(str(metadata.get("file") or "")).name
    name = named or next(iter(there), f"{_DEFAULT_KIND}_{mode}_{stamp}.pkl")
    return ModelVersion(
        stamp,
        versions / name,
        metadata_path,
        versions / f"{SCORES_NAME}_{mode}_{stamp}.parquet",
        metadata,
    )


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One line of ``vigie models``.

    Parameters
    ----------
    kind
        What kind of model it is.
    cv_auc, holdout_auc
        Mean of the folds; of the hold-out where the model was ever evaluated.
    dataset
        What it learnt from.
    turned_down
        Whether it did not become the current model because that was better.
    problem
        What is missing for it to be rolled back to, or None.
    """

    version: str
    stamp: str
    kind: str
    dataset: str | None
    trained_at: str | None
    cv_auc: float | None
    holdout_auc: float | None
    cutoff_days: int | None
    rows: int | None
    size_bytes: int | None
    current: bool
    turned_down: bool
    problem: str | None

    def to_record(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def summarize_models(paths: ProjectPaths) -> list[ModelSummary]:
    """Return a line for each version of a mode's model, newest first."""
    models = list_models(paths.model_versions, paths.mode)
    current = position_of(models, read_json_object(paths.model(METADATA_NAME, ".json")))
    metrics = _metrics_by_model(paths)
    return [
        _summary(model, metrics.get(_digest(model), {}), current=index == current)
        for index, model in enumerate(models)
    ]


def _summary(model: ModelVersion, metrics: Mapping[str, Any], *, current: bool) -> ModelSummary:
    metadata = model.metadata
    return ModelSummary(
        version=model.version,
        stamp=model.stamp,
        kind=model.kind,
        dataset=metadata.get("dataset"),
        trained_at=metadata.get("trained_at"),
        cv_auc=metadata.get("cross_validation", {}).get("mean", {}).get("roc_auc"),
        holdout_auc=metrics.get("roc_auc"),
        cutoff_days=metadata.get("cutoff_days"),
        rows=metadata.get("counts", {}).get("rows"),
        size_bytes=metadata.get("size_bytes"),
        current=current,
        turned_down=not model.taken,
        problem=broken_part(model),
    )


def _metrics_by_model(paths: ProjectPaths) -> dict[str, Mapping[str, Any]]:
    """Return the hold-out's latest metrics, by the digest of the metadata that were evaluated."""
    ledger, _truncated = Ledger.open(paths.ledger, repair=False)
    return {
        str(outcome.fingerprint.inputs.get("model_metadata")): outcome.facts["metrics"]
        for outcome in ledger.outcomes()
        if outcome.status == Status.SUCCESS and outcome.facts.get("metrics")
    }


def metadata_as_current(model: ModelVersion) -> str:
    """Return the text of a version's metadata for when it is the current model.

    Byte for byte what the training wrote beside the original: it is found in the ledger so.
    """
    return json_text({**model.metadata, "file": model.file_name})


def _digest(model: ModelVersion) -> str:
    return sha256(metadata_as_current(model).encode()).hexdigest()


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one where there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def broken_part(model: ModelVersion) -> str | None:
    """Return the name of the first file that is missing or not as the metadata say, or None."""
    if not model.sha256:
        return model.metadata_path.name
    for path, expected in (
        (model.model_path, model.sha256),
        (model.scores_path, model.metadata.get("scores_sha256")),
    ):
        try:
            if file_sha256(path) != expected:
                return path.name
        except OSError:
            return path.name
    return None


def is_whole(model: ModelVersion) -> bool:
    """Return whether all files of the version are what the metadata say."""
    return broken_part(model) is None


def position_of(models: Sequence[ModelVersion], current: Mapping[str, Any]) -> int | None:
    """Return which of `models` is the one that `current` (metadata) describes."""
    for index, model in enumerate(models):
        # The same training again may give the same bytes: only the time tells them apart.
        if model.metadata and all(
            model.metadata.get(key) == current.get(key) for key in ("sha256", "trained_at")
        ):
            return index
    return None


def choose_model(
    models: Sequence[ModelVersion], wanted: str | None, current: Mapping[str, Any], *, where: Path
) -> ModelVersion:
    """Return the version that a person means.

    Parameters
    ----------
    models
        Newest first.
    wanted
        A model's version, a time stamp, or a beginning of either; None means the latest one
        before the current that is another model.
    current
        Metadata of the current model; empty where there is none.

    Raises
    ------
    UsageError
        None is meant, or several.
    ModelError
        There is no earlier one.
    """
    usable = [model for model in models if model.metadata]
    if wanted is None:
        return _earlier(usable, current, where)
    exact = [model for model in usable if wanted in (model.version, model.stamp)]
    found = exact or [
        model
        for model in usable
        if wanted and (model.version.startswith(wanted) or model.stamp.startswith(wanted))
    ]
    if len({model.version for model in found}) == 1:
        # The same model, trained again: the newest copy stands for all.
        return found[0]
    names = ", ".join(f"{one.version} ({one.stamp})" for one in (found or usable)[:_NAMES_SHOWN])
    if found:
        raise UsageError(
            _("{count} models begin with {wanted!r}.").format(count=len(found), wanted=wanted),
            where=str(where),
            fix=_("Name one of them: {names}").format(names=names),
        )
    there = _("There are: {names}").format(names=names or "–")
    called = [name for one in usable for name in (one.version, one.stamp)]
    raise UsageError(
        _("There is no model {wanted!r}.").format(wanted=wanted),
        where=str(where),
        fix=with_nearest(there, wanted, called),
    )


def _earlier(
    models: Sequence[ModelVersion], current: Mapping[str, Any], where: Path
) -> ModelVersion:
    position = position_of(models, current)
    # Without a copy of its own, the current model counts as newer than all.
    older = models if position is None else models[position + 1 :]
    for model in older:
        same_name = model.file_name == current.get("file", model.file_name)
        # One that was turned down was never the model before.
        if model.version != current.get("version") and model.taken and same_name:
            return model
    if not current and not models:
        raise ModelError(
            _("No model has been made yet."),
            where=str(where),
            fix=_("Make one: {command}").format(command="vigie run"),
        )
    raise ModelError(
        _("There is no model before the current one ({version}).").format(
            version=current.get("version", "–")
        ),
        where=str(where),
        fix=_("See which models there are: {command}").format(command="vigie models"),
    )
