"""What two common mistakes claim on the real OULAD: ``python -m benchmarks.leaks``.

For each cut-off day the same rows, features and forest are judged in several ways: honestly, on the
rows that were learnt from, and with features that know what happened after the cut-off. The
table goes to ``benchmarks/LEAKS.md``.
Needs ``../shared/data/oulad`` (or a folder with the seven files: ``--data DIR``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.engine import open_engine, read_parquet
from vigie.features.build import build_features
from vigie.features.vocabulary import Vocabulary
from vigie.models.kinds import kind_params
from vigie.models.predict import risk_scores
from vigie.models.split import Split, holdout_split
from vigie.models.train import fit_classifier
from vigie.settings_schema import Settings

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "data" / "oulad"
RESULTS = Path(__file__).parent / "LEAKS.md"
CUTOFFS = (30, 60, 90, 120, 180)
# Later than any course's last day: nothing is cut off.
AFTER_THE_END = 400
SEED = 42
FOREST = "random_forest"
THREADS = os.cpu_count() or 1


def clean_tables(project: Path, cutoff: int) -> Path:
    """Run the steps up to the cohort of a cut-off day; return the folder of the clean tables."""
    command = [sys.executable, "-m", "vigie.cli", "run", "--project", str(project)]
    command += ["--mode", "prod", "--cutoff-days", str(cutoff), "--quiet"]
    command += ["--steps", "extract", "transform", "--skip-check", "dev", "audit"]
    subprocess.run(
        command,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return project / "data" / "interim" / "clean_prod"


def matrix_of(clean: Path, *, known_until: int | None) -> tuple[np.ndarray, list[str]]:
    """Return the features of the cohort, as known at its cut-off or until another day."""
    text, origin = read_declaration("oulad", ROOT)
    dataset = parse_dataset(text, origin)
    with open_engine(threads=THREADS, memory_limit=None) as engine:
        tables = {
            name: read_parquet(engine, clean / f"{name}.parquet", name) for name in dataset.tables
        }
        cohort = read_parquet(engine, clean / "cohort.parquet", "cohort")
        if known_until is not None:
            kind = cohort.schema()["cutoff"]
            cohort = cohort.mutate(cutoff=(cohort.cutoff * 0 + known_until).cast(kind))
        expression, features = build_features(tables, cohort, dataset, Vocabulary({}))
        built = expression.to_pyarrow()
    names = [feature.name for feature in features]
    columns = [built[name].to_numpy().astype(np.float32) for name in names]
    return np.column_stack(columns), names


def auc(model: Any, matrix: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    return float(roc_auc_score(labels[rows], risk_scores(model, matrix[rows])))


def measure(clean: Path) -> dict[str, Any]:
    """Return the AUC of each way to judge, for the cohort in `clean`."""
    import pyarrow.parquet as pq

    cohort = pq.read_table(clean / "cohort.parquet")
    labels = cohort["label"].fill_null(-1).to_numpy()
    persons = np.asarray(cohort["group_key"].to_pylist(), dtype=object).astype(str)
    periods = np.asarray(cohort["period"].to_pylist(), dtype=object).astype(str)
    split = holdout_split(
        labels, persons, periods, holdout_share=0.2, drop_repeaters=True, seed=SEED
    )
    honest, names = matrix_of(clean, known_until=None)
    late, late_names = matrix_of(clean, known_until=AFTER_THE_END)
    assert names == late_names
    return {
        "rows": (len(split.train_rows), len(split.holdout_rows)),
        **judged(honest, late, labels, split),
        "alone": strongest(late, honest, labels, split.holdout_rows, names),
    }


def judged(
    honest: np.ndarray, late: np.ndarray, labels: np.ndarray, split: Split
) -> dict[str, float]:
    """Return the AUC of the honest model, on its own rows, and of the model that knows the end."""
    train, holdout = split.train_rows, split.holdout_rows
    params = kind_params(FOREST, Settings().modes.prod.model_params.model_dump(), "{}")

    def fit(matrix: np.ndarray) -> Any:
        return fit_classifier(
            FOREST, params, matrix[train], labels[train], seed=SEED, threads=THREADS
        )

    ours, leaking = fit(honest), fit(late)
    plain = RandomForestClassifier(random_state=SEED, n_jobs=THREADS)
    plain.fit(honest[train], labels[train])
    return {
        "honest": auc(ours, honest, labels, holdout),
        "training": auc(ours, honest, labels, train),
        "plain": auc(plain, honest, labels, holdout),
        "plain_training": auc(plain, honest, labels, train),
        "future": auc(leaking, late, labels, holdout),
        # What it is worth on the day itself: nobody has the future's values then.
        "future_used": auc(leaking, honest, labels, holdout),
    }


def strongest(
    late: np.ndarray, honest: np.ndarray, labels: np.ndarray, rows: np.ndarray, names: list[str]
) -> tuple[str, float, float]:
    """Return the feature that alone tells most when it knows the end; its AUC then and as-of."""

    def alone(matrix: np.ndarray, place: int) -> float:
        column = matrix[rows, place]
        filled = np.where(np.isnan(column), -1, column)
        found = float(roc_auc_score(labels[rows], filled))
        return max(found, 1 - found)

    found = [alone(late, place) for place in range(len(names))]
    best = int(np.argmax(found))
    return names[best], found[best], alone(honest, best)


def table(measured: dict[int, dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    ways = {
        "honest": "honest: a later year, features as known on the day",
        "training": "the same model on the rows that it learnt from",
        "plain_training": "scikit-learn's default forest on the rows that it learnt from",
        "plain": "that forest, judged honestly",
        "future": "features that know what came after the day",
        "future_used": "that model on the day itself, when nobody knows what comes",
    }
    lines = [
        "# What two mistakes claim on OULAD",
        "",
        "AUC on the real OULAD, 2013 learnt from, 2014 judged. Made by",
        "`python -m benchmarks.leaks`.",
        "",
        "| cut-off day | " + " | ".join(map(str, measured)) + " |",
        "|---|" + "---|" * len(measured),
    ]
    lines += [
        f"| {said} | " + " | ".join(f"{one[way]:.3f}" for one in measured.values()) + " |"
        for way, said in ways.items()
    ]
    lines.append(
        "| rows learnt from / judged | "
        + " | ".join("{:,} / {:,}".format(*one["rows"]) for one in measured.values())
        + " |"
    )
    lines.append("")
    for day, one in measured.items():
        name, leaking, honest = one["alone"]
        lines.append(
            f"- Day {day}: `{name}` alone has {leaking:.3f} when it knows the end, "
            f"{honest:.3f} on the day."
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure all cut-offs and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=REAL)
    parser.add_argument("--cutoffs", type=int, nargs="+", default=list(CUTOFFS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"there is no {options.data}: give the folder of the OULAD files by --data")
    measured = {}
    with tempfile.TemporaryDirectory(prefix="vigie-leaks-") as folder:
        raw = Path(folder) / "data" / "raw"
        raw.mkdir(parents=True)
        for file in options.data.glob("*.csv*"):
            (raw / file.name).symlink_to(file.resolve())
        for day in options.cutoffs:
            measured[day] = measure(clean_tables(Path(folder), day))
            print(day, measured[day], flush=True)
    options.out.write_text(table(measured), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
