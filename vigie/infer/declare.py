"""From one file to a declaration that holds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from vigie.dataset.declaration import parse_dataset
from vigie.engine import quote_name
from vigie.errors import UsageError
from vigie.i18n import _
from vigie.infer.decide import (
    Ask,
    Decisions,
    Wishes,
    decide,
    declared_names,
    has_outcome_by_name,
)
from vigie.infer.profile import profile_file
from vigie.infer.relate import Related, dates_of, middles, relate
from vigie.infer.sniff import sniff
from vigie.infer.suspects import SUSPECT_AUC, single_aucs
from vigie.infer.write import table_name, write_declaration, write_related

__all__ = ["Decisions", "Related", "Wishes", "declare_file", "declare_files", "stem_of"]

# Day numbers up to here are days of a course or a contract; beyond, they are years or epochs.
MAX_DAY_OF_SETTING = 730
# What rows point to is a thing, not a kind, if there are so many of it.
MIN_THINGS = 50
THING_SHARE = 0.02
_SUFFIXES = (".csv.gz", ".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".gz")


def declare_file(
    file: Path, wishes: Wishes, *, ask: Ask, header: bool | None = None
) -> tuple[Decisions, str]:
    """Return what was decided about `file`, and the declaration's text.

    Parameters
    ----------
    ask
        See ``decide``.
    header
        Whether the first line is one, where the user says so.

    Raises
    ------
    DataError
        When the file can't be read.
    UsageError
        When there is no telling what is to be predicted, or a column is named that isn't there.
    """
    with tempfile.TemporaryDirectory(prefix="vigie-init-") as scratch:
        profile = profile_file(file, sniff(file, header=header), Path(scratch))
        made = decide(profile, wishes, ask)
        _suspect(made)
    stem = stem_of(file)
    text = write_declaration(made, table=table_name(stem), stem=stem, title=file.name)
    # A declaration that vigie itself can't read must not be written.
    parse_dataset(text, "dataset.toml")
    return made, text


def _suspect(made: Decisions) -> None:
    """Name the columns that know the answer all alone."""
    assert made.outcome is not None
    if not made.outcome.values:
        return
    bad = set(made.outcome.values)
    aucs = single_aucs(made.profile, made.features, made.outcome.column, bad)
    made.suspects = {
        made.name(column): aucs[column.name]
        for column in made.features
        if aucs.get(column.name, 0) >= SUSPECT_AUC
    }


def declare_files(
    files: Sequence[Path],
    wishes: Wishes,
    *,
    ask: Ask,
    header: bool | None = None,
    cutoff: str | None = None,
) -> tuple[Decisions, list[Related], str]:
    """Return what was decided about several files, how they belong together, and the declaration.

    The table with the outcome comes first.

    Parameters
    ----------
    cutoff
        Up to when anything may be known, where the user says so: a column, a date or a day number.

    Raises
    ------
    DataError
        When a file can't be read.
    UsageError
        When two files have one name, or there is no telling what is to be predicted.
    """
    with tempfile.TemporaryDirectory(prefix="vigie-init-") as scratch:
        tables: list[Related] = []
        for number, file in enumerate(files):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            profile = profile_file(file, sniff(file, header=header), folder)
            name = table_name(stem_of(file))
            if any(one.table == name for one in tables):
                raise UsageError(
                    _("Two files would make the table {name}.").format(name=name),
                    where=str(file),
                    fix=_("Give one of them another name."),
                )
            tables.append(Related(name, profile, declared_names(profile.columns)))
        main, wishes = _with_outcome(tables, wishes)
        relate(tables, main)
        made = decide(main.profile, wishes, ask, known_key=True)
        made.names = main.names
        if wishes.id is None:
            made.key = main.key[0] if len(main.key) == 1 else None
        elif made.key is not None:
            main.key = (made.key,)
        _leave_out_keys(made, main)
        main.notes += made.notes
        expression = _cutoff(tables, main, cutoff, made)
        _suspect(made)
        first = sorted(tables, key=lambda one: one is not main)
        stems = {one.table: stem_of(file) for one, file in zip(tables, files, strict=True)}
        title = stems[main.table]
        text = write_related(made, first, main, stems=stems, cutoff=expression, title=title)
    # A declaration that vigie itself can't read must not be written.
    parse_dataset(text, "dataset.toml")
    return made, first, text


def _with_outcome(tables: Sequence[Related], wishes: Wishes) -> tuple[Related, Wishes]:
    """Return the table that has the outcome: the named one, or the first that may be meant."""
    if wishes.target is None:
        named = [one for one in tables if has_outcome_by_name(one.profile)]
        return (named or list(tables))[0], wishes
    holding = [one for one in tables if one.column(wishes.target.strip())]
    if holding:
        return holding[0], wishes
    table, _dot, column = wishes.target.partition(".")
    for one in tables:
        if one.table == table and one.column(column):
            return one, replace(wishes, target=column)
    there = ", ".join(
        f"{one.table}.{column.name}" for one in tables for column in one.profile.columns
    )
    raise UsageError(
        _("There is no column called {name!r}.").format(name=wishes.target),
        where="--target",
        fix=_("There are: {names}.").format(names=there),
    )


def _leave_out_keys(made: Decisions, main: Related) -> None:
    """Make no feature of what points to other tables or is part of the key."""
    before = declared_names(main.profile.columns)
    keys = main.pointing | {column.place for column in main.key}
    made.features = [one for one in made.features if one.place not in keys]
    for column in main.profile.columns:
        if column.place in keys:
            made.not_features.pop(before[column.place], None)
    pointing = [one.columns[0] for one in main.references if len(one.columns) == 1]
    things = [one for one in pointing if one.distinct >= max(MIN_THINGS, THING_SHARE * one.rows)]
    if made.group is None and things:
        made.group = max(things, key=lambda one: one.distinct)
        if not made.group.is_unique:
            said = _("rows with the same {name} are kept together: they are about the same thing")
            made.notes.append(said.format(name=made.name(made.group)))


def _cutoff(
    tables: Sequence[Related], main: Related, wanted: str | None, made: Decisions
) -> str | None:
    """Return SQL for the cut-off: a column, a fixed day, or None for the setting or none at all."""
    clocks = [(one, one.clock) for one in tables if one is not main and one.clock is not None]
    if not clocks:
        return None
    if wanted is not None:
        column = main.column(wanted)
        if column is not None:
            return quote_name(main.names[column.place])
        return _literal(wanted)
    days, own = main.counted, dates_of(main)
    if own:
        first = min(zip(middles(main, own), own, strict=True), key=lambda pair: pair[0])[1]
        main.notes.append(
            _("{name} is the cut-off: nothing later is known of a row; otherwise: --cutoff").format(
                name=main.names[first.place]
            )
        )
        made.features = [one for one in made.features if one is not first]
        return quote_name(main.names[first.place])
    busiest, clock = max(clocks, key=lambda pair: pair[0].profile.rows)
    middle = middles(busiest, [clock])[0]
    if days and 0 <= middle <= MAX_DAY_OF_SETTING:
        main.notes.append(_("the cut-off is the setting cutoff_days, a day in the clocks' count"))
        return None
    text = str(round(middle)) if days else datetime.fromtimestamp(middle, UTC).date().isoformat()
    main.notes.append(
        _(
            "nothing says when a row is asked about: the cut-off is {day}, when half of {table} "
            "had happened; otherwise: --cutoff DATE or COLUMN"
        ).format(day=text, table=busiest.table)
    )
    return _literal(text)


def _literal(text: str) -> str:
    try:
        return str(int(text))
    except ValueError:
        pass
    try:
        return f"DATE '{date.fromisoformat(text).isoformat()}'"
    except ValueError:
        raise UsageError(
            _("{value!r} is no column of the table with the outcome, no date and no day.").format(
                value=text
            ),
            where="--cutoff",
            fix=_("Write a column's name, a date such as 2024-01-31, or a day number."),
        ) from None


def stem_of(file: Path) -> str:
    """Return the file's name without what says how it is written."""
    for suffix in _SUFFIXES:
        if file.name.lower().endswith(suffix):
            return file.name[: -len(suffix)]
    return file.name
