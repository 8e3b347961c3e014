"""What is declared of the raw tables: files, columns, keys and clocks."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import Field, field_validator

from vigie.dataset.base import Declared
from vigie.i18n import _

ColumnType = Literal["text", "integer", "number", "day", "date", "timestamp", "boolean"]
NUMBER_TYPES = frozenset({"integer", "number", "day"})
CLOCK_TYPES = frozenset({"day", "date", "timestamp"})


class Dialect(Declared):
    """How a raw file is written, where it isn't as usual."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What divides the fields; left out: whichever of comma, semicolon, tab and bar the header has.
    """
    quote: Annotated[str, Field(max_length=1)] = '"'
    """The quotation mark."""
    header: bool = True
    """Whether the first line names the columns; without one they are called c0, c1 and so on."""
    encoding: str | None = None
    """Name of the encoding; left out: UTF-8, else Windows-1252."""
    decimal: Literal[".", ","] = "."
    """The decimal separator."""
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What parts thousands."""
    skip: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many lines stand before the header (or, without one, before the first row)."""

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
    """One column of a raw table."""

    type: ColumnType
    """What stands in it. A day is a whole number of days since some start."""
    source: str | Annotated[int, Field(gt=0)] | None = None
    """Where it stands in the file when it has another name there: that name, or its place counted
    from 1."""
    format: str | None = None
    """How its dates are written, in the signs of strptime; left out: ISO 8601."""
    strip: tuple[str, ...] = ()
    """Of a number: what is written before or behind it and taken off, such as "$", "%" or "kg"."""
    required: bool = False
    """Whether a row without a value is set aside."""
    minimum: float | None = None
    """A row with a smaller value is set aside."""
    maximum: float | None = None
    """A row with a larger value is set aside."""
    unit: str | None = None
    """The unit, for people."""
    comment: str | None = None
    """What it is, for people; PostgreSQL gets it as the column's comment."""
    feature: bool = True
    """Whether features are made of it where none are declared."""
    repair: dict[str, str] = Field(default_factory=dict)
    """Texts that are known to be written wrongly, each with what is right."""


class ForeignKey(Declared):
    """Columns whose values stand in another table's primary key."""

    columns: tuple[str, ...]
    """Columns of this table."""
    references: str
    """The other table."""
    to: tuple[str, ...] | None = None
    """Its primary key's columns, in the same order, where they are called otherwise."""

    @property
    def target(self) -> tuple[str, ...]:
        """The columns of the other table."""
        return self.to or self.columns


class Table(Declared):
    """A raw table: its file, its columns, keys and clock."""

    file: str
    """Name of the raw file, without .csv. With * or ? in it, the rows of all files that match, one
    file after the other; each must have the declared columns."""
    columns: dict[str, Column]
    """Its columns by name. Columns of the file that aren't declared are left out, and said."""
    primary_key: tuple[str, ...] = ()
    """Columns that tell the rows apart. Of rows with the same key, the first is kept."""
    foreign_keys: tuple[ForeignKey, ...] = ()
    """Rows whose key points nowhere are set aside."""
    indexes: tuple[tuple[str, ...], ...] = ()
    """Columns that PostgreSQL gets an index on."""
    clock: str | None = None
    """The column that says when a row became known. For rows that became known with a row of
    another table (an order's lines), that table and its column: "orders.ordered_at"."""
    known_at_start: bool = False
    """Of a table without a clock: whether everything in it was known from the start, so that
    features may be made of all its rows."""
    max_rejected: Annotated[float, Field(ge=0, le=1)] | None = None
    """The largest share of rows that may be set aside; left out: the setting extract.max_rejected.
    """
    missing: tuple[str, ...] = ("", "?")
    """What stands for a missing value."""
    csv: Dialect = Dialect()
    """How the file is written, where it isn't as usual."""
    comment: str | None = None
    """What it is, for people; PostgreSQL gets it as the table's comment."""
