"""A schema of its own on a server, to load into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.integration.data.school import School, school
from vigie.data.address import DatabaseAddress
from vigie.data.load import LoadReport, load_tables
from vigie.data.tables_artifact import TablesArtifact
from vigie.dataset.spec import Dataset


@dataclass(slots=True)
class Place:
    """One schema of its own on a server."""

    address: DatabaseAddress
    schema: str
    folder: Path
    fingerprint: str = "first"

    def load(
        self,
        rows: School | None = None,
        dataset: Dataset | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> LoadReport:
        tables, cohort = (rows or School()).write(self.folder)
        return load_tables(
            self.address,
            self.schema,
            dataset or school(),
            tables,
            cohort,
            fingerprint=self.fingerprint,
            run={"mode": "dev"},
            progress=progress,
        )

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            "".join(self.address.url()),
            autocommit=True,
            options=f'-c search_path="{self.schema}"',
        )

    def ask(self, query: str) -> list[Any]:
        with self.connect() as connection:
            cursor = connection.execute(query)  # type: ignore[arg-type]
            rows = cursor.fetchall() if cursor.description else []
        return [row[0] if len(row) == 1 else row for row in rows]

    def state(self, record: str = "tables") -> str | None:
        return TablesArtifact("database", self.schema, record, lambda: self.address).state()
