"""What a data set is: its tables, its clock, its cohort, its label and its features.

A data set is declared in TOML and read into these frozen models. Nothing here touches data; the
steps interpret the declaration. Expressions (``label.positive``, ``exclude.when``, ``derive``) are
SQL scalar expressions in DuckDB's dialect, which Ibis translates for other engines.
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vigie.engine import quote_name, quote_text
from vigie.errors import DeclarationError
from vigie.i18n import _
from vigie.names import suggest

ColumnType = Literal["text", "integer", "number", "day", "date", "timestamp", "boolean"]
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

CLOCK_TYPES = frozenset({"day", "date", "timestamp"})
CUTOFF = "cutoff"
ROW_ID = "row_id"
# Names that the cohort gives to columns of its own.
COHORT_COLUMNS = ("cohort_id", CUTOFF, "label", "group_key", "period")


def cohort_column(name: str) -> str:
    """Return what a column of the cohort's table is called in the cohort."""
    # Engines don't tell names apart by letter case.
    return f"{name}_" if name.lower() in COHORT_COLUMNS else name


class Declared(BaseModel):
    """Base of all parts: frozen, and no key that isn't known."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Label(Declared):
    """A name for people, in both languages."""

    en: str
    fr: str

    def in_language(self, language: str) -> str:
        """Return the name in `language`."""
        return self.fr if language == "fr" else self.en


class Dialect(Declared):
    """How a raw file is written, where it isn't as usual.

    ``delimiter`` None: whichever of comma, semicolon, tab and bar the header has. ``encoding``
    None: UTF-8, else cp1252. ``header`` false: the columns are called ``c0``, ``c1`` and so on.
    ``decimal`` and ``thousands`` are the separators inside of numbers.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Field(max_length=1)] = '"'
    header: bool = True
    encoding: str | None = None
    decimal: Literal[".", ","] = "."
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = None

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError(_("there is no encoding {name!r}").format(name=value)) from None
        return value

    @property
    def plain_numbers(self) -> bool:
        """Whether numbers are written as every program reads them."""
        return self.decimal == "." and self.thousands is None


class Column(Declared):
    """One column of a raw table.

    ``minimum`` and ``maximum`` bound what is believed; a value outside sets its row aside.
    ``required`` forbids a missing value. ``unit`` is for people. ``source`` says where the column
    stands in the file when it has another name there: that name, or its place counted from 1.
    ``format`` is how a date or timestamp is written, in the signs of strptime.
    """

    type: ColumnType
    source: str | Annotated[int, Field(gt=0)] | None = None
    format: str | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = None
    comment: str | None = None
    repair: dict[str, str] = Field(default_factory=dict)


class ForeignKey(Declared):
    """Columns whose values stand in another table's primary key."""

    columns: tuple[str, ...]
    references: str
    to: tuple[str, ...] | None = None


class Table(Declared):
    """A raw table: the stem of its file name, its columns, keys and clock."""

    file: str
    columns: dict[str, Column]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    clock: str | None = None
    missing: tuple[str, ...] = ("", "?")
    csv: Dialect = Dialect()
    comment: str | None = None

    @model_validator(mode="after")
    def _names_exist(self) -> Table:
        used = [
            ("primary_key", self.primary_key),
            *[("foreign_keys", key.columns) for key in self.foreign_keys],
            *[("indexes", index) for index in self.indexes],
            *([("clock", (self.clock,))] if self.clock else []),
        ]
        for where, names in used:
            for name in names:
                if name not in self.columns:
                    raise ValueError(_unknown_name(where, name, self.columns))
        if self.clock and self.columns[self.clock].type not in CLOCK_TYPES:
            raise ValueError(
                _("clock: column {name!r} must be a day, a date or a timestamp").format(
                    name=self.clock
                )
            )
        return self


class Lookup(Declared):
    """A table joined to another one for some of its columns (many to one)."""

    table: str
    on: tuple[str, ...]
    columns: tuple[str, ...]


class LabelWindow(Declared):
    """What happens, or doesn't, in the days after the cut-off: the outcome is that.

    The outcome counts as known once the table has rows of days after the window.
    """

    table: str
    on: tuple[str, ...]
    days: Annotated[int, Field(gt=0)]
    bad: Literal["none", "some"]
    when: str | None = None


class Outcome(Declared):
    """What is predicted, the bad outcome.

    It is a column's values, an expression that is true for it, or what happens in a window after
    the cut-off. ``known`` is true for rows whose outcome is known; the others are scored, not
    learnt from.
    """

    column: str | None = None
    positive: str | tuple[str | int | float | bool, ...] | None = None
    window: LabelWindow | None = None
    known: str | None = None
    name: Label = Label(en="bad outcome", fr="issue défavorable")

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
    when: str
    name: Label


