"""What a feature is called, where it comes from, and what a person reads of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vigie.dataset.spec import Label


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the feature matrix, where it comes from and what it is about."""

    name: str
    kind: str
    label: Label
    source: str
    column: str | None = None
    clock: str | None = None
    aggregate: str | None = None
    window_days: int | None = None
    category: str | None = None
    categories: tuple[str, ...] = ()
    topic: Label | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the metadata file."""
        topic = self.topic or self.label
        return {
            "name": self.name,
            "kind": self.kind,
            "label": {"en": self.label.en, "fr": self.label.fr},
            "source": self.source,
            "column": self.column,
            "clock": self.clock,
            "aggregate": self.aggregate,
            "window_days": self.window_days,
            "category": self.category,
            "categories": list(self.categories),
            "topic": {"en": topic.en, "fr": topic.fr},
        }


def feature_name(group: str, measure: str, aggregate: str, window: int | None) -> str:
    """Return the column's name: group, measure, aggregate and window, each said once."""
    parts = [group] if measure in {group, aggregate} else [group, measure]
    return "_".join([*parts, aggregate, *([f"{window}d"] if window else [])])


def slug(text: str) -> str:
    """Return `text` as a part of a column's name."""
    return "".join(c if c.isalnum() else "_" for c in text.lower()).strip("_")


def label_of_category(label: Label, value: str) -> Label:
    """Return what a person reads of one category of a feature."""
    return Label(en=f"{label.en}: {value}", fr=f"{label.fr} : {value}")


_AGGREGATE_LABELS = {
    "sum": Label(en="{0}", fr="{0}"),
    "count": Label(en="{0} (number)", fr="{0} (nombre)"),
    "mean": Label(en="{0} (mean)", fr="{0} (moyenne)"),
    "std": Label(en="{0} (standard deviation)", fr="{0} (écart type)"),
    "min": Label(en="{0} (lowest)", fr="{0} (minimum)"),
    "max": Label(en="{0} (highest)", fr="{0} (maximum)"),
    "last": Label(en="{0} (latest)", fr="{0} (dernière valeur)"),
    "first": Label(en="{0} (first)", fr="{0} (première valeur)"),
    "distinct": Label(en="{0} (different ones)", fr="{0} (valeurs différentes)"),
    "share": Label(en="{0} (share)", fr="{0} (part)"),
    "active_days": Label(en="active days", fr="jours d'activité"),
    "days_since_last": Label(
        en="days since the latest {0}", fr="{0} (jours depuis la dernière fois)"
    ),
    "days_since_first": Label(
        en="days since the first {0}", fr="{0} (jours depuis la première fois)"
    ),
    "trend": Label(en="{0} (trend)", fr="{0} (tendance)"),
}


def aggregate_label(label: Label, aggregate: str, window: int | None) -> Label:
    """Return what a person reads of an aggregate of a measure, over a window of days."""
    form = _AGGREGATE_LABELS[aggregate]
    english, french = form.en.format(label.en), form.fr.format(label.fr)
    if window is not None:
        english += f", last {window} days"
        french += f", {window} derniers jours"
    return Label(en=english, fr=french)
