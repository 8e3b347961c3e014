"""The declaration as text: commented, so that a person can read and change it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from vigie.data.load_plan import COHORT, PREDICTIONS, RECORD_TABLE
from vigie.engine import quote_name
from vigie.features.feature import slug
from vigie.i18n import _
from vigie.infer.decide import Decisions, categories, why_no_feature
from vigie.infer.profile import FileProfile, Profile
from vigie.infer.relate import DATES, Related

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
            *_cohort(made, table, key=[made.name(made.key)] if made.key else []),
            *_features(made),
        ]
    )


def table_name(stem: str) -> str:
    """Return a name for the table of a file that no table of vigie's own has."""
    name = re.sub(r"[^a-z0-9_]+", "_", stem.lower()).strip("_") or "rows"
    return f"{name}_table" if name in _RESERVED_TABLES or name[0].isdigit() else name


def write_related(
    made: Decisions,
    tables: Sequence[Related],
    main: Related,
    *,
    stems: Mapping[str, str],
    cutoff: str | None,
    title: str,
) -> str:
    """Return the TOML text that declares several files.

    Parameters
    ----------
    made
        What was decided about the table with the outcome, `main`.
    stems
        Name of each table's raw file, without .csv.
    cutoff
        SQL for the cut-off of each row; None where there is none, or where it is a setting.
    """
    lines = [*_head(made, title)]
    for table in tables:
        lines += _related_table(table, stems[table.table], made if table is main else None)
    lines += _cohort(made, main.table, key=main.declared(main.key), cutoff=cutoff)
    lookups = list(_lookups(tables, main))
    place = lines.index("[cohort.label]")
    lines[place - 2 : place - 2] = lookups
    lines += [_("# No features are declared: vigie makes them from tables, keys and clocks."), ""]
    return "\n".join(lines)


def _related_table(table: Related, stem: str, made: Decisions | None) -> Iterator[str]:
    yield f"[tables.{_key(table.table)}]"
    yield f"file = {_text(stem)}"
    if table.key:
        yield f"primary_key = {_texts(table.declared(table.key))}"
    if table.references:
        yield "foreign_keys = ["
        for one in table.references:
            columns, there = table.declared(one.columns), tuple(one.to_names)
            to = f", to = {_texts(there)}" if columns != there else ""
            said = _("{count:,} rows point nowhere and are set aside").format(count=one.lost)
            yield (
                f"    {{ columns = {_texts(columns)}, references = {_text(one.table)}{to} }},"
                + (f"  # {said}" if one.lost else "")
            )
        yield "]"
    if table.clock is not None:
        yield _("# The column that says when a row became known.")
        yield f"clock = {_text(table.names[table.clock.place])}"
    elif table.parent_clock is not None:
        yield _("# A row became known with the row that it belongs to.")
        yield f"clock = {_text(table.parent_clock)}"
    elif made is None:
        yield _("# No column says when a row became known, so none is counted. If all were known")
        yield _("# from the start:")
        yield "#known_at_start = true"
    yield from _written(table.profile)
    yield ""
    yield f"[tables.{_key(table.table)}.columns]"
    for column in table.profile.columns:
        name = table.names[column.place]
        parts = [f"type = {_text('day' if column.place in table.days else column.type)}"]
        parts += _source_of(table.profile, column, name)
        parts += ["required = true"] if column in table.key and len(table.key) == 1 else []
        why = made.not_features.get(name) if made is not None else _why_no_event(table, column)
        if why is None and table.counted and column.type in DATES:
            why = _("can't be held against a cut-off that is a number")
        parts += ["feature = false"] if why else []
        said = f"  # {name} {why}" if why else ""
        if made is not None and name in made.suspects:
            said = "  # " + _("Suspected leak: alone it has an AUC of {auc:.3f}.").format(
                auc=made.suspects[name]
            )
        yield f"{_key(name)} = {{ {', '.join(parts)} }}{said}"
    yield ""


def _why_no_event(table: Related, column: Profile) -> str | None:
    if column in table.key or column.place in table.pointing or column is table.clock:
        return None
    return why_no_feature(column)


