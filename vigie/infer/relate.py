"""How several files belong together: keys, what points where, and when rows became known.

Candidates come from names; values decide. A key is taken only where no two rows share it, a foreign
key only where (nearly) every value is found in the other file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vigie.engine import open_duckdb, quote_name, quote_text, scan_parquet
from vigie.i18n import _
from vigie.infer.decide import ID_NAME
from vigie.infer.profile import FileProfile, Profile

if TYPE_CHECKING:
    import duckdb

# So many values of a foreign key are found in the other file, at least.
FOUND_SHARE = 0.9
# And of what the rows to score look up.
LOOKUP_SHARE = 0.5
MAX_KEY_COLUMNS = 4
MAX_KEY_ROWS = 2_000_000
DATES = ("date", "timestamp")
_DAY_NAME = re.compile(r"(^|_)(day|date|week|month|year|time)s?(_|$)|year(id)?$", re.I)
_NO_DAY_NAME = re.compile(r"(^|_)(num|number|count|n|total|avg|mean|sum)_", re.I)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Columns of a file whose values stand in the key of another one.

    Attributes
    ----------
    lost
        Rows that point nowhere.
    """

    columns: tuple[Profile, ...]
    other: Related
    lost: int = 0

    @property
    def table(self) -> str:
        """The other file's table."""
        return self.other.table

    @property
    def to(self) -> tuple[Profile, ...]:
        """The columns of its key."""
        return self.other.key

    @property
    def to_names(self) -> tuple[str, ...]:
        """What the declaration calls these."""
        return self.other.declared(self.other.key)


@dataclass(slots=True, eq=False)
class Related:
    """One of several files, and how it belongs to the others.

    Attributes
    ----------
    names
        What the declaration calls each column, by its place.
    clock
        The column that says when a row became known.
    parent_clock
        Table and column that say so, where none of its own does.
    days
        Places of whole numbers that count days or years.
    counted
        Whether the cut-off is such a number, not a date.
    guesses
        What it looks up without pointing there: some rows' values are not in the other file.
    """

    table: str
    profile: FileProfile
    names: dict[int, str]
    key: tuple[Profile, ...] = ()
    references: list[Reference] = field(default_factory=list)
    clock: Profile | None = None
    parent_clock: str | None = None
    days: set[int] = field(default_factory=set)
    counted: bool = False
    guesses: list[Reference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def column(self, name: str) -> Profile | None:
        """Return the column that the file calls so, whatever the letter case."""
        folded = name.lower()
        return next((one for one in self.profile.columns if one.name.lower() == folded), None)

    def declared(self, columns: Iterable[Profile]) -> tuple[str, ...]:
        """Return what the declaration calls columns."""
        return tuple(self.names[one.place] for one in columns)

    @property
    def pointing(self) -> set[int]:
        """Places of the columns that point to other files."""
        return {column.place for one in self.references for column in one.columns}


def relate(tables: Sequence[Related], main: Related) -> None:
    """Find keys, references and clocks of `tables`, and write them into these.

    Parameters
    ----------
    main
        The table with the outcome.
    """
    with open_duckdb() as connection:
        for table in tables:
            table.key = _key(connection, table, tables, main)
        for table in tables:
            table.references = list(_references(connection, table, tables, main))
    for table in tables:
        table.references = _without_twins(table.references, main)
        _mark_days(table)
    _agree_on_days(tables, main)
    for table in tables:
        if table is not main:
            table.clock = _clock(table)
    for table in tables:
        if table.clock is not None and _is_schedule(table, tables, main):
            table.notes.append(
                _("{clock} counts as the day on which something is due").format(
                    clock=table.names[table.clock.place]
                )
            )
            table.clock = None
    # What the rows to score point to are things; when these began says nothing of what came later.
    things = [main, *(one.other for one in (*main.references, *main.guesses))]
    for table in tables:
        if table is not main and table.clock is None:
            _clock_of_parent(table, things)
    _call_keys_alike(tables)


# --- keys ------------------------------------------------------------------------------------


def _key(
    connection: duckdb.DuckDBPyConnection,
    table: Related,
    tables: Sequence[Related],
    main: Related,
) -> tuple[Profile, ...]:
    unique = [
        one
        for one in table.profile.columns
        if one.is_unique and one.type in ("integer", "text") and (ID_NAME.search(one.name))
    ]
    # An identifier called like its table is its key before one that is called like another.
    unique.sort(key=lambda one: not _is_called_like(one.name, table.table))
    shared = [one for one in table.profile.columns if _is_elsewhere(one.name, table, tables)]
    if unique:
        return (unique[0],)
    only = [one for one in shared if one.is_unique and one.type in ("integer", "text")]
    if only:
        return (only[0],)
    if table.profile.rows > MAX_KEY_ROWS:
        return ()
    candidates = shared
    if table is main:
        candidates = [
            one for one in table.profile.columns if one in shared or ID_NAME.search(one.name)
        ]
    candidates = [one for one in candidates if one.missing == 0 and one.type != "number"]
    for size in range(2, min(MAX_KEY_COLUMNS, len(candidates)) + 1):
        for combination in itertools.combinations(candidates, size):
            if _is_key(connection, table, combination):
                return combination
    return ()


def _is_called_like(column: str, table: str) -> bool:
    stem = re.sub(r"[_\s-]?id$", "", column, flags=re.I).lower()
    return stem in {"", table.lower(), _singular(table.lower())}


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _is_elsewhere(name: str, table: Related, tables: Sequence[Related]) -> bool:
    return any(other is not table and other.column(name) is not None for other in tables)


def _is_key(
    connection: duckdb.DuckDBPyConnection, table: Related, columns: Sequence[Profile]
) -> bool:
    rows = table.profile.rows
    possible = 1
    for one in columns:
        possible *= one.distinct
    if possible < rows:
        return False
    listed = ", ".join(quote_name(f"c{one.place}") for one in columns)
    source = scan_parquet(table.profile.parquet)
    found = connection.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM {source})"
    ).fetchone()
    return found is not None and found[0] == rows


