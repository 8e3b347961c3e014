"""The features step: what was known of each cohort row at its cut-off, as a matrix."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vigie.data.stored_tables import tables_url, visible_tables
from vigie.dataset.spec import CUTOFF_DATE, KNOWN_DATE, Dataset, report_column
from vigie.engine import open_engine, read_parquet, spark_engine, to_arrow
from vigie.features.build import build_features
from vigie.features.feature import Feature
from vigie.features.vocabulary import Vocabulary
from vigie.i18n import _
from vigie.pipeline.artifacts import atomic_write, write_json
from vigie.pipeline.interrupt import run_interruptibly
from vigie.pipeline.step import StepContext
from vigie.refusals import declared_expressions
from vigie.spark.files import parquet_url
from vigie.spark.frames import read_view
from vigie.spark.session import cancel, spark_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa

KEY_COLUMNS = ("group_key", "period", "cutoff", "label")


def run(context: StepContext) -> None:
    """Build the feature matrix, the labels, the keys of the rows and their description."""
    dataset: Dataset = context.services["dataset"]
    folder: Path = context.input("clean").path
    with context.progress(_("building the features"), 1.0) as bar:
        on_spark = context.param("engine.name") == "spark"
        stop = (lambda: cancel(context.services["spark"]())) if on_spark else None
        built = run_interruptibly(
            lambda: _build(context, dataset, folder, bar.advance_to), stop=stop
        )
        matrix = built.matrix
        _save(context, dataset, folder, built)
    context.facts["rows"], context.facts["features"] = (int(size) for size in matrix.shape)
    if dataset.timeless:
        said = _("{features} features of {rows} {things}")
    elif dataset.cohort.cutoff is None:
        said = _("{features} features of {rows} {things}, as known at day {cutoff}")
    else:
        said = _("{features} features of {rows} {things}, each as known at its own cut-off")
    context.say(
        said.format(
            features=matrix.shape[1],
            rows=f"{matrix.shape[0]:,}",
            things=dataset.cohort.plural.in_language(context.services["language"]),
            cutoff=context.param("cutoff_days"),
        )
    )


@dataclass(frozen=True, slots=True)
class _Built:
    """The matrix, what its columns are, the rows it is of, and the values learnt for it."""

    matrix: np.ndarray
    features: list[Feature]
    cohort: pa.Table
    vocabulary: dict[str, tuple[str, ...]]


def _build(
    context: StepContext, dataset: Dataset, folder: Path, progress: Callable[[float], None]
) -> _Built:
    import pyarrow.parquet as pq

    if context.param("engine.name") == "spark":
        return _build_on_spark(context, dataset, folder, progress)
    tables_folder = visible_tables(folder)
    rows = pq.read_table(tables_folder / "cohort.parquet")
    vocabulary = Vocabulary(_known_to_model(context, rows))
    with (
        declared_expressions(context.services["settings"].get("dataset")),
        open_engine(
            threads=context.services["threads"],
            memory_limit=context.services["memory_limit"],
            spill=context.services["spill"],
        ) as engine,
    ):
        tables = {
            name: read_parquet(engine, tables_folder / f"{name}.parquet", name)
            for name in dataset.tables
        }
        cohort = read_parquet(engine, tables_folder / "cohort.parquet", "cohort")
        expression, features = build_features(tables, cohort, dataset, vocabulary, progress)
        built = to_arrow(expression)
    return _Built(_matrix(built, features), features, rows, vocabulary.used)


def _build_on_spark(
    context: StepContext, dataset: Dataset, folder: Path, progress: Callable[[float], None]
) -> _Built:
    """Build the same on Spark: of the tables, the cohort and its features come to this machine."""
    session = context.services["spark"]()
    url = tables_url(folder)
    with spark_errors(context.services["spark_log"]), spark_engine(session) as engine:
        for name in (*dataset.tables, "cohort"):
            read_view(session, parquet_url(url, name), name)
        cohort = engine.table("cohort")
        rows = to_arrow(cohort.order_by("cohort_id"))
        vocabulary = Vocabulary(_known_to_model(context, rows))
        tables = {name: engine.table(name) for name in dataset.tables}
        expression, features = build_features(tables, cohort, dataset, vocabulary, progress)
        built = to_arrow(expression)
    return _Built(_matrix(built, features), features, rows, vocabulary.used)


def _matrix(built: pa.Table, features: list[Feature]) -> np.ndarray:
    import numpy as np

    matrix = np.empty((built.num_rows, len(features)), dtype=np.float32)
    for position, feature in enumerate(features):
        matrix[:, position] = built[feature.name].to_numpy()
    return matrix


def _known_to_model(context: StepContext, rows: pa.Table) -> dict[str, tuple[str, ...]]:
    """Return the values that the current model knows, where no row has an outcome to learn from."""
    if rows["label"].null_count < rows.num_rows:
        return {}
    try:
        content = json.loads(context.services["model_metadata"].read_text("utf-8"))
        return {str(name): tuple(values) for name, values in content["vocabulary"].items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def _save(
    context: StepContext,
    dataset: Dataset,
    folder: Path,
    built: _Built,
) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    cohort = built.cohort
    labels = np.asarray(cohort["label"].fill_null(-1).to_numpy(), dtype=np.int8)
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    _write_array(context.output("features").path, built.matrix)
    _write_array(context.output("labels").path, labels)
    reported = [
        name
        for name in (*map(report_column, dataset.reported), CUTOFF_DATE, KNOWN_DATE)
        if name in cohort.column_names
    ]
    keys = cohort.select([*dataset.cohort.key, *KEY_COLUMNS, *reported])
    with atomic_write(context.output("keys").path) as path:
        pq.write_table(keys, path)
    write_json(
        context.output("features_metadata").path,
        {
            **_metadata(context, dataset, built.features, labels, summary),
            "vocabulary": built.vocabulary,
        },
    )


class _Written:
    """An open file that numpy does not know for one.

    Into a file numpy writes by itself, and of a full disk says only how many bytes it took.
    """

    def __init__(self, opened: IO[bytes]) -> None:
        self.write = opened.write


def _write_array(target: Path, array: np.ndarray) -> None:
    import numpy as np

    with atomic_write(target) as path, path.open("wb") as opened:
        np.save(_Written(opened), array)


def _metadata(
    context: StepContext,
    dataset: Dataset,
    features: list[Feature],
    labels: np.ndarray,
    summary: dict[str, Any],
) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "mode": context.mode,
        "generated": summary["generated"],
        "cutoff_days": context.param("cutoff_days"),
        "key": list(dataset.cohort.key),
        "rows": int(labels.shape[0]),
        "columns": len(features),
        "counts": {
            "candidates": summary["candidates"],
            "excluded": summary["excluded"],
            "eligible": summary["eligible"],
            "cohort": summary["cohort"],
            "positive": int((labels == 1).sum()),
            "negative": int((labels == 0).sum()),
            "unlabelled": int((labels == -1).sum()),
            "known_bad": summary.get("known_bad", {}),
        },
        "reported": [
            {
                "column": name,
                "label": dataset.label_of(name),
                "sensitive": name in dataset.sensitive.columns,
            }
            for name in dataset.reported
        ],
        "label": {
            "positive": dataset.cohort.label.positive_sql,
            "name": dict(dataset.cohort.label.name),
        },
        "features": [feature.to_json() for feature in features],
    }
