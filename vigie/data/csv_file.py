"""A raw file as it lies on the disk: its bytes, its encoding, its header."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from vigie.data.raw_files import RawFile
from vigie.dataset.spec import Column, Table
from vigie.errors import DataError
from vigie.i18n import _
from vigie.names import suggest

DELIMITERS = (",", ";", "\t", "|")
_CHUNK = 1 << 20
# CSV of real data is packed to a twentieth or so; deflate's ceiling, which bombs aim at, is 1032.
MAX_RATIO = 200
_RATIO_COUNTS_FROM_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file in their order, by their declared names, and what separates them.

    A column that the declaration doesn't know has a name that no other has; ``extra`` are those
    columns' names in the file.
    """

    names: tuple[str, ...]
    delimiter: str
    extra: tuple[str, ...] = ()


@dataclass(slots=True)
class LineCount:
    """Lines by their ends, counted while the file passes by."""

    ends: int = 0
    last: bytes = b""

    def add(self, block: bytes) -> None:
        """Count the next piece of the file."""
        if block:
            self.ends += block.count(b"\n")
            self.last = block[-1:]

    @property
    def lines(self) -> int:
        """How many lines there are, the last one whether it is ended or not."""
        return self.ends + (self.last not in (b"", b"\n"))


class NotUtf8(Exception):
    """The bytes are not UTF-8 (internal signal to read the file again as cp1252)."""


class MixedLineEnds(Exception):
    """The lines end in different ways (internal signal to read a normalised copy)."""


@contextmanager
def plain_path(raw: RawFile, scratch: Path, where: str) -> Iterator[Path]:
    """Yield a path that DuckDB can open; a zip's member is unpacked, its checksum verified."""
    if raw.member is None:
        yield raw.path
        return
    suffix = ".csv.gz" if raw.member.lower().endswith(".gz") else ".csv"
    copy = scratch / f"{raw.table}{suffix}"
    try:
        with zipfile.ZipFile(raw.path) as archive, archive.open(raw.member) as source:
            packed = archive.getinfo(raw.member).compress_size
            with copy.open("wb") as sink:
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
                    refuse_bomb(sink.tell(), packed, where)
        yield copy
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise unreadable(where, error) from error
    finally:
        copy.unlink(missing_ok=True)


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, unpacked where it is a gzip stream."""
    if path.name.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.open(path))
    return path.open("rb")


def read_header(path: Path, table: Table, where: str) -> Header:
    """Return the header, or raise ``DataError`` where it lacks a declared column."""
    try:
        with open_bytes(path) as opened:
            line = opened.readline(_CHUNK)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(where, error) from error
    # Lines may end in CR alone, which readline doesn't know.
    line = (line.removeprefix(codecs.BOM_UTF8).splitlines() or [b""])[0]
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("cp1252", errors="replace")
    return header_of(text, table, where)


def header_of(text: str, table: Table, where: str) -> Header:
    """Return the header that the first line of a file is; raise the same."""
    dialect = table.csv
    best, found = Header((), dialect.delimiter or ","), -1
    for delimiter in [dialect.delimiter] if dialect.delimiter else DELIMITERS:
        try:
            reader = csv.reader(
                io.StringIO(text),
                delimiter=delimiter,
                quotechar=dialect.quote or None,
                quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            )
            names = [name.strip() for name in next(reader, [])]
        except csv.Error as error:
            raise unreadable(where, error) from error
        if not dialect.header:
            names = [f"c{place}" for place in range(len(names))]
        known = sum(
            place_of(name, column, names) is not None for name, column in table.columns.items()
        )
        if known > found:
            best, found = Header(tuple(names), delimiter), known
    return _declared_header(best, table, where)


def place_of(name: str, column: Column, header: Sequence[str]) -> int | None:
    """Return where the declared column stands in the file, counted from 0; None if nowhere."""
    if isinstance(column.source, int):
        return column.source - 1 if column.source <= len(header) else None
    wanted = column.source or name
    return header.index(wanted) if wanted in header else None


def _declared_header(header: Header, table: Table, where: str) -> Header:
    """Return the header with declared names, after what is missing or ambiguous was refused."""
    places = {name: place_of(name, column, header.names) for name, column in table.columns.items()}
    missing = [str(table.columns[n].source or n) for n, place in places.items() if place is None]
    if missing:
        _refuse_missing(missing, header.names, table, where)
    wanted = [column.source or name for name, column in table.columns.items()]
    twice = [name for name in wanted if isinstance(name, str) and header.names.count(name) > 1]
    if twice:
        raise DataError(
            _("Columns appear twice: {columns}.").format(columns=", ".join(sorted(set(twice)))),
            where=_("{file}, line 1").format(file=where),
            fix=_("Give each column a name of its own, or say which is meant: source = 3."),
        )
    declared = {place: name for name, place in places.items()}
    names = tuple(declared.get(place, f"vigie_extra_{place}") for place in range(len(header.names)))
    extra = tuple(name for place, name in enumerate(header.names) if place not in declared)
    return Header(names, header.delimiter, extra)


def _refuse_missing(
    missing: Sequence[str], names: Sequence[str], table: Table, where: str
) -> NoReturn:
    first = missing[0]
    wanted = {column.source or name for name, column in table.columns.items()}
    near = suggest(first, [name for name in names if name not in wanted])
    shown = ", ".join(names)[:200] or _("nothing")
    raise DataError(
        _("Columns are missing: {columns}.").format(columns=", ".join(missing)),
        where=_("{file}, line 1; it has: {names}").format(file=where, names=shown),
        fix=_("Rename column {near!r} to {name!r}, or correct the declaration.").format(
            near=near, name=first
        )
        if near
        else _("Export the file again with these columns, or correct the declaration."),
    )


def copy_as_utf8(path: Path, scratch: Path, *, encoding: str, where: str) -> Path:
    """Return a UTF-8 copy with LF line ends; bytes that cp1252 doesn't know become U+FFFD."""
    copy = scratch / f"{path.name.split('.')[0]}.csv.from-{encoding}"
    try:
        with open_bytes(path) as source:
            text = io.TextIOWrapper(source, encoding=encoding, errors="replace", newline=None)
            packed = path.stat().st_size
            with copy.open("w", encoding="utf-8", newline="\n") as sink:
                while piece := text.read(_CHUNK):
                    sink.write(piece)
                    refuse_bomb(source.tell(), packed, where)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise unreadable(where, error) from error
    return copy


