"""Steps beside what does the bare work: ratios within one run, which hang less on the machine.

* extract beside DuckDB's own CSV-to-Parquet of the same files (``read_csv`` guesses the types;
  extract holds every row against the declaration and counts it);
* features beside one bare aggregate of the clicks in DuckDB: a pivot by kind of page, and days;
* load beside ``psql \\copy`` of the same rows from CSV, both without keys and indexes.

``python -m benchmarks.peers`` measures this part alone. Each pair is run in turn, so that what else
the machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.spec import Dataset

CLICKS = "student_vle"
# Over the clean tables in the folder {clean}.
AGGREGATES = (
    """PIVOT (
        SELECT code_module, code_presentation, id_student, activity_type, sum_click
        FROM '{clean}/student_vle.parquet' JOIN '{clean}/vle.parquet'
        USING (id_site, code_module, code_presentation) WHERE date <= 180
    ) ON activity_type USING sum(sum_click)
    GROUP BY code_module, code_presentation, id_student""",
    """SELECT code_module, code_presentation, id_student, sum(sum_click),
        count(DISTINCT date), max(date), sum(sum_click) FILTER (date > 152)
        FROM '{clean}/student_vle.parquet' WHERE date <= 180 GROUP BY ALL""",
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median seconds of ours and of the peer, and the limit of their ratio."""

    what: str
    ours: float
    peer: float
    limit: float

    def row(self) -> tuple[str, str, str]:
        """Return the row of the table of results."""
        value = f"{self.ours / self.peer:.2f} × ({self.ours:.2f} s and {self.peer:.2f} s)"
        return self.what, value, f"{self.limit} ×"


def in_turn(ours: Callable[[], float], peer: Callable[[], float], runs: int) -> tuple[float, float]:
    """Return the median seconds of two measurements, taken one after the other."""
    pairs = [(ours(), peer()) for _run in range(runs)]
    return statistics.median(one for one, _peer in pairs), statistics.median(p for _o, p in pairs)


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_peers(raw: Path, runs: int) -> list[Ratio]:
    """Measure all three, on the CSVs in `raw`."""
    text, origin = read_declaration("oulad", Path.cwd())
    dataset = parse_dataset(text, origin)
    with tempfile.TemporaryDirectory(prefix="vigie-peers-") as folder:
        work = Path(folder)
        # The clicks as they are published: not packed, so that both read the same bytes.
        plain = unpacked(raw, work / "raw")
        found = [extract_ratio(plain, work, dataset, runs)]
        clean = make_clean(work, dataset)
        found.append(features_ratio(clean, dataset, runs))
        found.append(load_ratio(clean, dataset, runs))
    return found


def unpacked(raw: Path, folder: Path) -> Path:
    import gzip

    folder.mkdir()
    for file in raw.glob("*.csv*"):
        if file.suffix == ".gz":
            with gzip.open(file) as source, (folder / file.stem).open("wb") as target:
                shutil.copyfileobj(source, target)
        else:
            (folder / file.name).symlink_to(file.resolve())
    return folder


def extract_ratio(raw: Path, work: Path, dataset: Dataset, runs: int) -> Ratio:
    from vigie.data.extract import extract_tables
    from vigie.data.raw_files import find_raw_files

    files = find_raw_files(raw, dataset)
    target = work / "extracted"

    def ours() -> None:
        extract_tables(
            files, dataset, fresh(target), project=work, max_rejected=0.01, threads=None,
            memory_limit=None,
        )  # fmt: skip

    def peer() -> None:
        bare_extract(raw, fresh(work / "peer"))

    both = in_turn(lambda: seconds_of(ours), lambda: seconds_of(peer), runs)
    return Ratio("extract / DuckDB's CSV-to-Parquet", *both, 1.5)


def bare_extract(raw: Path, folder: Path) -> None:
    """Turn the CSVs into Parquet by DuckDB alone, types guessed."""
    import duckdb

    with duckdb.connect() as engine:
        for file in raw.glob("*.csv*"):
            path = folder / f"{file.name}.parquet"
            engine.execute(f"COPY (SELECT * FROM read_csv('{file}')) TO '{path}'")


def bare_aggregates(clean: Path) -> None:
    """Aggregate the clicks of the clean tables by DuckDB alone."""
    import duckdb

    with duckdb.connect() as engine:
        for query in AGGREGATES:
            engine.execute(query.format(clean=clean)).to_arrow_table()


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def make_clean(work: Path, dataset: Dataset) -> Path:
    from vigie.data.transform import transform_tables

    target = fresh(work / "clean")
    transform_tables(
        work / "extracted", target, dataset, cutoff=180, sample_size=None, threads=None,
        memory_limit=None,
    )  # fmt: skip
    return target


def features_ratio(clean: Path, dataset: Dataset, runs: int) -> Ratio:
    from vigie.engine import open_engine, read_parquet
    from vigie.features.build import build_features

    def ours() -> None:
        with open_engine() as engine:
            tables = {n: read_parquet(engine, clean / f"{n}.parquet", n) for n in dataset.tables}
            cohort = read_parquet(engine, clean / "cohort.parquet", "cohort")
            expression, _features = build_features(tables, cohort, dataset)
            expression.to_pyarrow()

    ours()  # imports
    both = in_turn(
        lambda: seconds_of(ours), lambda: seconds_of(lambda: bare_aggregates(clean)), runs
    )
    return Ratio("116 features / two bare aggregates of the clicks", *both, 2.0)


def load_ratio(clean: Path, dataset: Dataset, runs: int) -> Ratio:
    """Return the load of the clicks' rows beside psql's, into one embedded server."""
    from benchmarks.load_bench import SCHEMA, execute, load_once, psql_copy
    from vigie.data.postgres import open_embedded

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        open_embedded(Path(folder, "pg")) as address,
    ):
        execute(address, f"CREATE SCHEMA {SCHEMA}_peer")

        def ours() -> float:
            found: dict[str, Any] = load_once(address, dataset, clean)
            return float(found["phases"][f"rows of {CLICKS}"])

        def peer() -> float:
            return psql_copy(address, clean / f"{CLICKS}.parquet", f"{SCHEMA}_peer")

        both = in_turn(ours, peer, runs)
    return Ratio("load of the clicks / `psql \\copy`, without keys", *both, 1.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("raw", type=Path, help="folder of OULAD's CSVs")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    for one in measure_peers(options.raw.resolve(), options.runs):
        print(json.dumps(one.row(), ensure_ascii=False))


if __name__ == "__main__":
    main()
