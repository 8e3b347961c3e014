"""The compare step of trials: kinds of model held against the best of them, in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vigie.i18n import _
from vigie.pipeline.artifacts import write_json
from vigie.pipeline.step import StepContext
from vigie.steps.matrix import read_json

SHARED = ("dataset", "generated", "cutoff_days", "features", "split", "folds_sha256")


def run(context: StepContext, *, kinds: Sequence[str]) -> None:
    """Write the comparison of what was judged on the same folds and the same hold-out."""
    import pyarrow.parquet as pq

    from vigie.models.comparison import CHOSEN_BY, as_good_as, best_kind, differences

    judged = {kind: read_json(context.input(f"judged {kind}").path) for kind in kinds}
    shared = [{name: one[name] for name in SHARED} for one in judged.values()]
    if any(one != shared[0] for one in shared):
        # Each is made by its own step from the same features and settings.
        raise AssertionError(f"not judged on the same rows: {list(judged)}")
    tables = {kind: pq.read_table(context.input(f"scores {kind}").path) for kind in kinds}
    rows, best = next(iter(tables.values())), best_kind(judged)
    with context.progress(_("comparing"), None):
        found = differences(
            {kind: table["score"].to_numpy() for kind, table in tables.items()},
            rows["label"].to_numpy(),
            rows["person"].to_numpy(),
            rows["fold"].to_numpy() == -1,
            best,
            seed=context.param("seed"),
        )
    document = {
        "mode": context.mode,
        **shared[0],
        "calibrate": judged[best]["calibrate"],
        "best": best,
        "chosen_by": CHOSEN_BY,
        "as_good_as_the_best": as_good_as(found),
        "kinds": [_entry(kind, judged[kind], found.get(kind)) for kind in kinds],
    }
    write_json(context.output("comparison").path, document)


def _entry(kind: str, judged: dict[str, Any], found: dict[str, Any] | None) -> dict[str, Any]:
    """Return one kind's part of the document; ``difference_from_best`` is None for the best."""
    kept = ("params", "cross_validation", "holdout", "everybody", "training", "fit_seconds")
    return {
        "kind": kind,
        **{name: judged[name] for name in kept},
        "difference_from_best": found,
    }
