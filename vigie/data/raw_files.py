"""Where each declared table's raw file is: a CSV, a gzipped CSV, or a member of a zip archive."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from vigie.dataset.spec import Dataset
from vigie.errors import DataError, RawDataMissing
from vigie.i18n import _
from vigie.names import suggest

SUFFIXES = (".csv.gz", ".csv")


@dataclass(frozen=True, slots=True)
class RawFile:
    """Where a table's rows stand; `member` is its name inside a zip archive.

    ``more`` are the other files of a table whose rows are spread over several, in their order.
    """

    table: str
    path: Path
    member: str | None = None
    more: tuple[RawFile, ...] = ()

    @property
    def parts(self) -> tuple[RawFile, ...]:
        """All files of the table, each on its own."""
        return (replace(self, more=()), *self.more)

    @property
    def compressed(self) -> bool:
        """Whether the bytes on disk are a gzip stream."""
        return self.member is None and self.path.name.lower().endswith(".gz")

    def describe(self, project: Path) -> str:
        """Return what a person calls it: the path from the project, and the member."""
        path = self.path
        if path.is_relative_to(project):
            path = path.relative_to(project)
        return f"{path}!{self.member}" if self.member else str(path)


def find_raw_files(folder: Path, dataset: Dataset) -> dict[str, RawFile]:
    """Return the raw file of each table that has one below `folder`, sub-folders included.

    Raises
    ------
    DataError
        When a table has two files, or an archive cannot be read.
    """
    candidates = list(_candidates(folder))
    names = [(one.member or one.path.name).rsplit("/", 1)[-1] for one in candidates]
    found: dict[str, dict[str, list[RawFile]]] = {
        table: {
            stem: [replace(candidates[place], table=table) for place in places]
            for stem, places in stems.items()
        }
        for table, stems in match_names(names, dataset).items()
    }
    for table, stems in found.items():
        for files in stems.values():
            if len(files) > 1:
                raise DataError(
                    _("Table {table!r} has two raw files; which one counts can't be told.").format(
                        table=table
                    ),
                    where=", ".join(file.describe(folder.parent.parent) for file in files),
                    fix=_("Move all but one out of {folder}.").format(folder=folder),
                )
    return {table: _together(stems) for table, stems in found.items()}


def match_names(names: Sequence[str], dataset: Dataset) -> dict[str, dict[str, list[int]]]:
    """Return for each table that has files the places of their `names`, by their stems."""
    wanted = {name: table.file.lower() for name, table in dataset.tables.items()}
    # A file that is called for by its name is no part of another table's pattern.
    plain = {stem for stem in wanted.values() if not is_pattern(stem)}
    found: dict[str, dict[str, list[int]]] = {}
    for place, name in enumerate(one.lower() for one in names):
        suffix = next((one for one in SUFFIXES if name.endswith(one)), "")
        stem = name.removesuffix(suffix)
        for table, pattern in wanted.items():
            matches = is_pattern(pattern) and stem not in plain and fnmatchcase(stem, pattern)
            if suffix and (stem == pattern or matches):
                found.setdefault(table, {}).setdefault(stem, []).append(place)
    return found


def is_pattern(stem: str) -> bool:
    """Whether a declared file name stands for several files."""
    return "*" in stem or "?" in stem


def _together(stems: Mapping[str, list[RawFile]]) -> RawFile:
    first, *others = (files[0] for _stem, files in sorted(stems.items()))
    return replace(first, more=tuple(others))


def require_all(found: Mapping[str, RawFile], folder: Path, dataset: Dataset) -> None:
    """Raise ``RawDataMissing`` unless every declared table has its file."""
    missing = [name for name in dataset.tables if name not in found]
    if not missing:
        return
    stems = {name: dataset.tables[name].file for name in missing}
    present = sorted(path.name for path in folder.rglob("*.*")) if folder.is_dir() else []
    near = [suggest(f"{stem}.csv", present) for stem in stems.values()]
    hint = ", ".join(sorted({name for name in near if name}))
    raise RawDataMissing(
        _("Raw files are missing: {files}.").format(
            files=", ".join(f"{stem}.csv" for stem in stems.values())
        ),
        where=str(folder)
        + (" (" + _("is one of these meant: {names}?").format(names=hint) + ")" if hint else ""),
        fix=_("Put {files} (.csv, .csv.gz, or the .zip as downloaded) into {folder}.").format(
            files=", ".join(f"{stem}.csv" for stem in stems.values()), folder=folder
        ),
    )


def _candidates(folder: Path) -> Iterable[RawFile]:
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        name = path.name.lower()
        if not path.is_file() or name.startswith("."):
            continue
        if name.endswith(SUFFIXES):
            yield RawFile("", path)
        elif name.endswith(".zip"):
            yield from (RawFile("", path, member) for member in _members(path))


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [
                info.filename
                for info in opened.infolist()
                if not info.is_dir() and not info.filename.startswith("__MACOSX/")
            ]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            _("The zip archive can't be read: {reason}").format(reason=error),
            where=str(archive),
            fix=_("Download it again, or take it out of the folder."),
        ) from error


def raw_state(found: Mapping[str, RawFile], digest: Callable[[Path], str]) -> str | None:
    """Return a digest over the content of all raw files, or None where there are none.

    Parameters
    ----------
    digest
        Gives the content hash of one path (a cache of hashes answers unchanged files at once).
    """
    if not found:
        return None
    parts = [(table, part) for table, file in sorted(found.items()) for part in file.parts]
    hashes = {path: digest(path) for path in {part.path for _table, part in parts}}
    total = hashlib.sha256()
    for table, part in parts:
        total.update(f"{table}\0{part.member or ''}\0{hashes[part.path]}\0".encode())
    return total.hexdigest()
