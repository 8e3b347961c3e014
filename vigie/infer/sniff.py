"""How a CSV file is written: delimiter, quoting, encoding, and whether it has a header.

Python's own ``csv.Sniffer`` guesses from the frequency of single characters and is fooled by text;
here each candidate delimiter is tried, and the one by which most lines have the same number of
fields is taken.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from vigie.errors import DataError
from vigie.i18n import _

SAMPLE_BYTES = 1 << 20
SAMPLE_LINES = 2_000
MAX_LINES_BEFORE = 20
DELIMITERS = (",", ";", "\t", "|", " ", ":")
_SHORTEST_UTF16 = 8
_NUMBER = re.compile(r"[+-]?(\d{1,3}([ .,']\d{3})+|\d*)([.,]\d+)?([eE][+-]?\d+)?%?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}.*)?")
_BOMS = (
    (codecs.BOM_UTF8, None),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the beginning of a file shows.

    Attributes
    ----------
    names
        The header's names, stripped; ``c0``, ``c1`` and so on where there is no header.
    encoding
        None for UTF-8 or cp1252, which are told apart when the whole file is read.
    why_header
        Why the first line is taken for a header, or not, for people.
    skip
        Lines before the table: a title, notes, ``sep=;``, or names that are one too few.
    """

    delimiter: str
    quote: str
    header: bool
    names: tuple[str, ...]
    encoding: str | None
    why_header: str
    skip: int = 0


def sniff(path: Path, *, header: bool | None = None) -> Sniffed:
    """Return how the file at `path` is written.

    Parameters
    ----------
    header
        Whether the first line is one, where the user says so.

    Raises
    ------
    DataError
        When it is empty, no text, or has one column only that nothing divides.
    """
    data = _beginning(path)
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    data = data.removeprefix(codecs.BOM_UTF8)
    if encoding is None and b"\0" in data:
        encoding = _utf16_without_mark(data)
        if encoding is None:
            raise DataError(
                _("The file is no text: it holds zero bytes."),
                where=str(path),
                fix=_("Export it as CSV."),
            )
    text = _decoded(data, encoding)
    lines = [line for line in text.splitlines() if line.strip()][:SAMPLE_LINES]
    if not lines:
        raise DataError(
            _("The file is empty."), where=str(path), fix=_("Export it again, with its rows.")
        )
    delimiter, quote = _divided_best(lines)
    rows = _parsed(text, delimiter, quote)
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    skip = _lines_before(text, delimiter, quote, width)
    if skip:
        below = "".join(text.splitlines(keepends=True)[skip:])
        above, rows = rows[0], _parsed(below, delimiter, quote)
        names = [cell.strip() for cell in above]
        if header is None and skip == 1 and _are_names_of_others(names, rows, width):
            # As R writes its row names: no name stands above them.
            why = _("the first line has a name for each column but the first")
            return Sniffed(delimiter, quote, False, ("", *names), encoding, why, skip)  # noqa: FBT003
    first = [cell.strip() for cell in rows[0]]
    has_header, why = _is_header(first, [row for row in rows[1:] if len(row) == width])
    if header is not None:
        has_header, why = header, _("as you said")
    names = first if has_header else [f"c{place}" for place in range(width)]
    return Sniffed(delimiter, quote, has_header, tuple(names), encoding, why, skip)


def _lines_before(text: str, delimiter: str, quote: str, width: int) -> int:
    """Return how many lines stand before the first one that has the table's fields."""
    if width < 2:
        return 0
    for number, line in enumerate(text.splitlines()[: MAX_LINES_BEFORE + 1]):
        if line.count(quote) % 2:
            # A field goes on in the next line: that is the table.
            return 0
        row = next(csv.reader([line], delimiter=delimiter, quotechar=quote), [])
        if len(row) == width and sum(bool(cell.strip()) for cell in row) > 1:
            return number
    return 0


def _are_names_of_others(names: list[str], rows: list[list[str]], width: int) -> bool:
    """Whether a line names all columns but the first, whose values name the rows."""
    if len(names) != width - 1 or len(set(names)) < len(names):
        return False
    if any(not name or _looks_like_value(name) for name in names):
        return False
    first = [row[0] for row in rows if len(row) == width]
    return len(first) > 1 and len(set(first)) == len(first)