# --- references ------------------------------------------------------------------------------


def _references(
    connection: duckdb.DuckDBPyConnection,
    table: Related,
    tables: Sequence[Related],
    main: Related,
) -> Iterator[Reference]:
    for other in tables:
        if other is table or not other.key:
            continue
        for columns in _candidates(table, other):
            if set(columns) == set(table.key) and not _points_up(table, other, main):
                continue
            if any(not _same_kind(a, b) for a, b in zip(columns, other.key, strict=True)):
                continue
            lost, known = _lost(connection, table, columns, other)
            if table is main and 0 < lost <= (1 - LOOKUP_SHARE) * known:
                # Nobody must go unscored for want of what could be known of them.
                table.guesses.append(Reference(columns, other, lost))
            elif known and lost <= (1 - FOUND_SHARE) * known:
                yield Reference(columns, other, lost)
            elif known and lost < known:
                said = _("{columns}: {lost:,} of {known:,} values are not in {other}; no key")
                names = ", ".join(table.declared(columns))
                table.notes.append(
                    said.format(columns=names, lost=lost, known=known, other=other.table)
                )


def _candidates(table: Related, other: Related) -> Iterator[tuple[Profile, ...]]:
    """Yield columns that could point to the key of `other`, by their names."""
    same = [table.column(one.name) for one in other.key]
    generic = len(other.key) == 1 and _is_generic(other.key[0].name)
    if all(same) and not generic:
        yield tuple(one for one in same if one is not None)
    if len(other.key) != 1:
        return
    name = other.key[0].name.lower()
    own = {other.table.lower(), _singular(other.table.lower())}
    wanted = {f"{one}{gap}id" for one in own for gap in ("", "_", " ", "-")} | own
    if not generic:
        wanted |= own
    for column in table.profile.columns:
        called = column.name.lower()
        if called == name and not generic:
            continue
        ends = not generic and called.endswith(("_" + name, " " + name))
        if called in wanted or ends or any(called.endswith("_" + one) for one in wanted):
            yield (column,)


def _is_generic(name: str) -> bool:
    """Whether a key's name doesn't say of what."""
    return name.lower() in ("id", "key", "code", "nr", "no")


def _points_up(table: Related, other: Related, main: Related) -> bool:
    """Whether of two tables with one key it is `table` that belongs to `other`."""
    if main in (table, other):
        return other is main
    return (other.profile.rows, other.table) > (table.profile.rows, table.table)


def _same_kind(one: Profile, other: Profile) -> bool:
    numbers = ("integer", "number")
    return one.type == other.type or (one.type in numbers and other.type in numbers)