def _lookups(tables: Sequence[Related], main: Related) -> Iterator[str]:
    """Yield what the table with the outcome takes from tables that it points to, and they do."""
    by_name = {one.table: one for one in tables}
    taken = {name.lower() for name in main.names.values()}
    waiting, seen, rows = [main], {main.table}, []
    while waiting:
        table = waiting.pop(0)
        for one in (*table.references, *table.guesses):
            other = by_name[one.table]
            columns = table.declared(one.columns)
            if other.table in seen or columns != tuple(one.to_names):
                continue
            seen.add(other.table)
            waiting.append(other)
            names = [n for n in other.names.values() if n.lower() not in taken]
            taken |= {name.lower() for name in names}
            if names:
                rows.append(
                    f"    {{ table = {_text(other.table)}, on = {_texts(columns)}, "
                    f"columns = {_texts(names)} }},"
                )
    if rows:
        yield _("# What is known of each row by the tables that it points to.")
        yield from ["lookups = [", *rows, "]"]


def _head(made: Decisions, title: str) -> Iterator[str]:
    yield _(
        "# What the data are. vigie init wrote this from {file}; change what it got wrong."
    ).format(file=title)
    yield _("# A line that begins with # counts for nothing.")
    yield ""
    yield f"name = {_text(title)}"
    if made.personal:
        yield _("# Personal: reported on. The model sees those that are in 'fed'.")
        yield f"sensitive = {{ columns = {_texts(made.personal)}, fed = {_texts(made.personal)} }}"
    yield ""


def _table(made: Decisions, table: str, stem: str) -> Iterator[str]:
    profile = made.profile
    yield f"[tables.{_key(table)}]"
    yield f"file = {_text(stem)}"
    if made.key is not None:
        yield f"primary_key = {_texts([made.name(made.key)])}"
    yield from _written(profile)
    yield ""
    yield f"[tables.{_key(table)}.columns]"
    for column in profile.columns:
        yield f"{_key(made.name(column))} = {{ {', '.join(_column(made, column))} }}"
    yield ""


def _written(profile: FileProfile) -> Iterator[str]:
    """Yield how the file is written."""
    dialect = profile.dialect
    yield _("# What stands for a missing value.")
    yield f"missing = {_texts(profile.markers)}"
    written = [f"delimiter = {_text(dialect.delimiter or ',')}"]
    written += [f"quote = {_text(dialect.quote)}"] if dialect.quote != '"' else []
    written += [] if dialect.header else ["header = false"]
    written += [f"encoding = {_text(dialect.encoding)}"] if dialect.encoding else []
    written += [f"decimal = {_text(dialect.decimal)}"] if dialect.decimal != "." else []
    written += [f"thousands = {_text(dialect.thousands)}"] if dialect.thousands else []
    written += [f"skip = {dialect.skip}"] if dialect.skip else []
    yield f"csv = {{ {', '.join(written)} }}"


def _column(made: Decisions, column: Profile) -> Iterator[str]:
    yield f"type = {_text(column.type)}"
    yield from _source_of(made.profile, column, made.name(column))
    if column is made.key:
        yield "required = true"


def _source_of(profile: FileProfile, column: Profile, name: str) -> Iterator[str]:
    header = profile.sniffed.names
    unnamed = not profile.sniffed.header and name != f"c{column.place - 1}"
    if header.count(column.name) > 1 or not column.name or unnamed:
        yield f"source = {column.place}"
    elif name != column.name:
        yield f"source = {_text(column.name)}"
    if column.format is not None:
        yield f"format = {_text(column.format)}"
    if column.strip:
        yield f"strip = {_texts(column.strip)}"


def _cohort(
    made: Decisions, table: str, *, key: Sequence[str], cutoff: str | None = None
) -> Iterator[str]:
    outcome = made.outcome
    assert outcome is not None
    name = made.name(outcome.column)
    yield _("# One row for each thing to score.")
    yield "[cohort]"
    yield f"table = {_text(table)}"
    if key:
        yield f"key = {_texts(key)}"
    if cutoff is not None:
        yield _("# Up to when anything may be known of a row.")
        yield f"cutoff = {_text(cutoff)}"
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