def _beginning(path: Path) -> bytes:
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path) as opened:
                return opened.read(SAMPLE_BYTES)
        with path.open("rb") as opened:
            return opened.read(SAMPLE_BYTES)
    except FileNotFoundError as error:
        raise DataError(
            _("There is no such file."),
            where=str(path),
            fix=_("Name a CSV file that exists and that you may read."),
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(
            _("The file can't be read: {reason}").format(reason=reason),
            where=str(path),
            fix=_("Name a CSV file that exists and that you may read."),
        ) from error


def _utf16_without_mark(data: bytes) -> str | None:
    """Return which UTF-16 it is where every other byte is zero, as spreadsheets write it."""
    if len(data) < _SHORTEST_UTF16:
        return None
    even, odd = data[0::2].count(0), data[1::2].count(0)
    if odd > len(data) * 0.3 and even < len(data) * 0.05:
        return "utf-16-le"
    if even > len(data) * 0.3 and odd < len(data) * 0.05:
        return "utf-16-be"
    return None


def _decoded(data: bytes, encoding: str | None) -> str:
    if encoding is not None:
        return data.decode(encoding, errors="replace").removeprefix("\ufeff")
    try:
        # The sample may end in the middle of a character.
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _divided_best(lines: list[str]) -> tuple[str, str]:
    """Return the delimiter and the quotation mark by which the lines are most alike."""
    best, best_score = (",", '"'), 0.0
    for quote in ('"', "'"):
        for rank, delimiter in enumerate(DELIMITERS):
            rows = _parsed("\n".join(lines), delimiter, quote)
            counts = Counter(len(row) for row in rows if row)
            width, rows_of_it = counts.most_common(1)[0]
            alike = rows_of_it / sum(counts.values())
            if width < 2 or alike < 0.8:
                continue
            # A space or a colon also stands inside of text: they must divide without exception.
            # (The first line may lack a name for row names.)
            below = {len(row) for row in rows[1:] if row}
            if delimiter in " :" and below != {width}:
                continue
            if quote == "'" and not _is_quoted_by(lines, delimiter, quote):
                continue
            score = alike * (1 + min(width, 50) / 50) - rank * 0.02 + (quote == "'") * 0.5
            if score > best_score:
                best, best_score = (delimiter, quote), score
    return best


def _is_quoted_by(lines: list[str], delimiter: str, quote: str) -> bool:
    """Whether fields begin and end with the quotation mark, in pairs, on many lines."""
    edge = re.escape(delimiter)
    begin = re.compile(rf"(?:^|{edge})\s*{quote}")
    end = re.compile(rf"{quote}\s*(?:{edge}|$)")
    quoted = 0
    for line in lines:
        opened = len(begin.findall(line))
        quoted += 0 < opened == len(end.findall(line))
    return quoted >= max(2, 0.5 * len(lines))


def _parsed(text: str, delimiter: str, quote: str) -> list[list[str]]:
    reader = csv.reader(
        io.StringIO(text, newline=None), delimiter=delimiter, quotechar=quote, strict=False
    )
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) >= SAMPLE_LINES:
                break
    except csv.Error:
        # A field longer than the module allows; what came before it is enough.
        pass
    # The last row of a sample that was cut off is not whole.
    return (rows[:-1] if len(text) >= SAMPLE_BYTES * 0.9 else rows) or [[""]]


def _is_header(first: list[str], others: list[list[str]]) -> tuple[bool, str]:
    """Return whether the first row names the columns, and why."""
    if not others:
        return True, _("there is one line only")
    if any(_looks_like_value(cell) for cell in first if cell):
        return False, _("the first line has numbers or dates in it")
    filled = [cell for cell in first if cell]
    if len(set(filled)) < max(1, len(filled)) * 0.5:
        return False, _("the first line repeats itself")
    columns = [
        [row[place].strip() for row in others if row[place].strip()]
        for place in range(min(len(first), len(others[0])))
    ]
    valued = [column for column in columns if column and _share_of_values(column) > 0.5]
    if valued:
        return True, _("the first line has no numbers, the lines below have")
    again = sum(cell in set(column) for cell, column in zip(first, columns, strict=False) if cell)
    if again > len(filled) / 2:
        return False, _("the first line's values appear again below")
    return True, _("the first line's values don't appear again below")


def _looks_like_value(cell: str) -> bool:
    return bool(cell) and bool(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell))


def _share_of_values(column: list[str]) -> float:
    return sum(_looks_like_value(cell) for cell in column) / len(column)
