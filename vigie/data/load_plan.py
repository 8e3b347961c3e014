"""What the tables in PostgreSQL look like: from the declaration to plans.

PostgreSQL's limit of 63 bytes for a name is kept by cutting it and adding a hash, so that two long
names stay two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vigie.dataset.spec import CUTOFF, ROW_ID, Column, Dataset, ForeignKey, Table
from vigie.errors import DeclarationError
from vigie.i18n import _

NAME_BYTES = 63
RECORD_TABLE = "vigie_load"
STAGING_PREFIX = "vigie_new_"
COHORT = "cohort"
PREDICTIONS = "predictions"

# What COPY in binary form must find, by the name of the Arrow type.
ARROW_TO_POSTGRES = {
    "bool": "boolean",
    "int8": "smallint",
    "uint8": "smallint",
    "int16": "smallint",
    "uint16": "integer",
    "int32": "integer",
    "uint32": "bigint",
    "int64": "bigint",
    "float": "double precision",
    "double": "double precision",
    "date32[day]": "date",
}
DECLARED_TO_POSTGRES = {
    "text": "text",
    "number": "double precision",
    "boolean": "boolean",
    "date": "date",
}
NARROW_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32"})


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A column: its name in PostgreSQL and in the file, its type in PostgreSQL's own words.

    ``byte_order`` collates a text by its bytes: keys compare and hash faster, sort as they do in
    the files, and their indexes outlive an upgrade of the system's locales.
    """

    name: str
    source: str
    type: str
    required: bool = False
    byte_order: bool = False
    comment: str | None = None

    def signature(self) -> str:
        """Return the definition as ``load_catalog`` reads it from the server."""
        parts = [self.name, self.type, "not null" if self.required else "null"]
        return " ".join([*parts, "C"] if self.byte_order else parts)


@dataclass(frozen=True, slots=True)
class ForeignKeyPlan:
    """Columns that refer to the primary key of another table that is loaded with this one."""

    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """An index on columns."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A table with its keys and indexes, all names as they will stand in PostgreSQL."""

    name: str
    columns: tuple[ColumnPlan, ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKeyPlan, ...] = ()
    indexes: tuple[IndexPlan, ...] = ()
    comment: str | None = None

    @property
    def primary_key_name(self) -> str:
        """The name of the primary key's constraint and index."""
        return fit_name(f"{self.name}_pkey")

    def own_objects(self) -> list[str]:
        """Return the names of the constraints and indexes that vigie makes on it."""
        primary = [self.primary_key_name] if self.primary_key else []
        foreign = [key.name for key in self.foreign_keys]
        return [*primary, *foreign, *[index.name for index in self.indexes]]


def fit_name(name: str) -> str:
    """Return `name`, or where it has more than 63 bytes a shorter one that is as unique."""
    encoded = name.encode()
    if len(encoded) <= NAME_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:10]
    return f"{encoded[: NAME_BYTES - 11].decode(errors='ignore')}_{digest}"


# --- from the declaration to a plan ----------------------------------------------------------


def plan_tables(
    dataset: Dataset, files: Mapping[str, Mapping[str, str]], cohort: Mapping[str, str]
) -> tuple[TablePlan, ...]:
    """Return the plans of all declared tables and of the cohort, each after those it refers to.

    Parameters
    ----------
    files
        For each declared table, the columns of its Parquet file and the names of their Arrow
        types.
    cohort
        The same for the cohort's file.

    Raises
    ------
    DeclarationError
        When a table bears a name that vigie needs for itself.
    """
    for name in dataset.tables:
        reserved = {COHORT, PREDICTIONS, RECORD_TABLE}
        if name in reserved or name.startswith(STAGING_PREFIX):
            raise DeclarationError(
                _("A table cannot be called {name!r}: vigie makes a table of that name.").format(
                    name=name
                ),
                where=f"tables.{name}",
                fix=_("Give the table another name in the declaration; its file keeps its own."),
            )
    plans = [_plan_table(name, table, files[name]) for name, table in dataset.tables.items()]
    return (*_referenced_first(plans), _plan_cohort(dataset, cohort))


def _plan_table(name: str, table: Table, arrow: Mapping[str, str]) -> TablePlan:
    numbered = not table.primary_key and ROW_ID in arrow and ROW_ID not in table.columns
    primary = (ROW_ID,) if numbered else table.primary_key
    keyed = {*primary, *[column for index in table.indexes for column in index]}
    keyed |= {column for key in table.foreign_keys for column in key.columns}
    columns = [
        _plan_column(
            column,
            declared,
            arrow[column],
            required=declared.required or column in primary,
            keyed=column in keyed,
        )
        for column, declared in table.columns.items()
    ]
    if numbered:
        comment = _("Number of the row in the raw file")
        columns.insert(0, ColumnPlan(ROW_ID, ROW_ID, "bigint", required=True, comment=comment))
    return _named_table(
        name, columns, primary, table.foreign_keys, table.indexes, comment=table.comment
    )


