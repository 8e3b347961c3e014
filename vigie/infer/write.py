"""The declaration as text: commented, so that a person can read and change it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from vigie.data.load_plan import COHORT, PREDICTIONS, RECORD_TABLE
from vigie.engine import quote_name
from vigie.features.feature import slug
from vigie.i18n import _
from vigie.infer.decide import Decisions, categories
from vigie.infer.profile import Profile

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED_TABLES = {COHORT, PREDICTIONS, RECORD_TABLE}


def write_declaration(made: Decisions, *, table: str, stem: str, title: str) -> str:
    """Return the TOML text that declares what was decided about one file.

    Parameters
    ----------
    table
        The table's name in the declaration and in PostgreSQL.
    stem
        Name of the raw file, without .csv.
    """
    return "\n".join(
        [
            *_head(made, title),
            *_table(made, table, stem),
            *_cohort(made, table),
            *_features(made),
        ]
    )


def table_name(stem: str) -> str:
    """Return a name for the table of a file that no table of vigie's own has."""
    name = re.sub(r"[^a-z0-9_]+", "_", stem.lower()).strip("_") or "rows"
    return f"{name}_table" if name in _RESERVED_TABLES or name[0].isdigit() else name


def _head(made: Decisions, title: str) -> Iterator[str]:
    yield _(
        "# What the data are. vigie init wrote this from {file}; change what it got wrong."
    ).format(file=title)
    yield _("# A line that begins with # counts for nothing.")
    yield ""
    yield f"name = {_text(title)}"
    if made.personal:
        yield _("# Personal: reported on. A feature below that has the same name still uses it.")
        yield f"sensitive = {_texts(made.personal)}"
    yield ""


def _table(made: Decisions, table: str, stem: str) -> Iterator[str]:
    profile, dialect = made.profile, made.profile.dialect
    yield f"[tables.{_key(table)}]"
    yield f"file = {_text(stem)}"
    if made.key is not None:
        yield f"primary_key = {_texts([made.name(made.key)])}"
    yield _("# What stands for a missing value.")
    yield f"missing = {_texts(profile.markers)}"
    written = [f"delimiter = {_text(dialect.delimiter or ',')}"]
    written += [f"quote = {_text(dialect.quote)}"] if dialect.quote != '"' else []
    written += [] if dialect.header else ["header = false"]
    written += [f"encoding = {_text(dialect.encoding)}"] if dialect.encoding else []
    written += [f"decimal = {_text(dialect.decimal)}"] if dialect.decimal != "." else []
    written += [f"thousands = {_text(dialect.thousands)}"] if dialect.thousands else []
    yield f"csv = {{ {', '.join(written)} }}"
    yield ""
    yield f"[tables.{_key(table)}.columns]"
    for column in profile.columns:
        yield f"{_key(made.name(column))} = {{ {', '.join(_column(made, column))} }}"
    yield ""


def _column(made: Decisions, column: Profile) -> Iterator[str]:
    yield f"type = {_text(column.type)}"
    header = made.profile.sniffed.names
    if header.count(column.name) > 1 or not column.name:
        yield f"source = {column.place}"
    elif made.name(column) != column.name:
        yield f"source = {_text(column.name)}"
    if column.format is not None:
        yield f"format = {_text(column.format)}"
    if column is made.key:
        yield "required = true"


def _cohort(made: Decisions, table: str) -> Iterator[str]:
    outcome = made.outcome
    assert outcome is not None
    name = made.name(outcome.column)
    yield _("# One row for each thing to score.")
    yield "[cohort]"
    yield f"table = {_text(table)}"
    if made.key is not None:
        yield f"key = {_texts([made.name(made.key)])}"
    yield _("# Rows of one person or machine that must not be on both sides of a split:")
    group = '#group = "column"' if made.group is None else f"group = {_text(made.name(made.group))}"
    yield group
    yield _("# What orders the rows in time, so that the model is judged on the latest:")
    yield "#period = \"strftime(date_column, '%Y')\""
    yield ""
    yield _("# Rows without an outcome are scored, not learnt from.")
    yield "[cohort.label]"
    if outcome.comparison is not None:
        quoted = quote_name(name)
        yield f"positive = {_text(f'{quoted} {outcome.comparison}')}"
        yield f"known = {_text(f'{quoted} IS NOT NULL')}"
        said = f"{name} {outcome.comparison}"
    else:
        yield f"column = {_text(name)}"
        yield f"positive = {_values(outcome.column, outcome.values)}"
        said = f"{name}: {', '.join(outcome.values)}"
    yield f"name = {{ en = {_text(said)}, fr = {_text(said)} }}"
    yield ""


def _features(made: Decisions) -> Iterator[str]:
    if made.not_features:
        yield _("# Columns that are no features:")
        for name, why in made.not_features.items():
            yield "# - " + _("{name} {why}").format(name=name, why=why)
        yield ""
    taken: set[str] = set()
    for column in made.features:
        name = made.name(column)
        if name in made.suspects:
            yield _(
                "# Suspected leak: alone it tells the outcomes apart with an AUC of {auc:.3f}."
            ).format(auc=made.suspects[name])
            yield _("# Was it known before the outcome? If not, take this feature out.")
        for feature, source in _sources(made, column):
            unique = _unique(feature, taken)
            yield "[[features]]"
            yield 'kind = "attribute"'
            yield f"name = {_text(unique)}"
            yield source
            part = feature.rpartition("_")[2]
            label = name if feature == _feature_name(name) else f"{name} ({part})"
            yield f"label = {{ en = {_text(label)}, fr = {_text(label)} }}"
            if column.type == "text":
                values = categories(column)
                # Two values are one question.
                kind = "order" if column.distinct == 2 else "categories"
                yield f"{kind} = {_texts(values)}"
            yield ""


def _sources(made: Decisions, column: Profile) -> Iterator[tuple[str, str]]:
    """Yield name and source of each feature that a column gives."""
    name = made.name(column)
    feature = _feature_name(name)
    if column.type in ("date", "timestamp"):
        quoted = quote_name(name)
        day = f"date_diff('day', DATE '2000-01-01', CAST({quoted} AS DATE))"
        yield f"{feature}_day", f"expression = {_text(day)}"
        yield f"{feature}_month", f"expression = {_text(f'month({quoted})')}"
        yield f"{feature}_weekday", f"expression = {_text(f'isodow({quoted})')}"
    else:
        yield feature, f"column = {_text(name)}"


def _feature_name(column: str) -> str:
    return slug(column) or "feature"


def _unique(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_2"
    taken.add(name)
    return name


def _values(column: Profile, values: Iterable[str]) -> str:
    if column.type == "integer":
        return "[" + ", ".join(str(int(float(value))) for value in values) + "]"
    if column.type == "number":
        return "[" + ", ".join(repr(float(value)) for value in values) + "]"
    return _texts(values)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    # TOML's basic strings are JSON's, but for the character 127.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _texts(values: Iterable[str]) -> str:
    return "[" + ", ".join(_text(value) for value in values) + "]"
