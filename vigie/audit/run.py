"""The whole audit of a mode's last results."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from vigie.audit import results
from vigie.audit.clocks import check_clocks
from vigie.audit.point_in_time import check_point_in_time
from vigie.data.stored_tables import visible_tables
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.errors import DataError
from vigie.i18n import _
from vigie.pipeline.artifacts import write_json
from vigie.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vigie.audit.result import Part
    from vigie.paths import ProjectPaths
    from vigie.settings import LoadedSettings


def audit_results(
    settings: LoadedSettings, paths: ProjectPaths
) -> tuple[list[Part], dict[str, Any]]:
    """Return the parts of the audit of a mode's last results, and what was written of it.

    The report, ``audit_{mode}.json``, is remade where it is of other results.

    Raises
    ------
    DataError
        When there are no whole results.
    """
    import numpy as np
    import pyarrow.parquet as pq

    report = paths.report("audit", ".json")
    text, origin = read_declaration(settings.get("dataset"), paths.project)
    dataset = parse_dataset(text, origin)
    try:
        matrix = np.load(paths.processed("features", ".npy"), allow_pickle=False)
        labels = np.load(paths.processed("labels", ".npy"), allow_pickle=False)
        keys = pq.read_table(paths.processed("keys", ".parquet"))
        metadata = json.loads(paths.processed("features_metadata", ".json").read_text("utf-8"))
        stored = pq.read_table(paths.model("out_of_fold", ".parquet"))
        metrics = json.loads(paths.report("metrics", ".json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise _nothing_to_audit(paths, error) from error
    if not (labels >= 0).any():
        raise DataError(
            _("The last run's rows have no outcomes yet, so nothing can be audited."),
            where=str(paths.processed("labels", ".npy")),
            fix=_("Audit a run with outcomes: vigie run --mode {mode}").format(mode=paths.mode),
        )
    described, threads = metadata["features"], settings.get("engine.threads") or os.cpu_count() or 1
    aucs = results.single_aucs(matrix, labels)
    auc = metrics["holdout"]["metrics"].get("roc_auc", {}).get("value")
    clean = visible_tables(paths.clean)
    parts = [
        check_point_in_time(
            dataset,
            clean,
            matrix,
            metadata,
            threads=threads,
            memory_limit=settings.get("engine.memory_limit"),
        ),
        check_clocks(dataset, clean, described),
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
    failed = any(part.status == Verdict.FAIL for part in parts)
    keys_of = ("name", "source", "column", "clock", "aggregate")
    content = {
        "mode": paths.mode,
        "of": results_digest(paths, text),
        "status": str(Verdict.FAIL if failed else Verdict.PASS),
        "parts": [part.to_record() for part in parts],
        "features": [{key: feature[key] for key in keys_of} for feature in described],
    }
    write_json(report, content)
    return parts, content


def known_audit(
    settings: LoadedSettings, paths: ProjectPaths, *, before_auditing: Callable[[], None]
) -> dict[str, Any]:
    """Return the report of the audit of a mode's last results, audited now where it wasn't yet.

    Parameters
    ----------
    before_auditing
        Called where it wasn't yet: an audit needs libraries that take long to import.

    Raises
    ------
    DataError
        When there are no whole results.
    """
    text, _origin = read_declaration(settings.get("dataset"), paths.project)
    try:
        present = results_digest(paths, text)
    except FileNotFoundError as error:
        raise _nothing_to_audit(paths, error) from error
    try:
        content: dict[str, Any] = json.loads(paths.report("audit", ".json").read_text("utf-8"))
        if content["of"] == present:
            return content
    except (OSError, ValueError, KeyError, TypeError):
        pass
    before_auditing()
    return audit_results(settings, paths)[1]


def _nothing_to_audit(paths: ProjectPaths, error: FileNotFoundError) -> DataError:
    return DataError(
        _("There is no whole run to audit."),
        where=str(error.filename),
        fix=_("Make one first: vigie run --mode {mode}").format(mode=paths.mode),
    )


def audited_files(paths: ProjectPaths) -> tuple[Path, ...]:
    """Return the results that an audit looks at."""
    return (
        paths.processed("features", ".npy"),
        paths.processed("labels", ".npy"),
        paths.processed("keys", ".parquet"),
        paths.model("out_of_fold", ".parquet"),
        paths.report("metrics", ".json"),
    )


def results_digest(paths: ProjectPaths, declaration: str) -> str:
    """Return a digest of everything that an audit looks at."""
    digest = hashlib.sha256(declaration.encode())
    for path in audited_files(paths):
        with path.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
