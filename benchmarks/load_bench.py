"""Time the load of clean tables into PostgreSQL, phase by phase, beside ``psql \\copy``.

    python benchmarks/load_bench.py FOLDER [--url URL] [--table student_vle] [--refill]

FOLDER holds one Parquet file for each table and cohort.parquet, as the transform step writes them
(``.vigie/…/clean``). Without --url a fresh embedded server in a temporary folder takes the rows.
The reference is ``psql \\copy`` of the largest table's rows from CSV, without any key or index.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vigie.data.address import DatabaseAddress
from vigie.data.load import load_tables
from vigie.data.load_sql import quote
from vigie.data.postgres import open_embedded
from vigie.data.postgres_cluster import find_binary
from vigie.data.tables_artifact import TablesArtifact
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.spec import Dataset

SCHEMA = "vigie_bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", help="a server of your own; its schema vigie_bench is dropped")
    parser.add_argument("--dataset", default="oulad")
    parser.add_argument("--table", default="student_vle", help="the table psql copies")
    parser.add_argument("--refill", action="store_true", help="also load under a view")
    options = parser.parse_args()
    text, origin = read_declaration(options.dataset, Path.cwd())
    dataset = parse_dataset(text, origin)
    with _server(options.url) as address:
        execute(address, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        results = {"load": load_once(address, dataset, options.folder)}
        results["reload"] = load_once(address, dataset, options.folder)
        if options.refill:
            where = quote(SCHEMA, options.table)
            execute(address, f"CREATE VIEW {SCHEMA}.bench AS SELECT * FROM {where}")
            results["refill"] = load_once(address, dataset, options.folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results["peak"] = {"client_mb": round(peak)}
        results["state"] = _state(address)
        file = options.folder / f"{options.table}.parquet"
        results["psql"] = {"seconds": round(psql_copy(address, file, SCHEMA), 2)}
        execute(address, f"DROP SCHEMA {SCHEMA} CASCADE")
    print(json.dumps(results, indent=2))


@contextmanager
def _server(url: str | None) -> Iterator[DatabaseAddress]:
    if url is not None:
        yield DatabaseAddress.from_url(url, "--url")
        return
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        open_embedded(Path(folder, "pg")) as address,
    ):
        yield address


def load_once(address: DatabaseAddress, dataset: Dataset, folder: Path) -> dict[str, object]:
    tables = {name: folder / f"{name}.parquet" for name in dataset.tables}
    started = time.perf_counter()
    report = load_tables(
        address, SCHEMA, dataset, tables, folder / "cohort.parquet", fingerprint="bench", run={}
    )
    total = time.perf_counter() - started
    phases: dict[str, float] = {}
    for phase, seconds in report.seconds.items():
        name = "rows" if phase.startswith("rows of") else phase
        phases[name] = round(phases.get(name, 0.0) + seconds, 2)
    count = sum(report.rows.values())
    shown = {"seconds": round(total, 2), "row_count": count, "strategy": report.strategy}
    return {**shown, **phases, "phases": dict(report.seconds)}


def _state(address: DatabaseAddress) -> dict[str, object]:
    artifact = TablesArtifact("database", SCHEMA, "tables", lambda: address)
    artifact.state()
    started = time.perf_counter()
    artifact.state()
    return {"milliseconds": round((time.perf_counter() - started) * 1000, 1)}


def psql_copy(address: DatabaseAddress, path: Path, schema: str) -> float:
    """Return the seconds that ``psql \\copy`` takes for a file's rows, from CSV, without keys."""
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder, "rows.csv")
        with duckdb.connect() as engine:
            rows = engine.read_parquet(str(path))
            rows.write_csv(str(csv))
            kinds = {"VARCHAR": "text", "DOUBLE": "double precision"}
            columns = ", ".join(
                f"{quote(name)} {kinds.get(str(kind), str(kind))}"
                for name, kind in zip(rows.columns, rows.types, strict=True)
            )
        execute(address, f"DROP TABLE IF EXISTS {schema}.copied")
        execute(address, f"CREATE TABLE {schema}.copied ({columns})")
        command = f"\\copy {schema}.copied from '{csv}' csv header"
        started = time.perf_counter()
        subprocess.run(
            [find_binary("psql"), "".join(address.url()), "-qc", command],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return time.perf_counter() - started


def execute(address: DatabaseAddress, statement: str) -> None:
    import psycopg

    with psycopg.connect("".join(address.url()), autocommit=True) as connection:
        connection.execute(statement.encode())


if __name__ == "__main__":
    main()
