"""What a data set is: its tables, its clock, its cohort, its label and its features.

A data set is declared in TOML and read into these frozen models. Nothing here touches data; the
steps interpret the declaration. Expressions (``label.positive``, ``exclude.when``, ``derive``) are
SQL scalar expressions in DuckDB's dialect, which Ibis translates for other engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from vigie.dataset.base import (
    COHORT_COLUMNS,
    CUTOFF,
    CUTOFF_DATE,
    KNOWN_DATE,
    OWN_PREFIX,
    ROW_ID,
    Declared,
    Label,
    cohort_column,
    report_column,
)
from vigie.dataset.cohort import Cohort, Exclusion, LabelWindow, Lookup, Outcome
from vigie.dataset.groups import (
    TIMED_AGGREGATES,
    Aggregate,
    AttributeFeature,
    By,
    EventFeatures,
    ExpectedFeatures,
    FeatureGroup,
    Measure,
    RankFeatures,
    RatioFeature,
)
from vigie.dataset.tables import CLOCK_TYPES, NUMBER_TYPES, Column, Dialect, ForeignKey, Table
from vigie.engine import quote_name
from vigie.errors import DeclarationError
from vigie.i18n import _

__all__ = [
    "CLOCK",
    "CLOCK_TYPES",
    "COHORT_COLUMNS",
    "CUTOFF",
    "CUTOFF_DATE",
    "KNOWN_DATE",
    "NUMBER_TYPES",
    "OWN_PREFIX",
    "ROW_ID",
    "TIMED_AGGREGATES",
    "Aggregate",
    "AttributeFeature",
    "Audit",
    "By",
    "Clock",
    "Cohort",
    "Column",
    "Dataset",
    "Declared",
    "Dialect",
    "EventFeatures",
    "Exclusion",
    "ExpectedFeatures",
    "FeatureGroup",
    "ForeignKey",
    "Label",
    "LabelWindow",
    "Lookup",
    "Measure",
    "Outcome",
    "RankFeatures",
    "RatioFeature",
    "Sensitive",
    "Table",
    "TooGood",
    "cohort_column",
    "report_column",
]

CLOCK = "vigie_clock"


class TooGood(Declared):
    """An AUC that nobody has honestly reached."""

    day: int | None = None
    """Up to which cut-off day it holds; left out: for all."""
    auc: Annotated[float, Field(gt=0.5, le=1.0)]
    """The area under the ROC curve from which on the audit looks for a leak."""


class Audit(Declared):
    """What an audit holds results against."""

    too_good: tuple[TooGood, ...] = ()
    """Results that are too good to be true, by the day of the cut-off."""


class Sensitive(Declared):
    """Columns that are reported on, and that the model doesn't see unless they are in ``fed``."""

    columns: tuple[str, ...] = ()
    """Columns of the cohort that say something personal."""
    fed: tuple[str, ...] = ()
    """Those among them that features may be made of."""

    @model_validator(mode="before")
    @classmethod
    def _a_list_is_the_columns(cls, value: Any) -> Any:
        return {"columns": value} if isinstance(value, list | tuple) else value

    @property
    def withheld(self) -> frozenset[str]:
        """The columns that no feature may be made of."""
        return frozenset(self.columns) - frozenset(self.fed)


@dataclass(frozen=True, slots=True)
class Clock:
    """When the rows of a table became known: a column, its own or of the table that `key` names."""

    column: str
    type: str
    key: ForeignKey | None = None

    def __str__(self) -> str:
        return self.column if self.key is None else f"{self.key.references}.{self.column}"


class Dataset(Declared):
    """A whole declaration."""

    name: str
    """The data set's name."""
    title: Label | None = None
    """A longer one for people."""
    attribution: str | None = None
    """Whom the data are from, and under which licence."""
    tables: dict[str, Table]
    """The raw tables by the names that they have in PostgreSQL."""
    cohort: Cohort
    """What is scored, and what is predicted."""
    features: tuple[FeatureGroup, ...] = ()
    """The features; left out: made by vigie from tables, keys and clocks."""
    sensitive: Sensitive = Sensitive()
    """What is reported on without being fed to the model; a list alone is its ``columns``."""
    audit: Audit = Audit()
    """What an audit holds results against."""

    @property
    def timeless(self) -> bool:
        """Whether no table says when its rows became known, so that there is no cut-off."""
        clocks = any(table.clock for table in self.tables.values())
        return not clocks and self.cohort.cutoff is None

    @property
    def uses_cutoff_days(self) -> bool:
        """Whether the setting ``cutoff_days`` decides what is known."""
        if self.cohort.cutoff is None:
            return not self.timeless
        return "cutoff_days" in self.cohort.cutoff

    @property
    def reported(self) -> tuple[str, ...]:
        """The columns of the cohort that results are reported by, each once."""
        cohort = self.cohort
        names = dict.fromkeys((*cohort.report_by, *self.sensitive.columns))
        if cohort.table is None:
            return tuple(names)
        there = {*self.tables[cohort.table].columns, *cohort.key}
        there |= {name for lookup in cohort.lookups for name in lookup.columns}
        return tuple(name for name in names if name in there)

    def label_of(self, column: str) -> dict[str, str]:
        """Return what people call a column of the cohort: as its feature, else by its name."""
        for group in self.features:
            if isinstance(group, AttributeFeature) and group.column == column:
                return dict(group.label)
        return {"en": column, "fr": column}

    def known_from_start(self, table: str) -> bool:
        """Whether all rows of a table were known from the start."""
        return self.tables[table].known_at_start or self.timeless

    def clock_of(self, table: str) -> Clock | None:
        """Return when the rows of a table became known; None where nothing says so."""
        declared = self.tables[table]
        if declared.clock is None:
            return None
        if declared.clock in declared.columns:
            return Clock(declared.clock, declared.columns[declared.clock].type)
        parent, _dot, column = declared.clock.partition(".")
        key = next(key for key in declared.foreign_keys if key.references == parent)
        return Clock(column, self.tables[parent].columns[column].type, key)

    def needed_clock(self, table: str) -> Clock:
        """Return the same.

        Raises
        ------
        DeclarationError
            Where the table has no clock.
        """
        clock = self.clock_of(table)
        if clock is None:
            raise DeclarationError(
                _("Table {table!r} has no clock: its rows can't be cut at the cut-off.").format(
                    table=table
                ),
                where=f"tables.{table}.clock",
                fix=_("Name the column that says when a row became known."),
            )
        return clock

    def clocked_sql(self, table: str, source: Callable[[str], str]) -> str:
        """Return SQL for a table's rows with the column ``vigie_clock`` (NULL without a clock).

        Parameters
        ----------
        source
            Gives for a table's name what to write after FROM.
        """
        clock = self.clock_of(table)
        if clock is None or clock.key is None:
            value = "NULL" if clock is None else f"t.{quote_name(clock.column)}"
            return f"SELECT t.*, {value} AS {CLOCK} FROM {source(table)} AS t"
        matches = " AND ".join(
            f"p.{quote_name(there)} = t.{quote_name(here)}"
            for here, there in zip(clock.key.columns, clock.key.target, strict=True)
        )
        return (
            f"SELECT t.*, p.{quote_name(clock.column)} AS {CLOCK} FROM {source(table)} AS t "
            f"JOIN {source(clock.key.references)} AS p ON {matches}"
        )
