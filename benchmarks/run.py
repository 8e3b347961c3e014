"""The limits of the main job, measured on the real OULAD: ``make bench``.

Every figure is the median of several runs on this machine; the table goes to
``benchmarks/RESULTS.md`` with the limits beside it. Needs ``../shared/data/oulad`` (or a folder
with the seven files: ``make bench BENCH_ARGS="--data DIR"``); without it, generated data of the
same size are measured and the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.bare import measure_bare
from benchmarks.peers import measure_peers
from benchmarks.reasons_bench import measure_reasons

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "data" / "oulad"
RESULTS = Path(__file__).parent / "RESULTS.md"
# The same rows for the next run to be compared with.
LAST = Path(__file__).parent / "results.json"
# The server's buffers, shared by its processes and so counted in none.
SHARED_BUFFERS_MB = 128
CUTOFFS = {30: 0.765, 60: 0.815, 90: 0.845, 120: 0.88, 180: 0.925}


@dataclass
class Measured:
    """Seconds and peak memory of runs of one command."""

    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def tree(pid: int, project: Path) -> list[psutil.Process]:
    """Return the processes of a run: its own and those of the project's embedded server."""
    pids = [pid]
    with contextlib.suppress(OSError, ValueError, IndexError):
        file = project / ".vigie" / "postgres" / "postmaster.pid"
        pids.append(int(file.read_text().splitlines()[0]))
    found: list[psutil.Process] = []
    for one in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(one)
            found += [process, *process.children(recursive=True)]
    return found


def own_memory_mb(process: psutil.Process) -> float:
    """Return resident memory without what is shared with others (the server's buffers)."""
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0.0
    return float(memory.rss - getattr(memory, "shared", 0)) / 1e6


def measure(
    command: list[str], cwd: Path, *, with_memory: bool = False
) -> tuple[float, float, str]:
    """Return wall seconds, peak memory of all processes in MB (looked at 5 times a second), output.

    Looking costs time: the runs that are timed are not looked at.
    """
    started = time.perf_counter()
    running = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = [0.0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            found = (own_memory_mb(one) for one in tree(running.pid, cwd))
            peak[0] = max(peak[0], sum(found))

    if with_memory:
        threading.Thread(target=watch, daemon=True).start()
    output, _nothing = running.communicate()
    ended.set()
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output}")
    return time.perf_counter() - started, peak[0], output


def vigie(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vigie.cli", *arguments]


def forget(project: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(project / name, ignore_errors=True)


def step_seconds(project: Path) -> dict[str, float]:
    newest = max((project / ".vigie" / "runs").glob("*.json"))
    steps = json.loads(newest.read_text("utf-8"))["steps"]
    return {name: one["seconds"] for name, one in steps.items() if one.get("seconds") is not None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=REAL)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-auc", action="store_true")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory(prefix="vigie-bench-") as folder:
        project = Path(folder) / "project"
        raw = project / "data" / "raw"
        raw.mkdir(parents=True)
        real = options.data.is_dir()
        if real:
            for file in options.data.glob("*.csv*"):
                (raw / file.name).symlink_to(file)
        else:
            measure(vigie("sample", "--out", str(raw)), project)
        table = run_all(project, options, real=real)
    RESULTS.write_text(table, "utf-8")
    print(table)
    return 0


def with_last(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str, str]]:
    """Return the rows with what was measured the last time, and keep them for the next."""
    try:
        before = json.loads(LAST.read_text("utf-8"))
    except (OSError, ValueError):
        before = {}
    LAST.write_text(json.dumps({what: value for what, value, _limit in rows}, indent=1), "utf-8")
    return [(what, value, limit, before.get(what, "–")) for what, value, limit in rows]


def python_seconds(runs: int) -> float:
    """Return how long Python itself takes to start and end: what the shortest times hang on."""
    bare = Measured()
    for _run in range(runs):
        bare.seconds.append(measure([sys.executable, "-c", "pass"], ROOT)[0])
    return bare.median


def forest_seconds(runs: int) -> float:
    """Return how long scikit-learn takes for one plain forest: how quick this machine is today.

    24,000 rows of 28 made-up numbers, 200 trees, a thread for each core.
    """
    code = (
        "import time, numpy, sklearn.ensemble as e; r = numpy.random.default_rng(0); "
        "X = r.normal(size=(24_000, 28)).round(1); "
        "y = X[:, :4].sum(axis=1) + r.normal(size=24_000) > 0; f = e.RandomForestClassifier; "
        "t = time.perf_counter(); f(200, n_jobs=-1, random_state=0).fit(X, y); "
        "print(time.perf_counter() - t)"
    )
    return statistics.median(
        float(measure([sys.executable, "-c", code], ROOT)[2]) for _run in range(runs)
    )


def cold_runs(project: Path, runs: int, **settings: str) -> tuple[Measured, list[dict[str, float]]]:
    """Run ``prod`` from nothing several times; return the times and those of the steps."""
    cold, steps = Measured(), []
    for _run in range(runs):
        forget(project, ".vigie", "data/interim", "data/processed", "models", "reports")
        with environment(settings):
            cold.seconds.append(measure(vigie("run", "--mode", "prod"), project)[0])
        steps.append(step_seconds(project))
    return cold, steps


@contextlib.contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]


