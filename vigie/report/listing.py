"""The list of predictions as columns: small enough for a page that holds all of them.

What repeats (modules, what a reason is about, its values) stands once, and the rows hold numbers
that point to it. 25,000 rows are about 2 MB so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vigie.spreadsheet import restore_text

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = ("low", "medium", "high")
SCORE_UNITS = 1_000_000
REASON_COLUMNS = ("reason_1", "reason_2", "reason_3")
# A column with more different values than this is searched, not chosen from.
MAX_CHOICES = 60
NONE = -1


@dataclass(frozen=True, slots=True)
class Column:
    """One column that tells a row apart, or by which results are reported.

    Parameters
    ----------
    values
        The different values where the rows hold numbers pointing to them; None where they don't.
    rows
        For each row its value, or where in `values` it stands.
    choices
        Whether one chooses among the values; else one types.
    """

    name: str
    label: str
    numeric: bool
    values: tuple[Any, ...] | None
    rows: tuple[Any, ...]
    choices: bool

    def value(self, row: int) -> Any:
        """Return the value of a row."""
        return self.rows[row] if self.values is None else self.values[self.rows[row]]

    def to_json(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        return {
            "name": self.name,
            "label": self.label,
            "numeric": self.numeric,
            "values": self.values,
            "rows": self.rows,
            "choices": self.choices,
        }


@dataclass(frozen=True, slots=True)
class Reason:
    """What speaks for a score: what it is about, its value, and what it adds ("+0.12")."""

    label: str
    value: str
    added: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is shown without a script."""

    values: tuple[Any, ...]
    score: float
    level: str
    flagged: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """All predictions, the riskiest first.

    Parameters
    ----------
    scores
        In millionths.
    levels
        A digit for each row: where in ``LEVELS`` it stands.
    flagged
        ``1`` for each row that is predicted at risk, else ``0``.
    labels, values, added
        What reasons are made of, each different text once.
    reasons
        For each of the three places, for each row: label, value and what is added, as places in
        these; -1 where there is none.
    """

    columns: tuple[Column, ...]
    scores: tuple[int, ...]
    levels: str
    flagged: str
    labels: tuple[str, ...]
    values: tuple[str, ...]
    added: tuple[str, ...]
    reasons: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]

    def __len__(self) -> int:
        return len(self.scores)

    def count(self, level: str) -> int:
        """Return how many rows are of a level of risk."""
        return self.levels.count(str(LEVELS.index(level)))

    @property
    def flagged_count(self) -> int:
        """How many rows are predicted at risk."""
        return self.flagged.count("1")

    def first(self, count: int) -> list[Row]:
        """Return the riskiest rows, for who reads without a script."""
        return [self._row(place) for place in range(min(count, len(self)))]

    def _row(self, row: int) -> Row:
        told = (
            Reason(self.labels[label[row]], self.values[value[row]], self.added[added[row]])
            for label, value, added in self.reasons
            if label[row] != NONE
        )
        return Row(
            tuple(column.value(row) for column in self.columns),
            self.scores[row] / SCORE_UNITS,
            LEVELS[int(self.levels[row])],
            self.flagged[row] == "1",
            tuple(told),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what the page's script reads, as plain values."""
        return {
            "columns": [column.to_json() for column in self.columns],
            "scores": self.scores,
            "levels": self.levels,
            "flagged": self.flagged,
            "labels": self.labels,
            "values": self.values,
            "added": self.added,
            "reasons": self.reasons,
        }


def make_listing(
    table: Mapping[str, Sequence[str]],
    *,
    key: Sequence[str],
    reported: Mapping[str, Sequence[Any]],
    labels: Mapping[str, str],
) -> Listing:
    """Return the list of the predictions.

    Parameters
    ----------
    table
        The predictions' columns as the CSV has them, the riskiest first.
    key
        The columns that tell rows apart.
    reported
        Further columns by which results are reported, in the same order of rows.
    labels
        What people call a column; a column that isn't named has its own name.
    """
    columns = [_column(name, labels.get(name, name), restored(table[name])) for name in key]
    columns += [
        _column(name, labels.get(name, name), values)
        for name, values in reported.items()
        if name not in key
    ]
    places: tuple[dict[str, int], ...] = ({}, {}, {})
    reasons = tuple(_coded(table[name], places) for name in REASON_COLUMNS if name in table)
    known = {level: str(place) for place, level in enumerate(LEVELS)}
    return Listing(
        columns=tuple(columns),
        scores=tuple(round(float(cell) * SCORE_UNITS) for cell in table["risk_score"]),
        levels="".join(known[cell] for cell in table["risk_level"]),
        flagged="".join("1" if cell == "at_risk" else "0" for cell in table["prediction"]),
        labels=tuple(places[0]),
        values=tuple(places[1]),
        added=tuple(places[2]),
        reasons=reasons,
    )


def restored(cells: Iterable[str]) -> list[str]:
    """Return texts as they were before the CSV made them harmless for spreadsheets."""
    return [restore_text(cell) for cell in cells]


def reported_columns(
    keys: Path,
    table: Mapping[str, Sequence[str]],
    key: Sequence[str],
    columns: Mapping[str, str],
) -> dict[str, list[Any]]:
    """Return columns by which results are reported, in the predictions' order of rows.

    Parameters
    ----------
    keys
        The Parquet file with the keys of all rows and these columns.
    table
        The predictions' columns as the CSV has them.
    columns
        What the file calls each of them; those that it lacks are left out.
    """
    import pyarrow.parquet as pq

    stored = pq.read_table(keys)
    texts = ([str(cell) for cell in stored[name].to_pylist()] for name in key)
    place_of = {row: place for place, row in enumerate(zip(*texts, strict=True))}
    wanted = zip(*(restored(table[name]) for name in key), strict=True)
    places = [place_of.get(row) for row in wanted]
    found = {}
    for name, stored_name in columns.items():
        if stored_name in stored.column_names:
            values = stored[stored_name].to_pylist()
            found[name] = [None if place is None else values[place] for place in places]
    return found


def split_reason(text: str) -> tuple[str, str, str]:
    """Return what a reason is about, its value, and what it adds, in whatever language it is.

    Examples
    --------
    >>> split_reason("clicks, last 28 days: 0 (+0.25)")
    ('clicks, last 28 days', '0', '+0.25')
    >>> split_reason("module : AAA : oui (+0,25)")
    ('module : AAA', 'oui', '+0,25')
    >>> split_reason("something else")
    ('something else', '', '')
    """
    head, found, added = text.rpartition(" (")
    label, colon, value = head.rpartition(": ")
    if not found or not colon or not added.endswith(")"):
        return text, "", ""
    return label.rstrip(), value, added[:-1]


def _coded(
    cells: Sequence[str], places: tuple[dict[str, int], ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    known: dict[str, tuple[int, int, int]] = {"": (NONE, NONE, NONE)}
    found = []
    for cell in cells:
        codes = known.get(cell)
        if codes is None:
            label, value, added = split_reason(restore_text(cell))
            codes = known[cell] = (
                places[0].setdefault(label, len(places[0])),
                places[1].setdefault(value, len(places[1])),
                places[2].setdefault(added, len(places[2])),
            )
        found.append(codes)
    if not found:
        return (), (), ()
    label_codes, value_codes, added_codes = zip(*found, strict=True)
    return label_codes, value_codes, added_codes


def _column(name: str, label: str, cells: Sequence[Any]) -> Column:
    texts = ["" if cell is None else cell for cell in cells]
    numbers = _whole_numbers(texts)
    shown: Sequence[Any] = texts if numbers is None else numbers
    different = list(dict.fromkeys(shown))
    if len(different) > max(MAX_CHOICES, len(shown) // 4):
        return Column(name, label, numbers is not None, None, tuple(shown), choices=False)
    ordered = tuple(sorted(different, key=lambda one: (isinstance(one, str), one)))
    place_of = {value: place for place, value in enumerate(ordered)}
    return Column(
        name,
        label,
        numbers is not None,
        ordered,
        tuple(place_of[value] for value in shown),
        choices=1 < len(ordered) <= MAX_CHOICES,
    )


def _whole_numbers(cells: Sequence[Any]) -> list[int] | None:
    """Return the cells as whole numbers, where that keeps them as they are written."""
    found = []
    for cell in cells:
        text = str(cell)
        # Beyond 15 digits a browser's numbers aren't exact.
        if not text.lstrip("-").isdecimal() or len(text) > 15 or text != str(int(text)):
            return None
        found.append(int(text))
    return found
