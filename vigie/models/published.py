"""What was said of rows before their outcome was known, to be held against it later.

Each prediction of a row without an outcome goes into a log, once for each model; nothing in it is
ever changed. When the outcomes have come, the scores are judged as they were made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vigie.pipeline.artifacts import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_COLUMN = "group_key"
NOTHING = "nothing"


def append_published(
    log: Path,
    keys: pa.Table,
    predictions: pa.Table,
    *,
    key_columns: Sequence[str],
    model_version: str,
    published_at: str,
) -> int:
    """Add the predictions of rows without an outcome; return how many are new.

    Parameters
    ----------
    keys
        Of all rows, with ``cutoff``, the person and ``label``, null where it is not known.
    predictions
        Of ``predict_table``, in any order.
    published_at
        ISO 8601.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    open_rows = keys.filter(keys["label"].is_null())
    if not open_rows.num_rows:
        return 0
    scores = _index(predictions, key_columns)
    said = predictions["risk_score"].to_pylist()
    fresh = pa.table(
        {
            "key": [_text(key) for key in _tuples(open_rows, key_columns)],
            "cutoff": [str(value) for value in open_rows["cutoff"].to_pylist()],
            "person": [str(value) for value in open_rows[GROUP_COLUMN].to_pylist()],
            "score": [said[scores[key]] for key in _tuples(open_rows, key_columns)],
            "model_version": [model_version] * open_rows.num_rows,
            "published_at": [published_at] * open_rows.num_rows,
        }
    )
    if log.is_file():
        before = pq.read_table(log)
        known = set(_tuples(before, ("key", "cutoff", "model_version")))
        new = [one not in known for one in _tuples(fresh, ("key", "cutoff", "model_version"))]
        fresh = fresh.filter(pa.array(new))
        if not fresh.num_rows:
            return 0
        whole = pa.concat_tables([before, fresh])
    else:
        whole = fresh
    # For its owner only: it says of single persons how they were judged.
    with atomic_write(log) as temporary:
        pq.write_table(whole, temporary)
    return int(fresh.num_rows)


def with_outcomes(log: Path, keys: pa.Table, key_columns: Sequence[str]) -> pa.Table | None:
    """Return the logged predictions whose outcomes are known now, with ``label``; None for none.

    A prediction is about a key and a cut-off: of another cut-off it is another question.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not log.is_file():
        return None
    known = keys.filter(keys["label"].is_valid())
    cutoffs = [str(value) for value in known["cutoff"].to_pylist()]
    labels = known["label"].to_pylist()
    outcome = {
        (_text(key), cutoff): label
        for key, cutoff, label in zip(_tuples(known, key_columns), cutoffs, labels, strict=True)
    }
    logged = pq.read_table(log)
    found = [outcome.get(pair) for pair in _tuples(logged, ("key", "cutoff"))]
    table = logged.append_column("label", pa.array(found, pa.int8()))
    table = table.filter(table["label"].is_valid())
    return table if table.num_rows else None


def published_metrics(table: pa.Table, *, threshold: float, seed: int) -> list[dict[str, Any]]:
    """Return the metrics of the predictions of each model, the newest first.

    Parameters
    ----------
    table
        Of ``with_outcomes``.
    threshold
        From this score on a row counts as predicted at risk.
    """
    import pyarrow.compute as pc

    from vigie.models.evaluate import evaluate

    found = []
    for version in dict.fromkeys(table["model_version"].to_pylist()):
        own = table.filter(pc.equal(table["model_version"], version))
        labels = own["label"].to_numpy()
        times = own["published_at"].to_pylist()
        judged = evaluate(
            own["score"].to_numpy(),
            labels,
            threshold,
            groups=own["person"].to_numpy(),
            train_prevalence=float((labels == 1).mean()),
            seed=seed,
        )
        found.append(
            {
                "model_version": version,
                "published": [min(times), max(times)],
                "rows": own.num_rows,
                **{name: judged[name] for name in ("positives", "prevalence", "metrics")},
                "calibration": judged["calibration"],
            }
        )
    return sorted(found, key=lambda one: one["published"][1], reverse=True)


@dataclass(frozen=True, slots=True)
class PublishedArtifact:
    """The part of the log whose outcomes are known by now; more of it is of no consequence yet.

    Parameters
    ----------
    path
        The log.
    keys
        The key table of the present rows.
    metadata
        The features' metadata, which say what the key is.
    """

    name: str
    path: Path
    keys: Path
    metadata: Path

    def state(self) -> str | None:
        """Return a digest of the predictions that can be judged; a word where there are none."""
        if not self.path.is_file() or not self.keys.is_file() or not self.metadata.is_file():
            return NOTHING
        import json

        import pyarrow.parquet as pq

        key = json.loads(self.metadata.read_text("utf-8"))["key"]
        table = with_outcomes(self.path, pq.read_table(self.keys), key)
        if table is None:
            return NOTHING
        rows = sorted(_tuples(table, table.column_names))
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def describe(self) -> str:
        """Return where the log is."""
        return self.path.name


def _index(table: pa.Table, columns: Sequence[str]) -> dict[tuple[Any, ...], int]:
    return {key: place for place, key in enumerate(_tuples(table, columns))}


def _tuples(table: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in columns), strict=True))


def _text(key: tuple[Any, ...]) -> str:
    return "\x1f".join(str(part) for part in key)
