"""Looking into a downloaded zip archive before anything trusts it.

Every byte is unpacked once, against a budget: a member with a broken checksum, fewer rows than it
should have, or a size that only a bomb has, is found before the archive gets its name.
"""

from __future__ import annotations

import gzip
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, cast

from vigie.i18n import _

MAX_UNPACKED_BYTES = 4 << 30
MAX_RATIO = 200  # OULAD is at 10; deflate's ceiling, which bombs aim at, is 1032
_RATIO_COUNTS_FROM_BYTES = 10 << 20
_CHUNK = 1 << 20
_SUFFIXES = (".csv.gz", ".csv")
_UNREADABLE = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression method that Python doesn't know
    RuntimeError,  # a password is asked for
    ValueError,
    struct.error,
)


class BadArchive(Exception):
    """What came is not the archive that was asked for; the text says why."""


class Budget:
    """How much may still be unpacked, over all members and both levels."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def require(self, count: int) -> None:
        """Raise ``BadArchive`` where `count` bytes are more than what is left."""
        if count > self.left:
            raise BadArchive(
                _("it unpacks to more than the {limit:,} bytes allowed").format(limit=self.limit)
            )

    def spend(self, count: int) -> None:
        """Take `count` bytes, or raise ``BadArchive``."""
        self.require(count)
        self.left -= count


def check_archive(
    path: Path, expected_rows: Mapping[str, int], budget: Budget
) -> tuple[Path, dict[str, int]]:
    """Return the archive that holds the tables themselves, and the rows of each table.

    It is `path`, or the single zip inside of it, unpacked beside it.

    Parameters
    ----------
    expected_rows
        Rows without the header by table.

    Raises
    ------
    BadArchive
        When it can't be read, is unsafe to unpack, or lacks a table or rows.
    OSError
        When the disk fails.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _safe_members(archive, budget)
            inner = [one for one in members if one.filename.lower().endswith(".zip")]
            tables = _tables(members, expected_rows)
            if not tables and len(inner) == 1:
                # A name of its own: the outer archive stays as it is until the inner one counts.
                unpacked = path.with_name(f"{path.name}.inner")
                _unpack(archive, inner[0], unpacked, budget)
            else:
                return path, _count_rows(archive, tables, expected_rows, budget)
    except _UNREADABLE as error:
        raise BadArchive(_("it is no whole zip archive: {reason}").format(reason=error)) from error
    try:
        return _check_inner(unpacked, expected_rows, budget)
    except BaseException:
        unpacked.unlink(missing_ok=True)
        raise


def find_other_copies(folder: Path, tables: Mapping[str, int], *, but: Path) -> list[Path]:
    """Return the files below `folder`, except `but`, that hold one of `tables`."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path == but or not path.is_file() or path.name.startswith("."):
            continue
        if _table_of(path.name, tables):
            found.append(path)
        elif path.name.lower().endswith(".zip"):
            try:
                with zipfile.ZipFile(path) as archive:
                    if _tables(archive.infolist(), tables):
                        found.append(path)
            except (*_UNREADABLE, BadArchive):
                found.append(path)
    return found


def _check_inner(
    path: Path, expected_rows: Mapping[str, int], budget: Budget
) -> tuple[Path, dict[str, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            tables = _tables(_safe_members(archive, budget), expected_rows)
            return path, _count_rows(archive, tables, expected_rows, budget)
    except _UNREADABLE as error:
        raise BadArchive(_("it is no whole zip archive: {reason}").format(reason=error)) from error


def _safe_members(archive: zipfile.ZipFile, budget: Budget) -> list[zipfile.ZipInfo]:
    """Return the archive's files; refuse names that lead outside, links and bombs."""
    members = [one for one in archive.infolist() if not one.is_dir()]
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        link = stat.S_ISLNK(member.external_attr >> 16)
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or link:
            raise BadArchive(
                _("it holds a file that leads out of its folder: {name}").format(
                    name=member.filename
                )
            )
        large = member.file_size > _RATIO_COUNTS_FROM_BYTES
        if large and member.file_size > MAX_RATIO * max(1, member.compress_size):
            raise BadArchive(
                _("{name} unpacks to {ratio} times its size").format(
                    name=member.filename, ratio=member.file_size // max(1, member.compress_size)
                )
            )
    budget.require(sum(member.file_size for member in members))
    return members


def _table_of(name: str, tables: Mapping[str, int]) -> str | None:
    """Return the table that a file is called after."""
    stem = PurePosixPath(name.replace("\\", "/")).name.lower()
    for suffix in _SUFFIXES:
        if stem.endswith(suffix):
            known = {table.lower(): table for table in tables}
            return known.get(stem.removesuffix(suffix))
    return None


def _tables(
    members: list[zipfile.ZipInfo], expected_rows: Mapping[str, int]
) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        if member.filename.startswith("__MACOSX/"):
            continue
        table = _table_of(member.filename, expected_rows)
        if table in found:
            raise BadArchive(_("it holds the table {table} twice").format(table=table))
        if table:
            found[table] = member
    return found


def _count_rows(
    archive: zipfile.ZipFile,
    tables: Mapping[str, zipfile.ZipInfo],
    expected_rows: Mapping[str, int],
    budget: Budget,
) -> dict[str, int]:
    missing = [f"{table}.csv" for table in expected_rows if table not in tables]
    if missing:
        raise BadArchive(_("it lacks {files}").format(files=", ".join(missing)))
    counts = {}
    for table, expected in expected_rows.items():
        counts[table] = _rows(archive, tables[table], budget)
        if counts[table] != expected:
            raise BadArchive(
                _("{table} has {count:,} rows instead of {expected:,}").format(
                    table=table, count=counts[table], expected=expected
                )
            )
    return counts


def _rows(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> int:
    """Return how many records a CSV has without its header; its checksum is checked by the way."""
    # Lines are records: none of OULAD's values has a line end in it, in either layout.
    lines = 0
    last = b"\n"
    with archive.open(member) as raw:
        unpacked: IO[bytes] = raw
        if member.filename.lower().endswith(".gz"):
            unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=raw))
        for chunk in _chunks(unpacked, budget):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return max(0, lines + (last != b"\n") - 1)


def _chunks(source: IO[bytes], budget: Budget) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        budget.spend(len(chunk))
        yield chunk


def _unpack(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, budget: Budget
) -> None:
    with archive.open(member) as source, target.open("wb") as sink:
        for chunk in _chunks(source, budget):
            sink.write(chunk)
