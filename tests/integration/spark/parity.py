"""The same data through both engines, and what differs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from vigie.data.extract import ExtractedTable, extract_tables
from vigie.data.raw_files import find_raw_files
from vigie.data.spark_extract import extract_on_spark
from vigie.data.spark_raw import spark_files
from vigie.data.table_engine import open_spark_tables
from vigie.data.transform import TransformReport, transform_on, transform_tables
from vigie.dataset.spec import Dataset
from vigie.engine import open_engine, read_parquet, scan_parquet, spark_engine, to_arrow
from vigie.features.build import build_features
from vigie.features.feature import Feature


@dataclass
class Result:
    folder: Path
    extracted: dict[str, ExtractedTable]
    report: TransformReport
    matrix: pa.Table
    features: list[Feature]

    def table(self, kind: str, name: str) -> pa.Table:
        """Return a table's rows: extracted ones in their files' order, clean ones sorted."""
        path = self.folder / kind / f"{name}.parquet"
        order = "ORDER BY ALL"
        if kind == "extracted":
            order = "ORDER BY vigie_order" if path.is_dir() else ""
        with duckdb.connect() as connection:
            rows = connection.execute(f"SELECT * FROM {scan_parquet(path)} {order}")
            found = rows.to_arrow_table()
        return found.drop(["vigie_order"]) if "vigie_order" in found.column_names else found


def on_duckdb(
    raw: Path, dataset: Dataset, folder: Path, *, cutoff: int | None, sample: int | None = None
) -> Result:
    for name in ("extracted", "clean"):
        (folder / name).mkdir(parents=True)
    limits: dict[str, Any] = {"threads": 2, "memory_limit": "2GB"}
    files = find_raw_files(raw, dataset)
    extracted = extract_tables(
        files, dataset, folder / "extracted", project=raw.parent, max_rejected=1.0, **limits
    )
    report = transform_tables(
        folder / "extracted",
        folder / "clean",
        dataset,
        cutoff=cutoff,
        sample_size=sample,
        **limits,
    )
    with open_engine(threads=2) as engine:
        tables = {
            name: read_parquet(engine, folder / "clean" / f"{name}.parquet", name)
            for name in dataset.tables
        }
        cohort = read_parquet(engine, folder / "clean" / "cohort.parquet", "cohort")
        expression, features = build_features(tables, cohort, dataset)
        return Result(folder, extracted, report, to_arrow(expression), features)


def on_spark(
    session: Any,
    raw: Path,
    dataset: Dataset,
    folder: Path,
    *,
    cutoff: int | None,
    sample: int | None = None,
) -> Result:
    for name in ("extracted", "clean"):
        (folder / name).mkdir(parents=True)
    source, target = ((folder / name).as_uri() for name in ("extracted", "clean"))
    files = spark_files(find_raw_files(raw, dataset), raw.parent)
    extracted = extract_on_spark(
        session, files, dataset, folder / "extracted", source, max_rejected=1.0
    )
    with open_spark_tables(session, source, target) as engine:
        report = transform_on(engine, dataset, cutoff=cutoff, sample_size=sample)
    with spark_engine(session) as engine:
        for name in (*dataset.tables, "cohort"):
            frame = session.read.parquet(f"{target}/{name}.parquet")
            frame.createOrReplaceTempView(name)
        tables = {name: engine.table(name) for name in dataset.tables}
        expression, features = build_features(tables, engine.table("cohort"), dataset)
        return Result(folder, extracted, report, to_arrow(expression), features)


def assert_same_tables(ours: Result, theirs: Result, dataset: Dataset) -> None:
    """Tables are equal to the last digit, in every type: nothing is calculated in them."""
    assert theirs.extracted == ours.extracted
    assert theirs.report == ours.report
    for kind in ("extracted", "clean"):
        for name in dataset.tables:
            assert theirs.table(kind, name).equals(ours.table(kind, name)), (kind, name)
    assert theirs.table("clean", "cohort").equals(ours.table("clean", "cohort"))


def assert_same_matrix(ours: Result, theirs: Result) -> None:
    assert [one.to_json() for one in theirs.features] == [one.to_json() for one in ours.features]
    assert theirs.matrix.column("cohort_id").equals(ours.matrix.column("cohort_id"))
    for feature in ours.features:
        mine, other = (as_numbers(one, feature.name) for one in (ours, theirs))
        np.testing.assert_allclose(
            other, mine, rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=feature.name
        )


def as_numbers(result: Result, name: str) -> np.ndarray:
    return result.matrix.column(name).to_numpy().astype(np.float64)


def scores(result: Result) -> np.ndarray:
    """Return what a forest says that learnt from the matrix, rounded to 1e-9."""
    from sklearn.ensemble import RandomForestClassifier

    cohort = result.table("clean", "cohort").sort_by("cohort_id")
    labels = np.asarray(cohort["label"].fill_null(0))
    matrix = np.column_stack([as_numbers(result, one.name) for one in result.features])
    model = RandomForestClassifier(n_estimators=50, min_samples_leaf=5, random_state=7)
    learnt = model.fit(matrix.astype(np.float32), labels)
    found: np.ndarray = np.round(learnt.predict_proba(matrix.astype(np.float32))[:, 1], 9)
    return found


# Hundreds of queries on a server of its own take minutes: make test-spark.
takes_minutes = pytest.mark.skipif(
    os.environ.get("VIGIE_SPARK_ALL") != "1", reason="takes minutes: make test-spark"
)
