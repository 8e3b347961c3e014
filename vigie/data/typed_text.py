"""A text as a value of its declared type, as DuckDB's SQL, and when it doesn't fit."""

from __future__ import annotations

from vigie.dataset.spec import Column, Dialect
from vigie.engine import quote_text
from vigie.i18n import _

SQL_TYPES = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "day": "INTEGER",
    "number": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "boolean": "BOOLEAN",
}


def number_text(quoted: str, column: Column, dialect: Dialect) -> str:
    """Return the text of a value with numbers written as the engine reads them."""
    if column.type not in ("integer", "day", "number"):
        return quoted
    for affix in column.strip:
        quoted = f"replace({quoted}, {quote_text(affix)}, '')"
    if column.strip:
        quoted = f"trim({quoted})"
    if dialect.plain_numbers:
        return quoted
    if dialect.thousands is not None:
        quoted = f"replace({quoted}, {quote_text(dialect.thousands)}, '')"
    return f"replace({quoted}, {quote_text(dialect.decimal)}, '.')"


def typed_value(value: str, column: Column) -> str:
    """Return the text `value` in the declared type; NULL where it doesn't fit."""
    if column.format is not None and column.type in ("date", "timestamp"):
        value = f"try_strptime(trim({value}), {quote_text(column.format)})"
    return f"TRY_CAST({value} AS {SQL_TYPES[column.type]})"


def type_reason(column: Column) -> str:
    """Return what is said of a value that doesn't fit the declared type."""
    return {
        "integer": _("not a whole number"),
        "day": _("not a day number"),
        "number": _("not a number"),
        "date": _("not a date"),
        "timestamp": _("not a date and time"),
        "boolean": _("neither true nor false"),
    }.get(column.type, _("not a text"))


def misfit(quoted: str, typed: str, column: Column) -> str:
    """Return when a text doesn't fit: `typed` is the SQL of its value in the declared type."""
    misfit = f"{quoted} IS NOT NULL AND {typed} IS NULL"
    if column.type in ("integer", "day"):
        # The cast rounds 1.5 to 2; a whole number written as 18.0 or 1e3 is accepted.
        misfit += f" OR TRY_CAST({quoted} AS DOUBLE) <> round(TRY_CAST({quoted} AS DOUBLE))"
    return misfit


def bounds(value: str, column: Column) -> list[tuple[str, str]]:
    """Return what else is declared of a value: each a reason, and when it holds."""
    faults = []
    if column.required:
        faults.append((_("is missing"), f"{value} IS NULL"))
    if column.minimum is not None:
        faults.append(
            (_("is below {bound}").format(bound=column.minimum), f"{value} < {column.minimum}")
        )
    if column.maximum is not None:
        faults.append(
            (_("is above {bound}").format(bound=column.maximum), f"{value} > {column.maximum}")
        )
    return faults
