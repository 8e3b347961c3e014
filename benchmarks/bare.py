"""What the libraries alone need for a ``prod`` run: the processor time that nobody can save.

The same files through DuckDB, the same rows and keys into PostgreSQL, as many forests on as many
rows, the two bare aggregates that the features are held against, and the imports; each by the
fewest calls of its library, with nothing checked, joined, kept, judged or drawn. Divided by the
cores it is the least time that any program made of them could take on this machine, had it no idle
moment.

``python -m benchmarks.bare PROJECT`` measures this part alone; PROJECT has run ``prod`` on OULAD.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.peers import bare_aggregates, bare_extract
from vigie.data.postgres import open_embedded

SCHEMA, OWN = "vigie_prod", "bare"
MODULES = "duckdb, ibis, psycopg, pgpq, pyarrow.parquet, sklearn.ensemble, matplotlib.figure"
ONE_BACKEND = (
    "max_parallel_maintenance_workers = 0",
    "max_parallel_workers_per_gather = 0",
    "maintenance_work_mem = '128MB'",
    "jit = off",
)
Part = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Bare:
    """Seconds of processor time by part; the fits of both kinds of forest apart."""

    parts: tuple[Part, ...]
    forests: int
    fits: float
    accelerated: float | None

    def table(self) -> list[str]:
        """Return the lines of a Markdown table, and what they come to."""
        cores = os.cpu_count() or 1
        common = sum(seconds for _what, seconds in self.parts)
        rows = [*self.parts, (f"{self.forests} forests by scikit-learn", self.fits)]
        if self.accelerated is not None:
            rows.append(("instead of these, by scikit-learn-intelex", self.accelerated))
        lines = [
            "| the bare libraries, for the work of a cold `prod` | seconds of processor time |",
            "|---|---|",
            *(f"| {what} | {seconds:.1f} |" for what, seconds in rows),
        ]
        for what, fits in (("plain", self.fits), ("accelerated", self.accelerated)):
            if fits is not None:
                total = common + fits
                lines.append(
                    f"| **all of it, {what}** | **{total:.1f}: {total / cores:.1f} s on {cores} "
                    "cores, were neither ever idle** |"
                )
        return lines


def measure_bare(project: Path, runs: int = 3) -> Bare:
    """Measure all parts with the raw files, tables and features of a project's ``prod`` run.

    Medians of `runs`; the server's part and the fits, which take longest, are measured once.
    """
    with tempfile.TemporaryDirectory(prefix="vigie-bare-") as folder:
        work = Path(folder)
        raw, clean = project / "data" / "raw", project / "data" / "interim" / "clean_prod"
        parts = (
            (f"importing {MODULES}", median(runs, imports)),
            ("DuckDB: CSV to Parquet", median(runs, lambda: bare_extract(raw, work))),
            ("DuckDB: two aggregates of the clicks", median(runs, lambda: bare_aggregates(clean))),
            ("PostgreSQL: rows, keys, indexes", load(project, work)),
        )
    matrix, outcomes, params, sizes = training(project)
    from sklearn.ensemble import RandomForestClassifier

    fits = spent(lambda: grow(RandomForestClassifier(**params), matrix, outcomes, sizes))
    try:
        from sklearnex.ensemble import RandomForestClassifier as Accelerated
    except ImportError:
        return Bare(parts, len(sizes), fits, None)
    filled = np.nan_to_num(matrix)
    accelerated = spent(lambda: grow(Accelerated(**params), filled, outcomes, sizes))
    return Bare(parts, len(sizes), fits, accelerated)


def median(runs: int, work: Callable[[], object]) -> float:
    return statistics.median(spent(work) for _run in range(runs))


def spent(work: Callable[[], object]) -> float:
    """Return the processor time of this process and its children, in seconds."""
    before = used()
    work()
    return used() - before


def used() -> float:
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def imports() -> None:
    subprocess.run([sys.executable, "-c", f"import {MODULES}"], check=True)


def load(project: Path, work: Path) -> float:
    """Return the server's processor time for copies of all tables, from files, in one backend.

    What sends the rows is not in it.
    """
    import psycopg

    if os.geteuid() == 0:
        # The server runs as somebody else then, and reads and writes these files.
        work.chmod(0o777)
    with (
        open_embedded(project / ".vigie" / "postgres") as address,
        psycopg.connect("".join(address.url())) as connection,
    ):
        ask: Any = connection.execute
        tables = [
            name
            for (name,) in ask(
                "SELECT tablename::text FROM pg_tables WHERE schemaname = %s "
                "AND tablename NOT IN ('vigie_load', 'predictions')",
                [SCHEMA],
            )
        ]
        keys = ask(
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE "
            "connamespace = %s::regnamespace AND contype IN ('p', 'f') ORDER BY contype DESC",
            [SCHEMA],
        ).fetchall()
        indexes = ask(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND NOT indexdef LIKE %s",
            [SCHEMA, "CREATE UNIQUE%"],
        ).fetchall()
        for name in tables:
            ask(f"COPY {SCHEMA}.{name} TO '{work / name}' (FORMAT binary)")
        for setting in ONE_BACKEND:
            ask(f"SET {setting}")
        backend = psutil.Process(connection.info.backend_pid)
        before = sum(backend.cpu_times()[:2])
        ask(f"CREATE SCHEMA {OWN}")
        for name in tables:
            ask(f"CREATE TABLE {OWN}.{name} (LIKE {SCHEMA}.{name})")
            ask(f"COPY {OWN}.{name} FROM '{work / name}' (FORMAT binary, FREEZE)")
            ask(f"ANALYZE {OWN}.{name}")
        for table, definition in keys:
            name = table.rpartition(".")[2]
            if name in tables:
                own = definition.replace(f"REFERENCES {SCHEMA}.", f"REFERENCES {OWN}.")
                ask(f"ALTER TABLE {OWN}.{name} ADD {own}")
        for (definition,) in indexes:
            found = re.search(rf" ON {SCHEMA}\.(\w+) (USING .*)", definition)
            if found and found[1] in tables:
                ask(f"CREATE INDEX ON {OWN}.{found[1]} {found[2]}")
        seconds = sum(backend.cpu_times()[:2]) - before
        connection.rollback()
    return float(seconds)


def training(project: Path) -> tuple[Any, Any, dict[str, Any], list[int]]:
    """Return the labelled rows, their outcomes, the forests' parameters, how many rows each had."""
    processed = project / "data" / "processed"
    matrix, outcomes = (np.load(processed / f"{n}_prod.npy") for n in ("features", "labels"))
    labelled = outcomes >= 0
    metadata = json.loads((project / "models" / "model_metadata_prod.json").read_text("utf-8"))
    folds = [fold["rows"] for fold in metadata["cross_validation"]["folds"]]
    sizes = [metadata["split"]["train_rows"], *(sum(folds) - rows for rows in folds)]
    params = {**metadata["params"], "n_jobs": -1, "random_state": 0}
    return matrix[labelled], outcomes[labelled], params, [*sizes, int(labelled.sum())]


def grow(forest: Any, matrix: Any, outcomes: Any, sizes: list[int]) -> None:
    order = np.random.default_rng(0).permutation(len(outcomes))
    for size in sizes:
        rows = order[:size]
        forest.fit(matrix[rows], outcomes[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("project", type=Path)
    print("\n".join(measure_bare(parser.parse_args().project.resolve()).table()))


if __name__ == "__main__":
    main()
