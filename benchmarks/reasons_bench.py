"""How long it takes to say why: scores and reasons of 24,000 rows by a forest of 200 trees.

The matrix is made up, in OULAD's size and as hard to tell; the forest has the parameters of
``prod``. What is measured is what predict does for every row: the score, and the decomposition that
sums to it. Beside it stands the score alone: that ratio hangs less on the machine.

``python -m benchmarks.reasons_bench`` measures this part alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS, FEATURES, TREES = 24_000, 116, 200
LIMIT_SECONDS = 5.0
# Rows of which all parts are added up.
CHECKED = 1000
SEED = 42


@dataclass(frozen=True, slots=True)
class ReasonsMeasured:
    """Median seconds for scores and reasons, on the clock and of processor time by core.

    On a machine that has other things to do the clock says little; processor time still does.
    """

    explained: float
    processor: float
    scored: float

    def row(self) -> tuple[str, str, str]:
        """Return the row of the table of results."""
        what = f"scores and reasons of {ROWS:,} rows, {TREES} trees"
        value = (
            f"{self.explained:.1f} s ({self.processor:.1f} s of each core's time; "
            f"{self.explained / self.scored:.1f} × the scores alone)"
        )
        return what, value, f"{LIMIT_SECONDS:.0f} s"


def made_up() -> tuple[np.ndarray, np.ndarray]:
    """Return a float32 matrix with gaps, and outcomes that some of its columns tell in part."""
    rng = np.random.default_rng(SEED)
    common = rng.normal(size=(ROWS, 6))
    X = common @ rng.normal(size=(6, FEATURES)) + rng.normal(size=(ROWS, FEATURES))  # noqa: N806
    X[rng.random((ROWS, FEATURES)) < 0.05] = np.nan
    risk = common[:, 0] + 0.5 * common[:, 1] + rng.normal(size=ROWS)
    return X.astype(np.float32), (risk > 0.6).astype(np.int8)


def measure_reasons(runs: int = 3, threads: int | None = None) -> ReasonsMeasured:
    """Fit once, then score and explain `runs` times.

    Raises
    ------
    AssertionError
        When the reasons don't sum to the scores: what is fast must be right as well.
    """
    from vigie.models.explain import contributions, explain
    from vigie.models.kinds import FOREST, kind_params
    from vigie.models.predict import risk_scores
    from vigie.models.train import fit_classifier
    from vigie.settings_schema import Settings

    threads = threads or os.cpu_count() or 1
    X, labels = made_up()  # noqa: N806
    params = kind_params(FOREST, Settings().modes.prod.model_params.model_dump(), "{}")
    params["n_estimators"] = TREES
    model = fit_classifier(FOREST, params, X, labels, seed=SEED, threads=threads)
    topics = np.arange(FEATURES)
    scored, explained, processor = [], [], []
    for _run in range(runs):
        began = time.process_time()
        seconds, scores = timed(lambda: risk_scores(model, X))
        scored.append(seconds)
        more, _reasons = timed(lambda: explain(model, X, topics, threads=threads))
        explained.append(seconds + more)
        processor.append((time.process_time() - began) / threads)
    found = contributions(model, X[:CHECKED], threads=threads)
    assert found is not None
    base, parts = found
    assert np.allclose(base + parts.sum(axis=1), scores[:CHECKED], atol=1e-8)
    return ReasonsMeasured(*(statistics.median(one) for one in (explained, processor, scored)))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that `work` took, and what it gave."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    """Print the row of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    print("| " + " | ".join(measure_reasons(parser.parse_args().runs).row()) + " |")


if __name__ == "__main__":
    main()
