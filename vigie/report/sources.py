"""What a report is made of, as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vigie.report.listing import Listing

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wording:
    """What the data set's declaration calls things, in the reader's language.

    Parameters
    ----------
    left_out
        For each reason why rows are left out, its words.
    """

    language: str
    title: str
    attribution: str | None
    thing: str
    things: str
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """All that a report is made of, as it was read; what there isn't is None.

    Parameters
    ----------
    metrics, drift, audit, sweep
        What stands in ``reports/*_{mode}.json``.
    model, features, predictions
        The metadata of the model, of the features and of the predictions.
    listing
        The predictions.
    run
        ``summary``, ``record`` and ``steps`` (by name, with ``facts``) of the run.
    changes
        ``RunDiff.to_record()`` of the run before and this one.
    files
        Where a reader finds what the page is made of, by name, from the project's folder.
    audit_is_current
        Whether the audit is of these results.
    """

    mode: str
    wording: Wording
    metrics: Json | None = None
    model: Json | None = None
    features: Json | None = None
    predictions: Json | None = None
    drift: Json | None = None
    audit: Json | None = None
    sweep: Json | None = None
    listing: Listing | None = None
    run: Json | None = None
    changes: Json | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    audit_is_current: bool = True


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure between its bounds; None where it isn't defined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, metric: Json | None) -> Interval:
        """Take it from a metrics document."""
        found = metric or {}
        return cls(found.get("value"), found.get("low"), found.get("high"))

    @property
    def complement(self) -> Interval:
        """What is left to one: of the share found, the share missed."""
        low, high = (None if one is None else 1 - one for one in (self.low, self.high))
        return Interval(None if self.value is None else 1 - self.value, high, low)


def words_of(label: Json | None, language: str) -> str:
    """Return a label in `language`, in English where it isn't there; empty for none."""
    return str((label or {}).get(language) or (label or {}).get("en") or "")
