"""How time and memory grow with the data: ``make bench-scale``.

OULAD-shaped data of several sizes are generated, and one ``prod`` run is made of each, tables in
PostgreSQL included, with ``[engine] memory_limit``; beside it stands the guide's approach in pandas
(``guide_baseline.py``). Each size is measured once: the larger ones take minutes, and what counts
is how the figures grow. The table goes to ``benchmarks/SCALE.md``.

    make bench-scale BENCH_ARGS="--scales 0.1 1 10 --memory-limit 2GB"

What the disk or the time has no room for: ``--gzip`` packs the raw files, ``--steps`` names those
that are run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.run import ROOT, SHARED_BUFFERS_MB, measure, step_seconds, vigie

RESULTS = Path(__file__).parent / "SCALE.md"
# Above this the guide's approach does not fit into this machine's memory.
LARGEST_BASELINE = 1.0
# Where a table's CSV, Parquet, PostgreSQL and temporary files stand at the same time; and where
# nothing goes into PostgreSQL, which is left out where only that fits; and how much of it the CSVs
# are, which packed take an eighth.
DISK_PER_SCALE_GB = 2.6
UNLOADED_DISK_PER_SCALE_GB = 0.9
SAVED_BY_PACKING_GB = 0.4


@dataclass(frozen=True, slots=True)
class Grown:
    """What one size took."""

    scale: float
    click_rows: int
    csv_mb: float
    generated_seconds: float
    generated_mb: float
    seconds: float
    peak_mb: float
    steps: dict[str, float]
    baseline: dict[str, float] | None

    def row(self, known: Grown | None = None) -> str:
        """Return the row of the table; `known` is the largest that has a baseline."""
        steps = " / ".join(
            f"{self.steps[name]:.1f}" if name in self.steps else "–" for name in STEPS
        )
        left_out = [name for name in STEPS if name not in self.steps]
        without = f" without {', '.join(left_out)}" if left_out else ""
        beside = "not run"
        if known is not None and known.baseline:
            expected = known.baseline["peak_mb"] / known.scale * self.scale / 1000
            beside = f"not run: {expected:.0f} GB, if memory grows with the data"
        if self.baseline:
            beside = f"{self.baseline['seconds']:.0f} s, {self.baseline['peak_mb']:,.0f} MB"
        return (
            f"| {self.scale:g} | {self.click_rows / 1e6:,.1f} M | {self.csv_mb:,.0f} MB "
            f"| {self.generated_seconds:.0f} s, {self.generated_mb:,.0f} MB "
            f"| {self.seconds:.0f} s{without} "
            f"| {self.peak_mb:,.0f} MB | {steps} | {beside} |"
        )


STEPS = ("extract", "transform", "load", "features", "train", "evaluate", "predict")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scales", type=float, nargs="+", default=[0.1, 1.0, 10.0])
    parser.add_argument("--memory-limit", default="2GB")
    parser.add_argument("--gzip", action="store_true", help="pack the raw files")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="only these")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the table to write")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    found = []
    with tempfile.TemporaryDirectory(prefix="vigie-scale-", dir=options.folder) as folder:
        for scale in options.scales:
            free = shutil.disk_usage(folder).free / 1e9
            free += SAVED_BY_PACKING_GB * scale if options.gzip else 0
            if free < scale * UNLOADED_DISK_PER_SCALE_GB:
                print(f"scale {scale:g}: {free:.0f} GB free are too few, left out")
                continue
            loaded = free >= scale * DISK_PER_SCALE_GB
            steps = [name for name in options.steps if loaded or name != "load"]
            found.append(
                measure_scale(Path(folder), scale, options.memory_limit, steps, packed=options.gzip)
            )
            print(found[-1].row(), flush=True)
    options.results.write_text(as_markdown(found, options.memory_limit), "utf-8")
    return 0


def measure_scale(
    folder: Path, scale: float, memory_limit: str, steps: Sequence[str], *, packed: bool
) -> Grown:
    project = folder / f"scale-{scale:g}"
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    made = measure(
        vigie("sample", "--scale", str(scale), "--out", str(raw), *(["--gzip"] if packed else [])),
        project,
        with_memory=True,
    )
    csv_bytes = sum(file.stat().st_size for file in raw.glob("*.csv*"))
    (project / "vigie.toml").write_text(f'[engine]\nmemory_limit = "{memory_limit}"\n', "utf-8")
    run = measure(vigie("run", "--mode", "prod", "--steps", *steps), project, with_memory=True)
    newest = max((project / ".vigie" / "runs").glob("*.json"))
    facts = json.loads(newest.read_text("utf-8"))["steps"]["extract"]["facts"]
    grown = Grown(
        scale,
        facts["rows"]["student_vle"],
        csv_bytes / 1e6,
        made[0],
        made[1],
        run[0],
        run[1] + (SHARED_BUFFERS_MB if "load" in steps else 0),
        step_seconds(project),
        baseline(project, raw) if scale <= LARGEST_BASELINE and not packed else None,
    )
    shutil.rmtree(project)
    return grown


def baseline(project: Path, raw: Path) -> dict[str, float]:
    """Run the guide's approach on the same files, into the same server."""
    measure(vigie("db", "start"), project)
    try:
        url = subprocess.run(
            vigie("db", "url"), cwd=project, check=True, capture_output=True, text=True
        ).stdout.strip()
        command = [sys.executable, "-m", "benchmarks.guide_baseline", str(raw), url]
        seconds, peak, output = measure(command, project, with_memory=True)
    finally:
        measure(vigie("db", "stop"), project)
    return {**json.loads(output.splitlines()[-1]), "seconds": seconds, "peak_mb": peak}


def as_markdown(found: list[Grown], memory_limit: str) -> str:
    measured = [one for one in found if one.baseline] or found
    lines = [
        "# How time and memory grow",
        "",
        (
            f"Measured {datetime.now(UTC):%Y-%m-%d} on generated OULAD-shaped data, "
            f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, Python "
            f'{platform.python_version()}, `[engine] memory_limit = "{memory_limit}"`; one run '
            "each. Made by `make bench-scale`. Peak memory is that of all processes of the run, "
            "the database server's included. Steps that go on beside others overlap; the load is "
            "left out (–) where the disk has no room for the tables in PostgreSQL too."
        ),
        "",
        (
            "| scale | clicks | CSV | generated in, peak | `prod`, cold | peak memory "
            f"| seconds of {' / '.join(STEPS)} | the guide's approach in pandas |"
        ),
        "|---|---|---|---|---|---|---|---|",
        *(one.row(max(measured, key=lambda other: other.scale)) for one in found),
        "",
        (
            "The guide's approach is one Random Forest with its cross-validation on the rows "
            "that it learnt from, and one table of them in the database; vigie puts all seven "
            "tables there with keys and indexes, and fits five folds, the model that is "
            "judged and the one that is kept, of 200 trees each."
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
