"""What is to be known about a trained model: the JSON beside its file."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

import vigie
from vigie.models.explain import topic_codes, topic_label
from vigie.models.kinds import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vigie.models.train import TrainingResult

FORMAT = 1


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
        "features": [schema_entry(feature) for feature in features],
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


def schema_entry(feature: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a feature what a model must find again."""
    return {
        "name": feature["name"],
        "kind": feature.get("kind"),
        "categories": list(feature.get("categories") or ()),
        "label": feature.get("label"),
    }
