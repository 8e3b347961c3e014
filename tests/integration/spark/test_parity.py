"""One data set through DuckDB and through Spark: the same tables, features and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, SHARED_DATA
from tests.integration.spark.parity import (
    Result,
    assert_same_matrix,
    assert_same_tables,
    on_duckdb,
    on_spark,
    scores,
    takes_minutes,
)
from vigie.dataset.declaration import parse_dataset, read_declaration
from vigie.dataset.sample import generate_sample
from vigie.dataset.sample_shop import generate_shop
from vigie.dataset.spec import Dataset

CUTOFF = 120


@pytest.fixture(scope="package")
def oulad_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole OULAD mini; generated data of its shape where it is absent."""
    mini = SHARED_DATA / "oulad-mini"
    if mini.is_dir():
        return mini
    raw = tmp_path_factory.mktemp("generated") / "raw"
    generate_sample(raw, enrolments=400, seed=3)
    return raw


@pytest.fixture(scope="package")
def by_duckdb(oulad_raw: Path, oulad: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return on_duckdb(oulad_raw, oulad, tmp_path_factory.mktemp("duckdb"), cutoff=CUTOFF)


def test_oulad_on_local_spark(
    spark: Any, oulad_raw: Path, oulad: Dataset, by_duckdb: Result, tmp_path: Path
) -> None:
    ours = on_spark(spark, oulad_raw, oulad, tmp_path, cutoff=CUTOFF)
    assert_same_tables(by_duckdb, ours, oulad)
    assert_same_matrix(by_duckdb, ours)
    np.testing.assert_array_equal(scores(ours), scores(by_duckdb))


@takes_minutes
def test_a_cohort_by_sql_with_dates_and_a_window(spark: Any, tmp_path: Path) -> None:
    # Unnested series, EXISTS in a CASE, clocks of other tables, vocabularies: all of the dialect.
    text, origin = read_declaration("shop", ROOT)
    shop = parse_dataset(text, origin)
    raw = tmp_path / "raw"
    generate_shop(raw, customers=150, seed=5)
    found = [
        on_duckdb(raw, shop, tmp_path / "duckdb", cutoff=None, sample=200),
        on_spark(spark, raw, shop, tmp_path / "spark", cutoff=None, sample=200),
    ]
    assert found[0].report.cohort == 200
    assert_same_tables(*found, shop)
    assert_same_matrix(*found)