class Cohort(Declared):
    """One row for each thing to score: its key, its cut-off, its label and who is left out.

    It is a table, or ``sql`` over the declared tables, which see all rows. Without a key, the row's
    number in its file is one (``row_id``); without a group, each key is its own. ``cutoff`` is an
    expression for the day, date or time up to which anything may be known of a row; without it the
    setting ``cutoff_days`` is (which the expression may name too). Without a period, rows with
    cut-offs of their own are ordered by these.
    """

    table: str | None = None
    sql: str | None = None
    cutoff: str | None = None
    key: tuple[str, ...] = (ROW_ID,)
    lookups: tuple[Lookup, ...] = ()
    group: str | None = None
    period: str | None = None
    sample_by: tuple[str, ...] | None = None
    label: Outcome
    exclude: tuple[Exclusion, ...] = ()
    singular: Label = Label(en="row", fr="ligne")
    plural: Label = Label(en="rows", fr="lignes")

    @model_validator(mode="after")
    def _one_source(self) -> Cohort:
        if (self.table is None) == (self.sql is None):
            raise ValueError(_("a cohort is either a 'table' or 'sql'"))
        return self

    @property
    def source(self) -> str:
        """The name of what it is made from, for people."""
        return self.table or "cohort.sql"


class AttributeFeature(Declared):
    """A column that was known from the start.

    ``order`` makes an ordinal code (position in the list); ``categories`` makes one 0/1 column
    each; neither takes the number as it is. A value that isn't listed is counted and treated as
    missing (ordinal) or as none of them (categories). ``top`` takes as categories the so many most
    frequent values of the rows with an outcome.
    """

    kind: Literal["attribute"]
    name: str
    label: Label
    column: str | None = None
    expression: str | None = None
    order: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    top: Annotated[int, Field(gt=0)] | None = None

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
    values: tuple[str, ...] = ()
    top: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> By:
        if bool(self.values) == (self.top is not None):
            raise ValueError(_("'by' has either 'values' or 'top'"))
        return self


class Measure(Declared):
    """What is aggregated: a column or an expression over the events, and the aggregates."""

    name: str
    label: Label
    column: str | None = None
    expression: str | None = None
    when: str | None = None
    aggregates: tuple[Aggregate, ...]
    windows: tuple[Annotated[int, Field(gt=0)], ...] = ()
    by: By | None = None
    order_by: tuple[str, ...] = ()


class EventFeatures(Declared):
    """Aggregates over a table with a clock, of the rows known at the cut-off and no others."""

    kind: Literal["events"]
    name: str
    label: Label
    table: str
    on: tuple[str, ...]
    lookups: tuple[Lookup, ...] = ()
    measures: tuple[Measure, ...]


class ExpectedFeatures(Declared):
    """Events that were due (an assessment), matched with those that came (a submission).

    Each cohort row meets every row of ``due`` whose ``due_clock`` is at or before the cut-off;
    ``events`` known at the cut-off are joined by ``match``. Measures see the columns of both (those
    of the events are missing where nothing came), ``due_day`` and ``event_day``.
    """

    kind: Literal["expected"]
    name: str
    label: Label
    due: str
    due_clock: str
    due_on: tuple[str, ...]
    when: str | None = None
    events: str
    match: dict[str, str]
    measures: tuple[Measure, ...]


class RankFeatures(Declared):
    """The percentile of other features among the cohort rows of the same group (0 to 1)."""

    kind: Literal["rank"]
    name: str
    label: Label
    within: tuple[str, ...]
    of: tuple[str, ...]


class RatioFeature(Declared):
    """An expression over other features, by their names."""

    kind: Literal["derived"]
    name: str
    label: Label
    expression: str


FeatureGroup = Annotated[
    AttributeFeature | EventFeatures | ExpectedFeatures | RankFeatures | RatioFeature,
    Field(discriminator="kind"),
]


class TooGood(Declared):
    """An AUC that nobody has honestly reached, for cut-offs up to a day (None: for all)."""

    day: int | None = None
    auc: Annotated[float, Field(gt=0.5, le=1.0)]


class Audit(Declared):
    """What an audit holds results against."""

    too_good: tuple[TooGood, ...] = ()


