"""Drift: how the rows that are scored differ from those that the model learnt from.

For each feature, and for the scores, the population stability index (PSI) compares the shares of
the reference's bins then and now. Under no drift it is about chi-squared, (1/n + 1/m) times a
variable of bins - 1 degrees of freedom (Yurdakul 2018, "Statistical properties of the PSI"): what
chance does with so few rows is no drift. Over all features together a classifier tries to tell the
two apart (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from vigie.models.explain import topic_label
from vigie.models.warnings_kept import warnings_kept

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float32]

BINS = 10
# So many rows of what was learnt from are kept with the model, for the two-sample test.
SAMPLE_ROWS = 2000
# Where it stands beside the scores.
SAMPLE_COLUMN = "features"
# Fewer rows than this are compared with nothing.
MIN_ROWS = 30
# How rarely chance alone makes any of the features look as if it had drifted.
FALSE_ALARM = 0.01
# Standard errors above .5 from which on an AUC of the two-sample test is no chance.
_ERRORS = 4.0
# Of each forest that tells then from now, and the rows that a tree is grown from: twice as many
# trees find .01 more AUC in twice the time, twice the rows .005 to .01.
_TREES, _TREE_ROWS = 30, 700
_DIGITS = 6
_TOLD = 5


def make_reference(
    X: Matrix,  # noqa: N803
    scores: FloatArray,
    names: Sequence[str],
) -> dict[str, Any]:
    """Return what later rows are compared with, as plain values: bounds of bins and shares.

    Parameters
    ----------
    X
        The rows that were learnt from.
    scores
        What models that hadn't seen them said of them.
    """
    return {
        "rows": len(X),
        "features": [
            {"name": name, **_distribution(X[:, place].astype(np.float64))}
            for place, name in enumerate(names)
        ],
        "scores": _distribution(np.asarray(scores, dtype=np.float64)),
    }


def sample_rows(rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Return which of so many rows are kept, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:SAMPLE_ROWS])


def drift_document(
    reference: Mapping[str, Any],
    sample: Matrix,
    X: Matrix,  # noqa: N803
    scores: FloatArray,
    features: Sequence[Mapping[str, Any]],
    *,
    psi: float,
    two_sample_auc: float,
    seed: int,
    threads: int = 1,
) -> dict[str, Any]:
    """Compare rows with the reference.

    Parameters
    ----------
    reference
        Of ``make_reference``.
    sample
        Some of the rows that it was made of.
    X, scores
        The rows to compare and what the model says of them.
    features
        Their descriptions, in the order of the columns.
    psi, two_sample_auc
        From where on a difference counts as drift, unless chance explains it.

    Returns
    -------
    ``rows``, ``reference_rows``, ``drifted`` (names), ``features`` (each with ``psi``, ``limit``,
    ``drifted``, ``missing``, ``mean`` and the same of the reference), ``categories`` (the share of
    rows with none of a feature's known categories), ``scores``, ``two_sample``.
    """
    count = len(features)
    compared = [
        {
            "name": feature["name"],
            "label": dict(feature.get("label") or {"en": feature["name"]}),
            "topic": topic_label(feature),
            **_compared(then, X[:, place].astype(np.float64), reference["rows"], psi, count),
        }
        for place, (feature, then) in enumerate(zip(features, reference["features"], strict=True))
    ]
    compared.sort(key=lambda entry: (not entry["drifted"], -entry["psi"]))
    return {
        "rows": len(X),
        "reference_rows": reference["rows"],
        "thresholds": {"psi": psi, "two_sample_auc": two_sample_auc},
        "drifted": [entry["name"] for entry in compared if entry["drifted"]],
        "scores": _compared(reference["scores"], scores, reference["rows"], psi, 1),
        "two_sample": _two_sample(
            sample, X, features, limit=two_sample_auc, seed=seed, threads=threads
        ),
        "categories": _categories(reference, X, features),
        "features": compared,
    }


def _distribution(values: FloatArray) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    edges = _edges(known)
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return {
        "edges": [float(edge) for edge in edges],
        "counts": counts.tolist(),
        "missing": len(values) - len(known),
        "mean": round(float(known.mean()), _DIGITS) if len(known) else None,
    }


def _edges(known: FloatArray) -> FloatArray:
    """Return the inner bounds of the bins: between the values where they are few, else deciles."""
    if not len(known):
        return np.empty(0)
    values = np.unique(known)
    if len(values) == 1:
        # Anything else than the one value that there was is in a bin of its own.
        return np.array([values[0], np.nextafter(values[0], np.inf)])
    if len(values) <= BINS:
        middles: FloatArray = (values[:-1] + values[1:]) / 2
        return middles
    return np.unique(np.quantile(known, np.arange(1, BINS) / BINS))


def _compared(
    then: Mapping[str, Any], values: FloatArray, reference_rows: int, limit: float, count: int
) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    edges = np.asarray(then["edges"], dtype=np.float64)
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    before = np.array([*then["counts"], then["missing"]], dtype=np.float64)
    now = np.array([*counts, len(values) - len(known)], dtype=np.float64)
    used = (before + now) > 0
    found = psi_of(before[used], now[used])
    # As likely for all features together as for one: Bonferroni.
    chance = _chi_squared(1 - FALSE_ALARM / count, max(1, int(used.sum()) - 1))
    noise = chance * (1 / max(1, len(values)) + 1 / max(1, reference_rows))
    bound = max(limit, noise)
    return {
        "psi": round(found, _DIGITS),
        "limit": round(bound, _DIGITS),
        "drifted": bool(found > bound),
        "missing": round((len(values) - len(known)) / max(1, len(values)), _DIGITS),
        "reference_missing": round(then["missing"] / max(1, reference_rows), _DIGITS),
        "mean": round(float(known.mean()), _DIGITS) if len(known) else None,
        "reference_mean": then["mean"],
    }


def _chi_squared(probability: float, freedom: int) -> float:
    """Return the quantile of chi-squared, to a percent or so (Wilson & Hilferty 1931)."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + NormalDist().inv_cdf(probability) * part**0.5) ** 3)


def psi_of(before: FloatArray, now: FloatArray) -> float:
    """Return the population stability index of two sets of counts over the same bins.

    Half a row is added to each bin, so that an empty one makes no infinity.
    """
    p, q = before + 0.5, now + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def _two_sample(
    sample: Matrix,
    X: Matrix,  # noqa: N803
    features: Sequence[Mapping[str, Any]],
    *,
    limit: float,
    seed: int,
    threads: int,
) -> dict[str, Any] | None:
    """Return how well then and now can be told apart, and by what; None for too few rows."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    sample, now = sample[sample_rows(len(sample), seed)], X[sample_rows(len(X), seed)]
    if min(len(sample), len(now)) < MIN_ROWS:
        return None
    both = np.concatenate([sample, now])
    is_now = np.r_[np.zeros(len(sample)), np.ones(len(now))].astype(int)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed).split(both, is_now)
    aucs, weights = [], np.zeros(both.shape[1])
    for train, test in folds:
        forest = RandomForestClassifier(
            _TREES,
            min_samples_leaf=5,
            max_samples=min(0.5, _TREE_ROWS / len(train)),
            random_state=seed,
            n_jobs=threads,
        )
        with warnings_kept():
            forest.fit(both[train], is_now[train])
        forest.n_jobs = 1
        aucs.append(roc_auc_score(is_now[test], forest.predict_proba(both[test])[:, 1]))
        weights += forest.feature_importances_
    found = float(np.mean(aucs))
    # Of the Mann-Whitney statistic without any difference.
    error = float(np.sqrt((len(sample) + len(now) + 1) / (12 * len(sample) * len(now))))
    bound = max(limit, 0.5 + _ERRORS * error)
    order = np.argsort(-weights, kind="stable")[:_TOLD]
    return {
        "roc_auc": round(found, _DIGITS),
        "limit": round(bound, _DIGITS),
        "drifted": bool(found > bound),
        "told_apart_by": [features[place]["name"] for place in order],
    }


def _categories(
    reference: Mapping[str, Any],
    X: Matrix,  # noqa: N803
    features: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return for each feature of categories how many rows have none of those that are known.

    Rows without a value are among them: what can't be told apart isn't.
    """
    groups: dict[str, list[int]] = {}
    found = []
    for place, feature in enumerate(features):
        if feature.get("kind") == "ordinal" and feature.get("column"):
            # One column for all categories: a value that is none of them is missing in it.
            then = reference["features"][place]["missing"] / max(1, reference["rows"])
            found.append(
                {
                    "column": feature["column"],
                    "label": topic_label(feature),
                    "unknown": round(float(np.isnan(X[:, place]).mean()), _DIGITS),
                    "reference_unknown": round(then, _DIGITS),
                }
            )
        if feature.get("kind") == "category" and feature.get("column"):
            groups.setdefault(str(feature["column"]), []).append(place)
    for column, places in groups.items():
        # Whole only where each row of the reference is in one of the columns at most.
        known = sum(_ones(reference["features"][place]) for place in places)
        unknown_before = max(0.0, 1 - known / max(1, reference["rows"]))
        found.append(
            {
                "column": column,
                "label": topic_label(features[places[0]]),
                "unknown": round(float((X[:, places].max(axis=1) == 0).mean()), _DIGITS),
                "reference_unknown": round(unknown_before, _DIGITS),
            }
        )
    return found


def _ones(distribution: Mapping[str, Any]) -> float:
    """Return how many rows had a 1, of a column of 0 and 1."""
    rows: int = sum(distribution["counts"])
    return float(distribution["mean"] or 0.0) * rows
