"""Raw lines of a CSV on Spark: each with its place, its fields, and its values by declaration.

Every expression here is Spark's SQL. What a text means is decided here only where Spark and DuckDB
certainly agree (a plain number, an ISO date); any other text is *odd*, and left to DuckDB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = "vigie_block"
PLACE = "vigie_place"
LINE = "vigie_line"
SIMPLE = "vigie_simple"
FIELDS = "vigie_fields"
KIND = "vigie_kind"
ODD = "vigie_odd"
BOM = "\ufeff"
SPARK_TYPES = {
    "text": "string",
    "integer": "bigint",
    "day": "int",
    "number": "double",
    "date": "date",
    "timestamp": "timestamp_ntz",
    "boolean": "boolean",
}
_INT_MAX = 2_147_483_647
_WHOLE = r"^-?(?:[0-9]{1,18}|[0-9]{1,15}[.]0*)$"
_NUMBER = r"^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,2})?$"
_DATE = r"^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?"
_TIMESTAMP = rf"^(?!0000)[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[ T]{_TIME}$"
# Parts of a date's format that have one length, so that the others can be left to DuckDB.
_DIRECTIVES = {
    "Y": ("y", "[0-9]{4}"),
    "m": ("mo", "[0-9]{2}"),
    "d": ("d", "[0-9]{2}"),
    "H": ("h", "[0-9]{2}"),
    "M": ("mi", "[0-9]{2}"),
    "S": ("s", "[0-9]{2}"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """What is done with one field: where it stands, how its text is read, what it becomes."""

    name: str
    position: int
    type: str
    format: str | None = None
    decimal: str = "."
    thousands: str | None = None


def name_of(column: str) -> str:
    """Return a column's name as Spark's SQL writes it."""
    return "`" + column.replace("`", "``") + "`"


def text_of(value: str) -> str:
    """Return a string as Spark's SQL writes it; backslashes are escapes there."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def simple_sql(delimiter: str, quote: str) -> str:
    """Return whether quotation marks, if any, stand around whole fields that need none.

    Nearly every line of nearly every file: what its fields are is found in a fifth of the time.
    """
    if not quote:
        return "true"
    q, d = re.escape(quote), re.escape(delimiter)
    field = f"(?:{q}[^{q}{d}]*+{q}|[^{q}{d}]*+)"
    return f"{LINE} RLIKE {text_of(f'^{field}(?:{d}{field})*+$')}"


def fields_sql(delimiter: str, quote: str) -> str:
    """Return the fields of ``vigie_line`` as an array of strings, by ``vigie_simple``."""
    if not quote:
        return f"split({LINE}, {text_of(re.escape(delimiter))}, -1)"
    bare = f"replace({LINE}, {text_of(quote)}, '')"
    split = f"split({bare}, {text_of(re.escape(delimiter))}, -1)"
    field = _field_pattern(delimiter, quote)
    found = (
        f"regexp_extract_all(concat({text_of(delimiter)}, {LINE}), "
        f"{text_of(f'{re.escape(delimiter)}({field})')}, 1)"
    )
    inner = f"replace(substr(x, 2, length(x) - 2), {text_of(quote * 2)}, {text_of(quote)})"
    unquoted = f"transform({found}, x -> IF(startswith(x, {text_of(quote)}), {inner}, x))"
    return f"IF({SIMPLE}, {split}, {unquoted})"


def broken_quotes_sql(delimiter: str, quote: str) -> str:
    """Return whether a line has quotation marks elsewhere than around whole fields."""
    if not quote:
        return "false"
    field = _field_pattern(delimiter, quote)
    whole = f"^(?:{field})(?:{re.escape(delimiter)}(?:{field}))*$"
    return f"NOT {SIMPLE} AND NOT {LINE} RLIKE {text_of(whole)}"


def _field_pattern(delimiter: str, quote: str) -> str:
    # Possessive, so that a long line can't make Java's matcher go back over it.
    q, d = re.escape(quote), re.escape(delimiter)
    return f"{q}[^{q}]*+(?:{q}{q}[^{q}]*+)*+{q}|[^{q}{d}]*+"


