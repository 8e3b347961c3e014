"""How many records a file has, counted by somebody else than who reads it.

The engine's reader is fast and, with files that are broken in some ways, passes over rows in
silence or breaks itself. What it gives is therefore held against a count of its own; where the two
differ, Python's csv module reads the file once more and writes it down so that nothing is left to
guess.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vigie.data.csv_file import Header, LineCount, open_bytes, refuse_bomb, unreadable
from vigie.dataset.spec import Dialect

_CHUNK = 1 << 20


def count_lines(path: Path) -> int:
    """Return how many lines a file has whose lines end in LF or CRLF."""
    counted = LineCount()
    with path.open("rb") as opened:
        while block := opened.read(_CHUNK):
            counted.add(block)
    return counted.lines


def count_records(path: Path, header: Header, dialect: Dialect, encoding: str) -> int:
    """Return how many records stand below the header, blank lines not counted."""
    with _records(path, header, dialect, encoding) as rows:
        return sum(1 for row in rows if row) - int(dialect.header)


def encoding_of(path: Path) -> str:
    """Return ``utf-8`` for a file that is, else ``cp1252``."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_bytes(path) as opened:
        try:
            while block := opened.read(_CHUNK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def copy_plainly(
    path: Path, copy: Path, header: Header, dialect: Dialect, encoding: str, where: str
) -> int:
    """Write the records of `path` to `copy`, every field quoted; return how many there are.

    The copy is UTF-8 with LF between records and ``"`` around fields; each record keeps its fields,
    however many they are.

    Raises
    ------
    DataError
        When the file breaks off.
    """
    packed = path.stat().st_size
    count = -int(dialect.header)
    try:
        with (
            _records(path, header, dialect, encoding) as rows,
            copy.open("w", encoding="utf-8", newline="", errors="replace") as sink,
        ):
            writer = csv.writer(
                sink, delimiter=header.delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n"
            )
            for row in rows:
                if row:
                    writer.writerow(row)
                    count += 1
                    if count % 10_000 == 0:
                        refuse_bomb(sink.tell(), packed, where)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise unreadable(where, error) from error
    return count


@contextmanager
def _records(
    path: Path, header: Header, dialect: Dialect, encoding: str
) -> Iterator[Iterator[list[str]]]:
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    try:
        with (
            open_bytes(path) as opened,
            io.TextIOWrapper(opened, encoding=name, errors="replace", newline="") as text,
        ):
            yield csv.reader(
                text,
                delimiter=header.delimiter,
                quotechar=dialect.quote or None,
                quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
                strict=False,
            )
    finally:
        csv.field_size_limit(limit)
