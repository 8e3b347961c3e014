"""The three steps that see every row, on DuckDB and on Spark in this machine's threads.

    python -m benchmarks.spark_bench [--data DIR] [--runs 1] [--enrolments N]

The real OULAD's CSVs are unpacked first: Spark can't cut a packed file in pieces. Each engine
begins with nothing, and both build the same features (compared here too). Spark starts while it
extracts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers import unpacked
from benchmarks.run import REAL, ROOT, forget, measure, step_seconds, vigie

STEPS = ("extract", "transform", "features")
ENGINES = {
    "DuckDB": '[engine]\nname = "duckdb"\n',
    "Spark": '[engine]\nname = "spark"\nspark_master = "local[*]"\nmemory_limit = "6GB"\n',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=REAL)
    parser.add_argument("--enrolments", type=int, help="generate so many instead")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory(prefix="vigie-spark-") as folder:
        project = Path(folder) / "project"
        (project / "data").mkdir(parents=True)
        raw = project / "data" / "raw"
        if options.enrolments:
            asked = ("--enrolments", str(options.enrolments))
            measure(vigie("sample", *asked, "--out", str(raw)), project)
        else:
            unpacked(options.data, raw)
        print("| engine | beside the steps | extract | transform | features | all |")
        print("|---|---|---|---|---|---|")
        matrices = {}
        for engine, settings in ENGINES.items():
            (project / "vigie.toml").write_text(settings, "utf-8")
            print(row_of(engine, project, options.runs), flush=True)
            matrices[engine] = np.load(project / "data" / "processed" / "features_prod.npy")
    ours, theirs = matrices.values()
    same = np.allclose(ours, theirs, rtol=1e-6, atol=1e-6, equal_nan=True)
    print(f"\n{matrices['DuckDB'].shape[0]:,} rows, the same features: {'yes' if same else 'NO'}")


def row_of(engine: str, project: Path, runs: int) -> str:
    """Run an engine's steps; return the row of the table, medians of all runs."""
    walls, steps = [], []
    for _run in range(runs):
        forget(project, ".vigie", "data/interim", "data/processed")
        command = vigie("run", "--mode", "prod", "--skip-check", "disk", "--steps", *STEPS)
        walls.append(measure(command, project)[0])
        steps.append(step_seconds(project))
    medians = {name: statistics.median(one[name] for one in steps) for name in STEPS}
    wall = statistics.median(walls)
    cells = [f"{medians[name]:.1f} s" for name in STEPS]
    beside = wall - sum(medians.values())
    return f"| {engine} | {beside:.1f} s | {' | '.join(cells)} | {wall:.0f} s |"


if __name__ == "__main__":
    main()