def value_sql(field: Field, missing: tuple[str, ...]) -> str:
    """Return the text of a field; NULL where a marker stands for a missing value."""
    raw = f"{FIELDS}[{field.position}]"
    markers = ", ".join(text_of(marker) for marker in missing or ("",))
    return f"IF({raw} IN ({markers}), NULL, {raw})"


def number_text_sql(value: str, field: Field) -> str:
    """Return the text with numbers written as engines read them."""
    if field.type not in {"integer", "day", "number"}:
        return value
    if field.thousands is not None:
        value = f"replace({value}, {text_of(field.thousands)}, '')"
    if field.decimal != ".":
        value = f"replace({value}, {text_of(field.decimal)}, '.')"
    return value


def plain_sql(text: str, field: Field) -> str:
    """Return whether both engines certainly read a text alike."""
    if field.type == "text":
        return "true"
    if field.type == "boolean":
        return f"lower({text}) IN ('true', 'false')"
    pattern: str | None = {
        "integer": _WHOLE,
        "day": _WHOLE,
        "number": _NUMBER,
        "date": _DATE,
        "timestamp": _TIMESTAMP,
    }[field.type]
    if field.format is not None and field.type in {"date", "timestamp"}:
        pattern = _format_pattern(field.format)
    return "false" if pattern is None else f"({text} RLIKE {text_of(pattern)})"


def typed_sql(text: str, field: Field) -> str:
    """Return the value of a plain text; NULL where it has none."""
    match field.type:
        case "integer":
            return _whole_sql(text)
        case "day":
            whole = _whole_sql(text)
            return f"IF(abs({whole}) > {_INT_MAX}, NULL, try_cast({whole} AS INT))"
        case "number":
            return f"try_cast({text} AS DOUBLE)"
        case "date" | "timestamp":
            if field.format is not None:
                text = _iso_sql(text, field.format)
            return f"try_cast({text} AS {SPARK_TYPES[field.type]})"
        case "boolean":
            return f"(lower({text}) = 'true')"
        case _:
            return text


def _whole_sql(text: str) -> str:
    with_point = f"try_cast(try_cast({text} AS DOUBLE) AS BIGINT)"
    return f"IF(instr({text}, '.') > 0, {with_point}, try_cast({text} AS BIGINT))"


def _format_pattern(form: str) -> str | None:
    """Return a pattern for what is written in a format; None where the format isn't of one length.

    >>> _format_pattern("%d/%m/%Y")
    '^(?<d>[0-9]{2})/(?<mo>[0-9]{2})/(?!0000)(?<y>[0-9]{4})$'
    """
    parts = re.split(r"%(.)", form)
    names = parts[1::2]
    if sorted(names) != sorted(set(names)) or not set(names) <= set(_DIRECTIVES):
        return None
    if not {"Y", "m", "d"} <= set(names):
        return None
    pattern = re.escape(parts[0]).replace("/", "/")
    for name, literal in zip(names, parts[2::2], strict=True):
        group, digits = _DIRECTIVES[name]
        no_zero = "(?!0000)" if name == "Y" else ""
        pattern += f"{no_zero}(?<{group}>{digits}){re.escape(literal)}"
    return f"^{pattern}$"


def _iso_sql(text: str, form: str) -> str:
    """Return a text of a format as ISO 8601."""
    pattern = _format_pattern(form)
    if pattern is None:
        return "NULL"
    names = re.findall(r"%(.)", form)
    place = {name: number for number, name in enumerate(names, start=1)}

    def part(name: str) -> str:
        if name not in place:
            return "'00'"
        return f"regexp_extract({text}, {text_of(pattern)}, {place[name]})"

    day = f"{part('Y')}, '-', {part('m')}, '-', {part('d')}"
    time = f", ' ', {part('H')}, ':', {part('M')}, ':', {part('S')}"
    return f"concat({day}{time if set(place) & {'H', 'M', 'S'} else ''})"