class Dataset(Declared):
    """A whole declaration."""

    name: str
    title: Label | None = None
    attribution: str | None = None
    tables: dict[str, Table]
    cohort: Cohort
    features: tuple[FeatureGroup, ...] = ()
    sensitive: tuple[str, ...] = ()
    audit: Audit = Audit()

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

    @model_validator(mode="after")
    def _tables_exist(self) -> Dataset:
        for where, name in self._table_uses():
            if name not in self.tables:
                raise ValueError(_unknown_name(where, name, self.tables))
        for name, table in self.tables.items():
            for key in table.foreign_keys:
                target = self.tables[key.references]
                wanted = key.to or key.columns
                if tuple(wanted) != target.primary_key:
                    raise ValueError(
                        _(
                            "tables.{table}.foreign_keys: {columns} must be the primary key of "
                            "{target} ({primary})"
                        ).format(
                            table=name,
                            columns=", ".join(wanted),
                            target=key.references,
                            primary=", ".join(target.primary_key),
                        )
                    )
        if self.cohort.table is None:
            return self
        columns = self.tables[self.cohort.table].columns
        label = self.cohort.label.column
        own = [("cohort.label.column", label)] if label else []
        for where, name in [*(("cohort.key", name) for name in self.cohort.key), *own]:
            if name not in columns and name != ROW_ID:
                raise ValueError(_unknown_name(where, name, columns))
        # Expressions call the cut-off so, and one name can't mean two things.
        for name in (*self.cohort.key, *(name for name in columns if name.lower() == CUTOFF)):
            if name.lower() in COHORT_COLUMNS:
                raise ValueError(
                    _(
                        "tables.{table}.columns: vigie needs the name {name!r} for itself; call "
                        'the column otherwise and add source = "{name}"'
                    ).format(table=self.cohort.table, name=name)
                )
        return self

    def _table_uses(self) -> Iterator[tuple[str, str]]:
        if self.cohort.table is not None:
            yield "cohort.table", self.cohort.table
        if self.cohort.label.window is not None:
            yield "cohort.label.window.table", self.cohort.label.window.table
        for lookup in self.cohort.lookups:
            yield "cohort.lookups", lookup.table
        for name, table in self.tables.items():
            for key in table.foreign_keys:
                yield f"tables.{name}.foreign_keys", key.references
        for group in self.features:
            if isinstance(group, EventFeatures):
                yield f"features.{group.name}.table", group.table
                for lookup in group.lookups:
                    yield f"features.{group.name}.lookups", lookup.table
            if isinstance(group, ExpectedFeatures):
                yield f"features.{group.name}.due", group.due
                yield f"features.{group.name}.events", group.events


def _unknown_name(where: str, name: str, known: Any) -> str:
    nearest = suggest(name, list(known))
    if nearest:
        return _("{where}: {name!r} is not declared; did you mean {nearest!r}?").format(
            where=where, name=name, nearest=nearest
        )
    return _("{where}: {name!r} is not declared; there are {known}").format(
        where=where, name=name, known=", ".join(known)
    )


def parse_dataset(text: str, origin: str) -> Dataset:
    """Return the data set that the TOML `text` declares.

    Raises
    ------
    DeclarationError
        With every fault at once, each with its key.
    """
    from vigie.dataset.defaults import default_features

    try:
        dataset = Dataset.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(
            _("The declaration is not valid TOML: {reason}").format(reason=error), where=origin
        ) from error
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}".removeprefix(": ")
            for fault in error.errors()
        ]
        raise DeclarationError(
            _("The declaration of the data set does not hold:") + "\n  " + "\n  ".join(faults),
            where=origin,
            fix=_("Correct these keys and run the same command again."),
        ) from error
    if dataset.features:
        return dataset
    return dataset.model_copy(update={"features": default_features(dataset)})


def declared_names() -> tuple[str, ...]:
    """Return the names of the declarations that vigie ships."""
    folder = resources.files("vigie.dataset") / "declared"
    return tuple(
        sorted(
            entry.name.removesuffix(".toml")
            for entry in folder.iterdir()
            if entry.name.endswith(".toml")
        )
    )


def read_declaration(name_or_path: str, project: Path) -> tuple[str, str]:
    """Return the text of a declaration and where it comes from.

    `name_or_path` is the name of a shipped declaration, or a TOML file (relative to `project`).
    """
    if name_or_path in declared_names():
        entry = resources.files("vigie.dataset") / "declared" / f"{name_or_path}.toml"
        return entry.read_text("utf-8"), f"vigie/dataset/declared/{name_or_path}.toml"
    path = project / name_or_path
    if path.is_file():
        return path.read_text("utf-8"), str(name_or_path)
    nearest = suggest(name_or_path, declared_names())
    raise DeclarationError(
        _("There is no data set {name!r}.").format(name=name_or_path),
        where="dataset",
        fix=_("Name one of {names}, or a TOML file of the project.").format(
            names=", ".join(declared_names())
        )
        + (" " + _("Did you mean {nearest!r}?").format(nearest=nearest) if nearest else ""),
    )
