"""What the steps of a mode read and make: where each thing is, and how it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vigie.i18n import _
from vigie.paths import model_name
from vigie.pipeline.artifacts import FileArtifact, FolderArtifact, remove_leftovers
from vigie.pipeline.step import OnDisk

if TYPE_CHECKING:
    from vigie.paths import ProjectPaths
    from vigie.pipeline.artifacts import HashCache
    from vigie.pipeline.resources import Resources
    from vigie.pipeline.step import Artifact
    from vigie.settings import LoadedSettings


def make_artifacts(
    settings: LoadedSettings,
    paths: ProjectPaths,
    raw: Artifact,
    hashes: HashCache,
    resources: Resources,
) -> dict[str, Artifact]:
    """Return all that the steps of a mode read and make, by name."""
    from vigie.data.stored_tables import StoredTables
    from vigie.data.tables_artifact import database_artifacts
    from vigie.models.published import PublishedArtifact

    project = paths.project
    tables = {"extracted": paths.extracted, "clean": paths.clean}
    files = {
        "features": paths.processed("features", ".npy"),
        "labels": paths.processed("labels", ".npy"),
        "keys": paths.processed("keys", ".parquet"),
        "features_metadata": paths.processed("features_metadata", ".json"),
        "model": paths.model(
            model_name(settings.get("model.kind")),
            f".{settings.get('model.format')}",
        ),
        "model_metadata": paths.model("model_metadata", ".json"),
        "scores": paths.model("out_of_fold", ".parquet"),
        "metrics": paths.report("metrics", ".json"),
        "model_card": paths.model("model_card", ".md"),
        "predictions": paths.report("predictions", ".csv"),
        "predictions_metadata": paths.report("predictions", "_metadata.json"),
        "drift": paths.report("drift", ".json"),
    }
    made: list[Artifact] = [raw]
    made += [
        StoredTables(n, path, project, hashes, resources.spark_if_engine)
        for n, path in tables.items()
    ]
    made.append(FolderArtifact("figures", paths.figures, project, hashes=hashes))
    made += [FileArtifact(n, path, project, hashes=hashes) for n, path in files.items()]
    made += [
        *database_artifacts(settings, paths, resources.address),
        PublishedArtifact("published", paths.published, files["keys"], files["features_metadata"]),
    ]
    return {artifact.name: artifact for artifact in made}


def files_made(
    paths: ProjectPaths, artifacts: Mapping[str, Artifact], steps: Sequence[str]
) -> list[tuple[str, str]]:
    """Return what a person looks for of what the steps make: what it is, and where."""
    shown = {
        "features": [(_("Features"), "features")],
        "train": [(_("Model"), "model")],
        "evaluate": [(_("Metrics"), "metrics"), (_("Evaluation"), "figures")],
        "predict": [(_("Predictions"), "predictions")],
    }
    files = [
        (label, artifacts[name].describe()) for step in steps for label, name in shown.get(step, [])
    ]
    report = paths.report("report", ".html")
    if report.is_file():
        files.append((_("Report"), report.relative_to(paths.project).as_posix()))
    return files


def clear_away(artifacts: Mapping[str, Artifact]) -> None:
    """Remove what killed runs left beside results, also of steps that have nothing to do now."""
    for folder in {one.path.parent for one in artifacts.values() if isinstance(one, OnDisk)}:
        remove_leftovers(folder)
