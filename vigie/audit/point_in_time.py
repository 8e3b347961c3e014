"""Features again, from tables that end at the cut-off: they must be the same.

What a declaration says of clocks is applied by the engine that builds the features; here it is
applied before, to the tables, and the two are compared. A feature that differs knew something of
the time after.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.audit.result import Part
from vigie.dataset.spec import CLOCK
from vigie.engine import open_engine, query, scan_parquet
from vigie.features.build import build_features
from vigie.features.vocabulary import Vocabulary
from vigie.i18n import _
from vigie.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vigie.dataset.spec import Dataset

# So many cut-offs are looked at where each row has its own, from the first to the last.
MAX_CUTOFFS = 5
# Sums of float32 in another order differ in their last digits.
TOLERANCE = 1e-5
SHOWN_FEATURES = 8


def check_point_in_time(
    dataset: Dataset,
    clean: Path,
    matrix: npt.NDArray[np.float32],
    metadata: Mapping[str, Any],
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Part:
    """Compare the matrix with features from tables cut at the cut-off.

    Parameters
    ----------
    clean
        Folder of the clean tables and the cohort.
    matrix
        The features as they were built, rows by ``cohort_id``.
    metadata
        Their description, ``features_metadata``.
    """
    import pyarrow.parquet as pq

    names = [feature["name"] for feature in metadata["features"]]
    if dataset.timeless:
        return Part(
            "point_in_time",
            Verdict.PASS,
            _("no table has a clock: every row counts as known from the start"),
            {"cutoffs": 0, "features": len(names)},
        )
    cohort = pq.read_table(clean / "cohort.parquet", columns=["cohort_id", "cutoff"])
    cutoffs = sorted(set(cohort["cutoff"].to_pylist()))
    step = max(1, len(cutoffs) // MAX_CUTOFFS)
    chosen = sorted({*cutoffs[::step][:MAX_CUTOFFS], cutoffs[-1]})
    differing: dict[str, int] = {}
    rows = 0
    for cutoff in chosen:
        ids, values = _features_known_at(
            dataset, clean, cutoff, metadata, threads=threads, memory_limit=memory_limit
        )
        rows += len(ids)
        for name, count in _differences(names, matrix[ids], values).items():
            differing[name] = differing.get(name, 0) + count
    figures = {"cutoffs": len(chosen), "rows": rows, "features": len(names), "differ": differing}
    if differing:
        described = {feature["name"]: feature for feature in metadata["features"]}
        lines = [
            _("{name} differs in {count} rows: from {source}, clock {clock}").format(
                name=name,
                count=count,
                source=described.get(name, {}).get("source", "?"),
                clock=described.get(name, {}).get("clock") or "–",
            )
            for name, count in list(differing.items())[:SHOWN_FEATURES]
        ]
        said = _("{count} features know what happened after the cut-off:").format(
            count=len(differing)
        )
        return Part("point_in_time", Verdict.FAIL, "\n".join([said, *lines]), figures)
    said = _("{features} features of {rows} rows are the same from tables that end at the cut-off")
    return Part(
        "point_in_time", Verdict.PASS, said.format(features=len(names), rows=f"{rows:,}"), figures
    )


def _features_known_at(
    dataset: Dataset,
    clean: Path,
    cutoff: Any,
    metadata: Mapping[str, Any],
    *,
    threads: int | None,
    memory_limit: str | None,
) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[np.float32]]]:
    """Return the rows with that cut-off, and their features from tables that end there."""
    import numpy as np

    known = metadata.get("vocabulary", {})
    vocabulary = Vocabulary({name: tuple(values) for name, values in known.items()})
    with open_engine(threads=threads, memory_limit=memory_limit) as engine:
        tables = {
            name: query(engine, _cut(dataset, clean, name, cutoff)) for name in dataset.tables
        }
        at = f"SELECT * FROM {scan_parquet(clean / 'cohort.parquet')} WHERE cutoff = {_sql(cutoff)}"
        expression, features = build_features(tables, query(engine, at), dataset, vocabulary)
        built = expression.to_pyarrow()
    ids = built["cohort_id"].to_numpy().astype(np.int64)
    values = {
        feature.name: built[feature.name].to_numpy().astype(np.float32) for feature in features
    }
    return ids, values


def _cut(dataset: Dataset, clean: Path, table: str, cutoff: Any) -> str:
    """Return SQL for the rows of a table that were known at the cut-off, however it is typed."""
    if dataset.clock_of(table) is None:
        return f"SELECT * FROM {scan_parquet(clean / f'{table}.parquet')}"
    rows = dataset.clocked_sql(table, lambda name: scan_parquet(clean / f"{name}.parquet"))
    value = CLOCK
    if not isinstance(cutoff, int):
        value = f"CAST({CLOCK} AS {'TIMESTAMP' if hasattr(cutoff, 'hour') else 'DATE'})"
    return f"SELECT * EXCLUDE ({CLOCK}) FROM ({rows}) WHERE {value} <= {_sql(cutoff)}"


def _sql(cutoff: Any) -> str:
    if isinstance(cutoff, int):
        return str(cutoff)
    kind = "TIMESTAMP" if hasattr(cutoff, "hour") else "DATE"
    return f"{kind} '{cutoff.isoformat(sep=' ') if kind == 'TIMESTAMP' else cutoff.isoformat()}'"


def _differences(
    names: list[str],
    expected: npt.NDArray[np.float32],
    found: Mapping[str, npt.NDArray[np.float32]],
) -> dict[str, int]:
    """Return for each feature that differs in how many rows it does."""
    import numpy as np

    differing = {}
    for place, name in enumerate(names):
        if name not in found:
            differing[name] = len(expected)
            continue
        close = np.isclose(
            expected[:, place], found[name], rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
        )
        if not close.all():
            differing[name] = int((~close).sum())
    return differing
