"""What is declared of the things to score: which they are, when, and what is predicted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vigie.dataset.base import ROW_ID, Declared, Label
from vigie.engine import quote_name, quote_text
from vigie.i18n import _


class Lookup(Declared):
    """A table joined to another one for some of its columns (many to one).

    Of a table with a clock, only what was known at the cut-off is seen; where its key holds more
    than ``on``, the last row known by then.
    """

    table: str
    """The table that is looked up."""
    on: tuple[str, ...]
    """Columns that both have."""
    columns: tuple[str, ...]
    """What is taken from it; nothing that the rows it is joined to have under the same name."""


class LabelWindow(Declared):
    """What happens, or doesn't, in the days after the cut-off: the outcome is that.

    The outcome counts as known once the table has rows of days after the window.
    """

    table: str
    """A table with a clock."""
    on: tuple[str, ...]
    """Columns that it shares with the cohort."""
    days: Annotated[int, Field(gt=0)]
    """How many days after the cut-off count."""
    bad: Literal["none", "some"]
    """Whether it is bad when no row comes, or when some row comes."""
    when: str | None = None
    """SQL: which rows count."""
    lookups: tuple[Lookup, ...] = ()
    """Tables joined to it for some of their columns, which ``when`` may name."""
    known_if_any: bool = False
    """Whether nothing is known of whom no row comes at all, whatever ``when``: who doesn't start
    can't fail to finish."""


class Outcome(Declared):
    """What is predicted, the bad outcome.

    It is a column's values, an expression that is true for it, or what happens in a window after
    the cut-off. Rows without an outcome are scored, not learnt from.
    """

    column: str | None = None
    """A column of the cohort; needs ``positive`` as a list."""
    positive: str | tuple[str | int | float | bool, ...] | None = None
    """The column's values that are bad, as a list; or, without a column, SQL that is true for the
    bad outcome."""
    window: LabelWindow | None = None
    """What happens in a window after the cut-off."""
    known: str | None = None
    """SQL that is true where the outcome is known; left out: where the column has a value."""
    known_on: str | None = None
    """SQL for the date on which the outcome became known. With the setting evaluation.strict_time
    nothing is learnt from outcomes that weren't known when the hold-out began."""
    name: Label = Label(en="bad outcome", fr="issue défavorable")
    """What people call it."""

    @model_validator(mode="after")
    def _one_way(self) -> Outcome:
        values = self.column is not None and isinstance(self.positive, tuple)
        expression = self.column is None and isinstance(self.positive, str)
        window = self.column is None and self.positive is None and self.window is not None
        if values + expression + window != 1 or (self.window is not None) != window:
            raise ValueError(
                _("one of: 'column' with a list of values, 'positive' as an expression, 'window'")
            )
        if expression and self.known is None:
            raise ValueError(_("an expression needs 'known' beside it"))
        return self

    @property
    def positive_sql(self) -> str:
        """The expression that is true for the bad outcome."""
        if isinstance(self.positive, str):
            return self.positive
        if self.window is not None:
            said = "" if self.window.when is None else f" ({self.window.when})"
            return f"{self.window.bad} of {self.window.table}{said} in {self.window.days} days"
        values = ", ".join(_sql_literal(value) for value in self.positive or ())
        return f"{quote_name(str(self.column))} IN ({values})"

    @property
    def known_sql(self) -> str:
        """The expression that is true where the outcome is known."""
        return self.known or f"{quote_name(str(self.column))} IS NOT NULL"


def _sql_literal(value: str | float | bool) -> str:  # noqa: FBT001 - a value of any kind
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return quote_text(value)


class Exclusion(Declared):
    """Who is not in the cohort although a row exists, and the reason that is counted."""

    reason: str
    """A short name for reports and the database."""
    when: str
    """SQL that is true for them."""
    name: Label
    """The reason for people."""
    outcome_known: bool = False
    """Whether it is known by the cut-off that these have the bad outcome: they need no score, and
    are counted in the figures for everybody."""


class Cohort(Declared):
    """One row for each thing to score: its key, its cut-off, its label and who is left out."""

    table: str | None = None
    """The table with one row for each thing to score."""
    sql: str | None = None
    """Or SQL over the declared tables, by their names here. It sees all of their rows: what it
    says of who is scored when must not need what happens later."""
    cutoff: str | None = None
    """SQL for the day, date or time up to which anything may be known of a row; it may name the
    setting cutoff_days. Left out: that setting."""
    key: tuple[str, ...] = (ROW_ID,)
    """Columns that tell the rows apart; left out: the row's number in its file (row_id)."""
    lookups: tuple[Lookup, ...] = ()
    """Tables joined to it for some of their columns."""
    group: str | None = None
    """The column that says which rows are about the same thing, and must not be on both sides of a
    split; left out: each key is its own."""
    period: str | None = None
    """SQL for what orders the rows in time, sorted as text; the latest are the hold-out. Left out:
    rows with cut-offs of their own are ordered by these, others not at all."""
    day_zero: str | None = None
    """SQL for the date that day 0 is, where days are counted from a start; goes with
    label.known_on."""
    report_by: tuple[str, ...] = ()
    """Columns by which results are reported, beside the sensitive ones, such as the module, the
    branch or the product."""
    sample_by: tuple[str, ...] | None = None
    """Columns by which a sample is taken; left out: the key."""
    label: Outcome
    """What is predicted."""
    exclude: tuple[Exclusion, ...] = ()
    """Who is left out, and why; the first reason that is true counts."""
    singular: Label = Label(en="row", fr="ligne")
    """What people call one of them."""
    plural: Label = Label(en="rows", fr="lignes")
    """What people call several."""

    @model_validator(mode="after")
    def _one_source(self) -> Cohort:
        if (self.table is None) == (self.sql is None):
            raise ValueError(_("a cohort is either a 'table' or 'sql'"))
        return self

    @property
    def source(self) -> str:
        """The name of what it is made from, for people."""
        return self.table or "cohort.sql"
