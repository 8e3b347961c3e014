"""Runs and models that never were, in files as vigie keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.pipeline.test_ledger import make_fingerprint, make_outcome
from vigie.models.metadata import library_versions
from vigie.paths import ProjectPaths
from vigie.pipeline.artifacts import write_json
from vigie.pipeline.ledger import Ledger, Outcome, Status
from vigie.pipeline.planner import Run, Skip
from vigie.pipeline.reasons import NeverRan, UpToDate
from vigie.pipeline.record import GitState, RunRecord

SETTINGS = {"cutoff_days": ["180", "default"], "seed": ["42", "default"]}
FEATURES = [{"name": "clicks", "kind": "number", "categories": [], "label": None}]


def keep_run(
    state: Path,
    run_id: str,
    *,
    mode: str = "dev",
    outcomes: tuple[Outcome, ...] = (),
    skipped: Mapping[str, Outcome] | None = None,
    warnings: tuple[str, ...] = (),
    status: Status | None = Status.SUCCESS,
    **more: Any,
) -> RunRecord:
    """Record a run whose outcomes are in the ledger as well; `status` None never ends it."""
    values: dict[str, Any] = {
        "command": "vigie run",
        "settings": SETTINGS,
        "libraries": {"numpy": "2.0", "vigie": "0.1.0"},
        "git": GitState("a" * 40, dirty=False),
    }
    record = RunRecord.start(state / "runs", mode=mode, run_id=run_id, **values | more)
    ledger, _note = Ledger.open(state / f"ledger_{mode}.jsonl")
    for name, earlier in (skipped or {}).items():
        record.step_decided(Skip(name, (UpToDate(earlier.finished),)))
    for outcome in outcomes:
        record.step_decided(Run(outcome.step, (NeverRan(),)))
        record.step_ended(outcome, list(warnings))
        ledger.append(outcome)
    if status is not None:
        record.end(status)
    return record


def trained(version: str, at: str, **more: Any) -> Outcome:
    return make_outcome("train", finished=at, facts={"version": version}, **more)


def evaluated(auc: float, at: str, **more: Any) -> Outcome:
    return make_outcome(
        "evaluate", finished=at, facts={"metrics": {"roc_auc": auc, "f1": None}}, **more
    )


def keep_model(
    paths: ProjectPaths, stamp: str, *, cutoff_days: int = 180, version: str | None = None
) -> dict[str, Any]:
    """Write a version, make it the current one, and return its metadata."""
    content, scores = f"model {stamp}".encode(), f"scores {stamp}".encode()
    metadata = {
        "version": version or f"rf-{hashlib.sha256(content).hexdigest()[:12]}",
        "trained_at": f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T10:00:00+00:00",
        "cutoff_days": cutoff_days,
        "dataset": "oulad",
        "features": FEATURES,
        "libraries": library_versions(),
        "cross_validation": {"mean": {"roc_auc": 0.8}},
        "counts": {"rows": 1234},
        "file": "",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "scores_sha256": hashlib.sha256(scores).hexdigest(),
    }
    for folder, suffix in ((paths.model_versions, f"_{stamp}"), (paths.project / "models", "")):
        folder.mkdir(parents=True, exist_ok=True)
        name = f"random_forest_{paths.mode}{suffix}.pkl"
        (folder / name).write_bytes(content)
        (folder / f"out_of_fold_{paths.mode}{suffix}.parquet").write_bytes(scores)
        described = folder / f"model_metadata_{paths.mode}{suffix}.json"
        write_json(described, {**metadata, "file": name}, mode=0o644)
    return metadata


def keep_features(paths: ProjectPaths, content: str, *, cutoff_days: int = 180) -> None:
    """Write what the features step makes."""
    folder = paths.project / "data" / "processed"
    folder.mkdir(parents=True, exist_ok=True)
    for name, suffix in (("features", ".npy"), ("labels", ".npy"), ("keys", ".parquet")):
        paths.processed(name, suffix).write_text(f"{name} {content}")
    described = {"features": FEATURES, "cutoff_days": cutoff_days, "dataset": "oulad"}
    paths.processed("features_metadata", ".json").write_text(json.dumps(described))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def output_states(paths: ProjectPaths) -> dict[str, str]:
    return {
        "model": digest(paths.model("random_forest", ".pkl")),
        "model_metadata": digest(paths.model("model_metadata", ".json")),
        "scores": digest(paths.model("out_of_fold", ".parquet")),
    }


def input_states(paths: ProjectPaths) -> dict[str, str]:
    return {
        "features": digest(paths.processed("features", ".npy")),
        "labels": digest(paths.processed("labels", ".npy")),
        "keys": digest(paths.processed("keys", ".parquet")),
        "features_metadata": digest(paths.processed("features_metadata", ".json")),
    }


def record_training(paths: ProjectPaths, **fingerprint: Any) -> Outcome:
    """Append the success of train that made the current files of the current features."""
    ledger, _note = Ledger.open(paths.ledger)
    outcome = make_outcome(
        fingerprint=make_fingerprint(**{"inputs": input_states(paths), **fingerprint}),
        outputs=output_states(paths),
    )
    ledger.append(outcome)
    return outcome
