"""Reasons in words: a feature's label, its value in that row, and what it adds to the score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vigie.i18n import _

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vigie.models.explain import Explanation

_PARTS_OF_ONE = frozenset({"share", "trend", "rank"})


def reason_texts(
    explanation: Explanation,
    X: npt.NDArray[np.float32],  # noqa: N803
    features: Sequence[Mapping[str, Any]],
    language: str,
) -> list[list[str]]:
    """Return the reasons of each row, the strongest first: one list for each place.

    Parameters
    ----------
    features
        The features' descriptions, in the matrix's order.
    language
        ``en`` or ``fr``, as the messages are.

    Examples
    --------
    >>> value_text({"kind": "number", "aggregate": "days_since_last"}, 19.0, "en")
    '19'
    """
    return [
        [
            _reason(features[column], float(X[row, column]), float(amount), language)
            if column >= 0
            else ""
            for row, (column, amount) in enumerate(
                zip(explanation.features[:, place], explanation.amounts[:, place], strict=True)
            )
        ]
        for place in range(explanation.features.shape[1])
    ]


def _reason(feature: Mapping[str, Any], value: float, amount: float, language: str) -> str:
    label = feature["label"].get(language) or feature["name"]
    added = f"{amount:+.2f}"
    if language == "fr":
        added = added.replace(".", ",")
    return _("{label}: {value} ({added})").format(
        label=label, value=value_text(feature, value, language), added=added
    )


def value_text(feature: Mapping[str, Any], value: float, language: str) -> str:
    """Return a feature's value as a person would say it."""
    if math.isnan(value):
        return _("not known")
    kind, categories = feature.get("kind"), feature.get("categories") or ()
    if kind == "category":
        return _("yes") if value else _("no")
    if kind == "ordinal" and 0 <= value < len(categories):
        return str(categories[int(value)])
    if feature.get("aggregate") in _PARTS_OF_ONE and 0 <= value <= 1:
        text = f"{value:.0%}"
        return text.replace("%", "\N{NO-BREAK SPACE}%") if language == "fr" else text
    text = f"{value:.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
    return text.replace(".", ",") if language == "fr" else text
