"""The figures of a sweep over days of the cut-off, as the report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sweep_points(document: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return ``day``, ``value``, ``low``, ``high``, ``recall`` and ``rows`` of each day, by day.

    Parameters
    ----------
    document
        What stands in ``reports/sweep_{mode}.json``.
    """
    return []