def _plan_cohort(dataset: Dataset, arrow: Mapping[str, str]) -> TablePlan:
    cohort = dataset.cohort
    base = dataset.tables[cohort.table] if cohort.table is not None else None
    comments = {
        "cohort_id": _("Number of the row in the matrix of features"),
        "cutoff": _("Day up to which anything may be known"),
        "label": _("1: {bad}; missing while it is not known").format(bad=cohort.label.name.en),
        "group_key": _("Rows that must stay together when data are split"),
        "period": _("Period by which data are split in time"),
    }
    indexes = [(name,) for name in ("label", "period") if name in arrow]
    keyed = {*cohort.key, *[name for (name,) in indexes]}
    columns = []
    for name, arrow_type in arrow.items():
        declared = None if name in comments else _declared_column(dataset, name)
        column = _plan_column(
            name,
            declared,
            arrow_type,
            required=name in {*cohort.key, "cohort_id"}
            or (name == CUTOFF and not dataset.timeless),
            keyed=name in keyed,
            comment=comments.get(name),
        )
        columns.append(column)
    keys: tuple[ForeignKey, ...] = ()
    if base is not None and cohort.table is not None and set(base.primary_key) == set(cohort.key):
        keys = (ForeignKey(columns=base.primary_key, references=cohort.table),)
    return _named_table(
        COHORT,
        columns,
        cohort.key,
        keys,
        indexes,
        comment=_("One row for each {thing} to score, as known at the cut-off.").format(
            thing=cohort.singular.en
        ),
    )


def _declared_column(dataset: Dataset, name: str) -> Column | None:
    lookups = [lookup.table for lookup in dataset.cohort.lookups]
    for table in (dataset.cohort.table, *lookups):
        if table is not None and name in dataset.tables[table].columns:
            return dataset.tables[table].columns[name]
    return None


def plan_predictions(
    arrow: Mapping[str, str], key: tuple[str, ...], comments: Mapping[str, str]
) -> TablePlan:
    """Return the plan of the table of predictions, with `key` as its primary key."""
    indexes = [(name,) for name in ("risk_level", "risk_score") if name in arrow]
    columns = [
        _plan_column(
            name,
            None,
            arrow_type,
            required=name in key,
            keyed=name in key or (name,) in indexes,
            comment=comments.get(name),
        )
        for name, arrow_type in arrow.items()
    ]
    comment = _("The risk of each row of the cohort, by the current model.")
    return _named_table(PREDICTIONS, columns, key, (), indexes, comment=comment)


def _plan_column(
    name: str,
    declared: Column | None,
    arrow_type: str,
    *,
    required: bool,
    keyed: bool,
    comment: str | None = None,
) -> ColumnPlan:
    kind = postgres_type(declared.type if declared else None, arrow_type)
    if declared is not None and declared.comment:
        comment = f"{declared.comment} ({declared.unit})" if declared.unit else declared.comment
    return ColumnPlan(fit_name(name), name, kind, required, keyed and kind == "text", comment)


def postgres_type(declared: str | None, arrow_type: str) -> str:
    """Return the PostgreSQL type for a declared type (None: not declared) as stored in a file."""
    if declared in {"integer", "day"}:
        return "integer" if arrow_type in NARROW_INTEGERS else "bigint"
    if declared in DECLARED_TO_POSTGRES:
        return DECLARED_TO_POSTGRES[declared]
    if arrow_type.startswith("timestamp"):
        zone = "with" if "tz=" in arrow_type else "without"
        return f"timestamp {zone} time zone"
    if declared == "timestamp":
        return "timestamp without time zone"
    return ARROW_TO_POSTGRES.get(arrow_type, "text")


def _named_table(
    name: str,
    columns: Iterable[ColumnPlan],
    primary: Iterable[str],
    foreign: Iterable[ForeignKey],
    indexes: Iterable[tuple[str, ...]],
    *,
    comment: str | None,
) -> TablePlan:
    declared = tuple(foreign)
    columns_of = [key.columns for key in declared]
    keys = tuple(
        ForeignKeyPlan(
            # The same columns may point to two tables.
            fit_name(
                f"{name}_{'_'.join(key.columns)}_fkey"
                if columns_of.count(key.columns) == 1
                else f"{name}_{'_'.join(key.columns)}_{key.references}_fkey"
            ),
            _fit(key.columns),
            fit_name(key.references),
            _fit(key.target),
        )
        for key in declared
    )
    plans = tuple(
        IndexPlan(fit_name(f"{name}_{'_'.join(index)}_idx"), _fit(index)) for index in indexes
    )
    return TablePlan(fit_name(name), tuple(columns), _fit(primary), keys, plans, comment)


def _fit(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(fit_name(name) for name in names)


def _referenced_first(plans: list[TablePlan]) -> list[TablePlan]:
    left, ordered = list(plans), list[TablePlan]()
    while left:
        waiting = {plan.name for plan in left}
        ready = [
            plan
            for plan in left
            if not any(key.target in waiting - {plan.name} for key in plan.foreign_keys)
        ] or left  # tables that refer to each other in a circle: any order will do
        ordered += ready
        left = [plan for plan in left if plan not in ready]
    return ordered
