"""Retention: what is old goes, once enough that is newer is whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

from vigie.history.model_versions import (
    METADATA_NAME,
    count_models,
    is_whole,
    list_models,
    position_of,
    read_json_object,
)
from vigie.paths import ProjectPaths
from vigie.pipeline.record import RUNNING, list_runs, read_record


def prune_runs(folder: Path, keep: int) -> list[str]:
    """Remove the oldest records beyond `keep`; return their ids.

    The newest is kept, and whatever still says that it is running.
    """
    removed = []
    for run_id in list_runs(folder)[: -max(1, keep)]:
        record = read_record(folder, run_id)
        if record is not None and record.get("status") == RUNNING:
            continue
        with contextlib.suppress(OSError):
            (folder / f"{run_id}.json").unlink()
            removed.append(run_id)
    return removed


def prune_models(paths: ProjectPaths, keep: int) -> list[str]:
    """Remove the oldest versions beyond `keep` of a mode's model; return their time stamps.

    The version of the model in use is kept however old it is.
    """
    if count_models(paths.model_versions, paths.mode) <= keep:
        return []
    models = list_models(paths.model_versions, paths.mode)
    current = position_of(models, read_json_object(paths.model(METADATA_NAME, ".json")))
    # Nothing is hashed where there is nothing to remove.
    if len(models) - (current is not None and current >= keep) <= keep:
        return []
    removed, whole = [], 0
    for index, model in enumerate(models):
        if whole < keep:
            # What a kill has cut off doesn't count, and isn't what older ones make way for.
            whole += is_whole(model)
        elif index != current:
            # The metadata first: without them it is no version any more.
            with contextlib.suppress(OSError):
                for path in (model.metadata_path, model.model_path, model.scores_path):
                    path.unlink(missing_ok=True)
                removed.append(model.stamp)
    return removed
