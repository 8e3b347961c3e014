"""What a report is made of, without a run: scores drawn at random, and names that mean mischief."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from vigie.models.evaluate import evaluate, metrics_document
from vigie.models.subgroups import by_subgroup
from vigie.report.listing import Listing, make_listing
from vigie.report.sources import Sources, Wording

MISCHIEF = (
    "<script>document.title='caught'</script>",
    "</script><img src=x onerror=\"document.title='caught'\">",
    "a\u2028b \u2029 & \"c\" 'd'",
    "=HYPERLINK(1)",
    "<!--<script>",
)
SPLIT = {
    "kind": "latest",
    "holdout_periods": ["2014"],
    "train_rows": 250,
    "holdout_rows": 400,
    "left_out_rows": 7,
}


def wording(language: str = "en") -> Wording:
    things = {"en": "students", "fr": "étudiants"}[language]
    left_out = {"gone": {"en": "gone already", "fr": "déjà partis"}[language]}
    return Wording(language, "Tiny school", "Nobody's data", "student", things, left_out)


def predictions(rows: int, *, seed: int = 1, mischief: bool = True) -> dict[str, list[str]]:
    """Return the columns of a predictions CSV, the riskiest first."""
    rng = random.Random(seed)
    scores = sorted((rng.random() for _row in range(rows)), reverse=True)
    people = [f"student {row}" for row in range(rows)]
    if mischief:
        people[: len(MISCHIEF)] = MISCHIEF
    levels = ["high" if s >= 0.7 else "medium" if s >= 0.3 else "low" for s in scores]
    return {
        "module": [f"M{rng.randrange(7)}" for _row in range(rows)],
        "person": [f"'{one}" if one.startswith("=") else one for one in people],
        "number": [str(rng.randrange(10_000_000)) for _row in range(rows)],
        "risk_score": [f"{score:.6f}" for score in scores],
        "risk_level": levels,
        "prediction": ["at_risk" if score >= 0.5 else "not_at_risk" for score in scores],
        **{
            f"reason_{place}": [
                f"topic {rng.randrange(40)}: {rng.random() * 9:.3g} ({rng.random() - 0.5:+.2f})"
                for _row in range(rows)
            ]
            for place in (1, 2, 3)
        },
    }


def listing(rows: int, **more: Any) -> Listing:
    table = predictions(rows, **more)
    town = [["Bonn", "Trier", None][row % 3] for row in range(rows)]
    return make_listing(
        table,
        key=["module", "person", "number"],
        reported={"town": town},
        labels={"module": "Module", "town": "Town"},
    )


def metrics(rows: int = 400) -> dict[str, Any]:
    """Return a metrics document as evaluate writes it."""
    rng = np.random.default_rng(3)
    labels = (rng.random(rows) < 0.4).astype(int)
    scores = np.clip(rng.normal(0.4 + 0.25 * labels, 0.2), 0, 1)
    persons = np.arange(rows)
    found = evaluate(scores, labels, 0.5, groups=persons, train_prevalence=0.4, seed=1, draws=50)
    groups = by_subgroup(
        np.where(persons % 3 == 0, "Bonn", "<b>Trier</b>"),
        scores,
        labels,
        persons,
        threshold=0.5,
        margin=0.1,
        seed=1,
        draws=20,
    )
    found["threshold_choice"] = {"value": 0.5, "by": "threshold", "wanted": 0.5}
    found["comparison"] = {"logistic_regression": {"metrics": {"roc_auc": {"value": 0.71}}}}
    found["groups"] = [{"column": "town", "label": {"en": "town", "fr": "ville"}, "groups": groups}]
    return metrics_document(
        found,
        [{"fold": 1, "roc_auc": 0.8}, {"fold": 2, "roc_auc": 0.9}],
        mode="dev",
        dataset="school",
        generated=False,
        cutoff_days=90,
        model_version="rf-1",
        split=SPLIT,
        training_roc_auc=0.99,
        more={"repeaters": {"rows": 0, "without": None}},
    )


FEATURES: dict[str, Any] = {
    "label": {"name": {"en": "fails", "fr": "échoue"}},
    "counts": {
        "candidates": 1000,
        "excluded": {"gone": 300, "late": 0},
        "eligible": 700,
        "cohort": 650,
        "positive": 260,
        "unlabelled": 0,
    },
    "reported": [],
    "features": [
        {
            "name": "clicks_sum",
            "kind": "number",
            "label": {"en": "clicks", "fr": "clics"},
            "source": "visits",
            "column": "clicks",
            "clock": "day",
            "aggregate": "sum",
            "window_days": 28,
        }
    ],
}
MODEL: dict[str, Any] = {
    "version": "rf-1",
    "kind": "random_forest",
    "calibrate": False,
    "trained_at": "2026-07-01T10:00:00+00:00",
    "params": {"n_estimators": 100, "max_depth": None},
    "sha256": "ab" * 32,
    "libraries": {"numpy": "2.1"},
    "split": SPLIT,
    "permutation_importance": [
        {"topic": "marks", "label": {"en": "marks", "fr": "notes"}, "value": 0.08},
        {"topic": "clicks", "label": {"en": "clicks", "fr": "clics"}, "value": 0.02},
        {"topic": "age", "label": {"en": "age", "fr": "âge"}, "value": -0.001},
    ],
}
DRIFT: dict[str, Any] = {
    "compared": "new rows",
    "rows": 200,
    "reference_rows": 600,
    "drifted": ["clicks_sum"],
    "scores": {"drifted": False, "mean": 0.41, "reference_mean": 0.4},
    "two_sample": {"roc_auc": 0.61, "limit": 0.75, "drifted": False},
    "features": [
        {
            "name": "clicks_sum",
            "label": {"en": "clicks", "fr": "clics"},
            "psi": 0.4,
            "limit": 0.2,
            "drifted": True,
            "missing": 0.0,
            "reference_missing": 0.1,
            "mean": 4.0,
            "reference_mean": 9.0,
        }
    ],
}
AUDIT: dict[str, Any] = {
    "status": "pass",
    "parts": [{"name": "clocks", "status": "pass", "said": "all is well\nreally"}],
}
SWEEP: dict[str, Any] = {
    "points": [
        {
            "cutoff_days": day,
            "holdout": {
                "rows": 400,
                "roc_auc": {"value": auc, "low": auc - 0.02, "high": auc + 0.02},
            },
            "everybody": None,
            "logistic_regression": {"roc_auc": {"value": 0.7, "low": 0.68, "high": 0.72}},
        }
        for day, auc in ((90, 0.85), (30, 0.75))
    ]
    + [{"cutoff_days": 0, "error": "nothing is known on day 0"}]
}
RUN: dict[str, Any] = {
    "summary": {
        "run_id": "20260701T100000.000Z-aaaa",
        "started": "2026-07-01T10:00:00+00:00",
        "seconds": 12.5,
        "model_version": "rf-1",
    },
    "record": {
        "settings": {"seed": ["7", "vigie.toml line 2"], "lang": ["auto", "default"]},
        "libraries": {"numpy": "2.2", "vigie": "0.1.0"},
        "git": {"commit": "c" * 40, "dirty": True},
        "warnings": [{"step": "extract", "message": "<i>3 rows</i> don't fit"}],
    },
    "steps": {
        "extract": {
            "status": "success",
            "seconds": 1.5,
            "facts": {"rows": {"people": 1000}, "rejected": {"people": 3}},
        },
        "transform": {
            "status": "skipped",
            "seconds": None,
            "facts": {"set_aside": {"people": {"duplicate_key": 2}}},
        },
    },
    "metrics": {"roc_auc": 0.8},
}  # fmt: skip
CHANGES: dict[str, Any] = {
    "a": {"run_id": "20260630T100000.000Z-bbbb"},
    "settings": [{"key": "seed", "a": "6", "b": "7"}],
    "declaration": [],
    "inputs": [
        {"key": "extract.raw", "a": "0" * 64, "b": "1" * 64},
        {"key": "load.clean", "a": "2" * 64, "b": "3" * 64},
        {"key": "features.clean", "a": "2" * 64, "b": "3" * 64},
    ],
    "code": [],
    "git": [],
    "libraries": [],
    "rows": [],
    "metrics": [{"key": "roc_auc", "a": 0.7, "b": 0.8}],
    "seconds": [{"key": "train", "a": 1.0, "b": 1.05}, {"key": "load", "a": None, "b": 3.0}],
}


def sources(language: str = "en", *, rows: int = 300, **more: Any) -> Sources:
    """Return everything that a report can be made of."""
    given: Mapping[str, Any] = {
        "metrics": metrics(),
        "model": MODEL,
        "features": FEATURES,
        "predictions": {
            "model_version": "rf-1",
            "cutoff_days": 90,
            "generated": False,
            "bounds": {"low": 0.3, "high": 0.7, "threshold": 0.5},
        },
        "drift": DRIFT,
        "audit": AUDIT,
        "sweep": SWEEP,
        "listing": listing(rows),
        "run": RUN,
        "changes": CHANGES,
        "files": {"predictions": "reports/predictions_dev.csv"},
    }
    return Sources(mode="dev", wording=wording(language), **{**given, **more})
