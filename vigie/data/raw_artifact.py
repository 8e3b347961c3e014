"""The raw files as an artifact: found, identified by content, generated where allowed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.data.raw_files import RawFile, find_raw_files, raw_state, require_all
from vigie.dataset.sample import GENERATED_MARKER
from vigie.dataset.spec import Dataset
from vigie.errors import RawDataMissing
from vigie.i18n import _
from vigie.pipeline.artifacts import HashCache
from vigie.pipeline.fingerprint import canonical_json

# About 5,700 of so many enrolments are still there at day 180: dev's 5,000 are really drawn.
GENERATED_ENROLMENTS = 8_000


@dataclass(frozen=True, slots=True)
class RawSource:
    """Where the raw data come from.

    ``generated`` holds what the generator wrote about them (``GENERATED.json``), or None where
    the data are real as far as anybody knows.
    """

    folder: Path
    files: dict[str, RawFile]
    generated: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class RawTables:
    """The raw files of all declared tables, or the recipe to generate them.

    Parameters
    ----------
    name
        The name that steps declare.
    project, folder
        The project and its folder of raw files.
    fallback
        Folder for generated data where there are no raw files; None forbids it.
    dataset
        The declaration.
    hashes
        Remembers the content of files.
    """

    name: str
    project: Path
    folder: Path
    fallback: Path | None
    dataset: Dataset
    hashes: HashCache

    def is_empty(self) -> bool:
        """Whether there is no raw file at all."""
        return not find_raw_files(self.folder, self.dataset)

    def will_generate(self) -> bool:
        """Whether generated data stand in for missing raw files."""
        return self.fallback is not None and self.dataset.name == "oulad" and self.is_empty()

    def state(self) -> str | None:
        """Return a digest over all raw files, or over the recipe of the generated ones."""
        if self.will_generate():
            recipe = canonical_json({"generate": GENERATED_ENROLMENTS, "seed": 42})
            return hashlib.sha256(recipe.encode()).hexdigest()
        return raw_state(find_raw_files(self.folder, self.dataset), self.hashes.digest)

    def describe(self) -> str:
        """Return the folder from the project."""
        folder = self.fallback if self.will_generate() and self.fallback else self.folder
        return f"{_from_project(folder, self.project)}/"

    def locate(self) -> RawSource:
        """Return the raw files that are there.

        Raises
        ------
        RawDataMissing
            When there are none, or one of them is missing.
        """
        folder = self.fallback if self.will_generate() and self.fallback else self.folder
        found = find_raw_files(folder, self.dataset)
        if not found:
            self.refuse()
        require_all(found, folder, self.dataset)
        return RawSource(folder, found, _marker(folder, found))

    def refuse(self) -> None:
        """Raise the error that names the ways to get data."""
        where = _from_project(self.folder, self.project)
        if self.dataset.name != "oulad":
            raise RawDataMissing(
                _("There are no raw data."),
                where=f"{where}/",
                fix=_("Put {files} there.").format(
                    files=", ".join(f"{table.file}.csv" for table in self.dataset.tables.values())
                ),
            )
        raise RawDataMissing(
            _("There are no raw data, and only dev mode makes do with generated ones."),
            where=f"{where}/",
            fix=_(
                "Either download the real data set:  vigie fetch oulad\n"
                "or put your own export there: {files} (.csv, .csv.gz or the .zip)."
            ).format(
                files=", ".join(f"{table.file}.csv" for table in self.dataset.tables.values())
            ),
        )


def _marker(folder: Path, found: dict[str, RawFile]) -> dict[str, Any] | None:
    for place in {folder, *(file.path.parent for file in found.values())}:
        path = place / GENERATED_MARKER
        if path.is_file():
            try:
                content = json.loads(path.read_text("utf-8"))
            except ValueError:
                content = {}
            return content if isinstance(content, dict) else {}
    return None


def _from_project(path: Path, project: Path) -> str:
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)
