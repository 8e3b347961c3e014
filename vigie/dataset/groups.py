"""What is declared of the features: each group gives one or many."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vigie.dataset.base import Declared, Label
from vigie.dataset.cohort import Lookup
from vigie.i18n import _

Aggregate = Literal[
    "sum",
    "count",
    "mean",
    "std",
    "min",
    "max",
    "last",
    "first",
    "distinct",
    "active_days",
    "days_since_last",
    "days_since_first",
    "trend",
    "share",
]
# These ask when something happened, so that they need a clock.
TIMED_AGGREGATES = frozenset(
    {"last", "first", "active_days", "days_since_last", "days_since_first", "trend"}
)


class AttributeFeature(Declared):
    """A column that was known from the start.

    A value that isn't listed is counted and treated as missing (``order``) or as none of them
    (``categories``).
    """

    kind: Literal["attribute"]
    """Always "attribute"."""
    name: str
    """The feature's name."""
    label: Label
    """What people call it."""
    column: str | None = None
    """A column of the cohort."""
    expression: str | None = None
    """Or SQL over its columns and the cut-off."""
    order: tuple[str, ...] = ()
    """Its values from low to high: the feature is the place in this list."""
    categories: tuple[str, ...] = ()
    """Its values: each makes a feature of 0 and 1."""
    top: Annotated[int, Field(gt=0)] | None = None
    """The same for so many most frequent values of the rows with an outcome."""
    topic: Label | None = None
    """What it is about, where several features are about the same: they count as one reason for
    a score, and are shuffled together for their importance; left out: its own label."""

    @model_validator(mode="after")
    def _one_source(self) -> AttributeFeature:
        if (self.column is None) == (self.expression is None):
            raise ValueError(_("a feature names either 'column' or 'expression'"))
        if bool(self.order) + bool(self.categories) + (self.top is not None) > 1:
            raise ValueError(_("a feature has one of 'order', 'categories' and 'top'"))
        return self


class By(Declared):
    """A category of the events: one feature for each listed value, or for the ``top`` ones."""

    column: str
    """The category's column."""
    values: tuple[str, ...] = ()
    """Its values."""
    top: Annotated[int, Field(gt=0)] | None = None
    """Or how many of its most frequent ones."""

    @model_validator(mode="after")
    def _one_way(self) -> By:
        if bool(self.values) == (self.top is not None):
            raise ValueError(_("'by' has either 'values' or 'top'"))
        return self


class Measure(Declared):
    """What is aggregated: a column or an expression over the events, and the aggregates."""

    name: str
    """Part of the features' names."""
    label: Label
    """What people call it."""
    column: str | None = None
    """The column that is aggregated; without one and without an expression, rows are counted."""
    expression: str | None = None
    """Or SQL over the events."""
    when: str | None = None
    """SQL: which events count."""
    aggregates: tuple[Aggregate, ...]
    """What is made of it. trend: the last window's share of the last two windows' sum; share: of
    all rows those that count; active_days: days with a row."""
    windows: tuple[Annotated[int, Field(gt=0)], ...] | Literal["auto"] = ()
    """Days before the cut-off, each of which makes features of its own; left out: all days;
    "auto": as suits how often events come, which is kept with the model."""
    by: By | None = None
    """One sum for each value of a category."""
    order_by: tuple[str, ...] = ()
    """What orders expected events for the aggregate last."""
    topic: Label | None = None
    """What it is about, where several features are about the same: they count as one reason for
    a score, and are shuffled together for their importance; left out: its own label."""

    @property
    def each_window(self) -> tuple[int | None, ...]:
        """The windows in days; None for all days."""
        return (None,) if not self.windows or self.windows == "auto" else self.windows


class EventFeatures(Declared):
    """Aggregates over a table with a clock, of the rows known at the cut-off and no others."""

    kind: Literal["events"]
    """Always "events"."""
    name: str
    """First part of the features' names."""
    label: Label
    """What people call the events."""
    table: str
    """The table; without a clock it must be known_at_start, and nothing that asks when can be made
    of it."""
    on: tuple[str, ...]
    """Columns that it, or a table looked up, shares with the cohort."""
    lookups: tuple[Lookup, ...] = ()
    """Tables joined to it for some of their columns."""
    measures: tuple[Measure, ...]
    """What is aggregated."""


class ExpectedFeatures(Declared):
    """Events that were due (an assessment), matched with those that came (a submission).

    Measures see the columns of both (those of the events are missing where nothing came),
    ``due_day`` and ``event_day``.
    """

    kind: Literal["expected"]
    """Always "expected"."""
    name: str
    """First part of the features' names."""
    label: Label
    """What people call them."""
    due: str
    """The table of what is due."""
    due_clock: str
    """Its column that says when; what is due after the cut-off counts for nothing."""
    due_on: tuple[str, ...]
    """Columns that it shares with the cohort."""
    when: str | None = None
    """SQL: which of them count."""
    events: str
    """The table of what came; it has a clock."""
    match: dict[str, str]
    """Columns of the events, each with what it is called in what was due or in the cohort."""
    measures: tuple[Measure, ...]
    """What is aggregated: count, share, sum, mean, std, min, max, and last by ``order_by``."""


class RankFeatures(Declared):
    """The percentile of other features among the cohort rows of the same group (0 to 1)."""

    kind: Literal["rank"]
    """Always "rank"."""
    name: str
    """Last part of the features' names."""
    label: Label
    """What people call it."""
    within: tuple[str, ...]
    """Columns of the cohort that make the groups."""
    of: tuple[str, ...]
    """Names of the features that are ranked; ``clicks_*`` is all whose names begin so."""


class RatioFeature(Declared):
    """An expression over other features, by their names."""

    kind: Literal["derived"]
    """Always "derived"."""
    name: str
    """The feature's name."""
    label: Label
    """What people call it."""
    expression: str
    """SQL over features by their names."""
    topic: Label | None = None
    """What it is about, where several features are about the same: they count as one reason for
    a score, and are shuffled together for their importance; left out: its own label."""


FeatureGroup = Annotated[
    AttributeFeature | EventFeatures | ExpectedFeatures | RankFeatures | RatioFeature,
    Field(discriminator="kind"),
]
