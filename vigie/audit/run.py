"""The whole audit of a mode's last results."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from vigie.audit import results
from vigie.audit.clocks import check_clocks
from vigie.audit.point_in_time import check_point_in_time
from vigie.dataset.spec import parse_dataset, read_declaration
from vigie.errors import DataError
from vigie.i18n import _

if TYPE_CHECKING:
    from vigie.audit.result import Part
    from vigie.paths import ProjectPaths
    from vigie.settings import LoadedSettings


def audit_results(
    settings: LoadedSettings, paths: ProjectPaths
) -> tuple[list[Part], dict[str, Any]]:
    """Return the parts of the audit of a mode's last results, and the features' description.

    Raises
    ------
    DataError
        When there are no whole results.
    """
    import numpy as np
    import pyarrow.parquet as pq

    dataset = parse_dataset(*read_declaration(settings.get("dataset"), paths.project))
    try:
        matrix = np.load(paths.processed("features", ".npy"), allow_pickle=False)
        labels = np.load(paths.processed("labels", ".npy"), allow_pickle=False)
        keys = pq.read_table(paths.processed("keys", ".parquet"))
        metadata = json.loads(paths.processed("features_metadata", ".json").read_text("utf-8"))
        stored = pq.read_table(paths.model("out_of_fold", ".parquet"))
        metrics = json.loads(paths.report("metrics", ".json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            _("There is no whole run to audit."),
            where=str(error.filename),
            fix=_("Make one first: vigie run --mode {mode}").format(mode=paths.mode),
        ) from error
    described, threads = metadata["features"], settings.get("engine.threads") or os.cpu_count() or 1
    aucs = results.single_aucs(matrix, labels)
    auc = metrics["holdout"]["metrics"].get("roc_auc", {}).get("value")
    parts = [
        check_point_in_time(
            dataset,
            paths.clean,
            matrix,
            metadata,
            threads=threads,
            memory_limit=settings.get("engine.memory_limit"),
        ),
        check_clocks(dataset, paths.clean, described),
        results.check_shuffled_label(
            matrix,
            labels,
            np.asarray(keys["group_key"].to_pylist(), dtype=object).astype(str),
            seed=settings.get("seed"),
            threads=threads,
        ),
        results.check_single_features(aucs, described),
        results.check_groups(
            stored["group_key"].to_pylist(),
            stored["fold"].to_pylist(),
            stored["origin"].to_pylist(),
        ),
        results.check_direction(stored["score"].to_numpy(), stored["label"].to_numpy()),
        results.check_too_good(auc, dataset, metadata["cutoff_days"], aucs, described),
    ]
    return parts, metadata
