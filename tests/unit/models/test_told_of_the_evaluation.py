"""What a run says of its evaluation beside the metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vigie.steps.evaluate import _tell_aucs


def said(difference: dict[str, float | None] | None) -> list[str]:
    lines: list[str] = []
    context: Any = SimpleNamespace(say=lines.append, mode="prod")
    comparison = {"logistic_regression": {"roc_auc_difference": difference}} if difference else {}
    document: dict[str, Any] = {
        "cross_validation": {"mean": {}},
        "training": {"roc_auc": None},
        "holdout": {"metrics": {"roc_auc": {"value": 0.9}}, "comparison": comparison},
        "repeaters": {"rows": 0, "without": None},
    }
    _tell_aucs(context, document)
    return lines


def test_a_baseline_that_does_better_is_told_with_what_to_do() -> None:
    (line,) = said({"value": -0.021, "low": -0.028, "high": -0.013})
    assert "AUC higher by 0.021 [0.013; 0.028]" in line
    assert "vigie compare --mode prod" in line


@pytest.mark.parametrize(
    "difference",
    [
        None,
        {"value": -0.01, "low": -0.03, "high": 0.01},
        {"value": 0.02, "low": 0.01, "high": 0.03},
        {"value": -0.02, "low": None, "high": None},
    ],
)
def test_one_that_does_not_certainly_is_not(difference: dict[str, float | None] | None) -> None:
    assert said(difference) == []