def _lost(
    connection: duckdb.DuckDBPyConnection,
    table: Related,
    columns: Sequence[Profile],
    other: Related,
) -> tuple[int, int]:
    """Return how many rows point nowhere, and how many point at all."""

    def value(profile: FileProfile, column: Profile) -> str:
        text = f"trim({quote_name(f'c{column.place}')})"
        markers = ", ".join(quote_text(one.strip()) for one in profile.markers)
        known = f"CASE WHEN {text} NOT IN ({markers}) THEN {text} END" if markers else text
        # 1 and 1.0 and 01 are one number.
        return f"TRY_CAST({known} AS DOUBLE)" if column.type in ("integer", "number") else known

    here = ", ".join(f"{value(table.profile, one)} AS k{n}" for n, one in enumerate(columns))
    there = ", ".join(f"{value(other.profile, one)} AS k{n}" for n, one in enumerate(other.key))
    matches = " AND ".join(f"a.k{n} = b.k{n}" for n in range(len(columns)))
    given = " AND ".join(f"a.k{n} IS NOT NULL" for n in range(len(columns)))
    row = connection.execute(
        f"SELECT count(*) FILTER (b.k0 IS NULL), count(*) "
        f"FROM (SELECT {here} FROM {scan_parquet(table.profile.parquet)}) AS a "
        f"LEFT JOIN (SELECT DISTINCT {there} FROM {scan_parquet(other.profile.parquet)}) AS b "
        f"ON {matches} WHERE {given}"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


# --- when rows became known ------------------------------------------------------------------


def _mark_days(table: Related) -> None:
    for column in table.profile.columns:
        named = _DAY_NAME.search(column.name) and not _NO_DAY_NAME.search(column.name)
        points = any(one.columns == (column,) for one in table.references)
        if column.type == "integer" and named and not points:
            table.days.add(column.place)


def _agree_on_days(tables: Sequence[Related], main: Related) -> None:
    """Let all tables count time alike, in dates or in numbers: a cut-off is one of them."""

    def rows(*, counted: bool) -> int:
        return sum(one.profile.rows for one in tables if _has_days(one, counted=counted))

    own = {counted for counted in (True, False) if _has_days(main, counted=counted)}
    counted = own == {True} or (not own and rows(counted=True) > rows(counted=False))
    for table in tables:
        table.counted = counted
        if not counted:
            table.days.clear()


def _has_days(table: Related, *, counted: bool) -> bool:
    if counted:
        return bool(table.days)
    return any(one.type in DATES and one.known for one in table.profile.columns)


def dates_of(table: Related) -> list[Profile]:
    """Return the columns that say when, as the cut-off does: dates, or numbers of days."""
    if table.counted:
        return [one for one in table.profile.columns if one.place in table.days and one.known]
    return [one for one in table.profile.columns if one.type in DATES and one.known]


def _clock(table: Related) -> Profile | None:
    dates = dates_of(table)
    if not dates:
        return None
    # A row is known when the last of its days is over: the fullest one, of several the latest.
    fullest = [one for one in dates if one.missing == min(other.missing for other in dates)]
    clock = fullest[0] if len(fullest) == 1 else _latest(table, fullest)
    if len(dates) > 1:
        others = ", ".join(table.names[one.place] for one in dates if one is not clock)
        table.notes.append(
            _("{clock} is taken for the clock, not {others}").format(
                clock=table.names[clock.place], others=others
            )
        )
    return clock


def _latest(table: Related, dates: Sequence[Profile]) -> Profile:
    means = middles(table, dates)
    return max(zip(means, dates, strict=True), key=lambda pair: (pair[0], -pair[1].place))[1]


def middles(table: Related, dates: Sequence[Profile]) -> list[float]:
    """Return the median of each column: seconds since 1970 of dates, else the number itself."""

    def value(column: Profile) -> str:
        text = f"trim({quote_name(f'c{column.place}')})"
        if column.type == "integer":
            return f"TRY_CAST({text} AS DOUBLE)"
        if column.format is not None:
            return f"epoch(try_strptime({text}, {quote_text(column.format)}))"
        return f"epoch(TRY_CAST({text} AS TIMESTAMP))"

    wanted = ", ".join(f"median({value(one)})" for one in dates)
    with open_duckdb() as connection:
        row = connection.execute(
            f"SELECT {wanted} FROM {scan_parquet(table.profile.parquet)}"
        ).fetchone()
    assert row is not None
    return [float(one or 0) for one in row]


def _is_schedule(table: Related, tables: Sequence[Related], main: Related) -> bool:
    """Whether a table says what is due to all alike, and others say what came, and when."""
    about_one = {column.name.lower() for column in main.key} & {
        column.name.lower() for column in table.profile.columns
    }
    if len(about_one) == len(main.key) or any(one.other is main for one in table.references):
        return False
    below = [one for one in tables if any(each.other is table for each in one.references)]
    return bool(below) and all(dates_of(one) for one in below)


def _clock_of_parent(table: Related, things: Sequence[Related]) -> None:
    found = []
    for reference in table.references:
        once = [one.table for one in table.references].count(reference.table) == 1
        clock = reference.other.clock
        if once and clock is not None and reference.other not in things:
            name = f"{reference.table}.{reference.other.names[clock.place]}"
            found.append((middles(reference.other, [clock])[0], name))
    if found:
        # An order's line is known with the order, not with the product.
        table.parent_clock = max(found)[1]


def _without_twins(references: Sequence[Reference], main: Related) -> list[Reference]:
    """Keep one of the references that the same columns make: to `main`, else to the largest."""
    kept: dict[tuple[int, ...], Reference] = {}
    for one in references:
        places = tuple(column.place for column in one.columns)
        before = kept.get(places)
        rank = (one.other is main, one.other.profile.rows)
        if before is None or rank > (before.other is main, before.other.profile.rows):
            kept[places] = one
    return list(kept.values())


# --- names -----------------------------------------------------------------------------------


def _call_keys_alike(tables: Sequence[Related]) -> None:
    """Call what points to a key like that key: features match rows by columns' names."""
    for table in tables:
        if len(table.key) != 1 or not _is_generic(table.key[0].name):
            continue
        wanted = f"{_singular(table.table)}_{table.key[0].name.lower()}"
        if wanted not in (name.lower() for name in table.names.values()):
            table.names[table.key[0].place] = wanted
    for table in tables:
        for reference in (*table.references, *table.guesses):
            if [one.table for one in table.references].count(reference.table) > 1:
                continue
            for here, there in zip(reference.columns, reference.to, strict=True):
                wanted = reference.other.names[there.place]
                taken = {n.lower() for place, n in table.names.items() if place != here.place}
                if wanted.lower() not in taken:
                    table.names[here.place] = wanted