def holdout_auc(project: Path) -> float:
    metrics = json.loads((project / "reports" / "metrics_prod.json").read_text("utf-8"))
    value: float = metrics["holdout"]["metrics"]["roc_auc"]["value"]
    return value


def run_all(project: Path, options: argparse.Namespace, *, real: bool) -> str:
    rows: list[tuple[str, str, str]] = []
    cold, _steps = cold_runs(project, options.runs, VIGIE_MODEL__ACCELERATED="true")
    rows.append(("`prod`, cold, `[model] accelerated`", f"{cold.median:.1f} s", "25 s"))
    accelerated = holdout_auc(project)
    cold, steps = cold_runs(project, options.runs)
    rows.append(
        (
            "hold-out AUC, accelerated and not",
            f"{accelerated:.4f}, {holdout_auc(project):.4f}",
            "within .003",
        )
    )
    forget(project, ".vigie", "data/interim", "data/processed", "models", "reports")
    looked = measure(vigie("run", "--mode", "prod"), project, with_memory=True)
    cold.peak_mb.append(looked[1] + SHARED_BUFFERS_MB)
    rows.append(("`prod`, cold, all seven steps", f"{cold.median:.1f} s", "45 s"))
    rows.append(("peak memory of it, server included", f"{max(cold.peak_mb):.0f} MB", "1500 MB"))
    cached = Measured()
    for _run in range(options.runs + 2):
        cached.seconds.append(measure(vigie("run", "--mode", "prod"), project)[0])
    rows.append(("`prod`, all cached", f"{cached.median:.2f} s", "0.5 s"))
    dev = Measured()
    measure(vigie("run", "--mode", "dev", "--steps", "extract"), project)
    for _run in range(options.runs):
        arguments = ("run", "--mode", "dev", "--force", "transform", "load", "features", "train")
        dev.seconds.append(measure(vigie(*arguments, "evaluate", "predict"), project)[0])
    rows.append(("`dev` after the first extract", f"{dev.median:.1f} s", "6 s"))
    shown = Measured()
    for _run in range(options.runs + 2):
        shown.seconds.append(measure(vigie("--help"), project)[0])
    rows.append(("`vigie --help`", f"{shown.median:.2f} s", "0.15 s"))
    rows.append(("`python -c pass`, for comparison", f"{python_seconds(9):.3f} s", "–"))
    plain = forest_seconds(3)
    rows.append(("a plain forest of scikit-learn's, for comparison", f"{plain:.1f} s", "–"))
    rows.append(measure_reasons(options.runs).row())
    rows += [ratio.row() for ratio in measure_peers(project / "data" / "raw", options.runs)]
    bare = measure_bare(project, options.runs).table() if real else []
    quality = [] if options.no_auc else [(c, auc(project, c)) for c in CUTOFFS]
    return as_markdown(rows, steps, bare, quality, options.runs, real=real)


def auc(project: Path, cutoff: int) -> float:
    """Return the hold-out AUC (train 2013, test 2014) of the Random Forest at a cut-off."""
    names = ("extract", "transform", "features", "train", "evaluate")
    # Dev is not tried at every cut-off first.
    options = ("--mode", "prod", "--cutoff-days", str(cutoff), "--skip-check", "dev")
    measure(vigie("run", *options, "--steps", *names), project)
    return holdout_auc(project)


def as_markdown(
    rows: list[tuple[str, str, str]],
    steps: list[dict[str, float]],
    bare: list[str],
    quality: list[tuple[int, float]],
    runs: int,
    *,
    real: bool,
) -> str:
    source = "the real OULAD (10,655,280 click rows)" if real else "generated data of OULAD's size"
    cores = os.cpu_count()
    lines = [
        "# Benchmarks of the main job",
        "",
        (
            f"Measured {datetime.now(UTC):%Y-%m-%d} on {source}, {cores} cores, "
            f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}; "
            f"medians of {runs} runs or more. Made by `make bench`."
        ),
        "",
        "| what | measured | limit | the time before |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in with_last(rows)),
        "",
        "| step of the cold `prod` run | median seconds |",
        "|---|---|",
        *(f"| {n} | {statistics.median(one[n] for one in steps):.2f} |" for n in steps[0]),
    ]
    if bare:
        lines += ["", *bare]
    if quality:
        lines += [
            "",
            "| cut-off day | hold-out AUC (train 2013, test 2014) | required |",
            "|---|---|---|",
            *(f"| {c} | {value:.3f} | {CUTOFFS[c]} |" for c, value in quality),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
