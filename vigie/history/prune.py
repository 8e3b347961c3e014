"""Retention: what is old goes, once enough that is newer is whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

from vigie.history.model_versions import is_whole, list_models
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


def prune_models(versions: Path, mode: str, keep: int, current: str | None) -> list[str]:
    """Remove the oldest versions beyond `keep` of a mode's model; return their time stamps.

    Parameters
    ----------
    versions
        The folder of all versions.
    current
        The sha256 of the model in use, whose version is kept however old it is.
    """
    models = list_models(versions, mode)
    if len(models) <= keep:
        return []
    removed, whole = [], 0
    for model in models:
        if whole < keep:
            # What a kill has cut off doesn't count, and isn't what older ones make way for.
            whole += is_whole(model)
        elif model.sha256 != current:
            # The metadata first: without them it is no version any more.
            with contextlib.suppress(OSError):
                for path in (model.metadata_path, model.model_path, model.scores_path):
                    path.unlink(missing_ok=True)
                removed.append(model.stamp)
    return removed
