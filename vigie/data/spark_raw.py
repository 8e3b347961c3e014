"""Raw files that Spark reads: those of the project, or those below an address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from vigie.data.raw_files import RawFile, match_names
from vigie.data.spark_extract import SparkFile
from vigie.dataset.sample import GENERATED_MARKER
from vigie.dataset.spec import Dataset
from vigie.errors import DataError, RawDataMissing, SettingsError
from vigie.i18n import _
from vigie.spark.files import list_files
from vigie.spark.session import spark_errors


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """The files of each table below an address.

    ``generated`` holds what the generator wrote about them, or None where it wrote nothing.
    """

    folder: str
    files: dict[str, tuple[SparkFile, ...]]
    generated: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class RemoteRawTables:
    """The raw files below an address, in the place of ``RawTables``.

    Parameters
    ----------
    name
        The name that steps declare.
    url
        The setting ``raw_dir``.
    dataset
        The declaration.
    session
        Opens Spark; None where DuckDB is the engine, which doesn't read addresses.
    """

    name: str
    url: str
    dataset: Dataset
    session: Callable[[], Any] | None
    fallback: None = None
    # A listing is a job of Spark; what was last seen answers whether there is anything.
    seen: list[list[tuple[str, int, int]]] = field(default_factory=list, compare=False)

    def is_empty(self) -> bool:
        """Whether there is no raw file at all."""
        return not self._found()

    def will_generate(self) -> bool:
        """Return False: generated data are for a project without data of its own."""
        return False

    def state(self) -> str | None:
        """Return a digest over names, sizes and times of change; None where there are no files."""
        self.seen.clear()
        if not self._found():
            return None
        return hashlib.sha256(repr(self._listed()).encode()).hexdigest()

    def describe(self) -> str:
        """Return the address."""
        return self.url if self.url.endswith("/") else f"{self.url}/"

    def locate(self) -> RemoteSource:
        """Return the files of each table.

        Raises
        ------
        RawDataMissing
            When a table has none.
        """
        found = self._found()
        missing = [table.file for name, table in self.dataset.tables.items() if name not in found]
        if missing:
            raise RawDataMissing(
                _("Raw files are missing: {files}.").format(
                    files=", ".join(f"{stem}.csv" for stem in missing)
                ),
                where=self.describe(),
                fix=_("Put {files} there.").format(
                    files=", ".join(f"{stem}.csv" for stem in missing)
                ),
            )
        return RemoteSource(self.url, found, self._marker())

    def _marker(self) -> dict[str, Any] | None:
        """Return what the generator left beside its files, if they are its files."""
        urls = [
            url for url, _size, _changed in self._listed() if url.endswith(f"/{GENERATED_MARKER}")
        ]
        if not urls or self.session is None:
            return None
        with spark_errors():
            text = self.session().read.text(urls[0], wholetext=True).collect()[0][0]
        try:
            content = json.loads(text)
        except ValueError:
            content = {}
        return content if isinstance(content, dict) else {}

    def refuse(self) -> NoReturn:
        """Raise the error that says that there is nothing."""
        self.locate()
        raise AssertionError

    def _listed(self) -> list[tuple[str, int, int]]:
        if self.session is None:
            raise SettingsError(
                _("raw_dir is an address, and DuckDB reads files of this machine only."),
                where=f"raw_dir = {self.url!r}",
                fix=_('Set [engine] name = "spark", or name a folder.'),
            )
        if not self.seen:
            with spark_errors():
                self.seen.append(list_files(self.session(), self.url))
        return self.seen[-1]

    def _found(self) -> dict[str, tuple[SparkFile, ...]]:
        listed = self._listed()
        names = [url.rsplit("/", 1)[-1] for url, _size, _changed in listed]
        found: dict[str, tuple[SparkFile, ...]] = {}
        for table, stems in match_names([unquote(name) for name in names], self.dataset).items():
            for places in stems.values():
                if len(places) > 1:
                    raise DataError(
                        _(
                            "Table {table!r} has two raw files; which one counts can't be told."
                        ).format(table=table),
                        where=", ".join(listed[place][0] for place in places),
                        fix=_("Move all but one out of {folder}.").format(folder=self.url),
                    )
            found[table] = tuple(
                SparkFile(listed[places[0]][0], listed[places[0]][0], listed[places[0]][1])
                for _stem, places in sorted(stems.items())
            )
        return found


def spark_files(
    files: Mapping[str, RawFile | tuple[SparkFile, ...]], project: Path
) -> dict[str, tuple[SparkFile, ...]]:
    """Return raw files as Spark finds them.

    Raises
    ------
    DataError
        For a member of a zip archive, which Spark can't open.
    """
    found: dict[str, tuple[SparkFile, ...]] = {}
    for name, file in files.items():
        if isinstance(file, tuple):
            found[name] = file
            continue
        for part in file.parts:
            if part.member is not None:
                raise DataError(
                    _("Spark can't read a zip archive."),
                    where=part.describe(project),
                    fix=_("Unpack it, and put the .csv or .csv.gz in its place."),
                )
        found[name] = tuple(
            SparkFile(
                part.path.resolve().as_uri(), part.describe(project), part.path.stat().st_size
            )
            for part in file.parts
        )
    return found
