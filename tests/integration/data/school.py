"""A small data set of our own for the load, and servers to load it into."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vigie.data.address import DatabaseAddress
from vigie.dataset.declaration import parse_dataset
from vigie.dataset.spec import Dataset

NOBODY = 65534

SCHOOL = """
name = "school"
title = { en = "School", fr = "École" }
features = []

[tables.classes]
file = "classes"
comment = "Classes; l'année est dans le nom."
primary_key = ["class"]
columns.class = { type = "text", required = true, comment = "Name of the class" }
columns.seats = { type = "integer", unit = "chairs", comment = "Seats" }

[tables.visits]
file = "visits"
foreign_keys = [{ columns = ["class", "pupil"], references = "pupils" }]
indexes = [["pupil", "class"]]
clock = "day"
columns.class = { type = "text", required = true }
columns.pupil = { type = "integer", required = true }
columns.day = { type = "day", required = true }
columns.minutes = { type = "number" }
columns.at = { type = "timestamp" }
columns.paid = { type = "boolean" }

[tables.pupils]
file = "pupils"
primary_key = ["class", "pupil"]
foreign_keys = [{ columns = ["class"], references = "classes" }]
indexes = [["result"]]
columns.class = { type = "text", required = true }
columns.pupil = { type = "integer", required = true }
columns.born = { type = "date" }
columns.result = { type = "text" }

[cohort]
table = "pupils"
key = ["class", "pupil"]
group = "pupil"
label = { positive = "result = 'bad'", known = "true", name = { en = "bad", fr = "mal" } }
singular = { en = "pupil", fr = "élève" }
plural = { en = "pupils", fr = "élèves" }
"""


def school(text: str = SCHOOL) -> Dataset:
    return parse_dataset(text, "school.toml")


@dataclass(slots=True)
class School:
    """The rows, table by table, as ``{column: values}``; types as the transform step writes."""

    pupils: int = 4
    visits: int = 10
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tables(self) -> dict[str, dict[str, Any]]:
        import datetime as dt

        import pyarrow as pa

        numbers = list(range(self.pupils))
        visits = list(range(self.visits))
        tables: dict[str, dict[str, Any]] = {
            "classes": {"class": ["1a"], "seats": pa.array([30], pa.int32())},
            "pupils": {
                "class": ["1a"] * self.pupils,
                "pupil": pa.array(numbers, pa.int32()),
                "born": [dt.date(2015, 1, 1)] * self.pupils,
                "result": ["bad" if number % 2 else None for number in numbers],
            },
            "visits": {
                "class": ["1a"] * self.visits,
                "pupil": pa.array([number % self.pupils for number in visits], pa.int32()),
                "day": pa.array(visits, pa.int32()),
                "minutes": [number / 2 for number in visits],
                "at": [dt.datetime(2024, 1, 1, 8, 30)] * self.visits,  # noqa: DTZ001
                "paid": [True] * self.visits,
                "row_id": pa.array(visits, pa.int64()),
            },
            "cohort": {
                "cohort_id": pa.array(numbers, pa.int32()),
                "class": ["1a"] * self.pupils,
                "pupil": pa.array(numbers, pa.int32()),
                "cutoff": pa.array([180] * self.pupils, pa.int32()),
                "label": pa.array([number % 2 for number in numbers], pa.int8()),
                "group_key": [str(number) for number in numbers],
                "period": ["2024"] * self.pupils,
            },
        }
        for name, columns in self.changes.items():
            tables[name] = {**tables.get(name, {}), **columns}
        return tables

    def write(self, folder: Path) -> tuple[dict[str, Path], Path]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        paths = {}
        for name, columns in self.tables().items():
            paths[name] = folder / f"{len(paths)}.parquet"
            pq.write_table(pa.table(columns), paths[name])
        return paths, paths.pop("cohort")


# --- servers ---------------------------------------------------------------------------------


def debian_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def installed_server(binaries: Path) -> Iterator[DatabaseAddress]:
    """Run the system's PostgreSQL on a private socket; as nobody where we are root."""
    folder = Path(tempfile.mkdtemp(prefix="vigie-pg-"))
    user: Mapping[str, Any] = {}
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    data = folder / "data"

    def run(*command: object) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            cwd=folder,
            **user,
        )

    try:
        run(
            binaries / "initdb", "-D", data, "-A", "trust", "-U", "vigie",
            "-E", "UTF8", "--locale=C", "-N",
        )  # fmt: skip
        options = f"-c listen_addresses= -k {folder} -c fsync=off -c wal_level=minimal"
        options += " -c max_wal_senders=0"
        run(binaries / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
        try:
            yield DatabaseAddress.from_parts(str(folder), 5432, "postgres", "vigie")
        finally:
            run(binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
