"""What stands in each column of a file, found by the engine over all rows.

Everything is read as text first, by the same reader that a run uses; types, numbers, dates and
missing markers are then found by casting whole columns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.data.raw_files import RawFile
from vigie.data.read_csv import read_csv_to_parquet
from vigie.dataset.spec import Column, Dialect, Table
from vigie.engine import open_duckdb, quote_name, quote_text, scan_parquet
from vigie.infer.sniff import Sniffed

if TYPE_CHECKING:
    import duckdb

# Nothing else can be meant by these.
SURE_MARKERS = ("", "?", "na", "n/a", "nan", "null", "\\n", "#n/a", "#na", "<na>")
# These may be values of their own; among numbers or dates they are not.
MAYBE_MARKERS = ("-", "--", ".", "*", "none", "nil", "unknown", "missing", "not available", "n.a.")
TOP_VALUES = 200
# A currency before a number, or a currency, a percent sign or a short unit behind it.
_AFFIXED = (
    r"^(?P<before>\s*(?:[$€£¥₹]|USD|EUR|GBP|CHF)?\s*)[+-]?(?P<number>[0-9][0-9.,' ]*?)"
    r"(?P<behind>\s*(?:[%‰$€£¥₹]|[A-Za-zµ°²³/.]{1,10})?)$"
)
DATE_FORMATS = (
    "%Y/%m/%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%Y%m%d",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %B %Y",
    "%Y-%m",
    "%m/%Y",
    "%b-%y",
    "%b-%Y",
    "%b %Y",
)
TIME_FORMATS = (
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%Y-%m-%dT%H:%M:%SZ",
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One column as it is.

    Attributes
    ----------
    place
        Counted from 1.
    type
        Of the declaration's types.
    format, other_formats
        How its dates are written (None: as ISO 8601 has them), and how else they could be read.
    rows, missing, distinct
        All rows, those without a value, different values.
    values
        The most frequent values with their counts, as text, trimmed.
    zeros_first
        Whether numbers have zeros in front, as codes do.
    strip
        What is written around each number: a currency, a percent sign, a unit.
    counts_rows
        Whether its whole numbers are consecutive, one for each row.
    """

    name: str
    place: int
    type: str
    rows: int
    missing: int
    distinct: int
    values: tuple[tuple[str, int], ...]
    format: str | None = None
    other_formats: tuple[str, ...] = ()
    zeros_first: bool = False
    strip: tuple[str, ...] = ()
    counts_rows: bool = False

    @property
    def known(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value that no other has."""
        return self.rows > 0 and self.missing == 0 and self.distinct == self.rows


@dataclass(frozen=True, slots=True)
class FileProfile:
    """A file as it is.

    Attributes
    ----------
    markers
        What stands for a missing value, exactly as it stands in the file.
    set_aside
        Rows that don't have as many fields as the others.
    parquet
        All rows as text, columns ``c1``, ``c2`` and so on.
    """

    sniffed: Sniffed
    dialect: Dialect
    columns: tuple[Profile, ...]
    rows: int
    set_aside: int
    markers: tuple[str, ...]
    encoding: str
    parquet: Path


def profile_file(path: Path, sniffed: Sniffed, scratch: Path) -> FileProfile:
    """Return what stands in the file's columns; `scratch` keeps its rows as Parquet.

    Raises
    ------
    DataError
        When it can't be read to its end.
    """
    dialect = Dialect(
        delimiter=sniffed.delimiter,
        quote=sniffed.quote,
        header=sniffed.header,
        encoding=sniffed.encoding,
        skip=sniffed.skip,
    )
    texts = {f"c{n}": Column(type="text", source=n) for n in range(1, len(sniffed.names) + 1)}
    table = Table(file=path.stem, columns=texts, missing=(), csv=dialect)
    target = scratch / "all.parquet"
    with open_duckdb(spill=scratch) as connection:
        with tempfile.TemporaryDirectory(dir=scratch) as copies:
            read = read_csv_to_parquet(
                connection,
                RawFile("all", path),
                table,
                target,
                scratch=Path(copies),
                where=path.name,
            )
        connection.execute(f"CREATE VIEW raw AS SELECT * FROM {scan_parquet(target)}")
        dialect = _with_separators(connection, dialect, list(texts))
        found = [
            _Looked(connection, name, f"c{place}", place, dialect, read.rows).profile()
            for place, name in enumerate(sniffed.names, start=1)
        ]
        spellings = {marker for _profile, markers in found for marker in markers}
        markers = _as_they_stand(connection, list(texts), spellings)
    columns = tuple(profile for profile, _markers in found)
    return FileProfile(
        sniffed,
        dialect,
        columns,
        read.rows,
        len(read.rejected),
        tuple(markers),
        read.encoding,
        target,
    )


def _with_separators(
    connection: duckdb.DuckDBPyConnection, dialect: Dialect, names: Sequence[str]
) -> Dialect:
    """Return the dialect with the separators that most columns of numbers are written with."""
    if not names:
        return dialect
    begin, end = r"^\s*[$€£]?\s*[+-]?", r"\s*[$€£%]?\s*$"
    plain = rf"{begin}\d+\.\d+{end}"
    comma = rf"{begin}\d+,\d+{end}"
    english = rf"{begin}\d{{1,3}}(,\d{{3}})+(\.\d+)?{end}"
    german = rf"{begin}\d{{1,3}}(\.\d{{3}})+(,\d+){end}"
    votes = dict.fromkeys(("plain", "comma", "english", "german"), 0)
    for name in names:
        counts = connection.execute(
            "SELECT count(*) FILTER (regexp_matches(v, ?)), count(*) FILTER (regexp_matches(v, ?)),"
            " count(*) FILTER (regexp_matches(v, ?)), count(*) FILTER (regexp_matches(v, ?)),"
            " count(*) FILTER (regexp_matches(v, '[0-9]'))"
            f" FROM (SELECT {quote_name(name)} AS v FROM raw)",
            [plain, comma, english, german],
        ).fetchone()
        assert counts is not None
        *kinds, digits = counts
        for kind, count in zip(votes, kinds, strict=True):
            votes[kind] += bool(digits) and count > 0.02 * digits
    if votes["german"] and not votes["english"]:
        return dialect.model_copy(update={"decimal": ",", "thousands": "."})
    if votes["english"] and votes["plain"] + votes["english"] >= votes["comma"]:
        return dialect.model_copy(update={"thousands": ","})
    if votes["comma"] > votes["plain"]:
        return dialect.model_copy(update={"decimal": ","})
    return dialect


def _as_they_stand(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], spellings: set[str]
) -> list[str]:
    """Return the markers with the blanks and in the letter case in which the file has them."""
    wanted = ", ".join(quote_text(one) for one in sorted(spellings | {""}))
    found: set[str] = {""}
    for name in names:
        column = quote_name(name)
        rows = connection.execute(
            f"SELECT DISTINCT {column} FROM raw WHERE lower(trim({column})) IN ({wanted})"
        ).fetchall()
        found |= {value for (value,) in rows}
    return sorted(found)


@dataclass(slots=True)
class _Looked:
    """One column while it is looked at."""

    connection: duckdb.DuckDBPyConnection
    name: str
    column: str
    place: int
    dialect: Dialect
    rows: int

    def profile(self) -> tuple[Profile, set[str]]:
        """Return the column's profile and what stands for missing in it, in small letters."""
        markers = set(SURE_MARKERS)
        known = self._known(markers)
        profile = self._typed(known)
        if profile.type == "text":
            # A few words among numbers are no numbers that were mistyped.
            odd = self._odd_words(known)
            if odd is not None:
                retried = self._typed(self._known(markers | odd))
                if retried.type != "text":
                    return retried, markers | odd
            return self._without_affixes(known, profile), markers
        return profile, markers

    def _without_affixes(self, known: str, profile: Profile) -> Profile:
        """Return a text as the number that it is but for a currency or a unit."""
        found = self.connection.execute(
            f"SELECT DISTINCT p.before, p.behind FROM (SELECT regexp_extract(v, "
            f"{quote_text(_AFFIXED)}, ['before', 'number', 'behind']) AS p FROM {known}) LIMIT 3"
        )
        affixes = {(before.strip(), behind.strip()) for before, behind in found.fetchall()}
        # 5 kg and 500 g are not alike without their units.
        strip = tuple(one for one in next(iter(affixes), ()) if one) if len(affixes) == 1 else ()
        if not strip:
            return profile
        value = "v"
        for affix in strip:
            value = f"replace({value}, {quote_text(affix)}, '')"
        typed = self._typed(f"(SELECT trim({value}) AS v FROM {known})")
        if typed.type not in ("integer", "number"):
            return profile
        return replace(typed, strip=strip, values=profile.values, distinct=profile.distinct)

    def _known(self, markers: set[str]) -> str:
        """Return SQL for the trimmed values that are not missing."""
        listed = ", ".join(quote_text(one) for one in sorted(markers))
        value = quote_name(self.column)
        return (
            f"(SELECT trim({value}) AS v FROM raw "
            f"WHERE {value} IS NOT NULL AND lower(trim({value})) NOT IN ({listed}))"
        )

    def _number(self) -> str:
        value = "v"
        if self.dialect.thousands is not None:
            value = f"replace({value}, {quote_text(self.dialect.thousands)}, '')"
        if self.dialect.decimal == ",":
            value = f"replace({value}, ',', '.')"
        return value

    def _typed(self, known: str) -> Profile:
        number = self._number()
        row = self._one(
            f"SELECT count(*), count(DISTINCT v), "
            f"count(TRY_CAST({number} AS DOUBLE)), "
            f"count(*) FILTER (TRY_CAST({number} AS DOUBLE) = round(TRY_CAST({number} AS DOUBLE))"
            f" AND abs(TRY_CAST({number} AS DOUBLE)) < 9e18), "
            "count(*) FILTER (regexp_matches(v, '^0[0-9]+$')), "
            "count(TRY_CAST(v AS DATE)) FILTER (length(v) <= 10), count(TRY_CAST(v AS TIMESTAMP)), "
            "count(*) FILTER (isinf(TRY_CAST(v AS DOUBLE)) OR isnan(TRY_CAST(v AS DOUBLE))), "
            f"min(TRY_CAST({number} AS DOUBLE)), max(TRY_CAST({number} AS DOUBLE))"
            f" FROM {known}"
        )
        count, distinct, numbers, whole, zeros, dates, timestamps, odd, lowest, highest = row
        values = self.connection.execute(
            f"SELECT v, count(*) AS n FROM {known} GROUP BY v ORDER BY n DESC, v LIMIT {TOP_VALUES}"
        ).fetchall()
        base = Profile(
            name=self.name,
            place=self.place,
            type="text",
            rows=self.rows,
            missing=self.rows - count,
            distinct=distinct,
            values=tuple((str(value), int(n)) for value, n in values),
            zeros_first=bool(zeros),
        )
        if not count:
            return base
        if numbers == count and not odd and not zeros:
            compact = self._compact_dates(known, count) if whole == count else None
            if compact:
                return replace(base, type="date", format=compact)
            consecutive = whole == count == self.rows == distinct == highest - lowest + 1
            kind = "integer" if whole == count else "number"
            return replace(base, type=kind, counts_rows=consecutive)
        if dates == count:
            return replace(base, type="date")
        if timestamps == count:
            return replace(base, type="timestamp")
        return self._dated(base, known, count)

    def _compact_dates(self, known: str, count: int) -> str | None:
        """Return the format of dates such as 20240131, which are numbers as well."""
        form = "%Y%m%d"
        row = self._one(
            "SELECT count(*) FILTER (length(v) = 8 AND "
            f"year(try_strptime(v, {quote_text(form)})) BETWEEN 1900 AND 2100) FROM {known}"
        )
        return form if row[0] == count else None

    def _dated(self, base: Profile, known: str, count: int) -> Profile:
        for kind, formats in (("date", DATE_FORMATS), ("timestamp", TIME_FORMATS)):
            counts = ", ".join(f"count(try_strptime(v, {quote_text(one)}))" for one in formats)
            fits = [
                form
                for form, number in zip(
                    formats, self._one(f"SELECT {counts} FROM {known}"), strict=True
                )
                if number == count
            ]
            if fits:
                return replace(base, type=kind, format=fits[0], other_formats=tuple(fits[1:]))
        return base

    def _odd_words(self, known: str) -> set[str] | None:
        """Return the few different words among numbers or dates; None where there are many."""
        number = self._number()
        rows = self.connection.execute(
            f"SELECT DISTINCT lower(v) FROM {known} WHERE TRY_CAST({number} AS DOUBLE) IS NULL "
            f"AND TRY_CAST(v AS TIMESTAMP) IS NULL LIMIT {len(MAYBE_MARKERS) + 1}"
        ).fetchall()
        words = {value for (value,) in rows}
        if not words or len(words - set(MAYBE_MARKERS)) > 0:
            return None
        return words

    def _one(self, sql: str) -> tuple[Any, ...]:
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return row
