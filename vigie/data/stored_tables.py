"""Extracted and clean tables, wherever they lie: in the project, or where Spark keeps them.

A folder of the project stands for them in either case, and takes the old one's place in one move.
Where ``[engine] storage`` names another place, that folder holds ``location.json`` instead of the
tables: their address, and every file there with size and time of change. Of two places that are
used by turns, it names the one that is whole, so that a run that breaks off changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.errors import DataError
from vigie.i18n import _
from vigie.pipeline.artifacts import FolderArtifact, HashCache, write_json
from vigie.spark.files import list_files, url_of, visible_path
from vigie.spark.session import spark_errors

LOCATION_FILE = "location.json"


@dataclass(frozen=True, slots=True)
class StoredTables:
    """A folder of tables as an artifact, known by its content.

    Parameters
    ----------
    name
        The name that steps declare.
    path, project, hashes
        As of a ``FolderArtifact``.
    session
        Opens Spark where files that are not in the project have to be asked for.
    """

    name: str
    path: Path
    project: Path
    hashes: HashCache | None
    session: Callable[[], Any] | None

    def state(self) -> str | None:
        """Return a digest of the content; None where files are missing or not those recorded.

        Of files elsewhere, names, sizes and times of change stand for the content.
        """
        local = FolderArtifact(self.name, self.path, self.project, hashes=self.hashes).state()
        location = read_location(self.path)
        if local is None or location is None:
            return local
        found = self._files_at(location["url"])
        if not found or not all(one in found for one in location["files"]):
            return None
        return hashlib.sha256(json.dumps([local, found]).encode()).hexdigest()

    def _files_at(self, url: str) -> list[list[Any]]:
        if self.session is None:
            # What only Spark sees can't be asked for; DuckDB has no use for it either.
            return []
        with spark_errors():
            return [list(one) for one in list_files(self.session(), url)]

    def describe(self) -> str:
        """Return the folder, and the address where the tables lie elsewhere."""
        shown = FolderArtifact(self.name, self.path, self.project).describe()
        location = read_location(self.path)
        return shown if location is None else f"{shown} ({location['url']})"


def read_location(folder: Path) -> dict[str, Any] | None:
    """Return where the tables of a folder lie, and their files; None where they lie in it."""
    try:
        content: dict[str, Any] = json.loads((folder / LOCATION_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return content


def new_tables_url(unfinished: Path, folder: Path, storage: str | None) -> str:
    """Return where to write tables that will take the place of `folder`'s.

    Parameters
    ----------
    unfinished
        What will become `folder`.
    storage
        The setting; None writes into `unfinished`.
    """
    if storage is None:
        return url_of(unfinished)
    base = f"{storage.rstrip('/')}/{folder.name}"
    location = read_location(folder) if folder.is_dir() else None
    turn = "b" if location is not None and location["url"] == f"{base}/a" else "a"
    return f"{base}/{turn}"


def record_tables(session: Any, unfinished: Path, url: str) -> None:
    """Note where the tables are, unless they are in the folder itself."""
    if url != url_of(unfinished):
        write_json(unfinished / LOCATION_FILE, {"url": url, "files": list_files(session, url)})


def tables_url(folder: Path) -> str:
    """Return the address of a folder's tables."""
    location = read_location(folder)
    return url_of(folder) if location is None else str(location["url"])


def visible_tables(folder: Path) -> Path:
    """Return where this machine sees a folder's tables.

    Raises
    ------
    DataError
        Where only Spark sees them.
    """
    location = read_location(folder)
    if location is None:
        return folder
    path = visible_path(location["url"])
    if path is None or not path.is_dir():
        raise DataError(
            _("This machine doesn't see the clean tables; only Spark does."),
            where=location["url"],
            fix=_(
                "Leave this step out (--steps extract transform features train evaluate predict), "
                "or let [engine] storage name a folder that is mounted here as well: file:///..."
            ),
        )
    return path