def without_first_lines(path: Path, scratch: Path, count: int, encoding: str | None) -> Path:
    """Return a copy of a file, unpacked, without the lines before its table."""
    copy = scratch / f"{path.name.split('.')[0]}.csv.skipped"
    packed = path.stat().st_size
    try:
        with open_bytes(path) as source, copy.open("wb") as sink:
            # A title and a few notes are short; where they end is looked for in what is read first.
            block = source.read(_CHUNK)
            if encoding is None:
                lines = block.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
                sink.write(b"".join(lines[count:]))
            else:
                block += source.read()
                text = block.decode(encoding, errors="replace")
                sink.write("".join(text.splitlines(keepends=True)[count:]).encode(encoding))
            while block := source.read(_CHUNK):
                sink.write(block)
                refuse_bomb(source.tell(), packed, str(path))
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise unreadable(str(path), error) from error
    return copy


@contextmanager
def verified(path: Path, where: str) -> Iterator[LineCount]:
    """Check a gzip stream to its end beside the block; DuckDB takes a broken-off one for whole.

    Its beginning is looked at before the block: a bomb is not even begun. What is yielded counts
    the stream's lines by the end of the block; those of a plain file are not counted.
    """
    counted = LineCount()
    if not path.name.lower().endswith(".gz"):
        yield counted
        return
    faults: list[Exception] = []
    with path.open("rb") as packed, gzip.open(packed) as opened:

        def drain(most: float) -> None:
            try:
                while opened.tell() < most and (block := opened.read(_CHUNK)):
                    counted.add(block)
                    refuse_bomb(opened.tell(), packed.tell(), where)
            except (OSError, EOFError, zlib.error, DataError) as error:
                faults.append(error)

        drain(2 * _RATIO_COUNTS_FROM_BYTES)
        _raise_first(faults, where)
        thread = threading.Thread(
            target=drain, args=(float("inf"),), name="verify-gzip", daemon=True
        )
        thread.start()
        try:
            yield counted
        finally:
            thread.join()
            _raise_first(faults, where)


def _raise_first(faults: Sequence[Exception], where: str) -> None:
    for error in faults:
        raise error if isinstance(error, DataError) else unreadable(where, error) from error


def refuse_bomb(unpacked_bytes: int, packed_bytes: int, where: str) -> None:
    """Raise ``DataError`` where a packed file unfolds into what no CSV of real data would."""
    if unpacked_bytes > max(_RATIO_COUNTS_FROM_BYTES, packed_bytes * MAX_RATIO):
        said = _("The packed file unfolds to more than {ratio} times its size; it was stopped.")
        raise DataError(
            said.format(ratio=MAX_RATIO),
            where=where,
            fix=_("If it is what it should be, unpack it yourself and put the CSV in its place."),
        )


def unreadable(where: str, error: Exception) -> DataError:
    """Return what to raise for a file that breaks off or is no such file."""
    return DataError(
        _("The file can't be read to its end: {reason}").format(reason=error),
        where=where,
        fix=_("It is damaged or not what its name says; copy or download it again."),
    )
